"""The real MLflow server, on SQLite; from .counterparts/mlflow, an environment of its own."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx

from tests.kit.binaries import LOCAL, Program, missing

PLACE = Path(__file__).parents[2] / ".counterparts" / "mlflow"


def mlflow_program() -> str:
    path = PLACE / "bin" / "mlflow"
    if not (PLACE / ".stamp").exists() or not path.exists():
        missing("MLflow server in .counterparts/mlflow")
    return str(path)


class RealMlflow(Program):
    """One worker, everything in a folder of its own. It begins empty, and without authentication."""

    start_seconds = 90.0      # it imports much, and migrates its database first

    def __init__(self) -> None:
        self.binary = mlflow_program()
        super().__init__("MLflow")
        self.environ = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW_", "PYTHON"))},
            "MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true",
            # Evaluations in the background: eight processes more that each import it all, and end slowly.
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        }
        self.client = httpx.Client(base_url=f"{self.url}/api/2.0/mlflow", timeout=30, **LOCAL)

    def command(self) -> list[str]:
        return [self.binary, "server", "--host", "127.0.0.1", "--port", str(self.port), "--workers", "1",
                "--backend-store-uri", f"sqlite:///{self.folder}/mlflow.db", "--default-artifact-root", f"{self.folder}/files"]

    def is_ready(self) -> bool:
        return self.answers("/health")

    def close(self) -> None:
        self.client.close()
        super().close()

    def post(self, path: str, body: Mapping[str, Any]) -> Any:
        answer = self.client.post(path, json=dict(body))
        assert answer.status_code == 200, answer.text
        return answer.json()

    def get(self, path: str, **query: str) -> Any:
        answer = self.client.get(path, params=query)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def has_model(self, name: str, versions: int) -> None:
        """A new model with so many versions."""
        self.post("/registered-models/create", {"name": name})
        for _ in range(versions):
            self.post("/model-versions/create", {"name": name, "source": "s3://models/drl"})

    def tags(self, name: str, version: str) -> dict[str, str]:
        found = self.get("/model-versions/get", name=name, version=version)["model_version"]
        return {tag["key"]: tag["value"] for tag in found.get("tags", [])}
