"""The page of who is on call: now, day by day, and instead of whom; and how people swap their shifts on it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.kit.clock import FakeClock
from tests.kit.hub import RunningHub, running_hub
from tests.kit.pages import read
from tests.web.rooms import BEGIN, EVIL, as_, hidden, look, press, said, told

pytestmark = pytest.mark.anyio
CONFIG = BEGIN + """
schedules:
  - {name: primary, time_zone: Europe/Istanbul, layers: [{rotation: weekly, handoff: "mon 09:00", people: [ayse, mehmet]}]}
  - name: days
    time_zone: Europe/Berlin
    layers:
      - {rotation: daily, handoff: "09:00", people: [omer], restrictions: [{times: [{start_time: "09:00", end_time: "17:00"}]}]}
escalation_policies:
  - name: trading
    steps: [{notify: [schedule:primary], wait: 5m}, {notify: [schedule:days, receiver:console], wait: 10m}]
    repeat: 2
receivers: [{name: console, console_configs: [{}]}]
route: {receiver: console}
"""
EMPTY = BEGIN + "receivers: [{name: console, console_configs: [{}]}]\nroute: {receiver: console}\n"
SWAP = {"schedule": "primary", "person": "pia", "replaces": "", "starts_at": "2026-11-22T10:00", "ends_at": "2026-11-22T18:30"}
ADD = "/oncall/overrides"


@pytest.fixture
async def hub(clock: FakeClock) -> AsyncIterator[RunningHub]:
    async with running_hub(CONFIG, clock=clock) as running:
        yield running


async def test_it_says_who_has_it_until_when_and_who_follows(hub: RunningHub) -> None:
    words = said(await look(hub, "/oncall", "vera"))
    now = (await hub.client.get("/api/v1/oncall?schedule=primary", headers=as_(""))).json()
    (item,) = now["items"]
    other = {"ayse": "mehmet", "mehmet": "ayse"}[item["person"]]
    assert f"primary {item['person']} 2026-11-23 09:00 +03 in 2 d 3 h {other}" in words


async def test_a_time_in_which_nobody_is_on_call_is_loud(hub: RunningHub) -> None:
    page = await look(hub, "/oncall?schedule=days")
    words = said(page)
    assert "▲ Nobody is on call in days in the next two weeks" in words
    assert "Sat 2026-11-21 17:00 – Sun 2026-11-22 09:00" in words
    assert "▲ NOBODY until 09:00" in words
    assert "▲ nobody is on call in days" in words       # so the second step of the policy calls only the receiver
    assert "Nobody is on call in primary" not in words


async def test_a_gap_that_has_begun_is_told_the_same_until_it_is_over(hub: RunningHub, clock: FakeClock) -> None:
    clock.advance(hours=13, minutes=30, seconds=7)
    assert "now, until Sun 2026-11-22 09:00" in said(await look(hub, "/oncall?schedule=days"))


async def test_a_day_is_divided_at_the_hand_off_on_the_clocks_of_the_schedule(hub: RunningHub) -> None:
    words = said(await look(hub, "/oncall?schedule=primary"))
    assert "until 09:00" in words
    assert "from 09:00" in words
    assert "times in Europe/Istanbul" in words


@pytest.mark.parametrize(("query", "shows", "links"), [
    ("month=2026-12", "December 2026", ("month=2026-11", "month=2027-01")),
    ("month=2027-01", "January 2027", ("month=2026-12", "month=2027-02")),
    ("from=2026-12-07", "two weeks", ("from=2026-11-23", "from=2026-12-21")),
    ("", "two weeks", ("from=2026-11-07", "from=2026-12-05", "month=2026-11")),
])
async def test_the_calendar_can_be_paged(hub: RunningHub, query: str, shows: str, links: tuple[str, ...]) -> None:
    page = await look(hub, f"/oncall?schedule=primary&{query}")
    assert f"primary: {shows}" in said(page)
    for link in links:
        assert f"/oncall?schedule=primary&{link}#calendar" in list(page.links()), link
    assert "/api/v1/schedules/primary/calendar.ics" in list(page.links())


@pytest.mark.parametrize("query", ["month=2026-13", "month=x", "from=tomorrow", "month=0000-01", "from=9999-12-31",
                                   "month=<script>"])
async def test_a_time_that_is_none_is_said_and_today_is_shown(hub: RunningHub, query: str) -> None:
    words = said(await look(hub, f"/oncall?{query}", status=400))
    assert "is no month or day to show; give ?month=2026-12 or ?from=2026-11-23." in words
    assert "21 Nov today" in words


async def test_a_schedule_that_is_not_there_is_said(hub: RunningHub) -> None:
    page = await look(hub, "/oncall?schedule=primari", status=404)
    assert "There is no schedule 'primari'; did you mean primary?" in said(page)


# -- to swap

async def test_somebody_takes_over_and_everybody_sees_instead_of_whom(hub: RunningHub) -> None:
    form = hidden(await look(hub, "/oncall?schedule=primary", "omer"), ADD)
    page = await told(hub, await press(hub, ADD, "omer", **{**form, **SWAP}), "omer")
    words = said(page)
    assert "pia is on call: Sun 2026-11-22 10:00 – Sun 2026-11-22 18:30 (Europe/Istanbul)." in words
    assert "pia 10:00–18:30 ⇄ for" in words
    assert "pia whoever has it 2026-11-22 10:00 +03 2026-11-22 18:30 +03 omer" in words
    made = (await hub.client.get("/api/v1/schedules/primary/overrides", headers=as_(""))).json()["items"]
    assert [(one["person"], one["starts_at"], one["created_by"]) for one in made] == [
        ("pia", "2026-11-22T07:00:00+00:00", "omer")]


async def test_the_same_form_sent_twice_is_one_override(hub: RunningHub) -> None:
    form = hidden(await look(hub, "/oncall?schedule=primary", "omer"), ADD)
    for _ in range(2):
        assert "pia is on call" in said(await told(hub, await press(hub, ADD, "omer", **{**form, **SWAP}), "omer"))
    assert said(await look(hub, "/oncall")).count("whoever has it 2026") == 1


async def test_the_same_page_filled_in_otherwise_is_another_override(hub: RunningHub) -> None:
    form = hidden(await look(hub, "/oncall?schedule=primary", "omer"), ADD)
    for person in ("pia", "emre"):
        answer = await press(hub, ADD, "omer", **{**form, **SWAP, "person": person})
        assert f"{person} is on call: Sun" in said(await told(hub, answer, "omer"))
    assert said(await look(hub, "/oncall")).count("whoever has it 2026") == 2


async def test_a_shift_is_taken_from_the_calendar_with_its_times_filled_in(hub: RunningHub) -> None:
    page = await look(hub, "/oncall?schedule=days", "omer")
    link = next(link for link in page.links() if "replaces=omer" in link)
    assert "starts_at=2026-11-21T09%3A00&ends_at=2026-11-21T17%3A00" in link
    values = {attributes.get("name"): attributes.get("value") for tag, attributes in (await look(
        hub, link.partition("#")[0], "omer")).tags if tag == "input"}
    assert (values["starts_at"], values["ends_at"]) == ("2026-11-21T09:00", "2026-11-21T17:00")


@pytest.mark.parametrize(("changes", "words"), [
    ({"person": "pai"}, "There is no person 'pai'; did you mean pia?"),
    ({"person": ""}, "Say who takes it over."),
    ({"starts_at": "", "ends_at": " "}, "Say from when and until when."),
    ({"ends_at": "2026-11-22T09:00"}, "The override ends before it starts; give an end after its start."),
    ({"ends_at": "soon"}, "'soon' is not a time; write it like 2026-11-23T09:00"),
    ({"starts_at": "2026-11-20T09:00", "ends_at": "2026-11-20T10:00"}, "That was over at 2026-11-20T10:00; give an end"),
    ({"person": "ayse", "replaces": "ayse"}, "Ayse cannot stand in for ayse; name another person"),
    ({"schedule": "nowhere"}, "There is no schedule 'nowhere'"),
    ({"person": EVIL[0]}, "There is no person '<script>"),
    ({"starts_at": "\0"}, "'\\x00' is not a time"),
])
async def test_what_is_wrong_is_said_beside_the_form_and_what_was_typed_is_kept(hub: RunningHub, changes: dict[str, str],
                                                                                words: str) -> None:
    fields = {**SWAP, **changes}
    answer = await press(hub, ADD, "omer", **fields)
    assert answer.status_code in (400, 404)
    page = read(answer.text)
    assert words in said(page)
    kept = {attributes.get("name"): attributes.get("value") for tag, attributes in page.tags if tag == "input"}
    assert kept["ends_at"] == fields["ends_at"].strip()
    assert "None: everybody has their shifts as planned." in said(await look(hub, "/oncall"))


async def test_one_that_replaces_whoever_is_not_on_call_says_that_it_changes_nothing(hub: RunningHub) -> None:
    for replaces, is_vain in (("omer", True), ("", False)):
        answer = await press(hub, ADD, "omer", **{**SWAP, "replaces": replaces})
        assert ("But omer is not on call then, so it changes nothing." in said(await told(hub, answer, "omer"))) is is_vain


async def test_an_override_is_removed(hub: RunningHub) -> None:
    await press(hub, ADD, "omer", **SWAP)
    words = said(await told(hub, await press(hub, "/oncall/overrides/1/remove", "omer"), "omer"))
    assert "Removed: pia is not on call by that override any more" in words
    assert "None: everybody has their shifts as planned." in words
    again = await press(hub, "/oncall/overrides/1/remove", "omer")
    assert (again.status_code, "somebody was first" in again.text) == (404, True)
    assert (await press(hub, "/oncall/overrides/x/remove", "omer")).status_code == 404


@pytest.mark.parametrize("who", ["vera", "pia"])
async def test_who_may_not_respond_is_offered_nothing_and_refused(hub: RunningHub, who: str) -> None:
    page = await look(hub, "/oncall", who)
    assert not [form for form in page.forms() if form.get("method") == "post"]
    assert f"{who} may look only" in said(page)
    assert (await press(hub, ADD, who, **SWAP)).status_code == 403
    assert "None: everybody has" in said(await look(hub, "/oncall"))


async def test_a_form_of_another_site_changes_nothing(hub: RunningHub) -> None:
    answer = await hub.client.post(ADD, data=SWAP, headers={"authorization": "Bearer the-shared-token-of-all",
                                                            "sec-fetch-site": "cross-site"})
    assert answer.status_code == 403
    assert "None: everybody has" in said(await look(hub, "/oncall"))


async def test_without_a_schedule_it_says_what_to_do(clock: FakeClock) -> None:
    async with running_hub(EMPTY, clock=clock) as hub:
        words = said(await look(hub, "/oncall"))
        assert "No schedule is configured, so nobody is on call by one. Write schedules: into the configuration" in words
        assert "No escalation policy is configured" in words
        assert (await press(hub, ADD, **SWAP)).status_code == 404


async def test_who_is_called_when_nobody_answers_is_said_with_who_that_is_now(hub: RunningHub) -> None:
    words = said(await look(hub, "/oncall"))
    assert "schedule:primary →" in words
    assert "(on call: primary)" in words or "has no address to be called at" in words
    assert "receiver console" in words
    assert "then waits 10 min" in words
    assert "From the first step again, 2 more times; then the root receiver is told" in words


async def test_names_of_strangers_are_shown_as_they_stand(clock: FakeClock) -> None:
    config = EMPTY.replace("people:", "people:\n  - {name: \"<b>eve</b>\"}\n  - {name: \"o'neil&co\"}") + """
schedules: [{name: '<i>s<\\i>x', layers: [{rotation: daily, handoff: "09:00", people: ["<b>eve</b>", "o'neil&co"]}]}]
"""
    async with running_hub(config, clock=clock) as hub:
        page = await look(hub, "/oncall", "omer")
        assert "<b>eve</b>" in page.text
        assert "/oncall?schedule=%3Ci%3Es%3C%5Ci%3Ex" in list(page.links())
