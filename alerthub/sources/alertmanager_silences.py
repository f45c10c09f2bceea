"""Silences over Alertmanager's API v2 (PROTOCOLS 1.8): read, made, ended. Which ones is decided in domain/silence.py.

Peers of a cluster tell each other, so one of them is enough.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from typing import Any

from alerthub.domain.silence import MOST_MATCHERS, NAME, NotTaken, Silence, marker_of
from alerthub.errors import BadPayload, Unreachable
from alerthub.silence_wire import REMOTE_ID, read_matcher, written
from alerthub.sources.alertmanager_api import AlertmanagerApi, answered
from alerthub.sources.body import read_json, read_time, read_word

logger = logging.getLogger("alerthub.sources")
MOST = 2_000                # shown of one source; ours are found among all
COMMENT = 1_400             # characters kept of one; what the hub writes is shorter
ECHO = 200                  # characters of a refusal


class AlertmanagerSilences(AlertmanagerApi):
    """One cluster's silences. `writes` tells whether the configuration allows to change them."""

    @property
    def writes(self) -> bool:
        return self.settings.write

    async def listed(self) -> tuple[str, list[Silence]]:
        """Those that are not over, and all that say they are the hub's, from the first peer that answers, and which one that
        was: what follows is asked of the same one, which cannot be behind itself. Raises Unreachable when none answers."""
        for position, url in enumerate(self.settings.urls, 1):
            try:
                answer = await self.get(url, "/api/v2/silences", {})
                return url, await asyncio.to_thread(read_silences, answer, url)
            except Unreachable:
                if position == len(self.settings.urls):
                    raise
        raise Unreachable("no address is configured")

    async def make(self, url: str, silence: Silence) -> str:
        """The id that it has there. Raises NotTaken when it never will be, else Unreachable: then it may be there all the
        same, and must be looked for before this is called again."""
        status, body = await self.call("POST", url, "/api/v2/silences", body=written(silence))
        if status in (400, 422):
            raise NotTaken(refusal(status, body))
        if status != 200:
            raise Unreachable(f"{url} answered {status} to a new silence")
        answer = await answered(url, "/api/v2/silences", body)
        remote_id = read_word(answer.get("silenceID")) if isinstance(answer, dict) else ""
        if not REMOTE_ID.fullmatch(remote_id):
            raise Unreachable(f"{url} answered a new silence without its id")
        return remote_id

    async def end(self, url: str, remote_id: str) -> None:
        """Over now, or already. Raises Unreachable."""
        status, _ = await self.call("DELETE", url, f"/api/v2/silence/{remote_id}")
        if status not in (200, 404):
            raise Unreachable(f"{url} answered {status} to the end of a silence")


def refusal(status: int, body: bytes) -> str:
    """Alertmanager answers a JSON text, or an object with `message`."""
    try:
        said = read_json(body[:10_000])
    except BadPayload:
        said = ""
    word = read_word(said.get("message")) if isinstance(said, dict) else read_word(said)
    return f"{status}: {' '.join(word.split())[:ECHO]}" if word else str(status)


def read_silences(answer: Any, url: str) -> list[Silence]:
    """Those that are not over, and all that carry a marker. One that cannot be read is left out: it decides nothing here."""
    if not isinstance(answer, list):
        raise Unreachable(f"{url} answered what is not a list of silences")
    found = list(readable(answer))
    marked = [silence for silence in found if marker_of(silence.comment)]
    others = [silence for silence in found if not marker_of(silence.comment)]
    if len(others) > MOST:
        logger.warning("%s has %d silences; the last %d to end are shown", url, len(others), MOST,
                       extra={"event": "silences.many"})
    return marked + sorted(others, key=lambda silence: silence.ends_at, reverse=True)[:MOST]


def readable(items: list[Any]) -> Iterator[Silence]:
    for item in items:
        try:
            silence = read_silence(item)
        except ValueError as error:
            logger.debug("a silence cannot be read: %s", str(error)[:ECHO], extra={"event": "silences.unreadable"})
            continue
        status = item.get("status")
        is_over = isinstance(status, dict) and status.get("state") == "expired"
        if not is_over or marker_of(silence.comment):
            yield silence


def read_silence(item: Any) -> Silence:
    """Raises ValueError for what is none."""
    if not isinstance(item, dict) or not isinstance(item.get("matchers"), list):
        raise ValueError("not an object with matchers")
    remote_id = read_word(item.get("id"))
    try:
        starts_at, ends_at = read_time(item.get("startsAt"), "startsAt"), read_time(item.get("endsAt"), "endsAt")
    except BadPayload as error:
        raise ValueError(error.reason) from None
    if not REMOTE_ID.fullmatch(remote_id) or starts_at is None or ends_at is None:
        raise ValueError("its id or a time is missing")
    if not 0 < len(item["matchers"]) <= MOST_MATCHERS:
        raise ValueError(f"it has {len(item['matchers'])} matchers")
    matchers = tuple(read_matcher(one) for one in item["matchers"])
    comment = read_word(item.get("comment"))[:COMMENT]
    return Silence("", 0, matchers, starts_at, ends_at, read_word(item.get("createdBy"))[:NAME], comment, "", remote_id)
