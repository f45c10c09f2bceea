"""`alerthub link`, what is open and who has it, and answers from a terminal: the same commands as in chat, asked of the running
hub over its API."""

from __future__ import annotations

import asyncio
import json
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import click

from alerthub.cli_base import (
    HubRefused,
    ask_hub,
    config_option,
    configured,
    fails_plainly,
    json_option,
    not_ours,
    number_of,
    token_from,
    token_option,
    user,
)
from alerthub.config import Config
from alerthub.domain.alert import Severity

MOST = 2_000        # incidents that `list` looks through; who has more open reads the page
SHOWN = ("number", "title", "severity", "status", "acknowledged_by", "acknowledged_at", "silence_id", "is_silenced", "flaps",
         "opened_at")


@click.command()
@click.argument("person")
@config_option
@token_option
@json_option
@fails_plainly
def link(person: str, path: Path | None, token_file: Path | None, as_json: bool) -> None:
    """Make a one-time code by which PERSON proves that a chat account is theirs. For who may approve or administer it needs
    their own token or an admin's."""
    found = asyncio.run(ask_hub(configured(path), "POST", f"people/{quote(person, safe='')}/link-code",
                                token=token_from(token_file)))
    if as_json:
        click.echo(json.dumps(found))
        return
    click.echo(f"{found.get('code')}\n{person} sends it within 15 minutes: /link {found.get('code')} to the Telegram bot, or "
               f"/alerthub link {found.get('code')} in Slack. It works once.")


# -- looking

@click.command("list")
@config_option
@json_option
@fails_plainly
def list_open(path: Path | None, as_json: bool) -> None:
    """What is open, the gravest first, and who has it."""
    config = configured(path)
    found = sorted(asyncio.run(opened(config)), key=lambda item: (-rank_of(item), -item["number"]))
    if as_json:
        click.echo(json.dumps({"items": [shown(item) for item in found]}, ensure_ascii=False))
        return
    for item in found:
        click.echo(line_of(item))
    if not found:
        click.echo("Nothing is open.")
    if len(found) >= MOST:
        click.echo(f"… and perhaps more: these are the newest {MOST}")


@click.command()
@click.argument("number", type=number_of)
@config_option
@json_option
@fails_plainly
def who(number: int, path: Path | None, as_json: bool) -> None:
    """Who has incident NUMBER."""
    config = configured(path)
    found = asyncio.run(ask_hub(config, "GET", f"incidents/{number}"))
    if not is_incident(found):
        raise not_ours(config)
    click.echo(json.dumps(shown(found), ensure_ascii=False) if as_json else line_of(found))


async def opened(config: Config) -> list[dict[str, Any]]:
    """All open incidents, the newest MOST of them."""
    found: list[dict[str, Any]] = []
    cursor = ""
    while len(found) < MOST:
        page = await ask_hub(config, "GET", f"incidents?status=open&limit=200{cursor}")
        items = page.get("items")
        if not isinstance(items, list) or not all(map(is_incident, items)):
            raise not_ours(config)
        found += items
        if page.get("next") is None:
            break
        cursor = f"&before={page['next']}"
    return found


def is_incident(item: Any) -> bool:
    return isinstance(item, dict) and item.keys() >= set(SHOWN)


def shown(item: dict[str, Any]) -> dict[str, Any]:
    return {name: item[name] for name in SHOWN}


def rank_of(item: dict[str, Any]) -> int:
    return next((severity.rank for severity in Severity if severity.value == item["severity"]), 0)


def line_of(item: dict[str, Any]) -> str:
    """`#2 critical, ayse has it since 03:01 UTC: DiskFull`"""
    return f"#{item['number']} {item['severity']}, {state_of(item)}: {' '.join(str(item['title']).split())}"


def state_of(item: dict[str, Any]) -> str:
    is_silenced, states = item["silence_id"] or item["is_silenced"], []
    if item["status"] == "acknowledged":
        since = f" since {datetime.fromisoformat(item['acknowledged_at']):%H:%M} UTC" if item["acknowledged_at"] else ""
        states.append(f"{item['acknowledged_by']} has it{since}")
    elif item["status"] == "resolved":
        return "resolved"
    elif not is_silenced:
        states.append("nobody has it")
    return ", ".join([*states, *(["silenced"] if is_silenced else []), *(["flapping"] if item["flaps"] else [])])


# -- answering

def asked(verb: str, number: int, path: Path | None, as_json: bool, **fields: Any) -> None:
    found = asyncio.run(ask_hub(configured(path), "POST", f"incidents/{number}/{verb}", {"by": user(), **fields}))
    click.echo(json.dumps(found) if as_json else str(found.get("text", "")))


@click.command()
@click.argument("number", type=number_of)
@config_option
@json_option
@fails_plainly
def ack(number: int, path: Path | None, as_json: bool) -> None:
    """Take care of incident NUMBER."""
    asked("acknowledge", number, path, as_json)


@click.command()
@click.argument("number", type=number_of)
@config_option
@json_option
@fails_plainly
def unack(number: int, path: Path | None, as_json: bool) -> None:
    """Give incident NUMBER back: nobody has it."""
    asked("unacknowledge", number, path, as_json)


@click.command()
@click.argument("number", type=number_of)
@click.option("--force", is_flag=True, help="Also while its alerts still fire at the source.")
@config_option
@json_option
@fails_plainly
def resolve(number: int, force: bool, path: Path | None, as_json: bool) -> None:
    """Incident NUMBER is over. Held with a question while the source still fires."""
    try:
        asked("resolve", number, path, as_json, force=force)
    except HubRefused as refused:
        if refused.outcome != "held":
            raise
        raise HubRefused(refused.status, f"{refused} To do so: alerthub resolve {number} --force", refused.outcome) from None


@click.command()
@click.argument("number", type=number_of)
@click.argument("text")
@config_option
@json_option
@fails_plainly
def comment(number: int, text: str, path: Path | None, as_json: bool) -> None:
    """Write TEXT into the history of incident NUMBER."""
    asked("comment", number, path, as_json, comment=text)


@click.command()
@click.argument("number", type=number_of)
@config_option
@json_option
@fails_plainly
def escalate(number: int, path: Path | None, as_json: bool) -> None:
    """Call the next person about incident NUMBER now."""
    asked("escalate", number, path, as_json)


COMMANDS = (link, list_open, who, ack, unack, resolve, comment, escalate)
