"""`alerthub people` and `alerthub token`: who can log in, and what programs come in by. Asked of the running hub; without one,
links are made in the database itself, so that whoever runs the hub is never locked out of it."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any
from urllib.parse import quote

import click

from alerthub.cli_base import (
    NoHub,
    ask_hub,
    config_option,
    configured,
    fails_plainly,
    json_option,
    not_ours,
    token_from,
    token_option,
    user,
)
from alerthub.clock import SystemClock
from alerthub.config import Config
from alerthub.config.rules import person_of
from alerthub.domain.access import ROLES
from alerthub.domain.person import Person
from alerthub.domain.route import Route
from alerthub.domain.rules import Rules
from alerthub.flow import access
from alerthub.store.database import Store
from alerthub.store.migrate import migrate

HOW = ("{name} opens this link once, within three days, and chooses a password:\n{link}\n"
       "Send it by a way that nobody else reads.")


@click.group()
def people() -> None:
    """Who can log in."""


def link_for(path: Path | None, token_file: Path | None, as_json: bool, name: str, role: str) -> None:
    config = configured(path)
    body = {"name": name, **({"role": role} if role else {})}
    try:
        found = asyncio.run(ask_hub(config, "POST", "accounts", body, token_from(token_file)))
    except NoHub:
        found = invited(config, name, role)
    if not isinstance(found.get("link"), str):
        raise not_ours(config)
    click.echo(json.dumps(found) if as_json else HOW.format(name=name, link=found["link"]))


def invited(config: Config, name: str, role: str) -> dict[str, Any]:
    """Without a hub. Whoever can open the database may do all that is in it."""
    now = SystemClock().now()
    rules = Rules(Route("none"), {}, people={one.name: person_of(one) for one in config.model.people})
    asker = access.Asker(user(), Person(user(), "admin"))
    store = Store(config.model.database.url, SystemClock().new_id)
    try:
        migrate(store)
        code = store.write_now(lambda tx: access.invite(tx, rules, asker, name, role, now))
    finally:
        store.close()
    return {"name": name, "link": f"{config.model.server.public_url}/invited/{code}",
            "expires_at": (now + access.INVITE_LIVES).isoformat()}


@people.command("add")
@click.argument("name")
@click.option("--role", type=click.Choice(ROLES), default=None, help="Of who is not in `people` of the configuration.")
@config_option
@token_option
@json_option
@fails_plainly
def add(name: str, role: str | None, path: Path | None, token_file: Path | None, as_json: bool) -> None:
    """Make a one-time link by which NAME chooses a password. Who may approve or administer is added by an admin (ALERTHUB_TOKEN,
    --token-file), or while the hub does not run."""
    link_for(path, token_file, as_json, name, role or "")


@people.command("link")
@click.argument("name")
@config_option
@token_option
@json_option
@fails_plainly
def new_link(name: str, path: Path | None, token_file: Path | None, as_json: bool) -> None:
    """Make a new link for NAME: the password is forgotten, or the old link is too old."""
    link_for(path, token_file, as_json, name, "")


@people.command("list")
@config_option
@token_option
@json_option
@fails_plainly
def list_people(path: Path | None, token_file: Path | None, as_json: bool) -> None:
    """Everybody who has an account, and their role now."""
    items = asyncio.run(listed(configured(path), "accounts", "after", token_from(token_file)))
    if as_json:
        click.echo(json.dumps({"items": items}, ensure_ascii=False))
        return
    for one in items:
        role = f"{one['role'] or 'nobody any more'}{' (configuration)' if one['is_configured'] else ''}"
        click.echo(f"{one['name']}  {role}  {state_of(one)}")
    if not items:
        click.echo("Nobody has an account yet: alerthub people add NAME --role admin")


def state_of(one: dict[str, Any]) -> str:
    if one["is_disabled"]:
        return "disabled"
    entered = f", last log-in {one['entered_at'][:16]}" if one["entered_at"] else ""
    return ("has a password" if one["has_password"] else "no password") + entered


async def listed(config: Config, what: str, cursor: str, token: str) -> list[dict[str, Any]]:
    """All pages."""
    found: list[dict[str, Any]] = []
    after = ""
    while True:
        page = await ask_hub(config, "GET", what + after, token=token)
        if not isinstance(page.get("items"), list):
            raise not_ours(config)
        found += page["items"]
        if page.get("next") is None:
            return found
        after = f"?{cursor}={quote(str(page['next']), safe='')}"


@people.command("disable")
@click.argument("name")
@config_option
@token_option
@json_option
@fails_plainly
def disable(name: str, path: Path | None, token_file: Path | None, as_json: bool) -> None:
    """End all sessions and tokens of NAME, who cannot log in any more. Chat and `people` stay as the configuration says."""
    changed(path, token_file, as_json, name, "disable")


@people.command("enable")
@click.argument("name")
@config_option
@token_option
@json_option
@fails_plainly
def enable(name: str, path: Path | None, token_file: Path | None, as_json: bool) -> None:
    """Let NAME log in again."""
    changed(path, token_file, as_json, name, "enable")


def changed(path: Path | None, token_file: Path | None, as_json: bool, name: str, verb: str) -> None:
    asked = f"accounts/{quote(name, safe='')}/{verb}"
    found = asyncio.run(ask_hub(configured(path), "POST", asked, token=token_from(token_file)))
    click.echo(json.dumps(found) if as_json else f"{name} is {verb}d")


@click.group()
def token() -> None:
    """What programs come in by."""


@token.command("add")
@click.argument("name")
@click.option("--scope", default="view", show_default=True,
              help="What it may: view, respond, approve, administer; several in quotes.")
@click.option("--lasts", default="90d", show_default=True, help="How long, up to a year.")
@click.option("--service", is_flag=True, help="For a program of that name, which is nobody: else it is your own.")
@config_option
@token_option
@json_option
@fails_plainly
def token_add(name: str, scope: str, lasts: str, service: bool, path: Path | None, token_file: Path | None,
              as_json: bool) -> None:
    """Make a token for NAME, which says what it is for. It is shown this once."""
    config = configured(path)
    body = {"service" if service else "name": name, "scope": scope, "lasts": lasts}
    found = asyncio.run(ask_hub(config, "POST", "tokens", body, token_from(token_file)))
    if not isinstance(found.get("token"), str):
        raise not_ours(config)
    click.echo(json.dumps(found) if as_json else f"{found['token']}\nThis is token {found['id']}. It is shown this once.")


@token.command("list")
@config_option
@token_option
@json_option
@fails_plainly
def token_list(path: Path | None, token_file: Path | None, as_json: bool) -> None:
    """Your tokens; an admin sees all."""
    items = asyncio.run(listed(configured(path), "tokens", "before", token_from(token_file)))
    if as_json:
        click.echo(json.dumps({"items": items}, ensure_ascii=False))
        return
    for one in items:
        used = f"used {one['used_at'][:16]}" if one["used_at"] else "never used"
        until = one["expires_at"][:10]
        click.echo(f"{one['id']}  {one['owner'] or 'service'}  {one['name']}  {one['scope']}  until {until}, {used}")
    if not items:
        click.echo("There is none.")


@token.command("revoke")
@click.argument("number", type=click.IntRange(min=1))
@config_option
@token_option
@json_option
@fails_plainly
def token_revoke(number: int, path: Path | None, token_file: Path | None, as_json: bool) -> None:
    """Token NUMBER works no more."""
    found = asyncio.run(ask_hub(configured(path), "DELETE", f"tokens/{number}", token=token_from(token_file)))
    click.echo(json.dumps(found) if as_json else f"token {number} works no more")


COMMANDS = (people, token)
