"""The real Prefect 3 server, and a process that runs its deployments; from .counterparts/prefect, an environment of its own."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, Self

import httpx

from tests.kit.binaries import LOCAL, Program, missing, wait_until

PLACE = Path(__file__).parents[2] / ".counterparts" / "prefect" / "bin"
TABLES = PLACE.parent / "tables.db"       # an empty database: to make it is more than half of what a start computes
USER, PASSWORD = "admin", "s3cret-of-the-server"
FLOWS = '''
from prefect import flow
from prefect.runtime import flow_run

@flow(name="retrain")
def retrain(agent: str = "nobody", epochs: int = 1, fails_first: bool = False):
    if fails_first and flow_run.run_count < 2:
        raise RuntimeError("the first time")

if __name__ == "__main__":
    retrain.serve(name="drl", print_starting_message=False)
'''


def prefect_program(name: str) -> str:
    path = PLACE / name
    if not (PLACE.parent / ".stamp").exists() or not path.exists():
        missing("Prefect server in .counterparts/prefect")
    return str(path)


class PrefectServer(Program):
    """SQLite, Basic authentication, and CSRF protection, in a folder of its own."""

    start_seconds = 90.0      # it takes 4 s of computing, and the very first time 9

    def __init__(self) -> None:
        self.binary = prefect_program("prefect")
        super().__init__("Prefect")
        self.database = self.folder / "prefect.db"
        self.environ = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "PYTHON"))},
            "PREFECT_HOME": str(self.folder), "DO_NOT_TRACK": "1", "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "PREFECT_API_DATABASE_CONNECTION_URL": f"sqlite+aiosqlite:///{self.database}",
            "PREFECT_SERVER_API_AUTH_STRING": f"{USER}:{PASSWORD}", "PREFECT_SERVER_CSRF_PROTECTION_ENABLED": "true",
            "PREFECT_SERVER_UI_ENABLED": "false",
        }
        self.client = httpx.Client(base_url=f"{self.url}/api", auth=(USER, PASSWORD), timeout=10, **LOCAL)

    def start(self) -> Self:
        if TABLES.exists() and not self.database.exists():
            shutil.copyfile(TABLES, self.database)
        super().start()
        if not TABLES.exists():
            self.keep_tables()
        return self

    def keep_tables(self) -> None:
        """For the servers of all runs to come: it lies beside the program that made them, and goes with it."""
        draft = TABLES.with_name(f"{self.folder.name}.db")
        with closing(sqlite3.connect(self.database)) as source, closing(sqlite3.connect(draft)) as target:
            source.backup(target)
        draft.replace(TABLES)

    @property
    def api(self) -> str:
        return f"{self.url}/api"

    def command(self) -> list[str]:
        return [self.binary, "server", "start", "--host", "127.0.0.1", "--port", str(self.port)]

    def is_ready(self) -> bool:
        return self.answers("/api/health")

    def close(self) -> None:
        self.client.close()
        super().close()

    def get(self, path: str) -> Any:
        answer = self.client.get(path)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def post(self, path: str, body: Mapping[str, Any]) -> Any:
        """With a CSRF token, as the server wants it."""
        token = self.get("/csrf-token?client=the-tests")["token"]
        answer = self.client.post(path, json=body, headers={"Prefect-Csrf-Token": token, "Prefect-Csrf-Client": "the-tests"})
        assert answer.is_success, answer.text
        return answer.json()

    def has_deployment(self, flow: str, name: str) -> str:
        """A new deployment that nobody runs; its id."""
        made = self.post("/flows/", {"name": flow})
        return str(self.post("/deployments/", {"name": name, "flow_id": made["id"]})["id"])

    def flow_runs(self) -> list[dict[str, Any]]:
        return list(self.post("/flow_runs/filter", {}))

    def state(self, flow_run: str) -> str:
        return str(self.get(f"/flow_runs/{flow_run}")["state"]["type"])

    def finished(self, flow_run: str, seconds: float = 60) -> str:
        """The state of a flow run once it has ended."""
        wait_until(lambda: self.state(flow_run) in ("COMPLETED", "FAILED", "CRASHED"), seconds, f"{flow_run} ends")
        return self.state(flow_run)


class PrefectRunner(Program):
    """Makes the deployment retrain/drl and runs its flow runs, until it is stopped."""

    def __init__(self, server: PrefectServer) -> None:
        self.server, self.binary = server, prefect_program("python")
        super().__init__("the runner of Prefect")
        self.environ = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "PYTHON"))},
            "PREFECT_HOME": str(self.folder), "DO_NOT_TRACK": "1", "PREFECT_API_URL": server.api,
            "PREFECT_API_AUTH_STRING": f"{USER}:{PASSWORD}", "PREFECT_CLIENT_CSRF_SUPPORT_ENABLED": "true",
            "PREFECT_RUNNER_POLL_FREQUENCY": "1",
        }
        (self.folder / "flows.py").write_text(FLOWS)

    def command(self) -> list[str]:
        return [self.binary, "flows.py"]

    def is_ready(self) -> bool:
        return self.server.client.get("/deployments/name/retrain/drl").status_code == 200
