"""The example of the design (5.1) as a file: secrets in files of a folder, and `http` where it says `prefect`."""

from __future__ import annotations

from pathlib import Path

SECRETS = ("am", "bot", "signing", "app", "telegram", "hook", "pd", "smtp")
EXAMPLE = """
server:        {listen: 127.0.0.1:8095, public_url: https://hub.example.com}
database:      {url: sqlite:///alerthub.db}
sources:
  - {name: alertmanager, type: alertmanager, token_file: @/am,
     reconcile: {urls: [http://am-1:9093, http://am-2:9093], interval: 1m}}
global:
  slack_bot_token_file: @/bot
  slack_signing_secret_file: @/signing
  slack_app_token_file: @/app
  slack_base_url: https://slack.com/api/
  telegram_api_url: https://api.telegram.org
  telegram_bot_token_file: @/telegram
  telegram_webhook_secret_file: @/hook
  pagerduty_url: https://events.pagerduty.com/v2/enqueue
  pagerduty_webhook_secret_file: @/pd
  smtp_smarthost: smtp:587
  smtp_from: hub@example.com
  smtp_auth_username: hub
  smtp_auth_password_file: @/smtp
  smtp_require_tls: true
people:
  - {name: ayse, role: responder, slack: U012AB3CD, telegram: 123456789, email: ayse@example.com, contact: [telegram, email]}
  - {name: mehmet, email: mehmet@example.com}
schedules:
  - {name: primary, time_zone: Europe/Istanbul, layers: [{rotation: weekly, handoff: "mon 09:00", people: [ayse, mehmet]}]}
  - {name: secondary, layers: [{rotation: custom, length: 3d, start: 2026-11-30, people: [mehmet, ayse],
                                restrictions: [{times: [{start_time: 08:00, end_time: 20:00}], weekdays: [monday:friday]}]}]}
escalation_policies:
  - {name: trading, steps: [{notify: [schedule:primary], wait: 5m},
                            {notify: [schedule:secondary, receiver:leads], wait: 10m}], repeat: 2}
receivers:
  - name: alerts
    slack_configs: [{channel: "#alerts"}]
  - name: leads
    telegram_configs: [{chat_id: -1001234567890}]
  - name: risk
    email_configs: [{to: risk@example.com}]
targets:
  - {name: agent-btc, type: agent, url: http://agent-btc:8000, permit: {ttl: 15s}}
  - {name: drl, type: http, url: http://prefect:4200/run}
actions:
  - {name: safe-mode, type: safe_mode, direction: tighten, target_label: agent}
  - {name: retrain, type: http, target: drl, cooldown: 6h, max_per_hour: 2, approve: {role: ml, count: 1, within: 15m}}
heartbeats:
  - {name: alertmanager-watchdog, matchers: ['alertname="Watchdog"'], interval: 2m, receiver: alerts,
     actions: [{name: safe-mode, targets: [agent-btc]}]}
route:
  receiver: alerts
  group_by: [alertname, agent]
  routes:
    - {matchers: ['alertname="AgentRewardNegative"'], receiver: risk, escalation_policy: trading, actions: [safe-mode],
       continue: true}
"""


def example(folder: Path, secret: str = "0123456789abcdef") -> str:
    for name in SECRETS:
        (folder / name).write_text(f"{'123456789:' if name == 'telegram' else ''}{secret}-{name}\n")
        (folder / name).chmod(0o600)
    return EXAMPLE.replace("@/", f"{folder}/")
