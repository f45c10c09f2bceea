"""F2, F13, F19, F23: replicas that are replaced, paused or cut off, and a hub that is away while senders go on."""

from __future__ import annotations

import itertools
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from tests.faults.providers import done_and, told
from tests.kit.binaries import wait_until
from tests.kit.faults.checker import Allowed
from tests.kit.faults.proxy import Wire
from tests.kit.faults.stage import BROKEN, REFUSED, Stage, stage
from tests.kit.faults.table import Row
from tests.kit.forked_hub import ForkedHub
from tests.kit.passed_time import end_leases
from tests.kit.served import served

DRAIN_WITHIN = 25.0         # seconds: F2
BUSY_WITHIN = 2.5           # the promise is 2 s, on a machine that has nothing else to do
SENDERS = 8
NEWS_EVERY = 10             # webhooks of one sender: then its next alert begins, and the last one but two ends
LEASE = 30.0
MORE = 100          # answers between a stop and the next start
WIRED = ("slack", "machine")


class Load:
    """Senders that each speak of alerts of their own, so many webhooks a second in all, through what balances the load: what one
    replica refuses or does not answer, the next one is asked."""

    def __init__(self, scene: Stage, name: str, rate: float) -> None:
        self.scene, self.name, self.pause = scene, name, SENDERS / rate
        self.answers: Counter[int] = Counter()
        self.slowest = 0.0
        self.stopped = threading.Event()

    def sender(self, number: int) -> None:
        turns = itertools.cycle(self.scene.hubs[number % 2:] + self.scene.hubs[:number % 2])
        for count in itertools.count():
            if self.stopped.wait(self.pause):
                return
            news = count // NEWS_EVERY
            statuses = {f"{self.name}{number}x{news}y": "firing"}
            if news > 1 and count % NEWS_EVERY == 0:
                statuses[f"{self.name}{number}x{news - 2}y"] = "resolved"
            self.post(statuses, turns)

    def post(self, statuses: dict[str, str], turns: Iterator[ForkedHub]) -> None:
        answer = 0
        while answer != 200:
            began = time.monotonic()
            answer = self.scene.send(statuses, [next(turns)])
            self.slowest = max(self.slowest, time.monotonic() - began)
            self.answers[answer] += 1
            if answer not in (200, REFUSED) and self.stopped.wait(0.1):
                began = time.monotonic()

    def goes_on(self) -> None:
        """Wait for some more answers."""
        goal = sum(self.answers.values()) + MORE
        wait_until(lambda: sum(self.answers.values()) >= goal, 30, "the load goes on")

    @contextmanager
    def running(self) -> Iterator[None]:
        with ThreadPoolExecutor(SENDERS) as pool:
            senders = [pool.submit(self.sender, number) for number in range(SENDERS)]
            try:
                yield
            finally:
                self.stopped.set()
                for one in senders:
                    one.result(60)


def rolling_restart(database: str, times: int) -> Row:
    """F2: 200 webhooks a second; `times` times, one after the other gets SIGTERM and is started again."""
    with stage(database, "machine", hubs=2) as scene:
        load = Load(scene, "Roll", 200)
        drains = []
        with load.running():
            for turn in range(times * 2):
                hub = scene.hubs[turn % 2]
                load.goes_on()
                began = time.monotonic()
                hub.stop()
                drains.append(time.monotonic() - began)
                load.goes_on()
                hub.start()
        scene.rest(120)
        verdict = scene.verdict()
        # The kernel may have taken a connection that nobody will read any more: its sender comes again, as after a refusal.
        cut = load.answers[BROKEN] if load.answers[BROKEN] > times * 2 else 0
        verdict.say("F2", [f"answers {dict(load.answers)}"] if cut or set(load.answers) - {200, 503, REFUSED, BROKEN} else [])
        verdict.say("F2", [f"a drain took {max(drains):.1f} s"] if max(drains) > DRAIN_WITHIN else [])
        counts = ", ".join(f"{WORDS.get(answer, answer)}: {count}" for answer, count in sorted(load.answers.items()))
        return Row(f"rolling SIGTERM of 2 replicas at 200 webhooks/s ({counts}; slowest drain {max(drains):.1f} s)", times * 2,
                   "log: alerthub has stopped", verdict)


WORDS = {REFUSED: "refused", BROKEN: "cut off"}


def doubled_senders(database: str, times: int) -> Row:
    """F13: the same webhook a hundred times at once, to both replicas."""
    with stage(database, "slack", "machine", "pagerduty", hubs=2) as scene:
        for number in range(times):
            with ThreadPoolExecutor(16) as pool:
                said = {f"Twice{number}": "firing"}
                answers = list(pool.map(lambda turn, said=said: scene.until_taken(said, hubs=scene.hubs[turn % 2:]), range(100)))
            assert all(found[-1] == 200 for found in answers)
        scene.rest()
        return Row("the same webhook 100 times at once, at 2 replicas", times, "", scene.verdict())


def paused(database: str, times: int) -> Row:
    """F19: SIGSTOP in the midst of a delivery. Its lease ends, the other replica goes on, and then it wakes up."""
    with stage(database, "machine", hubs=1, timeout="2s") as scene:
        first, second = scene.hub, scene.add()
        for number in range(times):
            pause_once(scene, f"Pause{number}y", first, second, real=times > 2 and number == 0)
        scene.rest(120)
        verdict = scene.verdict(Allowed(extra=times))
        return Row("SIGSTOP in a delivery, past its lease, then SIGCONT", times, "log: held up for too long", verdict)


def pause_once(scene: Stage, name: str, first: ForkedHub, second: ForkedHub, real: bool) -> None:
    """`real`: the lease ends by itself, after twice its time; else it is ended."""
    done_and(scene.machine, 1, hang=True)
    scene.until_taken({name: "firing"}, hubs=[first])
    wait_until(lambda: told(scene, "machine", [name]), 30, "it is under way")
    os.kill(first.pid, signal.SIGSTOP)
    at = time.monotonic()
    second.start()
    if real:
        wait_until(lambda: time.monotonic() - at > 2 * LEASE, 3 * LEASE, "twice the lease is over")
    else:
        end_leases(scene.url, f"/{first.pid}/")
    wait_until(lambda: sum(one.text == name for one in scene.seen()) > 1, 30, "the other has sent it again")
    scene.until_taken({name: "resolved"}, hubs=[second])
    wait_until(lambda: [one for one in scene.seen() if one.text == name and one.status == "resolved"], 30, "its end is told")
    os.kill(first.pid, signal.SIGCONT)
    wait_until(first.is_ready, 30, "it goes on")
    wait_until(first.is_quiet, 60, "and has nothing to say")
    second.stop()


def split(database: str, times: int) -> Row:
    """F19: the way between one replica and the database is silent, in the midst of a delivery; then it is back."""
    with stage(database, *WIRED, hubs=0) as scene:
        wire = Wire(scene.url)
        with served(wire):
            cut_off, other = scene.add(url=wire.url).start(), scene.add().start()
            slowest, sees = 0.0, ""
            for number in range(times):
                name = f"Split{number}y"
                scene.until_taken({name: "firing"}, hubs=[cut_off])
                wire.pause()
                scene.begins("database")
                at = time.monotonic()
                answer = scene.send({f"Silent{number}y": "firing"}, [cut_off])
                slowest = max(slowest, time.monotonic() - at)
                assert answer == 503, answer
                sees = scene.notice("database", lambda: scene.unhealthy("database", cut_off))
                scene.until_taken({f"Silent{number}y": "firing", name: "resolved"}, hubs=[other])
                end_leases(scene.url, f"/{cut_off.pid}/")
                wire.go_on()
                scene.until_taken({f"After{number}y": "firing"}, hubs=[cut_off])
            scene.rest(120)
            verdict = scene.verdict(Allowed(extra=2 * times))
            verdict.say("F19", [f"503 took {slowest:.1f} s"] if slowest > BUSY_WITHIN else [])
            return Row("the way to the database silent for one of two replicas", times, sees, verdict)


def away(database: str, times: int) -> Row:
    """F23: the hub is down while `times` alerts fire, some of them end, and their sender comes again and again."""
    with stage(database, "slack", "machine", "pagerduty") as scene:
        scene.fires("Before")
        scene.rest()
        scene.hub.stop()
        names = [f"Away{number:03}y" for number in range(times)]
        with ThreadPoolExecutor(SENDERS) as pool:
            posts = [pool.submit(lambda one=name: (scene.until_taken({one: "firing"}, 120)), ) for name in names]
            wait_until(lambda: len(scene.recorder.entries()) > 2 * SENDERS, 30, "they are refused")
            scene.hub.start()
            for one in posts:
                one.result()
        scene.fires(*names[::2], status="resolved")
        scene.rest(120)
        told_in_slack = len(scene.slack.in_channels)
        verdict = scene.verdict()
        verdict.say("F23", [f"{told_in_slack} messages for {times} incidents"] if told_in_slack > 20 + times // 8 else [])
        return Row(f"hub down while {times} alerts fire: {told_in_slack} messages in Slack, summaries", times, "", verdict)
