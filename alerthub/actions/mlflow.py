"""Set a tag or an alias in MLflow's registry, and believe only what it then says of itself (PROTOCOLS 6.2).

The registry has no compare-and-set: what was there before is read first and kept in the record, so that people can go back.
"""

from __future__ import annotations

import posixpath
import re
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, model_validator

from alerthub.actions.base import ActionSettings, ActionWire, Call, Outcome, ParameterName, Report
from alerthub.actions.deadline import Deadline
from alerthub.actions.exchange import Answer
from alerthub.actions.mlflow_api import Registry, RegistryTarget, tag_of
from alerthub.actions.read_back import ASK_FOR, Attempts, Found, set_value
from alerthub.domain.wording import clip
from alerthub.errors import ActionFailed, ActionUnknown

LONGEST_KEY, LONGEST_VALUE, LONGEST_ALIAS = 250, 100_000, 255
LATEST = "latest"               # MLflow's own alias; it can be read and not set
VERSION_ALIAS = re.compile(r"[vV]\d+")
SHOWN = 200                     # characters of a value in a text; the record keeps it whole


def check_model(name: str) -> str:
    if not name.strip() or any(sign in name for sign in "/:") or posixpath.normpath(name) != name or name in (".", ".."):
        raise ValueError("not a name of a model: no / and no : in it")
    return name


def check_found_alias(alias: str) -> str:
    """One to find a version by: `latest` is among them."""
    if not re.fullmatch(r"[\w-]+", alias) or len(alias) > LONGEST_ALIAS:
        raise ValueError("an alias has letters, digits, _ and - only, at most 255")
    return alias


def check_alias(alias: str) -> str:
    if check_found_alias(alias).lower() == LATEST or VERSION_ALIAS.fullmatch(alias):
        raise ValueError("MLflow keeps latest, and v with a number, for itself; choose another alias")
    return alias


def check_key(key: str) -> str:
    if not re.fullmatch(r"[\w .:/-]+", key) or posixpath.normpath(key) != key or key.startswith(("/", "..")):
        raise ValueError("the name of a tag has letters, digits, spaces and _ - . : / only, and is no path such as /a or a//b")
    return key


def as_text(value: Any) -> Any:
    return str(value) if type(value) is int else value


TagKey = Annotated[str, Field(max_length=LONGEST_KEY), AfterValidator(check_key)]
TagValue = Annotated[str, BeforeValidator(as_text), Field(min_length=1, max_length=LONGEST_VALUE)]
Version = Annotated[str, BeforeValidator(as_text), Field(pattern=r"^[1-9][0-9]{0,9}$")]


class MlflowSettings(ActionSettings):
    """`model`, or the label that names it. With `version` or `alias`, a version of it; else the model itself is tagged."""

    type: Literal["mlflow"] = "mlflow"
    model: Annotated[str, AfterValidator(check_model)] | None = None
    model_label: ParameterName | None = None
    version: Version | None = None
    alias: Annotated[str, AfterValidator(check_found_alias)] | None = None
    set_tag: dict[TagKey, TagValue] = Field(default_factory=dict, max_length=1)
    set_alias: Annotated[str, AfterValidator(check_alias)] | None = None

    @model_validator(mode="before")
    @classmethod
    def read_label(cls, data: Any) -> Any:
        """The label that names the model is one whose value passes the pattern first."""
        if not isinstance(data, dict) or not isinstance(data.get("model_label"), str) or data.get("labels"):
            return data
        return {**data, "labels": [data["model_label"]]}

    @model_validator(mode="after")
    def check_which(self) -> Self:
        if (self.model is None) == (self.model_label is None):
            raise ValueError("name the model: give model, or the model_label that names it")
        if self.version is not None and self.alias is not None:
            raise ValueError("give version or alias, not both")
        if self.parameters or set(self.labels) - {self.model_label}:
            raise ValueError("mlflow takes neither parameters nor labels, but for model_label")
        return self

    @model_validator(mode="after")
    def check_what_is_set(self) -> Self:
        if bool(self.set_tag) == (self.set_alias is not None):
            raise ValueError("say what is set: set_tag: {name: value}, or set_alias")
        if self.set_alias is not None and self.version is None and self.alias is None:
            raise ValueError("set_alias needs the version that it shall stand for: give version, or the alias that has it now")
        if self.set_alias is not None and self.set_alias == self.alias:
            raise ValueError("set_alias is the alias by which the version is found; nothing would change")
        return self


@dataclass(slots=True)
class Evidence:
    """What one run has seen so far."""

    work: Entry | None = None
    before: Found | None = None
    was_already: bool = False
    verified: str = ""
    attempts: Attempts = field(default_factory=Attempts)


class Entry:
    """One tag or alias of a model, or a tag of one version."""

    def __init__(self, registry: Registry, call: Call, config: MlflowSettings, model: str, version: str | None) -> None:
        self._registry, self._call = registry, call
        self._model, self._version, self._alias = model, version, config.set_alias
        self._key, value = next(iter(config.set_tag.items()), ("", ""))
        self.wanted = value if self._alias is None else version
        self.where = f"version {version} of {model}" if version is not None else f"the model {model}"

    async def look(self, until: Deadline) -> Found:
        run, version = self._call.id, self._version
        if self._alias is not None:
            return Found(await self._registry.version_of_alias(self._model, self._alias, run, until))
        found = (await self._registry.version(self._model, version, run, until) if version is not None else
                 await self._registry.model(self._model, run, until))
        return Found(tag_of(found, self._key))

    @property
    def path(self) -> str:
        if self._alias is not None:
            return "registered-models/alias"
        return "registered-models/set-tag" if self._version is None else "model-versions/set-tag"

    @property
    def body(self) -> dict[str, str]:
        version = {"version": self._version} if self._version is not None else {}
        if self._alias is not None:
            return {"name": self._model, "alias": self._alias, **version}
        return {"name": self._model, **version, "key": self._key, "value": str(self.wanted)}

    async def send(self, found: Found, seconds: float) -> Answer:
        return await self._registry.set(self.path, self.body, self._call.id, seconds)

    def meaning(self, answer: Answer) -> str:
        return self._registry.meaning(answer)

    def undo(self, before: str | None) -> dict[str, Any]:
        """The request that brings back what was there, and how a person says it."""
        if self._alias is not None:
            how = f"let the alias {self._alias} of {self._model} stand for version {before}" if before else (
                f"delete the alias {self._alias} of {self._model}")
            body = {"name": self._model, "alias": self._alias}
            own, delete = {"version": str(before)}, "registered-models/alias"
        else:
            how = f"set the tag {self._key} of {self.where} to \"{shown(before)}\"" if before is not None else (
                f"delete the tag {self._key} of {self.where}")
            body = {key: value for key, value in self.body.items() if key != "value"}
            own, delete = {"value": str(before)}, self.path.replace("set-tag", "delete-tag")
        request = (self._registry.recorded(self.path, {**body, **own}) if before is not None else
                   self._registry.recorded(delete, body, "DELETE"))
        return {"how": self._registry.clean(how), **request}

    def told(self, value: str | None) -> str:
        if self._alias is not None:
            return f"the alias {self._alias} of {self._model} is version {value}" if value else f"{self._alias} is nobody's alias"
        return f'the tag {self._key} of {self.where} is "{shown(value)}"' if value is not None else f"no tag {self._key}"


class Mlflow:
    kind: ClassVar[str] = "mlflow"
    Config: ClassVar[type[BaseModel]] = MlflowSettings
    Target: ClassVar[type[BaseModel] | None] = RegistryTarget
    resumable: ClassVar[bool] = True     # what is set twice is set

    def __init__(self, config: MlflowSettings, target: RegistryTarget | None, wire: ActionWire) -> None:
        """Raises ValueError for a target of another type."""
        if not isinstance(target, RegistryTarget):
            raise ValueError(f"the action {config.name} acts on targets of type mlflow only")
        self._config, self._clock = config, wire.clock
        self._registry = Registry(target, wire)

    async def run(self, call: Call) -> Report:
        """Read what is there, set it, and read again."""
        seen = Evidence()
        try:
            await self._do(call, seen)
        except ActionFailed as error:
            return self._report(Outcome.failed, error.detail, seen)
        except ActionUnknown as error:
            return self._report(Outcome.unknown, error.detail, seen)
        return self._report(Outcome.succeeded, seen.verified, seen)

    async def rehearse(self, call: Call, *, ask: bool) -> Report:
        """What would be set; in a dry run, the registry is asked whether it is there, and what it says now."""
        seen = Evidence()
        until = Deadline.of(call, self._config, self._clock).within(ASK_FOR)
        try:
            entry = seen.work = await self._entry(call, until) if ask else self._unasked(call)
            seen.before = await entry.look(until) if ask else None
        except ActionFailed as error:
            return self._report(Outcome.failed, error.detail, seen)
        now = f"; now {entry.told(seen.before.value)}" if seen.before is not None else ""
        return self._report(Outcome.succeeded, f"{entry.told(entry.wanted)}{now}", seen)

    async def _do(self, call: Call, seen: Evidence) -> None:
        end = Deadline.of(call, self._config, self._clock)
        until = end.within(ASK_FOR)
        entry = seen.work = await self._entry(call, until)
        seen.before = await entry.look(until)
        if seen.before.value == entry.wanted:
            seen.was_already, seen.verified = True, f"it was already so: {entry.told(seen.before.value)}"
            return
        if call.resumed and self._config.alias is not None:
            raise ActionUnknown("the hub stopped while it ran; the alias may have stood for another version then")
        try:
            await set_value(entry, seen.before, self._clock, until, end, seen.attempts)
        except ActionFailed:
            # Of two that set the same for the first time at once MLflow refuses one, by its table's key; and then it is so.
            if not await self._is_so(entry, end):
                raise
        await self._verify(entry, end, seen)

    async def _is_so(self, entry: Entry, end: Deadline) -> bool:
        try:
            return bool((await entry.look(end)).value == entry.wanted)
        except ActionFailed:
            return False

    def _model(self, call: Call) -> str:
        config = self._config
        try:
            return check_model(config.model or str(call.parameters.get(config.model_label or "", "")))
        except ValueError as error:
            raise ActionFailed(f"refused: the label {config.model_label} names no model: {error}") from None

    def _unasked(self, call: Call) -> Entry:
        config = self._config
        version = f"(of the alias {config.alias})" if config.alias is not None else config.version
        return Entry(self._registry, call, config, self._model(call), version)

    async def _entry(self, call: Call, until: Deadline) -> Entry:
        """Which version it is about, is asked once: an alias may go on to the next one meanwhile."""
        config, model = self._config, self._model(call)
        version = config.version
        if config.alias is not None:
            version = await self._registry.version_of_alias(model, config.alias, call.id, until)
            if version is None:
                raise ActionFailed(f"not done: the model {model} has no alias {config.alias}, so there is no version to act on")
        return Entry(self._registry, call, config, model, version)

    async def _verify(self, entry: Entry, end: Deadline, seen: Evidence) -> None:
        """MLflow stores before it answers: what the next look does not show, was not done or is undone."""
        if end.left() <= 0:
            raise ActionUnknown("it was accepted, and there was no time left to read it back")
        try:
            now = await entry.look(end)
        except ActionFailed as error:
            raise ActionUnknown(f"it was accepted, and it cannot be read back ({error.detail})") from None
        if now.value != entry.wanted:
            raise ActionUnknown(f"it was accepted, but MLflow does not show it: {entry.told(now.value)}")
        seen.verified = entry.told(now.value)

    def _report(self, outcome: Outcome, detail: str, seen: Evidence) -> Report:
        entry, clean = seen.work, self._registry.clean
        before = seen.before.value if seen.before is not None else None
        request = {**(self._registry.recorded(entry.path, entry.body) if entry is not None else {}),
                   "before": self._registry.redact(before) if isinstance(before, str) else None,
                   "was_already": seen.was_already, "requests": seen.attempts.sent}
        verified = clean(seen.verified)
        has_set = entry is not None and seen.before is not None and seen.attempts.sent and outcome is not Outcome.failed
        undo = entry.undo(before) if entry is not None and has_set else {}
        return Report(outcome, clean(detail), request, {"shown": verified}, verified, undo)


def shown(value: str) -> str:
    return clip(value, SHOWN)
