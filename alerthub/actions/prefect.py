"""Run a Prefect 3 deployment, or retry a failed flow run: at most once, and believed only when the server shows it.

Accepted is not executed: without a worker a run stays SCHEDULED for ever, and the report says so (PROTOCOLS 6.1).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal, Self
from urllib.parse import quote

from pydantic import AfterValidator, BaseModel, Field, model_validator

from alerthub.actions.base import ActionSettings, ActionWire, Call, Outcome, ParameterName, Report
from alerthub.actions.deadline import Deadline
from alerthub.actions.prefect_api import (
    ENDED_BADLY,
    WAITING,
    Api,
    Conversation,
    PrefectTarget,
    Tried,
    Verdict,
    beginning,
    check_retriable,
    identity,
    rows,
    state_of,
)
from alerthub.errors import ActionFailed, ActionUnknown

DEFAULT_TARGET = "prefect"
NAMES = re.compile(r"[^/%&<>\x00-\x1f\x7f]{1,200}/[^/%&<>\x00-\x1f\x7f]{1,200}")     # Prefect allows none of these in a name
FLOW_RUN = r"^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$"
SEEN = {"scheduled": ("SCHEDULED", "PENDING", "RUNNING", "COMPLETED"), "running": ("RUNNING", "COMPLETED"),
        "completed": ("COMPLETED",)}


def check_deployment(name: str) -> str:
    if not NAMES.fullmatch(name) or {".", ".."} & set(name.split("/")):
        raise ValueError("write flow/deployment, as `prefect deployment ls` shows it")
    return name


class PrefectSettings(ActionSettings):
    """`deployment` is run; or the flow run that the label `retry` names is retried. `wait_for` is what must be seen."""

    needs_target: ClassVar[bool] = False

    type: Literal["prefect"] = "prefect"
    deployment: Annotated[str, AfterValidator(check_deployment)] | None = None
    retry: ParameterName | None = Field(default=None, min_length=1)
    wait_for: Literal["scheduled", "running", "completed"] = "scheduled"

    @model_validator(mode="before")
    @classmethod
    def take_the_label(cls, data: Any) -> Any:
        """The label that names the flow run is one that is passed on, and only an id passes."""
        if not isinstance(data, dict) or not isinstance(label := data.get("retry"), str) or data.get("labels"):
            return data
        return {"pattern": FLOW_RUN, **data, "labels": [label]}

    @model_validator(mode="before")
    @classmethod
    def take_the_target(cls, data: Any) -> Any:
        """Where there is one server, its target is called `prefect` and need not be named."""
        if not isinstance(data, dict) or any(data.get(key) for key in ("target", "targets", "target_label")):
            return data
        return {**data, "target": DEFAULT_TARGET}

    @model_validator(mode="after")
    def check_either(self) -> Self:
        if (self.deployment is None) == (self.retry is None):
            raise ValueError("give deployment (which is run), or retry (the label that names a flow run), one of the two")
        if self.retry is not None and (self.parameters or self.labels != (self.retry,)):
            raise ValueError("a retried flow run keeps its own parameters; remove parameters and labels")
        return self


@dataclass(slots=True)
class Seen:
    """What one run has learnt so far: its evidence."""

    path: str = ""
    body: Mapping[str, Any] = field(default_factory=dict)
    done: dict[str, Any] = field(default_factory=dict)
    look: dict[str, Any] = field(default_factory=dict)
    flow_run: str = ""
    how: str = ""
    state: str = ""
    word: str = ""

    def described(self) -> str:
        """The state in the server's words, and that nothing runs yet when that is so."""
        shown = self.state if self.word.upper() in ("", self.state) else f"{self.state} ({self.word})"
        return f"{shown or 'in no state that it tells'}{', not executed yet' if self.state in WAITING else ''}"


class Prefect:
    kind: ClassVar[str] = "prefect"
    Config: ClassVar[type[BaseModel]] = PrefectSettings
    Target: ClassVar[type[BaseModel] | None] = PrefectTarget
    # The same idempotency key never makes a second flow run. A retry has no such key: when it was broken off, it is only
    # looked for, never asked for again.
    resumable: ClassVar[bool] = True

    def __init__(self, config: PrefectSettings, target: PrefectTarget | None, wire: ActionWire) -> None:
        """Raises ValueError for a target of another type, and for none."""
        if not isinstance(target, PrefectTarget):
            raise ValueError(f"the action {config.name} acts on targets of type prefect only; write target: and the name of one, "
                             f"or call one {DEFAULT_TARGET}: {{name: prefect, type: prefect, url: http://host:4200/api}}")
        self._config, self._api = config, Api(target, wire)

    def _conversation(self, call: Call) -> Conversation:
        return Conversation(self._api, call, Deadline.of(call, self._config, self._api.clock))

    async def run(self, call: Call) -> Report:
        """Have it accepted, then look at the flow run until it is as far as `wait_for`, or the deadline passes."""
        talk, seen = self._conversation(call), Seen()
        try:
            await (self._create(talk, seen) if self._config.deployment is not None else self._retry(talk, seen))
            outcome, detail = await self._follow(talk, seen)
        except ActionFailed as error:
            outcome, detail = Outcome.failed, error.detail
        except ActionUnknown as error:
            outcome, detail = Outcome.unknown, f"{error.detail}; the server may have done it"
        return self._report(talk, seen, outcome, detail)

    async def rehearse(self, call: Call, *, ask: bool) -> Report:
        """What would be posted; in a dry run the deployment, or the flow run, is looked up first."""
        talk, seen = self._conversation(call), Seen()
        try:
            if self._config.deployment is not None:
                self._address(talk, seen, await self._deployment(talk) if ask else f"(of {self._config.deployment})")
            else:
                flow_run, _ = self._address_retry(talk, seen)
                if ask:
                    check_retriable(await talk.read(f"/flow_runs/{flow_run}"), flow_run)
        except (ActionFailed, ActionUnknown) as error:
            return self._report(talk, seen, Outcome.failed, error.detail)
        return self._report(talk, seen, Outcome.succeeded, f"POST {self._api.shown(seen.path)}")

    # --- a deployment ---------------------------------------------------------------------------------------------------

    async def _create(self, talk: Conversation, seen: Seen) -> None:
        """One flow run, whose id is then in `seen`. It may be asked for again: the same key makes no second one."""
        key = self._address(talk, seen, await self._deployment(talk))
        is_doubtful = False
        while True:
            tried = await talk.attempt(seen.path, seen.body)
            if self._is_created(talk, tried, seen):
                return
            if tried.verdict in (Verdict.taken, Verdict.in_doubt):
                found_runs = await self._find(talk, seen, key)
                if seen.flow_run:
                    return
                is_doubtful |= found_runs is None or not tried.is_over
            if tried.verdict is Verdict.refused or not await talk.rest(tried.pause):
                raise not_done(is_doubtful, tried.obstacle)

    async def _deployment(self, talk: Conversation) -> str:
        flow, _, name = (self._config.deployment or "").partition("/")
        found = await talk.read(f"/deployments/name/{quote(flow, safe='')}/{quote(name, safe='')}")
        deployment = identity(found.get("id"))
        if deployment is None:
            raise ActionFailed("the server named no deployment; does the url of the target end in /api?")
        return deployment

    def _address(self, talk: Conversation, seen: Seen, deployment: str) -> str:
        """What is posted, and the key that makes it one flow run however often it is."""
        key = f"{deployment}/{talk.call.id}"     # the server compares keys within a flow, not within a deployment
        seen.path = f"/deployments/{deployment}/create_flow_run"
        seen.body = {"parameters": parameters_of(talk.call), "idempotency_key": key, "tags": tags_of(talk.call)}
        return key

    def _is_created(self, talk: Conversation, tried: Tried, seen: Seen) -> bool:
        if (answer := tried.answer) is None:
            return False
        seen.done = {"status": answer.status, "body": talk.excerpt(answer)}
        found = identity((answer.json() or beginning(answer)).get("id"))
        if tried.verdict is not Verdict.taken or found is None:
            return False
        seen.flow_run = found
        seen.how = "was created" if answer.status == 201 else "existed already, with the same idempotency key"
        return True

    async def _find(self, talk: Conversation, seen: Seen, key: str) -> int | None:
        """Look the flow run up by its key, its answer being lost. How many there are; None when the server does not say."""
        wanted = {"flow_runs": {"idempotency_key": {"any_": [key]}}, "limit": 1}
        tried = await talk.attempt("/flow_runs/filter", wanted)
        found = rows(tried.answer) if tried.answer is not None else None
        if found and (flow_run := identity(found[0].get("id"))) is not None:
            seen.flow_run, seen.how = flow_run, "was created: the answer was lost, and it was found by its key"
        return None if found is None else len(found)

    # --- a flow run -----------------------------------------------------------------------------------------------------

    async def _retry(self, talk: Conversation, seen: Seen) -> None:
        """Schedule a failed flow run anew. What may have been accepted is never asked for again."""
        flow_run, mark = self._address_retry(talk, seen)
        if not talk.call.resumed:
            check_retriable(await talk.read(f"/flow_runs/{flow_run}"), flow_run)
            if await self._is_accepted(talk, seen):
                seen.flow_run, seen.how = flow_run, "is retried"
                return
        await self._find_mark(talk, flow_run, mark)
        seen.flow_run, seen.how = flow_run, "is retried: the answer was lost, and the retry was found among its states"

    def _address_retry(self, talk: Conversation, seen: Seen) -> tuple[str, str]:
        """What is posted: the flow run, and the mark by which our retry is found among its states."""
        flow_run = identity(talk.call.parameters.get(self._config.retry or ""))
        if flow_run is None:
            raise ActionFailed(f"refused: the label {self._config.retry} is not the id of a flow run")
        mark = f"AlertHub run {talk.call.id}, {tags_of(talk.call)[-1]}"
        seen.path = f"/flow_runs/{flow_run}/set_state"
        seen.body = {"state": {"type": "SCHEDULED", "name": "AwaitingRetry", "message": mark}, "force": False}
        return flow_run, mark

    async def _is_accepted(self, talk: Conversation, seen: Seen) -> bool:
        """False when that is in doubt. A status of 200 says nothing: the body does (PROTOCOLS 6.1)."""
        while True:
            tried = await talk.attempt(seen.path, seen.body)
            said = tried.answer.json() if tried.answer is not None else {}
            if tried.answer is not None:
                seen.done = {"status": tried.answer.status, "body": talk.excerpt(tried.answer)}
            if tried.verdict is Verdict.taken and said.get("status") in ("ACCEPT", "REJECT", "ABORT", "WAIT"):
                if said["status"] == "ACCEPT":
                    return True
                details = said.get("details")
                reason = talk.said(details.get("reason")) if isinstance(details, dict) else ""
                raise ActionFailed(f"the server answered {said['status']}: {reason}".rstrip(": "))
            if tried.verdict in (Verdict.taken, Verdict.in_doubt):
                return False
            if tried.verdict is Verdict.refused or not await talk.rest(tried.pause):
                raise ActionFailed(tried.obstacle)

    async def _find_mark(self, talk: Conversation, flow_run: str, mark: str) -> None:
        """Look for our own state among those of the flow run, until the deadline. Raises ActionUnknown when it is not there."""
        while True:
            try:
                states = rows(await talk.ask("GET", f"/flow_run_states/?flow_run_id={flow_run}"))
            except (ActionFailed, ActionUnknown):
                states = None
            if any(state.get("message") == mark for state in states or ()):
                return
            if not await talk.rest():
                cause = "the hub stopped while it ran" if talk.call.resumed else "no answer to the retry came back"
                raise ActionUnknown(f"{cause}, and the retry is not among the states of the flow run")

    # --- verified -------------------------------------------------------------------------------------------------------

    async def _follow(self, talk: Conversation, seen: Seen) -> tuple[Outcome, str]:
        wanted = self._config.wait_for
        while True:
            await self._look(talk, seen)
            detail = f"the flow run {seen.flow_run} {seen.how}; it is {seen.described()}"
            if seen.state in ENDED_BADLY:
                return Outcome.failed, detail
            if seen.state in SEEN[wanted]:
                return Outcome.succeeded, detail
            if not await talk.rest():
                return Outcome.unknown, f"{detail}; it was not seen {wanted} before the deadline"

    async def _look(self, talk: Conversation, seen: Seen) -> None:
        """What the server says of the flow run now. A look that fails is no news."""
        try:
            answer = await talk.ask("GET", f"/flow_runs/{seen.flow_run}")
        except (ActionFailed, ActionUnknown) as error:
            seen.look = {"error": error.detail}
            return
        state, word = state_of(answer.json()) if answer.status == 200 else ("", "")
        if state:
            seen.state, seen.word = state, talk.said(word)
        seen.look = {"status": answer.status, "state": seen.state, "name": seen.word} if state else {
            "status": answer.status, "body": talk.excerpt(answer)}

    def _report(self, talk: Conversation, seen: Seen, outcome: Outcome, detail: str) -> Report:
        request = {
            "method": "POST", "url": self._api.shown(seen.path), "body": self._api.exchange.recorded(seen.body),
            "csrf": bool(talk.csrf), "requests": talk.asked, **self._api.credentials,
        }
        answer = {"done": seen.done, "look": seen.look, "flow_run": seen.flow_run}
        return Report(outcome, detail, request, answer, seen.described() if seen.state else "")


def parameters_of(call: Call) -> dict[str, str | int | float | bool]:
    """Flat scalars only: the server evaluates objects that hold `__prefect_kind`, templates and variables among them."""
    if any(name.startswith("__") or not isinstance(value, str | int | float | bool) for name, value in call.parameters.items()):
        raise ActionFailed("refused: a parameter is not a plain text, number or truth value")
    return dict(call.parameters)


def tags_of(call: Call) -> list[str]:
    return ["alerthub", f"incident-{call.number}"]


def not_done(is_doubtful: bool, obstacle: str) -> ActionFailed | ActionUnknown:
    return ActionUnknown(obstacle) if is_doubtful else ActionFailed(f"not done: {obstacle}")
