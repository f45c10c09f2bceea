"""A hub over which the whole API has something to say: incidents open and over, a dead letter, runs that wait, a latch, a freeze,
silences, overrides, a heartbeat, a permit, an account, a token, a report, and somebody's body that could not be read."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from alerthub.errors import Failure, SendFailed
from tests.kit.alerts import batch, firing, resolved
from tests.kit.clock import FakeClock
from tests.kit.hub import RunningHub, running_hub
from tests.kit.world import ScriptedChannel

TOKENS = {name: f"own-token-of-{name}-0001" for name in ("ayse", "emre")}
PERMIT = "0123456789abcdef"
CONFIG = f"""
sources: [{{name: alertmanager, type: alertmanager}}]
people:
  - {{name: ayse, role: approver, email: ayse@example.com, api_token: {TOKENS["ayse"]}}}
  - {{name: emre, role: admin, api_token: {TOKENS["emre"]}}}
schedules:
  - {{name: primary, time_zone: Europe/Istanbul, layers: [{{handoff: "mon 09:00", start: 2026-11-16, people: [ayse, emre]}}]}}
  - name: office hours
    layers:
      - {{people: [ayse], restrictions: [{{times: [{{start_time: "09:00", end_time: "18:00"}}], weekdays: ["monday:friday"]}}]}}
escalation_policies:
  - {{name: trading, steps: [{{notify: ["schedule:primary", "receiver:console"], wait: 5m}}], repeat: 1}}
receivers: [{{name: console, console_configs: [{{}}]}}]
targets:
  - {{name: drl, type: http, url: "http://127.0.0.1:9/"}}
  - {{name: agent-btc, type: agent, url: "http://127.0.0.1:9/", permit: {{secret: whsec_{"A" * 43}=, token: {PERMIT}}}}}
actions:
  - {{name: retrain, type: http, target: drl, approve: {{role: approver, count: 2, within: 15m}}}}
  - {{name: scale, type: http, target: drl, mode: shadow}}
  - {{name: safe-mode, type: safe_mode, direction: tighten, target_label: agent, deadline: 2s}}
heartbeats: [{{name: nightly, interval: 1d, receiver: console}}]
route:
  receiver: console
  group_by: [alertname]
  actions: [retrain, scale]
  routes: [{{matchers: ['agent!=""'], receiver: console, escalation_policy: trading, actions: [safe-mode]}}]
"""


@asynccontextmanager
async def lived_hub(clock: FakeClock) -> AsyncIterator[RunningHub]:
    async with running_hub(CONFIG, clock=clock) as hub:
        (told,) = hub.hub.rules.destinations().values()
        channel = ScriptedChannel(told)
        hub.hub.equipment.plant.channels[told.key] = channel  # type: ignore[index]
        await hub.hub.take(batch(firing("Drift", severity="critical", team="ml"), at=clock.now()))
        await hub.hub.take(batch(firing("AgentRewardNegative", agent="agent-btc", severity="critical"), at=clock.now()))
        await hub.hub.take(batch(firing("Over", severity="info"), at=clock.now()))
        await hub.drain()
        clock.advance(minutes=1)
        await hub.hub.take(batch(resolved("Over", severity="info", ends_at=clock.now()), at=clock.now()))
        await hub.drain()
        channel.broken = SendFailed(Failure.configuration, "the token was revoked")
        await hub.hub.take(batch(firing("Dead", severity="warning"), at=clock.now()))
        await hub.drain()
        channel.broken = None
        await hub.post(b"junk")
        client = hub.client
        await client.post("/api/v1/silences", json={"matchers": ['alertname="Drift"'], "duration": "4h", "comment": "known"})
        await client.post("/api/v1/silences", json={"matchers": ['host="gone"'], "duration": "1m"})
        await client.post("/api/v1/freezes", json={"action": "scale", "why": "the market is closed"})
        await client.post("/api/v1/schedules/primary/overrides", json={
            "person": "emre", "starts_at": "2026-11-23T09:00", "ends_at": "2027-11-23T18:00"})
        admin = {"authorization": f"Bearer {TOKENS['emre']}"}
        await client.post("/api/v1/accounts", json={"name": "selin", "role": "responder"}, headers=admin)
        await client.post("/api/v1/tokens", json={"name": "script", "scope": "respond"}, headers=admin)
        await client.put("/api/v1/incidents/1/report", json={"text": "# Drift"}, headers={"if-match": '"0"'})
        await hub.drain()
        yield hub
