"""Attacks on the door, as somebody would try them who has a little and wants more: each of these once worked."""

from __future__ import annotations

import asyncio
import base64
import logging
from collections.abc import AsyncIterator

import pytest

from alerthub.domain.access import FREE_BY_ADDRESS
from alerthub.passwords import Passwords
from alerthub.store import sessions
from tests.kit.alerts import batch, firing
from tests.kit.clock import FakeClock
from tests.kit.hub import RunningHub, running_hub
from tests.kit.pages import read
from tests.kit.visitors import ANOTHER, CHEAP, PASSWORD, Browser, cheap, code_for, member
from tests.web.test_login import outside
from tests.web.test_tokens import OWN, SHARED, WITH_TOKENS, call, made

__all__ = ["outside"]
pytestmark = pytest.mark.anyio
WITH_DENIZ = WITH_TOKENS.replace("  - {name: mehmet, role: viewer}", "  - {name: mehmet, role: viewer}\n  - {name: deniz}")


@pytest.fixture
async def hub(clock: FakeClock) -> AsyncIterator[RunningHub]:
    async with running_hub(WITH_DENIZ, clock=clock) as running:
        cheap(running)
        yield running


async def service(hub: RunningHub, scope: str, by: str = OWN, name: str = "bot") -> str:
    answer = await call(hub, "POST", "tokens", by, {"service": name, "scope": scope})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["token"])


@pytest.mark.parametrize("scope", ["respond", "administer", "respond administer"])
async def test_a_service_makes_no_token_that_outlives_its_own(hub: RunningHub, scope: str) -> None:
    token = await service(hub, scope)
    for wish in ("view", "view respond"):
        answer = await call(hub, "POST", "tokens", token, {"service": "heir", "scope": wish, "lasts": "365d"})
        assert (answer.status_code, "log in, or use people" in answer.text) == (403, True), answer.text


async def test_a_service_revokes_no_token_of_another(hub: RunningHub) -> None:
    token, other = await service(hub, "respond"), await service(hub, "view", name="other")
    assert (await call(hub, "DELETE", "tokens/2", token)).status_code == 404
    assert (await call(hub, "GET", "incidents", other)).status_code == 200
    assert (await call(hub, "DELETE", "tokens/2", SHARED)).status_code == 200


async def test_a_token_to_look_changes_nothing_of_its_person_s(hub: RunningHub) -> None:
    browser = await member(hub, "deniz")
    token, other = await made(browser), await made(browser, "respond", name="other")
    assert (await call(hub, "DELETE", "tokens/2", token)).status_code in (403, 404)
    program = Browser(hub)
    program.client.headers["authorization"] = f"Bearer {token}"
    await program.post("/account/tokens/revoke", {"token": "2"}, page="/account")
    assert (await call(hub, "GET", "incidents", other)).status_code == 200
    key = (await hub.store.read(lambda tx: tx.conn.exec_driver_sql("SELECT id_sha256 FROM sessions").all()))[0][0]
    await program.post("/account/sessions/end", {"session": key}, page="/account")
    assert await browser.is_in()


@pytest.mark.parametrize("rights", [(), ("respond",), ("approve",)])
async def test_a_token_of_less_than_its_person_makes_no_code_for_a_chat_that_may_all(hub: RunningHub, rights: tuple[str]) -> None:
    token = await made(await member(hub, "deniz"), *rights)
    answer = await call(hub, "POST", "people/deniz/link-code", token)
    assert answer.status_code == 403, answer.text


async def test_a_service_called_like_a_person_is_not_that_person(hub: RunningHub) -> None:
    token = await service(hub, "respond", SHARED, "deniz")
    assert (await call(hub, "POST", "people/deniz/link-code", token)).status_code == 403


async def test_however_a_name_is_written_it_is_one_count(hub: RunningHub) -> None:
    await member(hub, "a b", "viewer")
    stranger = Browser(hub, "10.0.0.9")
    for name in ("a b", "a\0b", " a b", "a b\u2028", "a\0b"):
        assert (await stranger.log_in(name, "wrong")).status_code == 403
    for name in ("a b", "a\0b"):
        assert (await stranger.log_in(name, PASSWORD)).status_code == 429


@pytest.mark.parametrize("words", [b'[true, "\\ud800"]', b"[" * 3_000, b'[true, "' + b"x" * 3_000 + b'"]', b"\xff"])
async def test_a_cookie_of_words_that_nobody_can_say_breaks_no_page(hub: RunningHub, words: bytes) -> None:
    browser = await member(hub)
    browser.client.cookies.set("alerthub_said", base64.urlsafe_b64encode(words).decode())
    assert (await browser.get("/account")).status_code == 200


async def test_another_host_of_the_domain_puts_no_words_on_our_pages(outside: RunningHub) -> None:
    """Any of them can set a cookie for all, but none that begins with `__Host-`."""
    browser = Browser(outside, base="https://hub.example.com")
    path = f"/invited/{await code_for(outside, 'root')}"
    assert (await browser.post(path, {"password": PASSWORD, "again": PASSWORD})).status_code == 303
    words = base64.urlsafe_b64encode(b'[true, "call 0900 now"]').decode()
    browser.client.cookies.set("alerthub_said", words)
    assert "call 0900" not in (await browser.get("/account")).text
    answer = await browser.post("/account/sessions/end", {"session": "\0"}, page="/account")
    assert "__Host-alerthub_said" in answer.headers["set-cookie"]
    assert "over already" in read((await browser.get("/account")).text).text


class Slow(Passwords):
    """Hashing waits until it may go on."""

    def __init__(self) -> None:
        super().__init__(CHEAP)
        self.began, self.may_go_on = asyncio.Event(), asyncio.Event()

    async def hash(self, password: str) -> str:
        self.began.set()
        await self.may_go_on.wait()
        return await super().hash(password)


async def test_a_session_that_ends_while_it_sets_a_password_sets_none(hub: RunningHub) -> None:
    """Or a thief who is thrown out could be in again."""
    thief = await member(hub)
    hub.hub.passwords = slow = Slow()
    setting = asyncio.create_task(thief.post("/account/password", {"current": PASSWORD, "password": ANOTHER, "again": ANOTHER},
                                             page="/account"))
    await slow.began.wait()
    await hub.store.write(lambda tx: sessions.end_all(tx, "ayse"))
    slow.may_go_on.set()
    assert (await setting).status_code == 403
    cheap(hub)
    assert (await Browser(hub).log_in("ayse", ANOTHER)).status_code == 403
    assert (await Browser(hub).log_in("ayse", PASSWORD)).status_code == 303


async def test_one_network_of_ipv6_is_one_address(hub: RunningHub) -> None:
    """Everybody there has 2**64 of them."""
    for number in range(FREE_BY_ADDRESS):
        await Browser(hub, f"2001:db8::{number:x}:1").log_in(f"name-{number}", "wrong")
    assert (await Browser(hub, "2001:db8::ffff").log_in("another", "wrong")).status_code == 429
    assert (await Browser(hub, "2001:db8:0:1::1").log_in("another", "wrong")).status_code == 403


async def test_what_a_service_does_is_never_written_down_as_a_person_s(hub: RunningHub) -> None:
    """Whoever makes it calls it what they like."""
    await hub.hub.take(batch(firing("DiskFull"), at=hub.hub.clock.now()))
    token = await service(hub, "respond", SHARED, "root")
    answer = await hub.client.put("/api/v1/incidents/1/report", json={"text": "All is well."}, headers={
        "authorization": f"Bearer {token}", "if-match": '"0"'})
    assert (answer.status_code, answer.json()["by"]) == (200, "root (service)")


VOTING = WITH_DENIZ.replace("  - {name: deniz}", "  - {name: deniz, grants: [approver]}\n  - {name: chief, role: admin}")


async def test_who_administers_does_not_take_the_voice_of_who_approves(clock: FakeClock) -> None:
    """An admin of the database alone, or a token to administer, sent the approver a new link, set the password, and voted."""
    async with running_hub(VOTING, clock=clock) as hub:
        cheap(hub)
        guest, chief = await member(hub, "guest", "admin"), await member(hub, "chief")
        answer = await guest.post("/people", {"name": "deniz", "role": ""})
        assert "only an admin who stands in `people` too" in read(answer.text).text.replace("\n", " ")
        token = await made(chief, "administer", name="for a script")
        for path, fields in (("accounts", {"name": "deniz"}), ("people/deniz/link-code", None)):
            assert (await call(hub, "POST", path, token, fields)).status_code == 403
        assert (await chief.post("/people", {"name": "deniz", "role": ""})).status_code == 200


@pytest.mark.parametrize("address", ["/setup/{}", "/invited/{}", "/invited/{}/", "/respond/{}"])
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_code_that_works_is_in_no_log_when_its_room_fails(
        hub: RunningHub, caplog: pytest.LogCaptureFixture, address: str, method: str) -> None:
    code = await code_for(hub, "ayse")
    await hub.client.get(f"/invited/{code}")        # the key of the forms is made
    caplog.clear()
    hub.store.error = ValueError("an error that nobody expects")
    with caplog.at_level(logging.DEBUG):
        answer = await hub.client.request(method, address.format(code), data={"x": "y"} if method == "POST" else None)
    hub.store.mend()
    assert answer.status_code in (403, 500)
    if answer.status_code == 500:
        (failed,) = [one for one in caplog.records if getattr(one, "event", "") == "request.failed"]
        assert failed.path in (address.format("{code}"), address.format("{token}"))        # type: ignore[attr-defined]
    assert code not in "".join(f"{vars(one)} {one.getMessage()} {one.exc_text}" for one in caplog.records
                               if not one.name.startswith(("httpx", "httpcore")))
