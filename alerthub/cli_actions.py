"""`alerthub actions`, `approve`, `deny`, `latches`, `release`, `freeze` and `unfreeze`: what waits for people, from a terminal,
asked of the running hub over its API. A vote is a person's: their own token is in ALERTHUB_TOKEN, or in a file."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

import click

from alerthub.cli_base import (
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
from alerthub.domain.action import RunState
from alerthub.domain.story import named

Command = TypeVar("Command", bound=Callable[..., Any])
STATES = click.Choice([state.value for state in RunState])
MOST = 200


def asking(command: Command) -> Command:
    """The options of all that asks the hub."""
    return config_option(token_option(json_option(fails_plainly(command))))  # type: ignore[return-value]


def ask(path: Path | None, token_file: Path | None, method: str, address: str, body: object = None) -> dict[str, Any]:
    return asyncio.run(ask_hub(configured(path), method, address, body, token_from(token_file)))


def told(found: dict[str, Any], *, as_json: bool) -> None:
    click.echo(json.dumps(found, ensure_ascii=False) if as_json else one_line(found.get("text", "")))


def listed(path: Path | None, found: dict[str, Any], name: str) -> list[dict[str, Any]]:
    items = found.get(name)
    if not isinstance(items, list):
        raise not_ours(configured(path))
    return items


def one_line(text: object) -> str:
    return " ".join(str(text).split())


def minute(text: object) -> str:
    return f"{str(text)[:16].replace('T', ' ')} UTC"


# -- runs

@click.command()
@click.option("--shadow", is_flag=True, help="How often each action in shadow mode would have been run, and on what.")
@click.option("--state", type=STATES, help="Only those, for example awaiting_approval.")
@asking
def actions(shadow: bool, state: str | None, path: Path | None, token_file: Path | None, as_json: bool) -> None:
    """The newest action runs, and what waits for people."""
    query = f"?limit={MOST}" + (f"&state={state}" if state else "") + ("&reason=shadow" if shadow else "")
    found = ask(path, token_file, "GET", f"actions/runs{query}")
    items, hits = listed(path, found, "items"), listed(path, found, "hits") if shadow else []
    if as_json:
        click.echo(json.dumps({"hits": hits} if shadow else {"items": items}, ensure_ascii=False))
        return
    for line in [hit_line(hit) for hit in hits] if shadow else [run_line(item) for item in items]:
        click.echo(line)
    if not (hits if shadow else items):
        click.echo("Nothing would have been run in shadow mode." if shadow else "No action has been run.")


def hit_line(hit: dict[str, Any]) -> str:
    """`12 hits: retrain on drl (last 2026-11-21 14:05 UTC)`"""
    count = "1 hit" if hit["count"] == 1 else f"{hit['count']} hits"
    return f"{count}: {what_of(hit)} (last {minute(hit['last'])})"


def run_line(item: dict[str, Any]) -> str:
    """With the code, by which it is approved, while it waits."""
    is_asked = item["state"] == RunState.awaiting_approval.value
    more = f"code {str(item['id'])[-12:]}" if is_asked else words(item["reason"])
    return f"{minute(item['created_at'])} {what_of(item)}: {words(item['state'])} ({more})"


def what_of(item: dict[str, Any]) -> str:
    return one_line(named(item["action"], item["target"], item.get("direction", "")))


def words(name: object) -> str:
    return one_line(name).replace("_", " ")


@click.command()
@click.argument("code")
@asking
def approve(code: str, path: Path | None, token_file: Path | None, as_json: bool) -> None:
    """Agree to the run with this CODE, or to the release of the target with this name."""
    told(vote(path, token_file, "approve", code), as_json=as_json)


@click.command()
@click.argument("code")
@asking
def deny(code: str, path: Path | None, token_file: Path | None, as_json: bool) -> None:
    """Say no to the run with this CODE, or to the release of the target with this name."""
    told(vote(path, token_file, "deny", code), as_json=as_json)


def vote(path: Path | None, token_file: Path | None, verb: str, code: str) -> dict[str, Any]:
    """The hub finds out whether it is a target or a run."""
    return ask(path, token_file, "POST", f"actions/runs/{quote(code, safe='')}/{verb}", {"by": user()})


# -- latches

@click.command("latches")
@asking
def list_latches(path: Path | None, token_file: Path | None, as_json: bool) -> None:
    """Which targets are kept safe, and what speaks against their release."""
    items = [item for item in listed(path, ask(path, token_file, "GET", "latches"), "items") if as_json or item["is_safe"]]
    if as_json:
        click.echo(json.dumps({"items": items}, ensure_ascii=False))
        return
    for item in items:
        click.echo(latch_line(item))
    if not items:
        click.echo("No target is latched: none is kept safe.")


def latch_line(item: dict[str, Any]) -> str:
    because = f", because of #{item['number']}" if item["number"] else ""
    waits = item["approval"]
    lack = f"; not to be released yet: {one_line(item['lack'])}" if item["lack"] else ""
    asked = (f"; {item['asked_by']} asks for its release: {waits['missing']} of {waits['role']} must agree until "
             f"{minute(waits['until'])}") if waits else ""
    return one_line(f"{item['target']}: {words(item['state'])} since {minute(item['since'])}{because}{asked or lack}")


@click.command()
@click.argument("target")
@click.option("--why", default="", help="For those who must agree, and for the record.")
@click.option("--override", is_flag=True, help="Without proof and without others. Admins only, with --why; it is on the record.")
@asking
def release(target: str, why: str, override: bool, path: Path | None, token_file: Path | None, as_json: bool) -> None:
    """Ask that TARGET leaves its safe state: others must agree."""
    if override and not why.strip():
        raise click.UsageError("an override needs a reason: --why 'what makes it right'")
    verb = "override" if override else "release"
    told(ask(path, token_file, "POST", f"latches/{quote(target)}/{verb}", {"why": why, "by": user()}), as_json=as_json)


# -- freezes

@click.command()
@click.argument("action", default="")
@click.option("--why", required=True, help="For everybody who wonders.")
@asking
def freeze(action: str, why: str, path: Path | None, token_file: Path | None, as_json: bool) -> None:
    """Start no action any more, or not this ACTION. What makes a target safe goes on."""
    told(ask(path, token_file, "POST", "freezes", {"action": action, "why": why, "by": user()}), as_json=as_json)


@click.command()
@click.argument("action", default="")
@asking
def unfreeze(action: str, path: Path | None, token_file: Path | None, as_json: bool) -> None:
    """Lift the freeze of all actions, or that of this ACTION. Only people do that."""
    told(ask(path, token_file, "DELETE", f"freezes?action={quote(action, safe='')}"), as_json=as_json)


COMMANDS = (actions, approve, deny, list_latches, release, freeze, unfreeze)
