"""Single sign-on against a provider that really signs: whom it proves is in with the role of the configuration, and whatever is
not exactly right opens nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator
from urllib.parse import parse_qsl, urlsplit

import httpx
import pytest

from alerthub.clock import SystemClock
from tests.kit.binaries import LOCAL
from tests.kit.hub import HERE, PLAIN, RunningHub, running_hub
from tests.kit.pages import read
from tests.kit.providers.oidc import CLIENT, FAULTS, FakeOidc
from tests.kit.visitors import ANOTHER, Browser, cheap, member

pytestmark = pytest.mark.anyio
PEOPLE = """people:
  - {name: ayse, role: responder, grants: [approver], email: Ayse@Example.com}
  - {name: root, role: admin}
"""
ROLES = ", roles: {watchers: viewer, oncall: responder, chiefs: admin}, person_claim: hub_name"


@pytest.fixture
async def provider() -> AsyncIterator[FakeOidc]:
    async with FakeOidc().running() as running:
        yield running


@pytest.fixture
async def hub(provider: FakeOidc) -> AsyncIterator[RunningHub]:
    async with running_hub(PLAIN + PEOPLE + provider.config(ROLES), clock=SystemClock()) as running:
        cheap(running)
        yield running


async def there(browser: Browser, following: str = "/") -> httpx.Response:
    """To the provider, and the way back that it gives: not yet followed."""
    sent = await browser.get("/login/oidc", params={"next": following})
    assert sent.status_code == 303, sent.text
    async with httpx.AsyncClient(**LOCAL) as outside:
        return await outside.get(sent.headers["location"])


async def through(browser: Browser, following: str = "/") -> httpx.Response:
    back = (await there(browser, following)).headers["location"]
    assert back.startswith(f"{HERE}/login/oidc/callback?")
    return await browser.get(back.removeprefix(HERE))


async def test_a_person_of_the_configuration_is_in_by_a_verified_address(hub: RunningHub, provider: FakeOidc) -> None:
    browser = Browser(hub)
    assert "Log in with the company" in (await browser.get("/login")).text
    answer = await through(browser, "/incidents/7")
    assert (answer.status_code, answer.headers["location"]) == (303, "/incidents/7")
    assert "Role responder, and approver" in read((await browser.get("/account")).text).text
    asked = provider.asked[0]
    assert (asked["client_id"], asked["redirect_uri"], asked["scope"]) == (
        CLIENT, f"{HERE}/login/oidc/callback", "openid profile email")
    assert len(provider.exchanged[0]["code_verifier"]) >= 43


async def test_everybody_must_log_in_where_there_is_a_provider(hub: RunningHub) -> None:
    assert (await Browser(hub).get("/")).status_code == 303
    assert (await hub.client.get("/api/v1/incidents")).status_code == 401


@pytest.mark.parametrize(("claims", "name", "role"), [
    ({"groups": ["watchers"]}, "guest", "viewer"), ({"groups": ["other", "oncall", "watchers"]}, "guest", "responder"),
    ({"groups": "chiefs"}, "guest", "admin"), ({"hub_name": "root"}, "root", "admin"),
])
async def test_a_group_or_a_claim_gives_a_role(
        hub: RunningHub, provider: FakeOidc, claims: dict[str, object], name: str, role: str) -> None:
    provider.claims = {"sub": "9", "preferred_username": "guest", **claims}
    browser = Browser(hub)
    assert (await through(browser)).status_code == 303
    page = read((await browser.get("/account")).text).text
    assert name in page
    assert f"Role {role}" in page


@pytest.mark.parametrize("claims", [
    {}, {"groups": []}, {"groups": ["Oncall"]}, {"groups": [["oncall"]]}, {"groups": {"oncall": True}}, {"groups": None},
    {"email": "ayse@example.com"}, {"email": "ayse@example.com", "email_verified": False},
    {"email": "ayse@example.com", "email_verified": "true"}, {"email": ["ayse@example.com"], "email_verified": True},
    {"preferred_username": "root", "groups": ["oncall"]}, {"preferred_username": "ayse", "groups": ["chiefs"]},
    {"hub_name": "nobody", "groups": []}, {"preferred_username": "a/b", "groups": ["oncall"]}, {"hub_name": ["root"]},
])
async def test_who_has_no_place_here_is_told_so(hub: RunningHub, provider: FakeOidc, claims: dict[str, object]) -> None:
    """By default none: neither an address that nobody has verified, nor a name that one chooses oneself, is a proof."""
    provider.claims = {"sub": "9", "preferred_username": "guest", **claims}
    browser = Browser(hub)
    answer = await through(browser)
    assert (answer.status_code, browser.session) == (403, "")
    assert "You are known at the company, but not here" in read(answer.text).text


@pytest.mark.parametrize("fault", FAULTS)
async def test_what_is_not_exactly_right_opens_nothing(hub: RunningHub, provider: FakeOidc, fault: str) -> None:
    provider.fault = fault
    browser = Browser(hub)
    answer = await through(browser)
    assert (answer.status_code, browser.session) == (403, ""), fault
    assert not await browser.is_in()
    text = read(answer.text).text
    assert "You are not let in" in text
    assert "ayse" not in text
    provider.fault = ""
    assert (await through(browser)).status_code == 303, "and the next try is a new one"


async def test_another_browser_s_answer_opens_nothing(hub: RunningHub) -> None:
    """Log-in CSRF: an attacker's answer, opened in my browser, would make me work as them."""
    attacker, victim = Browser(hub), Browser(hub)
    back = (await there(attacker)).headers["location"].removeprefix(HERE)
    for browser in (victim, Browser(hub)):
        assert (await browser.get(back)).status_code == 403
        await browser.get("/login/oidc")        # also with a try of their own
        assert (await browser.get(back)).status_code == 403
        assert not browser.session


async def test_an_answer_counts_once(hub: RunningHub) -> None:
    browser = Browser(hub)
    back = (await there(browser)).headers["location"].removeprefix(HERE)
    assert (await browser.get(back)).status_code == 303
    again = Browser(hub)
    again.client.cookies = browser.client.cookies
    assert (await again.get(back)).status_code == 403


@pytest.mark.parametrize("query", [
    "", "?code=x", "?state=x", "?code=x&state=", "?error=access_denied&state={state}", "?code=&state={state}",
    "?code=wrong&state={state}",
    "?code=%00&state={state}",
])
async def test_an_answer_that_is_none_opens_nothing(hub: RunningHub, query: str) -> None:
    browser = Browser(hub)
    sent = await browser.get("/login/oidc")
    state = dict(parse_qsl(urlsplit(sent.headers["location"]).query))["state"]
    answer = await browser.get("/login/oidc/callback" + query.format(state=state))
    assert (answer.status_code, browser.session) == (403, "")


async def test_an_account_here_is_not_taken_by_a_name_there(hub: RunningHub, provider: FakeOidc) -> None:
    await member(hub, "guest", "admin", password=ANOTHER)
    provider.claims = {"sub": "9", "preferred_username": "guest", "groups": ["watchers"]}
    answer = await through(Browser(hub))
    assert (answer.status_code, "There is an account guest here already" in read(answer.text).text) == (403, True)
    provider.claims = {"sub": "1", "preferred_username": "new", "groups": ["watchers"]}
    assert (await through(Browser(hub))).status_code == 303
    provider.claims["sub"] = "2"
    assert (await through(Browser(hub))).status_code == 403, "the same name, but somebody else"


async def test_who_is_disabled_here_is_out_whatever_the_provider_says(hub: RunningHub) -> None:
    browser, admin = Browser(hub), await member(hub, "root", password=ANOTHER)
    assert (await through(browser)).status_code == 303
    await admin.post("/people/disable", {"name": "ayse"}, page="/people")
    assert not await browser.is_in()
    answer = await through(browser)
    assert (answer.status_code, "Your account here is disabled" in read(answer.text).text) == (403, True)


async def test_the_role_is_as_the_groups_are_at_the_last_log_in(hub: RunningHub, provider: FakeOidc) -> None:
    provider.claims = {"sub": "9", "preferred_username": "guest", "groups": ["chiefs"]}
    browser = Browser(hub)
    await through(browser)
    assert (await browser.get("/people")).status_code == 200
    provider.claims["groups"] = ["watchers"]
    assert (await through(Browser(hub))).status_code == 303
    assert (await browser.get("/people")).status_code == 403, "also in the session from before"


async def test_a_provider_that_is_away_is_said_and_passwords_go_on(hub: RunningHub, provider: FakeOidc) -> None:
    await member(hub, "root", password=ANOTHER)
    provider.is_away = True
    answer = await Browser(hub).get("/login/oidc")
    assert (answer.status_code, "does not answer" in read(answer.text).text) == (503, True)
    assert (await Browser(hub).log_in("root", ANOTHER)).status_code == 303


async def test_without_a_provider_there_is_no_such_place() -> None:
    async with running_hub(PLAIN) as hub:
        for path in ("/login/oidc", "/login/oidc/callback?code=x&state=y"):
            assert (await Browser(hub).get(path)).status_code == 404
