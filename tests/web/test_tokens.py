"""Tokens, invitations and the first admin: what each opens and for how long, and that nobody gets more than they had."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from alerthub.domain.command import Command, Outcome, Verb
from alerthub.domain.person import Account
from alerthub.store import logins
from tests.kit.alerts import batch, firing
from tests.kit.clock import FakeClock
from tests.kit.hub import PLAIN, RunningHub, running_hub
from tests.kit.pages import read
from tests.kit.visitors import ANOTHER, PASSWORD, Browser, cheap, code_for, member
from tests.web.test_login import OUTSIDE, PEOPLE

pytestmark = pytest.mark.anyio
SHARED = "the-token-of-the-api"
OWN = "own-token-of-the-root-1"
WITH_TOKENS = f"server: {{api_token: {SHARED}}}\n" + PLAIN + PEOPLE.replace(
    "name: root, role: admin", f"name: root, role: admin, api_token: {OWN}") + """
targets: [{name: agent-btc, type: agent, url: "http://127.0.0.1:9"}]
actions:
  - {name: safe-mode, type: safe_mode, direction: tighten, target: agent-btc}
"""


@pytest.fixture
async def hub(clock: FakeClock) -> AsyncIterator[RunningHub]:
    async with running_hub(WITH_TOKENS, clock=clock) as running:
        cheap(running)
        yield running


async def call(hub: RunningHub, method: str, path: str, token: str, body: object = None) -> httpx.Response:
    return await hub.client.request(method, f"/api/v1/{path}", json=body, headers={"authorization": f"Bearer {token}"})


async def made(browser: Browser, *rights: str, lasts: str = "30d", name: str = "script") -> str:
    """A token of one's own, off the page."""
    answer = await browser.post("/account/tokens", {"name": name, "lasts": lasts, **dict.fromkeys(rights, "yes")},
                                page="/account")
    found = re.findall(r"aht_[\w-]+", answer.text)
    assert len(found) == 1, read(answer.text).text
    return str(found[0])


# -- a person's own

async def test_a_token_acts_as_its_person_and_is_shown_once(hub: RunningHub, clock: FakeClock) -> None:
    browser = await member(hub)
    token = await made(browser, "respond")
    await hub.hub.take(batch(firing("DiskFull"), at=clock.now()))
    assert (await call(hub, "POST", "incidents/1/acknowledge", token, {"by": "somebody else"})).status_code == 200
    found = (await call(hub, "GET", "incidents/1", token)).json()
    assert found["acknowledged_by"] == "ayse"
    again = (await browser.get("/account")).text
    assert token not in again
    assert "script" in read(again).text
    rows = await hub.store.read(lambda tx: tx.conn.exec_driver_sql("SELECT * FROM tokens").all())
    assert token not in repr(rows)


@pytest.mark.parametrize(("name", "rights", "allowed"), [
    ("ayse", (), set()), ("ayse", ("respond",), {"ack", "silence"}), ("ayse", ("approve",), set()),
    ("mehmet", ("respond", "administer"), set()),           # a viewer's token is a viewer's
    ("root", ("respond",), {"ack", "silence"}), ("root", ("administer",), {"reload"}),
    ("root", ("respond", "administer"), {"ack", "silence", "reload"}),
])
async def test_it_does_what_it_was_made_for_and_no_more_than_the_person(
        hub: RunningHub, clock: FakeClock, name: str, rights: tuple[str, ...], allowed: set[str]) -> None:
    token = await made(await member(hub, name), *rights)
    await hub.hub.take(batch(firing("DiskFull"), at=clock.now()))
    asked = {"ack": ("POST", "incidents/1/acknowledge", {}), "silence": ("POST", "silences", {"matchers": ["a=b"],
        "duration": "1h"}),
             "reload": ("POST", "reload", None)}
    found = {word: await call(hub, method, path, token, body) for word, (method, path, body) in asked.items()}
    assert {word for word, answer in found.items() if answer.is_success} == allowed
    assert {answer.status_code for word, answer in found.items() if word not in allowed} <= {403}
    assert (await call(hub, "GET", "incidents", token)).status_code == 200


async def test_a_token_makes_no_token_and_no_way_in(hub: RunningHub) -> None:
    token = await made(await member(hub, "root"), "respond", "administer")
    assert (await call(hub, "POST", "tokens", token, {"name": "more",
    "scope": "view respond approve administer"})).status_code == 403
    small = await made(await member(hub), "respond")
    for path, body in (("accounts", {"name": "evil", "role": "admin"}), ("accounts/mehmet/disable", {}),
        ("tokens", {"name": "x"}),
                       ("people/ayse/link-code", None), ("people/mehmet/link-code", None)):
        assert (await call(hub, "POST", path, small, body)).status_code in (403, 404), path


@pytest.mark.parametrize("end", ["time", "revoked", "disabled", "left", "by the admin"])
async def test_it_ends(hub: RunningHub, clock: FakeClock, end: str) -> None:
    browser, admin = await member(hub), await member(hub, "root", password=ANOTHER)
    token = await made(browser, "respond", lasts="2h")
    clock.advance(minutes=119)
    assert (await call(hub, "GET", "incidents", token)).status_code == 200
    if end == "time":
        clock.advance(minutes=1)
    elif end == "revoked":
        assert (await browser.post("/account/tokens/revoke", {"token": "1"}, page="/account")).status_code == 303
    elif end == "disabled":
        assert (await call(hub, "POST", "accounts/ayse/disable", OWN)).status_code == 200
    elif end == "left":
        hub.path.write_text(hub.path.read_text().replace("  - {name: ayse, role: responder, grants: [approver]}\n", ""))
        assert hub.hub.reload() == []
    else:
        assert (await call(hub, "DELETE", "tokens/1", OWN)).status_code == 200
    for path in ("incidents", "tokens"):
        assert (await call(hub, "GET", path, token)).status_code == 401
    if end != "disabled":
        assert (await call(hub, "DELETE", "tokens/1", OWN)).status_code == (404 if end in ("revoked", "by the admin") else 200)
    assert await admin.is_in()


async def test_what_is_somebody_else_s_is_not_there(hub: RunningHub) -> None:
    await made(await member(hub, "root"), "administer")
    browser = await member(hub)
    assert (await browser.post("/account/tokens/revoke", {"token": "1"}, page="/account")).status_code == 303
    assert "no token 1" in read((await browser.get("/account")).text).text
    token = await made(browser)
    assert [one["owner"] for one in (await call(hub, "GET", "tokens", token)).json()["items"]] == ["ayse"]
    assert [one["owner"] for one in (await call(hub, "GET", "tokens", OWN)).json()["items"]] == ["ayse", "root"]


@pytest.mark.parametrize(("fields", "words"), [
    ({"lasts": "2y"}, "from a minute to a year"), ({"lasts": "soon"}, "not a duration"),
    ({"lasts": "1s"}, "from a minute to a year"),
    ({"name": ""}, "a name has 1 to 100 characters"), ({"name": "x" * 101}, "a name has 1 to 100 characters"),
    ({"csrf": ""}, "too old"),
])
async def test_what_is_wrong_with_a_wish_is_said(hub: RunningHub, fields: dict[str, str], words: str) -> None:
    browser = await member(hub)
    answer = await browser.post("/account/tokens", {"name": "script", "lasts": "1d", **fields}, page="/account")
    assert answer.status_code in (403, 422)
    assert words in read(answer.text).text


@pytest.mark.parametrize("token", ["aht_", "aht_x", "aht_" + "x" * 43, "aht_é", "aht_\t"])
async def test_one_that_nobody_made_opens_nothing(hub: RunningHub, token: str) -> None:
    answer = await hub.client.get("/api/v1/incidents", headers={"authorization": f"Bearer {token}".encode()})
    assert answer.status_code == 401


async def test_it_is_known_when_it_was_used_to_the_minute(hub: RunningHub, clock: FakeClock) -> None:
    token = await made(await member(hub))
    began = hub.store.began
    for _ in range(20):
        await call(hub, "GET", "incidents", token)
        clock.advance(seconds=2)
    assert hub.store.began == began + 1
    assert (await call(hub, "GET", "tokens", token)).json()["items"][0]["used_at"]


# -- a service's

async def test_a_service_is_nobody_and_does_what_its_token_says(hub: RunningHub, clock: FakeClock) -> None:
    await hub.hub.take(batch(firing("DiskFull"), at=clock.now()))
    tokens = {}
    for scope in ("view", "respond"):
        answer = await call(hub, "POST", "tokens", SHARED, {"service": f"bot-{scope}", "scope": scope})
        assert answer.status_code == 201
        tokens[scope] = answer.json()["token"]
    for path, body in (("incidents/1/acknowledge", {}), ("silences", {"matchers": ["a=b"], "duration": "1h"}), ("reload", None)):
        assert (await call(hub, "POST", path, tokens["view"], body)).status_code == 403
    assert (await call(hub, "POST", "incidents/1/acknowledge", tokens["respond"], {"by": "ayse"})).status_code == 200
    assert (await call(hub, "GET", "incidents/1", SHARED)).json()["acknowledged_by"] == "bot-respond (service)"
    released = await call(hub, "POST", "latches/agent-btc/release", tokens["respond"], {})
    assert (released.status_code, "needs a person" in released.text) == (403, True)


@pytest.mark.parametrize(("scope", "by", "status"), [
    ("approve", OWN, 422), ("administer", SHARED, 403), ("administer", OWN, 201), ("everything", OWN, 422), ("", OWN, 422)])
async def test_who_makes_one_for_a_service(hub: RunningHub, scope: str, by: str, status: int) -> None:
    answer = await call(hub, "POST", "tokens", by, {"service": "bot", "scope": scope})
    assert answer.status_code == status


async def test_a_person_s_token_is_not_made_by_somebody_else(hub: RunningHub) -> None:
    answer = await call(hub, "POST", "tokens", SHARED, {"name": "mine", "scope": "approve"})
    assert (answer.status_code, "needs a person" in answer.text) == (403, True)


# -- commands are decided as of now

async def heard(hub: RunningHub, account: Account, verb: Verb = Verb.acknowledge, key: str = "k") -> Any:
    return await hub.hub.hear(Command(verb, "1", account, key, subject="agent-btc"))


async def test_a_command_is_that_person_s_as_they_are_when_it_is_done(hub: RunningHub, clock: FakeClock) -> None:
    """Between the door and the room somebody may have been disabled."""
    await hub.hub.take(batch(firing("DiskFull"), at=clock.now()))
    login = Account("login", "ayse", "ayse")
    assert (await heard(hub, login)).why == "unknown_account"
    await member(hub)
    assert (await heard(hub, Account("login", "nobody"))).why == "unknown_account"
    assert (await heard(hub, Account("login", "mehmet"))).why == "unknown_account", "they have no account"
    assert (await heard(hub, login)).outcome is Outcome.done
    await call(hub, "POST", "accounts/ayse/disable", OWN)
    assert (await heard(hub, login, Verb.unacknowledge, "k2")).why == "unknown_account"


async def test_who_is_not_in_the_configuration_answers_but_agrees_to_nothing(hub: RunningHub, clock: FakeClock) -> None:
    await hub.hub.take(batch(firing("DiskFull"), at=clock.now()))
    await member(hub, "guest", "admin")
    guest = Account("login", "guest", "guest")
    assert (await heard(hub, guest)).outcome is Outcome.done
    for number, verb in enumerate((Verb.approve, Verb.deny, Verb.release, Verb.override, Verb.unfreeze)):
        answer = await heard(hub, guest, verb, f"k{number + 2}")
        assert (answer.why, "not in `people` of the configuration" in answer.text) == ("not_allowed", True), verb


@pytest.mark.parametrize(("role", "outcome"), [("viewer", Outcome.refused), ("responder", Outcome.done), ("admin", Outcome.done)])
async def test_the_role_of_the_database_counts_for_who_is_not_in_the_configuration(
        hub: RunningHub, clock: FakeClock, role: str, outcome: Outcome) -> None:
    await hub.hub.take(batch(firing("DiskFull"), at=clock.now()))
    await member(hub, "guest", role)
    assert (await heard(hub, Account("login", "guest"))).outcome is outcome


@pytest.mark.parametrize("id_", ["", "x", "²", "99", "9" * 30, "-1"])
async def test_a_token_that_is_none_speaks_for_nobody(hub: RunningHub, clock: FakeClock, id_: str) -> None:
    await hub.hub.take(batch(firing("DiskFull"), at=clock.now()))
    assert (await heard(hub, Account("scoped", id_, "ayse"))).why == "unknown_account"


# -- invitations

async def test_an_invitation_works_once_and_for_three_days(hub: RunningHub, clock: FakeClock) -> None:
    path = f"/invited/{await code_for(hub, 'ayse')}"
    fields = {"password": PASSWORD, "again": PASSWORD}
    for _ in range(3):
        assert (await Browser(hub).get(path)).status_code == 200, "looking changes nothing: scanners open every link"
    assert (await Browser(hub).post(path, fields)).status_code == 303
    assert (await Browser(hub).post(path, fields)).status_code == 404
    late = f"/invited/{await code_for(hub, 'ayse')}"
    clock.advance(days=3)
    assert (await Browser(hub).get(late)).status_code == 404
    assert (await Browser(hub).post(late, fields)).status_code == 404


async def test_a_new_invitation_ends_the_one_before(hub: RunningHub) -> None:
    first, second = [f"/invited/{await code_for(hub, 'ayse')}" for _ in range(2)]
    assert [(await Browser(hub).get(path)).status_code for path in (first, second)] == [404, 200]


async def test_of_two_who_use_one_link_at_once_one_is_in(hub: RunningHub) -> None:
    path, browsers = f"/invited/{await code_for(hub, 'ayse')}", [Browser(hub) for _ in range(4)]
    found = await asyncio.gather(*(browser.post(path, {"password": PASSWORD, "again": PASSWORD}) for browser in browsers))
    assert sorted(answer.status_code for answer in found) == [303, 404, 404, 404]


@pytest.mark.parametrize(("fields", "words"), [
    ({"password": "short", "again": "short"}, "12 to 256 characters"), ({"password": "x" * 257, "again": "x" * 257}, "12 to 256"),
    ({"password": "aaaaaaaaaaaaaaaa", "again": "aaaaaaaaaaaaaaaa"}, "the first that somebody would guess"),
    ({"password": "012345678901234", "again": "012345678901234"}, "the first that somebody would guess"),
    ({"password": "ayse-ayse-2026!", "again": "ayse-ayse-2026!"}, "nearly your name"),
    ({"password": PASSWORD, "again": ""}, "not the same"),
])
async def test_a_password_that_is_none_is_refused_and_the_link_stays(hub: RunningHub, fields: dict[str, str], words: str) -> None:
    path = f"/invited/{await code_for(hub, 'ayse')}"
    answer = await Browser(hub).post(path, fields)
    assert (answer.status_code, words in read(answer.text).text) == (422, True)
    assert (await Browser(hub).post(path, {"password": PASSWORD, "again": PASSWORD})).status_code == 303


@pytest.mark.parametrize(("body", "by", "status"), [
    ({"name": "mehmet"}, SHARED, 201), ({"name": "mehmet", "role": "viewer"}, SHARED, 201),
    ({"name": "guest", "role": "responder"}, SHARED, 201),
    ({"name": "guest", "role": "admin"}, SHARED, 403), ({"name": "ayse"}, SHARED, 403), ({"name": "root"}, SHARED, 403),
    ({"name": "guest", "role": "admin"}, OWN, 201), ({"name": "ayse"}, OWN, 201), ({"name": "mehmet", "role": "admin"}, OWN, 422),
    ({"name": "guest"}, OWN, 422), ({"name": "guest", "role": "approver"}, OWN, 422),
    ({"name": "guest", "role": "king"}, OWN, 422),
    ({"name": "", "role": "viewer"}, OWN, 422), ({"name": "a/b", "role": "viewer"}, OWN, 422),
    ({"name": " a", "role": "viewer"}, OWN, 422),
    ({"name": "a\nb", "role": "viewer"}, OWN, 422), ({"name": "a\0b", "role": "viewer"}, OWN, 422), ({"name": 7}, OWN, 400),
    ({"nam": "x"}, OWN, 400),
])
async def test_who_invites_whom(hub: RunningHub, body: dict[str, Any], by: str, status: int) -> None:
    """Whoever has the shared token gives nobody a way in whose word decides: they could speak with that voice."""
    answer = await call(hub, "POST", "accounts", by, body)
    assert answer.status_code == status, answer.text


async def test_an_admin_cannot_be_taken_over_by_a_new_invitation(hub: RunningHub) -> None:
    await member(hub, "guest", "admin")
    for body in ({"name": "guest"}, {"name": "guest", "role": "viewer"}):
        assert (await call(hub, "POST", "accounts", SHARED, body)).status_code == 403
    assert (await call(hub, "POST", "accounts/guest/disable", SHARED)).status_code == 403


async def test_who_was_an_admin_here_and_then_in_the_configuration_is_nobody_after_it(hub: RunningHub) -> None:
    """The configuration is reviewed: leaving it must not bring back what somebody was before."""
    browser, text = await member(hub, "guest", "admin"), hub.path.read_text()
    hub.path.write_text(text.replace("people:\n", "people:\n  - {name: guest, role: viewer}\n"))
    assert hub.hub.reload() == []
    await hub.hub.take_over()
    assert (await browser.get("/api/v1/accounts")).status_code == 403
    hub.path.write_text(text)
    assert hub.hub.reload() == []
    assert not await browser.is_in()


async def test_nobody_disables_themselves(hub: RunningHub) -> None:
    browser = await member(hub, "root")
    await browser.post("/people/disable", {"name": "root"}, page="/people")
    assert "nobody disables themselves" in read((await browser.get("/people")).text).text
    assert await browser.is_in()


async def test_the_page_of_people_is_for_admins(hub: RunningHub) -> None:
    admin, other = await member(hub, "root"), await member(hub, password=ANOTHER)
    assert (await other.get("/people")).status_code == 403
    assert (await other.post("/people", {"name": "evil", "role": "admin"}, page="/account")).status_code == 403
    page = read((await admin.get("/people")).text).text
    for words in ("ayse", "responder by the configuration", "mehmet", "cannot log in", "password set", "invited"):
        assert words in page
    answer = await admin.post("/people", {"name": "guest", "role": "viewer"})
    link = re.findall(r"http://127.0.0.1:8095(/invited/[\w-]+)", answer.text)
    assert len(link) == 1
    assert (await Browser(hub).post(link[0], {"password": PASSWORD, "again": PASSWORD})).status_code == 303


# -- a browser with a token of the configuration

async def test_a_browser_enters_with_a_token_of_the_configuration_too(hub: RunningHub) -> None:
    for token, name in ((SHARED, "API"), (OWN, "root")):
        browser = Browser(hub)
        assert (await browser.post("/login", {"token": token})).status_code == 303
        assert name in read((await browser.get("/account")).text).text
        assert browser.session
        assert (await browser.post("/logout", {}, page="/account")).status_code == 303
        assert not await browser.is_in()
    wrong = Browser(hub)
    assert (await wrong.post("/login", {"token": "wrong"})).status_code == 403
    assert not await wrong.is_in()


async def test_that_session_ends_with_the_token(hub: RunningHub) -> None:
    browsers = [Browser(hub), Browser(hub)]
    for browser, token in zip(browsers, (SHARED, OWN), strict=True):
        await browser.post("/login", {"token": token})
    hub.path.write_text(hub.path.read_text().replace(SHARED, "another-token-of-the-api").replace(OWN, "another-token-of-root"))
    assert hub.hub.reload() == []
    assert [await browser.is_in() for browser in browsers] == [False, False]


# -- the first admin

async def offered(hub: RunningHub, caplog: pytest.LogCaptureFixture) -> str:
    caplog.clear()
    with caplog.at_level(logging.WARNING, "alerthub"):
        await hub.hub.offer_setup()
    found = [record.getMessage() for record in caplog.records if record.__dict__.get("event") == "access.setup"]
    return re.findall(r"(/setup/[\w-]+)", found[0])[0] if found else ""


async def test_whoever_reads_the_console_becomes_the_first_admin_once(clock: FakeClock, caplog: pytest.LogCaptureFixture) -> None:
    async with running_hub(OUTSIDE, clock=clock) as hub:
        cheap(hub)
        path = await offered(hub, caplog)
        rows = await hub.store.read(lambda tx: tx.conn.exec_driver_sql("SELECT * FROM access_links").all())
        assert path.rpartition("/")[2] not in repr(rows)
        browser = Browser(hub, base="https://hub.example.com")
        fields = {"name": "boss", "password": PASSWORD, "again": PASSWORD}
        for name, words in (("", "a name has"), ("ayse", "ayse is responder by the configuration"), ("a/b", "holds no /")):
            answer = await browser.post(path, {**fields, "name": name})
            assert (answer.status_code, words in read(answer.text).text) == (422, True)
        assert (await browser.post(path, fields)).status_code == 303
        assert (await browser.get("/api/v1/accounts")).json()["items"][0]["role"] == "admin"
        assert (await Browser(hub).post(path, {**fields, "name": "second"})).status_code == 404
        assert await offered(hub, caplog) == ""
        kinds = [event["kind"] for event in await hub.store.read(lambda tx: logins.page(tx))]
        assert kinds == ["login", "password_set"]


async def test_the_link_of_the_console_ends_after_an_hour_and_a_new_start_makes_another(
        clock: FakeClock, caplog: pytest.LogCaptureFixture) -> None:
    async with running_hub(OUTSIDE, clock=clock) as hub:
        cheap(hub)
        first = await offered(hub, caplog)
        clock.advance(hours=1)
        assert (await Browser(hub).get(first)).status_code == 404
        second, third = await offered(hub, caplog), await offered(hub, caplog)
        for path in (second, third):        # two replicas that start together
            assert (await Browser(hub).get(path)).status_code == 200
        browser = Browser(hub, base="https://hub.example.com")
        fields = {"password": PASSWORD, "again": PASSWORD, "name": "root"}
        assert (await browser.post(second, fields)).status_code == 303
        assert (await Browser(hub).get(third)).status_code == 404


@pytest.mark.parametrize("config", [PLAIN, WITH_TOKENS.replace(f"server: {{api_token: {SHARED}}}\n", "")])
async def test_where_nobody_has_to_log_in_no_link_is_made(
        config: str, clock: FakeClock, caplog: pytest.LogCaptureFixture) -> None:
    async with running_hub(config, clock=clock) as hub:
        assert await offered(hub, caplog) == ""


async def test_a_door_that_was_closed_does_not_open_when_the_last_one_leaves(
        clock: FakeClock, caplog: pytest.LogCaptureFixture) -> None:
    async with running_hub(PLAIN + PEOPLE, clock=clock) as hub:
        cheap(hub)
        assert (await hub.get("/")).status_code == 200
        await member(hub, "root")
        assert (await hub.get("/api/v1/incidents")).status_code == 401
        hub.path.write_text(hub.path.read_text().replace("name: root,", "name: another,"))
        caplog.clear()
        with caplog.at_level(logging.WARNING, "alerthub"):
            assert hub.hub.reload() == []
            await asyncio.wait(list(hub.hub.changes))
        clock.advance(minutes=1)
        assert (await hub.get("/api/v1/incidents")).status_code == 401
        said = [record.getMessage() for record in caplog.records if record.__dict__.get("event") == "access.setup"]
        (path,) = re.findall(r"(/setup/[\w-]+)", said[0])
        fields = {"name": "another", "password": PASSWORD, "again": PASSWORD}
        browser = Browser(hub)
        assert (await browser.post(path, fields)).status_code == 303
        assert await browser.is_in()


async def test_on_an_open_hub_this_machine_makes_the_first_admin_and_no_second(clock: FakeClock) -> None:
    async with running_hub(PLAIN, clock=clock) as hub:
        cheap(hub)
        answer = await Browser(hub).post("/people", {"name": "boss", "role": "admin"})
        (path,) = re.findall(r"http://127.0.0.1:8095(/invited/[\w-]+)", answer.text)
        assert (await Browser(hub).post(path, {"password": PASSWORD, "again": PASSWORD})).status_code == 303
        assert (await hub.client.post("/api/v1/accounts", json={"name": "evil", "role": "admin"})).status_code == 401
