"""The recorder: everything that senders posted and counterparts saw, one JSON line each, appended to a file as it happens.

What a line means is the checker's; here is only how a request of each provider is read.
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from tests.kit.providers.http import Answer, FakeProvider, Request
from tests.kit.providers.slack import CHANNEL, visible

SLACK_WORDS = (("RESOLVED", "resolved"), ("ACKNOWLEDGED", "acknowledged"), ("FIRING", "triggered"))
SUMMARY_LINE = re.compile(r"^#\d+ (RESOLVED|critical|error|warning|info): (\S+)", re.MULTILINE)
PAGERDUTY_WORDS = {"trigger": "triggered", "acknowledge": "acknowledged", "resolve": "resolved"}


@dataclass(frozen=True, slots=True)
class Sent:
    """One webhook posted to the hub, and its answer; none is below 1."""

    at: float
    status: Mapping[str, str]       # by alert name: firing, resolved
    answer: int
    seconds: float = 0.0
    kind: str = "sent"


@dataclass(frozen=True, slots=True)
class Seen:
    """One request that a counterpart read. `taken`: it did what it was asked for, whether or not it could say so."""

    at: float
    to: str
    text: str               # what names the incident
    status: str             # triggered, acknowledged, resolved
    call: str = ""          # post, edit, thread; trigger …
    id: str = ""            # what the receiver may drop doubles by
    episode: int = 0
    is_marked: bool = False     # it says itself that it may be a double
    taken: bool = True
    answer: str = "200"
    kind: str = "seen"


@dataclass(frozen=True, slots=True)
class Fault:
    """Something of this name is broken from now on, and must be visible soon; or, with `is_over`, no longer."""

    at: float
    what: str
    is_over: bool = False
    kind: str = "fault"


@dataclass(frozen=True, slots=True)
class Noticed:
    """Where an operator could first see the fault: in /health, a metric, the log, another channel."""

    at: float
    what: str
    where: str
    kind: str = "noticed"


@dataclass(frozen=True, slots=True)
class Life:
    """A process at its end: its highest memory, and whether it ended although nobody asked it to."""

    at: float
    mebibytes: float
    has_died: bool = False
    kind: str = "life"


Entry = Sent | Seen | Fault | Noticed | Life
KINDS: dict[str, type[Entry]] = {"sent": Sent, "seen": Seen, "fault": Fault, "noticed": Noticed, "life": Life}


class Recorder:
    """Appends, never rewrites; every line is in the file when `note` returns. For any thread."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lock = threading.Lock()
        path.touch()

    def note(self, entry: Entry) -> None:
        line = json.dumps(asdict(entry)) + "\n"
        with self.lock, self.path.open("a", encoding="utf-8") as file:
            file.write(line)

    def watch(self, provider: FakeProvider, name: str, reading: Any) -> None:
        """From now on, note what this provider is asked. `reading(request)` gives the fields of Seen that it knows, for each
        incident that it tells of; `to` too where the provider is several destinations."""

        def witness(request: Request, answer: Answer) -> None:
            for found in reading(request):
                place = {"to": name, **found}
                self.note(Seen(time.time(), taken=is_taken(answer), answer=said(answer), **place))

        provider.witness = witness

    def entries(self) -> list[Entry]:
        return list(entries(self.path.read_text(encoding="utf-8").splitlines()))


def entries(lines: Iterable[str]) -> Iterator[Entry]:
    for line in lines:
        found = json.loads(line)
        kind = KINDS[found["kind"]]
        yield kind(**{field.name: found[field.name] for field in fields(kind)})


def is_taken(answer: Answer) -> bool:
    """A healthy provider's own word for it. Then the answer may still be lost on its way."""
    if not 200 <= answer.status < 300 or not isinstance(answer.body, Mapping):
        return False
    body = answer.body
    is_slacks = body.get("ok") is True and ("ts" in body or "result" in body)
    return is_slacks or body.get("status") in ("accepted", "success")


def said(answer: Answer) -> str:
    how = [name for name in ("drop", "hang", "drip") if getattr(answer, name)]
    return how[0] if how else str(answer.status)


def read_slack(request: Request) -> list[dict[str, Any]]:
    """Of a summary, each line that names an incident."""
    if not request.path.startswith("/api/chat."):
        return []
    sent = request.json()
    text = visible(sent)
    status = next((status for word, status in SLACK_WORDS if word in text), "")
    call = "edit" if request.path.endswith("update") else "thread" if "thread_ts" in sent else "post"
    to = f"slack{sent['channel']}" if sent["channel"] not in ("#alerts", CHANNEL) else "slack"
    known = {"to": to, "call": call, "is_marked": "may be a duplicate" in text}
    if named := SUMMARY_LINE.findall(text):
        return [{**known, "text": title, "status": "resolved" if word == "RESOLVED" else "triggered"} for word, title in named]
    return [{**known, "text": text, "status": status}]


def read_machine(request: Request) -> list[dict[str, Any]]:
    """A receiver of Standard Webhooks; its paths but for the first are destinations of their own."""
    data = request.json()["data"]
    incident = data["incident"]
    to = request.path.replace("/", "machine/").replace("/in", "")
    return [{"to": to, "text": incident["title"], "status": incident["status"], "call": "post",
             "id": request.headers["webhook-id"], "episode": incident["episode"], "is_marked": data["possible_duplicate"]}]


def read_pagerduty(request: Request) -> list[dict[str, Any]]:
    event = request.json()
    return [{"text": event.get("payload", {}).get("summary", ""), "status": PAGERDUTY_WORDS[event["event_action"]],
             "call": event["event_action"], "id": event["dedup_key"]}]
