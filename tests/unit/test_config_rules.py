"""The configuration as the domain's rules: inheritance in the routing tree, targets of actions, sources."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from alerthub.config import Config, compile_rules
from alerthub.domain.matcher import Matcher
from alerthub.domain.route import Route, resolve
from alerthub.domain.rules import Approval, Blast, Circuit, Destination, Direction, Guards, Rules, RunMode
from alerthub.domain.runbook import Runbook
from tests.unit.config_files import REST, configured, problems, small_kinds

TREE = """
    receivers: [{name: a, flag_configs: [{}]}, {name: b, flag_configs: [{}]}]
    actions: [{name: x, type: think}, {name: y, type: think}, {name: z, type: think}]
    people: [{name: p}]
    escalation_policies: [{name: e, steps: [{notify: [p]}]}]
    time_intervals:
      - {name: night, time_intervals: [{times: [{start_time: 22:00, end_time: 24:00}]}]}
      - name: weekend
        time_intervals: [{weekdays: [saturday, sunday], location: Europe/Istanbul, months: [1:12], years: [2026],
                          days_of_month: [1:-1]}]
    route:
      receiver: a
      group_by: [alertname, agent]
      actions: [x]
      routes:
        - matchers: ['severity="critical"', '{job=~"api|web", env!="dev"}']
          receiver: b
          group_by: []
          group_wait: 30s
          repeat_interval: 1h30m
          escalation_policy: e
          actions: [y, x]
          continue: yes
          mute_time_intervals: [night]
          active_time_intervals: [weekend]
          routes:
            - {matchers: [a=b], actions: [z], group_by: [...]}
            - {}
        - match: {severity: warning}
          match_re: {job: api|web}
          matchers: [c=d]
"""


def rules_of(config: Config) -> Rules:
    return compile_rules(config, {receiver.name: () for receiver in config.model.receivers}, ())


def tree(folder: Path) -> Route:
    return rules_of(configured(folder, TREE, kinds=small_kinds())).route


def test_the_root_has_the_defaults(tmp_path: Path) -> None:
    root = tree(tmp_path)
    assert (root.receiver, root.place, root.matchers, root.continues, root.escalation_policy) == ("a", "route", (), False, "")
    assert (root.group_wait, root.repeat_interval) == (timedelta(0), timedelta(hours=4))
    assert (root.group_by, root.actions) == (("alertname", "agent"), ("x",))


def test_a_child_says_what_it_says(tmp_path: Path) -> None:
    child = tree(tmp_path).routes[0]
    assert child.matchers == (Matcher("severity", "=", "critical"), Matcher("job", "=~", "api|web"), Matcher("env", "!=", "dev"))
    assert (child.receiver, child.place, child.continues, child.escalation_policy) == ("b", "route.routes[0]", True, "e")
    assert (child.group_wait, child.repeat_interval) == (timedelta(seconds=30), timedelta(minutes=90))
    assert [interval.name for interval in (*child.mute, *child.active)] == ["night", "weekend"]


def test_an_empty_group_by_is_one_that_was_said(tmp_path: Path) -> None:
    root = tree(tmp_path)
    assert [root.group_by, root.routes[0].group_by, root.routes[0].routes[0].group_by, root.routes[0].routes[1].group_by,
            root.routes[1].group_by] == [("alertname", "agent"), (), ("...",), (), ("alertname", "agent")]


def test_actions_add_up_and_are_never_lost(tmp_path: Path) -> None:
    first, second = tree(tmp_path).routes
    assert [first.actions, first.routes[0].actions, first.routes[1].actions, second.actions] == [
        ("x", "y"), ("x", "y", "z"), ("x", "y"), ("x",)]


def test_a_grandchild_inherits_all_but_matchers_and_times(tmp_path: Path) -> None:
    grandchild = tree(tmp_path).routes[0].routes[1]
    assert (grandchild.receiver, grandchild.escalation_policy, grandchild.place) == ("b", "e", "route.routes[0].routes[1]")
    assert (grandchild.group_wait, grandchild.repeat_interval) == (timedelta(seconds=30), timedelta(minutes=90))
    assert (grandchild.matchers, grandchild.continues, grandchild.mute, grandchild.active) == ((), False, (), ())


def test_the_classic_matchers_are_matchers(tmp_path: Path) -> None:
    assert tree(tmp_path).routes[1].matchers == (
        Matcher("severity", "=", "warning"), Matcher("job", "=~", "api|web"), Matcher("c", "=", "d"))


def test_a_time_interval_means_what_it_says(tmp_path: Path) -> None:
    child = tree(tmp_path).routes[0]
    [night], [weekend] = child.mute, child.active
    assert night.contains(datetime(2026, 5, 1, 22, 0, tzinfo=UTC))
    assert not night.contains(datetime(2026, 5, 1, 21, 59, tzinfo=UTC))
    assert weekend.contains(datetime(2026, 5, 1, 21, 0, tzinfo=UTC))         # Saturday, midnight in Istanbul
    assert not weekend.contains(datetime(2026, 5, 3, 21, 0, tzinfo=UTC))
    assert not weekend.contains(datetime(2027, 5, 1, 12, 0, tzinfo=UTC))


@pytest.mark.parametrize(("labels", "places"), [
    ({}, ["route"]), ({"severity": "critical"}, ["route"]),
    ({"severity": "critical", "job": "api"}, ["route.routes[0].routes[1]"]),
    ({"severity": "critical", "job": "api", "a": "b"}, ["route.routes[0].routes[0]"]),
    ({"severity": "warning", "job": "web", "c": "d"}, ["route.routes[1]"]),
])
def test_the_compiled_tree_is_resolved(tmp_path: Path, labels: dict[str, str], places: list[str]) -> None:
    assert [route.place for route in resolve(tree(tmp_path), labels)] == places


# -- actions

ACTIONS = """
    receivers: [{name: a, flag_configs: [{}]}]
    route: {receiver: a}
    people: [{name: p, role: ml}]
    targets: [{name: b1, type: bell}, {name: g, type: gate}, {name: b2, type: bell, rope: thick}]
    actions:
      - {name: any, type: ring, target_label: bell}
      - {name: one, type: ring, target: b2, cooldown: 6h, max_per_hour: 2, deadline: 10s}
      - {name: some, type: ring, targets: [b1, b2], target_label: bell}
      - {name: shut, type: shut, target: g, direction: tighten}
      - {name: think, type: think, approve: {role: ml, count: 1, within: 15m}}
"""


def test_a_label_names_targets_of_the_right_type_only(tmp_path: Path) -> None:
    rules = rules_of(configured(tmp_path, ACTIONS, kinds=small_kinds()))
    assert {name: (rule.targets, rule.target_label) for name, rule in rules.actions.items()} == {
        "any": (("b1", "b2"), "bell"), "one": (("b2",), ""), "some": (("b1", "b2"), "bell"), "shut": (("g",), ""),
        "think": ((), "")}
    assert rules.targets == {"b1", "b2", "g"}


def test_an_action_keeps_its_guards(tmp_path: Path) -> None:
    actions = rules_of(configured(tmp_path, ACTIONS, kinds=small_kinds())).actions
    one, shut, think = actions["one"], actions["shut"], actions["think"]
    assert (one.type, one.direction, one.cooldown, one.max_per_hour, one.deadline, one.resumable, one.approval) == (
        "ring", Direction.neutral, timedelta(hours=6), 2, timedelta(seconds=10), False, None)
    assert (shut.direction, shut.resumable) == (Direction.tighten, True)
    assert think.approval == Approval("ml", 1, timedelta(minutes=15))


def test_an_action_has_the_usual_guards_unless_it_says_otherwise(tmp_path: Path) -> None:
    usual = rules_of(configured(tmp_path, ACTIONS, kinds=small_kinds()))
    one = usual.actions["one"]
    assert (one.mode, one.blast, one.circuit, usual.guards) == (RunMode.live, Blast(), Circuit(3, timedelta(hours=1)),
                                                                Guards(60, RunMode.live))
    own = ("cooldown: 6h",
           "mode: dry_run, blast_radius: {targets: 2, percent: 50, within: 5m}, circuit: {failures: 5, reset: 2h}")
    guarded = rules_of(configured(tmp_path, ACTIONS.replace(*own) + "    guards: {max_per_hour: 7, mode: shadow}\n",
                                  kinds=small_kinds()))
    one = guarded.actions["one"]
    assert (one.mode, one.blast, one.circuit, guarded.guards) == (
        RunMode.dry_run, Blast(2, 50, timedelta(minutes=5)), Circuit(5, timedelta(hours=2)), Guards(7, RunMode.shadow))
    assert one.version != usual.actions["one"].version


def test_a_circuit_can_be_left_out(tmp_path: Path) -> None:
    never = ACTIONS.replace("cooldown: 6h", "circuit: {failures: 0}")
    assert rules_of(configured(tmp_path, never, kinds=small_kinds())).actions["one"].circuit.failures == 0


@pytest.mark.parametrize(("guard", "name"), [
    ("approve: {role: ml}", "approve"), ("cooldown: 1m", "cooldown"), ("max_per_hour: 1", "max_per_hour"),
    ("mode: shadow", "mode"), ("mode: dry_run", "mode"), ("blast_radius: {targets: 1}", "blast_radius"),
    ("circuit: {failures: 3}", "circuit"), ("circuit: {failures: 0}", "circuit")])
def test_no_guard_can_be_put_on_a_tighten(tmp_path: Path, guard: str, name: str) -> None:
    text = ACTIONS.replace("direction: tighten", f"direction: tighten, {guard}")
    assert [found.partition(": ")[2] for found in problems(tmp_path, text, kinds=small_kinds())] == [
        f"direction tighten is never delayed or refused; remove {name}, or make it neutral"]


@pytest.mark.parametrize(("old", "new", "said"), [
    ("direction: tighten", "direction: relax", "relaxing is only the release of a latch, which people ask for and approve"),
    ("cooldown: 6h", "blast_radius: {within: 5m}", "say how many: targets: a number, or percent"),
    ("cooldown: 6h", "blast_radius: {percent: 101}", "100"), ("cooldown: 6h", "blast_radius: {targets: -1}", "0"),
    ("cooldown: 6h", "circuit: {failures: -1}", "0"), ("cooldown: 6h", "circuit: {reset: 0s}", "longer than 0"),
    ("cooldown: 6h", "mode: dry", "dry_run"), ("people:", "guards: {max_per_hour: -1}\n    people:", "0"),
])
def test_a_guard_that_cannot_be_is_refused(tmp_path: Path, old: str, new: str, said: str) -> None:
    (found,) = problems(tmp_path, ACTIONS.replace(old, new), kinds=small_kinds())
    assert said in found


@pytest.mark.parametrize(("old", "new", "changed"), [
    ("rope: thick", "rope: thin", {"any", "one", "some"}), ("max_per_hour: 2", "max_per_hour: 3", {"one"}),
    ("{name: g, type: gate}", "{name: g, type: gate}, {name: b3, type: bell}", {"any"}), ("name: p,", "name: q,", set()),
])
def test_the_version_of_an_action_is_that_of_its_settings_and_targets(
        tmp_path: Path, old: str, new: str, changed: set[str]) -> None:
    before = rules_of(configured(tmp_path, ACTIONS, kinds=small_kinds())).actions
    after = rules_of(configured(tmp_path, ACTIONS.replace(old, new), kinds=small_kinds())).actions
    assert {name for name in before if before[name].version != after[name].version} == changed
    assert all(len(rule.version) == 16 for rule in after.values())


# -- the rest

def test_sources_say_how_long_their_silence_is_tolerated(tmp_path: Path) -> None:
    sources = rules_of(configured(tmp_path, """
        sources:
          - name: am
            type: alertmanager
            stale_after: 2h
            reconcile: {urls: ["http://am-1:9093", "http://am-2:9093/"], interval: 30s}
          - {name: g, type: grafana}
    """, rest=REST)).sources
    assert (sources["am"].stale_after, sources["am"].reconcile_urls, sources["am"].reconcile_interval) == (
        timedelta(hours=2), ("http://am-1:9093", "http://am-2:9093"), timedelta(seconds=30))
    assert (sources["g"].type, sources["g"].stale_after, sources["g"].reconcile_urls) == ("grafana", timedelta(hours=12), ())


def test_what_composition_made_is_in_the_rules(tmp_path: Path) -> None:
    config = configured(tmp_path, """
        server: {public_url: https://hub.example.com/x/}
        database: {retention: 30d}
        reopen_window: 10m
    """, rest=REST)
    told = Destination("console:stdout", "console", "stdout", "alerts")
    runbook = Runbook("x", "X", ())
    rules = compile_rules(config, {"alerts": (told,)}, [runbook])
    assert rules.receivers["alerts"].destinations == (told,)
    assert (rules.runbooks, rules.public_url, rules.retention, rules.reopen_window, rules.version) == (
        (runbook,), "https://hub.example.com/x", timedelta(days=30), timedelta(minutes=10), config.version)


HTTP = """targets:
    - {name: drl, type: http, url: "http://127.0.0.1:9/run/key-0123456789?token=abc", method: PUT, token: key-0123456789}
    actions:
    - {name: retrain, type: http, target: drl, parameters: {reason: drift}, approve: {role: ml}}
"""


def test_who_must_agree_to_an_http_request_sees_where_it_goes_and_no_secret(tmp_path: Path) -> None:
    retrain = rules_of(configured(tmp_path, HTTP.replace("\n    ", "\n"), rest=REST)).actions["retrain"]
    assert retrain.does == ('parameters: {"reason":"drift"}', "request to drl: PUT http://127.0.0.1:9/run/***?…")


def test_the_guards_speak_of_times_where_people_live(tmp_path: Path) -> None:
    text = "answers: {time_zone: Europe/Istanbul}\n"
    assert rules_of(configured(tmp_path, text, rest=REST)).guards.time_zone == "Europe/Istanbul"
