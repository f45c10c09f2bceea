"""What the counterparts have seen: kept for the story, which waits for it, and put on the screen."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from alerthub.demo.screen import Line, Screen


@dataclass(frozen=True, slots=True)
class Sighting:
    """Something that arrived. `shown` is put on the screen; `content` is all that stands there now."""

    counterpart: str
    title: str
    shown: Sequence[Line]
    content: Sequence[Line]

    def names(self, number: int) -> bool:
        """Whether it speaks of this incident."""
        return any(re.search(rf"#{number}(?![0-9])", line.text) for line in self.content)


class Witness:
    """Sightings in the order of their arrival."""

    def __init__(self, screen: Screen) -> None:
        self.screen = screen
        self.seen: list[Sighting] = []
        self._news = asyncio.Event()
        self._waiting: list[Sighting] | None = None

    def note(self, counterpart: str, title: str, shown: Sequence[Line], content: Sequence[Line] = ()) -> None:
        sighting = Sighting(counterpart, title, shown, content or shown)
        self.seen.append(sighting)
        if self._waiting is None:
            self.screen.frame(sighting.title, sighting.shown)
        else:
            self._waiting.append(sighting)
        self._news.set()

    @contextmanager
    def held_back(self) -> Iterator[None]:
        """What arrives inside is shown at the end, so that a sentence of narration comes before what it explains."""
        waiting: list[Sighting] = []
        self._waiting = waiting
        try:
            yield
        finally:
            self._waiting = None
        for sighting in waiting:
            self.screen.frame(sighting.title, sighting.shown)

    def last(self, counterpart: str, number: int) -> Sighting | None:
        """What this counterpart has last seen of an incident."""
        return next((one for one in reversed(self.seen) if one.counterpart == counterpart and one.names(number)), None)

    async def news(self, seconds: float) -> None:
        """Returns when something arrives, at the latest after so long."""
        self._news.clear()
        try:
            async with asyncio.timeout(seconds):
                await self._news.wait()
        except TimeoutError:
            return
