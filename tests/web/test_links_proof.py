"""Links in mails about what waits for people: the page shows exactly what would be done, and to agree asks for more than the
mail."""

from __future__ import annotations

from dataclasses import replace
from hashlib import sha256

import httpx
import pytest

from alerthub.domain.command import Answer, LinkView, Outcome, Press
from alerthub.domain.person import Account
from alerthub.web.base import Door
from tests.kit.messages import HOSTILE
from tests.web.test_links import KNOWN, PUBLIC, Page, ScriptedHub, hub, web

__all__ = ["hub", "web"]
pytestmark = pytest.mark.anyio
TOKEN = "y0123456789ab.4711.3.1795262400.AbCdEfGh-_012345"
OWN = "own-token-of-ayse-0001"
EFFECT = ("Action: retrain (type prefect, neutral)", "Target: drl", "Because of: Drift")
VIEW = LinkView("approve", 17, "Drift", "triggered", "critical", "ayse", effect=EFFECT, needs_proof=True)


@pytest.fixture(autouse=True)
def asked(hub: ScriptedHub) -> None:
    hub.view = VIEW
    hub.door = Door(PUBLIC, is_loopback=True, people={sha256(OWN.encode()).hexdigest(): "ayse"})


def proved(hub: ScriptedHub) -> Account | None:
    press = hub.heard.pop()
    assert isinstance(press, Press)
    return press.proved


async def test_the_page_shows_exactly_what_would_be_done_and_asks_for_the_token(web: httpx.AsyncClient, hub: ScriptedHub) -> None:
    page = Page((await web.get(f"/respond/{TOKEN}")).text)
    for line in (*EFFECT, "Approve this for incident #17?", "as ayse", "Your own token of this hub"):
        assert line in page.text
    assert page.tags.count("input") == 1
    shown = Page((await web.get(f"/respond/{TOKEN}", headers={"authorization": f"Bearer {OWN}"})).text)
    assert shown.tags.count("input") == 0
    hub.view = replace(VIEW, verb="deny", needs_proof=False)
    assert Page((await web.get(f"/respond/{TOKEN}")).text).tags.count("input") == 0
    assert hub.heard == []


@pytest.mark.parametrize(("given", "who"), [
    (OWN, "ayse"), (f" {OWN} ", "ayse"), ("", ""), ("x", ""), (OWN[:-1], ""), (OWN.upper(), ""), ("\u00e9\0", "")])
async def test_only_ones_own_token_proves_who_presses(web: httpx.AsyncClient, hub: ScriptedHub, given: str, who: str) -> None:
    answer = await web.post(f"/respond/{TOKEN}", data={"proof": given})
    assert proved(hub) == (Account("token", who, who) if who else None)
    assert OWN not in answer.text


async def test_a_browser_that_is_logged_in_proves_it_too(web: httpx.AsyncClient, hub: ScriptedHub) -> None:
    await web.post(f"/respond/{TOKEN}", auth=("anybody", OWN))
    assert proved(hub) == Account("token", "ayse", "ayse")


async def test_without_proof_the_page_comes_back_with_the_question(web: httpx.AsyncClient, hub: ScriptedHub) -> None:
    hub.answer = Answer(Outcome.refused, "A mail is no proof of who reads it.", 17, why="needs_proof")
    answer = await web.post(f"/respond/{TOKEN}", data={"proof": "wrong"})
    page = Page(answer.text)
    assert (answer.status_code, page.tags.count("input")) == (403, 1)
    assert page.forms == [{"method": "post", "action": f"/respond/{TOKEN}"}]


async def test_a_form_that_no_browser_sends_is_not_asked(web: httpx.AsyncClient, hub: ScriptedHub) -> None:
    for body in (b"proof=" + b"x" * 5_000, b"\xff\xfe", b"&".join([b"a=b"] * 20)):
        assert (await web.post(f"/respond/{TOKEN}", content=body)).status_code == 400
    foreign = {"origin": "https://elsewhere.example"}
    assert (await web.post(f"/respond/{TOKEN}", data={"proof": OWN}, headers=foreign)).status_code == 403
    assert hub.heard == []


@pytest.mark.parametrize("value", HOSTILE)
async def test_hostile_text_in_the_effect_is_text(web: httpx.AsyncClient, hub: ScriptedHub, value: str) -> None:
    hub.view = replace(VIEW, effect=(value,))
    page = Page((await web.get(f"/respond/{TOKEN}")).text)
    assert set(page.tags) <= {*KNOWN, "ul", "li", "label", "input"}
    assert [name for name in page.attributes if name.startswith("on")] == []
