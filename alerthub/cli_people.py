"""`alerthub link`, and answers from a terminal: the same commands as in chat, asked of the running hub over its API."""

from __future__ import annotations

import asyncio
import getpass
import json
from pathlib import Path
from typing import Any
from urllib.parse import quote

import click

from alerthub.cli_base import ask_hub, config_option, configured, fails_plainly, json_option


def user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):     # a container whose user has no name
        return "cli"


@click.command()
@click.argument("person")
@config_option
@json_option
@fails_plainly
def link(person: str, path: Path | None, as_json: bool) -> None:
    """Make a one-time code by which PERSON proves that a chat account is theirs."""
    found = asyncio.run(ask_hub(configured(path), "POST", f"people/{quote(person, safe='')}/link-code"))
    if as_json:
        click.echo(json.dumps(found))
        return
    click.echo(f"{found.get('code')}\n{person} sends it within 15 minutes: /link {found.get('code')} to the Telegram bot, or "
               f"/alerthub link {found.get('code')} in Slack. It works once.")


def asked(verb: str, number: int, path: Path | None, as_json: bool, **fields: Any) -> None:
    found = asyncio.run(ask_hub(configured(path), "POST", f"incidents/{number}/{verb}", {"by": user(), **fields}))
    click.echo(json.dumps(found) if as_json else str(found.get("text", "")))


@click.command()
@click.argument("number", type=click.IntRange(min=1))
@config_option
@json_option
@fails_plainly
def ack(number: int, path: Path | None, as_json: bool) -> None:
    """Take care of incident NUMBER."""
    asked("acknowledge", number, path, as_json)


@click.command()
@click.argument("number", type=click.IntRange(min=1))
@click.option("--force", is_flag=True, help="Also while its alerts still fire at the source.")
@config_option
@json_option
@fails_plainly
def resolve(number: int, force: bool, path: Path | None, as_json: bool) -> None:
    """Incident NUMBER is over. Held with a question while the source still fires."""
    asked("resolve", number, path, as_json, force=force)


@click.command()
@click.argument("number", type=click.IntRange(min=1))
@click.argument("text")
@config_option
@json_option
@fails_plainly
def comment(number: int, text: str, path: Path | None, as_json: bool) -> None:
    """Write TEXT into the history of incident NUMBER."""
    asked("comment", number, path, as_json, comment=text)


@click.command()
@click.argument("number", type=click.IntRange(min=1))
@config_option
@json_option
@fails_plainly
def escalate(number: int, path: Path | None, as_json: bool) -> None:
    """Call the next person about incident NUMBER now."""
    asked("escalate", number, path, as_json)


COMMANDS = (link, ack, resolve, comment, escalate)
