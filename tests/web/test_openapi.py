"""The document of the API: it names every address and nothing else, and what is not in it is refused."""

from __future__ import annotations

import json
from typing import Any

import jsonschema
import pytest

from alerthub.web.app import ROUTES
from alerthub.web.base import Door
from alerthub.web.gate import SESSION, cookie_name
from alerthub.web.openapi import document, plain
from alerthub.web.shapes.operations import OPERATIONS
from tests.kit.clock import FakeClock
from tests.kit.documented import wrong_with
from tests.kit.hub import RunningHub
from tests.kit.lived_api import lived_hub
from tests.web.test_api import problem_of

pytestmark = pytest.mark.anyio
OPERATION = {one.path: one for one in OPERATIONS if one.method == "GET"}


def test_every_address_of_the_api_is_in_it_and_nothing_else() -> None:
    there = {(method, plain(one.path)) for one in ROUTES if one.path.startswith("/api/") and not one.path.endswith("/")
             for method in (one.methods or set()) - {"HEAD"}}
    assert there == {(one.method, one.path) for one in OPERATIONS}


def test_every_operation_has_a_name_of_its_own_and_says_what_may_go_wrong() -> None:
    told = [one for path in document()["paths"].values() for one in path.values()]
    assert len({one["operationId"] for one in told}) == len(told) == len(OPERATIONS)
    for one in told:
        assert {"400", "401", "403", "500", "503"} <= set(one["responses"]), one["operationId"]
        assert one["summary"][0].isupper()


def test_every_reference_leads_somewhere_and_every_shape_is_a_schema() -> None:
    text, shapes = json.dumps(document()), document()["components"]["schemas"]
    wanted = {part.split('"')[0] for part in text.split('"$ref": "#/components/schemas/')[1:]}
    assert wanted <= set(shapes)
    for shape in shapes.values():
        jsonschema.Draft202012Validator.check_schema(shape)


async def test_it_is_shown_to_whoever_may_enter_and_to_nobody_else(hub: RunningHub) -> None:
    shown = await hub.json("/api/openapi.json")
    assert shown["openapi"] == "3.1.0"
    assert shown["components"]["securitySchemes"].keys() == {"bearer", "basic", "cookie", "cookie_http", "permit"}
    assert (await hub.client.head("/api/openapi.json")).status_code == 200
    hub.open_door(api_token="secret-token-0001")
    assert problem_of(await hub.get("/api/openapi.json"), 401)


def test_a_session_is_described_as_the_door_knows_it() -> None:
    schemes = document()["components"]["securitySchemes"]
    for scheme, url in (("cookie", "https://hub.example.com"), ("cookie_http", "http://127.0.0.1:8095")):
        assert schemes[scheme]["name"] == cookie_name(Door(url, is_loopback=True), SESSION)
    for methods in document()["paths"].values():
        for method, told in methods.items():
            asked = {one["name"] for one in told["parameters"] if one["in"] == "header"}
            assert ("X-CSRF-Token" in asked) == (method != "get"), told["operationId"]


def test_a_report_is_saved_only_by_who_says_what_they_have_seen() -> None:
    told = document()["paths"]["/api/v1/incidents/{reference}/report"]["put"]
    assert [one["name"] for one in told["parameters"] if one["in"] == "header" and one["required"]] == ["If-Match"]
    assert {"412", "428"} <= set(told["responses"])
    assert "ETag" in told["responses"]["200"]["headers"]


@pytest.mark.parametrize(("path", "told"), [
    ("/api/openapi.json?x=1", "this address takes none"), ("/api/v1/audit/export?limit=3", "'limit' is not a parameter here"),
    ("/api/v1/analytics?day=7", "'day' is not a parameter here; there are days, from"),
    ("/api/v1/tokens?owner=a", "there are before"),
    ("/api/v1/accounts?before=1", "there are after"), ("/api/v1/access/events?after=1", "there are before"),
    ("/api/v1/incidents?sevrity=critical", "'sevrity' is not a parameter here; there are before, limit, matcher"),
    ("/api/v1/incidents/?stat=open", "'stat' is not a parameter here"), ("/api/v1/configuration?x=1", "this address takes none"),
    ("/api/v1/latches/agent-btc?before=1", "this address takes none"),
])
async def test_a_parameter_that_is_not_in_it_is_refused(hub: RunningHub, path: str, told: str) -> None:
    answer = await hub.get(path)
    assert told in problem_of(answer, 400)
    assert answer.json()["instance"] == path.partition("?")[0]


async def test_a_parameter_that_is_not_in_it_changes_nothing(hub: RunningHub) -> None:
    await hub.get("/api/v1/freezes")        # the hub has its key now
    began = hub.store.began
    assert problem_of(await hub.client.post("/api/v1/freezes?why=typed+in+the+wrong+place", json={"why": "x"}), 400)
    assert hub.store.began == began


@pytest.mark.parametrize(("method", "path", "allowed"), [
    ("DELETE", "/api/v1/silences", "GET, HEAD, POST"), ("PUT", "/api/v1/freezes/", "DELETE, GET, HEAD, POST"),
    ("POST", "/api/v1/incidents/1", "GET, HEAD"), ("GET", "/api/v1/reload", "POST"), ("PATCH", "/api/openapi.json", "GET, HEAD"),
])
async def test_a_method_that_is_not_taken_is_405_and_says_which_are(hub: RunningHub, method: str, path: str,
                                                                    allowed: str) -> None:
    answer = await hub.client.request(method, path)
    assert problem_of(answer, 405)
    assert answer.headers["allow"] == allowed


async def test_head_is_answered_wherever_get_is(clock: FakeClock) -> None:
    known = {"reference": "1", "number": "1", "id": "1", "lane": "1", "name": "primary", "target": "agent-btc"}
    names = {"heartbeats": "nightly", "accounts": "selin"}
    async with lived_hub(clock) as hub:
        for path in OPERATION:
            name = next((name for word, name in names.items() if word in path), "primary")
            address = path.format_map({**known, "run": "0" * 12, "name": name})
            got, head = await hub.get(address), await hub.client.head(address)
            assert (head.status_code, head.content) == (got.status_code, b""), address
            assert head.headers["content-type"] == got.headers["content-type"]


async def test_no_other_site_is_told_that_it_may_ask(hub: RunningHub) -> None:
    answer = await hub.get("/api/v1/incidents", headers={"origin": "https://evil.example"})
    assert not [name for name in answer.headers if name.startswith("access-control")]
    asked = await hub.client.options("/api/openapi.json", headers={"origin": "https://evil.example"})
    assert asked.status_code == 403
    assert not [name for name in asked.headers if name.startswith("access-control")]


# -- the measure itself can tell

@pytest.mark.parametrize(("answer", "told"), [
    ((200, "application/json", {"replayed": 1}), ""),
    ((200, "application/json", {"replayed": -1}), "greater_than_equal"),
    ((200, "application/json", {"replayed": 1, "more": 2}), "extra_forbidden"),
    ((200, "text/html", {"replayed": 1}), "text/html"),
    ((202, "application/json", {"replayed": 1}), "202 is not documented"), ((409, "application/problem+json", {}), "409 is not"),
    ((422, "application/json", {}), "422 is application/json"), ((422, "application/problem+json", {}), "missing"),
])
def test_an_answer_that_is_not_in_it_is_found(answer: tuple[int, str, dict[str, Any]], told: str) -> None:
    status, kind, body = answer
    wrong = wrong_with("POST", "/api/v1/deliveries/replay", status, {"content-type": kind}, json.dumps(body).encode())
    assert told in wrong if told else not wrong
