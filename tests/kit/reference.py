"""The README's table of settings, made from the models. `python -m tests.kit.reference` writes it; a guard compares."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from alerthub.config import schema

README = Path(__file__).parents[2] / "README.md"
BEGIN, END = "<!-- reference: begin -->", "<!-- reference: end -->"
# Where each model stands in the file, in the order in which a reader meets them.
PLACES = {
    "Server": "server", "Ping": "server, ping", "Database": "database", "Log": "log", "Telemetry": "telemetry",
    "Runbooks": "runbooks", "Global": "global",
    "FlappingSettings": "flapping",
    "AlertmanagerSettings": "sources, type alertmanager", "Reconcile": "sources, reconcile",
    "GrafanaSettings": "sources, type grafana", "GenericSettings": "sources, type generic",
    "RouteSettings": "route and routes", "Receiver": "receivers",
    "SlackConfig": "slack_configs", "TelegramConfig": "telegram_configs", "EmailConfig": "email_configs",
    "PagerdutyConfig": "pagerduty_configs", "WebhookConfig": "webhook_configs", "ConsoleConfig": "console_configs",
    "TimeIntervalSettings": "time_intervals", "PeriodSettings": "time_intervals, one period", "Times": "time_intervals, times",
    "AgentTarget": "targets, type agent", "PermitSettings": "targets, permit",
    "ReleaseSettings": "targets, release", "AgentReleaseSettings": "targets, type agent, release",
    "ReleaseApprove": "targets, release, approve", "HttpTarget": "targets, type http",
    "PrefectTarget": "targets, type prefect", "RegistryTarget": "targets, type mlflow",
    "DeploymentTarget": "targets, type kubernetes", "AlertmanagerTarget": "targets, type alertmanager",
    "PrefectSettings": "actions, type prefect", "MlflowSettings": "actions, type mlflow",
    "KubernetesSettings": "actions, type kubernetes", "CommandSettings": "actions, type command", "Commands": "commands",
    "SilenceSettings": "actions, type silence",
    "SafeModeSettings": "actions, type safe_mode", "HttpSettings": "actions, type http", "Approve": "actions, approve",
    "BlastSettings": "actions, blast_radius", "CircuitSettings": "actions, circuit", "GuardsSettings": "guards",
    "AnswersSettings": "answers", "Person": "people",
    "Schedule": "schedules", "Layer": "schedules, layers", "Restriction": "schedules, restrictions",
    "EscalationPolicy": "escalation_policies", "Step": "escalation_policies, steps", "Heartbeat": "heartbeats",
    "HeartbeatAction": "heartbeats, actions", "AccessSettings": "access", "SessionSettings": "access, session",
    "OidcSettings": "access, oidc",
}


def described(name: str, value: dict[str, Any], required: bool) -> str:
    """`repeat_interval` (4h); a key that must be given stands in bold."""
    default = value.get("default")
    shown = f" ({str(default).lower() if isinstance(default, bool) else default})" if default not in (None, "", [], {}) else ""
    return (f"**`{name}`**" if required else f"`{name}`") + shown


def row(place: str, block: dict[str, Any]) -> str:
    required = set(block.get("required", ()))
    keys = [described(name, value, name in required) for name, value in block["properties"].items()]
    return f"| {place} | {' '.join(keys)} |"


def reference() -> str:
    """Every block with its keys; defaults in brackets."""
    whole = schema()
    top = {"properties": {name: {} for name in whole["properties"]}, "required": whole.get("required", ())}
    rows = [row("the file", top)]
    rows += [row(place, whole["$defs"][name]) for name, place in PLACES.items() if whole["$defs"][name].get("properties")]
    if unplaced := sorted(name for name, block in whole["$defs"].items() if block.get("properties") and name not in PLACES):
        raise AssertionError(f"no place in the file is named for {unplaced}; add them to PLACES")
    return "\n".join(["| block | keys |", "|---|---|", *rows])


def part(text: str) -> tuple[str, str, str]:
    """What stands before the reference, the reference, and what stands after it."""
    before, _, rest = text.partition(BEGIN)
    inside, _, after = rest.partition(END)
    return before, inside.strip(), after


def main() -> None:
    before, _, after = part(README.read_text(encoding="utf-8"))
    README.write_text(f"{before}{BEGIN}\n{reference()}\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
