"""Looking back over what the hub itself lived through, on both databases: an agent made safe, a person called, an answer."""

from __future__ import annotations

from datetime import timedelta

import pytest

from alerthub.domain.analytics import Span
from alerthub.domain.command import Verb
from alerthub.domain.route import Route
from alerthub.domain.rules import EscalationPolicy, PolicyStep
from alerthub.flow import report
from alerthub.flow.analytics import look_back
from alerthub.store.analytics import Scope
from tests.kit.alerts import firing, resolved
from tests.kit.clock import START
from tests.kit.world import World, contact, person, rules_for, safe_mode

pytestmark = pytest.mark.anyio
OWN = "telegram:5"


@pytest.fixture
def lived_in(world: World) -> World:
    policy = EscalationPolicy("trading", (PolicyStep((("person", "ayse"),)),))
    route = Route("alerts", group_by=("alertname",), actions=("safe-mode",), escalation_policy="trading")
    world.configure(rules_for(route, actions=[safe_mode()], targets=["agent-btc"], policies={"trading": policy},
                              people={"ayse": person("ayse")}, contacts={"ayse": (contact(OWN),)}))
    return world


async def live(world: World) -> None:
    await world.receive(firing("RewardNegative", severity="critical", agent="agent-btc"))
    await world.drain()
    await world.advance(minutes=4)
    await world.command(Verb.acknowledge, 1)
    await world.advance(minutes=6)
    await world.receive(resolved("RewardNegative", severity="critical", agent="agent-btc", ends_at=world.clock.now()))
    await world.advance(minutes=50)


async def test_what_was_lived_through_is_what_is_counted(lived_in: World) -> None:
    await live(lived_in)
    scope = Scope(Span(START, lived_in.clock.now()))
    found = await lived_in.store.read(lambda tx: look_back(tx, lived_in.rules, scope))
    times = found["incidents"]
    assert (times["count"], times["to_acknowledge"]["median_seconds"], times["to_resolve"]["p90_seconds"]) == (1, 240, 600)
    (action,) = found["actions"]
    assert (action["action"], action["started"], action["verified"], action["rate"]) == ("safe-mode", 1, 1, 1.0)
    (safe,) = found["safe_mode"]
    assert (safe["target"], safe["times"], safe["is_safe"]) == ("agent-btc", 1, True)
    assert safe["seconds"] == pytest.approx(3600, abs=5)
    assert [(one["person"], one["notifications"], one["at_night"]) for one in found["woken"]] == [("ayse", 1, 1)]
    assert {one["channel"]: one["dead"] for one in found["deliveries"]} == {"slack": 0, "telegram": 0}


async def test_its_report_says_who_was_called_what_was_done_and_how_it_is_proved(lived_in: World) -> None:
    await live(lived_in)
    now = lived_in.clock.now()
    shown = await lived_in.store.read(lambda tx: report.show(tx, lived_in.rules, "1", now))
    assert shown is not None
    for words in ("It lasted 10 min", "acknowledged it after 4 min", "safe-mode on agent-btc was done.", "| telegram:5 | ayse |",
                  "agent-btc is latched safe", "hash "):
        assert words in shown.shown.text, words


async def test_before_it_and_after_it_there_is_nothing_but_what_lasts(lived_in: World) -> None:
    await live(lived_in)
    now = lived_in.clock.now()
    for span, hours in ((Span(START - timedelta(days=2), START), 0), (Span(now, now + timedelta(hours=1)), 1)):
        found = await lived_in.store.read(lambda tx, span=span: look_back(tx, lived_in.rules, Scope(span)))
        assert (found["incidents"]["count"], found["actions"], found["woken"], found["noise"]) == (0, [], [], [])
        assert sum(one["seconds"] for one in found["safe_mode"]) == hours * 3600
