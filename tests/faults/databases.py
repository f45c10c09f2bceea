"""F3 and F5: a database that is slow, silent, cut off, restarted, full of connections, or loses the answer to COMMIT; and a disk
that is full."""

from __future__ import annotations

import os
import resource
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
from sqlalchemy import select

from alerthub.store.schema import events, incidents
from tests.faults.providers import rows
from tests.kit.binaries import wait_until
from tests.kit.faults.checker import Allowed
from tests.kit.faults.proxy import Wire
from tests.kit.faults.stage import Stage, stage
from tests.kit.faults.table import Row
from tests.kit.hub_process import HubProcess
from tests.kit.postgres import Postgres, find_binaries
from tests.kit.served import served
from tests.kit.stores import migrated

BUSY_WITHIN = 2.5           # the promise is 2 s, on a machine that has nothing else to do
RECOVERS_WITHIN = 10.0      # seconds: F3
ALERTS = 6                  # posted while it is away
FILLER = 60_000             # bytes of one label, to fill a disk with


@contextmanager
def behind_wire(server: Postgres, *tells: str) -> Iterator[tuple[Stage, Wire]]:
    """A hub that reaches a PostgreSQL of its own through a wire."""
    url = server.server.dsn("postgres")
    migrated(url)
    with stage("postgres", *tells, hubs=0, url=url) as scene, served(wire := Wire(url)):
        scene.add(url=wire.url).start()
        yield scene, wire


# -- F3: the answer to COMMIT is lost

def lost_commits(database: str, times: int) -> Row:
    """The connection breaks at COMMIT, before the database hears of it and after: of webhooks and of settlements, whichever
    comes. No effect is doubled but by what was in flight, and nothing is lost."""
    with Postgres(find_binaries()) as server, behind_wire(server, "machine", "pagerduty") as (scene, wire):
        sees = ""
        for number in range(times):
            wire.lose("after" if number % 2 else "before", 2)
            scene.begins("commit")
            scene.fires(f"Commit{number:03}y")
            sees = scene.notice("commit", lambda goal=2 * number + 1: "log: webhook answered 503, or claim.busy"
                                if wire.lost >= goal else "")
        scene.rest(120)
        scene.fires(*(f"Commit{number:03}y" for number in range(times)), status="resolved")
        scene.rest(120)
        verdict = scene.verdict(Allowed(extra=wire.lost))
        opened = rows(scene.url, select(events.c.incident_id).where(events.c.kind == "opened"))
        verdict.say("P2", [f"{len(opened)} incidents were opened for {times} alerts"] if len(opened) != times else [])
        return Row("connection reset at COMMIT, before or after the database had it", wire.lost, sees, verdict)


# -- F3: it is away

Break = Callable[[Postgres, Wire, Stage], Any]


@contextmanager
def silent(server: Postgres, wire: Wire, scene: Stage) -> Iterator[None]:
    wire.pause()
    yield
    wire.go_on()


@contextmanager
def cut(server: Postgres, wire: Wire, scene: Stage) -> Iterator[None]:
    wire.cut()
    yield
    wire.mend()


@contextmanager
def slow(server: Postgres, wire: Wire, scene: Stage) -> Iterator[None]:
    """Every statement takes 30 s."""
    wire.slow(30)
    yield
    wire.slow(0)


@contextmanager
def stopped(server: Postgres, wire: Wire, scene: Stage) -> Iterator[None]:
    server.stop()
    yield
    server.start()


END_THEIRS = "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'alerthub'"


@contextmanager
def crowded(server: Postgres, wire: Wire, scene: Stage) -> Iterator[None]:
    """Others hold every connection that the server has."""
    with ExitStack() as stack:
        first = stack.enter_context(psycopg.connect(server.server.maintenance, autocommit=True))
        while first.execute(END_THEIRS).fetchall():      # until it was nobody but others who took what became free
            with suppress(psycopg.OperationalError):
                while True:
                    stack.enter_context(psycopg.connect(server.server.maintenance))
        yield


WAYS: dict[str, Break] = {"silent": silent, "cut": cut, "slow": slow, "stopped": stopped, "crowded": crowded}


def away(way: str, database: str, seconds: int) -> Row:
    """For so many seconds; the hub says 503 in time, shows it, and goes on by itself."""
    with Postgres(find_binaries()) as server, behind_wire(server, "slack", "machine") as (scene, wire):
        scene.fires("Before", "Over")
        scene.rest()
        names = [f"During{number}y" for number in range(ALERTS)]
        at = time.monotonic()
        with WAYS[way](server, wire, scene):
            scene.begins("database")
            with ThreadPoolExecutor(ALERTS) as pool:
                waits = list(pool.map(partial(refused_in, scene), names))
            sees = scene.notice("database", lambda: scene.unhealthy("database"))
            assert scene.hub.answers("/healthz")
            assert not scene.hub.answers("/readyz")
            wait_until(lambda: time.monotonic() - at > seconds, seconds + 1, "it was away for long enough")
            waits.append(refused_in(scene, names[0]))
        back = time.monotonic()
        wait_until(lambda: scene.hub.answers("/readyz"), 60, "it is ready again")
        scene.fires(*names, at_once=ALERTS)
        scene.fires("Over", status="resolved")
        recovery = time.monotonic() - back
        scene.rest(120)
        verdict = scene.verdict(Allowed())
        verdict.say("F3", [f"a 503 took {max(waits):.1f} s"] if max(waits) > BUSY_WITHIN else [])
        verdict.say("F3", [f"recovery took {recovery:.1f} s"] if recovery > RECOVERS_WITHIN else [])
        return Row(f"PostgreSQL {way} for {time.monotonic() - at:.0f} s: 503 within {max(waits):.1f} s, back in {recovery:.1f} s",
                   1, sees, verdict)


def refused_in(scene: Stage, name: str) -> float:
    began = time.monotonic()
    answer = scene.send({name: "firing"})
    assert answer == 503, answer
    return time.monotonic() - began


def ways() -> dict[str, Callable[[str, int], Row]]:
    return {way: partial(away, way) for way in WAYS}


# -- F5

def full_disk(database: str, times: int) -> Row:
    """The database and the log of a hub lie on a disk of 6 MB that fills up, `times` times; then there is room again."""
    with ExitStack() as stack:
        how, folder, fill, free = small_disk(stack)
        with stage("sqlite", "slack", "machine", hubs=0, url=f"sqlite:///{folder}/hub.db") as scene:
            hub = scene.add(HubProcess(scene.config()))
            hub.log = Path(folder) / "log"
            hub.start()
            sees = ""
            for number in range(times):
                scene.fires(f"Before{number}y")
                scene.rest()
                scene.begins("disk")
                fill(hub)
                wait_until(lambda: post_big(scene) == 503, 60, "what does not fit is answered 503")
                sees = scene.notice("disk", lambda: scene.unhealthy("database"))
                assert scene.send({f"During{number}y": "firing"}) in (200, 503)
                assert hub.answers("/healthz")
                free(hub)
                scene.fires(f"During{number}y", f"After{number}y")
                wait_until(lambda: not scene.unhealthy("database"), 30, "it goes on by itself")
            scene.rest()
            found = rows(scene.url, select(incidents.c.title).where(incidents.c.title == "Big"))
            scene.fires("Big")
            scene.rest()
            assert len(found) <= 1
            return Row(f"disk full ({how}), data and log", times, sees, scene.verdict())


def post_big(scene: Stage) -> int:
    """A webhook that needs much room; recorded, as every other."""
    return scene.send({"Big": "firing"}, filler="x" * FILLER, at=str(time.monotonic()))


def small_disk(stack: ExitStack) -> tuple[str, str, Callable[[Any], None], Callable[[Any], None]]:
    """A tmpfs where it may be mounted; else a limit on the size of any file that the hub writes."""
    folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="ah-disk-"))
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", folder], capture_output=True, check=False)
    if mounted.returncode:
        return "RLIMIT_FSIZE", folder, partial(limit, folder), unlimit
    stack.callback(subprocess.run, ["umount", "--lazy", folder], check=True)
    ballast = Path(folder) / "ballast"

    def fill(hub: Any) -> None:
        with suppress(OSError), ballast.open("wb", buffering=0) as file:
            while file.write(b"x" * 4096):
                pass

    return "tmpfs", folder, fill, lambda hub: ballast.unlink()


def limit(folder: str, hub: Any) -> None:
    size = max(os.path.getsize(f"{folder}/{name}") for name in ("hub.db", "hub.db-wal"))
    resource.prlimit(hub.process.pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


def unlimit(hub: Any) -> None:
    resource.prlimit(hub.process.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


