"""How many attempts may be under way by channel, destination and whether it fails. What hangs keeps nobody from its turn."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime

from alerthub.domain.rules import Destination, Rules
from alerthub.flow.settle import Sending
from alerthub.store import lanes
from alerthub.store.tx import AnyRow, Tx, chunks

PLACES = 64             # destinations that work, looked at in one claim
FAILING_PLACES = 16     # and of those that fail, beside them
FAILING_SLOTS = 16      # attempts under way to all that fail in one channel, a quarter of what it has: they take longest
WORKING_SLOTS = 56      # and to all that work: what fails is tried all the same
AT_ONCE = 16    # destinations whose lanes are looked at together: with four of each they fill a channel's slots
SLOTS_EACH = 4  # attempts under way for one destination, a sixteenth of what its channel has
LOOK = 50       # due lanes of one destination looked at: enough to see a storm


def look_at(tx: Tx, rules: Rules, places: Sequence[tuple[AnyRow, bool]], room: Callable[[Destination, bool], int],
            now: datetime) -> Iterator[tuple[AnyRow, bool, Destination | None, Sequence[lanes.DueLane]]]:
    """Those of these destinations that are unknown or have room, with what is due there. Whether they have is asked for a few at
    a time: what is taken for the first leaves less for the next."""
    known = rules.destinations()
    for some in chunks(places, AT_ONCE):
        able = [(place, fails, told) for place, fails in some
                if (told := known.get(place.key)) is None or room(told, fails) > 0]
        due = lanes.due_each(tx, [(place, LOOK if told is None or told.digests else SLOTS_EACH) for place, _, told in able], now)
        yield from ((place, fails, told, due[place.key]) for place, fails, told in able if due[place.key])


def kinds_of(sending: Sending, *, is_failing: bool) -> list[str]:
    """What an attempt counts as while it is under way."""
    channel = sending.destination.channel
    return [channel, sending.destination.key, *([failing_in(channel)] if is_failing else [])]


def failing_in(channel: str) -> str:
    return f"failing {channel}"


def room_for(under_way: Mapping[str, int], channels: Iterable[str]) -> dict[tuple[str, bool], int]:
    """By channel, and whether its destination fails: how many attempts may be begun. What hangs must not keep what works from its
    turn, nor the other way round."""
    failing = {channel: under_way.get(failing_in(channel), 0) for channel in channels}
    return {(channel, fails): FAILING_SLOTS - count if fails else WORKING_SLOTS - (under_way.get(channel, 0) - count)
            for channel, count in failing.items() for fails in (False, True)}
