"""Links in mails: looking changes nothing, a press acts once, and a page shows what a stranger wrote as text."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from html.parser import HTMLParser

import httpx
import pytest
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware

from alerthub.domain.command import UNKNOWN, Answer, Ask, LinkView, Outcome, Press
from alerthub.domain.route import Route
from alerthub.domain.rules import Rules
from alerthub.engine.listening import NOT_KNOWN
from alerthub.errors import Busy
from alerthub.web import links
from alerthub.web.access import SECURITY_HEADERS, Access
from alerthub.web.app import refused, route
from alerthub.web.base import Door
from tests.kit.messages import HOSTILE

pytestmark = pytest.mark.anyio
TOKEN = "a.4711.3.1795262400.AbCdEfGh-_012345"
FORCE = "rf.4711.3.1795262400.FoRcEfGh-_012345"
VIEW = LinkView("acknowledge", 17, "AgentRewardNegative (agent=btc)", "triggered", "critical", "ayse")
PUBLIC = "https://hub.example.com"


@dataclass
class ScriptedHub:
    """Shows `view`, answers `answer`, and keeps what was asked."""

    view: LinkView = VIEW
    answer: Answer = field(default_factory=lambda: Answer(Outcome.done, "Acknowledged #17.", 17))
    door: Door = field(default_factory=lambda: Door(PUBLIC, is_loopback=True))
    rules: Rules = field(default_factory=lambda: Rules(Route("x"), {}))
    is_busy: bool = False
    heard: list[Ask] = field(default_factory=list)
    looked: list[str] = field(default_factory=list)

    async def link(self, token: str) -> LinkView:
        self.looked.append(token)
        if self.is_busy:
            raise Busy("the database is away")
        return self.view

    async def hear(self, ask: Ask) -> Answer:
        self.heard.append(ask)
        return self.answer


class Page(HTMLParser):
    """What a browser would make of it."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.text, self.tags, self.forms, self.attributes = "", [], [], []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [name for name, _ in attrs]
        if tag == "form":
            self.forms.append({name: value for name, value in attrs if name != "class"})

    def handle_data(self, data: str) -> None:
        if self.tags[-1:] != ["style"]:
            self.text += data


KNOWN = {"html", "head", "meta", "title", "link", "style", "body", "header", "nav", "main", "a", "h1", "p", "span", "b", "form",
         "button"}


@pytest.fixture
def hub() -> ScriptedHub:
    return ScriptedHub()


@pytest.fixture
async def web(hub: ScriptedHub) -> AsyncIterator[httpx.AsyncClient]:
    app = Starlette(routes=[*route("/respond/{token}", links.show), *route("/respond/{token}", links.act, "POST")],
                    middleware=[Middleware(Access, hub=hub)], exception_handlers={HTTPException: refused})
    app.router.redirect_slashes = False
    app.state.hub = hub
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1:8095") as client:
        yield client


# --- looking ------------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("slash", ["", "/"])
async def test_the_page_says_what_would_be_done_on_what_and_as_whom(web: httpx.AsyncClient, hub: ScriptedHub, slash: str) -> None:
    answer = await web.get(f"/respond/{TOKEN}{slash}")
    page = Page(answer.text)
    assert answer.status_code == 200
    for word in ("Acknowledge incident #17?", "AgentRewardNegative (agent=btc)", "triggered", "critical", "as ayse",
                 "Nothing has been done yet."):
        assert word in page.text
    assert page.forms == [{"method": "post", "action": f"/respond/{TOKEN}"}]
    assert page.tags.count("button") == 1
    assert hub.looked == [TOKEN]


async def test_looking_as_often_as_a_scanner_does_changes_nothing(web: httpx.AsyncClient, hub: ScriptedHub) -> None:
    for method in ("GET", "HEAD", "GET", "HEAD"):
        for query in ("", "?x=1", f"?_method=POST&token={TOKEN}"):
            assert (await web.request(method, f"/respond/{TOKEN}{query}")).status_code == 200
    assert hub.heard == []


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS"])
async def test_another_method_is_refused(web: httpx.AsyncClient, hub: ScriptedHub, method: str) -> None:
    assert (await web.request(method, f"/respond/{TOKEN}")).status_code == 405
    assert (hub.heard, hub.looked) == ([], [])


async def test_no_page_acts_by_itself_or_is_kept(web: httpx.AsyncClient, hub: ScriptedHub) -> None:
    shown = await web.get(f"/respond/{TOKEN}")
    hub.answer = Answer(Outcome.held, "It still fires. Resolve it anyway?", 17, FORCE)
    for answer in (shown, await web.post(f"/respond/{TOKEN}")):
        page = Page(answer.text)
        assert set(page.tags) <= KNOWN
        assert [name for name in page.attributes if name.startswith("on") or name in ("autofocus", "http-equiv")] == []
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert "script-src" not in answer.headers["content-security-policy"]
        assert answer.headers["content-type"].startswith("text/html")


@pytest.mark.parametrize(("verb", "asked", "button"), [
    ("acknowledge", "Acknowledge incident #17?", "Acknowledge"), ("resolve", "Resolve incident #17?", "Resolve"),
    ("silence", "Silence incident #17?", "Silence"), ("escalate", "Escalate incident #17?", "Escalate now"),
    ("unacknowledge", "Take back the acknowledgement of incident #17?", "Take it back"),
    ("silence for 1 h", "Silence for 1 h: incident #17?", "Silence for 1 h"),
])
async def test_each_thing_that_can_be_asked_has_its_words(web: httpx.AsyncClient, hub: ScriptedHub, verb: str, asked: str,
                                                         button: str) -> None:
    hub.view = replace(VIEW, verb=verb)
    text = (await web.get(f"/respond/{TOKEN}")).text
    assert f"<h1>{asked}</h1>" in text
    assert f">{button}</button>" in text


async def test_a_silence_says_until_when_it_would_be(web: httpx.AsyncClient, hub: ScriptedHub) -> None:
    hub.view = replace(VIEW, verb="Silence until 09:00", until="Sun 2026-11-22 09:00 +03")
    page = Page((await web.get(f"/respond/{TOKEN}")).text)
    assert "Silence until 09:00: incident #17?" in page.text
    assert "If you press now, it is silenced until Sun 2026-11-22 09:00 +03." in page.text


async def test_who_is_nobody_in_particular_is_not_named(web: httpx.AsyncClient, hub: ScriptedHub) -> None:
    hub.view = replace(VIEW, who="")
    assert "done as" not in (await web.get(f"/respond/{TOKEN}")).text


@pytest.mark.parametrize("problem", ["This link is too old. Open the incident instead.", "<b>no</b>"])
async def test_a_link_that_does_nothing_says_why_and_shows_no_incident(web: httpx.AsyncClient, hub: ScriptedHub,
                                                                       problem: str) -> None:
    hub.view = replace(VIEW, problem=problem)
    answer = await web.get(f"/respond/{TOKEN}")
    page = Page(answer.text)
    assert answer.status_code == 404
    assert problem in page.text
    assert page.forms == []
    assert "AgentRewardNegative" not in page.text
    assert 'href="/incidents/17"' in answer.text
    assert hub.heard == []


@pytest.mark.parametrize(("length", "status"), [(200, 200), (201, 404), (5_000, 404)])
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_token_that_is_too_long_to_be_ours_is_not_looked_at(web: httpx.AsyncClient, hub: ScriptedHub, length: int,
                                                                    status: int, method: str) -> None:
    assert (await web.request(method, f"/respond/{'x' * length}")).status_code == status
    assert len(hub.looked + hub.heard) == (status == 200)


@pytest.mark.parametrize("token", ["%00", "%ff", "%f0%9f%94%a5", "%22%3E%3Cscript%3E", "%ED%A0%80", "..%2e", "'",
                                   "%0d%0aset-cookie:a"])
async def test_an_odd_token_breaks_no_page(web: httpx.AsyncClient, hub: ScriptedHub, token: str) -> None:
    for method in ("GET", "POST"):
        answer = await web.request(method, f"/respond/{token}")
        assert answer.status_code == (200 if token == "..%2e" else 404)
        assert set(Page(answer.text).tags) <= KNOWN
        assert "set-cookie" not in answer.headers
    assert len(hub.looked + hub.heard) == (2 if token == "..%2e" else 0)


async def test_while_the_database_is_away_the_page_says_so(web: httpx.AsyncClient, hub: ScriptedHub) -> None:
    hub.is_busy = True
    answer = await web.get(f"/respond/{TOKEN}")
    assert answer.status_code == 503
    assert "Try again in a minute" in answer.text


@pytest.mark.parametrize("value", HOSTILE, ids=lambda value: ascii(value[:12]))
async def test_hostile_text_is_text(web: httpx.AsyncClient, hub: ScriptedHub, value: str) -> None:
    hub.view = LinkView("acknowledge", 17, value, value, value, value)
    hub.answer = Answer(Outcome.held, value, 17, value)
    for answer in (await web.get(f"/respond/{TOKEN}"), await web.post(f"/respond/{TOKEN}")):
        page = Page(answer.text)
        assert value in page.text
        assert set(page.tags) <= KNOWN
        assert all(form["action"].startswith("/respond/") for form in page.forms)


# --- acting -------------------------------------------------------------------------------------------------------------------

async def test_a_press_asks_the_hub_once_and_shows_its_answer(web: httpx.AsyncClient, hub: ScriptedHub) -> None:
    answer = await web.post(f"/respond/{TOKEN}")
    assert answer.status_code == 200
    (press,) = hub.heard
    assert isinstance(press, Press)
    assert (press.token, press.by.kind, press.place, press.message) == (TOKEN, "link", "", "")
    assert TOKEN not in press.by.key, "what may be logged does not act"
    page = Page(answer.text)
    assert "Acknowledged #17." in page.text
    assert page.forms == []
    assert 'href="/incidents/17"' in answer.text
    assert hub.looked == []


async def test_the_same_link_is_the_same_press_and_does_not_show_its_token(web: httpx.AsyncClient, hub: ScriptedHub) -> None:
    for token in (TOKEN, TOKEN, FORCE):
        await web.post(f"/respond/{token}")
    first, second, other = [press.key for press in hub.heard]
    assert first == second != other
    assert first.startswith("link:")
    assert len(first) == len("link:") + 32
    assert TOKEN not in first


async def test_what_is_held_comes_back_as_a_question_with_a_second_button(web: httpx.AsyncClient, hub: ScriptedHub) -> None:
    hub.answer = Answer(Outcome.held, "It still fires. Resolve it anyway?", 17, FORCE)
    answer = await web.post(f"/respond/{TOKEN}")
    page = Page(answer.text)
    assert answer.status_code == 200
    assert "It still fires. Resolve it anyway?" in page.text
    assert "Resolve anyway" in page.text
    assert page.forms == [{"method": "post", "action": f"/respond/{FORCE}"}]
    assert len(hub.heard) == 1, "the second press is a person's"


@pytest.mark.parametrize(("outcome", "status", "forms"), [
    (Outcome.done, 200, 0), (Outcome.already, 200, 0), (Outcome.held, 200, 0), (Outcome.refused, 403, 0), (Outcome.told, 200, 0),
    (Outcome.busy, 503, 1),
])
async def test_every_end_has_its_status_and_its_words(web: httpx.AsyncClient, hub: ScriptedHub, outcome: Outcome, status: int,
                                                     forms: int) -> None:
    hub.answer = Answer(outcome, "A sentence.")
    answer = await web.post(f"/respond/{TOKEN}")
    page = Page(answer.text)
    assert (answer.status_code, len(page.forms)) == (status, forms)
    assert "A sentence." in page.text
    assert links.TITLES[outcome] in page.text
    assert forms == 0 or page.forms == [{"method": "post", "action": f"/respond/{TOKEN}"}]


async def test_what_may_have_been_stored_is_not_said_to_be_undone(web: httpx.AsyncClient, hub: ScriptedHub) -> None:
    hub.answer = Answer(Outcome.busy, NOT_KNOWN, why=UNKNOWN)
    answer = await web.post(f"/respond/{TOKEN}")
    page = Page(answer.text)
    assert (answer.status_code, page.forms) == (503, [{"method": "post", "action": f"/respond/{TOKEN}"}])
    assert "Perhaps done" in page.text
    assert "look at the message before you try again" in page.text
    assert links.TITLES[Outcome.busy] not in page.text


async def pressed(hub: ScriptedHub, origin: str) -> int:
    """The status when a form of this origin is sent; what access.py may do before is not in it."""
    app = Starlette(routes=[*route("/respond/{token}", links.act, "POST")])
    app.state.hub = hub
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1:8095") as client:
        return (await client.post(f"/respond/{TOKEN}", headers={"origin": origin})).status_code


@pytest.mark.parametrize("origin", ["https://evil.example", "http://hub.example.com.evil.example", "https://hub.example.com:444",
                                    "file://", "", "nullx"])
async def test_a_page_of_another_site_cannot_press(hub: ScriptedHub, origin: str) -> None:
    assert await pressed(hub, origin) == 403
    assert hub.heard == []


@pytest.mark.parametrize("origin", [PUBLIC, "HTTPS://Hub.Example.com", "http://127.0.0.1:8095", "null"])
async def test_our_own_page_can_press_also_without_a_referrer(hub: ScriptedHub, origin: str) -> None:
    """A browser says `Origin: null` for a form of a page with `Referrer-Policy: no-referrer` (Fetch, "append a request Origin
    header")."""
    assert await pressed(hub, origin) == 200
    assert len(hub.heard) == 1


def test_the_headers_are_those_of_every_page() -> None:
    assert (b"referrer-policy", b"no-referrer") in SECURITY_HEADERS
