"""The kit itself: the real programs start, do their work, survive a restart, and die without a trace."""

from __future__ import annotations

import http.server
import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
import yaml

from tests.kit.binaries import (
    Alertmanager,
    Program,
    Prometheus,
    eventually,
    free_port,
    impatient,
    missing,
    posting_to,
    program,
    wait_until,
)
from tests.kit.postgres import Postgres, Server, find_binaries, fresh_database, postgres_server

ROOT = Path(__file__).parents[2]


class Receiver:
    """The smallest webhook: what was posted, in order."""

    def __init__(self) -> None:
        self.bodies: queue.Queue[dict[str, Any]] = queue.Queue()
        received = self.bodies

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                received.put(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                self.send_response(200)
                self.end_headers()

            def log_message(self, *arguments: object) -> None:
                """Silent."""

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}/"

    def next(self, seconds: float = 30) -> dict[str, Any]:
        return self.bodies.get(timeout=seconds)

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    receiver = Receiver()
    yield receiver
    receiver.close()


@pytest.mark.alertmanager
@pytest.mark.slow
class TestAlertmanager:
    def test_it_posts_what_fires_and_what_is_over(self, receiver: Receiver) -> None:
        with Alertmanager(posting_to(receiver.url)) as manager:
            manager.post({"alertname": "Lag", "agent": "btc", "severity": "critical"})
            first = receiver.next()
            assert (first["version"], first["status"]) == ("4", "firing")
            assert first["groupLabels"] == {"alertname": "Lag", "agent": "btc"}
            manager.resolve({"alertname": "Lag", "agent": "btc", "severity": "critical"})
            assert receiver.next()["alerts"][0]["status"] == "resolved"

    def test_a_silence_keeps_its_webhook_back(self, receiver: Receiver) -> None:
        with Alertmanager(posting_to(receiver.url)) as manager:
            assert manager.silence(alertname="Quiet")
            manager.post({"alertname": "Quiet"})
            wait_until(lambda: [a["status"]["state"] for a in manager.alerts()] == ["suppressed"], 10, "the silence holds")
            manager.post({"alertname": "Loud"})
            assert receiver.next()["groupLabels"]["alertname"] == "Loud"
            assert receiver.bodies.empty()

    def test_it_keeps_its_port_and_its_storage_over_a_restart(self, receiver: Receiver) -> None:
        with Alertmanager(posting_to(receiver.url)) as manager:
            before = manager.url
            silence = manager.silence(alertname="Lag")
            manager.stop()
            manager.start()
            assert manager.url == before
            assert [found["id"] for found in manager.call("GET", "/api/v2/silences")] == [silence]

    def test_killed_it_forgets_what_it_had_told(self, receiver: Receiver) -> None:
        with Alertmanager(posting_to(receiver.url)) as manager:
            manager.post({"alertname": "Lag"})
            receiver.next()
            manager.kill()
            manager.start()
            manager.post({"alertname": "Lag"})
            assert receiver.next()["alerts"][0]["labels"] == {"alertname": "Lag"}

    def test_a_file_it_cannot_read_fails_with_its_own_words(self) -> None:
        with pytest.raises(AssertionError, match=r"died at its start:(.|\n)*unknown_key"), Alertmanager("unknown_key: 1\n"):
            pytest.fail("it must not start")


@pytest.mark.alertmanager
@pytest.mark.slow
def test_a_rule_travels_from_prometheus_to_the_receiver(receiver: Receiver) -> None:
    rules = impatient("""
groups:
  - name: test
    rules:
      - {alert: Always, expr: vector(1), for: 10m, labels: {severity: info}}
""")
    with Alertmanager(posting_to(receiver.url)) as manager, Prometheus(rules, [], [manager.url]) as prometheus:
        assert receiver.next()["alerts"][0]["labels"] == {"alertname": "Always", "severity": "info"}
        assert prometheus.firing() == {"Always"}
        assert prometheus.query("vector(7)")[0]["value"][1] == "7"


@pytest.mark.alertmanager
@pytest.mark.slow
def test_prometheus_scrapes_the_addresses_it_is_given(receiver: Receiver) -> None:
    target = receiver.url.removeprefix("http://").rstrip("/")
    with Prometheus("groups: []", [target]) as prometheus:
        found = wait_until(lambda: prometheus.query("up"), 20, "the first scrape")
    assert found[0]["metric"]["instance"] == target
    assert found[0]["value"][1] == "0"      # the receiver has no GET, and it says so


@pytest.mark.postgres
class TestPostgres:
    def test_each_test_has_a_database_of_its_own_that_is_gone_afterwards(self) -> None:
        with fresh_database() as first, fresh_database() as second:
            assert first != second
            with psycopg.connect(first) as connection:
                connection.execute("create table things (name text)")
            with psycopg.connect(second) as connection:
                assert connection.execute("select to_regclass('things')").fetchone() == (None,)
        with pytest.raises(psycopg.OperationalError, match="does not exist"):
            psycopg.connect(first)

    def test_what_is_prepared_once_is_in_every_database(self) -> None:
        prepared: list[str] = []

        def prepare(dsn: str) -> None:
            prepared.append(dsn)
            with psycopg.connect(dsn) as connection:
                connection.execute("create table things as select 'one' as name")

        for _ in range(2):
            with fresh_database(prepare) as dsn, psycopg.connect(dsn) as connection:
                assert connection.execute("delete from things returning name").fetchone() == ("one",)
        assert len(prepared) == 1

    def test_a_database_is_dropped_under_an_open_connection(self) -> None:
        with fresh_database() as dsn:
            connection = psycopg.connect(dsn)
        with pytest.raises(psycopg.OperationalError):
            connection.execute("select 1")
        connection.close()

    def test_the_server_speaks_utf8_and_sorts_by_bytes(self) -> None:
        with fresh_database() as dsn, psycopg.connect(dsn) as connection:
            assert connection.execute("select 'ü' > 'z', current_setting('server_encoding')").fetchone() == (True, "UTF8")

    def test_a_dsn_with_a_password_stays_whole(self) -> None:
        server = Server("postgresql://me:secret@127.0.0.1:5433/postgres")
        assert server.dsn("one") == "postgresql://me:secret@127.0.0.1:5433/one"

    def test_one_server_serves_the_whole_process(self) -> None:
        assert postgres_server() is postgres_server()

    @pytest.mark.slow
    def test_a_durable_server_keeps_a_commit_over_kill_9(self) -> None:
        with Postgres(find_binaries(), durable=True) as program:
            dsn = program.server.dsn("postgres")
            with psycopg.connect(dsn) as connection:
                assert connection.execute("show fsync").fetchone() == ("on",)
                connection.execute("create table things as select 'one' as name")
            program.kill()
            wait_until(lambda: not postmaster_lives(program), 10, "its children are gone")
            program.start()
            with psycopg.connect(dsn) as connection:
                assert connection.execute("select name from things").fetchone() == ("one",)


def postmaster_lives(program: Postgres) -> bool:
    """Whether any process still works in its data folder."""
    return any(os.path.realpath(link) == str(program.data) for link in Path("/proc").glob("[0-9]*/cwd") if link.exists())


class Sleeper(Program):
    """A program of which only the life matters."""

    def __init__(self, script: str) -> None:
        super().__init__("Sleeper")
        self.script = script

    def command(self) -> list[str]:
        return [sys.executable, "-c", self.script]

    def is_ready(self) -> bool:
        return "ready" in self.logs()


class TestProgram:
    def test_an_early_death_shows_the_log(self) -> None:
        with pytest.raises(AssertionError, match="Sleeper died at its start:\nno port"), Sleeper("raise SystemExit('no port')"):
            pytest.fail("it must not start")

    def test_its_folder_and_its_process_are_gone_at_the_end(self) -> None:
        with Sleeper("import signal; print('ready', flush=True); signal.pause()") as sleeper:
            process = sleeper.process
            assert process is not None
            assert process.poll() is None
        assert process.poll() == -signal.SIGTERM
        assert not sleeper.folder.exists()

    def test_a_paused_one_is_ended_too(self) -> None:
        with Sleeper("import signal; print('ready', flush=True); signal.pause()") as sleeper:
            process = sleeper.process
            assert process is not None
            process.send_signal(signal.SIGSTOP)
        assert process.poll() == -signal.SIGTERM

    def test_no_program_outlives_a_test_run_that_forgets_it(self) -> None:
        script = ("from tests.e2e.test_binaries import Sleeper\n"
                  "sleeper = Sleeper(\"import signal; print('ready', flush=True); signal.pause()\").start()\n"
                  "print(sleeper.process.pid, sleeper.folder)")
        done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True)
        pid, folder = done.stdout.split()
        assert not Path("/proc", pid).exists()
        assert not Path(folder).exists()


class TestWaiting:
    def test_it_gives_the_first_true_answer(self) -> None:
        answers = iter([0, None, "", "there"])
        assert wait_until(lambda: next(answers), 5) == "there"

    def test_what_never_comes_is_named(self) -> None:
        with pytest.raises(AssertionError, match=r"not within 0\.01 s: the moon"):
            wait_until(lambda: False, 0.01, "the moon")

    @pytest.mark.anyio
    async def test_it_waits_with_the_loop_too(self) -> None:
        answers = iter([0, "there"])
        assert await eventually(lambda: next(answers), 5) == "there"
        with pytest.raises(AssertionError, match="the moon"):
            await eventually(lambda: False, 0.01, "the moon")

    def test_two_free_ports_differ(self) -> None:
        assert free_port() != free_port()


class TestMissing:
    @pytest.mark.parametrize(("ci", "outcome"), [("", pytest.skip.Exception), ("true", pytest.fail.Exception)])
    def test_a_missing_program_skips_here_and_fails_where_everything_must_run(
            self, monkeypatch: pytest.MonkeyPatch, ci: str, outcome: type[BaseException]) -> None:
        monkeypatch.setenv("CI", ci)
        with pytest.raises(outcome, match="no-such-program"):
            program("no-such-program")
        with pytest.raises(outcome, match="the moon"):
            missing("the moon")


def test_impatient_rules_keep_everything_but_the_waiting() -> None:
    quick = {"alert": "A", "expr": "x[1h] > 1", "for": "0s"}
    rules = {"groups": [{"name": "g", "rules": [{**quick, "for": "5m"}, {"record": "a:b", "expr": "x"}]}]}
    assert yaml.safe_load(impatient(yaml.safe_dump(rules))) == {
        "groups": [{"name": "g", "rules": [quick, {"record": "a:b", "expr": "x"}]}]}
