"""`alerthub audit`: is the record as the hub wrote it? Reads the database itself, also beside a running hub, and never writes."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable
from dataclasses import asdict
from itertools import islice
from pathlib import Path

import click

from alerthub.cli_base import config_option, configured, fails_plainly, json_option
from alerthub.flow.audit import verify as verify_record
from alerthub.store.audit import last_anchors, opened_for_reading

SHOWN = 1000        # findings; a database that is all wrong need not be told row by row
WITNESS = re.compile(r"([0-9]{1,15}):([0-9a-f]{64})")


@click.group()
def audit() -> None:
    """The record of what happened, and whether somebody has changed it."""


def witnesses(given: Iterable[str]) -> dict[int, str]:
    found: dict[int, str] = {}
    for text in given:
        match = WITNESS.fullmatch(text)
        if match is None:
            raise click.UsageError(f"{text!r} is no anchor; write number:hash, as the log has them (event record.anchored)")
        found[int(match[1])] = match[2]
    return found


def counted(count: int) -> str:
    return "1 finding" if count == 1 else f"{count} findings"


@audit.command("verify")
@click.option("--anchor", "given", multiple=True, metavar="N:HASH", help="An anchor from the log, to be found again. Repeatable.")
@config_option
@json_option
@fails_plainly
def verify(given: tuple[str, ...], path: Path | None, as_json: bool) -> None:
    """Name every row of the history that was edited, removed, moved or put in. Exit code 1 when there is one."""
    witnessed = witnesses(given)
    with opened_for_reading(configured(path).model.database.url) as tx:
        found = list(islice(verify_record(tx, witnessed), SHOWN))
        newest = next(iter(last_anchors(tx, 1)), None)
    if as_json:
        click.echo(json.dumps({"findings": [{**asdict(one), "text": str(one)} for one in found],
                               "anchor": newest and {"n": newest.n, "hash": newest.hash}}))
    else:
        for one in found:
            click.echo(str(one))
        more = f" (only the first {SHOWN} are shown)" if len(found) == SHOWN else ""
        click.echo(f"{counted(len(found))}{more}" if found else "the record is as it was written")
        click.echo(f"newest anchor {newest.n}:{newest.hash}" if newest else "no anchor yet: the hub makes one every minute")
    if found:
        sys.exit(1)
