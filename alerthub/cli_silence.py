"""`alerthub silence`: add, list and end silences of the running hub, over its API."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import click

from alerthub.cli_base import ask_hub, config_option, configured, fails_plainly, json_option, number_of, user
from alerthub.clock import SystemClock
from alerthub.domain.matcher import parse_matchers
from alerthub.domain.silence import end_of
from alerthub.errors import AlerthubError

STATES = click.Choice(["active", "expired", "all"])


@click.group()
def silence() -> None:
    """Say nothing about some alerts for a while. Asks the running hub."""


@silence.command("add")
@click.argument("matchers", nargs=-1, required=True, metavar="MATCHER...")
@click.option("--for", "span", default="1h", show_default=True, help="4h, 2d, tomorrow (09:00), or until 18:00.")
@click.option("--comment", default="", help="Why.")
@click.option("--by", default="", help="Who (default: the user who runs this).")
@config_option
@json_option
@fails_plainly
def add(matchers: tuple[str, ...], span: str, comment: str, by: str, path: Path | None, as_json: bool) -> None:
    """Hold what all of these match, such as 'alertname="DiskFull"' 'host=~"db-.*"'."""
    for text in matchers:
        try:
            parse_matchers(text)
        except ValueError as error:
            raise click.UsageError(f"{text!r} is not a matcher: {error}") from None
    try:
        end_of(span, SystemClock().now(), "UTC")        # only whether it is one: the hub knows its zone
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--for") from None
    body = {"matchers": list(matchers), "duration": span, "comment": comment, "created_by": by or user()}
    show([asyncio.run(ask_hub(configured(path), "POST", "silences", body))], as_json=as_json, one=True)


@silence.command("list")
@click.option("--state", type=STATES, default="active", show_default=True)
@config_option
@json_option
@fails_plainly
def list_them(state: str, path: Path | None, as_json: bool) -> None:
    """Those of the hub and those of its sources, newest first; at most 200."""
    found = asyncio.run(ask_hub(configured(path), "GET", f"silences?limit=200&state={state}"))
    show(listed(found), as_json=as_json)


def listed(found: dict[str, Any]) -> list[dict[str, Any]]:
    items = found.get("items")
    if not isinstance(items, list):
        raise AlerthubError("the hub answered what is not a list of silences; is it of another version?")
    return items


@silence.command("expire")
@click.argument("number", type=number_of)
@click.option("--by", default="", help="Who (default: the user who runs this).")
@config_option
@json_option
@fails_plainly
def expire(number: int, by: str, path: Path | None, as_json: bool) -> None:
    """End silence NUMBER now: what it held and still fires is told."""
    who = urlencode({"by": by or user()}, errors="replace")
    show([asyncio.run(ask_hub(configured(path), "DELETE", f"silences/{number}?{who}"))], as_json=as_json, one=True)


def show(found: list[dict[str, Any]], *, as_json: bool, one: bool = False) -> None:
    if as_json:
        click.echo(json.dumps(found[0] if one else {"items": found}, ensure_ascii=False))
        return
    for item in found:
        where = f" [{item['source']}]" if item["source"] else ""
        reason = f": {' '.join(item['comment'].split())}" if item["comment"] else ""
        end, by = f"{str(item['ends_at'])[:16].replace('T', ' ')} UTC", item["created_by"] or "somebody"
        state = f"ended at {end}, made" if item["state"] == "expired" else f"{item['state']} until {end}"
        click.echo(f"#{item['number']} {state} by {by}{where} {{{', '.join(item['matchers'])}}}{reason}")
    if not found:
        click.echo("no silence")
