"""The guards in the flow: each reason as a story, what people are told of it, and that replicas share every limit; F21, R-41."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from anyio.lowlevel import checkpoint
from sqlalchemy import update

from alerthub.actions.base import Call, Outcome, Report
from alerthub.domain.action import Reason, RunState
from alerthub.domain.answer import Who
from alerthub.domain.approval import Verdict, Vote
from alerthub.domain.command import Verb
from alerthub.domain.event import Actor
from alerthub.domain.latch import LatchState, changed, tightened
from alerthub.domain.matcher import parse_matcher
from alerthub.domain.person import Account
from alerthub.domain.route import Route
from alerthub.domain.rules import ActionRule, Approval, Blast, Circuit, Direction, Guards, Rules, RunMode
from alerthub.flow import act, freeze
from alerthub.flow.change import NotPossible
from alerthub.flow.serving import Armed
from alerthub.store import events as event_store
from alerthub.store import latches, runs, votes
from alerthub.store.database import Store
from alerthub.store.runs import Run
from alerthub.store.schema import action_runs
from alerthub.store.tx import Tx
from tests.kit.alerts import firing, resolved
from tests.kit.clock import START, FakeClock
from tests.kit.stores import database
from tests.kit.world import ScriptedAction, World, person, rules_for, safe_mode

pytestmark = pytest.mark.anyio
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
ETL = Route("alerts", group_by=("alertname",), actions=("retry",))
BOTH = Route("alerts", group_by=("alertname",), actions=("retry",), routes=(
    Route("alerts", matchers=(parse_matcher('alertname="Reward"'),), group_by=("alertname",), actions=("safe-mode",),
          place="route.routes[0]"),))
FAILED, DONE = Report(Outcome.failed, "HTTP 500"), Report(Outcome.succeeded, "done")
AYSE, MEHMET, ECE = person("ayse", "ml"), person("mehmet", "ml"), person("ece", "approver")
PEOPLE = {one.name: one for one in (AYSE, MEHMET, ECE, person("vera", "viewer"), person("root", "admin"))}
TWO = Approval("ml", 2, 15 * MINUTE)
AGENTS = ("agent-btc", "agent-eth")


def retry(**fields: Any) -> ActionRule:
    return ActionRule("retry", "http", Direction.neutral, **{"targets": ("etl",), "version": "1", **fields})


def rules(*actions: ActionRule, route: Route = ETL, **fields: Any) -> Rules:
    return rules_for(route, actions=actions or [retry()], targets=["etl", *AGENTS], people=PEOPLE, **fields)


def who(name: str) -> Who:
    return Who(Account("slack", name.upper(), name), PEOPLE.get(name))


async def states(world: World, number: int = 1) -> list[tuple[RunState, Reason]]:
    return [(run.state, Reason(run.reason)) for run in await world.runs(number)]


async def fire(world: World, *names: str, **labels: str) -> None:
    for name in names:
        await world.receive(firing(name, **labels))
        await world.drain()


TITLES = {"Frozen": ("frozen by",), "ActionFailed": ("act by hand", "it is to stay safe"), "Circuit": ("failed too often",)}


async def own(world: World, name: str) -> list[dict[str, Any]]:
    """The hub's own incidents of this sort."""
    return [found for found in await world.incidents() if found["source"] == "alerthub"
            and any(word in found["title"] for word in TITLES[name])]


def refused(world: World, reason: Reason, action: str = "retry") -> float:
    return world.metrics.registry.get_sample_value(
        "alerthub_action_refused_total", {"action": action, "reason": reason.value}) or 0.0


# -- shadow and dry run

WOULD = Report(Outcome.succeeded, "POST http://etl/retry", {"method": "POST", "url": "http://etl/retry"})


@dataclass
class Rehearsed(ScriptedAction):
    """One that can show its request."""

    asked: list[bool] | None = None
    rehearsal: Report = WOULD

    async def rehearse(self, call: Call, *, ask: bool) -> Report:
        self.asked = [*(self.asked or ()), ask]
        return self.rehearsal


def can_rehearse(world: World) -> Rehearsed:
    action = Rehearsed()
    world.actions["retry", "etl"] = action
    world.arsenal["retry", "etl"] = Armed(action, world.arsenal["retry", "etl"].settings)
    return action


@pytest.mark.parametrize(("mode", "reason", "word", "ask"), [
    (RunMode.shadow, Reason.shadow, "shadow mode", False), (RunMode.dry_run, Reason.dry_run, "dry run", True)])
async def test_what_is_not_live_shows_its_request_and_sends_none(world: World, mode: RunMode, reason: Reason, word: str,
                                                               ask: bool) -> None:
    world.configure(rules(retry(mode=mode, approval=TWO)))
    action = can_rehearse(world)
    await fire(world, "Etl")
    (run,) = await world.runs()
    assert (run.state, run.reason, run.mode, action.calls, action.asked) == (RunState.refused, reason, mode, [], [ask])
    assert run.report["request"] == {"method": "POST", "url": "http://etl/retry"}
    assert (await world.history())[-1] == (f"Action retry on etl would have been run ({word}): POST http://etl/retry; 2 with the "
                                           "role ml would have to approve it first")
    assert refused(world, reason) == 1
    assert len(await world.incidents()) == 1, "nobody is paged"


async def test_a_rehearsal_that_goes_wrong_says_so_and_pages_nobody(world: World) -> None:
    world.configure(rules(guards=Guards(mode=RunMode.dry_run)))
    can_rehearse(world).rehearsal = Report(Outcome.failed, "the API server does not allow it (403)")
    await fire(world, "Etl")
    assert "would NOT have worked (dry run): the API server does not allow it (403)" in (await world.history())[-1]
    assert await states(world) == [(RunState.refused, Reason.dry_run)]
    assert len(await world.incidents()) == 1


async def test_an_action_that_cannot_rehearse_is_not_run_either(world: World) -> None:
    world.configure(rules(retry(mode=RunMode.shadow)))
    await fire(world, "Etl")
    assert await states(world) == [(RunState.refused, Reason.shadow)]
    assert not world.actions["retry", "etl"].calls


async def test_the_mode_of_all_does_not_weaken_a_tighten(world: World) -> None:
    world.configure(rules(safe_mode(), retry(), route=BOTH, guards=Guards(max_per_hour=1, mode=RunMode.shadow)))
    for name in ("Reward", "Reward2"):
        await fire(world, name, agent="agent-btc")
    assert len(world.actions["safe-mode", "agent-btc"].calls) == 1
    assert not world.actions["retry", "etl"].calls


async def test_a_shadow_obeys_its_limits_and_does_not_use_up_those_of_what_is_live(world: World) -> None:
    world.configure(rules(retry(mode=RunMode.shadow, max_per_hour=1)))
    await fire(world, "A", "B")
    assert [await states(world, number) for number in (1, 2)] == [
        [(RunState.refused, Reason.shadow)], [(RunState.refused, Reason.over_hourly_limit)]]
    world.configure(rules(retry(max_per_hour=1)))
    await fire(world, "C")
    assert await states(world, 3) == [(RunState.succeeded, Reason.allowed)]


async def test_a_rehearsal_that_a_crash_cut_off_is_made_again(world: World) -> None:
    world.configure(rules(retry(mode=RunMode.shadow)))
    await world.receive(firing("Etl"))
    claimed = await world.store.write(lambda tx: act.claim(tx, world.rules, world.arsenal, 5, "dead", world.clock.now()))
    assert len(claimed.started) == 1
    await world.advance(minutes=5)
    assert await states(world) == [(RunState.refused, Reason.shadow)]
    assert not world.actions["retry", "etl"].calls


# -- freeze

async def put(world: World, scope: str = "", by: str = "ayse", why: str = "the API of the exchange is down") -> str:
    return await world.store.write(lambda tx: freeze.freeze(tx, world.rules, scope, who(by), why, world.clock.now()))


async def lift(world: World, scope: str = "", by: str = "ece") -> str:
    return await world.store.write(lambda tx: freeze.lift(tx, world.rules, scope, who(by), world.clock.now()))


async def test_a_freeze_holds_everything_but_a_tighten_until_a_person_lifts_it(world: World) -> None:
    world.configure(rules(safe_mode(), retry(), route=BOTH))
    assert await put(world) == ("All actions are frozen. Nothing but tightening starts, until a person lifts it. What is refused "
                                "meanwhile is not made up for.")
    await fire(world, "Etl")
    await fire(world, "Reward", agent="agent-btc")
    assert await states(world, 2) == [(RunState.refused, Reason.frozen)]
    assert "ayse froze all actions at 2026" in (await world.history(2))[-1]
    assert "the API of the exchange is down" in (await world.history(2))[-1]
    assert {run.state for run in await world.runs(3) if run.action == "safe-mode"} == {RunState.succeeded}
    assert len(await own(world, "Frozen")) == 1, "what is refused is no news of the freeze"
    await lift(world)
    await world.drain()
    assert not world.actions["retry", "etl"].calls, "a stale action does not fire when the freeze is lifted"
    await fire(world, "Later")
    assert await states(world, 4) == [(RunState.succeeded, Reason.allowed)]


async def test_a_freeze_is_an_incident_whose_history_names_who_did_it(world: World) -> None:
    world.configure(rules())
    await put(world)
    await world.drain()
    (found,) = await own(world, "Frozen")
    assert (found["status"], found["severity"], found["title"]) == ("triggered", "warning", "All actions are frozen by ayse")
    await lift(world)
    await world.drain()
    told = await world.store.read(lambda tx: event_store.after(tx, found["id"], 0))
    assert [(event.actor, event.text.partition(" at ")[0], event.data["account"])
            for event in told if event.actor.kind == "person"] == [
        (Actor("person", "ayse"), "ayse froze all actions", "slack:AYSE"),
        (Actor("person", "ece"), "ece lifted the freeze of all actions", "slack:ECE")]
    assert [found["status"] for found in await own(world, "Frozen")] == ["resolved"]
    await put(world)
    assert [found["status"] for found in await own(world, "Frozen")] == ["triggered"], "it can be frozen again"


async def test_a_freeze_of_one_action_leaves_the_others(world: World) -> None:
    world.configure(rules(retry(), ActionRule("tag", "mlflow", Direction.neutral, ("etl",), version="1"), route=Route(
        "alerts", group_by=("alertname",), actions=("retry", "tag"))))
    await put(world, "retry")
    await fire(world, "Etl")
    assert {run.action: run.reason for run in await world.runs(2)} == {"retry": "frozen", "tag": "allowed"}


async def test_a_freeze_whose_alarm_was_closed_shows_again_when_it_holds_something(world: World) -> None:
    world.configure(rules())
    await put(world)
    (alarm,) = await own(world, "Frozen")
    await world.command(Verb.resolve, alarm["number"], by="root", forced=True)
    assert [found["status"] for found in await own(world, "Frozen")] == ["resolved"]
    await fire(world, "Etl")
    assert [found["status"] for found in await own(world, "Frozen")] == ["triggered"]


@pytest.mark.parametrize(("by", "may_freeze", "may_lift"), [
    ("ayse", True, False), ("ece", True, True), ("root", True, True), ("vera", False, False), ("stranger", False, False)])
async def test_who_may_freeze_and_who_may_lift(world: World, by: str, may_freeze: bool, may_lift: bool) -> None:
    world.configure(rules())
    if may_freeze:
        await put(world, by=by)
    else:
        with pytest.raises(NotPossible, match="may not freeze"):
            await put(world, by=by)
        await put(world)
    if may_lift:
        assert await lift(world, by=by) == "All actions are not frozen any more."
    else:
        with pytest.raises(NotPossible, match="Only a person"):
            await lift(world, by=by)


async def test_the_command_line_freezes_and_does_not_lift(world: World) -> None:
    world.configure(rules())
    nobody = Who(Account("cli", "root", "root"), None)
    await world.store.write(lambda tx: freeze.freeze(tx, world.rules, "", nobody, "", world.clock.now()))
    with pytest.raises(NotPossible, match="Only a person whom the hub knows"):
        await world.store.write(lambda tx: freeze.lift(tx, world.rules, "", nobody, world.clock.now()))


@pytest.mark.parametrize(("scope", "said"), [("retri", "There is no action retri; there are retry, safe-mode"),
                                            ("safe-mode", "safe-mode tightens, and nothing may hold that back")])
async def test_what_cannot_be_frozen_is_said(world: World, scope: str, said: str) -> None:
    world.configure(rules(safe_mode(), retry()))
    with pytest.raises(NotPossible, match=said):
        await put(world, scope)


async def test_twice_frozen_and_not_frozen_are_said(world: World) -> None:
    world.configure(rules())
    with pytest.raises(NotPossible, match="not frozen by itself; what is frozen: none"):
        await lift(world)
    await put(world)
    with pytest.raises(NotPossible, match="frozen already"):
        await put(world)
    await put(world, "retry")
    assert await lift(world) == "All actions are not frozen any more. Still frozen: retry."


async def test_what_a_crash_cut_off_is_not_gone_on_with_under_a_freeze(world: World) -> None:
    world.configure(rules(retry(resumable=True)))
    await world.receive(firing("Etl"))
    await world.store.write(lambda tx: act.claim(tx, world.rules, world.arsenal, 5, "dead", world.clock.now()))
    await put(world)
    await world.advance(minutes=5)
    assert await states(world) == [(RunState.unknown, Reason.frozen)]
    assert not world.actions["retry", "etl"].calls
    assert len(await own(world, "ActionFailed")) == 1


# -- circuit

async def test_repeated_failures_open_the_circuit_page_once_and_one_trial_closes_it(world: World) -> None:
    world.configure(rules(retry(circuit=Circuit(2, HOUR))))
    action = world.actions["retry", "etl"]
    action.report = FAILED
    await fire(world, "A", "B", "C", "D")
    assert len(action.calls) == 2
    (alarm,) = await own(world, "Circuit")
    assert (alarm["severity"], alarm["status"]) == ("critical", "triggered")
    assert refused(world, Reason.circuit_open) == 2
    world.clock.advance(hours=1)
    await fire(world, "Trial", "Next")
    assert len(action.calls) == 3, "a failed trial opens it again"
    assert [found["status"] for found in await own(world, "Circuit")] == ["triggered"]
    world.clock.advance(hours=1)
    action.report = DONE
    await fire(world, "Again", "AndOn")
    assert len(action.calls) == 5
    assert [found["status"] for found in await own(world, "Circuit")] == ["resolved"]


async def test_only_one_run_tries_at_a_time(world: World) -> None:
    world.configure(rules(retry(circuit=Circuit(1, HOUR))))
    action = world.actions["retry", "etl"]
    action.report = FAILED
    await fire(world, "A")
    world.clock.advance(hours=1)
    hold = action.hold = asyncio.Event()
    await world.receive(firing("B"))
    await world.receive(firing("C"))
    await world.worker.run_once()
    while len(action.calls) < 2:
        await checkpoint()
    action.report = DONE
    hold.set()
    await world.drain()
    ends = [await states(world, found["number"]) for found in await world.incidents() if found["title"] in ("B", "C")]
    assert sorted(ends) == [[(RunState.refused, Reason.circuit_open)], [(RunState.succeeded, Reason.allowed)]]


async def test_a_success_between_failures_keeps_it_closed(world: World) -> None:
    world.configure(rules(retry(circuit=Circuit(2, HOUR))))
    action = world.actions["retry", "etl"]
    for name, report in (("A", FAILED), ("B", DONE), ("C", FAILED), ("D", DONE)):
        action.report = report
        await fire(world, name)
    assert len(action.calls) == 4


async def test_failed_safe_modes_open_no_circuit(world: World) -> None:
    world.configure(rules(safe_mode(circuit=Circuit(1, HOUR)), route=Route(
        "alerts", group_by=("alertname",), actions=("safe-mode",))))
    world.actions["safe-mode", "agent-btc"].report = FAILED
    await fire(world, "A", "B", "C", agent="agent-btc")
    assert len(world.actions["safe-mode", "agent-btc"].calls) == 3


# -- limits

async def test_all_actions_share_one_limit_of_which_tightening_knows_nothing(world: World) -> None:
    tag = ActionRule("tag", "mlflow", Direction.neutral, ("etl",), version="1")
    world.configure(rules(retry(), tag, safe_mode(), guards=Guards(max_per_hour=2), route=Route(
        "alerts", group_by=("alertname",), actions=("retry", "tag", "safe-mode"))))
    await fire(world, "A", agent="agent-btc")
    await fire(world, "B", agent="agent-eth")
    assert {run.action: run.reason for run in await world.runs(2)} == {
        "retry": "over_limit_of_all", "tag": "over_limit_of_all", "safe-mode": "tighten"}
    await world.advance(hours=1)
    await fire(world, "C", agent="agent-btc")
    assert {run.reason for run in await world.runs(3)} == {"allowed", "tighten"}


async def test_the_blast_radius_counts_targets_not_runs(world: World) -> None:
    everywhere = Route("alerts", group_by=("alertname",), actions=("retry",))
    world.configure(rules(retry(targets=(), target_label="agent", blast=Blast(1, within=10 * MINUTE)), route=everywhere))
    for name, agent in (("A", "agent-btc"), ("B", "agent-eth"), ("C", "agent-btc")):
        await fire(world, name, agent=agent)
    assert [await states(world, number) for number in (1, 2, 3)] == [
        [(RunState.succeeded, Reason.allowed)], [(RunState.refused, Reason.blast_radius)], [(RunState.succeeded, Reason.allowed)]]
    await world.advance(minutes=10)
    await fire(world, "D", agent="agent-eth")
    assert await states(world, 4) == [(RunState.succeeded, Reason.allowed)]


# -- approval (F21)

async def vote(world: World, name: str, verdict: Verdict = Verdict.approve, number: int = 1) -> None:
    now = world.clock.now()
    (run,) = await world.runs(number)

    def said(tx: Tx) -> None:
        votes.add(tx, run.subject, Vote(name, f"slack:{name}", "slack", verdict, now))
        runs.decide(tx, run.id, due_at=now)

    await world.store.write(said)
    await world.drain()


async def ask(world: World, asked_by: str = "", **fields: Any) -> None:
    world.configure(rules(retry(approval=TWO, **fields)))
    await world.receive(firing("Etl"))
    if asked_by:
        await world.store.write(lambda tx: tx.conn.execute(update(action_runs).values(asked_by=asked_by)))
    await world.drain()
    assert await states(world) == [(RunState.awaiting_approval, Reason.needs_approval)]


async def test_two_people_make_it_start_and_one_does_not(world: World) -> None:
    await ask(world)
    assert "waits: 2 more with the role ml must approve it" in (await world.history())[-1]
    await vote(world, "ayse")
    await vote(world, "ayse")
    assert await states(world) == [(RunState.awaiting_approval, Reason.needs_approval)]
    await vote(world, "mehmet")
    assert await states(world) == [(RunState.succeeded, Reason.allowed)]
    await vote(world, "mehmet")
    assert len(world.actions["retry", "etl"].calls) == 1


async def test_the_word_of_whoever_asked_does_not_count(world: World) -> None:
    await ask(world, asked_by="ayse")
    await vote(world, "ayse")
    await vote(world, "mehmet")
    assert await states(world) == [(RunState.awaiting_approval, Reason.needs_approval)]


async def test_a_no_ends_it(world: World) -> None:
    await ask(world)
    await vote(world, "ayse")
    await vote(world, "mehmet", Verdict.deny)
    assert await states(world) == [(RunState.refused, Reason.denied)]
    assert "was NOT RUN: mehmet said no" in (await world.history())[-1]


async def test_the_word_of_somebody_without_the_role_or_who_has_left_does_not_count(world: World) -> None:
    await ask(world)
    await vote(world, "ece")
    await vote(world, "gone")
    await vote(world, "ayse")
    assert await states(world) == [(RunState.awaiting_approval, Reason.needs_approval)]


async def test_nothing_starts_after_the_time_to_approve_it(world: World) -> None:
    """Not even when the hub was down at the end of it, and the second word comes first."""
    await ask(world)
    await vote(world, "ayse")
    world.clock.advance(minutes=15, seconds=1)
    await vote(world, "mehmet")
    assert await states(world) == [(RunState.expired, Reason.not_approved)]
    assert "1 of 2 people approved it" in (await world.history())[-1]
    assert not world.actions["retry", "etl"].calls


async def test_nothing_starts_that_is_approved_after_the_incident_is_over(world: World) -> None:
    await ask(world)
    await world.receive(resolved("Etl"))
    await vote(world, "ayse")
    await vote(world, "mehmet")
    assert await states(world) == [(RunState.refused, Reason.incident_closed)]


async def test_nothing_starts_that_is_approved_after_the_action_was_changed(world: World) -> None:
    await ask(world)
    world.configure(rules(retry(approval=TWO, version="2")))
    await vote(world, "ayse")
    await vote(world, "mehmet")
    assert await states(world) == [(RunState.refused, Reason.rule_changed)]


async def test_nothing_starts_that_is_approved_under_a_freeze(world: World) -> None:
    await ask(world)
    await vote(world, "ayse")
    await put(world)
    await vote(world, "mehmet")
    assert await states(world) == [(RunState.refused, Reason.frozen)]


# -- releases

async def propose_release(world: World, state: LatchState = LatchState.releasing) -> None:
    """A latch in this state, and the run that tells its target."""
    world.configure(rules(safe_mode(releases=True), route=Route("alerts", group_by=("alertname",), actions=("safe-mode",))))
    await fire(world, "Reward", agent="agent-btc")
    await world.receive(resolved("Reward", agent="agent-btc"))
    await world.drain()
    (tighten,) = await world.runs()
    now = world.clock.now()

    def release(tx: Tx) -> None:
        latch = tightened(latches.lock(tx, ["agent-btc"], now)["agent-btc"], "safe-mode", tighten.incident_id, now)
        moved = changed(latch, state, now, asked_by="ayse")
        latches.save(tx, moved)
        runs.propose(tx, [row_of(tighten, tx.new_id(), moved.seq)])

    await world.store.write(release)
    world.actions["safe-mode", "agent-btc"].calls.clear()
    await world.drain()


def row_of(tighten: Run, new_id: str, number: int) -> dict[str, Any]:
    return {"id": new_id, "incident_id": tighten.incident_id, "episode": tighten.episode, "action": "safe-mode",
            "target": "agent-btc", "direction": "relax", "state": "proposed", "reason": "allowed", "why": "released",
            "rule_version": "1", "body_sha256": "", "labels": {}, "created_at": START, "due_at": START, "finished_at": None,
            "round": number, "asked_by": "ayse"}


async def test_a_release_that_its_latch_does_not_hold_any_more_is_refused_and_pages(world: World) -> None:
    await propose_release(world, LatchState.safe)
    release = next(run for run in await world.runs() if run.direction == "relax")
    assert (release.state, release.reason) == (RunState.refused, Reason.latch_moved)
    assert [found["title"] for found in await own(world, "ActionFailed")] == [
        "The release of agent-btc was NOT RUN: it is to stay safe"]
    assert not [call for call in world.actions["safe-mode", "agent-btc"].calls if call.release]


async def test_a_release_without_its_proof_and_people_is_refused(world: World) -> None:
    await propose_release(world)
    release = next(run for run in await world.runs() if run.direction == "relax")
    assert (release.state, release.reason) == (RunState.refused, Reason.not_proved)
    assert not [call for call in world.actions["safe-mode", "agent-btc"].calls if call.release]


# -- what people see

async def test_a_failed_action_is_critical_whatever_its_incident_is(world: World) -> None:
    world.configure(rules())
    world.actions["retry", "etl"].report = FAILED
    await fire(world, "Etl", severity="warning")
    assert [(found["severity"], found["title"]) for found in await own(world, "ActionFailed")] == [
        ("critical", "retry on etl FAILED: act by hand")]


async def test_what_can_be_undone_says_how(world: World) -> None:
    world.configure(rules())
    how = "kubectl -n prod scale deployment/etl --replicas=2"
    world.actions["retry", "etl"].report = Report(Outcome.succeeded, "scaled from 2 to 4", undo={"how": how, "method": "PATCH"})
    await fire(world, "Etl")
    assert (await world.history())[-1] == f"Action retry on etl succeeded: scaled from 2 to 4. To undo it: {how}"
    assert (await world.runs())[0].report["undo"] == {"how": how, "method": "PATCH"}


# -- replicas

async def test_what_breaks_the_decision_about_others_does_not_keep_a_tighten_back(world: World) -> None:
    world.configure(rules(safe_mode(), retry(), route=BOTH))
    await world.receive(firing("Etl"))
    await world.store.write(lambda tx: tx.conn.execute(update(action_runs).values(labels="{")))
    await world.receive(firing("Reward", agent="agent-btc"))
    with pytest.raises(ValueError, match="property name"):
        await world.worker.run_once()
    while not world.actions["safe-mode", "agent-btc"].calls:
        await checkpoint()
    await asyncio.gather(*world.worker.under_way)


@contextmanager
def two_at_work(first: Store, second: Store) -> Iterator[tuple[Tx, Tx]]:
    """Two transactions at the same time, as two replicas have them."""
    with first.engine.connect() as one, second.engine.connect() as other, one.begin(), other.begin():
        yield Tx(one, first.new_id), Tx(other, second.new_id)


@pytest.mark.postgres
@pytest.mark.parametrize(("fields", "reason"), [
    ({"max_per_hour": 1}, Reason.over_hourly_limit), ({"cooldown": HOUR}, Reason.cooling_down),
    ({"targets": (), "target_label": "agent", "blast": Blast(1)}, Reason.blast_radius)],
    ids=["per hour", "cooldown", "blast radius"])
async def test_two_replicas_that_claim_at_once_pass_no_limit(tmp_path: Any, clock: FakeClock, fields: dict[str, Any],
                                                            reason: Reason) -> None:
    with database("postgres", tmp_path) as url:
        first, second = Store(url, clock.new_id), Store(url, clock.new_id)
        world = World(first, rules(retry(**fields)), clock)
        await world.receive(firing("A", agent="agent-btc"))
        with two_at_work(first, second) as (one, other):
            winner = act.claim(one, world.rules, world.arsenal, 5, "replica-1", clock.now())
            assert len(winner.started) == 1
            await world.receive(firing("B", agent="agent-eth"))
            assert act.claim(other, world.rules, world.arsenal, 5, "replica-2", clock.now()) == act.Claimed()
            tighten = act.claim_tightening(other, world.rules, world.arsenal, "replica-2", clock.now())
            assert tighten.runs == 0, "and whoever only tightens waits for nobody"
        later = await second.write(lambda tx: act.claim(tx, world.rules, world.arsenal, 5, "replica-2", clock.now()))
        assert (later.started, later.refused) == ([], [("retry", reason)])
        first.close()
        second.close()


@pytest.mark.postgres
async def test_many_claims_at_once_start_what_the_limit_allows(tmp_path: Any, clock: FakeClock) -> None:
    with database("postgres", tmp_path) as url:
        stores = [Store(url, clock.new_id) for _ in range(2)]
        world = World(stores[0], rules(retry(max_per_hour=3)), clock)
        for number in range(12):
            await world.receive(firing(f"A{number}"))
        unit = lambda tx: act.claim(tx, world.rules, world.arsenal, 1, "replica", clock.now())      # noqa: E731
        claimed = [act.Claimed(runs=1)]
        while any(found.runs for found in claimed[-8:]):
            claimed += await asyncio.gather(*[store.write(unit) for store in stores * 4])
        assert sum(len(found.started) for found in claimed) == 3
        assert sum(len(found.refused) for found in claimed) == 9
        for store in stores:
            store.close()
