"""The files of deploy/ as a user puts them into service: with secrets, an environment, and the addresses of counterparts."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

DEPLOY = Path(__file__).parents[2] / "deploy"
SECRET_FOLDER = "/run/secrets"
SIGNING = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwOdF3aX8hYc4="
AGENT_SIGNING = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oDx6a8wHNUE3s="
SECRETS = {
    "alerthub-token": "token-between-alertmanager-and-hub", "alerthub-api-token": "token-between-people-and-api",
    "slack-bot-token": "xoxb-corridor-0123456789",
    "telegram-bot-token": "123456789:AAE-corridor-bot-token", "smtp-password": "corridor-smtp-password",
    "pagerduty-routing-key": "0123456789abcdef0123456789abcdef", "agent-btc": AGENT_SIGNING, "actions": SIGNING,
}
ENVIRON = {
    "ALERTHUB_PUBLIC_URL": "https://hub.example.com", "SMTP_SMARTHOST": "127.0.0.1:587", "SMTP_FROM": "hub@example.com",
    "SMTP_USERNAME": "hub", "TELEGRAM_CHAT_ID": "-1001234567890", "RISK_EMAIL": "risk@example.com",
    "TEAM_EMAIL": "team@example.com",
}


def write_secrets(folder: Path) -> Path:
    """Each secret in a file that only its owner may read; the folder of them."""
    place = folder / "secrets"
    place.mkdir(mode=0o700)
    for name, secret in SECRETS.items():
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
