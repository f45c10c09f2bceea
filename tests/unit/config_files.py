"""Configuration files for tests: what a text gives, what is wrong with it, and small stand-ins for the edges."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field

from alerthub.actions.base import ActionSettings, ActionWire, TargetSettings
from alerthub.channels.base import ChannelSettings, Wire
from alerthub.channels.template import Template
from alerthub.config import Config, load
from alerthub.config.kinds import KINDS, Kinds, Registry
from alerthub.errors import ConfigError
from alerthub.settings import Secret, Settings, revealed
from alerthub.sources.base import SourceSettings

# What every file must have, so that a case is about one thing. Appended: the lines of a case are where they seem to be.
REST = """
receivers: [{name: alerts, console_configs: [{}]}]
route: {receiver: alerts}
"""


def written(text: str, *, rest: str = "") -> str:
    return textwrap.dedent(text).lstrip("\n") + rest.lstrip("\n")


def configured(folder: Path, text: str, environ: Mapping[str, str] | None = None, *, rest: str = "",
               kinds: Kinds = KINDS) -> Config:
    file = folder / "alerthub.yml"
    file.write_text(written(text, rest=rest), encoding="utf-8")
    return load(file, environ or {}, kinds)


def problems(folder: Path, text: str | bytes, environ: Mapping[str, str] | None = None, *, rest: str = "",
             kinds: Kinds = KINDS) -> list[str]:
    """Every problem as `LINE:COLUMN: text`; none when the file is right."""
    file = folder / "alerthub.yml"
    file.write_bytes(text if isinstance(text, bytes) else written(text, rest=rest).encode())
    found = found_in(file, environ or {}, kinds)
    assert all(line.startswith(f"{file}:") for line in found)
    return [line.removeprefix(f"{file}:").strip() for line in found]


def found_in(file: Path, environ: Mapping[str, str], kinds: Kinds = KINDS) -> list[str]:
    try:
        load(file, environ, kinds)
    except ConfigError as error:
        return list(map(str, error.problems))
    return []


class PigeonGlobal(Settings):
    pigeon_loft: str = ""
    pigeon_seed: Secret | None = None
    pigeon_seed_file: str | None = None


class PigeonConfig(ChannelSettings):
    loft: str | None = None
    ring: int | str | None = None
    weight: float = Field(default=0.5, gt=0, le=2)
    toes: int = 8
    awake: bool = True
    seed: Secret | None = None
    seed_file: str | None = None
    notes: dict[str, str] = Field(default_factory=dict)
    colour: Literal["white", "grey"] = "grey"
    coo: str = ""
    trill: str = ""


class Pigeon:
    """Wants a seed, of its own or of all; and has two templates."""

    kind: ClassVar[str] = "pigeon"
    Config, Global = PigeonConfig, PigeonGlobal

    def __init__(self, config: PigeonConfig, shared: PigeonGlobal, wire: Wire) -> None:
        for text in (config.coo, config.trill):
            Template(text)
        if config.loft == "hungry" and config.seed is None and shared.pigeon_seed is None:
            raise ValueError("no seed; give pigeon_seed under global, or seed here")
        if config.loft == "burnt":
            raise ValueError(f"loft is burnt, with all of {revealed(config.seed)}; name another")


class FlagConfig(ChannelSettings):
    mast: str = ""


class Flag:
    kind: ClassVar[str] = "flag"
    Config, Global = FlagConfig, Settings

    def __init__(self, config: FlagConfig, shared: Settings, wire: Wire) -> None: ...


class Bell(TargetSettings):
    type: Literal["bell"] = "bell"
    rope: str = ""


class Gate(TargetSettings):
    type: Literal["gate"] = "gate"


class RingSettings(ActionSettings):
    type: Literal["ring"] = "ring"


class ShutSettings(ActionSettings):
    type: Literal["shut"] = "shut"
    shut: str = ""          # a key with the name of its own type


class ThinkSettings(ActionSettings):
    needs_target: ClassVar[bool] = False
    type: Literal["think"] = "think"


class Ring:
    Config, Target, resumable = RingSettings, Bell, False

    def __init__(self, config: RingSettings, target: Bell, wire: ActionWire) -> None:
        if target.rope == "short":
            raise ValueError("the rope of a bell is too short; take a longer one")


class Shut:
    Config, Target, resumable = ShutSettings, Gate, True

    def __init__(self, config: ShutSettings, target: Gate, wire: ActionWire) -> None: ...


class Think:
    Config, Target, resumable = ThinkSettings, None, False

    def __init__(self, config: ThinkSettings, target: None, wire: ActionWire) -> None:
        if config.summary == "nothing":
            raise ValueError("summary says nothing to think of; write what")


class HornSettings(SourceSettings):
    type: Literal["alertmanager"] = "alertmanager"


class Horn:
    Config = HornSettings

    def __init__(self, config: HornSettings) -> None:
        self.is_open = config.token is None


def registry(loaded: list[str] | None = None, **classes: Any) -> Registry:
    def load_one(name: str) -> Any:
        if loaded is not None:
            loaded.append(name)
        return classes[name]

    return Registry(tuple(classes), load_one)


def made_kinds(loaded: list[str] | None = None) -> Kinds:
    return Kinds(channels=registry(loaded, pigeon=Pigeon, flag=Flag), actions=registry(ring=Ring, shut=Shut, think=Think),
                 sources=registry(alertmanager=Horn))


SMALL = made_kinds()


def small_kinds(loaded: list[str] | None = None) -> Kinds:
    """Two channels, three actions, one source. Which of the channels are loaded is added to the list."""
    return SMALL if loaded is None else made_kinds(loaded)
