"""What only shows at construction, found by constructing: every channel, contact and action that is right by itself, once, for
nothing. Of an entry with a mistake of its own, or one that a mistake elsewhere may have led to, nothing more is said.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

import httpx
from pydantic import BaseModel, ValidationError

from alerthub.actions.base import ActionSettings, ActionWire
from alerthub.channels.base import Wire
from alerthub.channels.template import Template
from alerthub.clock import SystemClock
from alerthub.config.check import blocks
from alerthub.config.kinds import SUFFIX, Kinds, type_of
from alerthub.config.mistakes import GO, GO_TEMPLATE, Reading
from alerthub.config.model import ConfigModel
from alerthub.config.people import ADDRESSED
from alerthub.config.reader import Document, Path
from alerthub.errors import Problem
from alerthub.log import Redactor, hide
from alerthub.settings import Settings, secrets_in

# What calling a person needs under `global`, and the key to write. Slack's incoming webhook reaches one channel and no person.
NEEDED = {"slack": {"slack_bot_token": "slack_bot_token_file"}, "telegram": {"telegram_bot_token": "telegram_bot_token_file"},
          "email": {"smtp_smarthost": "smtp_smarthost", "smtp_from": "smtp_from"}}
HARMLESS = "x"      # in place of a template that cannot be used, so that the rest of its entry is tried as well


def check_construction(document: Document, kinds: Kinds, model: type[ConfigModel], reading: Reading) -> list[Problem]:
    """What channels and actions say against their settings. Sends nothing and opens nothing."""
    probe = Probe(document, kinds, reading)
    shared = probe.shared(model)
    return [*probe.channels(shared), *probe.contacts(shared), *probe.actions()]


class Probe:
    """One try of everything in a document, of which `reading` knows the mistakes."""

    def __init__(self, document: Document, kinds: Kinds, reading: Reading) -> None:
        self.document, self.kinds, self.reading = document, kinds, reading
        unread = {(problem.line, problem.column) for problem in document.problems}
        wrong = {path for path, _ in reading.found}
        wrong |= {path for path, place in document.values.items() if (place.line, place.column) in unread}
        self.touched = {path[:length] for path in wrong for length in range(1, len(path) + 1)}
        self.http = httpx.AsyncClient(transport=httpx.AsyncBaseTransport(), trust_env=False)     # leads nowhere

    def is_right(self, path: Path) -> bool:
        """Nothing in it is wrong."""
        return path not in self.touched

    def channels(self, shared: BaseModel) -> Iterator[Problem]:
        for receiver_path, receiver in blocks(self.document.data, ("receivers",)):
            for kind in self.kinds.channels.names:
                for path, block in blocks(receiver, (*receiver_path, kind + SUFFIX)):
                    if self.is_right(path):
                        yield from self.channel(kind, path, block, shared)

    def contacts(self, shared: BaseModel) -> Iterator[Problem]:
        """Whether everybody can be called where they want to be."""
        people = [found for found in blocks(self.document.data, ("people",)) if self.is_right(found[0])]
        for path, person in people if self.is_right(("global",)) else ():
            for index, kind in enumerate(person.get("contact") or ()):
                if kind in self.kinds.channels.names and (error := self.unreachable(kind, person[kind], shared)):
                    yield self.document.problem((*path, "contact", index), error)

    def unreachable(self, kind: str, address: Any, shared: BaseModel) -> str | None:
        """Why somebody cannot be called at this address; None when they can."""
        if gone := [key for field, key in NEEDED[kind].items() if not getattr(shared, field, None)]:
            return f"contact names {kind}, but the hub has no account there; add {' and '.join(gone)} to global"
        error = self.refusal(kind, {ADDRESSED[kind]: address}, shared)
        return error and f"{kind}: {error}"

    def shared(self, whole: type[ConfigModel]) -> BaseModel:
        """`global`, without the keys that are wrong."""
        model: Any = whole.model_fields["global_"].annotation
        given = self.document.data.get("global")
        kept = {key: value for key, value in given.items() if self.is_right(("global", key))} if isinstance(given, dict) else {}
        return parsed(model, kept) or parsed(model, {}) or Settings()

    def channel(self, kind: str, path: Path, block: Mapping[str, Any], shared: BaseModel) -> Iterator[Problem]:
        """Its templates, each at its own place, and then what else it says."""
        error = self.refusal(kind, block, shared)
        if error is None:
            return
        bad = dict(bad_templates(block, path, set(secrets_in(parsed(self.kinds.channels.load(kind).Config, block)))))
        for place, text in bad.items():
            yield self.document.problem(place, text)
        if bad:
            error = self.refusal(kind, mended(block, path, bad), shared)
        if error and self.is_right(("global",)):        # or it may miss what stands there
            yield self.document.problem(self.reading.key_meant(path, error), error)

    def refusal(self, kind: str, block: Mapping[str, Any], shared: BaseModel) -> str | None:
        """What the channel says; None when it can be made."""
        channel = self.kinds.channels.load(kind)
        settings = parsed(channel.Config, block)
        if settings is None:
            return None
        secrets = hidden(settings, shared)
        try:
            channel(settings, shared, Wire(self.http, SystemClock()))
        except ValueError as error:
            return Redactor(secrets).redact(str(error))
        return None

    def actions(self) -> Iterator[Problem]:
        for path, block in blocks(self.document.data, ("actions",)):
            if not self.is_right(path) or block.get("type") not in self.kinds.actions.names:
                continue
            kind = self.kinds.actions.load(block["type"])
            settings = parsed(kind.Config, block)
            if isinstance(settings, ActionSettings):
                errors = [self.refused_action(kind, settings, target) for target in self.targets(kind, settings, block)]
                for error in dict.fromkeys(error for error in errors if error):
                    yield self.document.problem(self.reading.key_meant(path, error), error)

    def targets(self, kind: Any, settings: ActionSettings, block: Mapping[str, Any]) -> list[BaseModel | None]:
        """All that are right and that it may act on."""
        if kind.Target is None:
            return [None]
        types = {str(one.get("name")): one.get("type") for _, one in blocks(self.document.data, ("targets",))}
        if not block.get("target") and any(types.get(name) != type_of(kind.Target) for name in settings.target_names
                                           if name not in (block.get("targets") or ())):
            return [None]       # a target that is implied, and that nobody has configured
        fitting = {block.get("name"): parsed(kind.Target, block) for path, block in blocks(self.document.data, ("targets",))
                   if self.is_right(path) and block.get("type") == type_of(kind.Target)}
        return [target for name, target in fitting.items() if target and name in (settings.target_names or fitting)]

    def refused_action(self, kind: Any, settings: ActionSettings, target: BaseModel | None) -> str | None:
        secrets = hidden(settings, target)
        try:
            kind(settings, target, ActionWire(self.http, SystemClock()))
        except ValueError as error:
            return Redactor(secrets).redact(f"action {settings.name}: {error}")
        return None


def hidden(*settings: object) -> list[str]:
    """Their secrets, which no log shows from now on: a library may speak of them when it is constructed."""
    found = [secret for one in settings for secret in secrets_in(one)]
    for secret in found:
        hide(secret)
    return found


def parsed(model: type[BaseModel], block: Mapping[str, Any]) -> BaseModel | None:
    """None for what cannot be: its mistake has been said."""
    try:
        return model.model_validate(block)
    except ValidationError:
        return None


def bad_templates(data: Any, path: Path, secrets: Collection[str]) -> Iterator[tuple[Path, str]]:
    """The texts below the path that no template can be made of, and why. Alertmanager's own are named as what they are."""
    if isinstance(data, dict | list):
        for part, value in data.items() if isinstance(data, dict) else enumerate(data):
            yield from bad_templates(value, (*path, part), secrets)
    elif isinstance(data, str) and "{" in data and data not in secrets:
        try:
            Template(data)
        except ValueError as error:
            yield path, GO_TEMPLATE if GO.search(data) else f"this template cannot be used: {error}"


def mended(data: Any, path: Path, bad: Collection[Path]) -> Any:
    """The same without them."""
    if path in bad:
        return HARMLESS
    if isinstance(data, dict):
        return {key: mended(value, (*path, key), bad) for key, value in data.items()}
    return [mended(value, (*path, index), bad) for index, value in enumerate(data)] if isinstance(data, list) else data
