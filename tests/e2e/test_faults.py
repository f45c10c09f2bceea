"""The faults of PROTOCOLS 9.1, short: each a few times against real hub processes. `make faults` plays them long, on both
databases. What another test shows already is not here: README, "Faults", names it."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from tests.faults import SCENARIOS
from tests.guard.source import ROOT
from tests.kit.faults.table import Scenario

pytestmark = pytest.mark.slow

TEST = re.compile(r"`([a-z0-9_/]+\.py)::([a-z0-9_]+)`")


def short_forms() -> Iterator[object]:
    for scenario in SCENARIOS:
        for database in scenario.in_short:
            marks = [pytest.mark.postgres] if database == "postgres" else []
            yield pytest.param(scenario, database, marks=marks, id=f"{scenario.fault}-{scenario.name}-{database}")


@pytest.mark.parametrize(("scenario", "database"), list(short_forms()))
def test_every_promise_is_kept(scenario: Scenario, database: str) -> None:
    row = scenario.played(database, scenario.short)
    assert row.verdict.broken == []
    assert row.runs > 0


def test_every_fault_of_the_matrix_is_played_or_shown_elsewhere() -> None:
    """The table of the README: each row names a scenario, or a test that exists, or says that nobody plays it."""
    readme = (ROOT / "README.md").read_text()
    table = readme.partition("## Faults")[2].partition("\n## ")[0]
    for number in (*range(1, 20), 23, 24, 25):
        row = "\n".join(line for line in table.splitlines() if line.startswith(f"| F{number} |"))
        tests = TEST.findall(row)
        assert tests or f"F{number}" in {scenario.fault for scenario in SCENARIOS} or "not played" in row, number
        assert row, number
        for file, name in tests:
            assert f"def {name}" in (ROOT / "tests" / file).read_text(), (file, name)


