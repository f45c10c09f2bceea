"""Where a fault is played: one database, the counterparts, one or more hubs that are real processes, senders that come again as
Alertmanager does, and the recorder that sees all of it."""

from __future__ import annotations

import hashlib
import http.client
import itertools
import json
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from tests.kit.binaries import wait_until
from tests.kit.faults.checker import Allowed, Verdict, in_database, judged
from tests.kit.faults.record import Fault, Life, Noticed, Recorder, Seen, Sent, read_machine, read_pagerduty, read_slack
from tests.kit.forked_hub import ForkedHub
from tests.kit.hub_process import HubProcess
from tests.kit.providers.pagerduty import FakePagerDuty
from tests.kit.providers.receiver import FakeReceiver
from tests.kit.providers.slack import FakeSlack
from tests.kit.served import served
from tests.kit.stores import database
from tests.kit.webhooks import alert, webhook

SIGNING = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwOdF3aX8hYc4="
ROUTING_KEY = "0123456789abcdef0123456789abcdef"
SLACK_TOKEN = "xoxb-canary-7f3a9d51c2e8"
HOOK_TOKEN = "hook-canary-51c2e87f3a9d"
SECRETS = (SIGNING.removeprefix("whsec_"), ROUTING_KEY, SLACK_TOKEN, HOOK_TOKEN)
EVERYWHERE = ("slack", "pagerduty", "machine")
REFUSED, BROKEN = 0, -1
PATIENCE = 10.0         # seconds that a sender waits for an answer, as Alertmanager's default does
CONFIG = """
server: {{listen: "${{HUB_LISTEN}}"}}
database: {{url: "{database}"}}
sources: [{{name: alertmanager, type: alertmanager, token: {token}}}]
global: {{slack_bot_token: {slack.token}, slack_base_url: "{slack.base_url}", pagerduty_url: "{pagerduty.enqueue_url}"}}
receivers:
  - name: people
{tells}
route: {{receiver: people, group_by: [alertname]}}
{more}
"""


@dataclass(frozen=True, slots=True)
class Script:
    """`tells`: who is told of every alert: slack, pagerduty, machine; `slack#ops` is another channel and `machine/slow` another
    path. `more`: further blocks of alerthub.yml. `timeout`: of a webhook. `machine`: what receives webhooks."""

    tells: Sequence[str] = EVERYWHERE
    more: str = ""
    timeout: str = "10s"
    machine: type[FakeReceiver] = FakeReceiver


class Stage:
    """`hub` is the first of `hubs`."""

    def __init__(self, url: str, folder: Path, script: Script) -> None:
        self.url, self.folder, self.script = url, folder, script
        self.recorder = Recorder(folder / "record.jsonl")
        self.slack, self.pagerduty = FakeSlack(SLACK_TOKEN), FakePagerDuty(ROUTING_KEY)
        self.machine = script.machine(SIGNING)
        self.hubs: list[HubProcess] = []
        self.recorder.watch(self.slack, "slack", read_slack)
        self.recorder.watch(self.pagerduty, "pagerduty", read_pagerduty)
        self.recorder.watch(self.machine, "machine", read_machine)

    @property
    def hub(self) -> Any:
        return self.hubs[0]

    def config(self, url: str = "") -> str:
        """The text of alerthub.yml; `url`: by which way this hub reaches the database."""
        blocks: dict[str, list[str]] = defaultdict(list)
        for name in self.script.tells:
            if name.startswith("slack"):
                blocks["slack"].append(f'{{channel: "{name.removeprefix("slack") or "#alerts"}"}}')
            elif name == "pagerduty":
                blocks["pagerduty"].append(f"{{routing_key: {ROUTING_KEY}}}")
            else:
                place = f"{self.machine.url}/{name.partition('/')[2] or 'in'}"
                blocks["webhook"].append(f'{{url: "{place}", secret: {SIGNING}, timeout: {self.script.timeout}}}')
        tells = "\n".join(f"    {kind}_configs: [{', '.join(entries)}]" for kind, entries in blocks.items())
        return CONFIG.format(database=url or self.url, token=HOOK_TOKEN, tells=tells, more=self.script.more,
                             slack=self.slack, pagerduty=self.pagerduty)

    def add(self, hub: HubProcess | None = None, url: str = "") -> Any:
        """Another replica, not started yet."""
        self.hubs.append(hub or ForkedHub(self.config(url)))
        return self.hubs[-1]

    def close(self) -> None:
        for hub in self.hubs:
            hub.close()

    # -- senders

    def send(self, statuses: dict[str, str], hubs: Iterable[HubProcess] = (), **labels: str) -> int:
        """One webhook, once, to the first of these hubs; its answer."""
        hub = next(iter(hubs), self.hubs[0])
        body = webhook(*(alert(name, status, **labels) for name, status in statuses.items()))
        began, at = time.monotonic(), time.time()
        answer = post_once(hub.port, json.dumps(body).encode())
        self.recorder.note(Sent(at, statuses, answer, time.monotonic() - began))
        return answer

    def until_taken(self, statuses: dict[str, str], seconds: float = 60.0, hubs: Sequence[HubProcess] = ()) -> list[int]:
        """As Alertmanager does it: again after everything but a 2xx, here at the next replica. All answers."""
        turns = itertools.cycle(hubs or self.hubs)
        answers: list[int] = []

        def is_taken() -> bool:
            answers.append(self.send(statuses, [next(turns)]))
            return answers[-1] == 200
        wait_until(is_taken, seconds, f"{sorted(statuses)[:3]} is answered 200, not {answers[-5:]}")
        return answers

    def fires(self, *names: str, status: str = "firing", at_once: int = 1) -> list[int]:
        """Each in a webhook of its own, so many senders beside each other."""
        with ThreadPoolExecutor(at_once) as senders:
            found = senders.map(lambda name: self.until_taken({name: status}), names)
            return [answer for answers in found for answer in answers]

    # -- what comes of it

    def rest(self, seconds: float = 60.0) -> None:
        """Everybody has been told everything: then the hub that is up is quiet."""
        hub = next(hub for hub in self.hubs if hub.process is not None)
        wait_until(lambda: self.knows_all() and hub.is_quiet(), seconds, "the hub comes to rest")

    def knows_all(self) -> bool:
        """Nothing waits in the database to be told but dead letters."""
        ended, wrong = in_database(self.url)
        return not wrong and not any(one.untold for one in ended)

    def seen(self) -> list[Seen]:
        return [one for one in self.recorder.entries() if isinstance(one, Seen)]

    def address(self, name: str) -> str:
        """Of a path of the machine, as the hub names it."""
        url = f"{self.machine.url}/{name.partition('/')[2] or 'in'}"
        return f"127.0.0.1:{self.machine.port}/{hashlib.sha256(url.encode()).hexdigest()[:8]}"

    def begins(self, what: str) -> None:
        self.recorder.note(Fault(time.time(), what))

    def ends(self, what: str) -> None:
        self.recorder.note(Fault(time.time(), what, is_over=True))

    def notice(self, what: str, sees: Callable[[], str], seconds: float = 60.0) -> str:
        """Wait until an operator can see it; `sees` says where and what, or nothing yet."""
        found = wait_until(sees, seconds, f"{what} is visible")
        self.recorder.note(Noticed(time.time(), what, found))
        return found

    def unhealthy(self, component: str, hub: HubProcess | None = None) -> str:
        """What /health says of a component that is not healthy; empty while it is, or is not there."""
        parts = (hub or self.hub).get("/health").json()["components"]
        found = [f"/health: {name} {part['status']}: {part['detail']}" for name, part in parts.items()
                 if name.startswith(component) and part["status"] != "healthy"]
        return "; ".join(found)

    def verdict(self, allowed: Allowed | None = None) -> Verdict:
        """Of all that has happened here; the hubs still run."""
        for hub in self.hubs:
            has_died = hub.process is not None and hub.process.poll() is not None
            self.recorder.note(Life(time.time(), memory(hub), has_died))
        outputs = {f"the log of hub {number}": hub.log.read_text(errors="replace") for number, hub in enumerate(self.hubs)}
        for path in ("/metrics", "/health", "/", "/api/v1/incidents?limit=200", "/api/v1/deliveries?limit=200"):
            outputs[path] = next(hub for hub in self.hubs if hub.process is not None).get(path).text
        ended, wrong = in_database(self.url)
        found = judged(self.recorder.entries(), ended, self.script.tells, allowed, outputs, SECRETS)
        found.say("record", wrong)
        found.say("P6", (f"hub {number} has a traceback in its log" for number, hub in enumerate(self.hubs)
                         if "Traceback (most recent" in outputs[f"the log of hub {number}"]))
        return found

    def started(self, hubs: int = 1) -> Self:
        for hub in [self.add() for _ in range(hubs)]:
            hub.start()
        return self


@contextmanager
def stage(kind: str = "sqlite", *tells: str, hubs: int = 1, url: str = "", **script: Any) -> Iterator[Stage]:
    """With so many hubs running on a new database of this kind, or on the one at `url`."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ah-")))
        found = Stage(url or stack.enter_context(database(kind, folder)), folder,
                      Script(tells or EVERYWHERE, **script))
        stack.enter_context(served(found.slack, found.pagerduty, found.machine))
        stack.callback(found.close)
        yield found.started(hubs)


def post_once(port: int, body: bytes, seconds: float = PATIENCE, path: str = "/hooks/alertmanager") -> int:
    """The status; REFUSED when there was no connection, BROKEN when there was one and no status came."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=seconds)
    answer = REFUSED
    try:
        connection.connect()
        answer = BROKEN
        connection.request("POST", path, body, {
            "authorization": f"Bearer {HOOK_TOKEN}", "content-type": "application/json", "connection": "close"})
        response = connection.getresponse()
        response.read()
        answer = response.status
    except (OSError, http.client.HTTPException):
        pass        # what it is then is the answer
    finally:
        connection.close()
    return answer


def memory(hub: HubProcess) -> float:
    """MiB at its highest; 0 for one that does not run."""
    if hub.process is None or hub.process.poll() is not None:
        return 0.0
    with open(f"/proc/{hub.process.pid}/status", encoding="ascii") as status:
        high = [line for line in status if line.startswith("VmHWM")]
    return int(high[0].split()[1]) / 1024 if high else 0.0
