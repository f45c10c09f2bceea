"""`alerthub serve` as a process of its own, in a folder of its own: started, stopped, killed, and started again there."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx

from tests.kit.binaries import LOCAL, Program

CHECKOUT = Path(__file__).parents[2]
SAMPLE = re.compile(r"([a-z_]+)(?:\{(.*)\})? (\S+)")


class HubProcess(Program):
    """`config` is the text of alerthub.yml; in it, ${HUB_LISTEN} is where this hub listens. SQLite files with a relative
    address lie in its folder, so a new start finds them again. `api_token`: its server.api_token, if it has one."""

    def __init__(self, config: str, environ: Mapping[str, str] | None = None, api_token: str = "") -> None:
        super().__init__("AlertHub")
        self.api_token = api_token
        # It runs in a folder of its own, and must run this checkout all the same.
        self.environ = {**os.environ, "PYTHONPATH": str(CHECKOUT), "HUB_LISTEN": f"127.0.0.1:{self.port}", **(environ or {})}
        (self.folder / "alerthub.yml").write_text(config)

    def command(self) -> list[str]:
        return [sys.executable, "-m", "alerthub", "serve"]

    def is_ready(self) -> bool:
        return self.answers("/readyz")

    def hook(self, source: str = "alertmanager") -> str:
        return f"{self.url}/hooks/{source}"

    def post(self, body: bytes | Mapping[str, Any], source: str = "alertmanager") -> int:
        """The status that the hub answers; 0 when it does not answer at all."""
        return post(self.hook(source), body)

    def get(self, path: str) -> httpx.Response:
        headers = {"authorization": f"Bearer {self.api_token}"} if self.api_token else {}
        return httpx.get(self.url + path, headers=headers, timeout=10, **LOCAL)

    def api(self, path: str) -> Any:
        """What GET /api/v1/… says."""
        answer = self.get(f"/api/v1/{path}")
        if answer.status_code != 200:
            raise AssertionError(f"the hub answers {answer.status_code} to {path}: {answer.text}")
        return answer.json()

    def incidents(self, status: str = "") -> list[dict[str, Any]]:
        """All of them, oldest first."""
        found: list[dict[str, Any]] = []
        page: dict[str, Any] = {"next": 2**62}
        while page["next"]:
            page = self.api(f"incidents?limit=200&status={status}&before={page['next']}")
            found += page["items"]
        return found[::-1]

    def runs(self) -> list[dict[str, Any]]:
        """All action runs, oldest first."""
        return list(reversed(self.api("actions/runs?limit=200")["items"]))

    def is_quiet(self) -> bool:
        """Nothing is due and nothing under way: what the hub has to say by now is said."""
        before = self.newest_delivery()
        if self.api("deliveries?state=sending&limit=1")["items"]:
            return False
        if not all(run["finished_at"] or run["state"] == "awaiting_approval" for run in self.runs()):
            return False
        if any(value for name, _, value in self.samples() if name == "alerthub_oldest_pending_seconds"):
            return False
        return self.newest_delivery() == before     # else one was claimed between the looks

    def newest_delivery(self) -> int:
        items = self.api("deliveries?limit=1")["items"]
        return int(items[0]["id"]) if items else 0

    def health(self) -> dict[str, str]:
        """By component: healthy, degraded or unhealthy."""
        answer = self.get("/health").json()
        return {name: part["status"] for name, part in answer["components"].items()}

    def metric(self, metric: str, **labels: str) -> float:
        """The sum of the samples of this name that have these labels."""
        wanted = {f'{name}="{value}"' for name, value in labels.items()}
        return sum(value for name, found, value in self.samples() if name == metric and wanted <= found)

    def samples(self) -> Iterator[tuple[str, set[str], float]]:
        text = self.get("/metrics").text
        for match in filter(None, map(SAMPLE.fullmatch, text.splitlines())):
            yield match[1], set((match[2] or "").split(",")), float(match[3])


def post(url: str, body: bytes | Mapping[str, Any]) -> int:
    content = {"content": body} if isinstance(body, bytes) else {"json": body}
    try:
        return httpx.post(url, timeout=10, **LOCAL, **content).status_code
    except httpx.TransportError:
        return 0
