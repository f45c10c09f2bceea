"""Silences over Alertmanager's API: what is sent, what its answers mean, and that no answer does harm."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from alerthub.domain.matcher import parse_matchers
from alerthub.domain.silence import NotTaken, Silence
from alerthub.errors import Unreachable
from alerthub.sources.alertmanager import Reconcile
from alerthub.sources.alertmanager_silences import MOST, AlertmanagerSilences, read_silences
from tests.kit.clock import START
from tests.sources.cases import HOSTILE, JUNK

pytestmark = pytest.mark.anyio
URL, ID, TOKEN = "http://am-1:9093/prefix", "01234567-89ab-7cde-8f01-23456789abcd", "canary-token-1"
MINE = Silence(ID, 7, parse_matchers('alertname="DiskFull",host!="b",job=~"a|b",env!~"dev.*"'), START, START + timedelta(hours=1),
               "ayse", "swap")
Answer = Callable[[httpx.Request], httpx.Response]


def item(**fields: Any) -> dict[str, Any]:
    usual: dict[str, Any] = {
        "id": "r1", "matchers": [{"name": "alertname", "value": "DiskFull", "isRegex": False, "isEqual": True}],
        "startsAt": "2026-11-21T03:00:00Z", "endsAt": "2026-11-21T05:00:00.123456789Z", "createdBy": "somebody",
        "comment": "by hand", "status": {"state": "active"}, "updatedAt": "2026-11-21T03:00:00Z"}
    return {**usual, **fields}


class Cluster:
    """Scripted peers: each request is kept and answered by `answer`."""

    def __init__(self, answer: Answer, urls: tuple[str, ...] = (URL,), **settings: Any) -> None:
        self.requests: list[httpx.Request] = []
        self.answer = answer
        self.http = httpx.AsyncClient(transport=httpx.MockTransport(self.take))
        self.silences = AlertmanagerSilences(Reconcile(urls=list(urls), **settings), self.http)

    def take(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        return self.answer(request)


def always(status: int, body: object = None) -> Answer:
    return lambda request: httpx.Response(status, content=body if isinstance(body, bytes) else json.dumps(body).encode())


async def test_a_silence_is_sent_in_alertmanagers_words_with_its_marker() -> None:
    cluster = Cluster(always(200, {"silenceID": "r1"}), token=SecretStr(TOKEN), write=True)
    assert cluster.silences.writes
    assert await cluster.silences.make(URL, MINE) == "r1"
    (request,) = cluster.requests
    assert (request.method, str(request.url)) == ("POST", f"{URL}/api/v2/silences")
    assert request.headers["authorization"] == f"Bearer {TOKEN}"
    assert json.loads(request.content) == {
        "matchers": [{"name": "alertname", "value": "DiskFull", "isRegex": False},
                     {"name": "host", "value": "b", "isRegex": False, "isEqual": False},
                     {"name": "job", "value": "a|b", "isRegex": True},
                     {"name": "env", "value": "dev.*", "isRegex": True, "isEqual": False}],
        "startsAt": "2026-11-21T03:00:00Z", "endsAt": "2026-11-21T04:00:00Z", "createdBy": "ayse",
        "comment": f"swap (by ayse, alerthub:{ID})"}


@pytest.mark.parametrize(("status", "body", "text"), [
    (400, b'"silence invalid: bad matcher"', "400: silence invalid: bad matcher"),
    (422, b'{"code": 602, "message": "comment in body is required"}', "422: comment in body is required"),
    (400, b"<html>", "400"), (400, b"", "400"), (400, b'"' + b"x" * 9_000 + b'"', "400: " + "x" * 200),
])
async def test_what_it_will_never_take_is_said_in_its_words(status: int, body: bytes, text: str) -> None:
    with pytest.raises(NotTaken) as caught:
        await Cluster(always(status, body)).silences.make(URL, MINE)
    assert str(caught.value) == text


@pytest.mark.parametrize("status", [301, 401, 403, 404, 405, 429, 500, 503])
async def test_any_other_refusal_may_pass(status: int) -> None:
    for call in (lambda it: it.make(URL, MINE), lambda it: it.listed()):
        with pytest.raises(Unreachable, match=str(status)):
            await call(Cluster(always(status, {})).silences)


@pytest.mark.parametrize("body", [*JUNK, b'{"silenceID": 5.5e300}', b'{"silenceID": ["x"]}', b'{"silenceID": "../../x"}',
                                  b'{"silenceID": ""}', b'{"silenceID": "' + b"x" * 65 + b'"}', b'{"id": "r1"}'])
async def test_an_answer_that_cannot_be_understood_is_no_answer(body: bytes) -> None:
    with pytest.raises(Unreachable):
        await Cluster(always(200, body)).silences.make(URL, MINE)
    if body != b"[]":
        with pytest.raises(Unreachable):
            await Cluster(always(200, body)).silences.listed()


async def test_no_answer_at_all_names_the_peer_and_no_secret() -> None:
    def broken(request: httpx.Request) -> httpx.Response:
        raise httpx.ReadError(f"canary {request.headers['authorization']}")

    silences = Cluster(broken, token=SecretStr(TOKEN)).silences
    for call in (silences.listed(), silences.make(URL, MINE), silences.end(URL, "r1")):
        with pytest.raises(Unreachable) as caught:
            await call
        assert "am-1:9093" in str(caught.value)
        assert "canary" not in str(caught.value)


async def test_a_redirect_to_no_address_is_no_answer() -> None:
    def away(request: httpx.Request) -> httpx.Response:
        return httpx.Response(302, headers={"location": "about:blank"})

    with pytest.raises(Unreachable, match="am-1:9093"):
        await Cluster(away).silences.listed()


@pytest.mark.parametrize("status", [200, 404])
async def test_the_end_of_one_that_is_over_is_an_end(status: int) -> None:
    cluster = Cluster(always(status))
    await cluster.silences.end(URL, "r1")
    assert (cluster.requests[0].method, str(cluster.requests[0].url)) == ("DELETE", f"{URL}/api/v2/silence/r1")
    with pytest.raises(Unreachable):
        await Cluster(always(500)).silences.end(URL, "r1")


async def test_the_first_peer_that_answers_will_do() -> None:
    def second_only(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json=[item()]) if request.url.host == "am-2" else httpx.Response(503)

    cluster = Cluster(second_only, ("http://am-1:9093", "http://am-2:9093"))
    url, found = await cluster.silences.listed()
    assert (url, len(found)) == ("http://am-2:9093", 1)


async def test_what_is_listed_is_read() -> None:
    regex = [{"name": "host", "value": "a.*", "isRegex": True}, {"name": "env", "value": "", "isRegex": False, "isEqual": False},
             {"name": "job", "value": "x|y", "isRegex": True, "isEqual": False}]
    _, (first, second) = await Cluster(always(200, [item(), item(id="r2", matchers=regex)])).silences.listed()
    assert first == Silence("", 0, parse_matchers('alertname="DiskFull"'), START,
                            datetime.fromisoformat("2026-11-21T05:00:00.123456+00:00"), "somebody", "by hand", "", "r1")
    assert second.matchers == parse_matchers('host=~"a.*",env!="",job!~"x|y"')


def test_what_is_over_is_left_out_unless_it_is_marked() -> None:
    over, marked = item(status={"state": "expired"}), f"x (by ayse, alerthub:{ID})"
    assert read_silences([over], URL) == []
    assert [one.comment for one in read_silences([{**over, "comment": marked}], URL)] == [marked]


GOOD = [{"name": "a", "value": "b", "isRegex": False}]


@pytest.mark.parametrize("broken", [
    None, 5, "x", [], {}, item(id=""), item(id="a/../b"), item(id=None), item(id="x" * 65), item(id={"a": 1}),
    item(matchers=None), item(matchers=[]), item(matchers=GOOD * 51), item(matchers=[None]), item(matchers=[{}]),
    item(matchers=[{"name": "", "value": "b"}]), item(matchers=[{"name": "a", "value": None}]),
    item(matchers=[{"name": "a", "value": "(", "isRegex": True}]), item(matchers=[{"name": "a", "value": "x" * 2_000}]),
    item(startsAt=None), item(endsAt="soon"), item(endsAt="9999-99-99T00:00:00Z"), item(endsAt=[]),
    item(endsAt="0001-01-01T00:00:00Z"),
], ids=repr)
def test_one_that_cannot_be_read_is_left_out_and_the_others_are_not(broken: Any) -> None:
    assert [one.remote_id for one in read_silences([broken, item(id="good")], URL)] == ["good"]


@pytest.mark.parametrize("text", HOSTILE)
async def test_hostile_text_stays_text(text: str) -> None:
    hostile = item(createdBy=text, comment=text, matchers=[{"name": "a", "value": text[:1_000], "isRegex": False}])
    _, (found,) = await Cluster(always(200, [hostile])).silences.listed()
    assert len(found.comment) <= 1_400
    assert len(found.created_by) <= 200
    assert "\x00" not in found.comment + found.created_by + found.matchers[0].value


def test_of_very_many_those_that_end_last_are_shown_and_none_of_ours_is_lost() -> None:
    many = [item(id=f"r{number}", endsAt=f"20{27 + number % 50}-01-01T00:00:00Z") for number in range(MOST + 500)]
    mine = item(id="mine", comment=f"x (by ayse, alerthub:{ID})", endsAt="2026-11-21T05:00:00Z")
    found = read_silences([*many, mine], URL)
    assert len(found) == MOST + 1
    assert found[0].remote_id == "mine"
    assert min(one.ends_at.year for one in found[1:]) > 2027
