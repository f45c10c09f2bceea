"""F12: a wall clock that jumps by an hour either way in the midst of a delivery, and a replica that is 90 s off."""

from __future__ import annotations

import asyncio
import importlib.util
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from tests.faults.providers import first, told
from tests.kit.binaries import missing, wait_until
from tests.kit.faults.stage import Stage, stage
from tests.kit.faults.table import Row
from tests.kit.hub_process import HubProcess
from tests.kit.providers.http import Answer, Request
from tests.kit.providers.receiver import FakeReceiver

HOUR = 3600
HOLD = "x-held"
SKEW = 90           # seconds
LINE = "log: the clock jumped by 3600 s; what waits is moved with it"
SOON = 10.0         # seconds: what nothing delays is told long before
FREEZE = 60.0       # seconds: longer than this nothing may stand still


class Held(FakeReceiver):
    """It does what it is asked for at once; the answer to what names `holds` waits until it is released. It does not look at the
    time of a signature: what a receiver makes of a sender whose clock is wrong is its own affair."""

    holds = ""

    async def __aenter__(self) -> Any:
        self.loop, self.released = asyncio.get_running_loop(), asyncio.Event()
        return await super().__aenter__()

    def hold(self, name: str) -> None:
        self.holds = name
        self.loop.call_soon_threadsafe(self.released.clear)

    def release(self) -> None:
        self.holds = ""
        self.loop.call_soon_threadsafe(self.released.set)

    def problem(self, request: Request) -> str:
        return ""

    async def _reply(self, writer: asyncio.StreamWriter, answer: Answer) -> None:
        if self.holds and answer.headers.get(HOLD) == self.holds:
            await self.released.wait()
        await super()._reply(writer, answer)

    def _take(self, request: Request) -> Answer:
        found = super()._take(request)
        is_held = self.holds and request.path == "/in" and self.holds.encode() in request.body
        return replace(found, headers={HOLD: self.holds}) if is_held else found


class FakedHub(HubProcess):
    """A hub whose wall clock is set by `shift(seconds)`, also while it runs; its monotonic clock is the true one."""

    def __init__(self, config: str, offset: int = 0) -> None:
        super().__init__(config)
        self.shift(offset)
        self.environ = {**(self.environ or {}), **faking(self.folder / "clock")}

    def shift(self, seconds: int) -> None:
        fresh = self.folder / "clock.new"
        fresh.write_text(f"{seconds:+d}\n")
        fresh.replace(self.folder / "clock")     # never half written


def faking(file: Path) -> dict[str, str]:
    return {"LD_PRELOAD": library(), "FAKETIME_TIMESTAMP_FILE": str(file), "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1", "DONT_FAKE_MONOTONIC": "1"}


def library() -> str:
    """The path of libfaketime from the package of that name; it is located and never imported. Missing where it does not work."""
    found = importlib.util.find_spec("libfaketime")
    for root in (found.submodule_search_locations or ()) if found else ():
        path = f"{root}/vendor/libfaketime/src/libfaketime.so.1"
        code = "import time; print(time.time())"
        done = subprocess.run([sys.executable, "-c", code], env={"LD_PRELOAD": path, "FAKETIME": f"+{HOUR}"},
                              capture_output=True, text=True, check=False)
        if done.returncode == 0 and float(done.stdout) > time.time() + HOUR / 2:
            return path
    return missing("libfaketime that works here")


def jumps(database: str, times: int) -> Row:
    """While a delivery is under way and another one waits for its next try: an hour ahead, and back again."""
    with stage(database, "machine", "machine/flaky", hubs=0, machine=Held) as scene:
        hub = scene.add(FakedHub(scene.config())).start()
        slowest = max(jump_once(scene, hub, number) for number in range(times * 2))
        return Row(f"clock +1 h and back, in a delivery (longest standstill {slowest:.1f} s)", times * 2, LINE, scene.verdict())


def jump_once(scene: Stage, hub: FakedHub, number: int) -> float:
    name, later = f"Jump{number}y", f"Later{number}y"
    first(scene.machine, [Answer(503, headers={"retry-after": "8"})], lambda request: request.path == "/flaky")
    scene.machine.hold(name)
    scene.fires(name)
    wait_until(lambda: told(scene, "machine", [name]), 30, "it is under way")
    wait_until(lambda: scene.unhealthy("destination"), 30, "the other one has failed once")
    hub.shift(HOUR if number % 2 == 0 else 0)
    at = time.monotonic()
    if scene.url.startswith("sqlite"):
        wait_until(lambda: hub.log.read_text().count("the clock jumped") > number, 30, "the hub has seen it")
    scene.fires(later)
    wait_until(lambda: told(scene, "machine", [later]), FREEZE, "what comes later is told")
    scene.machine.release()
    wait_until(lambda: told(scene, "machine/flaky", [name, later]), FREEZE, "what waited is tried again")
    seconds = time.monotonic() - at
    scene.rest()
    return seconds


def first_word(database: str, times: int) -> Row:
    """The first that happens after a jump, before the hub has looked at its clock, is a new alert; and so it is after the jump
    back. It is told at once."""
    with stage(database, "machine", hubs=0, machine=Held) as scene:
        hub = scene.add(FakedHub(scene.config())).start()
        late = [word_once(scene, hub, number) for number in range(times * 2)]
        verdict = scene.verdict()
        verdict.say("F12", [f"not told within {max(late):.0f} s"] if max(late) >= SOON else [])
        return Row(f"a new alert first after a jump of an hour: told within {max(late):.1f} s", times * 2, LINE, verdict)


def word_once(scene: Stage, hub: FakedHub, number: int) -> float:
    scene.rest()
    hub.shift(HOUR if number % 2 == 0 else 0)
    name = f"First{number}y"
    scene.fires(name)
    at = time.monotonic()
    with suppress(AssertionError):      # it is the verdict's
        wait_until(lambda: told(scene, "machine", [name]), SOON, "it is told")
    return time.monotonic() - at


def skewed(database: str, times: int) -> Row:
    """One replica is right, the other one 90 s ahead or behind. What one has under way the other leaves alone."""
    with stage(database, "machine", hubs=0, machine=Held) as scene:
        scene.add().start()
        for number in range(times * 2):
            wrong = scene.add(FakedHub(scene.config(), SKEW if number % 2 == 0 else -SKEW)).start()
            for turn, first_asked in enumerate((scene.hub, wrong)):
                hold_at(scene, f"Skew{number}x{turn}y", [first_asked, *({scene.hub, wrong} - {first_asked})])
            wrong.stop()
        how = f"a replica {SKEW} s ahead, then {SKEW} s behind, while one of both delivers"
        return Row(how, times * 4, "", scene.verdict())


def hold_at(scene: Stage, name: str, hubs: list[Any]) -> None:
    """What one of them has under way, while both look for work."""
    scene.machine.hold(name)
    scene.until_taken({name: "firing"}, hubs=hubs[:1])
    wait_until(lambda: told(scene, "machine", [name]), 30, "it is under way")
    others = [f"{name}beside{number}y" for number in range(len(hubs))]
    for other, hub in zip(others, hubs, strict=True):
        scene.until_taken({other: "firing"}, hubs=[hub])
    wait_until(lambda: told(scene, "machine", others), 30, "both work on")
    scene.machine.release()
    scene.rest()
