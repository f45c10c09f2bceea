"""kill -9 at every step of an action, a few times each; `make kills` does it 200 times. After a restart nothing was done twice,
whatever is not known has a page, safe mode was gone on with and verified, and no agent is armed unnoticed."""

from __future__ import annotations

import pytest

from alerthub.toy_agent import ToyAgent
from tests.kit import kills
from tests.kit.stores import EACH_DATABASE

pytestmark = pytest.mark.slow
TIMES = 3


@pytest.mark.parametrize("kind", kills.KINDS)
@pytest.mark.parametrize("which", EACH_DATABASE)
def test_no_effect_is_doubled_and_every_doubt_is_paged(which: str, kind: str) -> None:
    for step in kills.STEPS:
        tried = kills.try_out(which, kind, step, TIMES)
        assert tried.broken == [], step
        state, effects = kills.OUTCOMES[kind][step]
        assert (tried.states, tried.effects) == ({state: TIMES}, effects * TIMES), step
        assert tried.paged == (TIMES if state == "unknown" else 0), step
        assert tried.verified == (TIMES if kind != "neutral" and state == "succeeded" else 0), step


@pytest.mark.parametrize(("mode", "latch", "pages", "broken"), [
    ("safe", "safe", [], 0), ("trading", "released", [], 0), ("trading", "safe", [], 1), ("safe", "released", [], 1),
    ("trading", "safe", ["agent-1"], 0), ("safe", "releasing", [], 2), ("trading", "armed", [], 1),
])
def test_an_agent_that_is_not_as_its_latch_says_is_seen(mode: str, latch: str, pages: list[str], broken: int) -> None:
    agent = ToyAgent("agent-1", mode=mode)
    assert len(list(kills.unsafe(agent, {"agent-1": latch}, {("incident", page, False) for page in pages}))) == broken
