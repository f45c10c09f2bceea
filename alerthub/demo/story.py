"""The story: four alerts, what the hub does about each, and how three of them end.

Nothing is told as done that was not seen: at the agent, at the counterparts, or in the hub's own API. Every wait has an end.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

import httpx

from alerthub.clock import Clock
from alerthub.demo.alerts import AGENT, DRIFT, ETL, LATENCY, REWARD, StoryAlert, webhook
from alerthub.demo.screen import Screen
from alerthub.demo.witness import Witness
from alerthub.errors import AlerthubError
from alerthub.outbound import NO_ANSWER

T = TypeVar("T")
PATIENCE = 20.0     # seconds for one thing to happen; normally it takes a few tenths, and two where a channel has a budget
LOOK = 0.1          # seconds between two looks when nothing arrives
PAUSE = 1.5         # seconds for the reader, between two acts
TRY = '{"alerts":[{"labels":{"alertname":"MyFirst","severity":"warning"}}]}'


@dataclass(frozen=True, slots=True)
class Cast:
    """Where everything is."""

    hub: str
    agent: str
    folder: Path


@dataclass(frozen=True, slots=True)
class Act:
    """One alert: what is told before, who must hear of it, and by which actions something must be done."""

    alert: StoryAlert
    headline: str
    rule: str
    wanted: str
    counterparts: Sequence[str]
    actions: Sequence[str]


ACTS = (
    Act(REWARD, "The agent loses money", "a mean below 0 over 24 hours",
        "the agent in safe mode and a mail to the risk team; and for PagerDuty, because it is critical",
        ("email", "pagerduty"), ("safe-mode",)),
    Act(LATENCY, "The agent is slow", "a p95 above 500 ms",
        "a message in Telegram and a call of the autoscaler; and for PagerDuty, because it is critical",
        ("telegram", "pagerduty"), ("autoscale",)),
    Act(ETL, "The data pipeline fails", "more than 5 % failures in an hour",
        "a message in Slack and a retry in Prefect", ("slack",), ("prefect-retry",)),
    Act(DRIFT, "A feature drifts", "a p-value below 0.01",
        "a warning in the model registry and a retraining; and for Slack, because it is a warning",
        ("slack",), ("queue-retraining", "registry-warning")),
)
ENDING = (REWARD, LATENCY, ETL)     # of DRIFT the end comes only with a retrained model


class Story:
    """Told once, on a stage that stands. `patience`: seconds that one thing may take. `press`: how a person presses a button of
    the message about an incident in Telegram; False when there is none."""

    def __init__(self, cast: Cast, screen: Screen, witness: Witness, http: httpx.AsyncClient, clock: Clock,
                 patience: float = PATIENCE, press: Callable[[str, int], bool] = lambda label, number: False) -> None:
        self.cast, self.screen, self.witness, self.http, self.clock = cast, screen, witness, http, clock
        self.patience, self.press = patience, press
        self.numbers: dict[str, int] = {}
        self.began: dict[str, datetime] = {}

    async def tell(self) -> None:
        await self.introduce()
        for index, act in enumerate(ACTS, 1):
            await self.clock.sleep(PAUSE)
            await self.play(index, act)
        await self.clock.sleep(PAUSE)
        await self.end(len(ACTS) + 1)

    async def introduce(self) -> None:
        say = self.screen.say
        self.screen.headline("AlertHub: from an alert to the right people and to a safe agent")
        say("The hub here is the real one. What is around it is played by this program: Prometheus and Alertmanager, Slack, "
            "Telegram, a mail server, PagerDuty, Prefect, an autoscaler, a model registry, a training queue. "
            "Everything is on 127.0.0.1; no account is needed, and nothing leaves this machine. No rule is waited for: what "
            "Alertmanager would post is posted at once.")
        self.screen.blank()
        mode = await self.until("the toy agent to answer", self.mode)
        say(f"the hub     {self.cast.hub}/ (open it in a browser and watch)")
        say(f"the agent   {self.cast.agent}/metrics ({AGENT}, mode: {mode['mode']})")
        say(f"the files   {self.cast.folder}/ (removed at the end)")
        say("Ctrl-C ends it at any time.")

    # --- an alert begins ----------------------------------------------------------------------------------------------------

    async def play(self, index: int, act: Act) -> None:
        self.screen.headline(f"{index}. {act.headline}")
        await self.set_agent(act.alert.ill)
        await self.show_samples(act)
        with self.witness.held_back():
            number = await self.open(act)
            if act.alert is REWARD:
                await self.see_safe(number)
        await self.until(f"the actions {', '.join(act.actions)} of incident #{number}", lambda: self.acted(number, act.actions))
        await self.until(f"{', '.join(act.counterparts)} to be told of incident #{number}",
                         lambda: self.told(number, act.counterparts))
        self.screen.seen(f"Everybody is told, and it is in the history of incident #{number}: "
                         f"{' and '.join(act.actions)} succeeded.")
        if act.alert is LATENCY:
            await self.see_acknowledged(number, act.counterparts)

    async def see_acknowledged(self, number: int, counterparts: Sequence[str]) -> None:
        """A person answers in one channel, and the others show it."""
        self.screen.say("Ayse presses Acknowledge below the message in Telegram; the hub polls for that, so no port is open.")
        if not self.press("Acknowledge", number):
            raise AlerthubError(f"the demo finds no button to acknowledge incident #{number} in Telegram")
        incident = await self.until(f"incident #{number} to be acknowledged", lambda: self.acknowledged(number))
        await self.until(f"{', '.join(counterparts)} to be told who has incident #{number}",
                         lambda: self.told(number, counterparts))
        self.screen.seen(f"Incident #{number} is acknowledged by {incident['acknowledged_by']}, in every channel.")

    async def show_samples(self, act: Act) -> None:
        """What Prometheus would scrape: the lines are read from the agent."""
        answer = await self.ask("GET", f"{self.cast.agent}/metrics")
        self.screen.say("What Prometheus reads from the agent:")
        for line in answer.text.splitlines():
            if line.startswith(act.alert.samples):
                self.screen.shown(line)
        self.screen.say(f"The rule {act.alert.name} ({act.rule}) fires, and Alertmanager posts it. The configuration of the hub "
                        f"asks for {act.wanted}.")

    async def open(self, act: Act) -> int:
        """Post the alert and see its incident; the number of that."""
        alert = act.alert
        self.began[alert.name] = self.clock.now()
        await self.post(webhook(alert, self.began[alert.name]))
        self.screen.seen("The hub answers 200, because the alert is stored. It would survive a crash now."
                         if alert is REWARD else "The hub answers 200.")
        incident = await self.until(f"an incident for {alert.name}", lambda: self.opened(alert))
        number = self.numbers[alert.name] = int(incident["number"])
        self.screen.seen(f"Incident #{number} is open: {incident['title']}, {incident['severity']}.")
        return number

    async def see_safe(self, number: int) -> None:
        mode = await self.until("the agent to be in safe mode", self.safe)
        self.screen.seen(f"The agent says of itself: mode {mode['mode']}.")
        runs = await self.until("the hub to verify that the agent is safe", lambda: self.acted(number, ("safe-mode",)))
        self.screen.seen(f"The hub has verified it: {runs[0]['report']['detail']}. Going safe waits for nobody; going back is "
                         "for people to decide.")

    # --- and ends -----------------------------------------------------------------------------------------------------------

    async def end(self, index: int) -> None:
        self.screen.headline(f"{index}. It ends")
        self.screen.say("The figures of the agent are good again, and Alertmanager posts that the first three alerts are "
                        "resolved. What can be edited is edited, so that nobody reads an old state.")
        for alert in ENDING:
            await self.set_agent(alert.well)
            await self.post(webhook(alert, self.began[alert.name], self.clock.now()))
        for act in ACTS:
            if act.alert in ENDING:
                await self.see_resolved(act)
        for alert in ENDING:
            self.screen.seen(f"Incident #{self.numbers[alert.name]} is resolved: {alert.name}.")
        await self.see_still_safe()
        incidents = await self.get("/api/v1/incidents?status=open") or {}
        for incident in incidents.get("items", ()):
            self.screen.seen(f"Incident #{incident['number']} stays open, until its alert ends too: {incident['title']}.")

    async def see_still_safe(self) -> None:
        mode = await self.until("the agent to be in safe mode still", self.safe)
        self.screen.seen(f"The agent is still in mode {mode['mode']}: the end of an alert never releases it, people do.")

    async def see_resolved(self, act: Act) -> None:
        number = self.numbers[act.alert.name]
        await self.until(f"incident #{number} to be resolved", lambda: self.resolved(number))
        await self.until(f"{', '.join(act.counterparts)} to be told that incident #{number} is resolved",
                         lambda: self.told(number, act.counterparts))

    async def stay_open(self) -> None:
        """Until it is cancelled."""
        self.screen.headline("The demo stays open")
        self.screen.say("What is open, what has been, and one incident with its history and its runbook:")
        self.screen.shown(f"{self.cast.hub}/")
        self.screen.shown(f"{self.cast.hub}/?status=all")
        self.screen.shown(f"{self.cast.hub}/incidents/{self.numbers[REWARD.name]}")
        self.screen.say("An alert of your own, from another terminal; it is a warning, so it comes up in Slack:")
        self.screen.shown(f"curl {self.cast.hub}/hooks/alertmanager -d '\n{TRY}'")
        self.screen.say("Ctrl-C ends the demo and removes everything.")
        self.screen.blank()
        await asyncio.Event().wait()

    # --- looking ------------------------------------------------------------------------------------------------------------

    async def until(self, what: str, look: Callable[[], Awaitable[T | None]]) -> T:
        """What `look` finds. Raises AlerthubError when it finds nothing for too long."""
        try:
            async with asyncio.timeout(self.patience):
                while not (found := await look()):
                    await self.witness.news(LOOK)
        except TimeoutError:
            raise AlerthubError(f"the demo has waited {self.patience:.0f} s in vain for {what}") from None
        return found

    async def ask(self, method: str, url: str, **what: Any) -> httpx.Response:
        """Raises AlerthubError when nobody answers."""
        try:
            return await self.http.request(method, url, **what)
        except NO_ANSWER as error:
            raise AlerthubError(f"{url} does not answer ({type(error).__name__})") from None

    async def get(self, path: str) -> dict[str, Any] | None:
        answer = await self.ask("GET", f"{self.cast.hub}{path}")
        return dict(answer.json()) if answer.status_code == 200 else None

    async def opened(self, alert: StoryAlert) -> dict[str, Any] | None:
        listed = await self.get("/api/v1/incidents?status=open") or {}
        for item in listed.get("items", ()):
            incident = await self.get(f"/api/v1/incidents/{item['number']}")
            if incident and any(one["labels"]["alertname"] == alert.name for one in incident["alert_list"]):
                return incident
        return None

    async def acted(self, number: int, names: Sequence[str]) -> list[dict[str, Any]] | None:
        """The runs, when all of these actions have succeeded."""
        incident = await self.get(f"/api/v1/incidents/{number}") or {}
        runs = [run for run in incident.get("actions", ()) if run["state"] == "succeeded"]
        return runs if sorted(run["action"] for run in runs) == sorted(names) else None

    async def told(self, number: int, counterparts: Sequence[str]) -> bool | None:
        """Whether each of these channels has all of the incident: the hub says so, and the counterpart has seen it."""
        incident = await self.get(f"/api/v1/incidents/{number}")
        if incident is None:
            return None
        newest = max(event["seq"] for event in incident["events"])
        up_to_date = {one["destination"].partition(":")[0] for one in incident["deliveries"]
                      if one["state"] == "sent" and one["up_to_seq"] == newest}
        return up_to_date == set(counterparts) and all(self.witness.last(name, number) for name in counterparts)

    async def resolved(self, number: int) -> bool:
        incident = await self.get(f"/api/v1/incidents/{number}") or {}
        return incident.get("status") == "resolved"

    async def acknowledged(self, number: int) -> dict[str, Any] | None:
        incident = await self.get(f"/api/v1/incidents/{number}") or {}
        return incident if incident.get("status") == "acknowledged" else None

    async def mode(self) -> dict[str, Any]:
        return dict((await self.ask("GET", f"{self.cast.agent}/mode")).json())

    async def safe(self) -> dict[str, Any] | None:
        mode = await self.mode()
        return mode if mode["mode"] == "safe" else None

    # --- doing --------------------------------------------------------------------------------------------------------------

    async def set_agent(self, values: Mapping[str, Any]) -> None:
        self.taken(await self.ask("POST", f"{self.cast.agent}/set", json=dict(values)))

    async def post(self, body: bytes) -> None:
        """Through the hub's own door. Raises AlerthubError when it is not taken."""
        self.taken(await self.ask("POST", f"{self.cast.hub}/hooks/alertmanager", content=body,
                                  headers={"Content-Type": "application/json"}))

    @staticmethod
    def taken(answer: httpx.Response) -> None:
        if answer.status_code != 200:
            raise AlerthubError(f"{answer.url} answers {answer.status_code}: {answer.text[:200]}")
