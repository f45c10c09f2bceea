"""Log in and out by a password: the right one opens, a wrong one costs time, and nothing that somebody else knows opens
anything.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator

import httpx
import pytest

from alerthub.errors import Busy
from alerthub.hashing import hashed
from alerthub.store import accounts, logins, sessions
from alerthub.web.gate import BEFORE, SESSION
from tests.kit.clock import FakeClock
from tests.kit.hub import PLAIN, RunningHub, running_hub
from tests.kit.pages import read
from tests.kit.visitors import ANOTHER, HTML, PASSWORD, Browser, cheap, code_for, member

pytestmark = pytest.mark.anyio

PEOPLE = """people:
  - {name: ayse, role: responder, grants: [approver]}
  - {name: mehmet, role: viewer}
  - {name: root, role: admin}
"""
SERVER = "server: {listen: '0.0.0.0:8095', public_url: 'https://hub.example.com'}\n"
OUTSIDE = SERVER + PLAIN.replace("}\n", ", token: right-token-1}\n", 3) + PEOPLE
LIMITS = "access: {session: {idle: 1h, absolute: 1d}}\n"


@pytest.fixture
async def hub(clock: FakeClock) -> AsyncIterator[RunningHub]:
    """On this machine only, with three people."""
    async with running_hub(PLAIN + PEOPLE + LIMITS, clock=clock) as running:
        cheap(running)
        yield running


@pytest.fixture
async def outside(clock: FakeClock) -> AsyncIterator[RunningHub]:
    """Reached from other machines over https."""
    async with running_hub(OUTSIDE, clock=clock) as running:
        cheap(running)
        yield running


def cookie_of(answer: httpx.Response, name: str) -> str:
    return next((line for line in answer.headers.get_list("set-cookie") if line.split("=")[0].endswith(name)), "")


# -- who must log in

async def test_on_this_machine_the_pages_are_open_until_somebody_can_log_in(hub: RunningHub) -> None:
    stranger = Browser(hub)
    first = await stranger.get("/")
    assert (first.status_code, "done as local" in read(first.text).text) == (200, True)
    await member(hub)
    answer = await stranger.get("/?status=all")
    assert (answer.status_code, answer.headers["location"]) == (303, "/login?next=/%3Fstatus%3Dall")
    for path in ("/api/v1/incidents", "/api/v1/nowhere"):
        answer = await stranger.get(path)
        assert (answer.status_code, answer.headers["content-type"]) == (401, "application/problem+json")
        assert answer.headers["www-authenticate"] == "Bearer"


async def test_who_was_only_invited_closes_nothing_yet(hub: RunningHub) -> None:
    await code_for(hub, "ayse")
    assert (await Browser(hub).get("/")).status_code == 200


@pytest.mark.parametrize("headers", [HTML, {"accept": "*/*", "sec-fetch-mode": "navigate"}])
async def test_from_outside_a_browser_is_led_to_the_log_in(outside: RunningHub, headers: dict[str, str]) -> None:
    answer = await outside.client.get("/incidents/7", headers=headers)
    assert (answer.status_code, answer.headers["location"]) == (303, "/login?next=/incidents/7")
    assert "www-authenticate" not in answer.headers, "a browser would go on sending what it was given"


@pytest.mark.parametrize("mode", ["cors", "same-origin", "no-cors"])
async def test_a_script_of_a_page_is_told_so_without_a_window_of_the_browser(outside: RunningHub, mode: str) -> None:
    for path in ("/incidents/7", "/api/v1/incidents"):
        answer = await outside.client.get(path, headers={**HTML, "sec-fetch-mode": mode})
        assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")


# -- logging in

async def test_the_right_password_opens_and_leads_back(hub: RunningHub) -> None:
    await member(hub)
    browser = Browser(hub)
    answer = await browser.log_in(following="/incidents/7?x=1")
    assert (answer.status_code, answer.headers["location"]) == (303, "/incidents/7?x=1")
    page = read((await browser.get("/")).text)
    assert "ayse" in page.text
    assert "done as local" not in page.text
    assert (await browser.get("/login")).headers["location"] == "/"


@pytest.mark.parametrize(("name", "password"), [
    ("ayse", ANOTHER), ("ayse", ""), ("ayse", PASSWORD.upper()), ("ayse", PASSWORD + " "), ("Ayse", PASSWORD), ("", PASSWORD),
    ("mehmet", PASSWORD), ("nobody", PASSWORD), ("ay\0se", PASSWORD), ("' OR 1=1 --", PASSWORD), ("ayse", "x" * 30_000),
    ("\udcff", "x"),
])
async def test_anything_else_does_not_and_says_the_same(hub: RunningHub, name: str, password: str) -> None:
    await member(hub)
    browser = Browser(hub)
    answer = await browser.log_in(name.encode("utf-8", "replace").decode(), password)
    assert answer.status_code == 403
    assert "That name and password do not belong together." in read(answer.text).text
    assert not browser.session
    assert not await browser.is_in()


async def test_an_unknown_name_costs_as_much_work_as_a_known_one(hub: RunningHub) -> None:
    await member(hub)
    compared: list[str] = []

    class Counting(type(hub.hub.passwords)):  # type: ignore[misc]
        def _matches(self, password: str, encoded: str) -> str:
            compared.append(encoded or self.nobody)
            return str(super()._matches(password, encoded))

    hub.hub.passwords = Counting(hub.hub.passwords.hasher)      # type: ignore[attr-defined]
    for name in ("ayse", "nobody", "mehmet"):
        assert (await Browser(hub).log_in(name, "wrong")).status_code == 403
    assert len(compared) == 3
    assert {re.sub(r"\$[^$]*\$[^$]*$", "", one) for one in compared} == {"$argon2id$v=19$m=8,t=1,p=1"}


@pytest.mark.parametrize("following", [
    "https://evil.example/", "//evil.example", "/\\evil.example", "\\\\evil.example", "javascript:alert(1)", "evil", "", "/login",
    "/logout", "/setup/x", "/\tx", "/a\nb", "/%0d%0aset-cookie:x=1\r\n", "/é", "/" + "x" * 3000, "///evil.example",
])
async def test_nobody_is_led_elsewhere(hub: RunningHub, following: str) -> None:
    await member(hub)
    answer = await Browser(hub).log_in(following=following)
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    page = await Browser(hub).get("/login", params={"next": following})
    assert 'name="next" value="/"' in page.text


# -- the session

async def test_the_session_is_a_new_one_whatever_the_browser_had_before(hub: RunningHub) -> None:
    """Session fixation: who put a session of theirs into my browser is not me afterwards."""
    attacker = await member(hub, "mehmet", password=ANOTHER)
    planted = attacker.session
    await member(hub)
    for before in (planted, "x" * 43):
        page = await Browser(hub).get("/login")
        fields = dict(re.findall(r'name="(csrf|next)" value="([^"]*)"', page.text))
        before_cookie = cookie_of(page, BEFORE).split(";")[0].partition("=")[2]
        answer = await hub.client.post("/login", data={**fields, "name": "ayse", "password": PASSWORD},
                                       headers={"cookie": f"{BEFORE}={before_cookie}; {SESSION}={before}"})
        assert answer.status_code == 303
        opened = cookie_of(answer, SESSION).split(";")[0].partition("=")[2]
        assert opened not in ("", before)
        assert not await attacker.is_in(), "it is over"


async def test_only_a_hash_of_it_is_kept(hub: RunningHub) -> None:
    browser = await member(hub)
    rows = await hub.store.read(lambda tx: tx.conn.exec_driver_sql("SELECT * FROM sessions").all())
    assert browser.session
    assert browser.session not in repr(rows)
    assert hashed(browser.session) in repr(rows)


async def test_its_cookie_is_for_this_host_and_no_script(outside: RunningHub, hub: RunningHub) -> None:
    path = f"/invited/{await code_for(outside, 'ayse')}"
    browser = Browser(outside, base="https://hub.example.com")
    line = cookie_of(await browser.post(path, {"password": PASSWORD, "again": PASSWORD}), SESSION)
    assert line.startswith("__Host-alerthub_session=")
    for word in ("HttpOnly", "Path=/", "SameSite=lax", "Secure"):
        assert word in line
    assert "Domain" not in line
    plain = cookie_of(await (await member(hub)).log_in(), SESSION)
    assert "Secure" not in plain
    assert "HttpOnly" in cookie_of(await Browser(hub).log_in(), SESSION)


async def test_it_ends_when_it_is_not_used(hub: RunningHub, clock: FakeClock) -> None:
    browser = await member(hub)
    for _ in range(3):
        clock.advance(minutes=59)
        assert await browser.is_in()
    clock.advance(minutes=61)
    assert not await browser.is_in()


async def test_it_ends_after_its_time_however_much_it_is_used(hub: RunningHub, clock: FakeClock) -> None:
    browser = await member(hub)
    for _ in range(47):
        clock.advance(minutes=30)
        assert await browser.is_in()
    clock.advance(minutes=30)
    assert not await browser.is_in()


async def test_using_it_writes_at_most_once_a_minute(hub: RunningHub, clock: FakeClock) -> None:
    browser = await member(hub)
    began = hub.store.began
    for _ in range(20):
        assert await browser.is_in()
        clock.advance(seconds=2)
    assert hub.store.began == began
    clock.advance(minutes=1)
    assert await browser.is_in()
    assert hub.store.began == began + 1


async def test_who_logs_out_is_out_and_only_by_a_form_of_ours(hub: RunningHub) -> None:
    browser, other = await member(hub), Browser(hub)
    await other.log_in()
    kept = browser.session
    assert (await browser.get("/logout")).status_code == 405
    assert (await browser.client.post("/logout", data={"csrf": "x"})).status_code == 403
    assert await browser.is_in()
    assert (await browser.post("/logout", {}, page="/account")).headers["location"] == "/login"
    assert (browser.session, await browser.is_in()) == ("", False)
    browser.client.cookies.set(SESSION, kept, domain="127.0.0.1")
    assert not await browser.is_in(), "the id itself opens nothing any more"
    assert await other.is_in()


async def test_everywhere_means_everywhere(hub: RunningHub) -> None:
    browsers = [await member(hub), Browser(hub), Browser(hub)]
    stays = await member(hub, "mehmet", password=ANOTHER)
    for browser in browsers[1:]:
        await browser.log_in()
    await browsers[1].post("/logout", {"everywhere": "yes"}, page="/account")
    assert [await browser.is_in() for browser in browsers] == [False, False, False]
    assert await stays.is_in()


async def test_a_new_password_ends_all_other_sessions(hub: RunningHub) -> None:
    here, there = await member(hub), Browser(hub)
    await there.log_in()
    for fields, words in (
            ({"current": ANOTHER, "password": ANOTHER, "again": ANOTHER}, "that is not your password now"),
            ({"current": PASSWORD, "password": ANOTHER, "again": PASSWORD}, "are not the same"),
            ({"current": PASSWORD, "password": "short", "again": "short"}, "a password has 12 to 256 characters")):
        assert words in read((await here.post("/account/password", fields, page="/account")).text).text
    assert await there.is_in()
    done = await here.post("/account/password", {"current": PASSWORD, "password": ANOTHER, "again": ANOTHER}, page="/account")
    assert done.status_code == 303
    assert (await here.is_in(), await there.is_in()) == (True, False)
    assert (await Browser(hub).log_in(password=PASSWORD)).status_code == 403
    assert (await Browser(hub).log_in(password=ANOTHER)).status_code == 303


async def test_who_is_disabled_is_out_at_the_next_request(hub: RunningHub) -> None:
    admin, browser = await member(hub, "root", password=ANOTHER), await member(hub)
    assert (await admin.post("/people/disable", {"name": "ayse"}, page="/people")).status_code == 303
    assert not await browser.is_in()
    assert (await Browser(hub).log_in()).status_code == 403
    await admin.post("/people/enable", {"name": "ayse"}, page="/people")
    assert (await Browser(hub).log_in()).status_code == 303


async def test_who_leaves_the_configuration_is_out_after_the_reload(hub: RunningHub) -> None:
    stays, browser = await member(hub, "mehmet", password=ANOTHER), await member(hub)
    hub.path.write_text(hub.path.read_text().replace("  - {name: ayse, role: responder, grants: [approver]}\n", ""))
    assert hub.hub.reload() == []
    assert (await browser.is_in(), await stays.is_in()) == (False, True)
    assert (await Browser(hub).log_in()).status_code == 403


async def test_the_role_is_the_one_that_the_configuration_has_now(hub: RunningHub) -> None:
    browser = await member(hub, "root")
    assert (await browser.get("/api/v1/accounts")).status_code == 200
    hub.path.write_text(hub.path.read_text().replace("{name: root, role: admin}", "{name: root, role: viewer}"))
    assert hub.hub.reload() == []
    assert (await browser.get("/api/v1/accounts")).status_code == 403
    assert (await browser.get("/")).status_code == 200


# -- guessing

async def guesses(browser: Browser, count: int, name: str = "ayse") -> list[int]:
    return [(await browser.log_in(name, f"wrong guess number {number}")).status_code for number in range(count)]


async def test_after_a_few_wrong_guesses_each_next_one_waits_twice_as_long(hub: RunningHub, clock: FakeClock) -> None:
    await member(hub)
    browser = Browser(hub, "10.0.0.9")
    assert await guesses(browser, 6) == [403] * 5 + [429]
    for seconds in (1, 2, 4, 8, 16, 32, 60, 60):
        answer = await browser.log_in(password=PASSWORD)
        assert (answer.status_code, answer.headers["retry-after"]) == (429, str(seconds)), "nothing is compared meanwhile"
        clock.advance(seconds=seconds)
        assert (await browser.log_in(password="wrong")).status_code == 403
    clock.advance(seconds=60)
    assert (await browser.log_in(password=PASSWORD)).status_code == 303, "a minute at most keeps the right one out"
    assert await guesses(Browser(hub, "10.0.0.8"), 1) == [403], "and then it begins anew"


async def test_who_has_logged_in_before_is_not_held_back_by_others(hub: RunningHub) -> None:
    await member(hub)
    mine = Browser(hub, "10.0.0.7")
    await mine.log_in()
    await mine.post("/logout", {}, page="/account")
    assert await guesses(Browser(hub, "10.0.0.9"), 8) == [403] * 5 + [429] * 3
    assert (await mine.log_in()).status_code == 303
    assert (await Browser(hub, "10.0.0.6").log_in()).status_code == 429


async def test_a_browser_is_known_for_the_name_that_it_logged_in_as_only(hub: RunningHub) -> None:
    """Else one's own account would be a way to guess at another's without end."""
    await member(hub, "mehmet", password=ANOTHER)
    attacker = Browser(hub, "10.0.0.9")
    await attacker.log_in("mehmet", ANOTHER)
    await attacker.post("/logout", {}, page="/account")
    assert await guesses(attacker, 7, "ayse") == [403] * 5 + [429] * 2


async def test_many_names_from_one_address_wait_too(hub: RunningHub) -> None:
    await member(hub)
    browser = Browser(hub, "10.0.0.9")
    found = [(await browser.log_in(f"name-{number}", "wrong")).status_code for number in range(25)]
    assert found == [403] * 20 + [429] * 5
    assert (await Browser(hub, "10.0.0.8").log_in()).status_code == 303


async def test_guesses_at_the_same_moment_are_no_more_than_in_turn(hub: RunningHub) -> None:
    await member(hub)
    browsers = [Browser(hub, "10.0.0.9") for _ in range(12)]
    found = await asyncio.gather(*(browser.log_in(password="wrong") for browser in browsers))
    assert sorted(answer.status_code for answer in found) == [403] * 5 + [429] * 7


async def test_refusals_are_logged_once_a_minute_and_kept(hub: RunningHub, caplog: pytest.LogCaptureFixture) -> None:
    await member(hub)
    stolen = dict(re.findall(r'name="(csrf)" value="([^"]*)"', (await Browser(hub).get("/login")).text))
    for fields in (stolen, {"csrf": ""}, {}, {"csrf": "é"}):
        browser = Browser(hub)
        answer = await browser.client.post("/login", data={**fields, "name": "ayse", "password": PASSWORD})
        assert (answer.status_code, browser.session) == (403, "")


async def test_a_shorter_life_of_sessions_counts_for_those_that_are_there(hub: RunningHub, clock: FakeClock) -> None:
    browser = await member(hub)
    for _ in range(3):
        clock.advance(minutes=50)
        assert await browser.is_in()
    later = await member(hub, "root")
    hub.path.write_text(hub.path.read_text().replace("absolute: 1d", "absolute: 2h"))
    assert hub.hub.reload() == []
    assert not await browser.is_in()
    assert await later.is_in()
    hub.path.write_text(hub.path.read_text().replace("absolute: 2h", "absolute: 9d"))
    assert hub.hub.reload() == []
    for _ in range(32):
        clock.advance(minutes=50)
        await later.get("/")
    assert not await later.is_in(), "a longer one lengthens none that was begun for a day"


async def test_over_the_api_a_cookie_needs_a_proof_that_a_page_of_ours_asked(hub: RunningHub) -> None:
    browser = await member(hub)
    mark = re.findall(r'name="csrf" value="([0-9a-f]+)"', (await browser.get("/account")).text)[0]
    for headers, status in (({}, 403), ({"x-csrf-token": "0" * 64}, 403), ({"origin": "http://127.0.0.1:8095"}, 403),
                            ({"x-csrf-token": mark}, 404), ({"sec-fetch-site": "same-origin"}, 404),
                            ({"sec-fetch-site": "same-site", "x-csrf-token": mark}, 403)):
        assert (await browser.client.post("/api/v1/incidents/7/acknowledge", headers=headers)).status_code == status, headers
    assert (await browser.get("/api/v1/incidents")).status_code == 200


async def test_every_visitor_has_a_mark_of_their_own(hub: RunningHub) -> None:
    first, second = await member(hub), await member(hub, "mehmet", password=ANOTHER)
    pages = [(await browser.get("/account")).text for browser in (first, second)]
    assert len({re.findall(r'name="csrf" value="([0-9a-f]{64})"', page)[0] for page in pages}) == 2


async def test_the_pages_of_the_door_are_not_framed_and_run_no_script(hub: RunningHub, outside: RunningHub) -> None:
    for path in ("/login", "/setup/x", "/invited/x"):
        answer = await Browser(outside).get(path)
        assert answer.headers["x-frame-options"] == "DENY"
        assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
        assert "script-src" not in answer.headers["content-security-policy"]
        assert answer.headers["strict-transport-security"] == "max-age=31536000"
        assert answer.headers["cache-control"] == "no-store"
    assert "strict-transport-security" not in (await Browser(hub).get("/login")).headers


async def test_the_database_being_away_is_said_and_opens_nothing(hub: RunningHub) -> None:
    browser = await member(hub)
    hub.store.error = Busy("database: away")
    for path in ("/", "/api/v1/incidents"):
        assert (await browser.get(path)).status_code == 503
        assert (await Browser(hub).get(path)).status_code in (303, 401, 503)
    hub.store.mend()
    assert await browser.is_in()


async def test_what_is_over_is_forgotten(hub: RunningHub, clock: FakeClock) -> None:
    await member(hub)
    await guesses(Browser(hub), 2, "nobody")
    clock.advance(days=2)

    def forget(tx: object) -> tuple[int, ...]:
        accounts.forget(tx, clock.now())  # type: ignore[arg-type]
        logins.forget_attempts(tx, clock.now())  # type: ignore[arg-type]
        return tuple(tx.conn.exec_driver_sql(f"SELECT count(*) FROM {table}").scalar()  # type: ignore[attr-defined]
                     for table in ("sessions", "login_attempts", "accounts"))

    assert await hub.store.write(forget) == (0, 0, 1)
    assert sessions.SEEN_EVERY.total_seconds() == 60
