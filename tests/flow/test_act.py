"""Actions run at most once: proposed with the alert, started before the effect, unknown when in doubt; R-40 … R-44."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from anyio.lowlevel import checkpoint

from alerthub.actions.base import Outcome, Report
from alerthub.domain.action import Reason, RunState
from alerthub.domain.matcher import parse_matcher
from alerthub.domain.message import Why
from alerthub.domain.route import Route
from alerthub.domain.rules import ActionRule, Approval, Direction
from alerthub.flow import watch
from tests.kit.alerts import firing, resolved
from tests.kit.world import SLACK, World, destination, rules_for, safe_mode

pytestmark = pytest.mark.anyio
ROUTE = Route("alerts", group_by=("alertname",), actions=("safe-mode",))
HOOK = Route("alerts", group_by=("alertname",), actions=("retry",))


def retry(**fields: object) -> ActionRule:
    return ActionRule("retry", "http", Direction.neutral, **{"targets": ("etl",), "version": "1", **fields})


def with_agent(world: World) -> None:
    world.configure(rules_for(ROUTE, actions=[safe_mode()], targets=["agent-btc", "agent-eth"]))


def with_retry(world: World, **fields: object) -> None:
    world.configure(rules_for(HOOK, actions=[retry(**fields)], targets=["etl"]))


async def test_a_firing_alert_switches_its_agent_to_safe_mode_and_people_are_told(world: World) -> None:
    with_agent(world)
    await world.receive(firing("Reward", agent="agent-btc"))
    await world.drain()
    assert [call.target for call in world.actions["safe-mode", "agent-btc"].calls] == ["agent-btc"]
    assert not world.actions["safe-mode", "agent-eth"].calls
    (run,) = await world.runs()
    assert (run.state, run.reason) == (RunState.succeeded, Reason.tighten)
    assert world.slack.messages[-1].why is Why.action
    assert "safe-mode on agent-btc succeeded" in " ".join(world.slack.messages[-1].news)


async def test_a_webhook_that_calls_for_no_action_has_none_looked_for_and_one_that_is_due_is_found(world: World) -> None:
    """A look for actions costs the database as much as a webhook does."""
    with_agent(world)
    await world.drain()
    await world.worker.look()
    await world.receive(firing("Reward", agent="agent-btc"))
    world.worker.nudge(may_act=False)
    calls = world.actions["safe-mode", "agent-btc"].calls
    await world.worker.look()
    await checkpoint()
    assert not calls
    await world.worker.look()       # by then it has seen that one is due
    await checkpoint()
    assert len(calls) == 1
    await world.drain()


async def test_the_same_alert_again_does_not_run_it_again(world: World) -> None:
    with_agent(world)
    for _ in range(5):
        await world.receive(firing("Reward", agent="agent-btc"))
        await world.drain()
    assert len(world.actions["safe-mode", "agent-btc"].calls) == 1


async def test_every_agent_of_a_group_is_switched(world: World) -> None:
    with_agent(world)
    await world.receive(firing("Reward", agent="agent-btc"))
    await world.receive(firing("Reward", agent="agent-btc"), firing("Reward", agent="agent-eth"))
    await world.drain()
    assert sorted(run.target for run in await world.runs()) == ["agent-btc", "agent-eth"]


async def test_the_next_episode_switches_again(world: World) -> None:
    with_agent(world)
    await world.receive(firing("Reward", agent="agent-btc"))
    await world.receive(resolved("Reward", agent="agent-btc"))
    await world.receive(firing("Reward", agent="agent-btc"))
    await world.drain()
    assert len(world.actions["safe-mode", "agent-btc"].calls) == 2


async def test_a_resolve_before_the_start_does_not_stop_a_tighten(world: World) -> None:
    with_agent(world)
    await world.receive(firing("Reward", agent="agent-btc"))
    await world.receive(resolved("Reward", agent="agent-btc"))
    await world.drain()
    assert len(world.actions["safe-mode", "agent-btc"].calls) == 1


@pytest.mark.parametrize("labels", [{"agent": "agent-doge"}, {}, {"agent": "http://evil/mode"}, {"agent": "../agent-btc"}])
async def test_a_label_can_only_choose_a_configured_target(world: World, labels: dict[str, str]) -> None:
    """An action in doubt is not run; a tighten that has no target pages."""
    with_agent(world)
    await world.receive(firing("Reward", **labels))
    await world.drain()
    assert not any(action.calls for action in world.actions.values())
    (run,) = await world.runs()
    assert (run.state, run.reason) == (RunState.refused, Reason.unknown_target)
    assert "AlerthubActionFailed" in {message.common_labels.get("alertname") for message in world.slack.messages}


@pytest.mark.parametrize(("report", "state"), [
    (Report(Outcome.failed, "connection refused"), RunState.failed),
    (Report(Outcome.unknown, "no answer"), RunState.unknown),
])
async def test_a_failed_or_unconfirmed_action_pages_at_once(world: World, report: Report, state: RunState) -> None:
    with_agent(world)
    world.actions["safe-mode", "agent-btc"].report = report
    await world.receive(firing("Reward", agent="agent-btc"))
    await world.drain()
    assert [run.state for run in await world.runs()] == [state]
    pages = [message for message in world.slack.messages if message.source == "alerthub"]
    assert [(page.severity.value, page.title) for page in pages] == [
        ("critical", f"safe-mode on agent-btc {'FAILED' if state is RunState.failed else 'is UNCONFIRMED'}: act by hand")]


async def test_an_action_that_raises_is_unknown_and_pages(world: World) -> None:
    with_agent(world)
    world.actions["safe-mode", "agent-btc"].error = RuntimeError("boom")
    await world.receive(firing("Reward", agent="agent-btc"))
    await world.drain()
    assert [run.state for run in await world.runs()] == [RunState.unknown]


async def test_the_page_ends_when_the_action_succeeds_on_that_target(world: World) -> None:
    with_agent(world)
    action = world.actions["safe-mode", "agent-btc"]
    action.report = Report(Outcome.failed, "connection refused")
    await world.receive(firing("Reward", agent="agent-btc"))
    await world.drain()
    action.report = Report(Outcome.succeeded, "safe")
    await world.receive(resolved("Reward", agent="agent-btc"))
    await world.receive(firing("Reward", agent="agent-btc"))
    await world.drain()
    assert {incident["source"]: incident["status"] for incident in await world.incidents()} == {
        "alerthub": "resolved", "alertmanager": "triggered"}


async def crash(world: World) -> None:
    """Start what is due, and die before it has ended."""
    hold = asyncio.Event()
    for action in world.actions.values():
        action.hold = hold
    await world.worker.run_once()
    while not (held := sum(len(action.calls) for action in world.actions.values())) or len(world.worker.under_way) > held:
        await checkpoint()      # only the actions are still under way
    for task in world.worker.under_way:
        task.cancel()
    await asyncio.gather(*world.worker.under_way, return_exceptions=True)
    for action in world.actions.values():
        action.hold = None
    world.clock.advance(seconds=60)


async def test_a_run_that_a_crash_cut_off_is_unknown_never_rerun_and_pages(world: World) -> None:
    with_retry(world)
    await world.receive(firing("Etl"))
    await crash(world)
    second = world.new_worker("replica-2")
    await world.drain(second)
    (run,) = await world.runs()
    assert (run.state, run.reason) == (RunState.unknown, Reason.crashed)
    assert len(world.actions["retry", "etl"].calls) == 1
    assert any(message.source == "alerthub" for message in world.slack.messages)


async def test_a_tighten_that_a_crash_cut_off_goes_on_with_the_same_key(world: World) -> None:
    with_agent(world)
    await world.receive(firing("Reward", agent="agent-btc"))
    await crash(world)
    await world.drain(world.new_worker("replica-2"))
    first, second = world.actions["safe-mode", "agent-btc"].calls
    assert (first.id, first.resumed, second.resumed) == (second.id, False, True)
    assert [run.state for run in await world.runs()] == [RunState.succeeded]


async def test_a_cooldown_refuses_and_says_so(world: World) -> None:
    with_retry(world, cooldown=timedelta(hours=6))
    await world.receive(firing("Etl", flow="a"))
    await world.drain()
    await world.receive(resolved("Etl", flow="a"))
    await world.receive(firing("Etl", flow="a"))
    await world.drain()
    assert len(world.actions["retry", "etl"].calls) == 1
    assert [(run.state, run.reason) for run in await world.runs()] == [
        (RunState.succeeded, Reason.allowed), (RunState.refused, Reason.cooling_down)]
    assert "cooldown" in " ".join(news for message in world.slack.messages for news in message.news)


async def test_a_limit_per_hour_refuses(world: World) -> None:
    with_retry(world, max_per_hour=1)
    await world.receive(firing("Etl"))
    await world.drain()
    await world.receive(firing("EtlOther"))
    await world.drain()
    assert [run.reason for run in await world.runs(2)] == [Reason.over_hourly_limit]


async def test_an_action_that_needs_approval_waits_and_expires(world: World) -> None:
    with_retry(world, approval=Approval("ml", 1, timedelta(minutes=15)))
    await world.receive(firing("Etl"))
    await world.drain()
    assert [run.state for run in await world.runs()] == [RunState.awaiting_approval]
    await world.advance(minutes=16)
    assert [run.state for run in await world.runs()] == [RunState.expired]
    assert not world.actions["retry", "etl"].calls


async def test_a_closed_incident_stops_a_neutral_action(world: World) -> None:
    with_retry(world)
    await world.receive(firing("Etl"))
    await world.receive(resolved("Etl"))
    await world.drain()
    assert [run.reason for run in await world.runs()] == [Reason.incident_closed]


async def test_a_changed_rule_stops_a_neutral_action(world: World) -> None:
    with_retry(world)
    await world.receive(firing("Etl"))
    with_retry(world, version="2")
    await world.drain()
    assert [run.reason for run in await world.runs()] == [Reason.rule_changed]


async def test_a_neutral_action_that_waited_for_too_long_is_a_persons_decision(world: World) -> None:
    with_retry(world)
    await world.receive(firing("Etl"))
    world.clock.advance(minutes=20)
    await world.drain()
    assert [run.state for run in await world.runs()] == [RunState.expired]


async def test_a_tighten_is_not_delayed_by_an_outage_of_the_hub(world: World) -> None:
    with_agent(world)
    await world.receive(firing("Reward", agent="agent-btc"))
    world.clock.advance(hours=5)
    await world.drain()
    assert len(world.actions["safe-mode", "agent-btc"].calls) == 1


@pytest.mark.slow
async def test_a_thousand_waiting_messages_do_not_delay_a_tighten(world: World) -> None:
    slow = [destination(SLACK, every=timedelta(seconds=1))]
    world.configure(rules_for(ROUTE, receivers={"alerts": slow}, actions=[safe_mode()], targets=["agent-btc"]))
    await world.receive(*[firing(f"Noise{number}", agent="agent-btc") for number in range(1000)])
    world.actions["safe-mode", "agent-btc"].calls.clear()
    await world.receive(firing("Reward", agent="agent-btc"))
    await world.drain()
    assert "Reward" in {call.reason for call in world.actions["safe-mode", "agent-btc"].calls}


async def test_an_action_on_a_parent_route_holds_for_its_children(world: World) -> None:
    """The configuration accumulates them; here it is seen that a matched child runs what it inherited."""
    child = Route("alerts", group_by=("alertname",), actions=("safe-mode",), place="route.routes[0]")
    root = Route("alerts", actions=("safe-mode",), routes=(child,))
    world.configure(rules_for(root, actions=[safe_mode()], targets=["agent-btc"]))
    await world.receive(firing("Reward", agent="agent-btc"))
    await world.drain()
    assert len(world.actions["safe-mode", "agent-btc"].calls) == 1


async def test_the_hubs_own_alarm_never_runs_an_action(world: World) -> None:
    with_retry(world)
    world.slack.broken = None
    world.actions["retry", "etl"].report = Report(Outcome.failed, "HTTP 500")
    await world.receive(firing("Etl"))
    await world.drain()
    assert len(world.actions["retry", "etl"].calls) == 1


async def test_sixteen_hanging_actions_do_not_delay_a_tighten(world: World) -> None:
    route = Route("alerts", group_by=("alertname", "n"), actions=("retry",), routes=(
        Route("alerts", matchers=(parse_matcher('alertname="Reward"'),), group_by=("alertname",), actions=("safe-mode",),
              place="route.routes[0]"),))
    world.configure(rules_for(route, actions=[retry(), safe_mode()], targets=["etl", "agent-btc"]))
    hold = world.actions["retry", "etl"].hold = asyncio.Event()
    await world.receive(*[firing("Etl", n=str(number)) for number in range(40)])
    await world.worker.run_once()
    await world.receive(firing("Reward", agent="agent-btc"))
    await world.worker.run_once()
    while not world.actions["safe-mode", "agent-btc"].calls:
        await checkpoint()
    hold.set()
    await world.drain()


async def test_every_incident_whose_safe_mode_fails_pages(world: World) -> None:
    with_agent(world)
    world.actions["safe-mode", "agent-btc"].report = Report(Outcome.failed, "connection refused")
    for name in ("Reward", "Drawdown"):
        await world.receive(firing(name, agent="agent-btc"))
        await world.drain()
        world.clock.advance(hours=3)
    pages = [incident for incident in await world.incidents() if incident["source"] == "alerthub"]
    assert len(pages) == 2


async def test_a_tighten_without_a_target_pages_for_every_name_and_ends_with_its_incident(world: World) -> None:
    with_agent(world)
    await world.receive(firing("Reward", agent="x"), firing("Reward", agent="y"))
    await world.receive(firing("Reward", agent="x"))
    pages = [incident["title"] for incident in await world.incidents() if incident["source"] == "alerthub"]
    assert sorted(pages) == ["safe-mode was NOT RUN for x: act by hand", "safe-mode was NOT RUN for y: act by hand"]
    assert "known are agent-btc, agent-eth" in (await world.incident(1))["events"][1]["text"]
    await world.receive(resolved("Reward", agent="x"), resolved("Reward", agent="y"))
    await world.store.write(lambda tx: watch.expire_own(tx, world.rules, world.clock.now()))
    assert {incident["status"] for incident in await world.incidents()} == {"resolved"}


async def test_a_late_result_of_a_run_that_was_taken_over_changes_nothing(world: World) -> None:
    """F19: `unknown` stays unknown, and the page stands."""
    with_retry(world)
    await world.receive(firing("Etl"))
    hold = world.actions["retry", "etl"].hold = asyncio.Event()
    await world.worker.run_once()
    while not world.actions["retry", "etl"].calls:
        await checkpoint()
    world.clock.advance(minutes=2)
    second = world.new_worker("replica-2")
    await second.run_once()
    hold.set()
    await asyncio.gather(*world.worker.under_way, *second.under_way)
    assert [run.state for run in await world.runs()] == [RunState.unknown]
