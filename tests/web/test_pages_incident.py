"""One incident: its buttons do what chat does, by the same room, and the page says what is known and what would happen."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from alerthub.domain.alert import AlertStatus
from alerthub.web.pages import incident as pages
from tests.kit.alerts import batch, firing, resolved
from tests.kit.clock import FakeClock
from tests.kit.hub import PLAIN, RunningHub, running_hub
from tests.kit.pages import Reader
from tests.web.test_pages import CALLED, EVIL, asked, called, evil_alert, page

__all__ = ["called"]
pytestmark = pytest.mark.anyio
ROUTED = """
people: [{name: ayse, email: ayse@example.com}, {name: mehmet, email: mehmet@example.com}]
global: {smtp_smarthost: "127.0.0.1:1", smtp_from: hub@example.com, smtp_require_tls: false}
sources: [{name: alertmanager, type: alertmanager}]
schedules:
  - name: primary
    time_zone: Europe/Istanbul
    layers: [{rotation: weekly, handoff: "mon 09:00", start: 2026-11-16, people: [mehmet]}]
targets: [{name: etl, type: http, url: "http://127.0.0.1:1/x"}]
actions: [{name: retrain, type: http, direction: neutral, target_label: job, targets: [etl], mode: shadow}]
receivers:
  - {name: console, console_configs: [{}]}
  - {name: risk, email_configs: [{to: risk@example.com}]}
time_intervals: [{name: always, time_intervals: [{times: [{start_time: "00:00", end_time: "24:00"}]}]}]
escalation_policies:
  - {name: night, steps: [{notify: [ayse], wait: 5m}, {notify: ["schedule:primary", "receiver:risk"], wait: 10m}]}
route:
  receiver: console
  group_by: [alertname]
  routes:
    - {matchers: ['team="risk"', 'env!="dev"'], receiver: risk, escalation_policy: night, continue: true}
    - {matchers: ['team="risk"'], receiver: console, mute_time_intervals: [always]}
    - {matchers: ['job=~".+"'], receiver: console, actions: [retrain]}
"""


def buttons(shown: Reader) -> set[str]:
    return {form["action"].rpartition("/")[2] for form in shown.forms() if form["method"] == "post"}


async def press(hub: RunningHub, verb: str, number: int = 1, **fields: str) -> Reader:
    answer = await hub.fill(f"/incidents/{number}/{verb}", fields)
    assert answer.status_code == 303, answer.text
    return await page(hub, answer.headers["location"])


async def state(hub: RunningHub, number: int = 1) -> str:
    return str((await hub.json(f"/api/v1/incidents/{number}"))["status"])


# -- buttons

async def test_it_is_taken_and_given_back(called: RunningHub) -> None:
    assert buttons(await page(called, "/incidents/1")) == {"acknowledge", "resolve", "silence", "escalate", "comment"}
    shown = await press(called, "acknowledge")
    assert "You have #1 now." in shown.text
    assert "local (this machine) has it" in shown.text
    assert buttons(shown) == {"unacknowledge", "resolve", "silence", "escalate", "comment"}
    shown = await press(called, "unacknowledge")
    assert "#1 is nobody's again." in shown.text
    assert "Nobody has it." in shown.text


async def test_what_still_fires_is_asked_about_before_it_is_resolved(hub: RunningHub, clock: FakeClock) -> None:
    await hub.hub.take(batch(firing("DiskFull"), at=clock.now()))
    shown = await press(hub, "resolve", key="first")
    assert await state(hub) == "triggered"
    assert "1 alert still fires, so #1 stays open. Resolve it anyway?" in shown.text
    assert shown.text.count("Resolve it anyway?") == 1
    assert "Resolve anyway" in shown.text
    shown = await press(hub, "resolve", key="first", forced="1")
    assert await state(hub) == "resolved"
    assert "although 1 alert still fires" in shown.text
    assert buttons(shown) == {"comment"}


async def test_the_question_stands_on_the_page_also_when_it_is_loaded_again(hub: RunningHub, clock: FakeClock) -> None:
    await hub.hub.take(batch(firing("DiskFull", host="a"), firing("DiskFull", host="b"), at=clock.now()))
    assert "2 alerts still fire, so #1 stays open." in (await page(hub, "/incidents/1?ask=resolve")).text
    assert "Resolve it anyway" not in (await page(hub, "/incidents/1?ask=<b>")).text
    await press(hub, "resolve", forced="1")
    assert "Resolve it anyway" not in (await page(hub, "/incidents/1?ask=resolve")).text


@pytest.mark.parametrize(("fields", "ends"), [
    ({"duration": "1h"}, "04:00"), ({"duration": "4h"}, "07:00"), ({"duration": "tomorrow"}, "09:00"),
    ({"custom": "90m", "comment": "swap the disk"}, "04:30"), ({"custom": "until 18:00"}, "18:00"),
    ({"custom": " 2h ", "duration": "4h"}, "05:00"),
])
async def test_it_is_silenced(hub: RunningHub, clock: FakeClock, fields: dict[str, str], ends: str) -> None:
    await hub.hub.take(batch(firing("DiskFull"), at=clock.now()))
    shown = await press(hub, "silence", **fields)
    assert f" {ends}:00 UTC" in shown.text.partition("Silenced by local (this machine) until")[2][:40]
    assert fields.get("comment", "") in shown.text


@pytest.mark.parametrize("text", ["", "soon", "0h", "30s", "9999999d", "<b>", "until 25:00", "²h"])
async def test_an_end_that_is_none_silences_nothing_and_says_what_would_be_right(hub: RunningHub, clock: FakeClock,
                                                                                text: str) -> None:
    await hub.hub.take(batch(firing("DiskFull"), at=clock.now()))
    shown = await press(hub, "silence", custom=text)
    assert "Nothing was done." in shown.text
    assert "Silenced by" not in shown.text


async def test_the_next_person_is_called_now(called: RunningHub) -> None:
    shown = await press(called, "escalate")
    assert "Nothing was done" not in shown.text
    assert "called mehmet" in shown.text or "everybody was called" in shown.text


async def test_where_nobody_is_to_be_called_no_button_says_so(hub: RunningHub, clock: FakeClock) -> None:
    await hub.hub.take(batch(firing("DiskFull"), at=clock.now()))
    assert "escalate" not in buttons(await page(hub, "/incidents/1"))


@pytest.mark.parametrize("text", [*EVIL, "two\r\nlines", "x" * 5_000, "half \ud800 a pair", "nul \0"],
                         ids=lambda text: ascii(text[:12]))
async def test_a_comment_is_kept_as_text(hub: RunningHub, clock: FakeClock, text: str) -> None:
    await hub.hub.take(batch(firing("DiskFull"), at=clock.now()))
    answer = await hub.fill("/incidents/1/comment", {"comment": text.encode("utf-8", "surrogatepass")})
    assert answer.status_code in (303, 400)
    await page(hub, "/incidents/1")


async def test_a_comment_stands_in_the_history_with_who_said_it(hub: RunningHub, clock: FakeClock) -> None:
    await hub.hub.take(batch(firing("DiskFull"), at=clock.now()))
    shown = await press(hub, "comment", comment="  it is the log  ")
    assert "local (this machine): it is the log" in shown.text
    assert "A comment needs words." in (await press(hub, "comment", comment=" \r\n ")).text


@pytest.mark.parametrize(("text", "expected"), [
    ("a\r\nb", "a\nb"), ("a\tb\x07c", "a b c"), ("\ud800", "?"), (" x ", "x"), ("y" * 3_000, "y" * 2_000),
    ("left\u202eright", "left right"),
])
def test_what_is_said_can_be_stored(text: str, expected: str) -> None:
    assert pages.said(text) == expected


async def test_the_same_form_sent_twice_is_done_once(hub: RunningHub, clock: FakeClock) -> None:
    await hub.hub.take(batch(firing("DiskFull"), at=clock.now()))
    for key in ("one", "one", "two"):
        await press(hub, "comment", comment="said", key=key)
    events = (await hub.json("/api/v1/incidents/1"))["events"]
    assert [event["kind"] for event in events].count("comment") == 2


@pytest.mark.parametrize("verb", ["approve", "deny", "release", "override", "freeze", "delete", "<b>"])
async def test_no_other_word_is_a_button(hub: RunningHub, clock: FakeClock, verb: str) -> None:
    await hub.hub.take(batch(firing("DiskFull"), at=clock.now()))
    assert (await hub.fill(f"/incidents/1/{verb}")).status_code in (404, 405)


@pytest.mark.parametrize("number", ["0", "999", "²", "x", "9" * 40, "%00"])
async def test_what_is_missing_cannot_be_answered(hub: RunningHub, number: str) -> None:
    answer = await hub.fill(f"/incidents/{number}/acknowledge")
    assert answer.status_code in (303, 404)
    if answer.status_code == 303:
        assert answer.headers["location"].startswith("/incidents/")


@pytest.mark.parametrize("verb", [verb.value for verb in pages.VERBS])
async def test_looking_changes_nothing(hub: RunningHub, clock: FakeClock, verb: str) -> None:
    await hub.hub.take(batch(firing("DiskFull"), at=clock.now()))
    assert (await hub.get(f"/incidents/1/{verb}")).status_code in (404, 405)
    assert await state(hub) == "triggered"


async def test_a_form_that_is_too_large_is_refused_on_a_page(hub: RunningHub, clock: FakeClock) -> None:
    await hub.hub.take(batch(firing("DiskFull"), at=clock.now()))
    answer = await hub.client.post("/incidents/1/comment", content=b"comment=" + b"x" * 70_000)
    assert answer.status_code == 413
    assert "Nothing was done" in answer.text


async def test_who_may_only_look_is_offered_nothing_and_refused() -> None:
    config = "people: [{name: olga, role: viewer, api_token: olga-0123456789abcdef}]\n" + PLAIN
    async with running_hub(config, clock=FakeClock()) as hub:
        await hub.hub.take(batch(firing("DiskFull"), at=hub.hub.clock.now()))
        hub.client.headers["authorization"] = "Bearer olga-0123456789abcdef"
        shown = await page(hub, "/incidents/1")
        assert buttons(shown) == set()
        assert not [tag for tag, attributes in (await page(hub, "/")).tags if attributes.get("type") == "checkbox"]
        assert (await hub.fill("/incidents/1/acknowledge")).status_code in (303, 403)
        assert await state(hub) == "triggered"


async def test_a_database_that_is_away_is_said_and_nothing_is_lost(hub: RunningHub, clock: FakeClock) -> None:
    await hub.hub.take(batch(firing("DiskFull"), at=clock.now()))
    await page(hub, "/incidents/1")
    gate = hub.store.hold()
    hub.hub.ear.store = hub.store      # type: ignore[assignment]
    shown = await press(hub, "acknowledge", key="k")
    assert "look at the message before you try again" in shown.text
    gate.set()


# -- what is shown

@pytest.fixture
async def routed(clock: FakeClock) -> AsyncIterator[RunningHub]:
    async with running_hub(ROUTED, clock=clock) as hub:
        yield hub


async def test_what_would_be_notified_and_why(routed: RunningHub, clock: FakeClock) -> None:
    await routed.hub.take(batch(firing("Loss", team="risk", env="live"), at=clock.now()))
    part = " ".join((await page(routed, "/incidents/1")).text.partition("What would be notified, and why")[2].split())
    assert 'route.routes[0] because team="risk" env!="dev" receiver risk → email:risk@example.com escalation policy night' in part
    assert 'route.routes[1] because team="risk" receiver console → console:stdout Muted now' in part
    assert "the root" not in part


async def test_an_action_without_a_target_is_said(routed: RunningHub, clock: FakeClock) -> None:
    await routed.hub.take(batch(firing("Late", job="nobody"), at=clock.now()))
    text = (await page(routed, "/incidents/1")).text
    assert "actions retrain" in text
    assert 'retrain: job="nobody" names no target; known are etl' in text


async def test_who_is_called_next_is_named_with_the_schedule(routed: RunningHub, clock: FakeClock) -> None:
    await routed.hub.take(batch(firing("Loss", team="risk", severity="critical"), at=clock.now()))
    assert "(step 1 of 2): ayse." in (await page(routed, "/incidents/1")).text
    await press(routed, "escalate")
    text = (await page(routed, "/incidents/1")).text
    assert "(step 2 of 2): mehmet (on call: primary), receiver risk." in text


async def test_a_policy_that_has_left_the_configuration_is_said(called: RunningHub) -> None:
    called.path.write_text(called.path.read_text().replace(", escalation_policy: night", "").replace("name: night", "name: day"))
    assert called.hub.reload() == []
    assert "Escalation night: is not in the configuration any more" in (await page(called, "/incidents/1")).text


async def test_an_action_is_told_with_its_evidence_folded(routed: RunningHub, clock: FakeClock) -> None:
    await routed.hub.take(batch(firing("Late", job="etl"), at=clock.now()))
    await routed.drain()
    shown = await page(routed, "/incidents/1")
    assert "retrain on etl was NOT done." in shown.text
    assert "shadow mode" in shown.text
    (fold,) = [attributes for tag, attributes in shown.tags if attributes.get("id", "").startswith("evidence-")]
    assert "open" not in fold
    assert "alerthub audit export 1" in shown.text


async def test_messages_say_how_far_each_destination_is_told(called: RunningHub, clock: FakeClock) -> None:
    shown = await page(called, "/incidents/1")
    messages = " ".join(shown.text.partition("Messages")[2].split())
    assert "console:stdout shows the state of now" in messages
    assert "ayse (email:ayse@example.com) failing 1 failures since 2026-11-21" in messages
    await press(called, "comment", comment="wait")
    assert "console:stdout waits to be told" in " ".join((await page(called, "/incidents/1")).text.split())


async def test_a_runbook_stands_beside_it(hub: RunningHub, clock: FakeClock) -> None:
    await hub.hub.take(batch(firing("AgentRewardNegative", agent="btc"), at=clock.now()))
    shown = await page(hub, "/incidents/1")
    assert "#runbook" in list(shown.links())
    assert "What it means" in shown.text
    assert "runbook" in {attributes.get("id") for _, attributes in shown.tags}


async def test_every_name_on_the_page_is_its_own(called: RunningHub) -> None:
    shown = await page(called, "/incidents/1")
    ids = [attributes["id"] for _, attributes in shown.tags if "id" in attributes]
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize("text", EVIL[:12], ids=lambda text: ascii(text[:12]))
async def test_what_led_here_is_only_text(clock: FakeClock, text: str) -> None:
    async with running_hub(CALLED, clock=clock) as hub:
        await hub.hub.take(batch(evil_alert(text), at=clock.now()))
        for verb in ("acknowledge", "silence"):
            await asked(hub, verb, by=text.encode("utf-8", "replace").decode().replace("\0", " ")[:40], comment="x")
        await page(hub, "/incidents/1")
        await page(hub, "/")


async def test_a_resolved_one_offers_nothing(hub: RunningHub, clock: FakeClock) -> None:
    await hub.hub.take(batch(firing("DiskFull"), at=clock.now()))
    clock.advance(minutes=3)
    await hub.hub.take(batch(resolved("DiskFull", ends_at=clock.now()), at=clock.now()))
    shown = await page(hub, "/incidents/1")
    assert AlertStatus.resolved.value in shown.text
    assert buttons(shown) == {"comment"}




async def test_its_report_and_its_evidence_are_one_press_away(hub: RunningHub, clock: FakeClock) -> None:
    await hub.hub.take(batch(firing("DiskFull"), at=clock.now()))
    assert "/incidents/1/report" in set((await page(hub, "/incidents/1")).links())
    assert (await hub.get("/incidents/1/report")).status_code == 200
