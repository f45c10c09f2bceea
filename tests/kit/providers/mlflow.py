"""A strict model registry for tests: it answers as an MLflow 3 server does, and refuses what that refuses.

`provider.answer = MlflowServer()`. It begins with the model drl-agent in the versions 1 to 3; champion is 2.
"""

from __future__ import annotations

import base64
import re
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from tests.kit.providers.http import Answer, Request

API = "/api/2.0/mlflow/"
STATUS = {"RESOURCE_DOES_NOT_EXIST": 404, "INVALID_PARAMETER_VALUE": 400, "UNAUTHENTICATED": 401, "PERMISSION_DENIED": 403}


class Refused(Exception):
    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.answer = Answer(STATUS[code], body={"error_code": code, "message": message})


class MlflowServer:
    """What it knows is public and may be changed by a test. `changes` are the bodies that it took."""

    def __init__(self, username: str = "", password: str = "") -> None:
        self.login = f"Basic {base64.b64encode(f'{username}:{password}'.encode()).decode()}" if username else ""
        self.hosts = ["127.0.0.1"]
        self.may_write = True
        self.model = "drl-agent"
        self.model_tags: dict[str, str] = {}
        self.versions: dict[str, dict[str, str]] = {"1": {}, "2": {"stage": "live"}, "3": {}}
        self.aliases = {"champion": "2"}
        self.changes: list[dict[str, Any]] = []

    def __call__(self, request: Request) -> Answer:
        parts = urlsplit(request.path)
        if request.headers["host"].partition(":")[0] not in self.hosts:
            return Answer(403, body="Invalid Host header - possible DNS rebinding attack detected")
        if self.login and request.headers.get("authorization") != self.login:
            return Answer(401, body="You are not authenticated. Please see https://www.mlflow.org/docs/latest/auth/index.html")
        name = f"{request.method} {parts.path.removeprefix(API)}"
        known = {"GET model-versions/get": self._version, "GET registered-models/get": self._model,
                 "GET registered-models/alias": self._alias, "POST registered-models/alias": self._set_alias,
                 "POST registered-models/set-tag": self._tag_model, "POST model-versions/set-tag": self._tag_version}
        if not parts.path.startswith(API) or name not in known:
            return Answer(404, body="<!doctype html>\n<title>404 Not Found</title>")
        if request.method == "POST" and request.headers.get("content-type") != "application/json":
            return Answer(400, body={"error_code": "BAD_REQUEST", "message": "Content-Type should be 'application/json'."})
        try:
            given = dict(parse_qsl(parts.query)) if request.method == "GET" else request.json()
            return Answer(body=self._answered(known[name], given, request.method == "POST"))
        except Refused as refused:
            return refused.answer

    def _answered(self, known: Any, given: dict[str, Any], is_change: bool) -> dict[str, Any]:
        if is_change and not self.may_write:
            raise Refused("PERMISSION_DENIED", "Permission denied")
        if any(not isinstance(value, str) or not value for value in given.values()):
            raise Refused("INVALID_PARAMETER_VALUE", "Invalid value for parameter")
        if given.get("name") != self.model:
            raise Refused("RESOURCE_DOES_NOT_EXIST", f"Registered Model with name={given.get('name')} not found")
        found: dict[str, Any] = known(given)
        if is_change:
            self.changes.append(given)
        return found

    def _shown(self, version: str) -> dict[str, Any]:
        if version not in self.versions:
            raise Refused("RESOURCE_DOES_NOT_EXIST", f"Model Version (name={self.model}, version={version}) not found")
        aliases = [alias for alias, of in self.aliases.items() if of == version]
        return {"name": self.model, "version": version, "current_stage": "None", "status": "READY", "aliases": aliases,
                **({"tags": pairs(tags)} if (tags := self.versions[version]) else {})}

    def _version(self, given: dict[str, str]) -> dict[str, Any]:
        return {"model_version": self._shown(given["version"])}

    def _model(self, given: dict[str, str]) -> dict[str, Any]:
        return {"registered_model": {"name": self.model, "tags": pairs(self.model_tags)}}

    def _alias(self, given: dict[str, str]) -> dict[str, Any]:
        alias = given["alias"]
        if alias.lower() == "latest":
            return {"model_version": self._shown(max(self.versions, key=int))}
        if alias not in self.aliases:
            raise Refused("INVALID_PARAMETER_VALUE", f"Registered model alias {alias} not found.")
        return {"model_version": self._shown(self.aliases[alias])}

    def _set_alias(self, given: dict[str, str]) -> dict[str, Any]:
        alias = given["alias"]
        if not re.fullmatch(r"[\w\-]{1,255}", alias) or alias.lower() == "latest" or re.fullmatch(r"[vV]\d+", alias):
            raise Refused("INVALID_PARAMETER_VALUE", f"Invalid alias name: '{alias}'")
        self._shown(given["version"])
        self.aliases[alias] = given["version"]
        return {}

    def _tag_model(self, given: dict[str, str]) -> dict[str, Any]:
        check_tag(given)
        self.model_tags[given["key"]] = given["value"]
        return {}

    def _tag_version(self, given: dict[str, str]) -> dict[str, Any]:
        check_tag(given)
        self._shown(given["version"])
        self.versions[given["version"]][given["key"]] = given["value"]
        return {}


def check_tag(given: dict[str, str]) -> None:
    if len(given["key"]) > 250 or len(given["value"]) > 100_000 or not re.fullmatch(r"[\w .:/-]+", given["key"]):
        raise Refused("INVALID_PARAMETER_VALUE", "Invalid tag")


def pairs(tags: dict[str, str]) -> list[dict[str, str]]:
    return [{"key": key, "value": value} for key, value in tags.items()]
