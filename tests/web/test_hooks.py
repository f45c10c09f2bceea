"""The door for machines: 200 after COMMIT and never before, 503 when that cannot be done, and nothing that loses an alert."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import logging
import sqlite3
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest

from alerthub.domain.alert import Alert, AlertStatus
from alerthub.errors import Busy
from alerthub.web.base import Door
from alerthub.web.hooks import LARGE_BODY, note_refusal
from alerthub.web.refusals import Refusals
from tests.kit.alerts import batch, firing
from tests.kit.binaries import eventually
from tests.kit.hub import HERE, RunningHub, asgi, running_hub
from tests.sources.cases import BEARER, CREDENTIALS, OLD_TOKEN, TOKEN
from tests.sources.contract import payload

pytestmark = pytest.mark.anyio

BODY = payload("alertmanager-01-firing-single.json")
GRAFANA = payload("grafana-firing.json")
HMAC_SECRET = "a-secret-that-signs"
ROUTE = """
receivers: [{name: console, console_configs: [{}]}]
route: {receiver: console, group_by: [alertname]}
"""
GUARDED = f"""
sources:
  - {{name: alertmanager, type: alertmanager, token: {TOKEN}, token_previous: {OLD_TOKEN}}}
  - {{name: grafana, type: grafana, hmac_secret: {HMAC_SECRET}}}
{ROUTE}"""


def header(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


def signed(body: bytes, secret: str = HMAC_SECRET) -> dict[str, str]:
    return {"x-grafana-alerting-signature": hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()}


def reason_of(answer: httpx.Response) -> str:
    """Of a refusal, which has the shape of RFC 9457."""
    assert answer.headers["content-type"] == "application/problem+json"
    told = answer.json()
    assert told["status"] == answer.status_code
    assert told["reason"] == told["detail"] != ""
    return str(told["reason"])


@contextmanager
def locked(hub: RunningHub) -> Iterator[sqlite3.Connection]:
    """The database as somebody else holds it: nobody can commit."""
    other = sqlite3.connect(hub.hub.store.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    try:
        yield other
    finally:
        other.close()


def stored(hub: RunningHub) -> int:
    """How many alerts another process can see."""
    with sqlite3.connect(hub.hub.store.path) as other:
        (count,) = other.execute("SELECT count(*) FROM alerts").fetchone()
    other.close()
    return int(count)


# -- 200 after COMMIT

async def test_200_is_said_when_another_process_can_see_the_alert(hub: RunningHub) -> None:
    answer = await hub.post(BODY)
    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})
    assert stored(hub) == 1


async def test_nothing_is_said_while_the_database_cannot_commit(hub: RunningHub) -> None:
    with locked(hub) as other:
        asked = asyncio.create_task(hub.post(BODY))
        await hub.turns()
        assert not asked.done()
        assert stored(hub) == 0
        other.execute("ROLLBACK")
        assert (await asked).status_code == 200
    assert stored(hub) == 1


async def test_nothing_is_said_while_the_store_holds_the_commit_back(hub: RunningHub) -> None:
    gate = hub.store.hold()
    asked = asyncio.create_task(hub.post(BODY))
    await hub.turns()
    assert hub.store.began == 1
    assert not asked.done()
    gate.set()
    assert (await asked).status_code == 200


async def test_webhooks_that_arrive_together_are_answered_together_and_each_is_stored(hub: RunningHub) -> None:
    gate = hub.store.hold()
    bodies = [BODY.replace(b"DiskFull", b"Disk%d" % number) for number in range(40)]
    asked = [asyncio.create_task(hub.post(body)) for body in bodies]
    await hub.turns()
    gate.set()
    assert {answer.status_code for answer in await asyncio.gather(*asked)} == {200}
    assert hub.store.began <= 2, "perhaps the first alone, then all that waited"
    assert stored(hub) == 40


async def test_the_same_webhook_a_hundred_times_at_once_is_one_event(hub: RunningHub) -> None:
    answers = await asyncio.gather(*(hub.post(BODY) for _ in range(100)))
    assert {answer.status_code for answer in answers} == {200}
    (incident,) = await hub.incidents()
    assert len((await hub.json(f"/api/v1/incidents/{incident['number']}"))["events"]) == 1


@pytest.mark.parametrize("method", ["POST", "PUT"])
async def test_post_and_put_are_taken(hub: RunningHub, method: str) -> None:
    assert (await hub.client.request(method, "/hooks/grafana", content=GRAFANA)).status_code == 200
    assert stored(hub) == 1


async def test_a_body_that_is_parsed_beside_the_loop_is_stored_whole(hub: RunningHub) -> None:
    body = BODY.replace(b'"truncatedAlerts"', b'"padding": "%s", "truncatedAlerts"' % (b"x" * LARGE_BODY))
    assert len(body) > LARGE_BODY
    assert (await hub.post(body)).status_code == 200
    assert stored(hub) == 1


class Poison(dict[str, str]):
    """Labels that break whoever reads them."""

    def get(self, *_: Any) -> Any:
        raise ZeroDivisionError


async def test_a_webhook_that_breaks_the_fold_does_not_take_its_neighbours_with_it(hub: RunningHub) -> None:
    good = [batch(firing(f"Disk{number}"), at=hub.hub.clock.now()) for number in range(3)]
    bad = batch(Alert(Poison(alertname="X"), AlertStatus.firing), at=hub.hub.clock.now())
    gate = hub.store.hold()
    asked = [asyncio.create_task(hub.hub.take(one)) for one in (good[0], bad, *good[1:])]
    await hub.turns()
    gate.set()
    outcomes = await asyncio.gather(*asked, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [type(None), ZeroDivisionError, type(None), type(None)]
    assert stored(hub) == 3


# -- 503, soon, and nothing else

async def test_a_busy_database_is_503_with_a_reason(hub: RunningHub) -> None:
    hub.store.error = Busy("the disk is full")
    began = time.monotonic()
    answer = await hub.post(BODY)
    assert time.monotonic() - began < 2
    assert answer.status_code == 503
    assert "the disk is full" in reason_of(answer)
    assert answer.headers["retry-after"] == "1"
    hub.store.mend()
    assert (await hub.post(BODY)).status_code == 200


@pytest.mark.parametrize("body", [BODY, b"junk", b"x" * 2000], ids=["stored", "quarantined", "too large"])
async def test_a_hanging_database_is_503_whatever_the_body_is(hub: RunningHub, body: bytes) -> None:
    hub.open_door(commit_seconds=0.05, body_limit=max(len(BODY), 1500))
    hub.store.hold()
    answer = await hub.post(body)
    assert answer.status_code == 503
    assert reason_of(answer) == "the database did not commit in time; send it again"


async def test_a_locked_database_is_503_and_the_next_try_is_one_incident(hub: RunningHub) -> None:
    hub.open_door(commit_seconds=0.05)
    with locked(hub):
        assert (await hub.post(BODY)).status_code == 503
    hub.open_door(commit_seconds=1.8)
    assert (await hub.post(BODY)).status_code == 200
    assert stored(hub) == 1
    assert len(await hub.incidents()) == 1


def test_the_sender_knows_within_two_seconds_and_a_body_has_fifteen() -> None:
    assert Door("http://x", is_loopback=True).commit_seconds < 2
    assert Door("http://x", is_loopback=True).body_seconds == 15


@pytest.mark.parametrize("body", [BODY, b'{"version": "4", "alerts": []}'], ids=["alerts", "no alert at all"])
async def test_overload_is_503_at_once_and_never_429(hub: RunningHub, body: bytes) -> None:
    hub.hub.doorway.limit = 4
    gate = hub.store.hold()
    asked = [asyncio.create_task(hub.post(body)) for _ in range(20)]
    await hub.turns()
    refused = [task.result() for task in asked if task.done()]
    assert 10 < len(refused) < 20, "refused while the others wait, without waiting themselves"
    assert {answer.status_code for answer in refused} == {503}
    assert {reason_of(answer) for answer in refused} == {"too many alerts are waiting to be stored; send it again"}
    gate.set()
    assert {answer.status_code for answer in await asyncio.gather(*asked)} == {200, 503}
    assert hub.hub.doorway.waiting_alerts == 0
    assert (await hub.post(body)).status_code == 200


async def test_senders_that_gave_up_do_not_keep_the_door_shut(hub: RunningHub) -> None:
    hub.hub.doorway.limit = 4
    hub.open_door(commit_seconds=0.05)
    hub.store.hold()
    answers = await asyncio.gather(*(hub.post(BODY) for _ in range(20)))
    assert {answer.status_code for answer in answers} == {503}
    hub.store.mend()
    hub.open_door(commit_seconds=1.8)
    await eventually(lambda: hub.hub.doorway.waiting_alerts == 0, 5, "nobody waits any more")
    assert (await hub.post(BODY)).status_code == 200


async def test_an_error_that_nobody_expected_is_logged_and_counted(hub: RunningHub, caplog: pytest.LogCaptureFixture) -> None:
    hub.store.error = ZeroDivisionError("surprise")
    answer = await hub.post(BODY)
    assert answer.status_code == 500
    assert "surprise" not in reason_of(answer)
    assert any(record.exc_info for record in caplog.records)
    assert b'alerthub_errors_total{where="web"} 1.0' in hub.hub.metrics.text()


# -- no redirect, ever

@pytest.mark.parametrize(("method", "path", "status"), [
    ("POST", "/hooks/alertmanager", 200), ("POST", "/hooks/alertmanager/", 200), ("PUT", "/hooks/alertmanager/", 200),
    ("POST", "//hooks/alertmanager", 404), ("POST", "/hooks//alertmanager", 404), ("POST", "/hooks/alertmanager//", 404),
    ("POST", "/hooks", 404), ("POST", "/hooks/", 404), ("POST", "/hooks/ALERTMANAGER", 401),
    ("POST", "/hooks/alertmanager/extra", 404), ("POST", "/hooks/..%2falertmanager", 404), ("POST", "/hooks/%00", 401),
    ("HEAD", "/hooks/alertmanager", 405), ("GET", "/hooks/alertmanager", 405), ("GET", "/hooks/alertmanager/", 405),
    ("OPTIONS", "/hooks/alertmanager", 405), ("OPTIONS", "/hooks/alertmanager/", 405), ("DELETE", "/hooks/alertmanager", 405),
    ("TRACE", "/hooks/alertmanager", 405), ("PROPFIND", "/hooks/alertmanager/", 405),
])
async def test_no_address_and_no_method_is_redirected(hub: RunningHub, method: str, path: str, status: int) -> None:
    for proxied in ({}, {"x-forwarded-proto": "http", "x-forwarded-host": "hub.example.com"}):
        answer = await hub.client.request(method, HERE + path, content=BODY, headers=proxied)
        assert answer.status_code == status
        assert "location" not in answer.headers


async def test_an_unencrypted_request_is_taken_as_it_comes(hub: RunningHub) -> None:
    answer = await hub.client.post("http://localhost/hooks/alertmanager", content=BODY)
    assert answer.status_code == 200


# -- credentials

# What has control characters in it cannot be sent at all.
@pytest.mark.parametrize(("value", "is_right"), [
    (value, is_right) for told, value, is_right in CREDENTIALS if told == BEARER and (value or "").isprintable()])
async def test_credentials_over_the_wire(value: str | None, is_right: bool) -> None:
    sent = {} if value is None else {"authorization": value.encode("utf-8", "replace")}
    async with running_hub(GUARDED) as hub:
        answer = await hub.post(BODY, headers=sent)
        assert answer.status_code == (200 if is_right else 401)
        assert stored(hub) == (1 if is_right else 0)


async def test_an_unknown_source_and_a_wrong_token_look_the_same() -> None:
    async with running_hub(GUARDED) as hub:
        answers = [await hub.post(BODY, "nobody"), await hub.post(BODY, "nobody", headers=header(TOKEN)),
                   await hub.post(BODY), await hub.post(BODY, headers=header("wrong-token")),
                   await hub.post(GRAFANA, "grafana"), await hub.post(GRAFANA, "grafana", headers=signed(b"other"))]
    assert {answer.status_code for answer in answers} == {401}
    assert len({(answer.content, tuple(answer.headers.items())) for answer in answers}) == 1


async def test_a_stranger_s_body_is_not_read() -> None:
    read: list[int] = []

    async def body() -> AsyncIterator[bytes]:
        read.append(1)
        yield BODY

    async with running_hub(GUARDED) as hub:
        assert (await hub.post(body(), headers=header("wrong-token"))).status_code == 401  # type: ignore[arg-type]
        assert read == []
        assert (await hub.post(body(), headers=header(TOKEN))).status_code == 200  # type: ignore[arg-type]
        assert read == [1]


async def test_both_tokens_are_right_during_a_rotation_and_the_old_one_is_wrong_after_it() -> None:
    async with running_hub(GUARDED) as hub:
        assert [(await hub.post(BODY, headers=header(token))).status_code for token in (TOKEN, OLD_TOKEN)] == [200, 200]
        hub.path.write_text(hub.path.read_text().replace(f", token_previous: {OLD_TOKEN}", ""))
        assert hub.hub.reload() == []
        assert [(await hub.post(BODY, headers=header(token))).status_code for token in (TOKEN, OLD_TOKEN)] == [200, 401]


async def test_grafana_s_signature_is_over_the_body_as_it_came() -> None:
    async with running_hub(GUARDED) as hub:
        assert (await hub.post(GRAFANA, "grafana", headers=signed(GRAFANA))).status_code == 200
        assert (await hub.post(GRAFANA + b" ", "grafana", headers=signed(GRAFANA))).status_code == 401
        assert (await hub.post(GRAFANA, "grafana", headers=signed(GRAFANA, "another-secret"))).status_code == 401
        assert (await hub.post(b"junk", "grafana", headers=signed(GRAFANA))).status_code == 401
        assert (await hub.json("/api/v1/quarantine"))["items"] == [], "a stranger's junk is not kept"


# -- bodies over the limit

async def streamed(body: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(body), 512):
        yield body[start:start + 512]


@pytest.mark.parametrize("send", [lambda body: body, streamed], ids=["by its length", "while it streams"])
async def test_a_body_over_the_limit_is_413_and_pages_once(hub: RunningHub, send: Any) -> None:
    hub.open_door(body_limit=len(BODY))
    for _ in range(3):
        answer = await hub.post(send(BODY + b" "))
        assert answer.status_code == 413
        assert f"larger than {len(BODY)} bytes" in reason_of(answer)
    (incident,) = await hub.incidents()
    told = await hub.json(f"/api/v1/incidents/{incident['number']}")
    assert told["alert_list"][0]["labels"] == {
        "alertname": "AlerthubBodyTooLarge", "severity": "critical", "sender": "alertmanager"}
    assert "alertmanager" in incident["title"]
    assert (await hub.post(send(BODY))).status_code == 200, "the limit itself is allowed"


async def test_a_body_over_the_limit_is_not_collected(hub: RunningHub) -> None:
    hub.open_door(body_limit=1000)
    taken: list[int] = []

    async def endless() -> AsyncIterator[bytes]:
        while True:
            taken.append(1)
            yield b"x" * 100

    assert (await hub.post(endless())).status_code == 413  # type: ignore[arg-type]
    assert len(taken) == 11


async def test_a_stranger_s_large_body_pages_nobody() -> None:
    async with running_hub(GUARDED) as hub:
        hub.open_door(body_limit=100)
        assert (await hub.post(GRAFANA, "grafana", headers=signed(b"not this"))).status_code == 413
        assert (await hub.post(BODY)).status_code == 401
        assert await hub.incidents() == []


@pytest.mark.parametrize("length", [b"\xb2", b"9" * 5000, b"-1", b"abc", b"", b"1e3", b"+5", "٣".encode()])
async def test_an_odd_content_length_is_no_error_of_ours(hub: RunningHub, length: bytes) -> None:
    status = await asgi(hub.hub.web(), "POST", "/hooks/alertmanager", [(b"content-length", length)],
                        [{"type": "http.request", "body": BODY, "more_body": False}])
    assert status in (200, 413)


# -- bodies that cannot be read

@pytest.mark.parametrize(("body", "word"), [
    (b"", "not valid JSON"), (b"{}x", "not valid JSON"), (b"[]", "must be a JSON object"),
    (BODY.replace(b'"version":"4"', b'"version":"5"'), "version"),
    (BODY.replace(b'"status":"firing"', b'"status":"burning"'), "status"),
])
async def test_an_unreadable_body_is_400_kept_and_paged_once(hub: RunningHub, body: bytes, word: str) -> None:
    assert body != BODY
    for _ in range(3):
        answer = await hub.post(body)
        assert answer.status_code == 400
        assert word in reason_of(answer)
    kept = (await hub.json("/api/v1/quarantine"))["items"]
    assert [row["source"] for row in kept] == ["alertmanager"] * 3
    assert {row["body_sha256"] for row in kept} == {hashlib.sha256(body).hexdigest()}
    (incident,) = await hub.incidents()
    told = await hub.json(f"/api/v1/incidents/{incident['number']}")
    assert told["alert_list"][0]["labels"]["alertname"] == "AlerthubBadPayload"
    assert [event["kind"] for event in told["events"]] == ["opened"]


async def test_each_sender_of_junk_has_its_own_incident(hub: RunningHub) -> None:
    for source in ("alertmanager", "grafana", "generic", "grafana"):
        assert (await hub.post(b"junk", source)).status_code == 400
    assert len(await hub.incidents()) == 3


# -- senders that go away, or never end

def half(body: bytes) -> dict[str, Any]:
    return {"type": "http.request", "body": body[: len(body) // 2], "more_body": True}


async def test_a_sender_that_goes_away_leaves_nothing_behind(hub: RunningHub, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    length = (b"content-length", str(len(BODY)).encode())
    status = await asgi(hub.hub.web(), "POST", "/hooks/alertmanager", [length], [half(BODY), {"type": "http.disconnect"}])
    assert status == 400
    assert [record.getMessage() for record in caplog.records if record.exc_info or record.levelno >= logging.ERROR] == []
    assert stored(hub) == 0
    assert (await hub.json("/api/v1/quarantine"))["items"] == []


async def test_a_body_that_drips_is_cut_off(hub: RunningHub) -> None:
    hub.open_door(body_seconds=0.05)
    assert await asgi(hub.hub.web(), "POST", "/hooks/alertmanager", [], [half(BODY)]) == 503
    assert stored(hub) == 0


async def test_every_answer_is_counted_by_source_and_status(hub: RunningHub) -> None:
    for body, source in ((BODY, "alertmanager"), (b"junk", "alertmanager"), (BODY, "x" * 100)):
        await hub.post(body, source)
    text = hub.hub.metrics.text().decode()
    for labels in ('source="alertmanager",status="200"', 'source="alertmanager",status="400"', 'source="(unknown)",status="401"'):
        assert f"alerthub_webhooks_total{{{labels}}} 1.0" in text
    assert "alerthub_webhook_duration_seconds_bucket" in text
    assert "_created" not in text


# -- who was refused

def refused(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if getattr(record, "event", "") == "webhook.refused"]


async def test_a_refusal_is_in_the_log_without_what_the_sender_said(caplog: pytest.LogCaptureFixture) -> None:
    async with running_hub(GUARDED) as hub:
        await hub.post(BODY)
        await hub.post(BODY, headers=header("canary-token"))
        await hub.post(GRAFANA, "grafana")
        await hub.post(GRAFANA, "grafana", headers=signed(GRAFANA, "canary-secret"))
        await hub.post(BODY, "canary-name")
        await hub.post(BODY, "canary-name", headers=header(TOKEN))
    assert refused(caplog) == [
        "webhook refused: source alertmanager, credentials missing", "webhook refused: source alertmanager, credentials wrong",
        "webhook refused: source grafana, credentials missing", "webhook refused: source grafana, credentials wrong",
        "webhook refused: unknown source, credentials missing", "webhook refused: unknown source, credentials wrong"]
    records = [record for record in caplog.records if getattr(record, "event", "") == "webhook.refused"]
    assert {record.levelno for record in records} == {logging.WARNING}
    assert not any("canary" in repr(vars(record)) or TOKEN in repr(vars(record)) for record in records)


async def test_a_stranger_cannot_fill_the_log(caplog: pytest.LogCaptureFixture) -> None:
    async with running_hub(GUARDED) as hub:
        for number in range(50):
            assert (await hub.post(BODY, f"stranger-{number}")).status_code == 401
            assert (await hub.post(BODY)).status_code == 401
        assert (await hub.post(BODY, headers=header(TOKEN))).status_code == 200
    assert sorted(refused(caplog)) == [
        "webhook refused: source alertmanager, credentials missing", "webhook refused: unknown source, credentials missing"]


def test_a_refusal_is_said_again_after_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    told = Refusals()
    for now in (0.0, 59.9, 60.0, 119.9, 120.0):
        note_refusal(told, None, {}, now)
    assert len(refused(caplog)) == 3
    note_refusal(told, None, {"authorization": "Bearer x"}, 120.0)
    assert len(refused(caplog)) == 4
