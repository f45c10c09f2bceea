"""F16 to F18: storms, bodies that went wrong, and senders that never finish their request."""

from __future__ import annotations

import json
import random
import socket
import statistics
import time
from collections.abc import Iterator
from contextlib import ExitStack
from functools import cache

from sqlalchemy import func, select

from alerthub.store.schema import incidents
from tests.faults.providers import rows
from tests.kit.binaries import wait_until
from tests.kit.faults.checker import Allowed
from tests.kit.faults.record import Sent
from tests.kit.faults.stage import HOOK_TOKEN, Stage, memory, post_once, stage
from tests.kit.faults.table import Row
from tests.kit.webhooks import alert, webhook
from tests.sources.contract import PAYLOADS
from tests.sources.mutate import ODD, RAW, parent_of, places

HEALTHY_WITHIN = 1.0        # seconds, p99: F18
CLOSED_WITHIN = 30.0        # F18
TAKEN_WITHIN = 2.0          # F16, of a webhook of 1,000 alerts
STORM_MEMORY = 200.0        # MiB more than before: F16
ANSWERS = {200, 400, 413, 503}


# -- F16

def storms(database: str, times: int) -> Row:
    """One group of 1,000 alerts, then `times` groups of one, then annotations of 20 MB; 10,000 alerts in one webhook in the long
    form."""
    with stage(database, "slack", "machine") as scene:
        before = memory(scene.hub)
        seconds = [timed(scene, webhook(*(alert("Group", host=f"h{number}") for number in range(1000)))) for _ in range(5)]
        scene.recorder.note(Sent(time.time(), {"Group": "firing"}, 200))
        names = [f"Single{number:04}y" for number in range(times)]
        scene.fires(*names, at_once=8)
        wide = alert("Wide")
        wide["annotations"] = {"description": "x" * 20_000_000}
        took = timed(scene, webhook(wide))
        scene.recorder.note(Sent(time.time(), {"Wide": "firing"}, 200))
        if times >= 1000:
            timed(scene, webhook(*(alert("Huge", host=f"h{number}") for number in range(10_000))))
            scene.recorder.note(Sent(time.time(), {"Huge": "firing"}, 200))
        scene.rest(400)
        grown = memory(scene.hub) - before
        verdict = scene.verdict(Allowed(mebibytes=before + STORM_MEMORY))
        verdict.say("F16", [f"1,000 alerts took {max(seconds):.1f} s"] if max(seconds) > TAKEN_WITHIN else [])
        posts = len(scene.slack.in_channels)
        return Row(f"1,000 alerts in a group ({max(seconds):.2f} s), {times} groups, 20 MB of annotations ({took:.1f} s): "
                   f"{grown:+.0f} MiB, {posts} messages in Slack", times + 6, "", verdict)


def timed(scene: Stage, body: object) -> float:
    """Until it is taken."""
    content = json.dumps(body).encode()
    began = time.monotonic()
    wait_until(lambda: post_once(scene.hub.port, content, 60) == 200, 60, "it is taken")
    return time.monotonic() - began


# -- F17

@cache
def real() -> list[bytes]:
    return [path.read_bytes() for path in sorted(PAYLOADS.glob("alertmanager*.json"))]


def spoiled(dice: random.Random) -> bytes:
    """A real body with up to three of its values changed, and in half of the cases one of its bytes."""
    value = json.loads(dice.choice(real()))
    for _ in range(dice.randrange(4)):
        paths = [path for path in places(value) if len(path) < 8]
        if not paths:
            break
        path = dice.choice(paths)
        parent, change = parent_of(value, path), dice.randrange(3)
        if change == 0:
            del parent[path[-1]]
        elif change == 1:
            parent[path[-1]] = json.loads(json.dumps(dice.choice(ODD)))
        elif isinstance(parent, list):
            parent.append(json.loads(json.dumps(parent[path[-1]])))
    body = json.dumps(value, ensure_ascii=dice.random() < 0.5).encode("utf-8", "surrogatepass")
    if dice.random() < 0.5:
        return body
    at = dice.randrange(len(body) + 1)
    return body[:at] + dice.choice([*RAW, b""]) + body[at + dice.choice([0, 1, 2, 50]):]


def fuzzed(database: str, times: int) -> Row:
    """So many spoiled bodies over real connections: each is taken or refused clearly, and what was taken can be read back."""
    dice = random.Random(5)
    answers: dict[int, int] = {}
    with stage(database, "machine") as scene:
        for body in pipelined(scene, (spoiled(dice) for _ in range(times))):
            answers[body] = answers.get(body, 0) + 1
        wait_until(scene.hub.is_quiet, 600, "the hub comes to rest")
        verdict = scene.verdict(Allowed(unsolicited=True))
        verdict.say("F17", [f"answers {answers}"] if set(answers) - ANSWERS else [])
        errors = scene.hub.metric("alerthub_errors_total")
        verdict.say("F17", [f"{errors:.0f} errors of ours"] if errors else [])
        stored = rows(scene.url, select(func.count()).select_from(incidents))[0][0]
        assert len(scene.hub.incidents()) == stored > 0
        counts = ", ".join(f"{answer}: {count:,}" for answer, count in sorted(answers.items()))
        return Row(f"{times:,} mutated bodies ({counts})", times, "400 with a reason; quarantine", verdict)


def pipelined(scene: Stage, bodies: Iterator[bytes]) -> Iterator[int]:
    """Each over the same connection while it stays open; the statuses."""
    connection, reader = None, None
    for body in bodies:
        if connection is None:
            connection = socket.create_connection(("127.0.0.1", scene.hub.port), timeout=30)
            reader = connection.makefile("rb")
        connection.sendall(head(len(body)) + body)
        assert reader is not None
        status = int(reader.readline().split()[1])
        headers = {}
        while (line := reader.readline().strip()):
            name, _, value = line.partition(b":")
            headers[name.lower()] = value.strip()
        reader.read(int(headers.get(b"content-length", b"0")))
        yield status
        if headers.get(b"connection") == b"close":
            connection.close()
            connection = None
    if connection is not None:
        connection.close()


def head(length: int) -> bytes:
    return (f"POST /hooks/alertmanager HTTP/1.1\r\nhost: hub\r\nauthorization: Bearer {HOOK_TOKEN}\r\n"
            f"content-type: application/json\r\ncontent-length: {length}\r\n\r\n").encode()


# -- F18

def slowloris(database: str, times: int) -> Row:
    """So many connections with half a request line, half a head, or half a body, and healthy senders beside them. Of each, how
    long the hub keeps it."""
    halves = {"nothing": b"", "half a head": head(1000)[:60], "half a body": head(1000) + b"{"}
    with stage(database, "machine") as scene, ExitStack() as stack:
        hung = []
        for number in range(times):
            connection = stack.enter_context(socket.create_connection(("127.0.0.1", scene.hub.port), timeout=10))
            connection.sendall(list(halves.values())[number % 3])
            hung.append(connection)
        began = time.monotonic()
        for number in range(100):
            scene.fires(f"Healthy{number:03}y")
        seconds = sorted(one.seconds for one in scene.recorder.entries() if isinstance(one, Sent))
        scene.rest()
        verdict = scene.verdict(Allowed())
        verdict.say("F18", [f"p99 of healthy senders {seconds[98]:.2f} s"] if seconds[98] > HEALTHY_WITHIN else [])
        kept = {}
        for place, name in enumerate(halves):
            kept[name] = closed_after(hung[place::3], began)
        still = ", ".join(f"{name}: {'open' if after is None else f'closed after {after:.0f} s'}" for name, after in kept.items())
        verdict.say("F18", (f"{name}: still open after {CLOSED_WITHIN:.0f} s" for name, after in kept.items() if after is None))
        return Row(f"{times} connections that never finish ({still}); healthy p50 {statistics.median(seconds) * 1000:.0f} ms, "
                   f"p99 {seconds[98] * 1000:.0f} ms", times, "", verdict)


def closed_after(connections: list[socket.socket], began: float) -> float | None:
    """When the hub had closed all of them; None when it had not in time."""
    for connection in connections:
        connection.settimeout(max(0.01, CLOSED_WITHIN - (time.monotonic() - began)))
        try:
            while connection.recv(65536):
                pass
        except TimeoutError:
            return None
        except OSError:
            continue
    return time.monotonic() - began
