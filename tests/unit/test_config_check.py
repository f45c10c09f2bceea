"""Names that refer to each other, settings that contradict each other, and warnings."""

from __future__ import annotations

from pathlib import Path

import pytest

from alerthub.config import load
from tests.unit.config_files import REST, configured, problems, small_kinds

SMALL_REST = """
receivers: [{name: alerts, flag_configs: [{}]}]
route: {receiver: alerts}
"""
TOKEN = "0123456789abcdef"

NAMES = [
    # given twice
    ("people: [{name: a}, {name: b}, {name: a}]", "1:39: person `a` is here twice, first in line 1; rename one of them"),
    ("targets:\n- {name: b, type: bell}\n- {name: b, type: gate}",
     "3:10: target `b` is here twice, first in line 2; rename one of them"),
    ("actions: [{name: t, type: think}, {name: t, type: think}]",
     "1:42: action `t` is here twice, first in line 1; rename one of them"),
    ("sources: [{name: a, type: alertmanager}, {name: a, type: alertmanager}]",
     "1:49: source `a` is here twice, first in line 1; rename one of them"),
    ("time_intervals:\n- {name: t, time_intervals: [{}]}\n- {name: t, time_intervals: [{}]}",
     "3:10: time interval `t` is here twice, first in line 2; rename one of them"),
    # used, and not there
    ("heartbeats: [{name: h, interval: 1m, receiver: alrts}]", "1:48: there is no receiver `alrts`; did you mean `alerts`?"),
    ("heartbeats: [{name: h, interval: 1m, receiver: alerts, actions: [{name: x}]}]",
     "1:73: there is no action `x`; there are none"),
    ("actions: [{name: t, type: think}]\n"
     "heartbeats: [{name: h, interval: 1m, receiver: alerts, actions: [{name: t, targets: [x]}]}]",
     "2:86: there is no target `x`; there are none"),
    ("people: [{name: ayse}]\nschedules: [{name: s, layers: [{people: [ayse, ayshe]}]}]",
     "2:48: there is no person `ayshe`; did you mean `ayse`?"),
    ("targets: [{name: b, type: bell}]\nactions: [{name: r, type: ring, target: bb}]",
     "2:41: there is no target `bb`; did you mean `b`?"),
    ("targets: [{name: b, type: bell}]\nactions: [{name: r, type: ring, targets: [b, bell]}]",
     "2:46: there is no target `bell`; those of targets are b"),
    # steps
    ("escalation_policies: [{name: e, steps: [{notify: ['person:x']}]}]", "1:51: there is no person `x`; there are none"),
    ("escalation_policies: [{name: e, steps: [{notify: [schedule:x]}]}]", "1:51: there is no schedule `x`; there are none"),
    ("escalation_policies: [{name: e, steps: [{notify: [alerts, receiver:alert]}]}]",
     "1:59: there is no receiver `alert`; did you mean `alerts`?"),
    ("escalation_policies: [{name: e, steps: [{notify: [nobody]}]}]",
     "1:51: there is no person, schedule or receiver `nobody`; there are receiver:alerts"),
    ("people: [{name: alerts}]\nescalation_policies: [{name: e, steps: [{notify: [alerts]}]}]",
     "2:51: `alerts` is a person and a receiver; write person:alerts or receiver:alerts"),
    # the hub's own
    ("sources: [{name: alerthub, type: alertmanager}]", "1:18: alerthub is the hub's own source; choose another name"),
]


@pytest.mark.parametrize(("text", "problem"), NAMES)
def test_a_name_is_given_once_and_leads_somewhere(tmp_path: Path, text: str, problem: str) -> None:
    assert problems(tmp_path, text + "\n", rest=SMALL_REST, kinds=small_kinds()) == [problem]


ROUTES = [
    ("{}", ["3:8: the root route needs a receiver: it takes every alert that no other route takes"]),
    ("{receiver: a, matchers: ['a=b']}", ["3:32: the root route takes every alert, always; move matchers to a route below it"]),
    ("{receiver: a, match: {a: b}}", ["3:29: the root route takes every alert, always; move match to a route below it"]),
    ("{receiver: a, mute_time_intervals: [t]}",
     ["3:43: the root route takes every alert, always; move mute_time_intervals to a route below it"]),
    ("{receiver: a, active_time_intervals: [t]}",
     ["3:45: the root route takes every alert, always; move active_time_intervals to a route below it"]),
    ("{receiver: a, continue: true}", ["3:32: nothing comes after the root route; remove continue"]),
    ("{receiver: a, continue: false, matchers: []}", []),
    ("{receiver: b}", ["3:19: there is no receiver `b`; those of receivers are a"]),
    ("{receiver: a, escalation_policy: e}", ["3:41: there is no escalation policy `e`; there are none"]),
    ("{receiver: a, actions: [think, x]}", ["3:39: there is no action `x`; those of actions are think, x-1"]),
    ("{receiver: a, routes: [{mute_time_intervals: [t, u]}]}",
     ["3:57: there is no time interval `u`; those of time_intervals are t"]),
    ("{receiver: a, routes: [{active_time_intervals: [night]}]}",
     ["3:56: there is no time interval `night`; those of time_intervals are t"]),
    ("{receiver: a, routes: [{routes: [{receiver: c}]}, {receiver: d}]}",
     ["3:52: there is no receiver `c`; those of receivers are a", "3:69: there is no receiver `d`; those of receivers are a"]),
]


@pytest.mark.parametrize(("route", "expected"), ROUTES)
def test_the_routes_lead_to_what_there_is(tmp_path: Path, route: str, expected: list[str]) -> None:
    text = ("actions: [{name: think, type: think}, {name: x-1, type: think}]\n"
            f"receivers: [{{name: a, flag_configs: [{{}}]}}]\nroute: {route}\n"
            "time_intervals: [{name: t, time_intervals: [{}]}]\n")
    assert problems(tmp_path, text, kinds=small_kinds()) == expected


def test_a_file_without_routes_or_receivers_is_told_what_to_write(tmp_path: Path) -> None:
    assert problems(tmp_path, "server: {listen: 127.0.0.1:1}\n", kinds=small_kinds()) == [
        "1:1: receivers is missing; add at least one, with a name and a destination",
        "1:1: route is missing; add at least `route: {receiver: NAME}`, where what no other route takes goes"]


TARGETS = [
    ("actions: [{name: r, type: ring, target: g}]", ["1:41: target `g` is of type gate; ring acts on type bell"]),
    ("actions: [{name: r, type: ring, targets: [b, g]}]", ["1:46: target `g` is of type gate; ring acts on type bell"]),
    ("actions: [{name: r, type: ring, target_label: bell}]", []),
    ("actions: [{name: r, type: ring, target_label: bell, targets: [b]}]", []),
    ("actions: [{name: t, type: think}]", []),
    ("actions: [{name: s, type: shut, target_label: gate}, {name: r, type: ring, target: b}]", []),
]


@pytest.mark.parametrize(("text", "expected"), TARGETS)
def test_an_action_acts_on_targets_of_its_type(tmp_path: Path, text: str, expected: list[str]) -> None:
    rest = SMALL_REST.replace("route:", "targets: [{name: b, type: bell}, {name: g, type: gate}]\nroute:")
    assert problems(tmp_path, text + "\n", rest=rest, kinds=small_kinds()) == expected


def test_a_label_needs_a_target_that_it_can_name(tmp_path: Path) -> None:
    text = "actions: [{name: r, type: ring, target_label: bell}]\ntargets: [{name: g, type: gate}]\n"
    assert problems(tmp_path, text, rest=SMALL_REST, kinds=small_kinds()) == [
        "1:47: no target is of type bell, so the label bell can name none; add one to targets"]


OPEN = "add token_file, or listen on 127.0.0.1"
SERVERS = [
    ("server: {listen: 127.0.0.1:1}", []), ("server: {listen: 'localhost:1'}", []), ("server: {listen: '[::1]:1'}", []),
    ("server: {listen: 127.8.8.8:1}", []),
    ("server: {listen: 0.0.0.0:1, public_url: https://a.example}",
     [f"2:11: source am needs a token while the hub listens on 0.0.0.0; {OPEN}"]),
    ("server: {listen: '[::]:1', public_url: https://a.example}",
     [f"2:11: source am needs a token while the hub listens on ::; {OPEN}"]),
    ("server: {listen: 'hub.example.com:1', public_url: https://a.example}",
     [f"2:11: source am needs a token while the hub listens on hub.example.com; {OPEN}"]),
    ("server: {listen: 10.0.0.1:1}",
     ["1:18: with this address the hub is reached from other machines; add server.public_url, by which people open it",
      f"2:11: source am needs a token while the hub listens on 10.0.0.1; {OPEN}"]),
]


@pytest.mark.parametrize(("text", "expected"), SERVERS)
def test_an_open_source_is_for_this_machine_only(tmp_path: Path, text: str, expected: list[str]) -> None:
    text += "\nsources: [{name: am, type: alertmanager}]\n"
    assert problems(tmp_path, text, rest=SMALL_REST, kinds=small_kinds()) == expected
    assert problems(tmp_path, text, rest=REST) == expected


def test_a_source_with_a_token_may_be_reached_from_anywhere(tmp_path: Path) -> None:
    config = configured(tmp_path, f"""
        server: {{listen: 0.0.0.0:8095, public_url: https://hub.example.com/}}
        sources: [{{name: am, type: alertmanager, token: {TOKEN}}}, {{name: g, type: grafana, hmac_secret: {TOKEN}}}]
    """, rest=REST)
    assert (config.listen, config.is_loopback, config.model.server.public_url) == (
        ("0.0.0.0", 8095), False, "https://hub.example.com")


def test_without_sources_the_open_one_is_refused_elsewhere_too(tmp_path: Path) -> None:
    text = "server: {listen: 0.0.0.0:8095, public_url: https://hub.example.com}\n"
    [found] = problems(tmp_path, text, rest=REST)
    assert "source alertmanager needs a token" in found


def test_sections_without_a_mistake_are_checked_although_another_has_one(tmp_path: Path) -> None:
    assert problems(tmp_path, """
        log: {level: loud}
        server: {listen: 0.0.0.0:1, public_url: https://a.example}
        sources: [{name: am, type: alertmanager}]
        targets: [{name: g, type: gate}]
        actions: [{name: r, type: ring, target: g}]
        runbooks: {folder: /nowhere/at/all}
    """, rest=SMALL_REST, kinds=small_kinds()) == [
        "1:14: this must be debug, info, warning or error",
        f"3:11: source am needs a token while the hub listens on 0.0.0.0; {OPEN}",
        "5:41: target `g` is of type gate; ring acts on type bell",
        "6:20: there is no such folder; make it, or correct the path",
    ]


def test_what_follows_from_a_mistake_is_not_said(tmp_path: Path) -> None:
    """Neither an open source, when the sources cannot be read, nor a missing target, when the targets cannot."""
    assert problems(tmp_path, """
        server: {listen: 0.0.0.0:1, public_url: https://a.example}
        sources: [{name: am, type: alertmanager, tokn: x}]
        targets: [{name: b, type: bell, x: y}]
        actions: [{name: r, type: ring, target_label: bell}]
    """, rest=SMALL_REST, kinds=small_kinds()) == [
        "2:42: unknown key `tokn`; did you mean `token`?",
        "3:33: unknown key `x`; the keys here are name, release, rope, type"]


def test_a_name_of_the_environment_is_not_repeated(tmp_path: Path) -> None:
    text = "heartbeats: [{name: h, interval: 1m, receiver: '${WHO}'}]\n"
    assert problems(tmp_path, text, {"WHO": "canary"}, rest=SMALL_REST, kinds=small_kinds()) == [
        "1:48: there is no receiver `${WHO}`; those of receivers are alerts"]


# -- warnings

WARNINGS = [
    ("people: [{name: a}]\n", []),
    ("people: [{name: a}]\nschedules: [{name: s, layers: [{people: [a]}]}]\n",
     ["1:10: a may be called, but has no address; add slack, telegram or email"]),
    ("people: [{name: a, email: a@example.com}]\nschedules: [{name: s, layers: [{people: [a]}]}]\n", []),
    ("people: [{name: a}]\nescalation_policies: [{name: e, steps: [{notify: ['person:a', alerts]}]}]\n",
     ["1:10: a may be called, but has no address; add slack, telegram or email"]),
    ("escalation_policies: [{name: e, steps: [{notify: [alerts]}]}]\n", []),
    ("heartbeats: [{name: h, interval: 1m, receiver: alerts}]\n", []),
    ("actions: [{name: t, type: think}]\npeople: [{name: a, role: ml}]\n",
     ["1:10: nobody can lift a freeze of actions: give one of people the role admin or approver, or grants: [approver]"]),
    ("actions: [{name: t, type: think}]\npeople: [{name: a, role: ml, grants: [approver]}]\n", []),
    ("actions: [{name: t, type: think}]\npeople: [{name: a, role: admin}]\n", []),
    ("actions: [{name: t, type: think, approve: {role: ml, count: 2}}]\n"
     "people: [{name: a, role: ml}, {name: z, role: approver}]\n",
     ["1:43: 2 must approve t, but 1 of people have the role ml"]),
    ("actions: [{name: t, type: think, approve: {role: ml}}]\npeople: [{name: a, role: ml}, {name: z, role: approver}]\n", []),
    ("actions: [{name: t, type: think, approve: {role: ml}}]\n"
     "people: [{name: a, grants: [ml]}, {name: z, role: approver}]\n", []),
]


@pytest.mark.parametrize(("text", "expected"), WARNINGS)
def test_what_has_no_effect_is_said_as_a_warning(tmp_path: Path, text: str, expected: list[str]) -> None:
    config = configured(tmp_path, text, rest=SMALL_REST, kinds=small_kinds())
    assert [warning.removeprefix(f"{tmp_path}/alerthub.yml:") for warning in config.warnings] == expected


def test_deprecated_keys_of_routes_are_said_as_warnings(tmp_path: Path) -> None:
    config = configured(tmp_path, """
        receivers: [{name: a, flag_configs: [{}]}]
        route:
          receiver: a
          group_interval: 5m
          routes:
            - match: {severity: critical}
              routes:
                - match_re: {job: api|web}
    """, kinds=small_kinds())
    assert [warning.removeprefix(f"{tmp_path}/alerthub.yml:") for warning in config.warnings] == [
        "4:3: group_interval has no effect: Alertmanager has grouped, and news are told at once",
        "6:7: match is deprecated; write matchers: ['name=\"value\"']",
        "8:11: match_re is deprecated; write matchers: ['name=~\"value\"']"]


UNSERVED = [
    ("targets: [{name: a, type: agent, url: 'http://a:1', permit: {ttl: 9s}}]\n",
     ["1:53: there is nothing to sign this permit with, so the agent gets none and stays safe; add secret_file or key_file "
     "to permit"]),
    ("targets: [{name: a, type: agent, url: 'http://a:1'}]\n", []),
    ("sources: [{name: am, type: alertmanager, reconcile: {urls: ['http://am:9093'], write: true}}]\n", []),
    ("global: {slack_app_token: xapp-1-some-token, slack_team_id: T012AB3CD}\n", []),
    ("global: {slack_bot_token: xoxb-1-some-token}\n", []),
]


@pytest.mark.parametrize(("text", "expected"), UNSERVED)
def test_what_this_version_does_not_serve_is_said_with_its_place(tmp_path: Path, text: str, expected: list[str]) -> None:
    (tmp_path / "secret").write_text("0123456789abcdef")
    (tmp_path / "secret").chmod(0o600)
    config = configured(tmp_path, text, rest=REST)
    assert [warning.removeprefix(f"{tmp_path}/alerthub.yml:") for warning in config.warnings] == expected


@pytest.mark.parametrize(("key", "is_old"), [
    ("service_key", True), ("service_key_file", True), ("routing_key", False), ("routing_key_file", False)])
def test_the_old_key_of_pagerduty_is_said_as_a_warning(tmp_path: Path, key: str, is_old: bool) -> None:
    value = "canary0123456789"
    (tmp_path / "key").write_text(value)
    (tmp_path / "key").chmod(0o600)
    file = tmp_path / "alerthub.yml"
    file.write_text("route: {receiver: a}\nreceivers:\n- name: a\n"
                    f"  pagerduty_configs:\n  - client: x\n    {key}: {'key' if key.endswith('_file') else value}\n")
    warnings = load(file, {}).warnings
    assert len(warnings) == is_old
    assert all(warning.startswith(f"{file}:6:5: service_key is sent as routing_key") for warning in warnings)
    assert value not in "".join(warnings)


# -- the way into the safe state

@pytest.mark.parametrize(("kind", "given", "is_right"), [
    ("http", "direction: tighten, deadline: 45s", True), ("http", "direction: tighten", True),
    ("http", "direction: tighten, deadline: 1h", False), ("http", "direction: tighten, deadline: 45001ms", False),
    ("http", "direction: neutral, deadline: 1h", True), ("http", "deadline: 1h", True),
    ("safe_mode", "deadline: 45s", True), ("safe_mode", "deadline: 46s", False),
])
def test_what_tightens_ends_in_time_to_page_somebody(tmp_path: Path, kind: str, given: str, is_right: bool) -> None:
    target = "agent" if kind == "safe_mode" else "http"
    text = (f"targets: [{{name: t, type: {target}, url: 'http://127.0.0.1:1'}}]\n"
            f"actions: [{{name: a, type: {kind}, target: t, {given}}}]\n")
    place = f"2:{text.splitlines()[1].find('deadline: ') + len('deadline: ') + 1}"
    wrong = (f"{place}: deadline is at most 45s with direction tighten: when it is not done by then, a person must be paged "
             "within a minute")
    assert problems(tmp_path, text, rest=REST) == ([] if is_right else [wrong])
