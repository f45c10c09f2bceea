"""What came of a fault, as one row; and how the table of them is printed, for the terminal and for the README."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from tests.kit.faults.checker import Verdict


@dataclass
class Row:
    """`runs`: how often the fault was caused. `sees`: what an operator reads then, in the hub's own words."""

    how: str
    runs: int = 1
    sees: str = ""
    verdict: Verdict = field(default_factory=Verdict)
    seconds: float = 0.0

    @property
    def word(self) -> str:
        return "; ".join(self.verdict.broken[:3]) or "kept"


@dataclass(frozen=True, slots=True)
class Scenario:
    """One fault of PROTOCOLS 9.1, made by `play(database, times)`. `short` and `long`: how many times with --short and in
    `make faults`; `databases` on which. `in_short`: on which of them it is played in `make test`."""

    fault: str
    play: Callable[[str, int], Row]
    short: int
    long: int
    databases: Sequence[str] = ("sqlite",)
    in_short: Sequence[str] = ()

    @property
    def name(self) -> str:
        play = getattr(self.play, "func", self.play)
        return "-".join([play.__name__, *map(str, getattr(self.play, "args", ()))])

    def played(self, database: str, times: int) -> Row:
        began = time.monotonic()
        row = self.play(database, times)
        row.seconds = time.monotonic() - began
        return row


def line(scenario: Scenario, database: str, row: Row) -> str:
    cells = (scenario.fault, row.how, database, row.runs, row.verdict.lost, row.verdict.doubled, row.word, row.sees or "–")
    return "| " + " | ".join(str(cell).replace("|", "/").replace("\n", " ") for cell in cells) + " |"


HEAD = ("| fault | how | database | runs | lost | doubled | promises | what a person sees |\n"
        "|---|---|---|---|---|---|---|---|")
