"""`/api/v1/audit/export`: the record taken away: as JSON lines, as CSV that no spreadsheet takes for a formula, the evidence of
one incident."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from alerthub.flow import evidence
from alerthub.log import redact
from alerthub.store import searching
from alerthub.web.api import NUMBER, choice, number
from alerthub.web.audit import wanted
from alerthub.web.base import hub_of, problem
from alerthub.web.evidence import page_of
from alerthub.web.routing import route

FORMATS = frozenset({"", "jsonl", "csv"})
PACKS = frozenset({"", "json", "html"})
MOST_EXPORTED = 10_000
COLUMNS = ("position", "incident", "seq", "at", "kind", "actor_kind", "actor_name", "text", "data", "hash")
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\0")      # what a spreadsheet takes for the beginning of one (ASVS 1.2.10)


async def export(request: Request) -> Response:
    """At most 10,000 events, the newest first; `x-next-before` is where to go on. With `evidence` the pack of that incident."""
    if request.query_params.get("evidence"):
        return await pack(request)
    asked, form = wanted(request), choice(request, "format", FORMATS) or "jsonl"
    before = number(request, "before", None, 2**62)
    found = await hub_of(request).store.read(lambda tx: searching.search(tx, asked, MOST_EXPORTED, before))
    text = as_csv(found["items"]) if form == "csv" else "".join(f"{as_json(one)}\n" for one in found["items"])
    more = {"x-next-before": str(found["next"])} if found["next"] else {}
    return download(text, f"audit.{form}", "text/csv" if form == "csv" else "application/jsonl", more)


async def pack(request: Request) -> Response:
    """The evidence of one incident, as `alerthub audit export` writes it."""
    hub, reference = hub_of(request), request.query_params["evidence"].removeprefix("#")
    form = choice(request, "format", PACKS) or "json"
    is_number = NUMBER.fullmatch(reference) is not None
    found = await hub.store.read(lambda tx: evidence.pack(tx, reference, hub.clock.now())) if is_number else None
    if found is None:
        return problem(404, f"there is no incident {reference[:40]!r}")
    text = page_of(found) if form == "html" else json.dumps(found, indent=1, ensure_ascii=False) + "\n"
    return download(text, f"incident-{int(reference)}.{form}", "text/html" if form == "html" else "application/json")


def download(text: str, name: str, kind: str, more: dict[str, str] | None = None) -> Response:
    headers = {"content-disposition": f'attachment; filename="{name}"', "cache-control": "no-store", **(more or {})}
    return Response(text, 200, headers, kind)


def as_json(one: dict[str, Any]) -> str:
    return redact(json.dumps(one, ensure_ascii=False, separators=(",", ":")))


def as_csv(items: list[dict[str, Any]]) -> str:
    written = io.StringIO()
    writer = csv.writer(written, quoting=csv.QUOTE_ALL)
    writer.writerow(COLUMNS)
    for one in items:
        writer.writerow([cell({**one, "data": json.dumps(one["data"], ensure_ascii=False)}[name]) for name in COLUMNS])
    return redact(written.getvalue())


def cell(value: Any) -> Any:
    """A text that begins like a formula gets a mark in front, by which a spreadsheet shows it as it stands."""
    return f"'{value}" if isinstance(value, str) and value.lstrip(" ").startswith(FORMULA) else value


ROUTES = route("/api/v1/audit/export", export)
