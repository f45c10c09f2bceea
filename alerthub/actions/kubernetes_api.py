"""The Kubernetes API server, as far as one deployment needs it: a token that rotates, patches, and what its answers mean
(PROTOCOLS 6.3)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import quote

from pydantic import AfterValidator, Field, SecretStr, model_validator

from alerthub.actions.base import ActionWire
from alerthub.actions.deadline import Deadline
from alerthub.actions.exchange import Answer, Exchange, WebTarget, check_token, check_url
from alerthub.actions.read_back import persist
from alerthub.errors import ActionFailed
from alerthub.log import redact
from alerthub.settings import revealed

IN_CLUSTER = "https://kubernetes.default.svc"       # a name that every API server's certificate carries
ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"
REREAD = timedelta(minutes=1)           # bound tokens rotate; the kubelet renews the file long before the old one ends
ANSWER_BYTES = 2 * 1024 * 1024          # etcd takes objects up to 1.5 MB
PAGE, PAGES = 20, 100                   # autoscalers in one answer, and answers that are read
STRATEGIC = "application/strategic-merge-patch+json"
MERGE = "application/merge-patch+json"
UNAUTHORIZED = 401
NAMESPACE = r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$"
OBJECT = r"^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$"


def check_base(url: str) -> str:
    if "?" in check_url(url):
        raise ValueError("the address of an API server has no query: /apis/… is added to it")
    return url.rstrip("/")


class DeploymentTarget(WebTarget):
    """Without `url`: the cluster that the hub runs in, as its service account. `service_account` is the folder with the
    files token and ca.crt."""

    type: Literal["kubernetes"] = "kubernetes"
    url: Annotated[str, AfterValidator(check_base)] = IN_CLUSTER
    namespace: str = Field(pattern=NAMESPACE)
    deployment: str = Field(pattern=OBJECT)
    service_account: str | None = Field(default=None, min_length=1)
    min: int = Field(default=1, ge=0)
    max: int | None = Field(default=None, ge=1)

    @model_validator(mode="after")
    def check_limits(self) -> Self:
        if self.max is not None and self.min > self.max:
            raise ValueError(f"min is {self.min} and max is {self.max}; min is at most max")
        return self

    @model_validator(mode="after")
    def check_credentials(self) -> Self:
        if self.secret is not None:
            raise ValueError("an API server checks no signatures; remove secret, and give token_file")
        return self

    @property
    def account(self) -> Path | None:
        if self.service_account is not None:
            return Path(self.service_account)
        return Path(ACCOUNT) if self.url == IN_CLUSTER else None

    @property
    def token_path(self) -> Path | None:
        if self.token_file is not None:
            return Path(self.token_file)
        return self.account / "token" if self.account is not None and self.token is None else None

    @property
    def ca_path(self) -> Path | None:
        if self.tls_ca_file is not None:
            return Path(self.tls_ca_file)
        return self.account / "ca.crt" if self.account is not None and self.url.startswith("https://") else None


@dataclass(frozen=True, slots=True)
class Patch:
    """A change of one object. `media` says how the API server is to merge it."""

    path: str
    media: str
    body: Mapping[str, Any]


class Entrance:
    """The way in, with a token and an authority that are read anew every minute."""

    def __init__(self, target: DeploymentTarget, wire: ActionWire) -> None:
        self._target, self._wire = target, wire
        self._token, self._authority = revealed(target.token) or "", b""
        self._exchange: Exchange | None = None
        self._read_at: datetime | None = None

    def exchange(self) -> Exchange:
        """Raises ActionFailed when there is no token to enter with."""
        now = self._wire.clock.now()
        if self._exchange is None or self._read_at is None or not timedelta(0) <= now - self._read_at < REREAD:
            return self.reread()[0]
        return self._exchange

    def reread(self) -> tuple[Exchange, bool]:
        """And whether there is another token than before. A file that is away for a moment leaves what was read last."""
        self._read_at = self._wire.clock.now()
        try:
            token, authority = self._token_now(), self._authority_now()
            if self._exchange is not None and (token, authority) == (self._token, self._authority):
                return self._exchange, False
            self._exchange = self._made(token, former=self._token)
        except (OSError, ValueError) as error:
            if self._exchange is None:
                raise ActionFailed(self._no_entrance(error)) from None
            return self._exchange, False
        is_new = token != self._token
        self._token, self._authority = token, authority
        return self._exchange, is_new

    def clean(self, text: str) -> str:
        """On one line, and without the token."""
        return self._exchange.clean(text) if self._exchange is not None else redact(text)

    def _token_now(self) -> str:
        path = self._target.token_path
        if path is None:
            return self._token
        return check_token(SecretStr(path.read_text(encoding="utf-8").strip())).get_secret_value()

    def _authority_now(self) -> bytes:
        path = self._target.ca_path
        return path.read_bytes() if path is not None else b""

    def _made(self, token: str, former: str) -> Exchange:
        path = self._target.ca_path
        now = {"token": SecretStr(token) if token else None, "tls_ca_file": str(path) if path is not None else None}
        return Exchange(self._target.model_copy(update=now), self._wire, secrets=(former,) if former else (),
                        answer_bytes=ANSWER_BYTES)

    def _no_entrance(self, error: OSError | ValueError) -> str:
        what = f"cannot read {error.filename}: {error.strerror}" if isinstance(error, OSError) else str(error)
        hint = "; outside of a cluster, give the target url and token_file" if self._target.url == IN_CLUSTER else ""
        return f"no way into the API server: {what}{hint}"


class Cluster:
    """One deployment through its API server."""

    def __init__(self, target: DeploymentTarget, wire: ActionWire) -> None:
        self._target, self._clock = target, wire.clock
        self._entrance = Entrance(target, wire)
        self.name, self.kubectl = target.deployment, f"kubectl -n {target.namespace}"
        self.deployment_path = f"/apis/apps/v1/namespaces/{target.namespace}/deployments/{target.deployment}"
        self.scale_path = f"{self.deployment_path}/scale"
        self._autoscalers_path = f"/apis/autoscaling/v2/namespaces/{target.namespace}/horizontalpodautoscalers"

    async def ask(self, method: str, path: str, content: bytes, message_id: str, seconds: float, media: str = "") -> Answer:
        """Once. A token that is refused is read anew, and when it has changed, the same is asked again: nothing was done."""
        headers = {"User-Agent": "alerthub", **({"Content-Type": media} if media else {})}
        url, exchange = f"{self._target.url}{path}", self._entrance.exchange()
        answer = await exchange.ask(method, url, content, message_id, seconds, headers)
        if answer.status == UNAUTHORIZED:
            exchange, is_new = self._entrance.reread()
            if is_new:
                return await exchange.ask(method, url, content, message_id, seconds, headers)
        return answer

    async def read(self, path: str, message_id: str, until: Deadline, kind: str) -> dict[str, Any]:
        """The object, asked for until it comes. Raises ActionFailed for every other final answer."""
        answer = await persist(lambda seconds: self.ask("GET", path, b"", message_id, seconds), self._clock, until)
        return self.understood(answer, kind)

    def understood(self, answer: Answer, kind: str) -> dict[str, Any]:
        found = answer.json() if answer.status == 200 else {}
        if found.get("kind") != kind:
            raise ActionFailed(f"not done: {self.meaning(answer)}" if answer.status != 200 else
                               f"not done: the API server answered with something that is no {kind}")
        return found

    async def patch(self, patch: Patch, message_id: str, seconds: float, *, is_dry: bool = False) -> Answer:
        query = f"?{'dryRun=All&' if is_dry else ''}fieldManager=alerthub"
        return await self.ask("PATCH", patch.path + query, json.dumps(patch.body).encode(), message_id, seconds, patch.media)

    async def autoscaler(self, message_id: str, until: Deadline) -> str:
        """The name of the autoscaler that owns the number of replicas; "" for none. Raises ActionFailed when that cannot be
        known: a number that is set beside an autoscaler is undone by it."""
        mark = ""
        for _ in range(PAGES):
            found = await self._autoscalers(message_id, until, mark)
            for item in filter(self._is_owner, found["items"]):
                return str(part(item, "metadata").get("name"))
            mark = str(part(found, "metadata").get("continue") or "")
            if not mark:
                return ""
        raise ActionFailed("refused: whether an autoscaler owns it cannot be checked; their list does not end")

    async def _autoscalers(self, message_id: str, until: Deadline, mark: str) -> dict[str, Any]:
        path = f"{self._autoscalers_path}?limit={PAGE}{f'&continue={quote(mark)}' if mark else ''}"
        answer = await persist(lambda seconds: self.ask("GET", path, b"", message_id, seconds), self._clock, until)
        found = answer.json() if answer.status == 200 else {}
        if found.get("kind") != "HorizontalPodAutoscalerList" or not isinstance(found.get("items"), list):
            raise ActionFailed("refused: whether an autoscaler owns it cannot be checked; the hub must be allowed to list "
                               f"horizontalpodautoscalers.autoscaling: {self.meaning(answer)}")
        return found

    def _is_owner(self, item: Any) -> bool:
        owned = part(part(item, "spec"), "scaleTargetRef")
        return (owned.get("kind"), owned.get("name")) == ("Deployment", self.name)

    def meaning(self, answer: Answer) -> str:
        where = f"deployment {self.name} in namespace {self._target.namespace}"
        words = {
            200: "the API server answered with something else",
            UNAUTHORIZED: "the API server does not accept the token",
            403: "the API server does not allow it (RBAC or admission)",
            404: f"there is no {where}",
            409: f"somebody else changes the {where} at the same time",
            422: "the API server finds the change invalid",
            429: "the API server is overloaded",
        }
        said = self.said(answer)
        return f"{words.get(answer.status, 'the API server refused')} ({answer.status}{f': {said}' if said else ''})"

    def said(self, answer: Answer) -> str:
        """The message of a Status object, or the beginning of whatever came."""
        status = answer.json()
        message = status.get("message") if status.get("kind") == "Status" else None
        content = message.encode("utf-8", "replace") if isinstance(message, str) else answer.body
        return self._entrance.exchange().excerpt(content)

    def clean(self, text: str) -> str:
        return self._entrance.clean(text)

    def recorded(self, patch: Patch) -> dict[str, Any]:
        """What was asked for, for the record."""
        return {"method": "PATCH", "url": f"{self._target.url}{patch.path}?fieldManager=alerthub", "content_type": patch.media,
                "body": dict(patch.body)}


def part(value: Any, name: str) -> Mapping[str, Any]:
    """An object inside an object; empty for everything else."""
    found = value.get(name) if isinstance(value, Mapping) else None
    return found if isinstance(found, Mapping) else {}
