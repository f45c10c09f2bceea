"""What the hub goes by, on a page and over the API: no secret is in it, a reload that failed says why, a route tester tells."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator

import pytest

from tests.kit.clock import FakeClock
from tests.kit.hub import RunningHub, running_hub
from tests.kit.pages import Reader, read
from tests.web.test_pages import EVIL

pytestmark = pytest.mark.anyio
API = "/api/v1/configuration"
SECRETS = ("token-of-ayse-0123456789abcdef", "token-of-adam-0123456789abcdef",
           "very-secret-hook", "whsec_b2YtdGhlLWhvb2stb2YtdGhpcy10ZXN0LTAxMjM0NTY=",
           "path-with-a-key",
           "hook-token-0123456789abcdef", "ayse@example.com", "U012AB3CD")
CONFIG = """
server: {api_token: shared-token-of-the-hub-0123456789}
answers: {time_zone: Europe/Istanbul}
sources:
  - {name: alertmanager, type: alertmanager, token: hook-token-0123456789abcdef,
     reconcile: {urls: ["http://127.0.0.1:9093/path-with-a-key"], interval: 1m}}
people:
  - {name: ayse, role: responder, slack: U012AB3CD, email: ayse@example.com, contact: [email],
     api_token: token-of-ayse-0123456789abcdef}
  - {name: adam, role: admin, email: adam@example.com, api_token: token-of-adam-0123456789abcdef}
global: {smtp_smarthost: "127.0.0.1:1", smtp_from: hub@example.com}
schedules:
  - {name: primary, time_zone: Europe/Istanbul, layers: [{rotation: weekly, handoff: "mon 09:00", people: [ayse, adam]}]}
escalation_policies:
  - {name: trading, steps: [{notify: [schedule:primary], wait: 5m}]}
receivers:
  - {name: console, console_configs: [{}]}
  - {name: hook, webhook_configs: [{url: "https://hooks.example.com/very-secret-hook",
     secret: "whsec_b2YtdGhlLWhvb2stb2YtdGhpcy10ZXN0LTAxMjM0NTY="}]}
targets:
  - {name: agent-btc, type: agent, url: "http://127.0.0.1:9/"}
actions:
  - {name: safe-mode, type: safe_mode, direction: tighten, target_label: agent}
time_intervals:
  - {name: nights, time_intervals: [{times: [{start_time: "12:00", end_time: "13:00"}]}]}
route:
  receiver: console
  group_by: [alertname, agent]
  routes:
    - {matchers: ['severity="critical"'], receiver: hook, escalation_policy: trading, actions: [safe-mode]}
    - {matchers: ['team="db"'], receiver: console, mute_time_intervals: [nights], continue: true}
"""


@pytest.fixture
async def hub(clock: FakeClock) -> AsyncIterator[RunningHub]:
    async with running_hub(CONFIG, clock=clock) as running:
        yield running


def as_(name: str) -> dict[str, str]:
    return {"authorization": f"Bearer token-of-{name}-0123456789abcdef"}


async def page(hub: RunningHub, path: str = "/configuration", status: int = 200, by: str = "ayse") -> Reader:
    answer = await hub.get(path, headers=as_(by))
    assert answer.status_code == status, answer.text
    return read(answer.text)


async def test_everything_that_is_configured_is_named(hub: RunningHub) -> None:
    text = re.sub(r"\s+", " ", (await page(hub)).text)
    for words in ("console", "hook", 'severity="critical"', "grouped by alertname, agent", "policy trading", "safe-mode", "ayse",
                  "Known by email, slack", "primary", "Europe/Istanbul", "agent-btc", "tighten", "muted in nights", "continues",
                  "alertmanager", "http://127.0.0.1:9093", "The last reload had no problem.", hub.hub.rules.version[:12]):
        assert words.removeprefix("Known by ") in text, words
    for book in hub.hub.rules.runbooks:
        assert book.title in text


async def test_no_secret_is_in_it(hub: RunningHub) -> None:
    for path in ("/configuration", API, "/configuration?labels=severity=critical,agent=agent-btc",
                 "/api/v1/routes/test?label=severity=critical&label=agent=agent-btc"):
        text = (await hub.get(path, headers=as_("ayse"))).text
        for secret in (*SECRETS, "shared-token-of-the-hub"):
            assert secret not in text, (path, secret)


async def test_the_tree_is_indented_as_it_is_nested(hub: RunningHub) -> None:
    found = (await hub.get(API, headers=as_("ayse"))).json()
    assert [(one["place"], one["depth"]) for one in found["routes"]] == [
        ("route", 0), ("route.routes[0]", 1), ("route.routes[1]", 1)]
    assert found["loaded_at"] == hub.hub.clock.now().isoformat()


async def test_the_tester_says_where_an_alert_goes_and_why_not_elsewhere(hub: RunningHub) -> None:
    shown = await page(hub, "/configuration?labels=severity%3Dcritical%0Aagent%3Dagent-x")
    text = re.sub(r"\s+", " ", shown.text)
    for words in ("hook by route.routes[0]", "Escalation policy: trading", "agent=agent-x",
                  'safe-mode: agent="agent-x" names no target',
                  "route.routes[0] matches before it and does not continue", "No silence covers it.", "goes here"):
        assert words in text, words


async def test_a_silence_that_covers_it_is_shown(hub: RunningHub) -> None:
    await hub.client.post("/api/v1/silences", headers=as_("ayse"), json={"matchers": ['team="db"'], "duration": "1h"})
    text = (await page(hub, "/configuration?labels=team=db")).text
    assert "Silence 1 by ayse" in text
    assert "muted now" not in text
    found = (await hub.get("/api/v1/routes/test?label=team=db", headers=as_("ayse"))).json()
    assert found["silence"]["number"] == 1


async def test_odd_labels_are_answered_and_cannot_act(hub: RunningHub) -> None:
    odd = [*EVIL, "x", "=", "a=b," * 60, "x" * 2001]
    for given in (*odd, *(f"alertname={text}" for text in odd)):
        answer = await hub.get("/configuration", params={"labels": given}, headers=as_("ayse"))
        assert answer.status_code in (200, 400)
        read(answer.text)
        assert (await hub.get("/api/v1/routes/test", params={"label": given}, headers=as_("ayse"))).status_code in (200, 400)


# -- reading the file again

async def reloaded(hub: RunningHub, by: str) -> Reader:
    answer = await hub.fill("/configuration/reload", headers=as_(by))
    if answer.status_code == 303:
        answer = await hub.client.get("/configuration", headers=as_(by))
    return read(answer.text) if answer.headers["content-type"].startswith("text/html") else read(f"<p>{answer.status_code}</p>")


async def test_an_admin_has_the_file_read_again(hub: RunningHub, clock: FakeClock) -> None:
    assert "Read the file again" in (await page(hub, by="adam")).text
    before = hub.hub.rules.version
    hub.path.write_text(hub.path.read_text() + "\nreopen_window: 2h\n")
    clock.advance(minutes=5)
    assert "Taken over: version" in (await reloaded(hub, "adam")).text
    assert hub.hub.rules.version != before
    assert hub.hub.loaded_at == clock.now()


async def test_a_bad_file_changes_nothing_and_what_is_wrong_stays_to_be_read(hub: RunningHub) -> None:
    before, good = hub.hub.rules, hub.path.read_text()
    hub.path.write_text(good + "\nnonsense: <b>1</b>\n")
    text = (await reloaded(hub, "adam")).text
    assert "was not taken over" in text
    assert "nonsense" in text
    assert hub.hub.rules is before
    assert "nonsense" in json.dumps((await hub.get(API, headers=as_("ayse"))).json()["problems"])
    hub.path.write_text(good)
    assert "The last reload had no problem." in (await reloaded(hub, "adam")).text


async def test_nobody_else_may(hub: RunningHub) -> None:
    assert "Read the file again" not in (await page(hub)).text
    hub.path.write_text(hub.path.read_text() + "\nreopen_window: 2h\n")
    before = hub.hub.rules
    await reloaded(hub, "ayse")
    assert hub.hub.rules is before


async def test_of_the_built_in_configuration_it_says_calmly_what_there_is_not(clock: FakeClock) -> None:
    async with running_hub(clock=clock) as plain:
        text = read((await plain.get("/configuration")).text).text
        for words in ("Nobody is configured.", "No action is configured.", "No target is configured.", "None is configured."):
            assert words in text
