"""What tests of the rooms' pages share: people with tokens of their own, what waits for them, and how they press a button."""

from __future__ import annotations

import re
from typing import Any

import httpx

from tests.kit.hub import RunningHub
from tests.kit.pages import Reader, read

SHARED = "the-shared-token-of-all"
TOKENS = {name: f"own-token-of-{name}-0001" for name in ("ayse", "mehmet", "omer", "vera", "pia", "emre")}
PEOPLE = f"""
people:
  - {{name: ayse, role: ml, email: ayse@example.com, api_token: {TOKENS["ayse"]}}}
  - {{name: mehmet, role: ml, api_token: {TOKENS["mehmet"]}}}
  - {{name: omer, role: responder, api_token: {TOKENS["omer"]}}}
  - {{name: vera, role: viewer, api_token: {TOKENS["vera"]}}}
  - {{name: pia, role: approver, api_token: {TOKENS["pia"]}}}
  - {{name: emre, role: admin, api_token: {TOKENS["emre"]}}}
"""
BEGIN = f"""
server: {{api_token: {SHARED}}}
sources: [{{name: alertmanager, type: alertmanager}}]
{PEOPLE}
"""
EVIL = ("<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "' onmouseover='alert(1)", "</title><svg/onload=x>",
        "javascript:alert(1)", "{{ 7*7 }}", "a\u202eb", "&lt;b&gt;")


def as_(who: str) -> dict[str, str]:
    """The headers of this person; of nobody in particular for any other name."""
    return {"authorization": f"Bearer {TOKENS.get(who, SHARED)}"}


async def look(hub: RunningHub, path: str, who: str = "", status: int = 200) -> Reader:
    """The page as this person sees it, read strictly."""
    answer = await hub.get(path, headers=as_(who))
    assert answer.status_code == status, f"{path}: {answer.status_code} {answer.text[:500]}"
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    return read(answer.text)


async def press(hub: RunningHub, path: str, who: str = "", **fields: Any) -> httpx.Response:
    """Send a form, as a browser does that this person uses."""
    return await hub.fill(path, fields, as_(who))


async def told(hub: RunningHub, answer: httpx.Response, who: str = "") -> Reader:
    """The page that the browser is led to after a press."""
    assert answer.status_code == 303, f"{answer.status_code} {answer.text[:500]}"
    return await look(hub, answer.headers["location"], who)


def said(page: Reader) -> str:
    """All words, with single spaces."""
    return re.sub(r"\s+", " ", page.text)


def hidden(page: Reader, action: str) -> dict[str, str]:
    """The hidden fields of the first form that posts there."""
    inside, found = False, {}
    for tag, attributes in page.tags:
        if tag == "form":
            if inside:
                break
            inside = attributes.get("action") == action and attributes.get("method") == "post"
        elif inside and tag == "input" and attributes.get("type") == "hidden":
            found[attributes["name"]] = attributes["value"]
    return found
