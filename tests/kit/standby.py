"""A pair of PostgreSQL servers: one that takes writes, and a standby that follows it over a wire that can be cut."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import MappingProxyType

import psycopg

from tests.kit.binaries import wait_until
from tests.kit.faults.proxy import Wire
from tests.kit.postgres import USER, Postgres, find_binaries
from tests.kit.served import served

NAME = "standby"        # by which synchronous_standby_names knows it
PRIMARY = {"wal_level": "replica", "max_wal_senders": "5", "wal_keep_size": "64MB", "autovacuum": "off"}
# A standby must be told soon that its primary is back, and a primary that its standby is not.
STANDBY = {"wal_receiver_timeout": "2s", "wal_retrieve_retry_interval": "200ms", "hot_standby": "on"}


class Standby(Postgres):
    """A copy of what the address leads to, which follows it until `promote`."""

    def __init__(self, binaries: Path, source: str) -> None:
        self.source = source
        super().__init__(binaries, durable=True, settings={**PRIMARY, **STANDBY})

    def initialise(self) -> None:
        command = [*self.prefix, str(self.binaries / "pg_basebackup"), "-d", self.source, "-D", str(self.data), "-c", "fast",
                   "--no-sync"]
        done = subprocess.run(command, capture_output=True, text=True, cwd=self.folder, timeout=60, check=False)
        if done.returncode:
            self.close()
            raise AssertionError(f"pg_basebackup failed:\n{done.stdout}{done.stderr}")
        (self.data / "standby.signal").touch()
        os.chmod(self.data / "standby.signal", 0o666)
        self.settings = {**self.settings, "primary_conninfo": f"{self.source}?application_name={NAME}"}

    def promote(self) -> None:
        self.server.execute("select pg_promote(true, 30)")

    def replayed(self) -> str:
        """How far it has come, as the primary counts it."""
        return asked(self, "select pg_last_wal_replay_lsn()::text")


class Pair:
    """`wire`: by which the standby follows. `url`: of the hub, with both hosts."""

    def __init__(self, primary: Postgres, standby: Standby, wire: Wire) -> None:
        self.primary, self.standby, self.wire = primary, standby, wire

    @property
    def url(self) -> str:
        return f"postgresql://{USER}@127.0.0.1:{self.primary.port},127.0.0.1:{self.standby.port}/postgres"

    def catch_up(self) -> None:
        """Wait until the standby has all that the primary has by now."""
        at = asked(self.primary, "select pg_current_wal_flush_lsn()::text")
        behind = f"select pg_last_wal_replay_lsn() >= '{at}'::pg_lsn"
        wait_until(lambda: asked(self.standby, behind) in (True, "True"), 30, "the standby has caught up")

    def cut(self) -> None:
        """From now on the standby hears nothing."""
        self.wire.cut()

    def lose_primary(self) -> None:
        """kill -9 of the server and all its sessions."""
        strike(self.primary)

    def set(self, name: str, value: str) -> None:
        """A setting of the primary, from now on. Needs one of those that a reload takes over."""
        self.primary.server.execute(f"alter system set {name} = '{value}'")
        self.primary.server.execute("select pg_reload_conf()")
        wait_until(lambda: asked(self.primary, f"select current_setting('{name}')") == value, 10, f"{name} is {value}")


def asked(server: Postgres, query: str) -> object:
    with psycopg.connect(server.server.maintenance, autocommit=True) as connection:
        row = connection.execute(query).fetchone()
        return row[0] if row else None


def strike(server: Postgres) -> None:
    """The machine is gone: all processes of this server, the first one too, before one of them can clean up."""
    process = server.process
    assert process is not None
    group = os.getpgid(process.pid)
    assert group == process.pid, "a session of its own"
    for pid in [process.pid, *descendants(process.pid)]:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    process.wait(30)
    server.process = None


def descendants(pid: int) -> Iterator[int]:
    """Of the machine's process table."""
    children: dict[int, list[int]] = {}
    for place in Path("/proc").iterdir():
        if place.name.isdigit():
            try:
                parent = int((place / "stat").read_text().rpartition(")")[2].split()[1])
            except (OSError, ValueError, IndexError):
                continue
            children.setdefault(parent, []).append(int(place.name))
    waiting = [pid]
    while waiting:
        found = children.get(waiting.pop(), [])
        waiting += found
        yield from found


@contextmanager
def pair(settings: Mapping[str, str] = MappingProxyType({})) -> Iterator[Pair]:
    """Both up, the standby following."""
    binaries = find_binaries()
    with Postgres(binaries, durable=True, settings={**PRIMARY, **settings}) as primary:
        wire = Wire(primary.server.dsn("postgres"))
        with served(wire), Standby(binaries, wire.url) as standby:
            found = Pair(primary, standby, wire)
            found.catch_up()
            yield found
