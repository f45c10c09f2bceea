"""Every answer of the API is held against its document: a status, a media type, a field or a header that is not in it fails the
test that got it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import httpx
from pydantic import ValidationError

from alerthub.web.openapi import PART, kinds_of, model_of
from alerthub.web.shapes.base import Problem
from alerthub.web.shapes.operation import Operation
from alerthub.web.shapes.operations import OPERATIONS

# The longest first: what an address may hold in one place may be a slash in another.
PATTERNS = sorted(((re.compile(PART.sub(r"(.+)" if "target" in one.path else r"([^/]+)", one.path.replace(".", r"\."))), one)
                   for one in OPERATIONS), key=lambda pair: -len(PART.sub("", pair[1].path)))
ANYWAY = (500, 503)     # some tests provoke them


def operation_of(method: str, path: str) -> Operation | None:
    wanted = "GET" if method == "HEAD" else method
    return next((one for pattern, one in PATTERNS if one.method == wanted and pattern.fullmatch(path.rstrip("/"))), None)


def wrong_with(method: str, path: str, status: int, headers: Mapping[str, str], body: bytes) -> str:
    """What about the answer the document does not say; empty for nothing."""
    one, kind = operation_of(method, path), headers.get("content-type", "").partition(";")[0]
    if status == 405 and kind == "application/problem+json" and headers.get("allow"):
        return ""
    if status in (403, 404) and one is None:        # no such address; another site asks
        return "" if kind == "application/problem+json" else f"{status} of an unknown address is {kind}"
    if one is None:
        return "there is no such operation"
    if status == 304:
        return "" if one.is_tagged and not body and headers.get("etag") else "304 without a tag, or with a body"
    if status >= 400:
        return wrong_problem(one, status, kind, body, method)
    if status not in one.answers:
        return f"{status} is not documented"
    shape = one.answers[status]
    if kind not in kinds_of(shape):
        return f"it is {kind}"
    if missing := [name for name in one.tells if name == "ETag" and name not in headers]:
        return f"{missing} is missing"
    if not model_of(shape):
        return ""
    if one.is_tagged and not headers.get("etag"):
        return "the tag is missing"
    return mismatch(shape, body) if method != "HEAD" else ""


def wrong_problem(one: Operation, status: int, kind: str, body: bytes, method: str) -> str:
    if status not in (*one.statuses, *ANYWAY):
        return f"{status} is not documented"
    if kind != "application/problem+json":
        return f"{status} is {kind}"
    return mismatch(Problem, body) if method != "HEAD" else ""


def mismatch(shape: Any, body: bytes) -> str:
    try:
        shape.model_validate_json(body)
    except ValidationError as error:
        return str(error.errors(include_input=True, include_url=False))[:1000]
    return ""


async def check(answer: httpx.Response) -> None:
    """A hook of the client of a test."""
    request = answer.request
    if request.url.path.startswith("/api/"):
        await answer.aread()
        wrong = wrong_with(request.method, request.url.path, answer.status_code, answer.headers, answer.content)
        assert not wrong, f"{request.method} {request.url.path}: {answer.status_code}: {wrong}"
