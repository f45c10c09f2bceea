"""`alerthub oncall`, `override`, `calendar`: what is printed, with a hub that runs and without one."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import click
import pytest
import uvicorn
from click.testing import CliRunner, Result
from icalendar import Calendar

from alerthub.cli_base import user
from alerthub.cli_oncall import calendar, oncall, override
from alerthub.store.database import Store
from alerthub.store.migrate import migrate
from tests.kit.binaries import free_port
from tests.kit.clock import FakeClock
from tests.kit.hub import running_hub
from tests.kit.served import served
from tests.web.test_oncall import SCHEDULED, application, with_people

Run = Callable[..., Result]
SUNDAY = ("--from", "2099-11-29T10:00", "--to", "2099-11-29T18:00")      # it has not ended when this test runs
LINE = "  primary  Sun 2099-11-29 10:00 – Sun 2099-11-29 18:00 Europe/Istanbul  mehmet"
ICS = """BEGIN:VCALENDAR
BEGIN:VEVENT
UID:a@x
DTSTAMP:20261101T000000Z
DTSTART:20250101T090000
DTEND:20250101T170000
RRULE:FREQ=WEEKLY
SUMMARY:NAME
END:VEVENT
END:VCALENDAR
"""


@click.group()
def main() -> None:
    """As the command line has them."""


for command in (oncall, override, calendar):
    main.add_command(command)


def alerthub(*arguments: str) -> Result:
    result = CliRunner().invoke(main, arguments)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exc_info
    return result


@asynccontextmanager
async def listening(port: int) -> AsyncIterator[None]:
    """A hub at that port, without its door."""
    async with running_hub(SCHEDULED, clock=FakeClock()) as running:
        server = uvicorn.Server(uvicorn.Config(application(with_people(running.hub)), port=port, log_config=None, lifespan="off"))
        serving = asyncio.create_task(server._serve())
        while not server.started:
            await asyncio.sleep(0)
        yield
        server.should_exit = True
        await serving


def written(port: int, text: str = SCHEDULED) -> None:
    Path("alerthub.yml").write_text(f"server: {{listen: '127.0.0.1:{port}'}}\n{text}")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def prepared() -> None:
    store = Store("sqlite:///alerthub.db", FakeClock().new_id)
    migrate(store)
    store.close()


@pytest.fixture(params=["a hub runs", "no hub runs"])
def place(request: pytest.FixtureRequest, folder: Path) -> Iterator[str]:
    """The same commands by the API of a hub and by the database itself."""
    port = free_port()
    written(port)
    if request.param == "no hub runs":
        prepared()
        yield "cli"
        return
    with served(listening(port)):
        yield "api"


def printed(*arguments: str) -> Any:
    result = alerthub(*arguments, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_oncall_says_now_and_the_next_two_weeks(place: str) -> None:
    result = alerthub("oncall", "--at", "2026-11-21T06:00")
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert lines[:4] == [
        "primary: ayse until Mon 2026-11-23 09:00 Europe/Istanbul",
        "  Mon 2026-11-16 09:00 – Mon 2026-11-23 09:00 Europe/Istanbul  ayse",
        "  Mon 2026-11-23 09:00 – Mon 2026-11-30 09:00 Europe/Istanbul  mehmet",
        "  Mon 2026-11-30 09:00 … and on Europe/Istanbul  ayse"]
    assert lines[4:6] == ["office hours: NOBODY until Mon 2026-11-23 09:00 Europe/Istanbul",
                          "  Fri 2026-11-20 18:00 – Mon 2026-11-23 09:00 Europe/Istanbul  NOBODY"]


def test_oncall_of_one_schedule_for_a_machine(place: str) -> None:
    (item,) = printed("oncall", "--schedule", "primary", "--at", "2026-11-23T09:00")["items"]
    assert (item["schedule"], item["person"], item["until"]) == ("primary", "mehmet", "2026-11-30T06:00:00+00:00")
    assert len(printed("oncall")["items"]) == 2


def test_an_override_is_added_listed_used_and_removed(place: str) -> None:
    made = printed("override", "add", "primary", "mehmet", *SUNDAY)
    assert (made["created_by"], made["starts_at"]) == (user(), "2099-11-29T07:00:00+00:00")
    assert alerthub("override", "list").stdout == f"{made['id']}{LINE}\n"
    assert printed("override", "list", "--schedule", "office hours") == {"items": []}
    shown = alerthub("oncall", "--at", "2099-11-20").stdout
    assert "  Sun 2099-11-29 10:00 – Sun 2099-11-29 18:00 Europe/Istanbul  mehmet\n" in shown
    assert alerthub("override", "remove", str(made["id"])).stdout == f"override {made['id']} is removed\n"
    assert alerthub("override", "list").stdout == "there is no override\n"
    gone = alerthub("override", "remove", str(made["id"]))
    why = f"there is no override {made['id']}; alerthub override list shows them"
    assert (gone.exit_code, gone.stdout, gone.stderr) == (1, "", f"alerthub: {why}\n")
    assert json.loads(alerthub("override", "remove", str(made["id"]), "--json").stdout) == {"error": why}


def test_a_swap_names_whom_it_replaces(place: str) -> None:
    result = alerthub("override", "add", "primary", "mehmet", *SUNDAY, "--instead-of", "ayse")
    assert result.stdout.endswith(f"{LINE} instead of ayse\n")


@pytest.mark.parametrize(("arguments", "word"), [
    (["override", "add", "primry", "mehmet", *SUNDAY], "there is no schedule 'primry'; did you mean primary?"),
    (["override", "add", "primary", "mehmt", *SUNDAY], "there is no person 'mehmt'; did you mean mehmet?"),
    (["override", "add", "primary", "mehmet", *SUNDAY, "--instead-of", "x"], "there is no person 'x'"),
    (["override", "add", "primary", "mehmet", "--from", "2099-01-02", "--to", "2099-01-01"], "ends before it starts"),
    (["override", "list", "--schedule", "x"], "there is no schedule 'x'"),
    (["oncall", "--schedule", "x"], "there is no schedule 'x'"),
    (["calendar", "export", "x"], "there is no schedule 'x'"),
    (["calendar", "import", "primary", "gone.ics"], "gone.ics cannot be read: No such file"),
    (["calendar", "import", "primary", "alerthub.yml"], "this is not an iCalendar file"),
])
def test_what_makes_no_sense_is_said_and_changes_nothing(folder: Path, arguments: list[str], word: str) -> None:
    written(free_port())
    prepared()
    result = alerthub(*arguments)
    assert (result.exit_code, result.stdout) == (1, "")
    assert word in result.stderr
    assert printed("override", "list") == {"items": []}


@pytest.mark.parametrize(("arguments", "option"), [
    (["oncall", "--at", "tomorrow"], "--at"), (["oncall", "--at", ""], "--at"), (["oncall", "--at", "1999-01-01"], "--at"),
    (["override", "add", "primary", "mehmet", "--from", "now", "--to", "2099-01-01"], "--from"),
    (["override", "add", "primary", "mehmet", "--from", "2099-01-01", "--to", "later"], "--to"),
])
def test_wrong_words_for_a_time_are_wrong_usage(folder: Path, arguments: list[str], option: str) -> None:
    written(free_port())
    prepared()
    result = alerthub(*arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "Usage:" in result.stderr
    assert f"Invalid value for {option}:" in result.stderr


def test_a_calendar_is_exported(place: str) -> None:
    result = alerthub("calendar", "export", "primary", "--weeks", "3")
    events = Calendar.from_ical(result.stdout_bytes).walk("VEVENT")
    assert len(events) >= 3
    assert {str(one["SUMMARY"]) for one in events} == {"ayse", "mehmet"}


def test_a_calendar_is_imported_and_again_without_effect(place: str, folder: Path) -> None:
    Path("team.ics").write_text(ICS.replace("NAME", "mehmet"))
    first = printed("calendar", "import", "primary", "team.ics")
    times = first["added"] + first["already"]
    assert (first["removed"], times in (52, 53)) == (0, True)
    assert first["already"] in (26, 27)         # every other week it is the turn of mehmet anyway
    assert printed("calendar", "import", "primary", "team.ics") == {"added": 0, "removed": 0, "already": times}
    assert {item["created_by"] for item in printed("override", "list")["items"]} == {user()}
    Path("team.ics").write_text(ICS.replace("NAME", "ayse@example.com"))
    changed = printed("calendar", "import", "primary", "team.ics")
    assert (changed["added"], changed["removed"]) == (times - changed["already"], first["added"])
    assert {item["person"] for item in printed("override", "list")["items"]} == {"ayse"}
    again = alerthub("calendar", "import", "primary", "team.ics").stdout
    assert again == f"0 overrides added, 0 removed, {times} were so already\n"


def test_what_was_exported_adds_nothing_when_it_is_imported(place: str, folder: Path) -> None:
    exported = alerthub("calendar", "export", "primary", "--weeks", "4")
    Path("own.ics").write_bytes(exported.stdout_bytes)
    done = printed("calendar", "import", "primary", "own.ics")
    assert (done["added"], done["removed"], done["already"] >= 4) == (0, 0, True)
    assert printed("override", "list") == {"items": []}


def test_of_a_calendar_with_strangers_nothing_is_imported(place: str, folder: Path) -> None:
    Path("team.ics").write_text(ICS.replace("NAME", "Betul"))
    result = alerthub("calendar", "import", "primary", "team.ics")
    assert (result.exit_code, "event 'Betul' of" in result.stderr) == (1, True)
    assert printed("override", "list") == {"items": []}


# -- without a database

def test_oncall_needs_no_database_and_makes_none(folder: Path) -> None:
    written(free_port())
    assert alerthub("oncall").stdout.startswith("primary: ")
    assert [path.name for path in folder.iterdir()] == ["alerthub.yml"]


def test_an_override_before_the_first_start_is_refused_and_leaves_nothing_behind(folder: Path) -> None:
    written(free_port())
    for arguments in (("add", "primary", "mehmet", *SUNDAY), ("remove", "1")):
        result = alerthub("override", *arguments)
        assert (result.exit_code, result.stderr) == (
            1, "alerthub: there is no database alerthub.db yet; run alerthub migrate, or start the hub\n")
    assert [path.name for path in folder.iterdir()] == ["alerthub.yml"]
    assert alerthub("oncall").stdout.startswith("primary: ")


def test_an_override_needs_a_database_that_is_ready(folder: Path) -> None:
    written(free_port())
    (folder / "alerthub.db").touch()
    result = alerthub("override", "add", "primary", "mehmet", *SUNDAY)
    assert (result.exit_code, "has no table of overrides; run alerthub migrate" in result.stderr) == (1, True)


def test_without_schedules_it_says_so(folder: Path) -> None:
    assert alerthub("oncall").stdout == "there is no schedule; add one to schedules in the configuration\n"
    assert alerthub("override", "list").stdout == "there is no override\n"


def test_a_stranger_at_the_address_of_the_hub_is_not_believed(folder: Path) -> None:
    port = free_port()
    written(port)

    async def stranger(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"[1]"})

    @asynccontextmanager
    async def there() -> AsyncIterator[None]:
        server = uvicorn.Server(uvicorn.Config(stranger, port=port, log_config=None, lifespan="off"))
        serving = asyncio.create_task(server._serve())
        while not server.started:
            await asyncio.sleep(0)
        yield
        server.should_exit = True
        await serving

    with served(there()):
        for arguments in (["oncall"], ["override", "list"], ["override", "remove", "1"]):
            result = alerthub(*arguments)
            assert (result.exit_code, "is not alerthub" in result.stderr) == (1, True)
