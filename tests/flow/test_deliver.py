"""Incidents become messages: one lane per destination, level-triggered, at least once, within budget; R-20 … R-27."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from alerthub.domain.interval import Period, TimeInterval, parse_times
from alerthub.domain.matcher import parse_matchers
from alerthub.domain.message import IncidentStatus, Why
from alerthub.domain.reconcile import Listed, Peer
from alerthub.domain.route import Route
from alerthub.errors import Failure, SendFailed
from alerthub.flow import deliver, slots, watch
from alerthub.store import destinations, lanes, reading
from tests.kit.alerts import batch, firing, resolved
from tests.kit.world import EMAIL, PAGERDUTY, SLACK, TELEGRAM, World, destination, rules_for

pytestmark = pytest.mark.anyio
DOWN = SendFailed(Failure.unavailable, "HTTP 503")


async def test_one_live_message_is_edited_through_the_life_of_an_incident(world: World) -> None:
    await world.receive(firing(host="a"))
    await world.drain()
    await world.receive(firing(host="b"))
    await world.drain()
    await world.receive(resolved(host="a"), resolved(host="b"))
    await world.drain()
    handles = [previous for _, previous in world.slack.told]
    assert [message.why for message in world.slack.messages] == [Why.opened, Why.changed, Why.resolved]
    assert handles[0] is None
    assert handles[1] == handles[2] is not None


async def test_what_happens_while_a_destination_is_down_is_told_as_it_is_now(world: World) -> None:
    """Level-triggered: the late retry shows the resolved incident, not the message that failed."""
    world.slack.broken = DOWN
    await world.receive(firing())
    await world.drain()
    await world.receive(resolved())
    world.slack.broken = None
    await world.settle_down(30)
    message = world.slack.expect("resolved")
    assert message.status is IncidentStatus.resolved
    world.slack.expect_nothing()


async def test_opened_and_closed_before_it_could_be_told_is_told_once_and_pagerduty_not_at_all(world: World) -> None:
    world.configure(rules_for(receivers={"alerts": [destination(SLACK), destination(EMAIL), destination(PAGERDUTY)]}))
    await world.receive(firing())
    await world.receive(resolved())
    await world.drain()
    assert world.slack.expect("resolved").status is IncidentStatus.resolved
    assert world.email.expect("resolved").status is IncidentStatus.resolved
    world.pagerduty.expect_nothing()


async def test_pagerduty_is_told_the_end_of_what_it_was_told_the_beginning_of(world: World) -> None:
    world.configure(rules_for(receivers={"alerts": [destination(PAGERDUTY)]}))
    await world.receive(firing())
    await world.drain()
    await world.receive(resolved())
    await world.drain()
    assert [message.why for message in world.pagerduty.messages] == [Why.opened, Why.resolved]


async def test_a_destination_without_send_resolved_is_not_told_the_end(world: World) -> None:
    world.configure(rules_for(receivers={"alerts": [destination(SLACK, send_resolved=False)]}))
    await world.receive(firing())
    await world.drain()
    await world.receive(resolved())
    await world.drain()
    world.slack.expect("opened")
    world.slack.expect_nothing()


async def test_a_dead_destination_delays_nobody_else(world: World) -> None:
    world.configure(rules_for(receivers={"alerts": [destination(SLACK), destination(TELEGRAM)]}))
    world.slack.gate = asyncio.Event()
    await world.receive(firing())
    started = await world.worker.run_once()
    assert started == 2
    while not world.telegram.told:
        await asyncio.wait(world.worker.under_way, return_when=asyncio.FIRST_COMPLETED)
    world.telegram.expect("opened")
    world.slack.expect_nothing()
    world.slack.gate.set()
    await world.drain()
    world.slack.expect("opened")


async def test_retry_after_is_obeyed_to_the_second(world: World) -> None:
    world.slack.failures = [SendFailed(Failure.rate_limited, "HTTP 429", after=30)]
    await world.receive(firing())
    await world.drain()
    await world.advance(seconds=29)
    world.slack.expect_nothing()
    await world.advance(seconds=1)
    world.slack.expect("opened")


async def test_a_rate_limit_holds_back_the_whole_destination(world: World) -> None:
    world.slack.failures = [SendFailed(Failure.rate_limited, "HTTP 429", after=30)]
    await world.receive(firing("First"))
    await world.drain()
    await world.receive(firing("Second"))
    await world.drain()
    assert world.slack.attempts == 1
    await world.advance(seconds=31)
    assert world.slack.attempts == 3


async def test_retries_go_on_for_a_day_and_are_spaced_up_to_five_minutes(world: World) -> None:
    world.configure(rules_for(receivers={"alerts": [destination(SLACK)], "mail": [destination(EMAIL)]}))
    world.slack.broken = DOWN
    world.clock.dice = 1.0
    await world.receive(firing())
    for _ in range(23 * 12):
        await world.advance(minutes=5)
    assert world.slack.attempts > 23 * 10
    world.email.expect_nothing()
    await world.advance(hours=1)
    await world.advance(minutes=5)
    world.email.expect("does not take messages")


async def test_a_revoked_token_alarms_through_another_channel_at_once(world: World) -> None:
    """F11: at most two sends, then an alarm elsewhere within 60 s."""
    world.slack.broken = SendFailed(Failure.configuration, "token_revoked")
    await world.receive(firing())
    await world.drain()
    assert world.slack.attempts <= 2
    alarm = world.email.expect("slack:#alerts does not take messages")
    assert "token_revoked" in alarm.alerts[0].annotations["description"]


async def test_many_dead_letters_of_one_destination_are_one_alarm(world: World) -> None:
    world.slack.broken = SendFailed(Failure.configuration, "token_revoked")
    for number in range(5):
        await world.receive(firing(f"Alert{number}"))
        await world.drain()
    world.email.expect("does not take messages")
    world.email.expect_nothing()


async def test_the_alarm_ends_when_the_destination_works_again_and_letters_can_be_replayed(world: World) -> None:
    world.slack.broken = SendFailed(Failure.configuration, "token_revoked")
    await world.receive(firing("Lost"))
    await world.drain()
    world.slack.broken = None
    replayed = await world.store.write(lambda tx: lanes.replay(tx, world.clock.now()))
    assert replayed == 1
    await world.drain()
    world.slack.expect("Lost")
    world.email.expect("does not take messages")
    world.email.expect("resolved")


async def test_an_alarm_about_the_only_destination_still_tries_it(world: World) -> None:
    """With one destination there is no other way; the alarm is in the pages and in the health."""
    world.configure(rules_for(receivers={"alerts": [destination(SLACK)]}))
    world.slack.broken = SendFailed(Failure.configuration, "token_revoked")
    await world.receive(firing())
    await world.drain()
    assert [incident["title"] for incident in await world.incidents()] == ["slack:#alerts does not take messages", "DiskFull"]
    assert world.slack.attempts == 1


async def test_refused_content_is_sent_once_as_plain_text_then_given_up(world: World) -> None:
    world.slack.failures = [SendFailed(Failure.content, "invalid_blocks")]
    await world.receive(firing())
    await world.drain()
    assert world.slack.expect("opened").is_degraded
    world.slack.broken = SendFailed(Failure.content, "invalid_blocks")
    await world.receive(firing("Other"))
    await world.drain()
    world.email.expect("does not take messages")
    assert (await world.deliveries())[-1]["why"] == "opened"


async def test_a_deleted_live_message_is_posted_anew(world: World) -> None:
    await world.receive(firing(host="a"))
    await world.drain()
    world.slack.failures = [SendFailed(Failure.stale_handle, "message_not_found")]
    await world.receive(firing(host="b"))
    await world.drain()
    assert [previous is None for _, previous in world.slack.told] == [True, True]


async def test_a_chat_that_moved_is_followed(world: World) -> None:
    world.configure(rules_for(receivers={"alerts": [destination(TELEGRAM)]}))
    world.telegram.failures = [SendFailed(Failure.moved, "migrated", moved_to="-100777")]
    await world.receive(firing("First"))
    await world.drain()
    await world.receive(firing("Second"))
    await world.drain()
    assert [previous.handle for _, previous in world.telegram.told if previous] == [{"moved_to": "-100777"}] * 2


async def test_an_unexpected_error_is_retried_a_few_times_then_becomes_a_dead_letter(world: World) -> None:
    """One poison row must never stop the loop, nor stay for ever (R-22)."""
    world.slack.failures = [RuntimeError("boom")] * 10
    await world.receive(firing())
    await world.settle_down(120)
    assert world.slack.attempts == 5
    world.email.expect("does not take messages")


async def test_a_sender_that_died_is_followed_and_its_message_marked(world: World) -> None:
    """After the crash the delivery is sent again, never dropped, and says that it may be a duplicate."""
    world.slack.gate = asyncio.Event()
    await world.receive(firing())
    await world.worker.run_once()
    for task in world.worker.under_way:
        task.cancel()
    await asyncio.gather(*world.worker.under_way, return_exceptions=True)
    world.slack.gate = None
    second = world.new_worker("replica-2")
    await world.drain(second)
    world.slack.expect_nothing()
    world.clock.advance(seconds=31)
    await world.drain(second)
    assert world.slack.expect("opened").possible_duplicate
    assert [row["state"] for row in await world.deliveries()] == ["unknown", "sent"]


async def test_a_paused_sender_that_wakes_up_cannot_overwrite_its_follower(world: World) -> None:
    """Fencing: a result counts only for the attempt it belongs to (F19)."""
    world.slack.gate = asyncio.Event()
    await world.receive(firing())
    await world.worker.run_once()
    world.clock.advance(seconds=31)
    second = world.new_worker("replica-2")
    await second.run_once()
    world.slack.gate.set()
    await asyncio.gather(*world.worker.under_way, *second.under_way)
    states = {row["attempt"]: row["state"] for row in await world.deliveries()}
    assert states == {1: "unknown", 2: "sent"}


async def test_a_paused_sender_that_failed_says_nothing_of_a_destination_that_works(world: World) -> None:
    held = world.slack.gate = asyncio.Event()
    await world.receive(firing())
    await world.worker.run_once()
    await asyncio.sleep(0)
    world.clock.advance(seconds=31)
    world.slack.gate = None
    second = world.new_worker("replica-2")
    await second.run_once()
    await asyncio.gather(*second.under_way)
    world.slack.failures = [SendFailed(Failure.rate_limited, "HTTP 429", after=3600)]      # of the first, when it wakes
    held.set()
    await asyncio.gather(*world.worker.under_way)
    assert await world.store.read(destinations.failing) == []


async def test_what_is_sent_again_after_a_lost_answer_is_marked_until_it_succeeds(world: World) -> None:
    """A reset after the whole request: it may have been posted there (F10). Also when a clean failure comes in between."""
    world.slack.failures = [SendFailed(Failure.timeout, "no complete answer"), SendFailed(Failure.unavailable, "HTTP 503")]
    await world.receive(firing())
    await world.settle_down(30)
    assert world.slack.expect("opened").possible_duplicate
    assert [(row["state"], row["possible_duplicate"]) for row in await world.deliveries() if "slack" in row["destination"]] == [
        ("unknown", False), ("failed", True), ("sent", True)]
    await world.receive(resolved())
    await world.settle_down(30)
    assert not world.slack.messages[-1].possible_duplicate
    world.slack.failures = [SendFailed(Failure.unavailable, "HTTP 503")]
    await world.receive(firing("CpuHot"))
    await world.settle_down(30)
    assert not world.slack.messages[-1].possible_duplicate


async def test_a_budget_of_one_a_second_is_kept_and_order_too(world: World) -> None:
    world.configure(rules_for(receivers={"alerts": [destination(SLACK, every=timedelta(seconds=1))]}))
    for number in range(4):
        await world.receive(firing(f"Alert{number}"))
    await world.drain()
    assert len(world.slack.told) == 1
    for told in (2, 3, 4):
        await world.advance(seconds=1)
        assert len(world.slack.told) == told
    assert [message.title for message in world.slack.messages] == ["Alert0", "Alert1", "Alert2", "Alert3"]


async def test_a_storm_is_told_as_summaries_that_name_every_incident(world: World) -> None:
    world.configure(rules_for(receivers={"alerts": [destination(SLACK, every=timedelta(seconds=1))]}))
    await world.receive(*[firing(f"Alert{number}") for number in range(100)])
    await world.settle_down(10)
    named = [line.title for message in world.slack.messages for line in message.digest or ()]
    named += [message.title for message in world.slack.messages if not message.digest]
    assert sorted(named) == sorted(f"Alert{number}" for number in range(100))
    assert len(world.slack.told) <= 5


async def test_a_live_message_is_never_put_into_a_summary(world: World) -> None:
    """It would go on showing the incident as firing."""
    world.configure(rules_for(receivers={"alerts": [destination(SLACK)]}, storm=3))
    for number in range(8):
        await world.receive(firing(f"Alert{number}"))
        await world.drain()
    world.slack.told.clear()
    await world.receive(*[resolved(f"Alert{number}") for number in range(8)])
    await world.settle_down(5)
    assert [message.why for message in world.slack.messages] == [Why.resolved] * 8
    assert all(previous is not None for _, previous in world.slack.told)


async def test_a_repeat_is_sent_while_nobody_has_acknowledged_and_stops_at_the_end(world: World) -> None:
    world.configure(rules_for(Route("alerts", group_by=("alertname",), repeat_interval=timedelta(hours=1))))
    await world.receive(firing())
    await world.drain()
    await world.advance(minutes=59)
    assert len(world.slack.told) == 1
    await world.advance(minutes=1)
    assert world.slack.messages[-1].why is Why.repeat
    await world.receive(resolved())
    await world.drain()
    await world.advance(hours=2)
    assert [message.why for message in world.slack.messages] == [Why.opened, Why.repeat, Why.resolved]


NIGHTS = TimeInterval("nights", (Period(times=(parse_times("00:00", "09:00"),)),))


async def test_a_muted_route_waits_until_it_may_speak_and_shows_the_state_of_then(world: World) -> None:
    world.configure(rules_for(Route("alerts", group_by=("alertname",), mute=(NIGHTS,))))
    await world.receive(firing("StillThere"), firing("OverByThen"))
    await world.drain()
    world.slack.expect_nothing()
    await world.receive(resolved("OverByThen"))
    await world.advance(hours=5, minutes=59)
    world.slack.expect_nothing()
    await world.advance(minutes=2)
    world.slack.expect("StillThere")
    world.slack.expect_nothing()


async def test_group_wait_holds_the_first_message_back(world: World) -> None:
    world.configure(rules_for(Route("alerts", group_by=("alertname",), group_wait=timedelta(seconds=30))))
    await world.receive(firing(host="a"))
    await world.drain()
    await world.receive(firing(host="b"))
    await world.advance(seconds=29)
    world.slack.expect_nothing()
    await world.advance(seconds=1)
    assert world.slack.expect("opened").firing == 2


async def test_a_receiver_reached_by_two_routes_is_told_once(world: World) -> None:
    child = Route("alerts", continues=True, group_by=("alertname",), place="route.routes[0]")
    other = Route("mail", group_by=("alertname",), place="route.routes[1]")
    world.configure(rules_for(Route("alerts", group_by=("alertname",), routes=(child, other))))
    await world.receive(firing())
    await world.drain()
    world.slack.expect("opened")
    world.slack.expect_nothing()
    world.email.expect("opened")


async def test_a_destination_that_left_the_configuration_is_closed_not_retried(world: World) -> None:
    await world.receive(firing())
    world.configure(rules_for(Route("mail"), receivers={"mail": [destination(EMAIL, receiver="mail")]}))
    await world.drain()
    assert world.channels[SLACK].attempts == 0


async def test_an_event_during_the_sending_is_told_right_after_it(world: World) -> None:
    world.slack.gate = asyncio.Event()
    await world.receive(firing(host="a"))
    await world.worker.run_once()
    await world.receive_batches(batch(firing(host="b"), at=world.clock.now()))
    world.slack.gate.set()
    await asyncio.gather(*world.worker.under_way)
    await world.drain()
    assert [message.firing for message in world.slack.messages] == [1, 2]


async def test_what_happens_while_a_delivery_is_given_up_is_tried_all_the_same(world: World) -> None:
    """The letter is dead; the news that came during the attempt is not."""
    world.slack.gate = asyncio.Event()
    world.slack.failures = [SendFailed(Failure.configuration, "token_revoked")]
    await world.receive(firing(host="a"))
    await world.worker.run_once()
    await world.receive(firing(host="b"))
    world.slack.gate.set()
    await asyncio.gather(*world.worker.under_way)
    await world.drain()
    assert world.slack.expect("opened").firing == 2


async def test_one_hanging_receiver_leaves_slots_to_its_siblings(world: World) -> None:
    """Slots are counted by destination too: two webhooks are two providers."""
    hanging, healthy = (destination(f"webhook:{name}", receiver=name, digests=False) for name in "ab")
    routes = (Route("a", group_by=("alertname",), continues=True, place="route.routes[0]"),
              Route("b", group_by=("alertname",), place="route.routes[1]"))
    world.configure(rules_for(Route("a", group_by=("alertname",), routes=routes), receivers={"a": [hanging], "b": [healthy]}))
    world.channels["webhook:a"].gate = asyncio.Event()
    await world.receive(*[firing(f"Alert{number}") for number in range(60)])
    for _ in range(30):
        await world.worker.run_once()
        done = [task for task in world.worker.under_way if not task.done()]
        await asyncio.wait(done, timeout=0.02)
    assert len(world.channels["webhook:b"].told) >= 40
    world.channels["webhook:a"].gate.set()
    await world.drain()


@pytest.mark.parametrize("hang", [True, False])
async def test_many_that_fail_leave_slots_to_one_that_works_and_are_tried_all_the_same(world: World, hang: bool) -> None:
    """They wait longest, and each attempt takes long (PROTOCOLS 9.1, F8)."""
    dead = [destination(f"webhook:dead-{number}", receiver="dead", digests=False) for number in range(80)]
    healthy = destination("webhook:works", receiver="works", digests=False)
    routes = (Route("dead", group_by=("alertname",), continues=True, place="route.routes[0]"),
              Route("works", group_by=("alertname",), place="route.routes[1]"))
    receivers = {"dead": dead, "works": [healthy]}
    world.configure(rules_for(Route("dead", group_by=("alertname",), routes=routes), receivers=receivers))
    for place in dead:
        world.channels[place.key].broken = SendFailed(Failure.unavailable, "HTTP 503")
    await world.receive(firing("First"))
    await world.drain()
    gate = asyncio.Event() if hang else None
    for place in dead:
        world.channels[place.key].gate = gate
    world.clock.advance(minutes=6)       # all of them are due again
    await world.worker.run_once()
    tried = sum(world.channels[place.key].attempts > 1 for place in dead)
    await world.receive(firing("Second"))
    await world.worker.run_once()
    await asyncio.sleep(0)
    assert [message.title for message in world.channels["webhook:works"].messages] == ["First", "Second"]
    assert 0 < sum(world.channels[place.key].attempts > 1 for place in dead) <= 80
    assert tried <= slots.FAILING_SLOTS
    if gate is not None:
        gate.set()
    await world.settle_down(2)
    assert all(world.channels[place.key].attempts > 1 for place in dead)


async def test_a_pager_is_told_behind_a_hundred_channels_that_hang(world: World) -> None:
    """The slots of their channel are taken, and more of them wait than one claim looks at."""
    rooms = [destination(f"slack:#{number}", receiver="rooms", digests=False) for number in range(slots.PLACES * 2)]
    page = Route("page", matchers=parse_matchers('severity="critical"'), place="route.routes[0]")
    receivers = {"rooms": rooms, "page": [destination(PAGERDUTY, receiver="page")]}
    world.configure(rules_for(Route("rooms", group_by=("alertname",), routes=(page,)), receivers=receivers))
    gate = asyncio.Event()
    for place in rooms:
        world.channels[place.key].gate = gate
    await world.receive(firing("First"))
    await world.worker.run_once()
    await world.receive(firing("Second", severity="critical"))
    await world.worker.run_once()
    await asyncio.sleep(0)
    assert [message.title for message in world.channels[PAGERDUTY].messages] == ["Second"]
    gate.set()
    await world.settle_down(2)
    assert all(world.channels[place.key].messages for place in rooms)


async def test_a_renamed_receiver_takes_over_what_waited_for_the_old_one(world: World) -> None:
    await world.receive(firing("Waiting"))
    world.configure(rules_for(Route("mail", group_by=("alertname",)), receivers={"mail": [destination(EMAIL, receiver="mail")]}))
    await world.drain()
    world.email.expect("Waiting")
    assert world.channels[SLACK].attempts == 0


async def test_an_end_is_told_to_pagerduty_after_an_attempt_whose_answer_was_lost(world: World) -> None:
    """It may have opened there; a resolve of what it does not know is harmless."""
    world.configure(rules_for(receivers={"alerts": [destination(PAGERDUTY)]}))
    world.pagerduty.failures = [SendFailed(Failure.timeout, "no answer")]
    await world.receive(firing())
    await world.drain()
    await world.receive(resolved())
    await world.settle_down(10)
    assert [message.status for message in world.pagerduty.messages] == [IncidentStatus.resolved]


async def test_a_sender_that_was_paused_beyond_its_time_does_not_send(world: World) -> None:
    """SIGSTOP between claim and send: whoever takes the lane over sends what is true then (F19)."""
    await world.receive(firing())
    plant = world.plant()
    claimed = await world.store.write(
        lambda tx: deliver.claim(tx, world.rules, {"slack": 4, "email": 4}, {}, "replica-1", world.clock.now()))
    world.clock.advance(seconds=20)
    for sending in claimed.sendings:
        await world.worker.send(plant, sending)
    world.slack.expect_nothing()
    world.clock.advance(seconds=11)
    await world.receive(resolved())
    await world.drain()
    assert [message.status for message in world.slack.messages] == [IncidentStatus.resolved]


async def test_a_repeat_has_a_name_of_its_own(world: World) -> None:
    """Receivers that drop what they know already must not drop a reminder."""
    world.configure(rules_for(Route("alerts", group_by=("alertname",), repeat_interval=timedelta(hours=1))))
    await world.receive(firing())
    await world.drain()
    for _ in range(2):
        await world.advance(hours=1)
    assert len({message.delivery_id for message in world.slack.messages}) == 3


async def test_a_silenced_incident_is_not_repeated(world: World) -> None:
    world.configure(rules_for(Route("alerts", group_by=("alertname",), repeat_interval=timedelta(hours=1))))
    alert = firing()
    await world.receive(alert)
    await world.drain()
    peer = Peer(None, {alert.identity: Listed(alert.labels, True)})
    now = world.clock.now()
    await world.store.write(lambda tx: watch.reconcile(tx, world.rules, "alertmanager", [peer], now, now))
    await world.drain()
    told = len(world.slack.told)
    await world.advance(hours=3)
    assert len(world.slack.told) == told


async def test_a_shorter_pause_never_shortens_the_one_that_the_provider_asked_for(world: World) -> None:
    await world.receive(firing("Zeroth"))
    await world.drain()
    world.slack.failures = [SendFailed(Failure.rate_limited, "429", after=300), SendFailed(Failure.rate_limited, "429")]
    await world.receive(firing("First"), firing("Second"))
    await world.drain()
    await world.advance(seconds=299)
    assert world.slack.attempts == 3
    await world.advance(seconds=2)
    assert world.slack.attempts == 5


async def test_a_destination_that_never_worked_is_tried_with_one_message_at_a_time(world: World) -> None:
    """Of a thousand that are dead from the start each costs one attempt, and not four, before it is known."""
    world.configure(rules_for(receivers={"alerts": [destination("webhook:new", digests=False)]}))
    world.channels["webhook:new"].gate = gate = asyncio.Event()
    await world.receive(*[firing(f"Alert{number}") for number in range(9)])
    await world.worker.run_once()
    assert len(world.worker.under_way) == 1
    gate.set()
    await asyncio.gather(*world.worker.under_way)
    world.channels["webhook:new"].gate = asyncio.Event()
    await world.worker.run_once()
    assert len(world.worker.under_way) == slots.SLOTS_EACH
    world.channels["webhook:new"].gate.set()
    await world.drain()


async def test_a_dead_letter_is_one_no_more_when_it_was_told_after_all(world: World) -> None:
    world.slack.broken = SendFailed(Failure.configuration, "token_revoked")
    await world.receive(firing(host="a"))
    await world.drain()
    world.slack.broken = None
    await world.receive(firing(host="b"))
    await world.drain()
    page = await world.store.read(lambda tx: reading.list_deliveries(tx, 50, None, "", only_dead=True))
    assert page["items"] == []


@pytest.mark.parametrize("hours", [-1, 1])
async def test_a_clock_that_jumps_neither_freezes_nor_doubles(world: World, hours: int) -> None:
    """F12. With one process everything that waits moves with the clock."""
    if not world.store.is_sqlite:
        return      # there the other replicas' clocks did not jump
    world.configure(rules_for(receivers={"alerts": [destination(SLACK, every=timedelta(seconds=1))]}))
    await world.worker.hours.follow()
    await world.receive(firing("First"), firing("Second"))
    await world.drain()
    world.clock.moment += timedelta(hours=hours)
    await world.worker.hours.follow()
    await world.advance(seconds=2)
    assert [message.title for message in world.slack.messages] == ["First", "Second"]


async def test_after_a_clock_went_back_a_firing_still_counts(world: World) -> None:
    await world.receive(firing())
    await world.receive(resolved())
    world.clock.moment -= timedelta(hours=1)
    await world.receive(firing())
    assert (await world.state()).is_open
