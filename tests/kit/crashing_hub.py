"""The hub as it is served, and one that kills itself with SIGKILL at a named step. Its seams are objects: the store of two
rooms, a channel, an action. Nothing of the program knows of it."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import uvicorn
from sqlalchemy import ColumnElement, func, select

from alerthub import cli, log
from alerthub.actions.base import Call, Report
from alerthub.app import Hub
from alerthub.config import Config, load
from alerthub.domain.message import Message, Receipt
from alerthub.store.schema import action_runs, incidents, lanes
from alerthub.store.tx import Tx

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Step:
    """Where to die: when a transaction has made this true of the database (before or after its commit), or at this side of
    a call of a channel or an action."""

    when: ColumnElement[bool] | None = None
    committed: bool = True
    call: str = ""      # before, after


def steps_of(channel: str) -> dict[str, Step]:
    """The steps of a delivery by this channel, in their order. That the provider has the request is its own to say."""
    mine = lanes.c.channel == channel
    return {
        "webhook not committed": Step(incidents.c.number > 0, committed=False),
        "webhook not answered": Step(incidents.c.number > 0),
        "delivery claimed": Step(mine & lanes.c.lease_until.is_not(None)),
        "request not written": Step(call="before"),
        "answer not settled": Step(call="after"),
        "delivery settled": Step(mine & (lanes.c.told_seq > 0) & lanes.c.lease_until.is_(None)),
    }


ACTION_STEPS = {
    "action started": Step(action_runs.c.started_at.is_not(None)),
    "effect not begun": Step(call="before"),
    "outcome not settled": Step(call="after"),
    "action settled": Step(action_runs.c.finished_at.is_not(None)),
}


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


class DeadlyStore:
    """The real store. It dies with the transaction that makes the step true."""

    def __init__(self, store: Any, step: Step) -> None:
        self.store, self.step = store, step

    def __getattr__(self, name: str) -> Any:
        return getattr(self.store, name)

    async def write(self, unit: Callable[[Tx], T]) -> T:
        reached = []

        def watched(tx: Tx) -> T:
            result = unit(tx)
            assert self.step.when is not None
            if tx.conn.execute(select(func.count()).where(self.step.when)).scalar():
                reached.append(True)
                if not self.step.committed:
                    die()
            return result

        result: T = await self.store.write(watched)
        if reached:
            die()
        return result


class DeadlyChannel:
    def __init__(self, channel: Any, call: str) -> None:
        self.channel, self.call = channel, call

    def __getattr__(self, name: str) -> Any:
        return getattr(self.channel, name)

    async def send(self, message: Message, previous: Receipt | None) -> Receipt:
        if self.call == "before":
            die()
        await self.channel.send(message, previous)
        die()
        raise AssertionError("unreachable")


class DeadlyAction:
    def __init__(self, action: Any, call: str) -> None:
        self.action, self.call = action, call

    async def run(self, call: Call) -> Report:
        if self.call == "before":
            die()
        await self.action.run(call)
        die()
        raise AssertionError("unreachable")


def armed(hub: Hub, step: Step, channel: str) -> Hub:
    """The hub with the step built into it: of deliveries by this channel, or of actions when it is empty."""
    plant = hub.equipment.plant
    if step.when is not None:
        hub.doorway.store = hub.worker.store = DeadlyStore(hub.store, step)
    elif channel:
        channels = {key: DeadlyChannel(found, step.call) if found.kind == channel else found
                    for key, found in plant.channels.items()}
        hub.equipment = replace(hub.equipment, plant=replace(plant, channels=channels))
    else:
        actions = {key: replace(found, action=DeadlyAction(found.action, step.call)) for key, found in plant.actions.items()}
        hub.equipment = replace(hub.equipment, plant=replace(plant, actions=actions))
    return hub


async def serve_armed(config: Config, step: Step, channel: str) -> None:
    hub = armed(Hub(config), step, channel)
    await asyncio.to_thread(hub.migrate)
    host, port = config.listen
    await hub.start()
    await cli.Server(uvicorn.Config(hub.web(), host=host, port=port, lifespan="off", log_config=None, access_log=False)).serve()


def serve(folder: str, environ: Mapping[str, str], log_file: str, channel: str, step: str) -> None:
    """The whole life of a process: the hub of this folder, as `alerthub serve` runs it; with a step, until that."""
    output = os.open(log_file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environ)
    config = load("alerthub.yml", os.environ)
    log.configure(sys.stderr, json=False, level="info")
    if step:
        asyncio.run(serve_armed(config, {**steps_of(channel), **ACTION_STEPS}[step], channel))
    else:
        asyncio.run(cli.serve_hub(config))
