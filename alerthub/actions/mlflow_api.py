"""MLflow's registry over REST: what a model and its versions say, one tag or alias set, and what refusals mean
(PROTOCOLS 6.2)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal
from urllib.parse import urlencode

from pydantic import AfterValidator

from alerthub.actions.base import ActionWire
from alerthub.actions.deadline import Deadline
from alerthub.actions.exchange import Answer, Exchange, LoginTarget, check_url
from alerthub.actions.read_back import persist
from alerthub.errors import ActionFailed

API = "/api/2.0/mlflow"
ANSWER_BYTES = 4 * 1024 * 1024      # one tag may have 100,000 characters, and a model has many
MISSING = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")     # the words for an alias that nobody has set


def check_base(url: str) -> str:
    if "?" in check_url(url):
        raise ValueError("the address of an MLflow server has no query: /api/2.0/mlflow is added to it")
    return url.rstrip("/")


class RegistryTarget(LoginTarget):
    """With `username` and `password` (MLflow's own accounts), or with a `token`, or open."""

    type: Literal["mlflow"] = "mlflow"
    url: Annotated[str, AfterValidator(check_base)]


class Registry:
    """MLflow's answers, understood. What it returns or raises holds no secret."""

    def __init__(self, target: RegistryTarget, wire: ActionWire) -> None:
        self._url, self._clock = f"{target.url}{API}", wire.clock
        self._exchange = Exchange(target, wire, answer_bytes=ANSWER_BYTES)
        self._login = {"Authorization": f"Basic {target.basic}"} if target.basic is not None else {}

    async def version(self, model: str, version: str, run: str, until: Deadline) -> dict[str, Any]:
        """A version of a model. Raises ActionFailed when it cannot be read."""
        found = await self._read("model-versions/get", {"name": model, "version": version}, run, until)
        return self._object(found, "model_version", {"name": model, "version": version})

    async def model(self, model: str, run: str, until: Deadline) -> dict[str, Any]:
        found = await self._read("registered-models/get", {"name": model}, run, until)
        return self._object(found, "registered_model", {"name": model})

    async def version_of_alias(self, model: str, alias: str, run: str, until: Deadline) -> str | None:
        """The version that an alias stands for; None when nobody has set it."""
        answer = await self._read("registered-models/alias", {"name": model, "alias": alias}, run, until)
        if answer.status in (400, 404) and is_missing_alias(answer, alias):
            return None
        found = self._object(answer, "model_version", {"name": model})
        if not isinstance(found.get("version"), str):
            raise ActionFailed("not done: MLflow does not say which version it is")
        return str(found["version"])

    async def set(self, path: str, body: Mapping[str, str], run: str, seconds: float) -> Answer:
        """Once. Raises as `Exchange.ask`."""
        headers = {"webhook-id": run, "Idempotency-Key": run, **self._login}
        return await self._exchange.ask("POST", f"{self._url}/{path}", json.dumps(body).encode(), run, seconds, headers)

    async def _read(self, path: str, query: Mapping[str, str], run: str, until: Deadline) -> Answer:
        url = f"{self._url}/{path}?{urlencode(query)}"
        return await persist(lambda seconds: self._exchange.ask("GET", url, b"", run, seconds, self._login), self._clock, until)

    def _object(self, answer: Answer, name: str, wanted: Mapping[str, str]) -> dict[str, Any]:
        if answer.status != 200:
            raise ActionFailed(f"not done: {self.meaning(answer)}")
        found = answer.json().get(name)
        if not isinstance(found, dict) or any(found.get(key) != value for key, value in wanted.items()):
            raise ActionFailed(f"not done: MLflow answered with something that is not the {name.replace('_', ' ')} asked for")
        return found

    def meaning(self, answer: Answer) -> str:
        words = {
            401: "MLflow does not accept the credentials",
            403: "MLflow does not allow it",
            404: "MLflow does not know it",
            400: "MLflow finds it invalid",
        }
        said = self.said(answer)
        text = f"{words.get(answer.status, 'MLflow answered')} ({answer.status}{f': {said}' if said else ''})"
        if answer.status == 403 and "host" in said.lower():
            text += "; on the MLflow server, add the host of the target's url to MLFLOW_SERVER_ALLOWED_HOSTS"
        return text

    def said(self, answer: Answer) -> str:
        message, code = answer.json().get("message"), answer.json().get("error_code")
        content = f"{code} {message}".encode("utf-8", "replace") if isinstance(message, str) else answer.body
        return self._exchange.excerpt(content)

    def clean(self, text: str) -> str:
        return self._exchange.clean(text)

    def redact(self, text: str) -> str:
        return self._exchange.redact(text)

    def recorded(self, path: str, body: Mapping[str, str], method: str = "POST") -> dict[str, Any]:
        """What was asked for, for the record."""
        return {"method": method, "url": self._exchange.redact(f"{self._url}/{path}"), "body": self._exchange.recorded(body)}


def is_missing_alias(answer: Answer, alias: str) -> bool:
    """Servers differ in the code, and agree in the text (MLflow 2.3 to 3.17). A model that is not there has another text."""
    found = answer.json()
    return found.get("error_code") in MISSING and str(found.get("message")).lower().startswith(
        f"registered model alias {alias.lower()} not found")


def tag_of(found: Mapping[str, Any], key: str) -> str | None:
    """The value of a tag; None when it has none of this name."""
    tags = found.get("tags")
    for tag in tags if isinstance(tags, list) else ():
        if isinstance(tag, dict) and tag.get("key") == key:
            return str(tag.get("value"))
    return None
