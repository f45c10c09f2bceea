"""The page of deliveries: what waits, what was given up and is sent again, how destinations fare, and the log of attempts."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from alerthub.domain.rules import Destination
from alerthub.store import deliveries, destinations, lanes, queue
from alerthub.store.schema import lanes as lane_table
from alerthub.store.tx import Tx
from tests.kit.alerts import batch, firing
from tests.kit.clock import START, FakeClock
from tests.kit.hub import PLAIN, RunningHub, running_hub
from tests.kit.rows import add_incidents
from tests.web.rooms import BEGIN, EVIL, as_, hidden, look, press, said, told

pytestmark = pytest.mark.anyio
CONFIG = BEGIN + """
answers: {time_zone: Europe/Istanbul}
receivers:
  - {name: console, console_configs: [{}]}
  - {name: risk, email_configs: [{to: ayse@example.com}]}
global: {smtp_smarthost: "127.0.0.1:9", smtp_from: hub@example.com, smtp_require_tls: false}
route: {receiver: console, group_by: [alertname]}
"""
MAIL = Destination("email:ayse@example.com", "email", "ayse@example.com", "risk")
REPLAY = "/deliveries/replay"


@pytest.fixture
async def hub(clock: FakeClock) -> AsyncIterator[RunningHub]:
    async with running_hub(CONFIG, clock=clock) as running:
        yield running


def give_up(tx: Tx, count: int, place: Destination = MAIL, detail: str = "550 no such user", *, dead: bool = True) -> None:
    """So many incidents whose message there failed, and was given up."""
    ids = add_incidents(tx, count, key=f"{place.key}-{detail[:9]}")
    lanes.ensure(tx, [lanes.Opening(one, place, START) for one in ids])
    lanes.mark(tx, [(one, 1) for one in ids], START)
    mine = tx.conn.execute(lane_table.select().where(lane_table.c.incident_id.in_(ids))).all()
    deliveries.insert(tx, [{"lane_id": row.id, "incident_id": row.incident_id, "destination": place.key, "attempt": 1,
                            "state": "sending", "why": "new", "up_to_seq": 1, "possible_duplicate": False, "started_at": START,
                            "failure": "", "detail": "", "is_dead_letter": False} for row in mine])
    deliveries.finish(tx, [{"lane": row.id, "ours": 1, "began": START, "state": "failed", "finished_at": START,
                            "failure": "configuration", "detail": detail, "is_dead_letter": dead} for row in mine])
    fate = {"attempt": 1, "failures": 1, "failing_since": START, "is_dead": dead,
            "due_at": None if dead else START + timedelta(minutes=2)}
    tx.conn.execute(lane_table.update().where(lane_table.c.incident_id.in_(ids)).values(fate))
    destinations.failed(tx, place.key, START, detail, None if dead else START + timedelta(minutes=2))


async def test_a_quiet_hub_says_so(hub: RunningHub) -> None:
    words = said(await look(hub, "/deliveries", "vera"))
    assert "Nobody waits for a message: all that is to be told is told." in words
    assert "None. What cannot be told for too long is kept here" in words
    assert "No destination has been told anything yet." in words
    assert "There is none like that." in said(await look(hub, "/deliveries/log"))


async def test_what_was_told_is_in_the_log_and_its_destination_works(hub: RunningHub, clock: FakeClock) -> None:
    await hub.hub.take(batch(firing("DiskFull"), at=clock.now()))
    await hub.drain()
    assert "console:stdout console works now no limit 0 0" in said(await look(hub, "/deliveries"))
    page = await look(hub, "/deliveries/log")
    assert "2026-11-21 06:00 +03 console:stdout #1 DiskFull sent" in said(page)
    (link,) = [link for link in page.links() if link.startswith("/deliveries/1")]
    words = said(await look(hub, link))
    assert "Delivery 1 to console:stdout" in words
    assert "told All that happened is known there." in words


async def test_what_fails_says_since_when_why_and_when_it_is_tried_again(hub: RunningHub, clock: FakeClock) -> None:
    await hub.hub.store.write(lambda tx: give_up(tx, 1, detail="451 try later", dead=False))
    clock.advance(seconds=30)
    words = said(await look(hub, "/deliveries"))
    assert "ayse (email:ayse@example.com)" in words or "email:ayse@example.com #1" in words
    assert "fails since 30 s ago, 1 try in 1 min 30 s configuration: 451 try later" in words
    assert "fails since 30 s ago: 451 try later; paused, next try in 1 min 30 s never" in words


async def test_one_dead_letter_is_sent_again(hub: RunningHub) -> None:
    await hub.hub.store.write(lambda tx: give_up(tx, 2))
    page = await look(hub, "/deliveries", "emre")
    assert "Send all 2 again" in said(page)
    assert "Dead letters 2" in said(page)
    assert "configuration 550 no such user" in said(page)
    answer = await press(hub, REPLAY, "emre", **{**hidden(page, REPLAY), "all": "", "lane": "1"})
    words = said(await told(hub, answer, "emre"))
    assert "1 dead letter is sent again." in words
    assert "Dead letters 1" in words
    again = await press(hub, REPLAY, "emre", lane="1", key="another")
    assert "No dead letter is there any more: somebody was first" in said(await told(hub, again, "emre"))


async def test_those_of_one_destination_are_sent_again_and_no_others(hub: RunningHub) -> None:
    other = Destination("slack:#gone", "slack", "#gone", "gone")
    await hub.hub.store.write(lambda tx: (give_up(tx, 2), give_up(tx, 3, other, "channel_not_found")))
    page = await look(hub, "/deliveries?destination=slack%3A%23gone", "emre")
    assert "Deliveries to slack:#gone" in said(page)
    assert "550 no such user" not in said(page).partition("Destinations")[0]
    form = hidden(page, REPLAY)
    assert form["destination"] == "slack:#gone"
    for _ in range(2):      # sent twice, done once, and said twice
        assert "3 dead letters are sent again." in said(await told(hub, await press(hub, REPLAY, "emre", **form), "emre"))
    assert "Dead letters 2" in said(await look(hub, "/deliveries"))


async def test_all_are_sent_again(hub: RunningHub) -> None:
    await hub.hub.store.write(lambda tx: give_up(tx, 4))
    form = hidden(await look(hub, "/deliveries", "emre"), REPLAY)
    assert form["all"] == "yes"
    words = said(await told(hub, await press(hub, REPLAY, "emre", **form), "emre"))
    assert "4 dead letters are sent again." in words
    assert "Waiting 4" in words


@pytest.mark.parametrize("who", ["ayse", "omer", "vera", "pia"])
async def test_only_an_admin_sends_again(hub: RunningHub, who: str) -> None:
    await hub.hub.store.write(lambda tx: give_up(tx, 1))
    page = await look(hub, "/deliveries", who)
    assert not [form for form in page.forms() if form.get("method") == "post"]
    assert "An admin can send them again." in said(page)
    assert (await press(hub, REPLAY, who, all="yes")).status_code == 403
    assert "Dead letters 1" in said(await look(hub, "/deliveries"))


@pytest.mark.parametrize("fields", [{}, {"lane": "x"}, {"all": "no"}, {"destination": ""}])
async def test_what_names_nothing_sends_nothing(hub: RunningHub, fields: dict[str, str]) -> None:
    await hub.hub.store.write(lambda tx: give_up(tx, 1))
    assert (await press(hub, REPLAY, "emre", **fields)).status_code == 400
    assert "Dead letters 1" in said(await look(hub, "/deliveries"))


@pytest.mark.parametrize(("query", "count"), [
    ("", 5), ("state=failed", 4), ("state=sent", 1), ("destination=slack:%23gone", 1), ("channel=email", 3),
    ("channel=emai", 0),
    ("incident=1", 1), ("incident=%232", 1), ("incident=99", 0), ("dead=1", 4), ("channel=email&state=sent", 0),
    ("destination=%25", 0), ("destination=%00", 0), ("channel=_mail", 0),
])
async def test_the_log_is_filtered(hub: RunningHub, clock: FakeClock, query: str, count: int) -> None:
    await hub.hub.take(batch(firing("DiskFull"), at=clock.now()))
    await hub.drain()
    other = Destination("slack:#gone", "slack", "#gone", "gone")
    await hub.hub.store.write(lambda tx: (give_up(tx, 3), give_up(tx, 1, other, "channel_not_found")))
    page = await look(hub, f"/deliveries/log?{query}")
    assert sum(link.startswith("/deliveries/") and link[12:].isdigit() for link in page.links()) == count


@pytest.mark.parametrize(("query", "words"), [
    ("state=lost", "There is no state 'lost'; there are failed, sending, sent, unknown."),
    ("incident=seventeen", "'seventeen' is no number of an incident; write it like 17."),
])
async def test_a_filter_that_is_none_is_said_and_kept(hub: RunningHub, query: str, words: str) -> None:
    page = await look(hub, f"/deliveries/log?{query}", status=400)
    assert words in said(page)
    assert query.partition("=")[2] in [attributes.get("value") for _, attributes in page.tags] or "lost" in said(page)


async def test_long_lists_are_paged(hub: RunningHub) -> None:
    await hub.hub.store.write(lambda tx: give_up(tx, 70))
    for path, mark in (("/deliveries", "dead="), ("/deliveries/log", "before="), ("/deliveries/log?channel=email", "before=")):
        seen, page = set(), await look(hub, path)
        for _ in range(5):
            seen |= {link for link in page.links() if link.startswith("/deliveries/") and link[12:].isdigit()}
            more = [link for link in page.links() if mark in link]
            if not more:
                break
            page = await look(hub, more[0].partition("#")[0])
        assert len(seen) == 70, path


async def test_a_search_stops_after_a_while_and_goes_on_where_it_stopped(hub: RunningHub,
                                                                        monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue, "SPAN", 10)
    other = Destination("slack:#gone", "slack", "#gone", "gone")
    await hub.hub.store.write(lambda tx: (give_up(tx, 1, other, "channel_not_found"), give_up(tx, 25)))
    page, looks = await look(hub, "/deliveries/log?destination=slack:%23gone"), 1
    while "channel_not_found" not in page.text:
        assert "None of the 10 attempts that were looked through." in said(page)
        page = await look(hub, next(link for link in page.links() if "before=" in link))
        looks += 1
    assert looks == 3


@pytest.mark.parametrize("number", ["0", "99", "x", "%00", "9" * 40, "<b>"])
async def test_a_delivery_that_is_not_there_is_said(hub: RunningHub, number: str) -> None:
    assert "There is no such delivery" in said(await look(hub, f"/deliveries/{number}", status=404))


@pytest.mark.parametrize("text", EVIL)
async def test_what_strangers_write_is_shown_as_it_stands(hub: RunningHub, text: str) -> None:
    place = Destination(f"slack:{text}", "slack", text, "gone")
    await hub.hub.store.write(lambda tx: give_up(tx, 1, place, text))
    for path in ("/deliveries", "/deliveries/log", "/deliveries/1"):
        assert text in (await look(hub, path, "emre")).text
    link = next(link for link in (await look(hub, "/deliveries")).links() if link.startswith("/deliveries?destination="))
    assert f"Deliveries to slack:{text}" in (await look(hub, link)).text.replace("\n", " ")


async def test_a_form_of_another_site_changes_nothing(hub: RunningHub) -> None:
    await hub.hub.store.write(lambda tx: give_up(tx, 1))
    answer = await hub.client.post(REPLAY, data={"all": "yes"}, headers={**as_("emre"), "origin": "https://evil.example"})
    assert answer.status_code == 403
    assert "Dead letters 1" in said(await look(hub, "/deliveries"))


async def test_on_this_machine_alone_it_is_open_for_reading_and_acting(clock: FakeClock) -> None:
    async with running_hub(PLAIN, clock=clock) as hub:
        await hub.hub.store.write(lambda tx: give_up(tx, 1))
        answer = await press(hub, REPLAY, all="yes")
        assert "1 dead letter is sent again." in said(await told(hub, answer))
