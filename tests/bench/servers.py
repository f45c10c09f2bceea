"""The two that are measured, each a process of its own: the hub, and the bare application."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from pathlib import Path

from tests.kit.binaries import free_port, wait_until


class Server:
    """A process that answers on a loopback port. A context manager; stopped by its id."""

    ready_path = "/"

    def __init__(self) -> None:
        self.port = free_port()
        self.folder = Path(tempfile.mkdtemp(prefix="ah-bench-"))

    def command(self) -> list[str]:
        raise NotImplementedError

    def __enter__(self) -> Server:
        self.log = (self.folder / "log").open("ab")
        self.process = subprocess.Popen(self.command(), cwd=self.folder, stdout=self.log, stderr=self.log)
        wait_until(self.answers, 30, f"{type(self).__name__} answers")
        return self

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        self.process.wait(60)
        self.log.close()

    def answers(self) -> bool:
        if self.process.poll() is not None:
            raise AssertionError(f"{type(self).__name__} died:\n{(self.folder / 'log').read_text()[-2000:]}")
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{self.ready_path}", timeout=1):
                return True
        except urllib.error.HTTPError:
            return True
        except OSError:
            return False

    def memory(self, field: str) -> float:
        """VmRSS or VmHWM of the process, in MiB."""
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith(field):
                return int(line.split()[1]) / 1024
        raise AssertionError(f"no {field}")

    def get(self, path: str) -> dict[str, object]:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=10) as answer:
            return json.loads(answer.read())


class Bare(Server):
    def command(self) -> list[str]:
        return [sys.executable, "-m", "tests.bench.bare", str(self.port)]

    def __enter__(self) -> Server:
        self.folder = Path.cwd()
        self.log = Path(tempfile.mkdtemp(prefix="ah-bench-"), "log").open("ab")
        self.process = subprocess.Popen(self.command(), stdout=self.log, stderr=self.log)
        wait_until(self.answers, 30, "the bare application answers")
        return self


CONFIG = """
server: {{listen: "127.0.0.1:{port}"}}
database: {{url: '{database}', retention: {retention}}}
log: {{level: warning}}
sources: [{{name: alertmanager, type: alertmanager}}]
receivers:
  - name: provider
    {channel}
  - name: other
    slack_configs: [{{channel: "#other", api_url: "{provider}other"}}]
route:
  receiver: provider
  group_by: {group_by}
  routes:
    - {{matchers: ['severity="critical"'], receiver: other, continue: true}}
    - {{matchers: ['team=~"platform|data"'], receiver: provider}}
"""


SLACK = 'slack_configs: [{{channel: "#alerts", api_url: "{provider}services"}}]'
WEBHOOK = 'webhook_configs: [{{url: "{provider}", secret: whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA}}]'


class Hub(Server):
    """`alerthub serve` on SQLite in a folder of its own, or on the database of this address: routes, lanes, history and metrics
    on."""

    ready_path = "/readyz"

    def __init__(self, provider: str, group_by: str = "[alertname, cluster]", channel: str = SLACK,
                 database: str = "sqlite:///hub.db", retention: str = "90d") -> None:
        super().__init__()
        (self.folder / "alerthub.yml").write_text(CONFIG.format(
            port=self.port, provider=provider, group_by=group_by, database=database, retention=retention,
            channel=channel.format(provider=provider)))

    def command(self) -> list[str]:
        return [sys.executable, "-m", "alerthub", "serve"]


SHARDED = """
server: {{listen: "127.0.0.1:{port}"}}
database: {{url: "{database}"}}
log: {{level: warning}}
sources: [{{name: alertmanager, type: alertmanager}}]
receivers:
{receivers}
route:
  receiver: shard-0
  group_by: [alertname, instance]
  routes:
{routes}
"""
RECEIVER = """  - name: shard-{shard}
    webhook_configs: [{{url: "{provider}{shard}", secret: whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA}}]"""
ROUTE = """    - {{matchers: ['shard="{shard}"'], receiver: shard-{shard}}}"""


class ShardedHub(Hub):
    """Every alert opens an incident; its label `shard` leads it to one of several webhook receivers."""

    def __init__(self, provider: str, shards: int, database: str = "sqlite:///hub.db") -> None:
        Server.__init__(self)
        (self.folder / "alerthub.yml").write_text(SHARDED.format(
            port=self.port, database=database,
            receivers="\n".join(RECEIVER.format(shard=shard, provider=provider) for shard in range(shards)),
            routes="\n".join(ROUTE.format(shard=shard) for shard in range(shards))))


CLICKED = """
server: {{listen: "127.0.0.1:{port}"}}
database: {{url: "sqlite:///hub.db"}}
log: {{level: warning}}
sources: [{{name: alertmanager, type: alertmanager}}]
global:
  slack_base_url: "{provider}"
  slack_bot_token: xoxb-bench
  slack_signing_secret: {slack_secret}
  pagerduty_webhook_secret: {pagerduty_secret}
people: [{{name: ayse, slack: U012AB3CD, pagerduty: PLH1HKV}}]
receivers: [{{name: alerts, slack_configs: [{{channel: "#alerts"}}]}}]
route: {{receiver: alerts, group_by: [alertname, instance]}}
"""


class ClickedHub(Server):
    """A hub with one Slack channel, which hears Slack and PagerDuty."""

    ready_path = "/readyz"

    def __init__(self, provider: str, slack_secret: str, pagerduty_secret: str) -> None:
        super().__init__()
        (self.folder / "alerthub.yml").write_text(CLICKED.format(
            port=self.port, provider=provider, slack_secret=slack_secret, pagerduty_secret=pagerduty_secret))

    def command(self) -> list[str]:
        return [sys.executable, "-m", "alerthub", "serve"]
