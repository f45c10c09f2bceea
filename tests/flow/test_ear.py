"""What the ear answers when the database does not: what is known to be undone, and what nobody knows yet."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from alerthub.domain.command import UNKNOWN, Command, Outcome, Verb
from alerthub.domain.person import Account
from alerthub.engine.listening import Ear
from alerthub.errors import Busy
from alerthub.metrics import Metrics
from tests.kit.clock import FakeClock
from tests.kit.world import rules_for

pytestmark = pytest.mark.anyio


class Deaf:
    """A store that does not take it."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    async def write(self, unit: Callable[[Any], Any]) -> Any:
        raise self.error


@pytest.mark.parametrize(("error", "why", "text"), [
    (TimeoutError(), UNKNOWN, "The hub does not know yet whether that was done; look at the message before you try again."),
    (Busy("database: locked"), "", "The hub cannot store that now. Nothing was done; try again."),
])
async def test_only_what_was_not_taken_is_said_to_be_undone(error: Exception, why: str, text: str) -> None:
    ear = Ear(Deaf(error), rules_for, FakeClock(), Metrics(), lambda: None)  # type: ignore[arg-type]
    answer = await ear.hear(Command(Verb.acknowledge, "1", Account("slack", "AYSE"), "k"))
    assert (answer.outcome, answer.why, answer.text) == (Outcome.busy, why, text)
