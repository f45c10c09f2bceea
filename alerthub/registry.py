"""What a registry names, by `module:name`: imported when it is asked for, so what no configuration uses never is."""

from __future__ import annotations

from importlib import import_module
from typing import Any


def named(place: str) -> Any:
    """What stands at that place, such as `alerthub.channels.slack:Slack`."""
    module, _, name = place.partition(":")
    return getattr(import_module(module), name)
