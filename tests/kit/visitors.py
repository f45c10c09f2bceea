"""People at the pages of a hub in-process: browsers that keep cookies and fill in forms as they find them."""

from __future__ import annotations

import re
from collections.abc import Mapping

import httpx
from argon2 import PasswordHasher

from alerthub.domain.person import Person
from alerthub.flow import access
from alerthub.passwords import Passwords
from alerthub.web.gate import SESSION
from tests.kit.hub import HERE, RunningHub
from tests.kit.pages import read

PASSWORD, ANOTHER = "four words make sense", "another long pass phrase"
CHEAP = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)      # the real cost is tested by itself
ADMIN = access.Asker("root", Person("root", "admin"))
HTML = {"accept": "text/html"}


def cheap(hub: RunningHub) -> None:
    """Its passwords cost next to nothing."""
    hub.hub.passwords = Passwords(CHEAP)


class Browser:
    """One browser with cookies of its own; `address` is where it comes from."""

    def __init__(self, hub: RunningHub, address: str = "127.0.0.1", base: str = HERE) -> None:
        self.hub = hub
        app = hub.client._transport.app     # type: ignore[attr-defined]
        self.client = httpx.AsyncClient(transport=httpx.ASGITransport(app, client=(address, 5)), base_url=base, headers=HTML)

    async def get(self, path: str, **more: object) -> httpx.Response:
        return await self.client.get(path, **more)  # type: ignore[arg-type]

    async def post(self, path: str, fields: Mapping[str, str], page: str = "", **more: object) -> httpx.Response:
        """The form of that page (else of the path itself), filled in: what proves that it is ours is in it."""
        found = await self.client.get(page or path)
        marks = re.findall(r'name="csrf" value="([0-9a-f]*)"', found.text)
        return await self.client.post(path, data={"csrf": marks[0] if marks else "", **fields}, **more)  # type: ignore[arg-type]

    async def log_in(self, name: str = "ayse", password: str = PASSWORD, following: str = "/") -> httpx.Response:
        return await self.post("/login", {"name": name, "password": password, "next": following})

    async def is_in(self) -> bool:
        return (await self.get("/account")).status_code == 200

    @property
    def session(self) -> str:
        return next((value for name, value in self.client.cookies.items() if name.endswith(SESSION)), "")


async def code_for(hub: RunningHub, name: str, role: str = "") -> str:
    """An invitation of an admin's who may invite anybody: one who stands in `people`."""
    rules = hub.hub.rules
    admin = next((access.Asker(one, Person(one, "admin")) for one in rules.people), ADMIN)
    return str(await hub.store.write(lambda tx: access.invite(tx, rules, admin, name, role, hub.hub.clock.now())))


async def member(hub: RunningHub, name: str = "ayse", role: str = "", password: str = PASSWORD,
                 address: str = "10.0.0.1") -> Browser:
    """Somebody who was invited, has chosen a password, and is logged in."""
    browser = Browser(hub, address)
    path = f"/invited/{await code_for(hub, name, role)}"
    answer = await browser.post(path, {"password": password, "again": password})
    assert answer.status_code == 303, read(answer.text).text
    return browser
