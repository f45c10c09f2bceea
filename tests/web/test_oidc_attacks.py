"""What somebody could do who is known at the provider, and wants to be more here, or longer."""

from __future__ import annotations

import pytest

from tests.kit.hub import RunningHub
from tests.kit.pages import read
from tests.kit.providers.oidc import FakeOidc
from tests.kit.visitors import ANOTHER, Browser
from tests.web.test_oidc import hub, provider, through

__all__ = ["hub", "provider"]
pytestmark = pytest.mark.anyio


async def test_who_comes_from_the_provider_gives_themselves_no_password(hub: RunningHub, provider: FakeOidc) -> None:
    """With one they could come in when the provider knows them no more; and a stolen session would be a way in for ever."""
    browser = Browser(hub)
    await through(browser)
    answer = await browser.post("/account/password", {"password": ANOTHER, "again": ANOTHER}, page="/account")
    assert answer.status_code == 403
    assert "single sign-on" in read(answer.text).text
    assert 'action="/account/password"' not in (await browser.get("/account")).text
    assert (await Browser(hub).log_in("ayse", ANOTHER)).status_code == 403


async def test_a_name_chosen_there_is_not_the_person_whom_the_configuration_names_later(
        hub: RunningHub, provider: FakeOidc) -> None:
    provider.claims = {"sub": "9", "preferred_username": "boss", "groups": ["watchers"]}
    browser = Browser(hub)
    await through(browser)
    assert await browser.is_in()
    boss = "people:\n  - {name: boss, role: admin, email: b@example.com}\n"
    hub.path.write_text(hub.path.read_text().replace("people:\n", boss))
    assert hub.hub.reload() == []
    await hub.hub.take_over()
    assert not await browser.is_in()
    assert (await through(Browser(hub))).status_code == 403
    provider.claims = {"sub": "10", "preferred_username": "b", "email": "b@example.com", "email_verified": True}
    theirs = Browser(hub)
    assert (await through(theirs)).status_code == 303
    assert (await theirs.get("/people")).status_code == 200
