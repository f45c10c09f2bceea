"""The files of deploy/ as a user puts them into service: with secrets, an environment, and the addresses of counterparts."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from tests.kit.prefect import PASSWORD, USER

DEPLOY = Path(__file__).parents[2] / "deploy"
SECRET_FOLDER = "/run/secrets"
AGENT_SIGNING = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oDx6a8wHNUE3s="
SECRETS = {
    "alerthub-token": "token-between-alertmanager-and-hub", "alerthub-api-token": "token-between-people-and-api",
    "slack-bot-token": "xoxb-corridor-0123456789",
    "telegram-bot-token": "123456789:AAE-corridor-bot-token", "smtp-password": "corridor-smtp-password",
    "pagerduty-routing-key": "0123456789abcdef0123456789abcdef", "agent-btc": AGENT_SIGNING, "permit-btc": AGENT_SIGNING,
    "permit-btc-token": "token-of-the-agent-for-its-permit",
    "slack-signing-secret": "corridor-slack-signing-0123456789", "prefect-password": PASSWORD,
    "mlflow-password": "corridor-mlflow-password", "kubernetes-token": "corridor-kubernetes-token",
}
ENVIRON = {
    "ALERTHUB_PUBLIC_URL": "https://hub.example.com", "SMTP_SMARTHOST": "127.0.0.1:587", "SMTP_FROM": "hub@example.com",
    "SMTP_USERNAME": "hub", "TELEGRAM_CHAT_ID": "-1001234567890", "RISK_EMAIL": "risk@example.com",
    "TEAM_EMAIL": "team@example.com", "ML_LEAD_SLACK": "U012AB3CD", "ML_DEPUTY_SLACK": "U045EF6GH",
    "RISK_OFFICER_SLACK": "U078IJ9KL", "RISK_OFFICER_EMAIL": "officer@example.com", "RISK_DEPUTY_SLACK": "U0AB1CD2E",
    "RISK_DEPUTY_EMAIL": "deputy@example.com", "RISK_ANALYST_SLACK": "U0CD2EF3G", "RISK_ANALYST_EMAIL": "analyst@example.com",
    "SLACK_TEAM_ID": "T012AB3CD", "ON_CALL_LEAD_EMAIL": "lead@example.com",
    "PREFECT_API": "http://127.0.0.1:4200/api", "PREFECT_USERNAME": USER, "MLFLOW_URL": "http://127.0.0.1:5000",
    "MLFLOW_USERNAME": "alerthub", "KUBERNETES_API": "https://kubernetes.example.com:6443",
}


def write_secrets(folder: Path, more: Mapping[str, str] | None = None) -> Path:
    """Each secret in a file that only its owner may read; the folder of them."""
    place = folder / "secrets"
    place.mkdir(mode=0o700)
    for name, secret in {**SECRETS, **(more or {})}.items():
        (place / name).touch(mode=0o600)
        (place / name).write_text(secret + "\n")
    return place


def deployed(name: str, secrets: Path, addresses: Mapping[str, str] | None = None) -> str:
    """The text of a file of deploy/. Only what is named in it changes: where secrets lie, and addresses (old → new)."""
    text = (DEPLOY / name).read_text(encoding="utf-8")
    for old, new in {SECRET_FOLDER: str(secrets), **(addresses or {})}.items():
        if old not in text:
            raise AssertionError(f"{name} does not name {old}")
        text = text.replace(old, new)
    return text


# -- what a file asks for that nobody has given: something of the right form

SHAPES = {
    r"routing[-_]key": "0123456789abcdef0123456789abcdef", r"telegram.*token": "123456789:AAE-another-bot-token",
    r"permit[\w-]*-token": "token-of-the-agent-for-its-permit", r"(agent|actions|sign|permit)": AGENT_SIGNING,
}
FORMS = {
    "_API$": "http://127.0.0.1:4200/api", "_URL$": "http://127.0.0.1:5000", "EMAIL": "somebody@example.com",
    "SLACK": "U067GH8IJ", "CHAT_ID|TELEGRAM": "-1009876543210", "PAGERDUTY": "PXPGF42",
}


def secrets_for(text: str) -> dict[str, str]:
    """Every secret that a file of deploy/ names."""
    names = re.findall(rf"{SECRET_FOLDER}/([\w.-]+)", text)
    return {name: SECRETS.get(name) or shaped(name, SHAPES, f"secret-of-{name}-0123456789") for name in names}


def environ_for(text: str) -> dict[str, str]:
    """Every variable that a file of deploy/ names. What stands in its comments does not count."""
    names = re.findall(r"\$\{(\w+)\}", re.sub(r"(?m)(^|\s)#.*$", "", text))
    return {name: ENVIRON.get(name) or shaped(name, FORMS, f"the-{name.lower()}") for name in names}


def shaped(name: str, forms: Mapping[str, str], otherwise: str) -> str:
    return next((value for pattern, value in forms.items() if re.search(pattern, name)), otherwise)
