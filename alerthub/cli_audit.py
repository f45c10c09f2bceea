"""`alerthub audit`: is the record as the hub wrote it, and what does it say of one incident? Reads the database itself, also
beside a running hub, and never writes there."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Any

import click

from alerthub.cli_base import config_option, configured, fails_plainly, json_option, number_of
from alerthub.clock import SystemClock
from alerthub.domain.evidence import faults
from alerthub.errors import AlerthubError
from alerthub.flow import evidence
from alerthub.flow.audit import verify as verify_record
from alerthub.store.audit import last_anchors, opened_for_reading
from alerthub.web.evidence import page_of

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


@audit.command("export")
@click.argument("incident", type=number_of)
@click.option("--folder", default=".", type=click.Path(path_type=Path, file_okay=False), help="Where the files go.")
@config_option
@fails_plainly
def export(incident: int, folder: Path, path: Path | None) -> None:
    """Write the evidence of INCIDENT, a number: one JSON file to be checked (`alerthub audit check`), one page to be read."""
    with opened_for_reading(configured(path).model.database.url) as tx:
        pack = evidence.pack(tx, str(incident), SystemClock().now())
    if pack is None:
        raise AlerthubError(f"there is no incident #{incident}; the numbers are those of alerthub list, also of closed ones")
    stem = folder / f"incident-{incident}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        stem.with_suffix(".json").write_text(json.dumps(pack, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        stem.with_suffix(".html").write_text(page_of(pack), encoding="utf-8")
    except OSError as error:
        raise AlerthubError(f"the evidence cannot be written to {folder}: {error.strerror}") from None
    click.echo(f"{stem.with_suffix('.json')}\n{stem.with_suffix('.html')}\nsha256 {pack['sha256']}")


@audit.command("check")
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@fails_plainly
def check(file: Path) -> None:
    """Is an exported JSON file as the hub wrote it? Needs no hub and no database. Exit code 1 when it is not."""
    try:
        pack = read(file)
        found = list(islice(faults(pack), SHOWN))
    except ValueError as error:
        raise AlerthubError(f"{file} cannot be read as evidence: {str(error)[:200]}") from None
    for one in found:
        click.echo(one)
    click.echo(counted(len(found)) if found else f"the evidence is as it was exported; sha256 {pack['sha256']}")
    if found:
        sys.exit(1)


def read(file: Path) -> Any:
    """Raises ValueError, in words for whoever gave the wrong file."""
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError):
        raise ValueError("it is no JSON; give the file incident-N.json of `alerthub audit export`") from None
    except OSError as error:
        raise ValueError(error.strerror or "it cannot be opened") from None
