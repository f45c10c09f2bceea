"""`Idempotency-Key`: the same again is answered the same and done once, something else under the same key is refused, and what
was refused may be asked again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from alerthub.errors import Busy
from alerthub.store import people
from tests.kit.clock import FakeClock
from tests.kit.hub import RunningHub, running_hub
from tests.kit.lived_api import TOKENS, lived_hub
from tests.kit.stores import database
from tests.web.test_api import problem_of

pytestmark = pytest.mark.anyio
SILENCE = {"matchers": ['host="db-1"'], "duration": "4h"}
OVERRIDE = {"person": "ayse", "starts_at": "2026-11-24T10:00", "ends_at": "2026-11-24T18:00"}
OVERRIDES = "/api/v1/schedules/primary/overrides"
OTHER = "was used before, for something else"


@pytest.fixture(scope="module")
async def still() -> AsyncIterator[RunningHub]:
    """Which refuses everything."""
    async with lived_hub(FakeClock()) as hub:
        yield hub


@pytest.fixture
async def lived(clock: FakeClock) -> AsyncIterator[RunningHub]:
    async with lived_hub(clock) as hub:
        yield hub


async def post(hub: RunningHub, path: str, key: str, body: Any = None, who: str = "") -> httpx.Response:
    headers = {"idempotency-key": key, **({"authorization": f"Bearer {TOKENS[who]}"} if who else {})}
    return await hub.client.post(path, json=body, headers=headers)


@pytest.mark.parametrize(("path", "body", "listed"), [
    ("/api/v1/silences", SILENCE, "/api/v1/silences"), (OVERRIDES, OVERRIDE, OVERRIDES),
])
async def test_the_same_again_is_answered_the_same_and_made_once(lived: RunningHub, clock: FakeClock, path: str,
                                                                 body: dict[str, Any], listed: str) -> None:
    before = len((await lived.json(listed))["items"])
    first = await post(lived, path, "k", body)
    clock.advance(seconds=30)
    again = await post(lived, f"{path}/", "k", body)
    assert first.status_code in (200, 201)
    assert (again.status_code, again.json()) == (first.status_code, first.json())
    assert len((await lived.json(listed))["items"]) == before + 1
    assert (await post(lived, path, "another", body)).json() != first.json()


@pytest.mark.parametrize(("path", "body", "other"), [
    ("/api/v1/silences", SILENCE, {**SILENCE, "duration": "5h"}), (OVERRIDES, OVERRIDE, {**OVERRIDE, "person": "emre"}),
    (OVERRIDES, OVERRIDE, {**OVERRIDE, "created_by": "somebody"}),
    ("/api/v1/incidents/2/comment", {"comment": "a"}, {"comment": "b"}),
    ("/api/v1/freezes", {"why": "a"}, {"why": "b"}),
])
async def test_something_else_under_the_same_key_is_refused(lived: RunningHub, path: str, body: Any, other: Any) -> None:
    assert (await post(lived, path, "k", body)).is_success
    assert OTHER in problem_of(await post(lived, path, "k", other), 422)
    assert (await post(lived, path, "k", body)).is_success


async def test_a_key_is_of_one_caller_at_one_address(lived: RunningHub) -> None:
    assert (await post(lived, "/api/v1/silences", "k", SILENCE)).is_success
    made = await post(lived, "/api/v1/silences", "k", {**SILENCE, "duration": "5h"}, "emre")
    assert (made.status_code, made.json()["created_by"]) == (201, "emre")
    assert (await post(lived, OVERRIDES, "k", OVERRIDE)).is_success


async def test_dead_letters_are_sent_again_once(lived: RunningHub) -> None:
    first = await post(lived, "/api/v1/deliveries/replay", "k")
    assert first.json()["replayed"] >= 1
    assert (await post(lived, "/api/v1/deliveries/replay", "k")).json() == first.json()
    assert (await post(lived, "/api/v1/deliveries/replay", "another")).json() == {"replayed": 0}


async def test_what_was_refused_may_be_asked_again_with_the_same_key(lived: RunningHub) -> None:
    (dead,) = {one["lane_id"] for one in (await lived.json("/api/v1/deliveries?dead_letter=1"))["items"]}
    path = f"/api/v1/lanes/{dead}/replay"
    assert (await post(lived, "/api/v1/deliveries/replay", "all")).is_success
    assert problem_of(await post(lived, path, "k"), 404)
    assert problem_of(await post(lived, path, "k"), 404)


@pytest.mark.parametrize("key", ["", "x" * 201])
@pytest.mark.parametrize(("path", "body"), [
    ("/api/v1/silences", SILENCE), (OVERRIDES, OVERRIDE), ("/api/v1/incidents/2/acknowledge", {}),
    ("/api/v1/freezes", {"why": "x"}), ("/api/v1/deliveries/replay", None), ("/api/v1/audit/verify", None),
    ("/api/v1/reload", None), ("/api/v1/people/ayse/link-code", None),
    ("/api/v1/tokens", {"service": "bot"}), ("/api/v1/accounts", {"name": "pia", "role": "viewer"}),
])
async def test_a_key_that_is_none_is_refused(still: RunningHub, path: str, body: Any, key: str) -> None:
    assert "1 to 200 characters" in problem_of(await post(still, path, key, body, "emre"), 400)


async def test_what_was_not_stored_is_not_kept(lived: RunningHub) -> None:
    lived.store.error = Busy("the database is away")
    assert (await post(lived, "/api/v1/silences", "k", SILENCE)).status_code == 503
    lived.store.mend()
    assert (await post(lived, "/api/v1/silences", "k", SILENCE)).status_code == 201


# -- secrets are told once, and kept nowhere

@pytest.mark.parametrize(("path", "body", "secret", "found"), [
    ("/api/v1/tokens", {"name": "nightly", "scope": "respond"}, "token", "/api/v1/tokens"),
    ("/api/v1/accounts", {"name": "pia", "role": "viewer"}, "link", "/api/v1/accounts"),
])
async def test_a_secret_is_told_once_and_made_once(lived: RunningHub, path: str, body: dict[str, str], secret: str,
                                                   found: str) -> None:
    headers = {"authorization": f"Bearer {TOKENS['emre']}"}
    before = len((await lived.json(found, headers=headers))["items"])
    first, again = await post(lived, path, "k", body, "emre"), await post(lived, path, "k", body, "emre")
    assert (first.status_code, again.status_code) == (201, 200)
    assert again.json() == {**first.json(), secret: None}
    assert len((await lived.json(found, headers=headers))["items"]) == before + 1
    kept = await lived.hub.store.read(lambda tx: tx.conn.exec_driver_sql("SELECT * FROM heard").all())
    assert first.json()[secret].rpartition("/")[2] not in repr(kept)
    assert OTHER in problem_of(await post(lived, path, "k", {**body, "name": "another"}, "emre"), 422)
    if secret == "link":        # a repeat has not made another, which would end the first
        assert (await lived.get(first.json()["link"])).status_code == 200


async def test_a_link_code_is_told_once_and_the_first_one_counts(lived: RunningHub) -> None:
    path = "/api/v1/people/ayse/link-code"
    first, again = await post(lived, path, "k", None, "ayse"), await post(lived, path, "k", None, "ayse")
    code = first.json()["code"]
    assert (first.status_code, again.status_code, again.json()) == (200, 200, {**first.json(), "code": None})
    kept = await lived.hub.store.read(lambda tx: tx.conn.exec_driver_sql("SELECT * FROM heard").all())
    assert code not in repr(kept)
    assert await lived.hub.store.write(lambda tx: people.use_code(tx, code, lived.hub.clock.now())) == "ayse"
    assert (await post(lived, path, "another", None, "ayse")).json()["code"] not in (None, code)
    assert (await post(lived, path, "k", None, "emre")).json()["code"], "a key is of one caller"


async def test_a_reload_is_done_once_under_one_key(lived: RunningHub) -> None:
    first = await post(lived, "/api/v1/reload", "k", None, "emre")
    at = lived.hub.loaded_at
    lived.path.write_text("nonsense: true")
    again = await post(lived, "/api/v1/reload", "k", None, "emre")
    assert (again.status_code, again.json(), lived.hub.loaded_at) == (200, first.json(), at)
    assert problem_of(await post(lived, "/api/v1/reload", "another", None, "emre"), 422)


async def test_a_reload_that_was_refused_may_be_asked_again_with_its_key(lived: RunningHub) -> None:
    right = lived.path.read_text()
    lived.path.write_text("nonsense: true")
    assert problem_of(await post(lived, "/api/v1/reload", "k", None, "emre"), 422)
    lived.path.write_text(right)
    assert (await post(lived, "/api/v1/reload", "k", None, "emre")).json()["status"] == "reloaded"


async def test_of_a_token_that_is_lost_the_number_is_known_and_it_is_revoked_once(lived: RunningHub) -> None:
    assert (await post(lived, "/api/v1/tokens", "k", {"name": "nightly"}, "emre")).status_code == 201
    number = (await post(lived, "/api/v1/tokens", "k", {"name": "nightly"}, "emre")).json()["id"]
    headers = {"authorization": f"Bearer {TOKENS['emre']}", "idempotency-key": "r"}
    answers = [await lived.client.delete(f"/api/v1/tokens/{number}", headers=headers) for _ in range(2)]
    assert [one.json() for one in answers] == [{"id": number, "outcome": "done"}] * 2
    left = (await lived.json("/api/v1/tokens", headers={"authorization": f"Bearer {TOKENS['emre']}"}))["items"]
    assert number not in [one["id"] for one in left]


async def test_an_account_that_was_enabled_meanwhile_is_not_disabled_by_a_repeat(lived: RunningHub) -> None:
    disable, enable = "/api/v1/accounts/selin/disable", "/api/v1/accounts/selin/enable"
    assert (await post(lived, disable, "k", None, "emre")).json() == {"name": "selin", "outcome": "done"}
    assert (await post(lived, enable, "k", None, "emre")).is_success
    assert (await post(lived, disable, "k", None, "emre")).is_success
    headers = {"authorization": f"Bearer {TOKENS['emre']}"}
    assert not (await lived.json("/api/v1/accounts/selin", headers=headers))["is_disabled"]


async def test_one_key_has_the_record_checked_once(lived: RunningHub) -> None:
    first = await post(lived, "/api/v1/audit/verify", "k")
    checking = lived.client._transport.app.routed.state.checking        # type: ignore[attr-defined]
    assert await asyncio.to_thread(checking.ended.wait, 20)
    again = await post(lived, "/api/v1/audit/verify", "k")
    assert (first.status_code, again.status_code, again.json()["state"]) == (202, 200, "done")
    assert again.json()["started_at"] == first.json()["started_at"]
    assert (await post(lived, "/api/v1/audit/verify", "another")).status_code == 202
    assert await asyncio.to_thread(checking.ended.wait, 20)


@pytest.mark.parametrize("kind", ["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
async def test_many_at_once_are_one(kind: str, tmp_path: Any) -> None:
    with database(kind, tmp_path) as url:
        async with running_hub(database=url) as hub:
            answers = await asyncio.gather(*(post(hub, "/api/v1/silences", "k", SILENCE) for _ in range(8)))
            assert {one.status_code for one in answers} == {201}
            assert len({one.json()["number"] for one in answers}) == 1
            assert len((await hub.json("/api/v1/silences"))["items"]) == 1
