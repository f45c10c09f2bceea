"""Who may enter: this machine, or whoever has the token; never another site's page, and never by a door that was forgotten."""

from __future__ import annotations

import base64
import re
from collections.abc import AsyncIterator

import httpx
import pytest

from alerthub.web.access import SECURITY_HEADERS
from alerthub.web.app import ROUTES
from tests.kit.hub import PLAIN, RunningHub, running_hub
from tests.sources.contract import payload

pytestmark = pytest.mark.anyio

API_TOKEN = "the-token-of-the-api"
PUBLIC = "https://hub.example.com"
OUTSIDE = "server: {listen: '0.0.0.0:8095', public_url: '" + PUBLIC + "'%s}\n" + PLAIN.replace(
    "type: alertmanager}", "type: alertmanager, token: right-token-1}").replace(
    "type: grafana}", "type: grafana, token: right-token-1}").replace("type: generic}", "type: generic, token: right-token-1}")
BEHIND_PROXY = "server: {public_url: '" + PUBLIC + "'}\n" + PLAIN
WITH_TOKEN = OUTSIDE % f", api_token: {API_TOKEN}"
# What everybody may ask. A webhook has credentials of its own.
OPEN = {"/healthz", "/readyz", "/health", "/metrics", "/static/{name}", "/hooks/{source}",
        # These have proofs of their own: a signature, a signed link, a secret.
        "/replies/{kind}", "/replies/slack/command", "/respond/{token}", "/heartbeats/{name}", "/heartbeats/{name}/{token}",
        "/api/v1/permits/{target:path}",
        # Nothing of an incident is on it.
        "/runbooks/{name}",
        # By these one comes in.
        "/login", "/login/oidc", "/login/oidc/callback", "/setup/{code}", "/invited/{code}"}
WRONG_PAIRS = [{"authorization": f"Basic {text}"} for text in (
    "", "=", "!!!", "x" * 5000, *(base64.b64encode(pair).decode() for pair in (
        b":", b"\xff\0:x", *(text.encode() for text in (API_TOKEN, f"{API_TOKEN}:", f"x:{API_TOKEN}x", f"x:y:{API_TOKEN}")))))]
# `/live` never ends for who may enter; test_live.py asks it.
PLACES = sorted({(route.path, method) for route in ROUTES if not route.path.startswith("/live")
                 for method in route.methods or ()})
GUARDED = [(path, method) for path, method in PLACES if (path.rstrip("/") or "/") not in OPEN]
CHANGING = [(path, method) for path, method in GUARDED if method not in ("GET", "HEAD")]


def is_for_persons(path: str, method: str) -> bool:
    """Who has the shared token is nobody in particular."""
    return path.startswith(("/api/v1/actions/runs/", "/api/v1/latches/", "/api/v1/tokens")) or (path.rstrip("/"), method) == (
        "/api/v1/freezes", "DELETE")


def address(path: str) -> str:
    """A real address for the pattern of a route."""
    return re.sub(r"\{[^}]+\}", "1", path)


def bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


def basic(pair: str) -> dict[str, str]:
    return {"authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}


@pytest.fixture(scope="module")
async def hub() -> AsyncIterator[RunningHub]:
    """On this machine only. Of these three the tests ask, and change nothing."""
    async with running_hub() as running:
        yield running


@pytest.fixture(scope="module")
async def outside() -> AsyncIterator[RunningHub]:
    """Reached from other machines, without a token."""
    async with running_hub(OUTSIDE % "") as running:
        yield running


@pytest.fixture(scope="module")
async def guarded() -> AsyncIterator[RunningHub]:
    """Reached from other machines, with a token."""
    async with running_hub(WITH_TOKEN) as running:
        yield running


async def ask(hub: RunningHub, method: str, path: str, **headers: str) -> httpx.Response:
    return await hub.client.request(method, path, headers=headers)


def test_the_table_of_routes_is_what_is_tested() -> None:
    assert len(GUARDED) > 20
    assert {path for path, _ in CHANGING} >= {"/api/v1/reload", "/api/v1/deliveries/replay"}
    assert {path for path, _ in PLACES} >= OPEN


# -- default deny, over the real table

@pytest.mark.parametrize(("path", "method"), GUARDED)
async def test_nobody_enters_from_outside_without_a_token_in_the_configuration(
        outside: RunningHub, path: str, method: str) -> None:
    for headers in ({}, bearer(""), bearer(API_TOKEN), basic(f"x:{API_TOKEN}"), basic("x:"), {"host": "127.0.0.1:8095"}):
        answer = await ask(outside, method, address(path), **headers)
        assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
        assert method == "HEAD" or "log in, or send the header" in answer.json()["reason"]


@pytest.mark.parametrize(("path", "method"), GUARDED)
async def test_only_the_token_opens_from_outside(guarded: RunningHub, path: str, method: str) -> None:
    for headers in ({}, bearer("wrong"), bearer(API_TOKEN + "x"), {"authorization": API_TOKEN}, {"cookie": f"token={API_TOKEN}"},
                    {"authorization": f"Basic {API_TOKEN}"}, {"host": "127.0.0.1"}, *WRONG_PAIRS):
        answer = await ask(guarded, method, address(path), **headers)
        assert answer.status_code == 401
        is_page = method in ("GET", "HEAD") and not path.startswith("/api/")
        assert answer.headers["www-authenticate"] == ('Basic realm="AlertHub"' if is_page else "Bearer")
    for headers in (bearer(API_TOKEN), basic(f"ayse:{API_TOKEN}")):
        answer = await ask(guarded, method, address(path), **headers)
        assert answer.status_code not in (401, 500)
        is_form = not path.startswith("/api/") and method == "POST"
        assert answer.status_code != 403 or (is_for_persons(path, method) and "needs a person" in answer.text) or (
            is_form and "load the page again" in answer.text)


@pytest.mark.parametrize("pair", [f":{API_TOKEN}", f"ayse:{API_TOKEN}", f"ay\u015fe:{API_TOKEN}", f"{'x' * 1000}:{API_TOKEN}"])
async def test_a_browser_enters_with_any_user_name_and_the_token(guarded: RunningHub, pair: str) -> None:
    assert (await ask(guarded, "GET", "/", **basic(pair))).status_code == 200


@pytest.mark.parametrize("path", ["/", "/incidents/1", "/nowhere", "/apiary"])
async def test_a_browser_without_the_token_is_led_to_the_log_in(guarded: RunningHub, path: str) -> None:
    """Not asked in HTTP's own way: it would go on sending the token, with no way to log out."""
    answer = await ask(guarded, "GET", path, accept="text/html,application/xhtml+xml,*/*;q=0.8")
    assert (answer.status_code, answer.headers["location"].split("?")[0]) == (303, "/login")
    assert "www-authenticate" not in answer.headers


@pytest.mark.parametrize("path", ["/", "/incidents/1", "/nowhere", "/apiary"])
async def test_a_program_without_the_token_is_asked_for_it_on_a_page(guarded: RunningHub, path: str) -> None:
    answer = await ask(guarded, "GET", path)
    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, 'Basic realm="AlertHub"')
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert "as the password of any user name. It is the token of this hub" in answer.text
    assert API_TOKEN not in answer.text


@pytest.mark.parametrize(("method", "path"), [("GET", "/api"), ("GET", "/api/v1/incidents"), ("POST", "/api/v1/reload"),
                                              ("POST", "/"), ("DELETE", "/incidents/1")])
async def test_a_program_without_the_token_is_told_so_as_json(guarded: RunningHub, method: str, path: str) -> None:
    answer = await ask(guarded, method, path)
    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
    assert "Authorization: Bearer" in answer.json()["detail"]


async def test_a_runbook_is_open_and_nothing_beside_it(outside: RunningHub, guarded: RunningHub) -> None:
    for hub in (outside, guarded):
        assert (await ask(hub, "GET", "/runbooks/agent-reward-negative", host="hub.example.com")).status_code == 200
        assert (await ask(hub, "GET", "/runbooks")).status_code in (401, 403)
        assert (await ask(hub, "POST", "/runbooks/agent-reward-negative")).status_code == 405


@pytest.mark.parametrize(("path", "method"), GUARDED)
async def test_a_foreign_host_name_does_not_open_the_loopback(hub: RunningHub, path: str, method: str) -> None:
    """A page of evil.example whose name was rebound to 127.0.0.1."""
    for host in ("evil.example", "evil.example:8095", "127.0.0.1.evil.example", "", "localhost.evil.example:8095", "[::1", "::1",
                 "127.0.0.1:80:80", "evil.example#127.0.0.1", "x@127.0.0.1"):
        assert (await ask(hub, method, address(path), host=host)).status_code == 403


FOREIGN = [
    "https://evil.example", "null", "http://127.0.0.1:3000", "http://localhost:3000", "", "http://[", "https://[::1", "file://",
    "http://127.0.0.1:8095.evil.example", "http://127.0.0.1:8095@evil.example", "http://evil.example/127.0.0.1:8095",
]


@pytest.mark.parametrize(("path", "method"), CHANGING)
async def test_another_site_changes_nothing(hub: RunningHub, path: str, method: str) -> None:
    for origin in FOREIGN:
        assert (await ask(hub, method, address(path), origin=origin)).status_code == 403, origin


async def test_another_site_changes_nothing_with_a_token_either(guarded: RunningHub) -> None:
    """A browser sends the password by itself, also for a form of a foreign page."""
    for headers in (bearer(API_TOKEN), basic(f"x:{API_TOKEN}")):
        answer = await ask(guarded, "POST", "/api/v1/deliveries/replay", origin="https://evil.example", **headers)
        assert answer.status_code == 403
        own = await ask(guarded, "POST", "/api/v1/deliveries/replay", origin=PUBLIC, **headers)
        assert own.status_code == 200


# -- what is open

@pytest.mark.parametrize("path", ["/", "/api/v1/incidents", "/api/v1/deliveries", "/api/v1/quarantine", "/api/v1/actions/runs"])
@pytest.mark.parametrize("host", [
    "127.0.0.1", "127.0.0.1:8095", "localhost", "localhost:9", "LocalHost:8095", "[::1]", "[::1]:8095",
])
async def test_this_machine_may_enter(hub: RunningHub, path: str, host: str) -> None:
    assert (await ask(hub, "GET", path, host=host)).status_code == 200


@pytest.mark.parametrize("headers", [
    {}, {"origin": "http://127.0.0.1:8095"}, {"origin": "http://localhost:8095", "host": "localhost:8095"},
    {"origin": "http://[::1]:8095", "host": "[::1]:8095"},
])
async def test_its_own_pages_and_programs_may_change_things(hub: RunningHub, headers: dict[str, str]) -> None:
    assert (await ask(hub, "POST", "/api/v1/deliveries/replay", **headers)).status_code == 200


async def test_the_public_name_is_the_hub_s_own() -> None:
    async with running_hub(BEHIND_PROXY) as hub:
        assert (await ask(hub, "GET", "/", host="hub.example.com")).status_code == 200
        for host in ("hub.example.com", "127.0.0.1:8095"):
            assert (await ask(hub, "POST", "/api/v1/deliveries/replay", host=host, origin=PUBLIC)).status_code == 200
        assert (await ask(hub, "GET", "/", host="other.example.com")).status_code == 403


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/health", "/metrics", "/static/live.js", "/healthz/", "/metrics/"])
async def test_health_is_open_to_everybody(outside: RunningHub, path: str) -> None:
    for host in ("127.0.0.1", "10.0.0.7:8095", "hub.example.com"):
        assert (await ask(outside, "GET", path, host=host)).status_code == 200


async def test_a_webhook_needs_the_token_of_its_source_and_not_the_one_of_the_api(guarded: RunningHub) -> None:
    body = payload("alertmanager-01-firing-single.json")
    assert (await guarded.post(body, headers=bearer("right-token-1"))).status_code == 200
    assert (await guarded.post(body, headers=bearer(API_TOKEN))).status_code == 401
    assert (await ask(guarded, "GET", "/", **bearer("right-token-1"))).status_code == 401


@pytest.mark.parametrize("path", [
    "/hooks", "/hooks/../api/v1/incidents", "/hooks/%2e%2e/api/v1/incidents", "/static/../api/v1/incidents", "/replies/x/y",
    "/healthz/../api/v1/incidents", "//api/v1/incidents", "/API/v1/incidents", "/health;x", "/metricsx",
    "/runbooks/../api/v1/incidents", "/runbooks/%2e%2e/api/v1/incidents", "/runbooks/..%2fapi/v1/incidents", "/runbooks/x/y",
])
async def test_no_path_leads_around_the_guard(outside: RunningHub, path: str) -> None:
    request = httpx.Request("GET", httpx.URL("http://127.0.0.1:8095").copy_with(raw_path=path.encode()))
    assert (await outside.client.send(request)).status_code in (401, 403, 404)


@pytest.fixture
async def reloaded() -> AsyncIterator[RunningHub]:
    """A hub of one test, to be changed."""
    async with running_hub(WITH_TOKEN) as running:
        yield running


async def test_a_reload_changes_the_token_at_once(reloaded: RunningHub) -> None:
    reloaded.path.write_text(reloaded.path.read_text().replace(API_TOKEN, "the-next-token-of-the-api"))
    assert (await ask(reloaded, "POST", "/api/v1/reload", **bearer(API_TOKEN))).status_code == 200
    assert (await ask(reloaded, "GET", "/", **bearer(API_TOKEN))).status_code == 401
    assert (await ask(reloaded, "GET", "/", **bearer("the-next-token-of-the-api"))).status_code == 200


async def test_a_reload_cannot_pretend_that_the_hub_listens_elsewhere(reloaded: RunningHub) -> None:
    """It goes on listening to the world: taking the loopback's rules over would open it."""
    text = reloaded.path.read_text()
    reloaded.path.write_text(text.replace("0.0.0.0:8095", "127.0.0.1:8095").replace(f", api_token: {API_TOKEN}", ""))
    answer = await ask(reloaded, "POST", "/api/v1/reload", **bearer(API_TOKEN))
    assert answer.status_code == 422
    assert "alerthub.yml:2:18: server.listen cannot change while the hub runs" in answer.json()["reason"]
    assert (await ask(reloaded, "GET", "/")).status_code == 401


# -- headers

@pytest.mark.parametrize(("path", "method"), [place for place in PLACES if not place[0].startswith("/hooks/")])
async def test_every_answer_but_a_webhook_s_has_the_security_headers(hub: RunningHub, path: str, method: str) -> None:
    for host in ("127.0.0.1:8095", "evil.example"):
        answer = await ask(hub, method, address(path), host=host)
        for name, value in SECURITY_HEADERS:
            assert answer.headers.get_list(name.decode()) == [value.decode()]
        (policy,) = answer.headers.get_list("content-security-policy")
        assert policy.startswith("default-src 'none'; ")
        assert policy.endswith("base-uri 'none'; frame-ancestors 'none'")
        assert ("script-src" in policy) is ((path.rstrip("/") or "/") not in OPEN), "scripts only where people have come in"


@pytest.mark.parametrize("path", ["/nowhere", "/api/v1/nowhere", "/incidents/999"])
async def test_answers_that_say_no_have_them_too(hub: RunningHub, path: str) -> None:
    for method in ("GET", "PATCH"):
        answer = await ask(hub, method, path)
        assert answer.status_code in (404, 405)
        assert answer.headers["x-content-type-options"] == "nosniff"


async def test_nothing_is_kept_by_a_cache(hub: RunningHub) -> None:
    for path in ("/", "/api/v1/incidents", "/incidents/999", "/api/v1/incidents/999", "/health"):
        assert (await hub.get(path)).headers["cache-control"] == "no-store"
