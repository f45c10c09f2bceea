"""The web application: which path leads to which room, and the one place where an unexpected error becomes an answer."""

from __future__ import annotations

import logging

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from alerthub.domain.command import GUARDED, Verb
from alerthub.errors import Busy
from alerthub.web import (
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
    pages,
    permits,
    replies,
    reports,
    silences,
)
from alerthub.web.access import Access
from alerthub.web.base import HubView, hub_of, problem
from alerthub.web.routing import Endpoint, route

logger = logging.getLogger("alerthub.web")


def guarded(endpoint: Endpoint) -> Endpoint:
    """Every request ends in an answer: Busy is 503, anything unexpected 500, logged and counted."""

    async def run(request: Request) -> Response:
        try:
            return await endpoint(request)
        except Busy as error:
            return problem(503, f"{error}; try again", {"retry-after": "1"})
        except HTTPException:
            raise
        except Exception:
            hub_of(request).metrics.errors.labels("web").inc()
            logger.exception("a request failed unexpectedly", extra={"event": "request.failed", "path": request.url.path})
            return problem(500, "an error of the hub; it is in its log")

    return run


ROUTES = [
    *route("/hooks/{source}", hooks.receive, "POST", "PUT"),
    *route("/hooks/{source}", hooks.describe, "GET", "DELETE", "PATCH", "OPTIONS"),
    *route("/healthz", health.alive), *route("/readyz", health.ready), *route("/health", health.health),
    *route("/metrics", health.metrics),
    *route("/api/v1/incidents", api.list_incidents), *route("/api/v1/incidents/{reference}", api.one_incident),
    *route("/api/v1/deliveries", api.list_deliveries), *route("/api/v1/deliveries/replay", api.replay, "POST"),
    *route("/api/v1/lanes/{lane}/replay", api.replay, "POST"),
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
    *route("/api/v1/overrides/{id}", oncall.remove_override, "DELETE"),
    *route("/replies/slack/command", replies.receive_command, "POST"), *route("/replies/{kind}", replies.receive, "POST"),
    *route("/respond/{token}", links.show), *route("/respond/{token}", links.act, "POST"),
    *reports.ROUTES, *analytics.ROUTES, *audit.ROUTES, *export.ROUTES, *configuration.ROUTES,
    *pages.ROUTES,
]


async def refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    words = {404: "there is nothing at this address", 405: "this address does not take that method"}
    return problem(error.status_code, words.get(error.status_code, str(error.detail)), error.headers)


class Front:
    """The whole application: webhooks go straight to their room, everything else through access and routing. A third of the
    time of a small webhook was spent in the layers that it does not need."""

    def __init__(self, hub: HubView) -> None:
        self.routed = routed(hub)
        self.receive = guarded(hooks.receive)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] in ("POST", "PUT") and (name := hook_of(scope["path"])):
            scope["app"], scope["path_params"] = self.routed, {"source": name}
            answer = await self.receive(Request(scope, receive))
            await answer(scope, receive, send)
            return
        await self.routed(scope, receive, send)


def hook_of(path: str) -> str:
    """The source named in `/hooks/{source}`, with or without a slash at the end; empty for any other path."""
    name = path.removeprefix("/hooks/").removesuffix("/")
    return name if path.startswith("/hooks/") and "/" not in name else ""


def routed(hub: HubView) -> Starlette:
    routes = [Route(one.path, guarded(one.endpoint), methods=list(one.methods or ())) for one in ROUTES]
    app = Starlette(routes=routes, middleware=[Middleware(Access, hub=hub)], exception_handlers={HTTPException: refused})
    app.router.redirect_slashes = False
    app.state.hub = hub
    return app


def build(hub: HubView) -> ASGIApp:
    """The application for a hub. It starts and stops nothing."""
    return Front(hub)
