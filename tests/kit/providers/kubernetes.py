"""A strict API server with one deployment, for tests: it answers as kube-apiserver does, and refuses what that refuses.

`provider.answer = ApiServer()`. Pods come one by one, one step at each look at the deployment.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.kit.providers.http import Answer, Request

NAMESPACE, NAME = "prod", "model-api"
DEPLOYMENTS = "/apis/apps/v1/namespaces/([^/]+)/deployments/([^/]+)"
AUTOSCALERS = "/apis/autoscaling/v2/namespaces/([^/]+)/horizontalpodautoscalers"
PATCHES = {"application/json-patch+json", "application/merge-patch+json", "application/strategic-merge-patch+json",
           "application/apply-patch+yaml"}
REASONS = {400: "BadRequest", 401: "Unauthorized", 403: "Forbidden", 404: "NotFound", 409: "Conflict",
           415: "UnsupportedMediaType", 422: "Invalid", 429: "TooManyRequests", 500: "InternalError", 503: "ServiceUnavailable"}
ALL_RIGHTS = frozenset({("get", "deployments"), ("patch", "deployments"), ("get", "deployments/scale"),
                        ("patch", "deployments/scale"), ("list", "horizontalpodautoscalers")})


class Refused(Exception):
    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.answer = status(code, message)


def status(code: int, message: str, **headers: str) -> Answer:
    body = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": message,
            "reason": REASONS.get(code, "Unknown"), "code": code}
    return Answer(code, headers=headers, body=body)


def autoscaler(name: str, of: str = NAME, kind: str = "Deployment") -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": NAMESPACE},
            "spec": {"scaleTargetRef": {"apiVersion": "apps/v1", "kind": kind, "name": of}, "minReplicas": 1, "maxReplicas": 9}}


def made(replicas: int, namespace: str = NAMESPACE, name: str = NAME) -> dict[str, Any]:
    pods = {"replicas": replicas, "updatedReplicas": replicas, "readyReplicas": replicas, "availableReplicas": replicas}
    return {
        "kind": "Deployment", "apiVersion": "apps/v1",
        "metadata": {"name": name, "namespace": namespace, "generation": 7, "resourceVersion": "1000"},
        "spec": {"replicas": replicas, "template": {"metadata": {"labels": {"app": name}, "annotations": {"team": "ml"}}}},
        "status": {"observedGeneration": 7, **{pod: count for pod, count in pods.items() if count},
                   "conditions": [{"type": "Progressing", "status": "True", "reason": "NewReplicaSetAvailable"}]},
    }


class ApiServer:
    """What it knows is public and may be changed by a test. `changes` are the patches that had an effect."""

    def __init__(self, token: str | None = None, replicas: int = 3, namespace: str = NAMESPACE, name: str = NAME) -> None:
        self.namespace, self.name = namespace, name
        self.tokens = {token} if token is not None else set()        # none: everybody may enter
        self.rights = set(ALL_RIGHTS)
        self.deployment: dict[str, Any] | None = made(replicas, namespace, name)
        self.autoscalers: list[dict[str, Any]] = []
        self.changes: list[dict[str, Any]] = []
        self.rehearsals: list[dict[str, Any]] = []
        self.admission: Callable[[dict[str, Any]], str] = lambda deployment: ""        # the text of a refusal
        self.is_frozen = False          # no controller looks at it
        self.is_stuck = False           # new pods never become available

    def __call__(self, request: Request) -> Answer:
        try:
            return self._answered(request)
        except Refused as refused:
            return refused.answer

    # --- what else happens in a cluster -----------------------------------------------------------------------------------

    def touched(self) -> None:
        """Somebody, or a controller, wrote the object: what was read before is stale."""
        metadata = self._existing()["metadata"]
        metadata["resourceVersion"] = str(int(metadata["resourceVersion"]) + 1)

    def scaled_by_another(self, replicas: int) -> None:
        self._existing()["spec"]["replicas"] = replicas
        self._existing()["metadata"]["generation"] += 1
        self.touched()

    def annotated(self, text: str) -> None:
        self._existing()["spec"]["template"]["metadata"]["annotations"]["kubectl.kubernetes.io/restartedAt"] = text

    @property
    def restarted_at(self) -> Any:
        return self._existing()["spec"]["template"]["metadata"]["annotations"].get("kubectl.kubernetes.io/restartedAt")

    @property
    def replicas(self) -> Any:
        return self._existing()["spec"]["replicas"]

    # --- the API ----------------------------------------------------------------------------------------------------------

    def _answered(self, request: Request) -> Answer:
        parts = urlsplit(request.path)
        query = {name: values[0] for name, values in parse_qs(parts.query, strict_parsing=bool(parts.query)).items()}
        if self.tokens and request.headers.get("authorization", "").removeprefix("Bearer ") not in self.tokens:
            raise Refused(401, "Unauthorized")
        if found := re.fullmatch(AUTOSCALERS, parts.path):
            self._allowed("list" if request.method == "GET" else request.method.lower(), "horizontalpodautoscalers", found[1])
            return self._listed(query)
        if found := re.fullmatch(f"{DEPLOYMENTS}(/scale)?", parts.path):
            resource = f"deployments{found[3] or ''}"
            self._allowed(request.method.lower(), resource, found[1])
            if self.deployment is None or (found[1], found[2]) != (self.namespace, self.name):
                raise Refused(404, f'deployments.apps "{found[2]}" not found')
            return self._read(resource) if request.method == "GET" else self._patched(request, resource, query)
        raise Refused(404, "the server could not find the requested resource")

    def _allowed(self, verb: str, resource: str, namespace: str) -> None:
        if (verb, resource) not in self.rights:
            raise Refused(403, f'User "system:serviceaccount:prod:alerthub" cannot {verb} resource "{resource}" in API group '
                               f'in the namespace "{namespace}"')

    def _existing(self) -> dict[str, Any]:
        assert self.deployment is not None
        return self.deployment

    def _listed(self, query: dict[str, str]) -> Answer:
        first, limit = int(query.get("continue", "0")), int(query.get("limit", "0")) or 500
        rest = {"continue": str(first + limit)} if first + limit < len(self.autoscalers) else {}
        return Answer(body={"kind": "HorizontalPodAutoscalerList", "apiVersion": "autoscaling/v2", "metadata": rest,
                            "items": self.autoscalers[first:first + limit]})

    def _read(self, resource: str) -> Answer:
        shown = self._shown(self._existing(), resource)
        if resource == "deployments" and not self.is_frozen:
            self._step()
        return Answer(body=shown)

    def _shown(self, deployment: dict[str, Any], resource: str) -> dict[str, Any]:
        if resource == "deployments":
            return copy.deepcopy(deployment)
        metadata = {name: deployment["metadata"][name] for name in ("name", "namespace", "resourceVersion")}
        return {"kind": "Scale", "apiVersion": "autoscaling/v1", "metadata": metadata,
                "spec": {"replicas": deployment["spec"]["replicas"]} if deployment["spec"]["replicas"] else {},
                "status": {"replicas": deployment["status"].get("replicas", 0)}}

    def _patched(self, request: Request, resource: str, query: dict[str, str]) -> Answer:
        if request.method != "PATCH":
            raise Refused(405, "the server does not allow this method on the requested resource")
        media = request.headers.get("content-type", "")
        if media not in PATCHES:
            raise Refused(415, "the body of the request was in an unknown format - accepted media types include: "
                               f"{', '.join(sorted(PATCHES))}")
        if query.get("dryRun", "All") != "All":
            raise Refused(400, "Invalid value: dryRun")
        patch = json.loads(request.body)
        version = patch.get("metadata", {}).get("resourceVersion")
        current = self._existing()["metadata"]["resourceVersion"]
        if version is not None and version != current:
            raise Refused(409, f'Operation cannot be fulfilled on deployments.apps "{NAME}": the object has been modified; '
                               "please apply your changes to the latest version and try again")
        changed = merged(self._existing(), {name: part for name, part in patch.items() if name != "metadata"})
        self._check(changed)
        if "dryRun" in query:
            self.rehearsals.append(patch)
            return Answer(body=self._shown(changed, resource))
        self._store(changed, patch)
        return Answer(body=self._shown(self._existing(), resource))

    def _check(self, deployment: dict[str, Any]) -> None:
        replicas = deployment["spec"]["replicas"]
        if type(replicas) is not int or replicas < 0:
            raise Refused(422, f'Deployment.apps "{NAME}" is invalid: spec.replicas: Invalid value: {replicas}')
        if text := self.admission(deployment):
            raise Refused(403, f'admission webhook "policy.example.com" denied the request: {text}')

    def _store(self, changed: dict[str, Any], patch: dict[str, Any]) -> None:
        if changed["spec"] == self._existing()["spec"]:
            return      # the API server stores no change that is none
        if changed["spec"]["template"] != self._existing()["spec"]["template"]:
            changed["status"].pop("updatedReplicas", None)
        changed["metadata"]["generation"] += 1
        self.deployment = changed
        self.touched()
        self.changes.append(patch)

    # --- the controller ---------------------------------------------------------------------------------------------------

    def _step(self) -> None:
        """First it notices; then one new pod at a time; then the old ones go."""
        deployment = self._existing()
        spec, status_ = deployment["spec"], deployment["status"]
        if status_["observedGeneration"] < deployment["metadata"]["generation"]:
            status_["observedGeneration"] = deployment["metadata"]["generation"]
            status_["conditions"] = [{"type": "Progressing", "status": "True", "reason": "ReplicaSetUpdated"}]
            return
        if self.is_stuck:
            status_["conditions"] = [{"type": "Available", "status": "True", "reason": "MinimumReplicasAvailable"},
                                     {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"}]
        elif not spec.get("paused"):
            updated = status_.get("updatedReplicas", 0)
            step = updated + (spec["replicas"] > updated) - (spec["replicas"] < updated)
            pods = {"updatedReplicas": step, "readyReplicas": step, "availableReplicas": step,
                    "replicas": step if step == spec["replicas"] else max(step, status_.get("replicas", 0))}
            status_.update(pods)
            for name in [name for name, count in pods.items() if not count]:
                del status_[name]
        self.touched()


def merged(document: Any, patch: Any) -> Any:
    """RFC 7386. For maps, a strategic merge is the same."""
    if not isinstance(patch, dict):
        return copy.deepcopy(patch)
    found = copy.deepcopy(document) if isinstance(document, dict) else {}
    for name, value in patch.items():
        if value is None:
            found.pop(name, None)
        else:
            found[name] = merged(found.get(name), value)
    return found
