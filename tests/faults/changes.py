"""F24 and F25: configurations that cannot be used, and databases that an older program left."""

from __future__ import annotations

import os
import signal
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from alembic import command
from sqlalchemy import MetaData, create_engine, event, select, text

from alerthub.clock import SystemClock
from alerthub.store.address import normal_url
from alerthub.store.database import Store
from alerthub.store.migrate import migrate, script_config
from tests.faults.providers import endless, first
from tests.kit.binaries import wait_until
from tests.kit.faults.checker import Verdict
from tests.kit.faults.record import Sent
from tests.kit.faults.stage import Stage, stage
from tests.kit.faults.table import Row
from tests.kit.forked_hub import FORKS
from tests.kit.passed_time import end_leases
from tests.kit.postgres import fresh_database
from tests.kit.providers.http import Answer

TABLES = ("incidents", "alerts", "events", "lanes", "destinations", "deliveries")
SERIAL = {"incidents": "number", "alerts": "row", "events": "position", "lanes": "id", "deliveries": "id"}
TOLD = ("slack", "pagerduty")
OLD = ("0001", "0002", "0003")
BAD = {
    "an unknown key": ("route:", "speling: 1\nroute:"),
    "an unknown receiver": ("receiver: people", "receiver: nobody"),
    "a secret file that is missing": ("token: hook-canary-51c2e87f3a9d", "token_file: /nowhere/token"),
    "a template that never ends": ('{channel: "#alerts"}', '{channel: "#alerts", title: "{% for a in range(99999) %}'
                                   '{% for b in range(99999) %}x{% endfor %}{% endfor %}"}'),
    "no YAML": ("route:", "route: ["),
}


# -- F24

def bad_reloads(database: str, times: int) -> Row:
    """Each with SIGHUP while alerts come: the old configuration stays in use, and it is said."""
    with stage(database, "slack", "machine") as scene:
        good = scene.config()
        file, sees = scene.hub.folder / "alerthub.yml", ""
        for number in range(times):
            for place, (what, (old, new)) in enumerate(BAD.items()):
                assert old in good, what
                file.write_text(good.replace(old, new))
                refused = scene.hub.log.read_text().count("not taken over")
                scene.begins("configuration")
                os.kill(scene.hub.pid, signal.SIGHUP)
                is_refused = wait_until(lambda seen=refused: outcome(scene, seen), 30, f"{what} is judged")
                assert is_refused == "refused" or what == "a template that never ends", what
                sees = scene.notice("configuration", lambda: scene.unhealthy("configuration") or "taken, and harmless")
                scene.fires(f"Reload{number}x{place}y")
            file.write_text(good)
            os.kill(scene.hub.pid, signal.SIGHUP)
            wait_until(lambda: not scene.unhealthy("configuration"), 30, "a good one is taken over")
        scene.rest()
        return Row(f"SIGHUP with {', '.join(BAD)}", len(BAD) * times, sees, scene.verdict())


def outcome(scene: Stage, before: int) -> str:
    if scene.hub.log.read_text().count("not taken over") > before:
        return "refused"
    return "taken" if scene.hub.log.read_text().rstrip().endswith("taken over") else ""


# -- F25

@contextmanager
def old_database(kind: str, revision: str) -> Iterator[str]:
    """Empty, as the program of that revision made it."""
    with tempfile.TemporaryDirectory(prefix="ah-") as folder:
        if kind == "sqlite":
            yield made(f"sqlite:///{folder}/hub.db", revision)
        else:
            with fresh_database() as url:
                yield made(url, revision)


def made(url: str, revision: str) -> str:
    engine = create_engine(normal_url(url))
    with engine.begin() as connection:
        scripts = script_config()
        scripts.attributes["connection"] = connection
        command.upgrade(scripts, revision)
    engine.dispose()
    return url


def copied(source: str, to: str) -> None:
    """All rows with what columns the older tables have."""
    there, here = create_engine(normal_url(source)), create_engine(normal_url(to))
    old, new = MetaData(), MetaData()
    with there.connect() as reading, here.begin() as writing:
        old.reflect(writing, only=TABLES)
        new.reflect(reading, only=TABLES)
        for name in TABLES:
            rows = [dict(row._mapping) for row in reading.execute(select(new.tables[name]))]
            columns = old.tables[name].columns.keys()
            kept: list[dict[str, Any]] = [{key: row[key] for key in columns if key in row} for row in rows]
            if kept:
                writing.execute(old.tables[name].insert(), kept)
        if here.dialect.name == "postgresql":
            for name, column in SERIAL.items():
                last = f"(select max({column}) from {name})"
                writing.execute(text(f"select setval(pg_get_serial_sequence('{name}', '{column}'), {last})"))
    there.dispose()
    here.dispose()


def migrate_until(url: str, statement: int) -> None:
    """A process that kills itself at this statement of the upgrade."""
    store = Store(url, SystemClock().new_id)
    count = [0]

    @event.listens_for(store.engine, "before_cursor_execute")
    def on_execute(*_: Any) -> None:
        count[0] += 1
        if count[0] == statement:
            os.kill(os.getpid(), signal.SIGKILL)

    migrate(store)
    store.close()


def killed_upgrades(url: str, every: int) -> int:
    """Killed at each `every`-th statement of the upgrade, until one gets through; each leaves all or nothing."""
    for kills in range(10_000):
        process = FORKS.Process(target=migrate_until, args=(url, 1 + kills * every))
        process.start()
        process.join(60)
        if process.exitcode == 0:
            return kills
        assert process.exitcode == -signal.SIGKILL, process.exitcode
    raise AssertionError("the upgrade never ends")


def upgraded(database: str, times: int) -> Row:
    """Rows that wait to be told, in the tables of each older revision. The upgrade is killed at its statements (all of them in
    the long form), and then a hub starts there."""
    names = [f"Old{number}y" for number in range(5)]
    kills, verdict = 0, Verdict()
    with stage(database, *TOLD) as before:
        for provider in (before.slack, before.pagerduty):
            first(provider, endless(Answer(503)))
        before.fires(*names)
        wait_until(lambda: before.unhealthy("destination"), 30, "nobody can be told")
        before.hub.stop()
        for revision in OLD:
            with old_database(database, revision) as url:
                copied(before.url, url)
                kills += killed_upgrades(url, 1 if times > 1 else 9)
                verdict.broken += [f"{revision}: {line}" for line in told_after(database, url, names).broken]
    return Row(f"pending rows of revisions {', '.join(OLD)}; {kills} upgrades killed in the midst", kills,
               "log: database migrated from 0003 to the newest", verdict)


def told_after(database: str, url: str, names: list[str]) -> Verdict:
    end_leases(url)
    with stage(database, *TOLD, url=url) as scene:
        for name in names:
            scene.recorder.note(Sent(time.time(), {name: "firing"}, 200))
        scene.fires("New")
        scene.rest()
        scene.fires(*names, status="resolved")
        scene.rest()
        return scene.verdict()
