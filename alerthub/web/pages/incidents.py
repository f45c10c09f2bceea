"""The list of incidents: what is open first, the gravest first; narrowed by what a person looks for; taken by several at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import parse_qsl

from starlette.requests import Request
from starlette.responses import Response

from alerthub.domain.command import Answer, Command, Outcome, Verb
from alerthub.domain.compose import shared
from alerthub.domain.person import Right
from alerthub.domain.wording import clip
from alerthub.flow.labels import labels_in
from alerthub.store import alerts as alert_store
from alerthub.store import reading, search
from alerthub.store.tx import Tx
from alerthub.web.api import NUMBER
from alerthub.web.base import hub_of
from alerthub.web.forms import BadForm, back, read_form
from alerthub.web.pages.filters import SEVERITIES, STATES, Filters, read_filters
from alerthub.web.pages.pressing import key_of, unread
from alerthub.web.pages.render import page
from alerthub.web.routing import route
from alerthub.web.visitor import known

PAGE = 50
LABELS, ALERTS, LABEL_TEXT = 4, 3, 60       # of one row: labels, alerts they are read from, characters of each
CHOSEN = "incident-"                        # the names of the boxes of the rows begin so
SAID_AT_ONCE = 3                            # refusals told one by one; the others are counted


async def index(request: Request) -> Response:
    hub, filters = hub_of(request), read_filters(request.query_params)
    found = await hub.store.read(lambda tx: listed(tx, filters, request.query_params.get("before", "")))
    return page(request, "incidents.html", **found, filters=filters, states=STATES, severities=SEVERITIES, now=hub.clock.now(),
                key=hub.clock.new_id(), may_respond=known(request).may(Right.respond))


def listed(tx: Tx, filters: Filters, cursor: str) -> dict[str, Any]:
    """One page of rows, and how many are open of each state and severity."""
    try:
        found = search.incidents(tx, filters.wanted, PAGE, cursor[:40])
    except search.BadCursor:
        found = search.incidents(tx, filters.wanted, PAGE)
    alerts = alert_store.first_of_each(tx, [row["id"] for row in found["items"]], ALERTS)
    rows = [{**row, "labels": short_labels(row["title"], list(labels_in(alerts.get(row["id"], ()))))} for row in found["items"]]
    counts = reading.open_counts(tx)
    return {"incidents": rows, "next": found["next"], "total": sum(counts.values()),
            "by_severity": {name: sum(number for (_, severity), number in counts.items() if severity == name)
                            for name in SEVERITIES}}


def short_labels(title: str, labels: Sequence[Mapping[str, str]]) -> list[str]:
    """What its alerts share, but for what the row says already; few, and short."""
    pairs = [f"{name}={value}" for name, value in sorted(shared(labels).items()) if name not in ("alertname", "severity")]
    return [clip(pair, LABEL_TEXT) for pair in pairs if pair not in title][:LABELS]


# -- several at once

async def acknowledge(request: Request) -> Response:
    """Those whose boxes are ticked, each as if its own button had been pressed."""
    try:
        fields = await read_form(request)
    except BadForm as error:
        return unread(request, error, "/")
    to = read_filters(dict(parse_qsl(fields.get("filters", "")))).address()
    chosen = [number for name in fields if name.startswith(CHOSEN) and NUMBER.fullmatch(number := name.removeprefix(CHOSEN))]
    if not chosen:
        return back(request, to, "Nothing was chosen: tick the incidents first.", is_good=False)
    hub = hub_of(request)
    told = [await hub.hear(ask_for(request, number, fields)) for number in chosen[:PAGE]]
    text, is_good = summary(told)
    return back(request, to, text, is_good=is_good)


def ask_for(request: Request, number: str, fields: Mapping[str, str]) -> Command:
    visitor = known(request)
    key = key_of(fields, visitor, hub_of(request), f"{Verb.acknowledge.value} {number}")
    return Command(Verb.acknowledge, number, visitor.account, key, via="web")


def summary(told: Sequence[Answer]) -> tuple[str, bool]:
    """What became of them, in few words, and whether all is well."""
    if len(told) == 1:
        return told[0].text, told[0].outcome in (Outcome.done, Outcome.already)
    done = [f"#{answer.number}" for answer in told if answer.outcome is Outcome.done]
    others = [answer.text for answer in told if answer.outcome is not Outcome.done]
    lines = [f"You have {', '.join(done)} now."] if done else []
    lines += others[:SAID_AT_ONCE]
    if len(others) > SAID_AT_ONCE:
        lines.append(f"{len(others) - SAID_AT_ONCE} more were not taken.")
    return " ".join(lines), all(answer.outcome in (Outcome.done, Outcome.already) for answer in told)


ROUTES = [*route("/", index), *route("/incidents/acknowledge", acknowledge, "POST")]
