"""The model of the whole file, made from the registries of the edges; and its JSON Schema. A kind of channel that a file
does not use is not imported.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache, reduce
from operator import or_
from types import GenericAlias
from typing import Annotated, Any, get_args

from pydantic import BaseModel, Field, create_model
from pydantic.json_schema import GenerateJsonSchema

from alerthub import actions, channels, sources
from alerthub.channels.base import ChannelSettings
from alerthub.config.model import ConfigModel, ReceiverSettings
from alerthub.settings import UNITS, Settings

DRAFT = "https://json-schema.org/draft/2020-12/schema"
SUFFIX = "_configs"


@dataclass(frozen=True, slots=True)
class Registry:
    """The names of all kinds of one edge, and how the class of one is got."""

    names: tuple[str, ...]
    load: Callable[[str], Any]

    def all(self) -> list[Any]:
        return [self.load(name) for name in self.names]


@dataclass(frozen=True, slots=True)
class Kinds:
    channels: Registry
    actions: Registry
    sources: Registry


KINDS = Kinds(Registry(tuple(channels.REGISTRY), channels.load), Registry(tuple(actions.REGISTRY), actions.load),
              Registry(tuple(sources.REGISTRY), sources.load))


def used_channels(kinds: Kinds, data: Mapping[str, Any]) -> frozenset[str]:
    """The channels whose settings the file has, or by which it reaches people. All of them, when a key of `global` is of none
    of those."""
    receivers = data.get("receivers")
    blocks = receivers if isinstance(receivers, list) else []
    written = {key for block in blocks if isinstance(block, dict) for key in block}
    shared = data.get("global")
    given = set(shared) if isinstance(shared, dict) else set()
    people = data.get("people")
    named = {key for person in (people if isinstance(people, list) else []) if isinstance(person, dict) for key in person}
    reached = {kind for kind in named & set(kinds.channels.names) if given & set(kinds.channels.load(kind).Global.model_fields)}
    used = frozenset(kind for kind in kinds.channels.names if kind + SUFFIX in written) | reached
    known = {name for kind in used for name in kinds.channels.load(kind).Global.model_fields}
    return frozenset(kinds.channels.names) if isinstance(shared, dict) and not known.issuperset(shared) else used


@lru_cache(maxsize=16)
def build_model(kinds: Kinds, used: frozenset[str]) -> type[ConfigModel]:
    """The model of a file that has settings of these channels. Of the others it knows that they exist."""
    classes = {kind: kinds.channels.load(kind) for kind in kinds.channels.names if kind in used}
    shared = create_model("Global", __base__=tuple(dict.fromkeys(channel.Global for channel in classes.values())) or Settings)
    lists: dict[str, Any] = {
        kind + SUFFIX: (many(classes[kind].Config if kind in classes else ChannelSettings), ()) for kind in kinds.channels.names}
    receiver = create_model("Receiver", __base__=ReceiverSettings, **lists)
    targets = [action.Target for action in kinds.actions.all() if action.Target is not None]
    blocks: dict[str, Any] = {
        "receivers": (many(receiver), Field(min_length=1)),
        "global_": (shared, Field(default_factory=shared, alias="global")),
        "sources": (many(one_of([source.Config for source in kinds.sources.all()])), Field(default=(), min_length=1)),
        "actions": (many(one_of([action.Config for action in kinds.actions.all()])), ()),
        "targets": (many(one_of(targets)), ()),
    }
    return create_model("Configuration", __base__=ConfigModel, **blocks)


def many(model: Any) -> Any:
    return GenericAlias(tuple, (model, ...))


def one_of(models: list[type[BaseModel]]) -> Any:
    """The union that `type` decides. `type` must be written, also when a model has a default for it."""
    distinct = list(dict.fromkeys(models))
    if len(distinct) == 1:
        return distinct[0]
    return Annotated[reduce(or_, distinct), Field(discriminator="type")]


def type_of(model: type[BaseModel]) -> str:
    """What the entries of this model say as `type`."""
    return str(get_args(model.model_fields["type"].annotation)[0])


def duration_text(span: timedelta) -> str:
    """As a file would say it: `1h30m`."""
    left, found = round(span / timedelta(milliseconds=1)), ""
    for unit in ("d", "h", "m", "s", "ms"):
        count, left = divmod(left, round(UNITS[unit] * 1000))
        found += f"{count}{unit}" if count else ""
    return found or "0"


class PlainSchema(GenerateJsonSchema):
    """Defaults in the words of the file."""

    def encode_default(self, dft: Any) -> Any:
        return duration_text(dft) if isinstance(dft, timedelta) else super().encode_default(dft)


@lru_cache(maxsize=16)
def schema_of(model: type[ConfigModel]) -> Mapping[str, Any]:
    found = model.model_json_schema(schema_generator=PlainSchema)
    for section in ("sources", "actions", "targets"):       # whose `type` decides what else may stand there
        for variant in found["properties"][section]["items"].get("oneOf", ()):
            definition = found["$defs"][variant["$ref"].rpartition("/")[2]]
            definition["required"] = sorted({*definition.get("required", ()), "type"})
    return {"$schema": DRAFT, **found, "title": "alerthub.yml"}


def schema(kinds: Kinds = KINDS) -> dict[str, Any]:
    """JSON Schema (draft 2020-12) of the configuration file, for editors. Holds no value of any configuration."""
    return deepcopy(dict(schema_of(build_model(kinds, frozenset(kinds.channels.names)))))
