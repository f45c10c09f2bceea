"""A toy trading agent, for the demonstration and for tests: metrics for Prometheus, and a mode that can be made safe.

It stands alone, as a user's agent would, and is also the shortest example of one that the hub can put into safe mode.
Its figures change only when somebody sets them: `POST /set` is open to all and belongs on no real agent.
"""

from __future__ import annotations

import binascii
import hashlib
import hmac
import json
import math
from base64 import b64decode
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Protocol

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

MODES = ("trading", "safe")
BUCKETS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5)      # one ends at 0.5 and one above it: a p95 around 500 ms is exact
TOLERANCE = timedelta(minutes=5)                # between the signer's clock and ours (Standard Webhooks)
BODY_BYTES = 64 * 1024
IDS_KEPT = 1_000
SINGLE = {
    "etl_flow_failure_total": ("counter", "ETL flow runs that failed."),
    "etl_flow_success_total": ("counter", "ETL flow runs that succeeded."),
    "rolling_reward": ("gauge", "Reward over the agent's rolling window."),
}
DRIFT, LATENCY = "feature_drift_ks_pvalue", "inference_latency_seconds"


class Clock(Protocol):
    def now(self) -> datetime: ...


@dataclass(slots=True)
class Push:
    """One request to change the mode that was understood. `is_repeat`: its id had been seen, so it changed nothing."""

    id: str
    mode: str
    reason: str
    is_repeat: bool


@dataclass(slots=True)
class ToyAgent:
    """Its state. With `token`, requests about the mode need that bearer; with `secret` (whsec_…), pushes need a
    signature. `obeys=False` answers 200 and changes nothing."""

    name: str = "btc"
    token: str = ""
    secret: str = ""
    obeys: bool = True
    mode: str = "trading"
    reason: str = ""
    pushes: list[Push] = field(default_factory=list)
    metrics: dict[str, float] = field(default_factory=lambda: dict.fromkeys(SINGLE, 0.0))
    drift: dict[str, float] = field(default_factory=lambda: {"spread": 0.5})
    latencies: list[float] = field(default_factory=list)
    seen: dict[str, str] = field(default_factory=dict)      # webhook-id → mode that it asked for

    def push(self, message_id: str, mode: str, reason: str) -> None:
        """The same id again changes nothing, also when the mode has been changed in between."""
        is_repeat = bool(message_id) and message_id in self.seen
        self.pushes.append(Push(message_id, mode, reason, is_repeat))
        if message_id and not is_repeat:
            self.seen[message_id] = mode
            if len(self.seen) > IDS_KEPT:
                del self.seen[next(iter(self.seen))]
        if self.obeys and not is_repeat:
            self.mode, self.reason = mode, reason

    def admits(self, headers: Mapping[str, str], body: bytes, now: datetime, *, signed: bool) -> bool:
        bearer = headers.get("authorization", "").encode()
        if self.token and not hmac.compare_digest(bearer, f"Bearer {self.token}".encode()):
            return False
        return not (signed and self.secret) or is_signed(self.secret, headers, body, now)

    def set_all(self, values: Any) -> None:
        """Raises ValueError at the first that does not fit."""
        if not isinstance(values, dict):
            raise ValueError("send an object of metrics and values")
        for name, value in values.items():
            self.set(name, value)

    def set(self, name: str, value: Any) -> None:
        """Raises ValueError for a name or a value that does not fit."""
        if name in SINGLE:
            self.metrics[name] = number(value)
        elif name == DRIFT and isinstance(value, dict):
            self.drift |= {feature: number(item) for feature, item in value.items()}
        elif name == LATENCY and isinstance(value, list):
            self.latencies += [number(item) for item in value]
        else:
            raise ValueError(f"no such metric, or not in this form: {name}")

    def exposition(self) -> str:
        """All metrics in Prometheus' text format."""
        return "\n".join([*self._lines(), ""])

    def _lines(self) -> Iterator[str]:
        agent = f'agent="{escaped(self.name)}"'
        for name, (kind, text) in SINGLE.items():
            yield from (f"# HELP {name} {text}", f"# TYPE {name} {kind}", f"{name}{{{agent}}} {written(self.metrics[name])}")
        yield from (f"# HELP {LATENCY} Time of one inference.", f"# TYPE {LATENCY} histogram")
        for bound in (*BUCKETS, math.inf):
            count = sum(1 for latency in self.latencies if latency <= bound)
            yield f'{LATENCY}_bucket{{{agent},le="{written(bound)}"}} {count}'
        yield f"{LATENCY}_sum{{{agent}}} {written(math.fsum(self.latencies))}"
        yield f"{LATENCY}_count{{{agent}}} {len(self.latencies)}"
        yield from (f"# HELP {DRIFT} P-value of the Kolmogorov-Smirnov test of a feature.", f"# TYPE {DRIFT} gauge")
        yield from (f'{DRIFT}{{{agent},feature="{escaped(feature)}"}} {written(value)}' for feature, value in self.drift.items())
        yield from ("# HELP agent_mode 1 for the mode that the agent is in.", "# TYPE agent_mode gauge")
        yield from (f'agent_mode{{{agent},mode="{mode}"}} {int(mode == self.mode)}' for mode in MODES)


def number(value: Any) -> float:
    """A JSON number, or one of the words nan, inf, -inf, which an agent that diverged reports."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError("not a number")
    return float(value)


def written(value: float) -> str:
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return "NaN" if math.isnan(value) else repr(float(value))


def escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")


def is_signed(secret: str, headers: Mapping[str, str], body: bytes, now: datetime) -> bool:
    """Whether one of the signatures is right and the time is near (Standard Webhooks). Odd headers are wrong, never an
    error."""
    message_id, timestamp = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    if not (message_id and timestamp.isascii() and timestamp.isdigit() and len(timestamp) <= 12):
        return False
    if abs(int(timestamp) - now.timestamp()) > TOLERANCE.total_seconds():
        return False
    key = b64decode(secret.removeprefix("whsec_"))
    wanted = hmac.digest(key, f"{message_id}.{timestamp}.".encode() + body, hashlib.sha256)
    return any(hmac.compare_digest(decoded(part), wanted) for part in headers.get("webhook-signature", "").split(" "))


def decoded(part: str) -> bytes:
    version, _, signature = part.partition(",")
    try:
        return b64decode(signature, validate=True) if version == "v1" else b""
    except (binascii.Error, ValueError):
        return b""


def read_push(body: bytes) -> tuple[str, str]:
    """Mode and reason. Raises ValueError for everything that is not understood."""
    value = json.loads(body)
    if not isinstance(value, dict) or value.get("mode") not in MODES or not isinstance(value.get("reason", ""), str):
        raise ValueError(f"send {{\"mode\": …, \"reason\": …}} with one of the modes {', '.join(MODES)}")
    return value["mode"], value.get("reason", "")


def app(agent: ToyAgent, clock: Clock) -> Starlette:
    """The agent's HTTP side. The clock judges the age of signatures."""

    def state() -> JSONResponse:
        return JSONResponse({"agent": agent.name, "mode": agent.mode, "reason": agent.reason, "pushes": len(agent.pushes)})

    async def metrics(request: Request) -> Response:
        return PlainTextResponse(agent.exposition(), media_type="text/plain; version=0.0.4; charset=utf-8")

    async def get_mode(request: Request) -> Response:
        if not agent.admits(request.headers, b"", clock.now(), signed=False):
            return JSONResponse({"error": "wrong credentials"}, 401)
        return state()

    async def post_mode(request: Request) -> Response:
        body = await request.body()
        if not agent.admits(request.headers, body, clock.now(), signed=True):
            return JSONResponse({"error": "wrong credentials"}, 401)
        try:
            mode, reason = read_push(body)
        except (ValueError, RecursionError) as error:
            return JSONResponse({"error": str(error)}, 400)
        agent.push(request.headers.get("webhook-id", ""), mode, reason)
        return state()

    async def post_set(request: Request) -> Response:
        try:
            agent.set_all(json.loads(await request.body()))
        except (ValueError, RecursionError) as error:
            return JSONResponse({"error": str(error)}, 400)
        return state()

    return Starlette(max_body_size=BODY_BYTES, routes=[
        Route("/metrics", metrics), Route("/mode", get_mode, methods=["GET"]), Route("/mode", post_mode, methods=["POST"]),
        Route("/set", post_set, methods=["POST"]),
    ])
