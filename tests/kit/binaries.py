"""Real programs for the tests: Prometheus, Alertmanager and their tools, on free loopback ports.

A program that is missing skips the test with its name; with CI=true it fails the test. This file is the only one of the
tests that may sleep: `wait_until` and `eventually` poll what has no event to wait for, a process of somebody else.
"""

from __future__ import annotations

import atexit
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn, Self, TypeVar

import anyio
import httpx
import pytest
import yaml

T = TypeVar("T")
STEP = 0.02              # seconds between two looks
START_SECONDS = 30.0     # a cold start on two busy cores
LOCAL: dict[str, bool] = {"trust_env": False, "verify": False}      # http on the loopback: no proxies, no authorities to load
PEER_SECONDS = 3         # that the second of two Alertmanagers waits for the first to speak; by itself it would be 15
LOG_TAIL = 4000          # characters of a dead program's log that the failure shows


def wait_until(predicate: Callable[[], T], seconds: float = START_SECONDS, what: str = "") -> T:
    """The first true answer of `predicate`. Fails the test after `seconds`, naming what never came."""
    deadline = time.monotonic() + seconds
    while not (answer := predicate()):
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds:g} s: {what or predicate}")
        time.sleep(STEP)
    return answer


async def eventually(predicate: Callable[[], T], seconds: float = START_SECONDS, what: str = "") -> T:
    """`wait_until` for a test whose own loop must go on."""
    deadline = time.monotonic() + seconds
    while not (answer := predicate()):
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds:g} s: {what or predicate}")
        await anyio.sleep(STEP)
    return answer


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def missing(what: str) -> NoReturn:
    """Skip with the reason; where everything must run, fail with it."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"CI=true and there is no {what}: .ci/counterparts installs it", pytrace=False)
    pytest.skip(f"there is no {what} on this machine: `make counterparts` installs it")


def program(*names: str) -> str:
    """The path of the first of `names` that this machine has."""
    for name in names:
        if path := shutil.which(name):
            return path
    missing(" or ".join(names))


def promtool(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return run(program("promtool"), *arguments)


def amtool(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return run(program("amtool"), *arguments)


def run(*command: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=60, check=False)


class Program:
    """One process with its folder (storage, log), which a restart finds again. Use it as a context manager.

    Subclasses give `command()` and `is_ready()`. Storage and port stay the same over `stop`, `kill` and `start`.
    """

    stop_signal = signal.SIGTERM
    start_seconds = START_SECONDS
    environ: Mapping[str, str] | None = None      # None: that of the test

    def __init__(self, name: str) -> None:
        self.name, self.port = name, free_port()
        self.folder = Path(tempfile.mkdtemp(prefix="ah-"))   # short: a socket path holds 107 bytes
        self.log = self.folder / "log"
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def command(self) -> list[str]:
        raise NotImplementedError

    def is_ready(self) -> bool:
        raise NotImplementedError

    def start(self) -> Self:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(self.command(), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                            cwd=self.folder, env=self.environ, start_new_session=True)
        atexit.register(self.close)
        wait_until(self.is_up, self.start_seconds, f"{self.name} answers")
        return self

    def is_up(self) -> bool:
        """Ready now. A process that died instead fails the test with the end of its log."""
        if self.process is None or self.process.poll() is not None:
            raise AssertionError(f"{self.name} died at its start:\n{self.logs()}")
        return self.is_ready()

    def answers(self, path: str) -> bool:
        try:
            return httpx.get(self.url + path, timeout=2, **LOCAL).status_code == 200
        except httpx.TransportError:
            return False

    def logs(self) -> str:
        return self.log.read_text(errors="replace")[-LOG_TAIL:] if self.log.exists() else ""

    def stop(self) -> None:
        """In good order, as an operator does it."""
        self.end(self.stop_signal)

    def kill(self) -> None:
        """kill -9: nothing is saved."""
        self.end(signal.SIGKILL)

    def end(self, how: signal.Signals) -> None:
        if self.process is None:
            return
        if self.process.poll() is None:
            self.process.send_signal(how)
            self.process.send_signal(signal.SIGCONT)   # a test may have paused it
        try:
            self.process.wait(START_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError(f"{self.name} did not stop:\n{self.logs()}") from None
        finally:
            self.process = None

    def close(self) -> None:
        """For good, folder and all. In good order, because PostgreSQL would leave shared memory behind."""
        atexit.unregister(self.close)
        try:
            self.stop()
        finally:
            shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> Self:
        try:
            return self.start()
        except BaseException:
            self.close()
            raise

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


class Alertmanager(Program):
    """The real one. `config` is the text of its file; see `posting_to` for the usual one. Alone (no gossip), unless
    `gossip`: then it listens for peers, and joins those that are named."""

    def __init__(self, config: str, gossip: bool = False, peers: Sequence[Alertmanager] = ()) -> None:
        self.binary = program("prometheus-alertmanager", "alertmanager")
        super().__init__("Alertmanager")
        self.gossip_address = f"127.0.0.1:{free_port()}" if gossip or peers else ""
        self.peers = [peer.gossip_address for peer in peers]
        self.configure(config)

    def configure(self, config: str) -> None:
        (self.folder / "alertmanager.yml").write_text(config)

    def command(self) -> list[str]:
        return [self.binary, f"--config.file={self.folder}/alertmanager.yml", f"--storage.path={self.folder}/data",
                f"--web.listen-address=127.0.0.1:{self.port}", f"--cluster.listen-address={self.gossip_address}",
                *(f"--cluster.peer={address}" for address in self.peers), f"--cluster.peer-timeout={PEER_SECONDS}s"]

    def is_ready(self) -> bool:
        return self.answers("/-/ready")

    def post(self, *alerts: Mapping[str, Any] | Mapping[str, str]) -> None:
        """Alerts as Prometheus posts them: {"labels": …, "annotations": …, "startsAt": …, "endsAt": …}. A flat mapping
        of strings is taken as the labels."""
        body = [alert if "labels" in alert else {"labels": alert} for alert in alerts]
        self.call("POST", "/api/v2/alerts", body)

    def resolve(self, *labels: Mapping[str, str]) -> None:
        """Say that these alerts are over, as Prometheus does it: with an end in the past."""
        now = datetime.now(UTC)
        times = {"startsAt": (now - timedelta(hours=1)).isoformat(), "endsAt": now.isoformat()}
        self.call("POST", "/api/v2/alerts", [{"labels": dict(one), **times} for one in labels])

    def alerts(self) -> list[dict[str, Any]]:
        return list(self.call("GET", "/api/v2/alerts"))

    def silence(self, hours: float = 1, **labels: str) -> str:
        """Silence what has these labels. The silence's id."""
        now = datetime.now(UTC)
        matchers = [{"name": name, "value": value, "isRegex": False} for name, value in labels.items()]
        return str(self.call("POST", "/api/v2/silences", {
            "matchers": matchers, "startsAt": now.isoformat(), "endsAt": (now + timedelta(hours=hours)).isoformat(),
            "createdBy": "test", "comment": "test"})["silenceID"])

    def call(self, method: str, path: str, body: object = None) -> Any:
        answer = httpx.request(method, self.url + path, json=body, timeout=10, **LOCAL)
        if not answer.is_success:
            raise AssertionError(f"Alertmanager answers {answer.status_code} to {method} {path}: {answer.text}")
        return answer.json() if answer.content else None


def posting_to(url: str, group_by: Sequence[str] = ("alertname", "agent"), **receiver: object) -> str:
    """An alertmanager.yml that posts to one webhook with no wait. Further keywords go into the webhook's own block."""
    webhook = {"url": url, "send_resolved": True, "max_alerts": 0, **receiver}
    return yaml.safe_dump({
        "route": {"receiver": "hub", "group_by": list(group_by), "group_wait": "0s", "group_interval": "1s",
                  "repeat_interval": "1h"},
        "receivers": [{"name": "hub", "webhook_configs": [webhook]}]})


class Prometheus(Program):
    """The real one: scrapes and evaluates every second, so a changed figure is an alert in about two.

    `rules` is the text of a rule file, `scrape` addresses ("127.0.0.1:8000"), `alertmanagers` base URLs. `job` is the label
    that what it scrapes gets.
    """

    def __init__(self, rules: str, scrape: Sequence[str] = (), alertmanagers: Sequence[str] = (), job: str = "test") -> None:
        self.binary = program("prometheus")
        super().__init__("Prometheus")
        (self.folder / "rules.yml").write_text(rules)
        peers = [url.removeprefix("http://") for url in alertmanagers]
        (self.folder / "prometheus.yml").write_text(yaml.safe_dump({
            "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
            "rule_files": ["rules.yml"],
            "alerting": {"alertmanagers": [{"static_configs": [{"targets": peers}]}]},
            "scrape_configs": [{"job_name": job, "static_configs": [{"targets": list(scrape)}]}]}))

    def command(self) -> list[str]:
        return [self.binary, f"--config.file={self.folder}/prometheus.yml", f"--storage.tsdb.path={self.folder}/data",
                f"--web.listen-address=127.0.0.1:{self.port}", "--rules.alert.resend-delay=2s"]

    def is_ready(self) -> bool:
        return self.answers("/-/ready")

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The instant vector: [{"metric": {label: value}, "value": [time, "figure"]}]."""
        answer = httpx.get(f"{self.url}/api/v1/query", params={"query": expression}, timeout=10, **LOCAL).json()
        assert answer["status"] == "success", answer
        return list(answer["data"]["result"])

    def firing(self) -> set[str]:
        """The names of the alerts that fire now."""
        answer = httpx.get(f"{self.url}/api/v1/alerts", timeout=10, **LOCAL).json()
        return {alert["labels"]["alertname"] for alert in answer["data"]["alerts"] if alert["state"] == "firing"}


def impatient(rules: str) -> str:
    """A rule file whose alerts fire at once: every `for` is 0 s. Thresholds and windows stay as they are."""
    tree = yaml.safe_load(rules)
    for group in tree["groups"]:
        group["rules"] = [{**rule, "for": "0s"} if "for" in rule else rule for rule in group["rules"]]
    return yaml.safe_dump(tree, sort_keys=False)
