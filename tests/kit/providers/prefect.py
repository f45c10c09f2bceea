"""A Prefect 3 server for tests, as strict as the real one where it matters (PROTOCOLS 6.1; tried against 3.8.8).

It refuses what the API does not know. Deployments and flow runs are dictionaries that a test may change.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from tests.kit.providers.http import Answer, Request

DEPLOYMENT = "10617f87-39d3-44a3-b437-4afbc135310d"
FLOW_RUN = "4a1607a9-77ed-45f0-be20-dff1596c3073"
CSRF_TOKEN = "a04b78560166be86194373318348b378"
CREATE = {"parameters", "idempotency_key", "tags", "name", "state", "job_variables", "labels"}
UUID = "[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"


class FakePrefect:
    """Its `answer` is a FakeProvider's. `after_create` and `after_retry` are the state of a flow run once it was asked for.
    `persisted`: completed flow runs have a stored result, so that the server itself refuses to run them anew."""

    def __init__(self, root: str = "/api") -> None:
        self.root = root
        self.deployments = {("retrain", "drl"): DEPLOYMENT}
        self.flow_runs: dict[str, dict[str, Any]] = {}
        self.states: dict[str, list[dict[str, Any]]] = {}
        self.after_create = ("SCHEDULED", "Scheduled")
        self.after_retry = ("SCHEDULED", "AwaitingRetry")
        self.schema: set[str] | None = None       # the names of parameters, when the deployment enforces its schema
        self.authorization: str | None = None     # header; None: open to all
        self.is_csrf_protected = False
        self.tokens: dict[str, str] = {}
        self.created = 0
        self.retried = 0

    def flow_run(self, state: str = "FAILED", *, deployment: str | None = DEPLOYMENT, flow_run: str = FLOW_RUN) -> str:
        """One that has been here before."""
        self.flow_runs[flow_run] = {"id": flow_run, "deployment_id": deployment, "idempotency_key": None}
        self.set_state(flow_run, state, state.capitalize())
        return flow_run

    def set_state(self, flow_run: str, kind: str, name: str, message: str | None = None) -> None:
        state = {"type": kind, "name": name, "message": message}
        self.states.setdefault(flow_run, []).append(state)
        self.flow_runs[flow_run]["state"] = state

    def answer(self, request: Request) -> Answer:
        if self.authorization is not None and request.headers.get("authorization") != self.authorization:
            return Answer(401, body={"exception_message": "Unauthorized"})
        if self.is_csrf_protected and request.method == "POST" and not self.is_trusted(request):
            return Answer(403, body={"detail": "Missing CSRF token."})
        address = urlsplit(request.path)
        for method, pattern, found in self.routes():
            if method == request.method and (match := re.fullmatch(pattern, address.path)):
                return found(request, *match.groups())
        return Answer(404, body={"detail": "Not Found"})

    def routes(self) -> list[tuple[str, str, Callable[..., Answer]]]:
        return [("GET", self.root + "/csrf-token", self.give_token),
                ("GET", self.root + "/deployments/name/([^/]+)/([^/]+)", self.read_deployment),
                ("POST", self.root + f"/deployments/({UUID})/create_flow_run", self.create),
                ("POST", self.root + "/flow_runs/filter", self.filter),
                ("GET", self.root + f"/flow_runs/({UUID})", self.read_flow_run),
                ("POST", self.root + f"/flow_runs/({UUID})/set_state", self.retry),
                ("GET", self.root + "/flow_run_states/", self.read_states)]

    def is_trusted(self, request: Request) -> bool:
        client, token = request.headers.get("prefect-csrf-client"), request.headers.get("prefect-csrf-token")
        return client is not None and self.tokens.get(client) == token is not None

    def give_token(self, request: Request) -> Answer:
        (client,) = parse_qs(urlsplit(request.path).query)["client"]
        self.tokens[client] = CSRF_TOKEN
        return Answer(200, body={"token": CSRF_TOKEN, "client": client, "expiration": "2026-11-21T14:46:30Z"})

    def read_deployment(self, request: Request, flow: str, name: str) -> Answer:
        found = self.deployments.get((unquote(flow), unquote(name)))
        return Answer(200, body={"id": found, "name": name, "paused": False}) if found else Answer(
            404, body={"detail": "Deployment not found"})

    def create(self, request: Request, deployment: str) -> Answer:
        body = request.json()
        if deployment not in self.deployments.values():
            return Answer(404, body={"detail": "Deployment not found"})
        if not isinstance(body, dict) or set(body) - CREATE:
            return Answer(422, body={"exception_message": "Invalid request received."})
        parameters = body.get("parameters", {})
        assert all(isinstance(value, str | int | float | bool) for value in parameters.values()), "never an object"
        assert not any(name.startswith("__prefect") for name in parameters)
        assert body["idempotency_key"].startswith(f"{deployment}/"), "keys are compared within a flow"
        if self.schema is not None and set(parameters) - self.schema:
            return Answer(409, body={"detail": "Error creating flow run: Validation failed for field 'x'."})
        old = next((run for run in self.flow_runs.values() if run["idempotency_key"] == body["idempotency_key"]), None)
        if old is not None:
            return Answer(200, body=old)
        self.created += 1
        flow_run = FLOW_RUN[:-4] + f"{self.created:04}"
        self.flow_runs[flow_run] = {"id": flow_run, "deployment_id": deployment, **body}
        self.set_state(flow_run, *self.after_create)
        return Answer(201, body=self.flow_runs[flow_run])

    def filter(self, request: Request) -> Answer:
        wanted = request.json()["flow_runs"]["idempotency_key"]["any_"]
        return Answer(200, body=[run for run in self.flow_runs.values() if run["idempotency_key"] in wanted])

    def read_flow_run(self, request: Request, flow_run: str) -> Answer:
        found = self.flow_runs.get(flow_run)
        return Answer(200, body=found) if found else Answer(404, body={"detail": "Flow run not found"})

    def retry(self, request: Request, flow_run: str) -> Answer:
        body = request.json()
        assert set(body) == {"state", "force"}
        assert body["force"] is False
        assert (body["state"]["type"], body["state"]["name"]) == ("SCHEDULED", "AwaitingRetry")
        if (found := self.flow_runs.get(flow_run)) is None:
            return Answer(404, body={"exception_message": "Flow run not found"})
        if found["state"]["type"] == "COMPLETED":
            return orchestrated("REJECT", "Run is already COMPLETED.")
        if found["deployment_id"] is None:
            return orchestrated("ABORT", "Cannot reschedule a run without an associated deployment.")
        self.retried += 1
        kind, name = self.after_retry
        self.set_state(flow_run, "SCHEDULED", "AwaitingRetry", body["state"]["message"])
        if (kind, name) != ("SCHEDULED", "AwaitingRetry"):
            self.set_state(flow_run, kind, name)
        return Answer(201, body={"state": found["state"], "status": "ACCEPT", "details": {"type": "accept_details"}})

    def read_states(self, request: Request) -> Answer:
        (flow_run,) = parse_qs(urlsplit(request.path).query)["flow_run_id"]
        return Answer(200, body=json.loads(json.dumps(self.states.get(flow_run, []))))


def orchestrated(status: str, reason: str) -> Answer:
    """200, although nothing was done."""
    return Answer(200, body={"state": None, "status": status, "details": {"type": "reject_details", "reason": reason}})
