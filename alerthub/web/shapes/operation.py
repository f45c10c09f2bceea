"""What one operation of the API takes and answers, as the document says it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel

from alerthub.web.api import MOST

V1 = "/api/v1"
TEXT: Mapping[str, Any] = {"type": "string"}
TIME: Mapping[str, Any] = {"type": "string", "examples": ["2026-11-23T09:00:00+03:00"]}
CURSOR: Mapping[str, Any] = {"type": "integer", "minimum": 1, "maximum": 2**62}
WHENEVER = (401, 403, 503)      # any of them may come, whatever is asked
WITH_BODY = (400, 408, 413)


@dataclass(frozen=True, slots=True)
class Query:
    """A parameter of an address. `many`: it may be given several times."""

    name: str
    schema: Mapping[str, Any]
    about: str
    many: bool = False
    is_required: bool = False


@dataclass(frozen=True, slots=True)
class Operation:
    """`answers`: by status, a model, or the media types of what is no JSON, or nothing. `refusals`: statuses of problems, beside
    those that may come whatever is asked. `is_keyed`: takes an Idempotency-Key; `is_tagged`: has an ETag that If-None-Match is
    held against; `is_matched`: obeys If-Match; `tells`: headers of its answers."""

    method: str
    path: str
    tag: str
    about: str
    answers: Mapping[int, type[BaseModel] | str | tuple[str, ...] | None]
    query: tuple[Query, ...] = ()
    body: type[BaseModel] | None = None
    needs_body: bool = False
    refusals: tuple[int, ...] = ()
    is_keyed: bool = False
    is_tagged: bool = False
    is_matched: bool = False
    needs_match: bool = False
    tells: Mapping[str, str] = field(default_factory=dict)
    security: tuple[str, ...] = ("bearer", "basic", "cookie", "cookie_http")

    @property
    def statuses(self) -> tuple[int, ...]:
        """Of all its problems."""
        more = {*WHENEVER, 400, *self.refusals, *(WITH_BODY if self.body else ())}
        more |= {400, 422} if self.is_keyed else set()
        return tuple(sorted(more | ({412} if self.is_matched else set())))


def one_of(*words: str) -> Mapping[str, Any]:
    return {"type": "string", "enum": ["", *words]}


LIMIT = Query("limit", {"type": "integer", "minimum": 1, "maximum": MOST}, "how many of a page")
BEFORE = Query("before", CURSOR, "the `next` of the page before")
AFTER = Query("after", CURSOR, "the `next` of the page before")
AFTER_NAME = Query("after", TEXT, "the `next` of the page before")
PAGED = (LIMIT, BEFORE)
BY = Query("by", TEXT, "the name that history shows beside the door")
