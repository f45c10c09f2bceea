"""One of the user's systems as it is deployed: its figures → the real Prometheus and Alertmanager → the hub with the shipped
files → people and machines. Only addresses, secrets and waiting times are the test's."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.kit.binaries import Alertmanager, Program, Prometheus, impatient, wait_until
from tests.kit.deployment import DEPLOY, ENVIRON, SECRETS, deployed, write_secrets
from tests.kit.exporter import FakeExporter
from tests.kit.hub_process import HubProcess
from tests.kit.providers.http import FakeProvider
from tests.kit.providers.kubernetes import ApiServer
from tests.kit.providers.pagerduty import FakePagerDuty
from tests.kit.providers.prefect import FakePrefect
from tests.kit.providers.slack import FakeSlack
from tests.kit.providers.smtp import FakeSmtp
from tests.kit.providers.telegram import FakeTelegram
from tests.kit.served import served

WATCHDOG = "Watchdog"


@dataclass
class System:
    """`name` is that of its files, and of its job in Prometheus. `alerts` are those of its rules, without the watchdog."""

    name: str
    alerts: frozenset[str]
    cluster: ApiServer
    environ: Mapping[str, str] = field(default_factory=dict)      # where a real Prefect and MLflow are, and what else differs
    slack: FakeSlack = field(default_factory=lambda: FakeSlack(SECRETS["slack-bot-token"]))
    telegram: FakeTelegram = field(default_factory=lambda: FakeTelegram(SECRETS["telegram-bot-token"]))
    post: FakeSmtp = field(default_factory=lambda: FakeSmtp(login=("hub", SECRETS["smtp-password"])))
    pagerduty: FakePagerDuty = field(default_factory=lambda: FakePagerDuty(SECRETS["pagerduty-routing-key"]))
    service: FakeExporter = field(default_factory=FakeExporter)
    prefect: FakePrefect = field(default_factory=FakePrefect)      # unless `environ` names another PREFECT_API
    scheduler: FakeProvider = field(init=False)
    kubernetes: FakeProvider = field(init=False)
    prometheus: Prometheus = field(init=False)
    alertmanager: Alertmanager = field(init=False)
    hub: HubProcess = field(init=False)

    def __post_init__(self) -> None:
        self.kubernetes, self.scheduler = FakeProvider(self.cluster), FakeProvider(self.prefect.answer)

    # --- who heard of what: one name per message, so what is told twice is here twice -----------------------------------

    def in_slack(self, word: str = "") -> list[str]:
        return self.named(message.text for message in self.slack.in_channels if word in message.text)

    def in_telegram(self, word: str = "") -> list[str]:
        return self.named(sent.text for sent in self.telegram.roots if word in sent.text)

    def paged(self, status: str = "") -> list[str]:
        return self.named(one.summary for one in self.pagerduty.incidents.values() if status in ("", one.status))

    def mailed(self) -> set[str]:
        """A set: each news of an incident is a mail of its own."""
        return set(self.named(str(mail.message["Subject"]) for mail in self.post.mails))

    def mailed_end(self, alert: str) -> bool:
        mails = [mail for mail in self.post.mails if alert in str(mail.message["Subject"])]
        return bool(mails) and "RESOLVED" in mails[-1].part("text/plain")

    def named(self, texts: Iterable[str]) -> list[str]:
        """The alert that each text begins with: its description may name others. A text about none of ours is given whole."""
        found = []
        for text in texts:
            known = [name for name in (*self.alerts, WATCHDOG) if name in text]
            found.append(min(known, key=text.index) if known else text)
        return sorted(found)

    # --- what the hub did -----------------------------------------------------------------------------------------------

    def runs(self) -> list[tuple[str, str]]:
        """Action and state of each run."""
        return sorted((run["action"], run["state"]) for run in self.hub.runs())

    def fires(self, *alerts: str) -> bool:
        """Prometheus has these firing, the watchdog, and nothing else."""
        return self.prometheus.firing() == {*alerts, WATCHDOG}

    def check_health(self) -> None:
        """No attempt failed on the way, nothing but the watchdog goes on, and no secret was written down."""
        assert set(self.hub.health().values()) == {"healthy"}
        assert {delivery["state"] for delivery in self.hub.api("deliveries?limit=200")["items"]} == {"sent"}
        assert {one["title"].split(" ")[0] for one in self.hub.incidents("open")} == {WATCHDOG}
        assert self.hub.metric("alerthub_errors_total") == 0
        assert not self.pagerduty.dropped
        assert not any(secret in self.hub.log.read_text() for secret in SECRETS.values())


def configured(system: System, secrets: Path) -> HubProcess:
    """The hub, not yet started: its own file, with the addresses of this stage."""
    more = {"slack_base_url": system.slack.base_url, "telegram_api_url": system.telegram.url,
            "pagerduty_url": system.pagerduty.enqueue_url, "smtp_tls_ca_file": system.post.ca_file}
    addresses = {"listen: 127.0.0.1:8095": "listen: ${HUB_LISTEN}", "http://127.0.0.1:9093": "${ALERTMANAGER}",
                 "\nglobal:\n": "\nglobal:\n" + "".join(f"  {key}: {value}\n" for key, value in more.items())}
    environ = {**ENVIRON, "SMTP_SMARTHOST": system.post.smarthost, "KUBERNETES_API": system.kubernetes.url,
               "PREFECT_API": f"{system.scheduler.url}/api", **system.environ}
    return HubProcess(deployed(f"systems/{system.name}.yml", secrets, addresses), environ, SECRETS["alerthub-api-token"])


@contextmanager
def on_stage(system: System, folder: Path) -> Iterator[System]:
    """All of it, started. The service is well: `system.service` has its figures already. Prometheus has seen it twice before
    anybody listens: with every `for` at 0, a system that was not yet scraped is one that is down."""
    secrets = write_secrets(folder)
    rules = impatient((DEPLOY / "prometheus" / "rules" / f"{system.name}.yml").read_text())
    with ExitStack() as stack:
        stack.enter_context(served(system.slack, system.telegram, system.post, system.pagerduty, system.kubernetes,
                                   system.scheduler, system.service))
        system.hub = configured(system, secrets)
        system.alertmanager = Alertmanager(deployed("alertmanager.yml", secrets, {
            "http://127.0.0.1:8095": system.hub.url, "group_interval: 30s": "group_interval: 1s"}))
        system.hub.environ = {**(system.hub.environ or {}), "ALERTMANAGER": system.alertmanager.url}
        system.prometheus = stack.enter_context(
            Prometheus(rules, [system.service.address], [system.alertmanager.url], system.name))
        wait_until(lambda: system.prometheus.query(f'count_over_time(up{{job="{system.name}"}}[1m]) > 1'), 30, "two looks")
        wait_until(system.fires, 30, "nothing but the watchdog fires")
        stack.enter_context(system.alertmanager)
        stack.enter_context(system.hub)
        yield system


@contextmanager
def together(*programs: Program) -> Iterator[None]:
    """Started at the same time: each needs many seconds for itself."""
    with ExitStack() as stack, ThreadPoolExecutor() as pool:
        for program in programs:
            stack.callback(program.close)
        list(pool.map(lambda program: program.start(), programs))
        yield
