"""The command line: what a person types, and what is printed. Exit codes: 0 done, 1 what was asked about failed, 2 wrong use."""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import os
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import click
import uvicorn

from alerthub import cli_access, cli_actions, cli_audit, cli_oncall, cli_people, cli_silence, log
from alerthub.app import Hub
from alerthub.cli_base import ask_hub, config_option, configured, fails_plainly, find_config, json_option, not_ours
from alerthub.clock import SystemClock
from alerthub.config import Config, load, schema
from alerthub.config.coverage import uncovered_rules
from alerthub.demo import run_demo
from alerthub.domain import trial
from alerthub.domain.runbook import choose
from alerthub.equipment import Equipment, equip, outbound, send_test
from alerthub.errors import AlerthubError, ConfigError
from alerthub.store.database import Store
from alerthub.store.migrate import migrate as migrate_store
from alerthub.web.wire import PatientProtocol

logger = logging.getLogger("alerthub.cli")
GRACE_SECONDS = 10           # for requests under way at the stop; with the worker's drain below Kubernetes' 30 s (R-60)
CONNECTIONS = 2000           # more at once are answered 503
KEEP_ALIVE_SECONDS = 75      # longer than what senders and proxies keep a connection for


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="alerthub", message="alerthub %(version)s")
def main() -> None:
    """From Alertmanager to the right people and to a safe agent, durably."""


@main.command()
@config_option
@fails_plainly
def serve(path: Path | None) -> None:
    """Run the hub until it is told to stop. SIGHUP reads the configuration again."""
    config = configured(path)
    log.configure(sys.stderr, json=config.model.log.format == "json", level=config.model.log.level)
    for warning in config.warnings:
        logger.warning("%s", warning, extra={"event": "config.warning"})
    asyncio.run(serve_hub(config))


class Server(uvicorn.Server):
    """uvicorn without its signal handling: it would end the process before the hub has let go of its leases."""

    address = database = ""      # for the greeting

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Greets when connections are taken, and not before."""
        await super().startup(sockets)
        logger.info("alerthub listens on http://%s, database %s", self.address, self.database,
                    extra={"event": "hub.listening"})

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    def end(self) -> None:
        """The first signal ends it in good order, the second at once."""
        self.force_exit = self.should_exit
        self.should_exit = True


async def serve_hub(config: Config) -> None:
    hub = Hub(config)
    await asyncio.to_thread(hub.migrate)
    # What is loaded now stays; webhooks make many small objects and no cycles, so the collector need not look so often.
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)
    # A thread that has its answer from the database would wait up to 5 ms for a loop that is busy with requests.
    sys.setswitchinterval(0.001)
    host, port = config.listen
    server = Server(uvicorn.Config(
        hub.web(), host=host, port=port, http=PatientProtocol, ws="none", lifespan="off", log_config=None, access_log=False,
        server_header=False, timeout_graceful_shutdown=GRACE_SECONDS, limit_concurrency=CONNECTIONS,
        timeout_keep_alive=KEEP_ALIVE_SECONDS, proxy_headers=False))
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGHUP, hub.reload)

    def end() -> None:
        hub.live.close()        # what is open as long as a person looks on would hold up the end until the grace is over
        server.end()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, end)
    await hub.start()
    server.address, server.database = config.model.server.listen, hub.store.public_url
    try:
        with suppress(SystemExit):      # uvicorn's word for an address that it cannot have
            await server.serve()
    finally:
        await hub.stop()
    if not server.started:
        raise AlerthubError(f"cannot listen on {config.model.server.listen}; is another program using it?")


@main.command()
@click.argument("file", type=click.Path(path_type=Path), required=False)
@click.option("--rules", multiple=True, metavar="FILE", type=click.Path(path_type=Path),
              help="Prometheus rules: each alert needs a runbook, an owner and a route. May be given more than once.")
@click.option("--strict", is_flag=True, help="Warnings fail as well.")
@config_option
@json_option
@fails_plainly
def check(file: Path | None, rules: tuple[Path, ...], strict: bool, path: Path | None, as_json: bool) -> None:
    """Say everything that is wrong with a configuration FILE, with line and column."""
    wanted = file or find_config(path)
    try:
        config = load(wanted, os.environ)
        known = asyncio.run(equipped(config)).plant.rules
        warnings = [*config.warnings, *(str(found) for one in rules for found in uncovered_rules(one, known))]
    except ConfigError as error:
        if not as_json:
            raise
        found = [{"file": it.file, "line": it.line, "column": it.column, "text": log.redact(it.text)}
                 for it in error.problems]
        click.echo(json.dumps({"ok": False, "problems": found}))
        sys.exit(1)
    tell_warnings(str(wanted or "no file: the built-in configuration"), warnings, strict, as_json)


def tell_warnings(file: str, warnings: list[str], strict: bool, as_json: bool) -> None:
    has_failed = strict and bool(warnings)
    if as_json:
        click.echo(json.dumps({"ok": not has_failed, "problems": [], "warnings": warnings}))
    else:
        for warning in warnings:
            click.echo(f"warning: {warning}")
        click.echo(f"{file}: {'not ok: --strict allows no warnings' if has_failed else 'ok'}")
    if has_failed:
        sys.exit(1)


async def equipped(config: Config) -> Equipment:
    """Everything constructed and nothing sent: what only shows at construction is found as well."""
    async with outbound() as http:
        return equip(config, http, SystemClock())


@main.command()
@config_option
@json_option
@fails_plainly
def migrate(path: Path | None, as_json: bool) -> None:
    """Bring the database to what this version needs."""
    store = Store(configured(path).model.database.url, SystemClock().new_id)
    try:
        revision = migrate_store(store)
    finally:
        store.close()
    click.echo(json.dumps({"revision": revision}) if as_json else f"database is at revision {revision}")


@main.group()
def routes() -> None:
    """Ask the routing tree."""


@routes.command("test")
@click.argument("labels", nargs=-1, required=True, metavar="LABEL=VALUE...")
@config_option
@json_option
@fails_plainly
def routes_test(labels: tuple[str, ...], path: Path | None, as_json: bool) -> None:
    """Show who would hear of an alert with these labels, and what would be done."""
    pairs = dict(pair_of(label) for label in labels)
    rules = asyncio.run(equipped(configured(path))).plant.rules
    found = trial.trial(rules, pairs, SystemClock().now())
    if as_json:
        click.echo(json.dumps(found))
        return
    for one in found["routes"]:
        click.echo(f"{one['route']}: receiver {one['receiver']} -> {', '.join(one['destinations']) or 'nobody'}"
                   + (f"; actions {', '.join(one['actions'])}" if one["actions"] else "")
                   + (f"; escalation policy {one['escalation_policy']}" if one["escalation_policy"] else "")
                   + "".join(f"; {problem}" for problem in one["problems"]) + ("; muted now" if one["muted_now"] else ""))
    runbook = choose(rules.runbooks, pairs)
    click.echo(f"runbook: {runbook.title if runbook else 'none'}")


def pair_of(text: str) -> tuple[str, str]:
    try:
        return trial.pair_of(text)
    except ValueError as error:
        raise click.UsageError(str(error)) from None


@main.command("send-test")
@click.argument("receiver")
@config_option
@json_option
@fails_plainly
def send_test_message(receiver: str, path: Path | None, as_json: bool) -> None:
    """Send one test message to every destination of RECEIVER, and say how each went."""
    results = asyncio.run(send_test(configured(path), receiver))
    if as_json:
        click.echo(json.dumps([{"destination": key, "error": error} for key, error in results]))
    for key, error in [] if as_json else results:
        click.echo(f"{key}: {error or 'sent'}")
    sys.exit(1 if any(error for _, error in results) else 0)


@main.command()
@click.option("--lane", type=click.IntRange(min=0), help="Only this one (default: all).")
@config_option
@json_option
@fails_plainly
def replay(lane: int | None, path: Path | None, as_json: bool) -> None:
    """Let the running hub send again what it gave up."""
    count = asyncio.run(replayed(configured(path), lane))
    click.echo(json.dumps({"replayed": count}) if as_json else f"{count} lane{'' if count == 1 else 's'} will be told again")


async def replayed(config: Config, lane: int | None) -> int:
    """How many lanes the hub tells again. Raises AlerthubError when it does not run, or refuses."""
    found = await ask_hub(config, "POST", f"{'deliveries' if lane is None else f'lanes/{lane}'}/replay")
    if not isinstance(found.get("replayed"), int):
        raise not_ours(config)
    return int(found["replayed"])


@main.command("schema")
@config_option
def print_schema(path: Path | None) -> None:
    """Print the JSON Schema of the configuration file, for editors. It is the same whatever a file holds."""
    click.echo(json.dumps(schema(), indent=2))


@main.command()
@click.option("--port", default=8095, show_default=True, help="The port of the hub.")
@click.option("--once", is_flag=True, help="End after the story instead of staying open.")
@fails_plainly
def demo(port: int, once: bool) -> None:
    """The hub, a toy trading agent and its alerts, on the screen. No account, nothing leaves this machine."""
    with suppress(KeyboardInterrupt):
        asyncio.run(run_demo(port, once=once))


for command in (*cli_people.COMMANDS, *cli_access.COMMANDS, *cli_actions.COMMANDS, cli_oncall.oncall, cli_oncall.override,
                cli_oncall.calendar, cli_silence.silence, cli_audit.audit):
    main.add_command(command)
