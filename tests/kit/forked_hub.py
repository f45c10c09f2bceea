"""A hub in a process of its own that is up in a fraction of a second: forked from one that has imported everything."""

from __future__ import annotations

import atexit
import multiprocessing
import os
import signal
import subprocess
from collections.abc import Mapping
from typing import Any, Self

from alerthub import actions, channels, sources
from tests.kit import crashing_hub
from tests.kit.binaries import START_SECONDS, wait_until
from tests.kit.hub_process import HubProcess

EDGES = {**sources.REGISTRY, **channels.REGISTRY, **actions.REGISTRY}
FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload([
    "tests.kit.crashing_hub", *(place.partition(":")[0] for place in EDGES.values()), "uvicorn.protocols.http.httptools_impl",
    "sqlalchemy.dialects.sqlite.pysqlite", "sqlalchemy.dialects.postgresql.psycopg", "psycopg"])


class Forked:
    """A process of the fork server, with the part of Popen's face that `Program` uses."""

    def __init__(self, process: Any) -> None:
        self.process = process
        process.start()
        self.pid: int = process.pid

    def poll(self) -> int | None:
        return self.process.exitcode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def wait(self, seconds: float | None = None) -> int:
        self.process.join(seconds)
        if self.process.exitcode is None:
            raise subprocess.TimeoutExpired("hub", seconds or 0)
        return int(self.process.exitcode)


class ForkedHub(HubProcess):
    """As `HubProcess`. With a `step` (of this `channel`, or of actions when that is empty) it lives until that."""

    def __init__(self, config: str, environ: Mapping[str, str] | None = None) -> None:
        super().__init__(config, environ)
        self.channel = self.step = ""

    def start(self) -> Self:
        atexit.register(self.close)
        arguments = (str(self.folder), self.environ, str(self.log), self.channel, self.step)
        self.process = Forked(FORKS.Process(target=crashing_hub.serve, args=arguments, daemon=True))
        wait_until(self.is_up, START_SECONDS, f"{self.name} answers")
        return self

    @property
    def pid(self) -> int:
        return self.process.pid

    def strike(self) -> None:
        """kill -9 by whom it talks to. `wait_for_death` follows."""
        self.process.kill()

    def wait_for_death(self) -> None:
        """By SIGKILL and nothing else."""
        code = self.process.wait(START_SECONDS)
        self.process = None
        if code != -signal.SIGKILL:
            raise AssertionError(f"the hub ended by itself ({code}):\n{self.logs()}")
