"""Attacks on the door, as somebody would try them who has a little and wants more: each of these once worked."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.kit.clock import FakeClock
from tests.kit.hub import RunningHub, running_hub
from tests.kit.visitors import PASSWORD, Browser, cheap, member
from tests.web.test_tokens import OWN, SHARED, WITH_TOKENS, call, made

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
        assert (answer.status_code, "a token makes no tokens" in answer.text) == (403, True), answer.text


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
