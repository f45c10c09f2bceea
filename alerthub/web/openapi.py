"""`/api/openapi.json`: what the API takes and answers, made from the shapes. And the wall that holds a question against it: a
parameter that is not in the document is refused, since whoever misspells a filter must not be shown everything."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any, TypeGuard

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema
from starlette.requests import Request
from starlette.responses import Response

from alerthub import __version__
from alerthub.web.base import TITLES, answer
from alerthub.web.gate import SESSION
from alerthub.web.routing import route
from alerthub.web.shapes.base import Problem
from alerthub.web.shapes.operation import Operation, Query
from alerthub.web.shapes.operations import OPERATIONS

REF = "#/components/schemas/{model}"
PART = re.compile(r"\{(\w+)(?::\w+)?\}")
SECURITY = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "server.api_token, or a person's own token"},
    "basic": {"type": "http", "scheme": "basic", "description": "the same token as the password of any user name"},
    "cookie": {"type": "apiKey", "in": "cookie", "name": f"__Host-{SESSION}", "description": "of somebody who has logged in, "
               "where server.public_url is https; what changes something needs X-CSRF-Token as well"},
    "cookie_http": {"type": "apiKey", "in": "cookie", "name": SESSION, "description": "the same, where it is http"},
    "permit": {"type": "http", "scheme": "bearer", "description": "the token of this permit"},
}
MATCH = "only if it still is what this ETag was of; of the tag only what stands before its last dot counts"
KEY = "the same key again is answered the same, and is not done again"
MARK = ("needed with the cookie of a session, unless a page of the hub asks (Sec-Fetch-Site: same-origin): the field csrf of its "
        "forms")
NOW = {"description": "that it has now, of what is there", "schema": {"type": "string"}}
ETAG = {"description": "changes with the answer", "schema": {"type": "string"}}


def plain(path: str) -> str:
    """The address of a route, as the document writes it."""
    return PART.sub(r"{\1}", path)


@cache
def document() -> Mapping[str, Any]:
    models = {model for one in OPERATIONS for model in (*one.answers.values(), one.body) if model_of(model)} | {Problem}
    ordered = sorted(models, key=lambda model: model.__name__)
    names, defined = models_json_schema([(model, "validation") for model in ordered], ref_template=REF)
    refs = {model: names[model, "validation"] for model in ordered}
    paths: dict[str, dict[str, Any]] = {}
    for one in OPERATIONS:
        paths.setdefault(one.path, {})[one.method.lower()] = described(one, refs)
    return {"openapi": "3.1.0", "info": {"title": "AlertHub", "version": __version__, "license": {
        "name": "Apache-2.0", "identifier": "Apache-2.0"}},
        "paths": paths, "components": {"schemas": defined["$defs"], "securitySchemes": SECURITY}}


def model_of(found: object) -> TypeGuard[type[BaseModel]]:
    return isinstance(found, type) and issubclass(found, BaseModel)


Refs = Mapping[Any, Any]


def described(one: Operation, refs: Refs) -> dict[str, Any]:
    told: dict[str, Any] = {"operationId": operation_id(one), "summary": one.about, "tags": [one.tag],
                            "parameters": [*places(one.path), *map(asked, one.query), *headers(one)],
                            "responses": {**answers(one, refs), **problems(one.statuses, refs)},
                            "security": [{}, *({name: []} for name in one.security)]}
    if one.body is not None:
        told["requestBody"] = {"required": one.needs_body, "content": {"application/json": {"schema": refs[one.body]}}}
    return told


def operation_id(one: Operation) -> str:
    words = re.sub(r"[^a-z]+", "_", one.path.removeprefix("/api/v1/").lower()).strip("_")
    return f"{one.method.lower()}_{words}"


def places(path: str) -> list[dict[str, Any]]:
    named = {"in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
    return [{"name": name, **named} for name in PART.findall(path)]


def asked(query: Query) -> dict[str, Any]:
    schema = {"type": "array", "items": query.schema} if query.many else query.schema
    return {"name": query.name, "in": "query", "required": query.is_required, "description": query.about, "schema": schema}


def headers(one: Operation) -> list[dict[str, Any]]:
    wanted = {"Idempotency-Key": (one.is_keyed, KEY), "If-Match": (one.is_matched, MATCH),
              "If-None-Match": (one.is_tagged, "304 if it still is what this ETag was of"),
              "X-CSRF-Token": (one.method != "GET", MARK)}
    return [{"name": name, "in": "header", "required": name == "If-Match" and one.needs_match, "description": about,
             "schema": {"type": "string"}}
            for name, (is_there, about) in wanted.items() if is_there]


def answers(one: Operation, refs: Refs) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for status, shape in one.answers.items():
        schema = refs[shape] if model_of(shape) else {"type": "string"}
        found[str(status)] = {"description": "done" if one.method != "GET" else "found",
                              "content": {kind: {"schema": schema} for kind in kinds_of(shape)}}
        if one.tells:
            found[str(status)]["headers"] = {name: {"description": about, "schema": {"type": "string"}}
                                             for name, about in one.tells.items()}
    if one.is_tagged:
        found["200"]["headers"] = {"ETag": ETAG}
        found["304"] = {"description": "it has not changed", "headers": {"ETag": ETAG}}
    return found


def kinds_of(shape: object) -> tuple[str, ...]:
    """The media types of an answer."""
    return shape if isinstance(shape, tuple) else (shape,) if isinstance(shape, str) else ("application/json",)


def problems(statuses: Iterable[int], refs: Refs) -> dict[str, Any]:
    return {str(status): {"description": TITLES.get(status, "refused"), "content": {
        "application/problem+json": {"schema": refs[Problem]}}, **({"headers": {"ETag": NOW}} if status == 412 else {})}
        for status in (*statuses, 500)}


async def show(request: Request) -> Response:
    """To whoever may enter the API."""
    return answer(200, document())


# -- a question is held against it

KNOWN = {(one.method, one.path): frozenset(query.name for query in one.query) for one in OPERATIONS}


def unknown_parameter(path: str, method: str, given: Iterable[str]) -> str:
    """What is wrong with the parameters of a question to this route; empty for nothing."""
    known = KNOWN.get(("GET" if method == "HEAD" else method, plain(path).rstrip("/")))
    wrong = sorted(set(given) - known) if known is not None else []
    if not wrong or known is None:
        return ""
    there = f"there are {', '.join(sorted(known))}" if known else "this address takes none"
    return f"{wrong[0][:40]!r} is not a parameter here; {there}"


ROUTES = [*route("/api/openapi.json", show)]
