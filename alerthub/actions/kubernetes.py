"""Restart a deployment, or set its number of pods, and believe only what the API server then says of it (PROTOCOLS 6.3).

Both are the same when they are done twice: a restart is dated with the creation of its run, a number is absolute (R-46).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar, Literal, Self

from pydantic import BaseModel, Field, model_validator

from alerthub.actions.base import ActionSettings, ActionWire, Call, Outcome, Report, Span
from alerthub.actions.deadline import Deadline
from alerthub.actions.exchange import Answer
from alerthub.actions.kubernetes_api import MERGE, STRATEGIC, Cluster, DeploymentTarget, Patch, part
from alerthub.actions.read_back import ASK_FOR, CONFLICT, ONE_REQUEST, Attempts, Found, persist, set_value
from alerthub.actions.rollout import Rollout, rollout
from alerthub.errors import ActionFailed, ActionUnknown

RESTARTED_AT = "kubectl.kubernetes.io/restartedAt"
LONGEST_DATE = 100                       # characters of a former date that the record keeps
FIRST_POLL, LONGEST_POLL = 0.5, 3.0      # seconds between looks at the rollout


class KubernetesSettings(ActionSettings):
    type: Literal["kubernetes"] = "kubernetes"
    do: Literal["restart", "scale"]
    replicas: int | None = Field(default=None, ge=0, strict=True)      # a text such as +2 would look relative
    deadline: Span = timedelta(minutes=5)        # pods take their time

    @model_validator(mode="after")
    def check_replicas(self) -> Self:
        if (self.do == "scale") != (self.replicas is not None):
            raise ValueError("do: scale needs replicas, the number of pods that it sets; do: restart has none")
        return self

    @model_validator(mode="after")
    def check_no_parameters(self) -> Self:
        if self.parameters or self.labels:
            raise ValueError("kubernetes takes neither parameters nor labels: nothing of an alert decides what it does")
        return self


@dataclass(slots=True)
class Evidence:
    """What one run has seen so far."""

    patch: Patch | None = None
    before: Any = None
    was_already: bool = False
    has_rehearsed: bool = False      # the dry run passed
    attempts: Attempts = field(default_factory=Attempts)
    polls: int = 0
    rollout: str = ""


class Work(ABC):
    """One change of the deployment."""

    def __init__(self, cluster: Cluster, call: Call, wanted: Any) -> None:
        self._cluster, self._call, self.wanted = cluster, call, wanted

    @abstractmethod
    async def look(self, until: Deadline) -> Found:
        """What it is now."""

    @abstractmethod
    async def check(self, found: Found, until: Deadline) -> None:
        """Raises ActionFailed when it must not be done."""

    @abstractmethod
    def patch(self, found: Found) -> Patch: ...

    @abstractmethod
    def told(self, before: Any) -> str:
        """What was done, in words."""

    def undo(self, before: Any) -> Mapping[str, Any]:
        """The request that brings back what was there; empty where there is no way back."""
        return {}

    def is_done(self, found: Found) -> bool:
        return bool(found.value == self.wanted)

    @abstractmethod
    def holds(self, deployment: Mapping[str, Any]) -> bool:
        """Whether the deployment shows that it was done, and that nobody has undone it."""

    async def send(self, found: Found, seconds: float) -> Answer:
        return await self._cluster.patch(self.patch(found), self._call.id, seconds)

    def meaning(self, answer: Answer) -> str:
        return self._cluster.meaning(answer)


class Restart(Work):
    """The date of the last restart, in the template of the pods: another date makes other pods. Whoever restarts it later
    brings new pods as well, so that undoes nothing."""

    def __init__(self, cluster: Cluster, call: Call) -> None:
        super().__init__(cluster, call, call.created_at.astimezone(UTC).isoformat().replace("+00:00", "Z"))

    async def look(self, until: Deadline) -> Found:
        deployment = await self._cluster.read(self._cluster.deployment_path, self._call.id, until, "Deployment")
        return Found(restarted_at(deployment), document=deployment)

    def is_done(self, found: Found) -> bool:
        """A run that is taken up again does not undo a later restart: its own may have been before that one."""
        return super().is_done(found) or (self._call.resumed and is_later(found.value, self._call.created_at))

    async def check(self, found: Found, until: Deadline) -> None:
        if part(found.document, "spec").get("paused"):
            raise ActionFailed(f"refused: the deployment is paused, so nothing would happen; kubectl rollout resume "
                               f"deployment/{self._cluster.name} first")
        if part(found.document, "spec").get("replicas", 1) == 0:
            raise ActionFailed(f"refused: there is nothing to restart, it is scaled to 0; kubectl scale "
                               f"deployment/{self._cluster.name} --replicas=N first")

    def patch(self, found: Found) -> Patch:
        body = {"spec": {"template": {"metadata": {"annotations": {RESTARTED_AT: self.wanted}}}}}
        return Patch(self._cluster.deployment_path, STRATEGIC, body)

    def holds(self, deployment: Mapping[str, Any]) -> bool:
        date = restarted_at(deployment)
        return bool(date == self.wanted) or is_later(date, self._call.created_at)

    def told(self, before: Any) -> str:
        return "restarted"


class Scale(Work):
    """The number of pods that shall be, set with what was read just before: a change by somebody else is a conflict."""

    async def look(self, until: Deadline) -> Found:
        scale = await self._cluster.read(self._cluster.scale_path, self._call.id, until, "Scale")
        replicas, version = part(scale, "spec").get("replicas", 0), part(scale, "metadata").get("resourceVersion")
        if type(replicas) is not int or not isinstance(version, str):
            raise ActionFailed("not done: the API server does not say how many pods there shall be")
        return Found(replicas, version)

    async def check(self, found: Found, until: Deadline) -> None:
        if owner := await self._cluster.autoscaler(self._call.id, until):
            raise ActionFailed(f"refused: the autoscaler {owner} owns the number of pods and would undo it; change its limits")

    def patch(self, found: Found) -> Patch:
        body = {"metadata": {"resourceVersion": found.version}, "spec": {"replicas": self.wanted}}
        return Patch(self._cluster.scale_path, MERGE, body)

    def holds(self, deployment: Mapping[str, Any]) -> bool:
        return bool(part(deployment, "spec").get("replicas", 1) == self.wanted)

    def told(self, before: Any) -> str:
        return f"scaled from {before} to {self.wanted}"

    def undo(self, before: Any) -> Mapping[str, Any]:
        back = Patch(self._cluster.scale_path, MERGE, {"spec": {"replicas": before}})
        return {"how": f"{self._cluster.kubectl} scale deployment/{self._cluster.name} --replicas={before}",
                **self._cluster.recorded(back)}


class Kubernetes:
    kind: ClassVar[str] = "kubernetes"
    Config: ClassVar[type[BaseModel]] = KubernetesSettings
    Target: ClassVar[type[BaseModel] | None] = DeploymentTarget
    resumable: ClassVar[bool] = True     # dated with the run, and absolute: done twice is done once

    def __init__(self, config: KubernetesSettings, target: DeploymentTarget | None, wire: ActionWire) -> None:
        """Raises ValueError for a target of another type, and for a number of pods that it does not allow."""
        if not isinstance(target, DeploymentTarget):
            raise ValueError(f"the action {config.name} acts on targets of type kubernetes only")
        if config.replicas is not None:
            check_limits(config.replicas, target)
        self._config, self._replicas, self._clock = config, config.replicas, wire.clock
        self._cluster = Cluster(target, wire)

    async def run(self, call: Call) -> Report:
        """Read, rehearse, do it, and watch the rollout until it is done or the deadline passes."""
        seen, work, end = Evidence(), self._work(call), Deadline.of(call, self._config, self._clock)
        try:
            await self._do(work, call, seen, end)
            await self._watch(work, call, seen, end)
        except ActionFailed as error:
            return self._report(Outcome.failed, error.detail, seen, work)
        except ActionUnknown as error:
            return self._report(Outcome.unknown, error.detail, seen, work)
        told = "it was already so" if seen.was_already else work.told(seen.before)
        return self._report(Outcome.succeeded, f"{told}: {seen.rollout}", seen, work)

    async def rehearse(self, call: Call, *, ask: bool) -> Report:
        """The patch; in a dry run the API server is asked with `dryRun=All` whether it would take it."""
        seen, work = Evidence(), self._work(call)
        if not ask:
            seen.patch = work.patch(Found(None, "(as it is then)"))
            return self._report(Outcome.succeeded, f"PATCH {seen.patch.path}", seen)
        try:
            await self._prepare(work, call, seen, Deadline.of(call, self._config, self._clock).within(ASK_FOR))
        except (ActionFailed, ActionUnknown) as error:
            return self._report(Outcome.failed, error.detail, seen)
        now = "it is already so" if seen.was_already else "the API server would take it"
        return self._report(Outcome.succeeded, f"{work.told(seen.before)}: {now}", seen)

    def _work(self, call: Call) -> Work:
        return Restart(self._cluster, call) if self._replicas is None else Scale(self._cluster, call, self._replicas)

    async def _do(self, work: Work, call: Call, seen: Evidence, end: Deadline) -> None:
        until = end.within(ASK_FOR)
        found = await self._prepare(work, call, seen, until)
        if not seen.was_already:
            await set_value(work, found, self._clock, until, end, seen.attempts)

    async def _prepare(self, work: Work, call: Call, seen: Evidence, until: Deadline) -> Found:
        """All that comes before it, and changes nothing."""
        found = await work.look(until)
        seen.before, seen.was_already, seen.patch = found.value, work.is_done(found), work.patch(found)
        if seen.was_already:
            return found
        await work.check(found, until)
        found = await self._dry(work, call, found, until)
        seen.has_rehearsed, seen.patch = True, work.patch(found)
        return found

    async def _dry(self, work: Work, call: Call, found: Found, until: Deadline) -> Found:
        """A dry run tells of missing rights and of admission before anything changes. A conflict is read again, once."""
        answer = await self._dry_run(work, call, found, until)
        if answer.status == CONFLICT:
            again = await work.look(until)
            if again.value != found.value:
                raise ActionFailed(f"not done: somebody else changes it at the same time; it is {again.value} now")
            answer, found = await self._dry_run(work, call, again, until), again
        if not 200 <= answer.status < 300:
            raise ActionFailed(f"not done, refused in the dry run: {work.meaning(answer)}")
        return found

    async def _dry_run(self, work: Work, call: Call, found: Found, until: Deadline) -> Answer:
        patch = work.patch(found)
        return await persist(lambda seconds: self._cluster.patch(patch, call.id, seconds, is_dry=True), self._clock, until)

    async def _watch(self, work: Work, call: Call, seen: Evidence, end: Deadline) -> None:
        """Returns when the rollout is done. Raises ActionFailed when it is stuck, ActionUnknown when it is not done in time."""
        wait, seen.rollout = FIRST_POLL, "the deadline had passed before anybody looked"
        while (rest := end.left()) > 0:
            if await self._is_rolled_out(work, call, seen, min(ONE_REQUEST, rest)):
                return
            if (rest := end.left()) <= 0:
                break
            await self._clock.sleep(min(wait, rest))
            wait = min(LONGEST_POLL, wait * 1.5)
        raise ActionUnknown(f"{work.told(seen.before)}, but not finished before the deadline: {seen.rollout}")

    async def _is_rolled_out(self, work: Work, call: Call, seen: Evidence, seconds: float) -> bool:
        seen.polls += 1
        try:
            answer = await self._cluster.ask("GET", self._cluster.deployment_path, b"", call.id, seconds)
            deployment = self._cluster.understood(answer, "Deployment")
        except (ActionFailed, ActionUnknown) as error:
            seen.rollout = f"it cannot be read back ({error.detail})"
            return False
        state, seen.rollout = rollout(deployment)
        if not work.holds(deployment):
            raise ActionUnknown("it was accepted, but the deployment does not show it: not done, or undone by somebody else")
        if state is Rollout.stuck:
            raise ActionFailed(f"{work.told(seen.before)}, but the rollout is stuck: {seen.rollout}")
        return state is Rollout.done

    def _report(self, outcome: Outcome, detail: str, seen: Evidence, work: Work | None = None) -> Report:
        before = self._cluster.clean(seen.before)[:LONGEST_DATE] if isinstance(seen.before, str) else seen.before
        request = {**(self._cluster.recorded(seen.patch) if seen.patch is not None else {}), "before": before,
                   "was_already": seen.was_already, "dry_run_passed": seen.has_rehearsed, "patches": seen.attempts.sent}
        rollout = self._cluster.clean(seen.rollout)
        undo = work.undo(seen.before) if work is not None and seen.attempts.sent else {}
        return Report(outcome, self._cluster.clean(detail), request, {"polls": seen.polls, "rollout": rollout}, rollout, undo)


def check_limits(replicas: int, target: DeploymentTarget) -> None:
    if target.max is None:
        raise ValueError(f"replicas: the target {target.name} has no max; give it the largest number of pods that may be")
    if not target.min <= replicas <= target.max:
        raise ValueError(f"replicas is {replicas}; the target {target.name} allows {target.min} to {target.max}")


def restarted_at(deployment: Mapping[str, Any]) -> Any:
    return part(part(part(part(deployment, "spec"), "template"), "metadata"), "annotations").get(RESTARTED_AT)


def is_later(date: Any, than: datetime) -> bool:
    """Whether an annotation names a time after this one."""
    try:
        moment = datetime.fromisoformat(date) if isinstance(date, str) else None
    except ValueError:
        return False
    return moment is not None and moment.tzinfo is not None and moment > than
