"""`ETag`, `If-None-Match`, `If-Match`: has it changed since it was looked at? A tag is `"MARK.DIGEST"`: the state that people
decide about, and the whole answer. For 304 all of it counts; for `If-Match` only the mark, or a message that was sent meanwhile
would keep somebody from acknowledging."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from alerthub.flow import seen
from alerthub.hashing import hashed
from alerthub.web.base import Refused, answer

TAG = re.compile(r'(W/)?"([\x21\x23-\x7e\x80-\xff]*)"')
NEVER = "?"         # no mark is called so


def tagged(request: Request, mark: str, body: Mapping[str, Any]) -> Response:
    """200 with its tag, or 304 for whoever has just that."""
    made = answer(200, body)
    tag = tag_of(mark, made)
    wanted = request.headers.get("if-none-match", "")
    if wanted.strip() == "*" or tag in {f'"{found[2]}"' for found in TAG.finditer(wanted)}:
        return Response(status_code=304, headers={"etag": tag, "cache-control": "no-store"})
    made.headers["etag"] = tag
    return made


def tag_of(mark: str, made: Response) -> str:
    return f'"{mark}.{hashlib.sha256(bytes(made.body)).hexdigest()[:20]}"'


def tag_now(mark: str, body: Mapping[str, Any]) -> dict[str, str]:
    """The header with the tag that it has now."""
    return {"etag": tag_of(mark, answer(200, body))}


class Changed(Refused):
    """It is not any more what the caller has seen. The text says what it is now; the tag it has now goes with it."""

    status = 412

    def __init__(self, text: str, mark: str, body: Mapping[str, Any]) -> None:
        self.headers = tag_now(mark, body)
        super().__init__(text)


def expected(request: Request) -> tuple[str, ...]:
    """The marks of `If-Match`; nothing when it is not asked. Weak tags match nothing."""
    given = request.headers.get("if-match")
    if given is None or given.strip() == "*":
        return ()
    strong = [found[2] for found in TAG.finditer(given) if not found[1]]
    return tuple(tag.rpartition(".")[0] or NEVER for tag in strong) or (NEVER,)


def mark_of_incident(found: Mapping[str, Any]) -> str:
    """As whoever decides about it compares it."""
    return seen.mark_of_incident(found["events"][-1]["seq"] if found["events"] else 0, found["updated_at"])


def mark_of_silence(view: Mapping[str, Any]) -> str:
    """Only its end ever changes."""
    return str(view["ends_at"])


def mark_of_override(view: Mapping[str, Any]) -> str:
    """It never changes; but once the newest is gone, SQLite gives its number to the next one."""
    return hashed(repr(sorted(view.items())))[:12]
