"""What only construction finds is told together with every other mistake of the file, each once and at its place."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.config_files import REST, problems, small_kinds

ALL_AT_ONCE = """
speling: 1
receivers:
- name: a
  slack_configs:
  - channel: '#a'
    title: '{{ labels.'
    text: "{% if x %}"
    send_resolved: true
  - {channel: '#b', chanel: x}
- name: b
  email_configs:
  - to: b@example.com
    headers: {Subject: '{{ .Status }}'}
    html: '{{ nosuchword }}'
targets:
- {name: agent, type: agent, url: 'http://127.0.0.1:1'}
- {name: web, type: http, url: 'http://127.0.0.1:1', secret: whsec_short}
actions:
- {name: act, type: http, target: agent}
route: {receiver: a, reciever: b}
"""
PIGEONS = "receivers:\n- name: a\n  pigeon_configs:\n  - {}\nroute: {{receiver: a}}\n"
JINJA = "this is a Go template; here templates are Jinja2: write {{ labels.alertname }}"


def of_pigeon(folder: Path, entry: str, before: str = "") -> list[str]:
    return problems(folder, PIGEONS.format(entry), rest=before, kinds=small_kinds())


def test_every_mistake_is_in_one_answer_in_the_order_of_the_file(tmp_path: Path) -> None:
    found = problems(tmp_path, ALL_AT_ONCE)
    expected = [
        "1:1: unknown key `speling`",
        "5:5: give global.slack_bot_token_file, or an api_url (incoming webhook)",
        "6:12: this template cannot be used: line 1: ",
        "7:11: this template cannot be used: line 1: ",
        "9:21: unknown key `chanel`; did you mean `channel`?",
        "12:5: no sender; set smtp_from under global, or from here",
        f"13:24: {JINJA}",
        "14:11: this template cannot be used: line 1: ",
        "17:62: a signing secret is whsec_ followed by base64",
        "19:35: target `agent` is of type agent; http acts on type http",
        "20:22: unknown key `reciever`; did you mean `receiver`?",
    ]
    assert [line[:len(start)] for line, start in zip(found, expected, strict=True)] == expected


def test_a_file_without_other_mistakes_is_tried_as_well(tmp_path: Path) -> None:
    text = "receivers: [{name: a, telegram_configs: [{chat_id: 1, message: '{{ x'}]}]\nroute: {receiver: a}\n"
    found = problems(tmp_path, text)
    assert [line.partition(" ")[0] for line in found] == ["1:42:", "1:64:"]
    assert found[0] == "1:42: no bot token; set telegram_bot_token_file under global, or bot_token_file here"


@pytest.mark.parametrize(("entry", "expected"), [
    ("{coo: '{{ labels.agent }}', trill: '{{ title }}'}", []),
    ("{coo: '{{', trill: '{{'}", ["4:11", "4:24"]),
    ("{coo: '{{ .Labels }}', trill: '{{- range .Alerts }}'}", ["4:11", "4:35"]),
    ("{loft: '{{ not a template of ours'}", []),                     # and no mistake either
    ("{loft: hungry, coo: '{{'}", ["4:5", "4:25"]),
    ("{loft: burnt}", ["4:12"]),                                      # a text that begins with a key is about that key
    ("{loft: hungry, wieght: 1}", ["4:20"]),                          # nothing more is said of an entry that is wrong
])
def test_each_template_and_then_the_rest_of_an_entry_is_told_at_its_place(
        tmp_path: Path, entry: str, expected: list[str]) -> None:
    found = of_pigeon(tmp_path, entry)
    assert [line.partition(": ")[0] for line in found] == expected
    assert [JINJA in line for line in found] == [".Labels" in entry] * len(expected)


@pytest.mark.parametrize("shared", [
    "global: {pigeon_seed_file: /nowhere}", "global: {pigeon_sed: x}", "global: {pigeon_seed: '${UNSET}'}", "global: 5",
])
def test_what_a_mistake_under_global_leads_to_is_not_told_but_templates_are(tmp_path: Path, shared: str) -> None:
    places = [line.partition(": ")[0] for line in of_pigeon(tmp_path, "{loft: hungry, coo: '{{'}", shared)]
    assert len(places) == 2
    assert places[0] == "4:25"
    assert places[1].startswith("6:")


def test_what_an_unset_variable_leads_to_is_not_told(tmp_path: Path) -> None:
    text = "receivers: [{name: a, slack_configs: [{channel: '${UNSET}'}]}]\nglobal: {slack_bot_token: xoxb-1-token}\n"
    [found] = problems(tmp_path, text + "route: {receiver: a}\n")
    assert found.startswith("1:49: the environment variable UNSET is not set")


def test_two_entries_of_one_anchor_are_told_once(tmp_path: Path) -> None:
    text = ("receivers:\n- name: a\n  pigeon_configs: [&it {loft: hungry}]\n- name: b\n  pigeon_configs: [*it]\n"
            "route: {receiver: a}\n")
    assert problems(tmp_path, text, kinds=small_kinds()) == [
        "3:20: no seed; give pigeon_seed under global, or seed here"]


def test_no_part_of_a_secret_is_told_as_a_bad_template(tmp_path: Path) -> None:
    [found] = of_pigeon(tmp_path, "{loft: burnt, seed: '{{ canary canary'}")
    assert found == "4:12: loft is burnt, with all of [secret]; name another"


ACTIONS = [
    ("actions: [{name: t, type: think, summary: nothing}]", ["1:11: action t: summary says nothing to think of; write what"]),
    ("targets: [{name: b, type: bell, rope: short}, {name: c, type: bell, rope: short}]\n"
     "actions: [{name: r, type: ring, targets: [b, c]}]", ["2:11: action r: the rope of a bell is too short; take a longer one"]),
    ("targets: [{name: b, type: bell, rope: short}, {name: c, type: bell}]\nactions: [{name: r, type: ring, target: c}]", []),
    ("targets: [{name: b, type: bell, rope: short}]\nactions: [{name: r, type: ring, target_label: x}]",
     ["2:11: action r: the rope of a bell is too short; take a longer one"]),
    ("targets: [{name: b, type: bell, rope: short, x: y}]\nactions: [{name: r, type: ring, target_label: x}]",
     ["1:46: unknown key `x`; the keys here are name, release, rope, type"]),
    ("log: {level: loud}\nactions: [{name: t, type: think, summary: nothing}]",
     ["1:14: this must be debug, info, warning or error", "2:11: action t: summary says nothing to think of; write what"]),
]


@pytest.mark.parametrize(("text", "expected"), ACTIONS)
def test_what_an_action_says_when_it_is_made_has_the_place_of_its_entry(
        tmp_path: Path, text: str, expected: list[str]) -> None:
    rest = "receivers: [{name: a, flag_configs: [{}]}]\nroute: {receiver: a}\n"
    assert problems(tmp_path, text + "\n", rest=rest, kinds=small_kinds()) == expected


def test_an_address_of_a_database_that_is_none_is_told_with_the_rest(tmp_path: Path) -> None:
    found = problems(tmp_path, "database: {url: 'postgresql://u:canary@host:port/x'}\nspeling: 1\n", rest=REST)
    assert [line.partition(" ")[0] for line in found] == ["1:17:", "2:1:"]
    assert found[0] == "1:17: not an address; write postgresql://user:password@host:5432/name"
