"""The demo tells of the real rules and routes, and never of what it has not seen."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from string import Template
from typing import Any

import httpx
import pytest
import yaml

from alerthub.config import load
from alerthub.demo import story
from alerthub.demo.alerts import AGENT, DRIFT, ETL, LATENCY, REWARD, StoryAlert, webhook
from alerthub.demo.counterparts import TARGETS, Accounts
from alerthub.demo.screen import Line, Screen
from alerthub.demo.stage import CONFIG, Stage, listen
from alerthub.demo.story import ACTS, ENDING, Act, Cast, Story
from alerthub.demo.witness import Witness
from alerthub.domain.alert import AlertStatus
from alerthub.errors import AlerthubError
from alerthub.sources.alertmanager import Alertmanager, AlertmanagerSettings
from alerthub.toy_agent import ToyAgent
from tests.kit.clock import START, FakeClock

DEPLOY = Path(__file__).parents[2] / "deploy"
RULES = {rule["alert"]: rule for group in yaml.safe_load((DEPLOY / "prometheus/rules/drl.yml").read_text())["groups"]
         for rule in group["rules"] if "alert" in rule}
ALERTS = [pytest.param(act.alert, id=act.alert.name) for act in ACTS]
HUB, TOY = "http://hub.test", "http://agent.test"


def pattern(template: str) -> str:
    """A rule's text with anything where Prometheus fills in."""
    return ".+".join(re.escape(part) for part in re.split(r"\{\{.*?\}\}", template))


class TestTheAlerts:
    @pytest.mark.parametrize("alert", ALERTS)
    def test_their_labels_are_those_of_the_rule(self, alert: StoryAlert) -> None:
        own = {"alertname": alert.name, "agent": AGENT, **({"feature": "spread"} if alert is DRIFT else {})}
        assert alert.labels == {**RULES[alert.name]["labels"], **own}

    @pytest.mark.parametrize("alert", ALERTS)
    def test_their_texts_are_those_of_the_rule(self, alert: StoryAlert) -> None:
        texts = {"summary": alert.summary, "description": alert.description}
        assert texts.keys() == RULES[alert.name]["annotations"].keys()
        for name, template in RULES[alert.name]["annotations"].items():
            assert re.fullmatch(pattern(template), texts[name]), (template, texts[name])

    @pytest.mark.parametrize("alert", ALERTS)
    def test_the_hub_reads_them_as_alertmanagers(self, alert: StoryAlert) -> None:
        source = Alertmanager(AlertmanagerSettings(name="alertmanager"))
        (firing,) = source.parse(webhook(alert, START), START).alerts
        assert (firing.status, dict(firing.labels), firing.starts_at) == (AlertStatus.firing, alert.labels, START)
        end = START + timedelta(minutes=1)
        (over,) = source.parse(webhook(alert, START, end), end).alerts
        assert (over.status, dict(over.labels), over.ends_at) == (AlertStatus.resolved, alert.labels, end)

    @pytest.mark.parametrize("alert", ALERTS)
    def test_the_bodies_have_every_field_of_a_recorded_one(self, alert: StoryAlert) -> None:
        (recorded,) = (Path(__file__).parents[1] / "sources/payloads").glob("alertmanager-01-*.json")
        real, made = json.loads(recorded.read_bytes()), json.loads(webhook(alert, START))
        assert made.keys() == real.keys()
        assert made["alerts"][0].keys() == real["alerts"][0].keys()
        assert made["version"] == real["version"]

    @pytest.mark.parametrize("alert", ALERTS)
    def test_the_agent_takes_their_figures_and_shows_each_of_their_samples(self, alert: StoryAlert) -> None:
        agent = ToyAgent(name=AGENT)
        for values in (alert.ill, alert.well):
            agent.set_all(dict(values))
            lines = agent.exposition().splitlines()
            assert all(any(line.startswith(sample) for line in lines) for sample in alert.samples)

    def test_the_figures_of_the_agent_are_ill_in_the_sense_of_the_rules(self) -> None:
        assert REWARD.ill["rolling_reward"] < 0 < REWARD.well["rolling_reward"]
        assert DRIFT.ill["feature_drift_ks_pvalue"]["spread"] < 0.01
        failed, succeeded = ETL.ill["etl_flow_failure_total"], ETL.ill["etl_flow_success_total"]
        assert failed / (failed + succeeded) == 0.08        # as its summary says
        slow = [latency for latency in LATENCY.ill["inference_latency_seconds"] if latency > 0.5]
        assert len(slow) / len(LATENCY.ill["inference_latency_seconds"]) > 0.05


# --- the configuration ------------------------------------------------------------------------------------------------------

def filled(folder: Path) -> Path:
    """The demo's configuration with addresses, and with the files that it names."""
    secrets = {"slack-bot-token": "xoxb-1", "telegram-bot-token": "1:abc", "pagerduty-routing-key": "k" * 32,
               "actions": "whsec_" + "A" * 44, "agent-btc": "whsec_" + "A" * 44}
    for name, secret in secrets.items():
        (folder / name).touch(mode=0o600)
        (folder / name).write_text(secret)
    text = Template(CONFIG.read_text(encoding="utf-8")).substitute(
        PORT=8095, FOLDER=folder, OUTSIDE="http://127.0.0.1:1", AGENT="http://127.0.0.1:2", SMARTHOST="127.0.0.1:3", CHAT=4)
    path = folder / "alerthub.yml"
    path.write_text(text, encoding="utf-8")
    return path


def assert_only_blind(warnings: Sequence[str]) -> None:
    """The demo has no Alertmanager that could be asked, and says itself what that means; there is nothing else to warn of."""
    assert [warning for warning in warnings if "no reconcile" not in warning and "reconcile)" not in warning] == []
    assert len(warnings) == 1


class TestTheConfiguration:
    @pytest.fixture
    def ours(self, tmp_path: Path) -> dict[str, Any]:
        return dict(yaml.safe_load(filled(tmp_path).read_text(encoding="utf-8")))

    @pytest.fixture
    def real(self) -> dict[str, Any]:
        return dict(yaml.safe_load((DEPLOY / "alerthub.yml").read_text(encoding="utf-8")))

    def test_what_happens_is_what_a_real_one_does(self, ours: dict[str, Any], real: dict[str, Any]) -> None:
        """The machines of the demo are one receiver of signed requests; a real one has Prefect, MLflow and Kubernetes."""
        def named(section: list[dict[str, Any]]) -> list[tuple[str, str]]:
            return [(entry["name"], entry["direction"]) for entry in section]

        assert ours["route"] == real["route"]
        assert named(ours["actions"]) == named(real["actions"])

    def test_it_has_the_same_receivers_of_the_same_kinds(self, ours: dict[str, Any], real: dict[str, Any]) -> None:
        def kinds(entries: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
            return [(entry["name"], *(key for key in entry if key.endswith("_configs"))) for entry in entries]

        assert kinds(ours["receivers"]) == kinds(real["receivers"])
        assert [ours["targets"][0][key] for key in ("name", "type")] == [real["targets"][0][key] for key in ("name", "type")]

    def test_the_hub_takes_it_and_has_nothing_else_to_warn_of(self, tmp_path: Path) -> None:
        config = load(filled(tmp_path), {})
        assert_only_blind(config.warnings)
        assert config.is_loopback

    def test_neither_has_it_of_the_one_that_the_stage_writes(self, tmp_path: Path) -> None:
        folder = tmp_path / 'with "quotes" and spaces'
        folder.mkdir()
        with listen(0) as hub, listen(0) as agent, listen(0) as outside, listen(0) as post:
            config = Stage(folder, hub, agent, outside, post, Accounts(), FakeClock()).configured()
            assert config.listen == hub.getsockname()
        assert_only_blind(config.warnings)
        assert {path.stat().st_mode & 0o077 for path in folder.iterdir() if path.suffix != ".yml"} == {0}
        assert "xoxb" not in (folder / "alerthub.yml").read_text(encoding="utf-8")

    def test_every_address_in_it_is_on_this_machine(self, ours: dict[str, Any]) -> None:
        texts = re.findall(r"https?://[^\s\"/]+", yaml.safe_dump(ours))
        assert {text.rpartition("/")[2].partition(":")[0] for text in texts} == {"127.0.0.1"}

    def test_every_target_of_an_action_has_its_counterpart(self, ours: dict[str, Any]) -> None:
        assert {target["name"] for target in ours["targets"] if target["type"] == "http"} == set(TARGETS)

    @pytest.mark.parametrize("act", ACTS, ids=lambda act: act.alert.name)
    def test_each_act_expects_what_the_routes_say(self, tmp_path: Path, act: Act) -> None:
        config = load(filled(tmp_path), {})
        kinds = {receiver: kind for receiver, kind, _ in config.channel_entries() if receiver != "platform"}
        tree: Mapping[str, Any] = yaml.safe_load(config.path.read_text(encoding="utf-8"))["route"] if config.path else {}
        matched = list(routes_of(tree, act.alert.labels))
        assert {kinds[route["receiver"]] for route in matched} == set(act.counterparts)
        assert sorted(action for route in matched for action in route.get("actions", ())) == list(act.actions)

    def test_all_that_ends_has_begun_and_something_stays_open(self) -> None:
        assert [act.alert for act in ACTS if act.alert not in ENDING] == [DRIFT]
        assert len(ENDING) == len(ACTS) - 1


def routes_of(tree: Mapping[str, Any], labels: Mapping[str, str]) -> list[Mapping[str, Any]]:
    """The child routes that match, in Alertmanager's order; these have no more than one `=` matcher."""
    found = []
    for route in tree["routes"]:
        name, _, value = route["matchers"][0].partition("=")
        if value == f'"{labels.get(name)}"':
            found.append(route)
            if not route.get("continue"):
                break
    return found


# --- what is seen -----------------------------------------------------------------------------------------------------------

Answers = Callable[[httpx.Request], httpx.Response]


def told_by(answers: Answers, patience: float = 0.0) -> tuple[Story, io.StringIO]:
    """A story over a scripted hub and agent."""
    paper = io.StringIO()
    screen = Screen(paper)
    http = httpx.AsyncClient(transport=httpx.MockTransport(answers))
    return Story(Cast(HUB, TOY, Path("/folder")), screen, Witness(screen), http, FakeClock(), patience), paper


def incident(**overrides: Any) -> dict[str, Any]:
    return {"number": 1, "title": "AgentRewardNegative", "severity": "critical", "status": "triggered", "events": [{"seq": 1}],
            "alert_list": [{"labels": REWARD.labels}], "actions": [], "deliveries": [], "items": [{"number": 1}], **overrides}


def hub(mode: str = "trading", status: int = 200, **overrides: Any) -> Answers:
    """One incident, and an agent in one mode, whatever is asked."""

    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.host == "agent.test":
            text = ToyAgent(name=AGENT).exposition()
            return httpx.Response(200, text=text) if request.url.path == "/metrics" else httpx.Response(200, json={"mode": mode})
        if request.method == "POST":
            return httpx.Response(status, text="the database is away")
        return httpx.Response(200, json=incident(**overrides))

    return answer


RUN = {"action": "safe-mode", "state": "succeeded", "report": {"detail": "the agent says that it is in safe mode"}}


@pytest.mark.anyio
class TestNothingIsToldThatWasNotSeen:
    async def test_an_agent_that_does_not_go_safe_is_not_told_to_be(self) -> None:
        teller, paper = told_by(hub(mode="trading", actions=[RUN]))
        with pytest.raises(AlerthubError, match="in vain for the agent to be in safe mode"):
            await teller.see_safe(1)
        assert paper.getvalue() == ""

    @pytest.mark.parametrize("state", ["proposed", "started", "failed", "unknown"])
    async def test_an_action_that_has_not_succeeded_verifies_nothing(self, state: str) -> None:
        teller, paper = told_by(hub(mode="safe", actions=[{**RUN, "state": state}]))
        with pytest.raises(AlerthubError, match="in vain for the hub to verify that the agent is safe"):
            await teller.see_safe(1)
        assert "verified" not in paper.getvalue()

    async def test_a_verified_agent_is_told(self) -> None:
        teller, paper = told_by(hub(mode="safe", actions=[RUN]))
        await teller.see_safe(1)
        assert "mode safe" in paper.getvalue()
        assert "The hub has verified it: the agent says that it is in safe mode" in paper.getvalue()

    async def test_an_alert_that_the_hub_does_not_take_opens_nothing(self) -> None:
        teller, paper = told_by(hub(status=503))
        with pytest.raises(AlerthubError, match="answers 503: the database is away"):
            await teller.open(ACTS[0])
        assert paper.getvalue() == ""

    async def test_another_incident_is_not_taken_for_ours(self) -> None:
        teller, paper = told_by(hub(alert_list=[{"labels": ETL.labels}]))
        with pytest.raises(AlerthubError, match="in vain for an incident for AgentRewardNegative"):
            await teller.open(ACTS[0])
        assert "is open" not in paper.getvalue()

    async def test_an_incident_that_is_open_is_told(self) -> None:
        teller, paper = told_by(hub())
        assert await teller.open(ACTS[0]) == 1
        assert "Incident #1 is open: AgentRewardNegative, critical." in paper.getvalue()

    @pytest.mark.parametrize(("delivery", "seen", "expected"), [
        ({"destination": "email:risk@example.com", "state": "sent", "up_to_seq": 2}, "email", True),
        ({"destination": "email:risk@example.com", "state": "sent", "up_to_seq": 1}, "email", False),
        ({"destination": "email:risk@example.com", "state": "failed", "up_to_seq": 2}, "email", False),
        ({"destination": "slack:#alerts", "state": "sent", "up_to_seq": 2}, "slack", False),
        ({"destination": "email:risk@example.com", "state": "sent", "up_to_seq": 2}, "slack", False),
    ], ids=["told", "not of the newest", "failed", "another channel", "hub says so, nobody saw it"])
    async def test_told_means_that_hub_and_counterpart_agree(
            self, delivery: dict[str, Any], seen: str, expected: bool) -> None:
        teller, _ = told_by(hub(events=[{"seq": 1}, {"seq": 2}], deliveries=[delivery]))
        teller.witness.note(seen, "title", [Line("#1")])
        assert await teller.told(1, ("email",)) is expected

    async def test_an_incident_that_stays_open_is_not_told_as_resolved(self) -> None:
        teller, paper = told_by(hub())
        teller.numbers = {act.alert.name: 1 for act in ACTS}
        teller.began = {act.alert.name: START for act in ACTS}
        with pytest.raises(AlerthubError, match="in vain for incident #1 to be resolved"):
            await teller.end(5)
        assert "✔" not in paper.getvalue()

    async def test_an_agent_that_stays_safe_is_told(self) -> None:
        teller, paper = told_by(hub(mode="safe"))
        await teller.see_still_safe()
        assert "still in mode safe" in paper.getvalue()

    async def test_an_agent_that_left_safe_mode_is_not(self) -> None:
        teller, paper = told_by(hub(mode="trading"))
        with pytest.raises(AlerthubError, match="in vain for the agent to be in safe mode still"):
            await teller.see_still_safe()
        assert paper.getvalue() == ""

    async def test_a_hub_that_does_not_answer_is_a_plain_error(self) -> None:
        def silent(request: httpx.Request) -> httpx.Response:
            raise httpx.ConnectError("refused")

        teller, paper = told_by(silent)
        with pytest.raises(AlerthubError, match=r"^http://agent.test/mode does not answer \(ConnectError\)$"):
            await teller.introduce()
        assert "mode:" not in paper.getvalue()

    async def test_an_api_that_is_busy_is_asked_again(self) -> None:
        answers = [httpx.Response(503), httpx.Response(200, json=incident(status="resolved"))]
        teller, _ = told_by(lambda request: answers.pop(0), patience=5)
        assert await teller.until("the end", lambda: teller.resolved(1)) is True
        assert answers == []


def test_the_command_for_the_newcomer_fits_its_row_and_is_an_alert() -> None:
    (alert,) = Alertmanager(AlertmanagerSettings(name="alertmanager")).parse(story.TRY.encode(), START).alerts
    assert alert.labels["alertname"] == "MyFirst"
    assert len(story.TRY) < 74
