"""The evidence of an incident says what was done, what was not and why; and every change to it is found without the hub."""

from __future__ import annotations

import copy
import json
from datetime import timedelta
from typing import Any

import pytest

from alerthub.actions.base import Outcome, Report
from alerthub.domain.evidence import faults, sealed
from alerthub.domain.route import Route
from alerthub.domain.rules import ActionRule, Approval, Direction
from alerthub.flow import evidence
from alerthub.flow.audit import anchor
from alerthub.store.database import Store
from alerthub.web.evidence import page_of
from tests.kit.alerts import firing
from tests.kit.world import World, rules_for, safe_mode

pytestmark = pytest.mark.anyio
HOSTILE = '<script>alert(1)</script>"\'&'


async def story(store: Store, *, title: str = "loss") -> World:
    """One alert calls for a tighten that works, and for a neutral action that is held back by its cooldown on another run."""
    retrain = ActionRule("retrain", "prefect", Direction.neutral, targets=("agent-btc",), version="1")
    world = World(store, rules_for(Route("alerts", group_by=("alertname",), actions=("safe-mode", "retrain")),
                                   actions=[safe_mode(), retrain], targets=["agent-btc"]))
    world.actions["retrain", "agent-btc"].report = Report(Outcome.failed, f"the server said no {HOSTILE}", {"url": "http://p/api"})
    await world.receive(firing("Loss", agent="agent-btc", annotations={"summary": title}), body_sha256="ab" * 32)
    await world.drain()
    await world.store.write(lambda tx: anchor(tx, world.clock.now()))
    return world


async def packed(world: World) -> dict[str, Any]:
    found = await world.store.read(lambda tx: evidence.pack(tx, "1", world.clock.now()))
    assert found is not None
    return dict(json.loads(json.dumps(found)))


@pytest.fixture
async def pack(store: Store) -> dict[str, Any]:
    return await packed(await story(store))


async def test_it_says_what_was_done_and_what_was_not_and_why(pack: dict[str, Any]) -> None:
    (done,), (undone,) = pack["summary"]["done"], pack["summary"]["not_done"]
    assert pack["summary"]["pending"] == []
    assert done.startswith("safe-mode on agent-btc was done.")
    assert undone.startswith("retrain on agent-btc FAILED: it was not done.")
    assert "the server said no" in undone
    by_action = {run["action"]: run for run in pack["runs"]}
    assert by_action["safe-mode"]["report"]["verified"] == "safe"
    assert by_action["safe-mode"]["labels"]["agent"] == "agent-btc"
    assert len(by_action["safe-mode"]["body_sha256"]) == 64
    assert [latch["state"] for latch in pack["latches"]] == ["safe"]


async def test_untouched_it_has_no_faults_and_an_anchor_holds_it(pack: dict[str, Any]) -> None:
    assert list(faults(pack)) == []
    assert len(pack["record"]["anchors"]) == 1


def edited_text(pack: dict[str, Any]) -> None:
    pack["record"]["events"][0]["text"] = "nothing happened"


def edited_actor(pack: dict[str, Any]) -> None:
    pack["record"]["events"][1]["actor_name"] = "somebody else"


def removed(pack: dict[str, Any]) -> None:
    del pack["record"]["events"][1]


def cut_off(pack: dict[str, Any]) -> None:
    del pack["record"]["events"][-1]


def reordered(pack: dict[str, Any]) -> None:
    pack["record"]["events"].reverse()


def another_anchor(pack: dict[str, Any]) -> None:
    pack["record"]["anchors"][0]["position"] += 1


@pytest.mark.parametrize("change", [edited_text, edited_actor, removed, cut_off, reordered, another_anchor])
async def test_whoever_edits_it_and_seals_it_anew_is_found(pack: dict[str, Any], change: Any) -> None:
    forged = copy.deepcopy(pack)
    change(forged)
    forged.pop("sha256")
    assert list(faults(sealed(forged))), "the chain did not notice"


async def test_a_change_outside_the_record_is_found_by_the_digest(pack: dict[str, Any]) -> None:
    pack["runs"][0]["state"] = "succeeded"
    pack["summary"]["not_done"] = []
    assert list(faults(pack)) == ["the pack was changed since it was exported: its digest is wrong"]


@pytest.mark.parametrize("pack", [
    {}, [], 3, "x", {"format": "x"}, {"format": "alerthub-evidence-v1", "incident": {}},
    {"format": "alerthub-evidence-v1", "incident": {"number": "x", "seq": 1}},
    {"format": "alerthub-evidence-v1", "incident": []}])
def test_what_is_no_pack_is_refused_plainly(pack: Any) -> None:
    with pytest.raises(ValueError, match="it is") as caught:
        list(faults(pack))
    assert not any(sign in str(caught.value) for sign in ("'", "Error", "invalid literal", "(")), "words of Python"


async def test_the_page_needs_nothing_and_no_label_can_break_out(store: Store) -> None:
    page = page_of(await packed(await story(store, title=HOSTILE)))
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert "src=" not in page
    assert "href=" not in page
    assert page.index("What was not done, and why") < page.index("What was done")


async def test_what_waits_for_people_is_neither_done_nor_left_undone(store: Store) -> None:
    retrain = ActionRule("retrain", "prefect", Direction.neutral, targets=("agent-btc",), version="1",
                         approval=Approval("risk", 2, timedelta(minutes=15)))
    world = World(store, rules_for(Route("alerts", group_by=("alertname",), actions=("retrain",)), actions=[retrain],
                                   targets=["agent-btc"]))
    await world.receive(firing("Drift"))
    await world.drain()
    pack = await packed(world)
    assert pack["summary"] == {"done": [], "not_done": [], "pending": [
        "retrain on agent-btc has NOT been done yet. Why not yet: people must agree first."]}
    page = page_of(pack)
    assert "Nothing so far, but not all that was called for is decided and has ended." in page
    assert "every action that was called for was done" not in page


async def test_where_no_action_was_called_for_nothing_else_is_said(store: Store) -> None:
    world = World(store)
    await world.receive(firing("Drift"))
    assert page_of(await packed(world)).count("Nothing: no action was called for.") == 3


async def test_an_incident_that_is_not_there_has_no_evidence(store: Store) -> None:
    assert await store.read(lambda tx: evidence.pack(tx, "99", World(store).clock.now())) is None
