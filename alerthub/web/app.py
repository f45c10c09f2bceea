"""The web application: which path leads to which room, and the one place where an unexpected error becomes an answer."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from alerthub.domain.command import GUARDED, Verb
from alerthub.errors import Busy
from alerthub.flow.access import NotGranted
from alerthub.web import (
    accounts,
    actions,
    analytics,
    answers,
    api,
    audit,
    configuration,
    export,
    health,
    heartbeats,
    hooks,
    links,
    oncall,
    openapi,
    permits,
    replies,
    reports,
    silences,
    v1,
)
from alerthub.web.access import Access
from alerthub.web.base import INSTANCE, LONGEST_INSTANCE, HubView, Refused, hub_of, problem, refusal
from alerthub.web.gate import Gate
from alerthub.web.openapi import PART, unknown_parameter
from alerthub.web.pages import routes as pages
from alerthub.web.pages.pressing import may_not
from alerthub.web.routing import Endpoint, route
from alerthub.web.v1 import incidents, sending

logger = logging.getLogger("alerthub.web")
SECRET_PARTS = frozenset({"code", "token"})     # of addresses: links that let somebody in, answer, or ping


def guarded(endpoint: Endpoint, path: str = "") -> Endpoint:
    """Every request ends in an answer: what was refused has its own, Busy is 503, anything unexpected 500, logged and counted.
    `path` is that of the route."""

    async def run(request: Request) -> Response:
        try:
            return await endpoint(request)
        except Refused as error:
            return refusal(error)
        except NotGranted as error:
            return may_not(request, error.status, str(error))
        except Busy as error:
            return problem(503, f"{error}; try again", {"retry-after": "1"})
        except HTTPException:
            raise
        except Exception:
            hub_of(request).metrics.errors.labels("web").inc()
            logger.exception("a request failed unexpectedly", extra={
                "event": "request.failed", "path": loggable(path, request.path_params)})
            return problem(500, "an error of the hub; it is in its log")

    return run


def loggable(path: str, given: Mapping[str, Any]) -> str:
    """The address that was asked, without what opens something by itself."""
    return PART.sub(lambda part: part[0] if part[1] in SECRET_PARTS else str(given.get(part[1], ""))[:LONGEST_INSTANCE], path)


ROUTES = [
    *route("/hooks/{source}", hooks.receive, "POST", "PUT"),
    *route("/hooks/{source}", hooks.describe, "GET", "DELETE", "PATCH", "OPTIONS"),
    *route("/healthz", health.alive), *route("/readyz", health.ready), *route("/health", health.health),
    *route("/metrics", health.metrics),
    *route("/api/v1/incidents", incidents.list_incidents), *route("/api/v1/incidents/{reference}", api.one_incident),
    *route("/api/v1/deliveries", api.list_deliveries), *route("/api/v1/deliveries/replay", sending.replay, "POST"),
    *route("/api/v1/lanes/{lane}/replay", sending.replay, "POST"),
    *route("/api/v1/actions/runs", actions.list_runs), *route("/api/v1/quarantine", api.list_quarantine),
    *[one for verb in (Verb.approve, Verb.deny) for one in route(f"/api/v1/actions/runs/{{run:path}}/{verb.value}",
                                                                 actions.about_run(verb), "POST")],
    *route("/api/v1/latches", actions.list_latches),
    *[one for verb in (Verb.release, Verb.approve, Verb.deny, Verb.override)
      for one in route(f"/api/v1/latches/{{target:path}}/{verb.value}", actions.about_latch(verb), "POST")],
    *route("/api/v1/freezes", actions.list_freezes), *route("/api/v1/freezes", actions.add_freeze, "POST"),
    *route("/api/v1/freezes", actions.lift_freeze, "DELETE"),
    *route("/api/v1/reload", api.reload, "POST"),
    *[one for verb in Verb if verb not in GUARDED
      for one in route(f"/api/v1/incidents/{{reference}}/{verb.value}", answers.commanded(verb), "POST")],
    *route("/api/v1/people/{person}/link-code", answers.link_code, "POST"),
    *route("/api/v1/silences", silences.list_silences), *route("/api/v1/silences", silences.add_silence, "POST"),
    *route("/api/v1/silences/{number}", silences.expire_silence, "DELETE"),
    *route("/api/v1/heartbeats", heartbeats.list_heartbeats), *route("/api/v1/permits/{target:path}", permits.lease),
    *route("/heartbeats/{name}", heartbeats.ping, "GET", "HEAD", "POST"),
    *route("/heartbeats/{name}/{token}", heartbeats.ping, "GET", "HEAD", "POST"),
    *route("/api/v1/oncall", oncall.now), *route("/api/v1/schedules/{name}/overrides", oncall.list_overrides),
    *route("/api/v1/schedules/{name}/overrides", oncall.add_override, "POST"),
    *route("/api/v1/schedules/{name}/imported", oncall.import_overrides, "PUT"),
    *route("/api/v1/schedules/{name}/calendar.ics", oncall.calendar),
    *route("/api/v1/overrides/{id}", oncall.one_override), *route("/api/v1/overrides/{id}", oncall.remove_override, "DELETE"),
    *route("/replies/slack/command", replies.receive_command, "POST"), *route("/replies/{kind}", replies.receive, "POST"),
    *route("/respond/{token}", links.show), *route("/respond/{token}", links.act, "POST"),
    *v1.ROUTES, *openapi.ROUTES, *reports.ROUTES, *analytics.ROUTES, *audit.ROUTES, *export.ROUTES, *configuration.ROUTES,
    *accounts.ROUTES,
    *pages.ROUTES,
]


async def refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if error.status_code == 405:
        return problem(405, "this address does not take that method", {"allow": ", ".join(methods_of(request))})
    words = {404: "there is nothing at this address"}
    return problem(error.status_code, words.get(error.status_code, str(error.detail)), error.headers)


def methods_of(request: Request) -> list[str]:
    """All that are taken at this address, by whichever route."""
    found = [one for one in request.app.routes if one.matches(request.scope)[0] is not Match.NONE]
    return sorted({method for one in found for method in one.methods or ()})


class Front:
    """The whole application: webhooks go straight to their room, everything else through access and routing. A third of the
    time of a small webhook was spent in the layers that it does not need."""

    def __init__(self, hub: HubView) -> None:
        self.routed = routed(hub)
        self.receive = guarded(hooks.receive, "/hooks/{source}")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] in ("POST", "PUT") and (name := hook_of(scope["path"])):
            scope["app"], scope["path_params"] = self.routed, {"source": name}
            answer = await self.receive(Request(scope, receive))
            await answer(scope, receive, send)
            return
        path = scope["path"] if scope["type"] == "http" else ""
        shown = quote(path[:LONGEST_INSTANCE], errors="replace") if path.startswith("/api/") else ""
        token = INSTANCE.set(shown[:LONGEST_INSTANCE])
        try:
            await self.routed(scope, receive, send)
        finally:
            INSTANCE.reset(token)


def hook_of(path: str) -> str:
    """The source named in `/hooks/{source}`, with or without a slash at the end; empty for any other path."""
    name = path.removeprefix("/hooks/").removesuffix("/")
    return name if path.startswith("/hooks/") and "/" not in name else ""


def known_only(one: Route) -> Endpoint:
    """The endpoint of a route, which refuses what the document of the API does not know."""
    endpoint: Endpoint = one.endpoint
    if not one.path.startswith("/api/"):
        return endpoint

    async def run(request: Request) -> Response:
        wrong = unknown_parameter(one.path, request.method, request.query_params)
        return problem(400, wrong) if wrong else await endpoint(request)

    return run


def routed(hub: HubView) -> Starlette:
    routes = [Route(one.path, guarded(known_only(one), one.path), methods=list(one.methods or ())) for one in ROUTES]
    gate = Gate(hub)
    app = Starlette(routes=routes, middleware=[Middleware(Access, hub=hub, gate=gate)],
                    exception_handlers={HTTPException: refused})
    app.router.redirect_slashes = False
    app.state.hub, app.state.gate = hub, gate
    return app


def build(hub: HubView) -> ASGIApp:
    """The application for a hub. It starts and stops nothing."""
    return Front(hub)
