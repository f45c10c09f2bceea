"""Webhooks become incidents: R-8, R-10 … R-17 and F13, F14, F15, as stories."""

from __future__ import annotations

from datetime import timedelta

import pytest

from alerthub.domain.incident import Verdict
from alerthub.domain.route import Route
from tests.kit.alerts import batch, firing, resolved
from tests.kit.clock import START
from tests.kit.world import World, rules_for

pytestmark = pytest.mark.anyio


async def test_a_firing_alert_opens_one_incident(world: World) -> None:
    await world.receive(firing("DiskFull", severity="critical", host="db-01"))
    found = await world.incident(1)
    assert (found["title"], found["status"], found["severity"]) == ("DiskFull", "triggered", "critical")
    assert [alert["labels"]["host"] for alert in found["alert_list"]] == ["db-01"]
    assert [event["kind"] for event in found["events"]] == ["opened"]


async def test_the_same_webhook_a_hundred_times_changes_nothing(world: World) -> None:
    first = await world.receive(firing(host="db-01"))
    for _ in range(99):
        again = await world.receive(firing(host="db-01"))
        assert not again.is_news
    assert first.is_news
    assert len((await world.incident(1))["events"]) == 1
    await world.drain()
    world.slack.expect("opened")
    world.slack.expect_nothing()


async def test_the_same_webhook_from_an_ha_pair_in_one_commit_is_one_incident(world: World) -> None:
    alert = firing(host="db-01")
    taken = await world.receive_batches(batch(alert, sender="http://am-1"), batch(alert, sender="http://am-2"))
    assert taken.verdicts == {Verdict.fired: 1, Verdict.repeated: 1}
    assert len(await world.incidents()) == 1


async def test_a_repeat_updates_what_people_are_shown(world: World) -> None:
    await world.receive(firing(annotations={"summary": "95 % full"}))
    world.clock.advance(seconds=1)
    taken = await world.receive(firing(annotations={"summary": "97 % full"}))
    assert not taken.is_news
    assert (await world.incident(1))["alert_list"][0]["annotations"]["summary"] == "97 % full"


async def test_the_incident_stays_open_until_its_last_alert_clears(world: World) -> None:
    await world.receive(firing(host="a"), firing(host="b"))
    await world.receive(resolved(host="a"))
    assert (await world.state()).is_open
    await world.receive(resolved(host="b"))
    found = await world.incident(1)
    assert (found["status"], found["firing"], found["alerts"]) == ("resolved", 0, 2)
    assert [event["kind"] for event in found["events"]] == ["opened", "changed", "resolved"]


async def test_the_status_of_the_group_is_never_believed(world: World) -> None:
    """Two listed alerts cleared, a third was cut off: only what is listed counts, and the hole is shown (PROTOCOLS 1.6-2)."""
    await world.receive(firing(host="a"), firing(host="b"), firing(host="c"))
    await world.receive(resolved(host="a"), resolved(host="b"), truncated=1)
    found = await world.incident(1)
    assert (found["status"], found["firing"], found["incomplete"]) == ("triggered", 1, 1)
    assert "max_alerts: 0" in found["events"][-1]["text"]


async def test_a_truncated_repeat_says_once_that_it_is_incomplete(world: World) -> None:
    await world.receive(firing(host="a"))
    first = await world.receive(firing(host="a"), truncated=4)
    again = await world.receive(firing(host="a"), truncated=4)
    assert [event.kind.value for event in first.events] == ["changed"]
    assert not again.is_news


async def test_a_resolve_of_an_unknown_alert_opens_and_tells_nothing(world: World) -> None:
    taken = await world.receive(resolved(host="a"))
    assert taken.verdicts == {Verdict.stray: 1}
    assert await world.incidents() == []
    await world.drain()
    world.slack.expect_nothing()


async def test_an_old_firing_that_commits_after_its_resolve_opens_nothing(world: World) -> None:
    """F14: the slow request arrived first and is committed last."""
    late = batch(firing(host="a"), at=START)
    await world.receive(resolved(host="a"), at=START + timedelta(seconds=5))
    taken = await world.receive_batches(late)
    assert taken.verdicts == {Verdict.late: 1}
    assert await world.incidents() == []


async def test_an_old_resolve_that_commits_late_does_not_close_the_next_episode(world: World) -> None:
    await world.receive(firing(host="a"), at=START)
    await world.receive(resolved(host="a"), at=START + timedelta(seconds=10))
    await world.receive(firing(host="a"), at=START + timedelta(seconds=20))
    taken = await world.receive(resolved(host="a"), at=START + timedelta(seconds=11))
    assert taken.verdicts == {Verdict.late: 1}
    assert (await world.state()).is_open


async def test_a_resolve_that_ended_before_the_episode_began_does_not_close_it(world: World) -> None:
    """R-15."""
    await world.receive(firing(starts_at=START))
    taken = await world.receive(resolved(ends_at=START - timedelta(minutes=1)))
    assert taken.verdicts == {Verdict.before_start: 1}
    assert (await world.state()).is_open


async def test_a_refire_a_second_after_the_resolve_reopens_even_with_the_same_start(world: World) -> None:
    """R-16: a page in doubt is sent."""
    await world.receive(firing(severity="critical"))
    await world.receive(resolved(severity="critical"))
    world.clock.advance(seconds=1)
    await world.receive(firing(severity="critical"))
    found = await world.incident(1)
    assert (found["status"], found["episode"], found["severity"]) == ("triggered", 2, "critical")
    assert [event["kind"] for event in found["events"]] == ["opened", "resolved", "reopened"]
    assert len(await world.incidents()) == 1


async def test_a_refire_in_the_same_commit_as_its_resolve_ends_open(world: World) -> None:
    await world.receive(firing())
    first, second = START + timedelta(seconds=1), START + timedelta(seconds=2)
    await world.receive_batches(batch(resolved(), at=first), batch(firing(), at=second))
    state = await world.state()
    assert (state.is_open, state.firing, state.episode) == (True, 1, 2)


async def test_a_refire_after_the_reopen_window_is_a_new_incident(world: World) -> None:
    await world.receive(firing())
    await world.receive(resolved())
    world.clock.advance(hours=2)
    await world.receive(firing())
    assert [incident["number"] for incident in await world.incidents()] == [2, 1]
    assert (await world.incident(1))["status"] == "resolved"
    assert [alert["status"] for alert in (await world.incident(1))["alert_list"]] == ["resolved"]


async def test_severity_rises_with_a_worse_alert_and_does_not_fall_when_it_clears(world: World) -> None:
    await world.receive(firing(host="a", severity="warning"))
    await world.receive(firing(host="b", severity="critical"))
    assert (await world.state()).severity == "critical"
    await world.receive(resolved(host="b", severity="critical"))
    assert (await world.state()).severity == "critical"


async def test_an_alert_keeps_its_incident_when_the_routing_changes(world: World) -> None:
    await world.receive(firing(host="a"))
    world.configure(rules_for(Route("alerts", group_by=("alertname", "host"))))
    await world.receive(resolved(host="a"))
    assert (await world.state()).status == "resolved"
    assert len(await world.incidents()) == 1


@pytest.mark.parametrize(("group_by", "group_labels", "incidents"), [
    (("alertname",), {}, 1),
    (("alertname", "host"), {}, 2),
    (("...",), {}, 2),
    ((), {"alertname": "DiskFull"}, 1),
    ((), {}, 1),
], ids=["by name", "by host", "by all labels", "by the sender's groupLabels", "by alertname, when nobody groups"])
async def test_what_an_incident_is_grouped_by(world: World, group_by: tuple[str, ...], group_labels: dict[str, str],
                                              incidents: int) -> None:
    world.configure(rules_for(Route("alerts", group_by=group_by)))
    await world.receive(firing(host="a"), firing(host="b"), group_labels=group_labels)
    assert len(await world.incidents()) == incidents


async def test_two_sources_never_share_an_incident(world: World) -> None:
    await world.receive(firing(host="a"), source="alertmanager")
    await world.receive(firing(host="a"), source="grafana")
    assert len(await world.incidents()) == 2


async def test_a_webhook_without_alerts_is_stored_as_nothing(world: World) -> None:
    taken = await world.receive()
    assert not taken.is_news


async def test_hostile_labels_are_stored_as_they_came(world: World) -> None:
    label = "<!channel> </b> {{ 7*7 }} '; drop table incidents; -- \n" + "x" * 10_000
    await world.receive(firing(host=label))
    assert (await world.incident(1))["alert_list"][0]["labels"]["host"] == label


async def test_ten_thousand_alerts_in_one_group_are_one_incident(world: World) -> None:
    await world.receive(*[firing(host=f"h{number}") for number in range(10_000)])
    state = await world.state()
    assert (state.firing, state.alerts) == (10_000, 10_000)


async def test_a_resolve_that_is_older_than_a_repeat_does_not_close(world: World) -> None:
    """The last that was heard counts, also when it was only a repeat: a page in doubt is sent."""
    await world.receive(firing(host="a"), at=START)
    await world.receive(firing(host="a"), at=START + timedelta(seconds=21))
    taken = await world.receive(resolved(host="a"), at=START + timedelta(seconds=20))
    assert taken.verdicts == {Verdict.late: 1}
    assert (await world.state()).is_open
