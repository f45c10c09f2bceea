"""The faults of PROTOCOLS 9.1 against real hubs, long form: `python -m tests.faults`, or some of them:
`python -m tests.faults F6 F1=63` (so many times). `--short` plays each as often as `make test` does. Exit code 1 when a promise
was broken."""

from __future__ import annotations

import sys

from tests.faults import SCENARIOS
from tests.kit.faults.table import HEAD, line


def main(words: list[str]) -> int:
    is_short = "--short" in words
    asked = [word.upper().partition("=") for word in words if not word.startswith("-")]
    wanted = {fault: int(times) if times else 0 for fault, _, times in asked}
    unknown = wanted.keys() - {scenario.fault for scenario in SCENARIOS}
    if unknown:
        print(f"no such fault: {', '.join(sorted(unknown))}; there are {', '.join(dict.fromkeys(s.fault for s in SCENARIOS))}")
        return 2
    print(HEAD, flush=True)
    broken = 0
    for scenario in SCENARIOS:
        if wanted and scenario.fault not in wanted:
            continue
        for database in scenario.databases:
            row = scenario.played(database, wanted.get(scenario.fault) or (scenario.short if is_short else scenario.long))
            print(line(scenario, database, row), flush=True)
            print(f"{scenario.fault} on {database}: {row.seconds:.1f} s", *row.verdict.broken[:20], sep="\n  ", file=sys.stderr)
            broken += bool(row.verdict.broken)
    return min(broken, 1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
