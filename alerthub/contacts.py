"""How people are reached and heard: a channel for every address of a person, and a listener for every account of the hub's at
a provider. Constructed here, as equipment.py does for receivers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from alerthub import channels as channel_kinds
from alerthub.channels.base import Channel, Hearing, Listener, Wire
from alerthub.config import Config
from alerthub.config.people import ADDRESSED, Person

USUAL = ("telegram", "slack", "email")      # the order of a person who does not say one: what rings comes first


def make_contacts(config: Config, wire: Wire) -> dict[str, list[Channel]]:
    """The channels of every person, in the order in which they want to be called. That one which `contact` names can be made,
    `load` has tried; another that cannot is left out."""
    found: dict[str, list[Channel]] = {}
    for person in config.model.people:
        for kind in person.contact or USUAL:
            if getattr(person, kind) is None:
                continue
            try:
                found.setdefault(person.name, []).append(contact(config, kind, person, wire))
            except ValueError:
                if kind in person.contact:
                    raise
    return found


def contact(config: Config, kind: str, person: Person, wire: Wire) -> Channel:
    """ValueError when the settings do not suffice."""
    channel = channel_kinds.load(kind)
    if not isinstance(config.model.global_, channel.Global):
        raise ValueError(f"the hub has no account there; add the keys of {kind} to global")
    settings = channel.Config.model_validate({ADDRESSED[kind]: getattr(person, kind)})
    made: Channel = channel(settings, config.model.global_, wire)
    if kind == "slack" and not made.edits:
        raise ValueError("an incoming webhook reaches a channel and no person; add slack_bot_token_file to global")
    return made


def make_listeners(config: Config, wire: Wire) -> tuple[Listener, ...]:
    """One for every account of ours at a provider that is configured to hear."""
    found: list[Listener] = []
    for kind in channel_kinds.LISTENERS:
        if isinstance(config.model.global_, channel_kinds.load(kind).Global):
            found += channel_kinds.load_listeners(kind)(config.model.global_, hearing_of(config, kind), wire)
    return tuple(found)


def hearing_of(config: Config, kind: str) -> Hearing:
    settings = tuple(entry for _, found, entry in config.channel_entries() if found == kind)
    accounts = frozenset(str(value) for value in accounts_of(config.model.people, kind))
    return Hearing(settings, accounts, config.model.server.public_url)


def accounts_of(people: Iterable[Person], kind: str) -> Iterator[Any]:
    return (value for person in people if (value := getattr(person, kind, None)) is not None)


def how_answered(config: Config, channel: Channel, heard: frozenset[str]) -> str:
    """Buttons where the provider's answers are heard; links in a mail to somebody who may act by one."""
    if channel.kind in ("slack", "telegram"):
        return "buttons" if channel.kind in heard and channel.edits else ""
    if channel.kind != "email":
        return ""
    known = {str(person.email).lower() for person in config.model.people if person.email}
    if channel.address.lower() in known:
        return "links"
    return "link" if config.model.answers.unknown_accounts == "acknowledge" else ""
