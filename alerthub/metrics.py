"""What the hub counts of itself, for Prometheus. Labels have few values: never a label value of an alert, never an id."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Metric, ProcessCollector, generate_latest

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
# What an error or a lost lease is counted under. Each is there from the start, at 0: of a counter that is born at 1 `increase`
# does not see the first step.
ERRORS = ("web", "metrics", "claim", "deliver", "act", "rounds", "listening", "sweep")
LOST = ("late", "unsettled")
SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 15)


class Registry(CollectorRegistry):
    """Without the `_created` times that the library adds to every series: nobody asks for them, and they double the page."""

    def collect(self) -> Iterable[Metric]:
        for family in super().collect():
            family.samples = [sample for sample in family.samples if not sample.name.endswith("_created")]
            yield family


class Metrics:
    """One registry per hub, so that two hubs in one process (tests, demo) do not mix."""

    def __init__(self) -> None:
        registry = self.registry = Registry()
        self.webhooks = Counter(
            "alerthub_webhooks_total", "Webhooks answered, by source and HTTP status.", ["source", "status"], registry=registry)
        self.webhook_seconds = Histogram(
            "alerthub_webhook_duration_seconds", "From the request to its answer, commit included.", ["source"],
            buckets=SECONDS, registry=registry)
        self.observations = Counter(
            "alerthub_observations_total", "Alerts received, by what they meant.", ["verdict"], registry=registry)
        self.events = Counter("alerthub_events_total", "Changes of incidents, by kind.", ["kind"], registry=registry)
        self.count_work(registry)
        self.answers = Counter(
            "alerthub_answers_total", "What people asked, by the kind of account and how it ended.", ["kind", "outcome"],
            registry=registry)
        self.oldest_pending = Gauge(
            "alerthub_oldest_pending_seconds", "Age of the oldest delivery that is due, by channel.", ["channel"],
            registry=registry)
        self.open_incidents = Gauge(
            "alerthub_open_incidents", "Open incidents, by severity.", ["severity"], registry=registry)
        self.failing_destinations = Gauge(
            "alerthub_failing_destinations", "Destinations whose last attempt failed.", registry=registry)
        self.dead_lanes = Gauge(
            "alerthub_dead_lanes", "Dead letters that wait for a replay: one per incident and destination.", registry=registry)
        self.latched = Gauge(
            "alerthub_latched_targets", "Targets that must be safe, by whether they have confirmed that they are.", ["verified"],
            registry=registry)
        self.database = Gauge(
            "alerthub_database_available", "1 when the database could be read for this page and its last write succeeded.",
            registry=registry)
        self.errors = Counter(
            "alerthub_errors_total", "Errors that the hub did not expect; each is in the log with its traceback.", ["where"],
            registry=registry)
        self.reconciliations = Counter(
            "alerthub_reconciliations_total", "Questions to a source which alerts fire, by outcome.", ["source", "outcome"],
            registry=registry)
        self.reload = Gauge(
            "alerthub_config_last_reload_successful", "1 when the last reload of the configuration was taken over.",
            registry=registry)
        self.reload.set(1)
        ProcessCollector(namespace="alerthub", registry=registry)       # memory, processor time, open files: from /proc
        for where in ERRORS:
            self.errors.labels(where)

    def count_work(self, registry: CollectorRegistry) -> None:
        """What the worker does: deliveries and actions."""
        self.deliveries = Counter(
            "alerthub_deliveries_total", "Attempts to deliver, by channel and outcome (sent, or why it failed).",
            ["channel", "outcome"], registry=registry)
        self.delivery_seconds = Histogram(
            "alerthub_delivery_duration_seconds", "One attempt, until the provider answered.", ["channel"],
            buckets=SECONDS, registry=registry)
        self.dead_letters = Counter(
            "alerthub_dead_letters_total", "Deliveries given up.", ["channel"], registry=registry)
        self.possible_duplicates = Counter(
            "alerthub_possible_duplicates_total", "Deliveries repeated because the first may have arrived.", ["channel"],
            registry=registry)
        self.leases_lost = Counter(
            "alerthub_leases_lost_total", "Claimed work not ended in its lease, by cause: held up for too long (late), or its "
            "outcome could not be stored (unsettled).", ["cause"], registry=registry)
        self.actions = Counter(
            "alerthub_action_runs_total", "Action runs ended, by action and state.", ["action", "state"], registry=registry)
        self.refused = Counter(
            "alerthub_action_refused_total", "Action runs that were not run, by action and reason.", ["action", "reason"],
            registry=registry)
        self.action_seconds = Histogram(
            "alerthub_action_duration_seconds", "One action run, verification included.", ["action"],
            buckets=(*SECONDS, 30, 60), registry=registry)
        for cause in LOST:
            self.leases_lost.labels(cause)
        self.calls = Counter(
            "alerthub_calls_total", "Times that this replica looked for work because another one called.", registry=registry)
        self.line = Gauge(
            "alerthub_hears_replicas", "1 while the other replicas on PostgreSQL are heard (LISTEN); 0 with SQLite.",
            registry=registry)

    def text(self) -> bytes:
        return generate_latest(self.registry)
