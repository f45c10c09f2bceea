"""Sets the stage and clears it: sockets, a temporary folder, the agent, the counterparts, the real hub; and Ctrl-C.

What is played on it is in story.py.
"""

from __future__ import annotations

import asyncio
import errno
import json
import logging
import os
import shutil
import signal
import socket
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from string import Template

import uvicorn
from starlette.types import ASGIApp

from alerthub import log, toy_agent
from alerthub.app import Hub
from alerthub.clock import Clock, SystemClock
from alerthub.config import Config, load
from alerthub.demo.alerts import AGENT
from alerthub.demo.counterparts import CHAT, Accounts, Counterparts
from alerthub.demo.mailbox import Mailbox
from alerthub.demo.screen import Screen, is_coloured
from alerthub.demo.story import Cast, Story
from alerthub.demo.witness import Witness
from alerthub.equipment import outbound
from alerthub.errors import AlerthubError

CONFIG = Path(__file__).with_name("alerthub.yml")
PREFIX = "alerthub-demo-"
LOOPBACK = "127.0.0.1"
GRACE_SECONDS = 1       # for requests under way at the end
ENDINGS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


async def run_demo(port: int, *, once: bool) -> None:
    """Play the story with the hub on this port of the loopback; 0 takes any free one. With `once` it ends by itself, else it
    stays open until Ctrl-C. Nothing is left behind either way.

    Raises AlerthubError when the port is taken, or when something that should happen is not seen to happen.
    """
    log.configure(sys.stderr, json=False, level=logging.WARNING)
    stop = asyncio.Event()
    screen = Screen(sys.stdout, is_coloured=is_coloured(sys.stdout, os.environ), width=shutil.get_terminal_size().columns,
                    on_gone=stop.set)
    with ended_by_signals(stop.set):
        await perform(port, screen, stop, once=once)
    if screen.gone is not None:
        raise screen.gone


@contextmanager
def ended_by_signals(end: Callable[[], None]) -> Iterator[None]:
    """Inside, these signals call `end` and do nothing else, so that everything is cleared away in order."""
    loop = asyncio.get_running_loop()
    for number in ENDINGS:
        loop.add_signal_handler(number, end)
    try:
        yield
    finally:
        for number in ENDINGS:
            loop.remove_signal_handler(number)


async def perform(port: int, screen: Screen, stop: asyncio.Event, *, once: bool, accounts: Accounts | None = None,
                  clock: Clock | None = None, place: Path | None = None) -> None:
    """Until the play is over, or `stop` is set. Clears the stage in any case. `place`: where the temporary folder is made."""
    with ExitStack() as stack:
        hub, agent, outside, post = (stack.enter_context(listen(number)) for number in (port, 0, 0, 0))
        folder = stack.enter_context(temporary_folder(place))
        stage = Stage(folder, hub, agent, outside, post, accounts or Accounts(), clock or SystemClock())
        play = asyncio.create_task(stage.play(screen, once=once), name="play")
        ending = asyncio.create_task(stop.wait(), name="ending")
        try:
            await asyncio.wait({play, ending}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (play, ending):
                task.cancel()
            await asyncio.wait({play, ending})
        if not play.cancelled():
            play.result()
    screen.blank()
    rest = f"{folder} could not be removed." if folder.exists() else "Its files are removed, and nothing runs any more."
    screen.say(f"The demo has ended. {rest}")


@contextmanager
def temporary_folder(place: Path | None = None) -> Iterator[Path]:
    """Only its owner can read it. Removed at the end with all that is in it, as far as that is possible."""
    try:
        folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=place))
    except OSError as error:
        raise AlerthubError(f"cannot make a temporary folder: {error.strerror}") from None
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def listen(port: int) -> socket.socket:
    """A socket on the loopback. Raises AlerthubError, plainly, when it cannot be had."""
    if not 0 <= port <= 65535:
        raise AlerthubError(f"{port} is not a port; they go from 1 to 65535")
    try:
        return socket.create_server((LOOPBACK, port))
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise AlerthubError(f"port {port} of {LOOPBACK} is taken by another program; choose another one, for example "
                                f"alerthub demo --port {port + 1 if port < 65535 else port - 1}") from None
        raise AlerthubError(f"cannot listen on port {port} of {LOOPBACK}: {error.strerror}") from None


def address(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"{host}:{port}"


class Server(uvicorn.Server):
    """uvicorn without its signal handlers: they would answer Ctrl-C before the stage is cleared in order."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@asynccontextmanager
async def serving(app: ASGIApp, listener: socket.socket) -> AsyncIterator[None]:
    """The socket listens already, so nobody has to wait for the server."""
    server = Server(uvicorn.Config(app, http="httptools", ws="none", lifespan="off", log_config=None, access_log=False,
                                   server_header=False, timeout_graceful_shutdown=GRACE_SECONDS, proxy_headers=False))
    task = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        yield
    finally:
        server.should_exit = True
        await task


@dataclass(frozen=True, slots=True)
class Stage:
    """Everything that is needed for one performance."""

    folder: Path
    hub: socket.socket
    agent: socket.socket
    outside: socket.socket
    post: socket.socket
    accounts: Accounts
    clock: Clock

    async def play(self, screen: Screen, *, once: bool) -> None:
        witness = Witness(screen)
        agent = toy_agent.ToyAgent(name=AGENT, secret=self.accounts.agent_secret)
        counterparts = Counterparts(self.accounts, witness, self.clock)
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(serving(toy_agent.app(agent, self.clock), self.agent))
            await stack.enter_async_context(serving(counterparts.app(), self.outside))
            await stack.enter_async_context(Mailbox(witness).serving(self.post))
            hub = await stack.enter_async_context(self.running())
            await stack.enter_async_context(serving(hub.web(), self.hub))
            http = await stack.enter_async_context(outbound())
            cast = Cast(f"http://{address(self.hub)}", f"http://{address(self.agent)}", self.folder)
            story = Story(cast, screen, witness, http, self.clock, press=counterparts.press)
            await story.tell()
            if not once:
                await story.stay_open()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Hub]:
        """The real hub, with the configuration of this run."""
        hub = Hub(self.configured())
        hub.migrate()       # not in a thread, which would go on after Ctrl-C, beside a hub that stops
        await hub.start()
        try:
            yield hub
        finally:
            await hub.stop()

    def configured(self) -> Config:
        """Written as a user would write it: a file, and one file for each secret."""
        secrets = {"slack-bot-token": self.accounts.slack_token, "telegram-bot-token": self.accounts.telegram_token,
                   "pagerduty-routing-key": self.accounts.routing_key, "actions": self.accounts.action_secret,
                   "agent-btc": self.accounts.agent_secret}
        for name, secret in secrets.items():
            (self.folder / name).touch(mode=0o600)
            (self.folder / name).write_text(secret, encoding="utf-8")
        values = {"PORT": self.hub.getsockname()[1], "FOLDER": self.folder, "OUTSIDE": f"http://{address(self.outside)}",
                  "AGENT": f"http://{address(self.agent)}", "SMARTHOST": address(self.post), "CHAT": CHAT}
        quoted = {name: json.dumps(str(value), ensure_ascii=False)[1:-1] for name, value in values.items()}
        path = self.folder / "alerthub.yml"
        path.write_text(Template(CONFIG.read_text(encoding="utf-8")).substitute(quoted), encoding="utf-8")
        return load(path, {})
