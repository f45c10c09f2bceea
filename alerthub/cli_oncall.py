"""`alerthub oncall`, `override` and `calendar`: who is on call, and who stands in for whom.

A running hub is asked, as it has the database; without one the database is opened here, by the same functions.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote, urlencode

import click

from alerthub import calendars
from alerthub.cli_base import (
    HubRefused,
    NoHub,
    ask_hub,
    ask_hub_for_bytes,
    config_option,
    configured,
    fails_plainly,
    json_option,
    number_of,
    user,
)
from alerthub.clock import SystemClock
from alerthub.config import Config
from alerthub.config.oncall import schedules_of
from alerthub.config.rules import person_of
from alerthub.domain.person import emails_of
from alerthub.domain.schedule import NOBODY, Override, Schedule, moment_told, span_told
from alerthub.errors import AlerthubError
from alerthub.store import overrides as override_store
from alerthub.store.database import Store
from alerthub.store.migrate import migrate
from alerthub.store.tx import Tx
from alerthub.web.oncall import (
    MOST_WEEKS,
    WEEKS,
    Unknown,
    import_into,
    known,
    moment,
    on_call_view,
    override_from,
    override_view,
    shifts_ahead,
)

T = TypeVar("T")
FILE = "sqlite:///"


@click.command()
@click.option("--schedule", "name", help="Only this one (default: all).")
@click.option("--at", "when", metavar="TIME", help="At another time: 2026-11-23T09:00, on the schedule's clocks.")
@config_option
@json_option
@fails_plainly
def oncall(name: str | None, when: str | None, path: Path | None, as_json: bool) -> None:
    """Who is on call now, and in the next two weeks."""
    config = configured(path)
    schedules = chosen(config, name)
    for schedule in schedules:
        at_of(when, schedule)
    question = {key: value for key, value in (("schedule", name), ("at", when)) if value is not None}
    found = told_by_hub(config, "GET", f"oncall?{urlencode(question)}")
    items = found["items"] if found else read(config, lambda tx: on_call_view(tx, schedules, lambda one: at_of(when, one)))
    if as_json:
        click.echo(json.dumps({"items": items}))
        return
    for item in items:
        for line in lines_of(item):
            click.echo(line)
    if not items:
        click.echo("there is no schedule; add one to schedules in the configuration")


def lines_of(item: dict[str, Any]) -> Iterable[str]:
    zone = item["time_zone"]
    until = f"until {moment_told(datetime.fromisoformat(item['until']), zone)} {zone}" if item["until"] else "and nobody else"
    yield f"{item['schedule']}: {item['person'] or 'NOBODY'} {until}"
    for shift in item["shifts"]:
        begin, end = datetime.fromisoformat(shift["starts_at"]), shift["ends_at"]
        span = span_told(begin, datetime.fromisoformat(end), zone) if end else f"{moment_told(begin, zone)} … and on"
        yield f"  {span} {zone}  {shift['person'] or NOBODY}"


@click.group()
def override() -> None:
    """Let somebody stand in for somebody on a schedule."""


@override.command("add")
@click.argument("schedule")
@click.argument("person")
@click.option("--from", "starts_at", required=True, metavar="TIME", help="2026-11-23T09:00, on the schedule's clocks.")
@click.option("--to", "ends_at", required=True, metavar="TIME", help="The end, the same way.")
@click.option("--instead-of", "replaces", metavar="PERSON", help="Only when this one would be on call (a swap).")
@config_option
@json_option
@fails_plainly
def add_override(schedule: str, person: str, starts_at: str, ends_at: str, replaces: str | None, path: Path | None,
                 as_json: bool) -> None:
    """PERSON is on call on SCHEDULE for that time, whoever it would be. The last one that was added wins."""
    config = configured(path)
    (one,) = chosen(config, schedule)
    for option, when in (("--from", starts_at), ("--to", ends_at)):
        at_of(when, one, option)
    fields = {"person": person, "starts_at": starts_at, "ends_at": ends_at, **({"replaces": replaces} if replaces else {})}
    wanted = understood(lambda: override_from(fields, one, {person.name for person in config.model.people}))
    made = told_by_hub(config, "POST", f"schedules/{quote(schedule, safe='')}/overrides", {**fields, "created_by": user()})
    if made is None:
        made = override_view(written(config, lambda tx: override_store.add(tx, wanted, user(), SystemClock().now())))
    click.echo(json.dumps(made) if as_json else line_of(made, one.time_zone))


@override.command("list")
@click.option("--schedule", "name", help="Only those of this one (default: all).")
@config_option
@json_option
@fails_plainly
def list_overrides(name: str | None, path: Path | None, as_json: bool) -> None:
    """The overrides that have not ended."""
    config = configured(path)
    zones = {one.name: one.time_zone for one in chosen(config, name)}
    found = [item for one in zones for item in overrides_of(config, one)]
    if as_json:
        click.echo(json.dumps({"items": found}))
        return
    for item in found:
        click.echo(line_of(item, zones[item["schedule"]]))
    if not found:
        click.echo("there is no override")


def overrides_of(config: Config, schedule: str) -> list[dict[str, Any]]:
    found = told_by_hub(config, "GET", f"schedules/{quote(schedule, safe='')}/overrides")
    if found is not None:
        return list(found["items"])
    return [override_view(one) for one in read(config, lambda tx: override_store.covering(tx, schedule, SystemClock().now()))]


@override.command("remove")
@click.argument("number", metavar="ID", type=number_of)
@config_option
@json_option
@fails_plainly
def remove_override(number: int, path: Path | None, as_json: bool) -> None:
    """Take override ID back, as if it had never been."""
    if not is_removed(configured(path), number):
        raise AlerthubError(f"there is no override {number}; alerthub override list shows them")
    click.echo(json.dumps({"removed": number}) if as_json else f"override {number} is removed")


def is_removed(config: Config, number: int) -> bool:
    try:
        told = told_by_hub(config, "DELETE", f"overrides/{number}")
    except HubRefused as refused:
        if refused.status != 404:
            raise
        return False
    return told is not None or written(config, lambda tx: override_store.remove(tx, number))


@click.group()
def calendar() -> None:
    """Schedules as iCalendar files."""


@calendar.command("export")
@click.argument("schedule")
@click.option("--weeks", type=click.IntRange(1, MOST_WEEKS), default=WEEKS, show_default=True)
@config_option
@fails_plainly
def export_calendar(schedule: str, weeks: int, path: Path | None) -> None:
    """Print the shifts of SCHEDULE as an iCalendar file."""
    config = configured(path)
    (one,) = chosen(config, schedule)
    try:
        body = asyncio.run(ask_hub_for_bytes(config, "GET", f"schedules/{quote(schedule, safe='')}/calendar.ics?weeks={weeks}"))
    except NoHub:
        now = SystemClock().now()
        found = read(config, lambda tx: shifts_ahead(tx, one, now, weeks))
        body = calendars.export(one, found, emails_of(map(person_of, config.model.people)), now)
    click.echo(body, nl=False)


@calendar.command("import")
@click.argument("schedule")
@click.argument("file", type=click.Path(path_type=Path))
@config_option
@json_option
@fails_plainly
def import_calendar(schedule: str, file: Path, path: Path | None, as_json: bool) -> None:
    """Make the events of FILE overrides of SCHEDULE, for a year. What is so already adds nothing."""
    config, now = configured(path), SystemClock().now()
    (one,) = chosen(config, schedule)
    found = calendars.read(content_of(file), one, emails_of(map(person_of, config.model.people)), now)
    body = {"uids": sorted(found.uids), "overrides": [item_of(made) for made in found.overrides]}
    done = told_by_hub(config, "PUT", f"schedules/{quote(schedule, safe='')}/imported", {**body, "created_by": user()})
    if done is None:
        done = written(config, lambda tx: import_into(tx, one, found.overrides, found.uids, user(), now))
    if as_json:
        click.echo(json.dumps(done))
        return
    added, were = (f"{count} {word}" for count, word in ((done["added"], "override" if done["added"] == 1 else "overrides"),
                                                         (done["already"], "was" if done["already"] == 1 else "were")))
    click.echo(f"{added} added, {done['removed']} removed, {were} so already")


def item_of(made: Override) -> dict[str, str]:
    return {"uid": made.uid, "person": made.person, "starts_at": made.starts_at.isoformat(), "ends_at": made.ends_at.isoformat()}


def content_of(file: Path) -> bytes:
    try:
        with file.open("rb") as opened:
            return opened.read(calendars.LARGEST + 1)
    except OSError as error:
        raise AlerthubError(f"{file} cannot be read: {error.strerror}") from None


# -- what all of them share

def chosen(config: Config, name: str | None) -> Sequence[Schedule]:
    """The one of that name, or all."""
    schedules = schedules_of(config.model)
    return list(schedules.values()) if name is None else [schedules[understood(lambda: known("schedule", name, schedules))]]


def understood(question: Callable[[], T]) -> T:
    try:
        return question()
    except (ValueError, Unknown) as error:
        raise AlerthubError(str(error)) from None


def at_of(when: str | None, schedule: Schedule, option: str = "--at") -> datetime:
    """Wrong words are wrong usage."""
    try:
        return SystemClock().now() if when is None else moment(when, schedule.time_zone)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint=option) from None


def line_of(item: dict[str, Any], zone: str) -> str:
    begin, end = (datetime.fromisoformat(item[name]) for name in ("starts_at", "ends_at"))
    return (f"{item['id']}  {item['schedule']}  {span_told(begin, end, zone)} {zone}  {item['person']}"
            + (f" instead of {item['replaces']}" if item["replaces"] else ""))


def told_by_hub(config: Config, method: str, path: str, body: object = None) -> dict[str, Any] | None:
    """What the hub answers; None when none runs."""
    try:
        return asyncio.run(ask_hub(config, method, path, body))
    except NoHub:
        return None


def read(config: Config, unit: Callable[[Tx], T]) -> T:
    """Makes no database: without one there is no override."""
    url = config.model.database.url
    return opened(f"{FILE}:memory:" if is_missing(url) else url, lambda store: store.read_now(unit))


def written(config: Config, unit: Callable[[Tx], T]) -> T:
    url = config.model.database.url
    if is_missing(url):     # opening it would leave an empty one behind
        raise AlerthubError(f"there is no database {url.removeprefix(FILE)} yet; run alerthub migrate, or start the hub")
    return opened(url, lambda store: store.write_now(unit))


def is_missing(url: str) -> bool:
    """A file that nobody has made yet."""
    path = url.removeprefix(FILE)
    return url.startswith(FILE) and path not in ("", ":memory:") and not Path(path).exists()


def opened(url: str, work: Callable[[Store], T]) -> T:
    """The database without a hub. Only one in memory gets its tables here: another may be in use by replicas of before."""
    store = Store(url, SystemClock().new_id)
    try:
        if not store.path and store.is_sqlite:
            migrate(store)
        if not store.read_now(override_store.is_ready):
            raise AlerthubError(f"the database {store.public_url} has no table of overrides; run alerthub migrate")
        return work(store)
    finally:
        store.close()
