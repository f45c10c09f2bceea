"""The page of silences: what holds, what is over, and that what one would cover is seen before it is made."""

from __future__ import annotations

from collections.abc import AsyncIterator
from urllib.parse import quote, urlencode

import pytest

from alerthub.domain.matcher import Matcher
from alerthub.domain.silence import Silence
from alerthub.flow import silencing
from tests.kit.alerts import batch, firing
from tests.kit.clock import FakeClock
from tests.kit.hub import RunningHub, running_hub
from tests.kit.pages import read
from tests.web.rooms import BEGIN, EVIL, hidden, look, press, said, told

pytestmark = pytest.mark.anyio
CONFIG = BEGIN + """
answers: {time_zone: Europe/Istanbul}
receivers: [{name: console, console_configs: [{}]}]
route: {receiver: console, group_by: [alertname]}
"""
GIVEN = {"matchers": 'alertname="DiskFull"', "ends": "4h", "comment": "moving the disks"}


@pytest.fixture
async def hub(clock: FakeClock) -> AsyncIterator[RunningHub]:
    """Two incidents: all of the first are on one host, of the second one is elsewhere."""
    async with running_hub(CONFIG, clock=clock) as running:
        await running.hub.take(batch(firing("DiskFull", host="db-1"), firing("DiskFull", host="db-2"), at=clock.now()))
        await running.hub.take(batch(firing("Slow", host="db-1"), firing("Slow", host="web-1"), at=clock.now()))
        yield running


def asking(**fields: str) -> str:
    return f"/silences?{urlencode({**GIVEN, **fields})}"


async def test_nothing_is_silenced_and_the_page_says_so(hub: RunningHub) -> None:
    words = said(await look(hub, "/silences", "vera"))
    assert "Nothing is silenced. Whatever fires is told." in words
    assert "vera may look only" in words
    assert "No silence is over yet." in said(await look(hub, "/silences?state=expired"))


@pytest.mark.parametrize(("matchers", "words"), [
    ('alertname="DiskFull"', ["It would cover 2 alerts that fire now, until 2026-11-21 10:00 +03",
                              "1 incident falls silent: #1 Disk"]),
    ('host="db-1"', ["It would cover 2 alerts", "2 stay loud, because another alert fires there"]),
    ('host=~"db-.*"', ["It would cover 3 alerts", "1 incident falls silent: #1", "1 stays loud", "#2 Slow"]),
    ('alertname="Slow"\nhost="web-1"', ["It would cover 1 alert that fires now", "1 stays loud"]),
    ('alertname="Nothing"', ["It covers nothing that fires now", "look at the names and values of its labels"]),
])
async def test_what_it_would_cover_is_seen_before_it_is_made(hub: RunningHub, matchers: str, words: list[str]) -> None:
    shown = said(await look(hub, asking(matchers=matchers), "omer"))
    for word in words:
        assert word in shown, word
    assert "Nothing is silenced." in shown


async def test_what_was_seen_is_made_and_holds(hub: RunningHub) -> None:
    form = hidden(await look(hub, asking(), "omer"), "/silences")
    assert {**form, **GIVEN} == form
    for _ in range(2):      # sent twice, made once
        words = said(await told(hub, await press(hub, "/silences", "omer", **form), "omer"))
        assert "Silence 1 holds until 2026-11-21 10:00 +03." in words
    assert 'alertname="DiskFull" 2026-11-21 06:00 +03 2026-11-21 10:00 +03 in 4 h omer moving the disks this hub' in words
    assert words.count("moving the disks") == 1
    assert "Silenced by omer" in said(await look(hub, "/incidents/1"))


async def test_the_same_page_filled_in_otherwise_is_another_silence(hub: RunningHub) -> None:
    form = hidden(await look(hub, asking(), "omer"), "/silences")
    for number, host in enumerate(("a", "b"), 1):
        answer = await press(hub, "/silences", "omer", **{**form, "matchers": f'host="{host}"'})
        assert f"Silence {number} holds" in said(await told(hub, answer, "omer"))


async def test_one_is_ended_and_is_over(hub: RunningHub, clock: FakeClock) -> None:
    await press(hub, "/silences", "omer", **GIVEN)
    clock.advance(minutes=5)
    words = said(await told(hub, await press(hub, "/silences/1/end", "omer"), "omer"))
    assert "Silence 1 is over; what it held is told again if it still fires." in words
    assert "Nothing is silenced." in words
    assert "#1 over" in said(await look(hub, "/silences?state=expired"))
    assert "was over already" in said(await told(hub, await press(hub, "/silences/1/end", "omer"), "omer"))
    for missing in ("9", "x", "0", "9" * 30):
        assert (await press(hub, f"/silences/{missing}/end", "omer")).status_code == 404


async def test_an_incident_fills_the_form(hub: RunningHub) -> None:
    query = "&".join(f"matcher={quote(one)}" for one in ('alertname="DiskFull"', 'host="db-1"'))
    page = await look(hub, f"/silences?{query}", "omer")
    assert 'alertname="DiskFull"\nhost="db-1"' in page.text
    assert "It would cover" not in page.text


@pytest.mark.parametrize(("changes", "words"), [
    ({"matchers": ""}, "A matcher is missing"),
    ({"matchers": 'alertname="'}, "t character"),
    ({"matchers": 'alertname=~".*"'}, "These matchers cover everything"),
    ({"matchers": 'a=~"("'}, "("),
    ({"matchers": "a=\"\0\""}, "a character that no label can have"),
    ({"matchers": "\n".join(f'a{number}="b"' for number in range(51))}, "51 matchers are too many"),
    ({"matchers": f'a="{"x" * 10_001}"'}, "t most 10000 characters"),
    ({"ends": "soon"}, "'soon' is not an end of a silence; write a time span such as 1h"),
    ({"ends": "2026-11-20T09:00"}, "A silence ends later than in a minute from now"),
    ({"ends": "2036-11-20T09:00"}, "A silence lasts at most one year"),
    ({"ends": "2026-99-20"}, "is not a time"),
    ({"matchers": EVIL[1]}, ""),
])
async def test_what_is_wrong_is_said_beside_the_form_and_kept(hub: RunningHub, changes: dict[str, str], words: str) -> None:
    fields = {**GIVEN, **changes}
    for answer in (await press(hub, "/silences", "omer", **fields), await hub.get(asking(**changes), headers={
            "authorization": "Bearer the-shared-token-of-all"})):
        assert answer.status_code == 400
        page = read(answer.text)
        assert words in said(page)
        assert "Nothing was silenced." in said(page)
        kept = {attributes.get("name"): attributes.get("value") for tag, attributes in page.tags if tag == "input"}
        assert (kept["ends"], kept["comment"]) == (fields["ends"], fields["comment"])
    assert "Nothing is silenced." in said(await look(hub, "/silences"))


async def test_one_that_a_source_made_is_only_shown(hub: RunningHub, clock: FakeClock) -> None:
    now = clock.now()
    there = Silence("", 0, (Matcher("alertname", "=", "X"),), now, now.replace(hour=9), "eve", EVIL[0], "alertmanager", "r-1")
    await hub.hub.store.write(lambda tx: silencing.show_foreign(tx, "alertmanager", [there], now))
    page = await look(hub, "/silences", "omer")
    assert "made in alertmanager; only shown here" in said(page)
    assert EVIL[0] in page.text
    assert not [form for form in page.forms() if form["action"].endswith("/end")]
    answer = await press(hub, "/silences/1/end", "omer")
    assert (answer.status_code, "end it there" in answer.text) == (409, True)


async def test_one_that_is_to_come_is_apart(hub: RunningHub, clock: FakeClock) -> None:
    now = clock.now()
    there = Silence("", 0, (Matcher("a", "=", "b"),), now.replace(hour=5), now.replace(hour=9), "eve", "", "alertmanager", "r-1")
    await hub.hub.store.write(lambda tx: silencing.show_foreign(tx, "alertmanager", [there], now))
    assert "To come" in said(await look(hub, "/silences"))


@pytest.mark.parametrize("who", ["vera", "pia"])
async def test_who_may_not_respond_is_offered_nothing_and_refused(hub: RunningHub, who: str) -> None:
    assert not [form for form in (await look(hub, "/silences", who)).forms() if form.get("method") == "post"]
    assert (await press(hub, "/silences", who, **GIVEN)).status_code == 403
    assert (await press(hub, "/silences/1/end", who)).status_code == 403


@pytest.mark.parametrize("text", EVIL)
async def test_what_strangers_write_is_shown_as_it_stands(hub: RunningHub, text: str) -> None:
    value = text.replace('"', "").replace("\u202e", "")
    fields = {**GIVEN, "matchers": f'alertname="{value}"', "comment": value}
    page = await told(hub, await press(hub, "/silences", "omer", **fields), "omer")
    assert value in page.text
    assert value in (await look(hub, asking(**fields), "omer")).text


async def test_long_lists_are_paged(hub: RunningHub, clock: FakeClock) -> None:
    for number in range(52):
        await press(hub, "/silences", "omer", **{**GIVEN, "matchers": f'alertname="A{number}"'})
    page = await look(hub, "/silences")
    (more,) = [link for link in page.links() if "before=" in link]
    assert 'alertname="A51"' in page.text
    assert 'alertname="A0"' not in page.text
    assert 'alertname="A0"' in (await look(hub, more)).text
