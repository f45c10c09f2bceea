"""Mistakes in single blocks: each with the place of the key or value, and a text that says what would be right."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.config_files import REST, configured, problems, small_kinds

SMALL_REST = """
receivers: [{name: alerts, flag_configs: [{}]}]
route: {receiver: alerts}
"""
BLOCK = "a block of `key: value` lines is expected here"
LIST = "a list is expected here: [a, b], or one line beginning with `- ` for each"
BOOL = "true or false is expected here"
INT = "a whole number is expected here, for example 5"
TEXT = "a text is expected here"
SPAN = "not a duration; write a number with a unit, for example 30s, 5m or 1h30m"

SERVER = [
    ("server: {lisen: x}", "1:10: unknown key `lisen`; did you mean `listen`?"),
    ("server: {xyz: x}",
     "1:10: unknown key `xyz`; the keys here are api_token, api_token_file, listen, max_body_size, ping, public_url"),
    ("server: x", f"1:9: {BLOCK}"), ("server: [x]", f"1:9: {BLOCK}"),
    ("server: {listen: 8095}", "1:18: not an address to listen on; write host:port, for example 127.0.0.1:8095 or 0.0.0.0:8095"),
    ("server: {listen: 'localhost:99999'}",
     "1:18: not an address to listen on; write host:port, for example 127.0.0.1:8095 or 0.0.0.0:8095"),
    ("server: {listen: 'a/b:1'}",
     "1:18: not an address to listen on; write host:port, for example 127.0.0.1:8095 or 0.0.0.0:8095"),
    ("server: {listen: [a]}", f"1:18: {TEXT}"),
    ("server: {public_url: hub.example.com}", "1:22: not an http(s) address; write it like https://hub.example.com"),
    ("server: {public_url: 'ftp://hub.example.com'}", "1:22: not an http(s) address; write it like https://hub.example.com"),
    ("server: {public_url: 'https://'}", "1:22: not an http(s) address; write it like https://hub.example.com"),
    ("server: {public_url: 'https://[x'}", "1:22: not an http(s) address; write it like https://hub.example.com"),
    ("server: {public_url: 'https://a.example?x=1'}",
     "1:22: only scheme, host, port and path; write it like https://hub.example.com"),
    ("server: {public_url: 'https://u:p@a.example'}",
     "1:22: only scheme, host, port and path; write it like https://hub.example.com"),
    ("server: {public_url: 'http://hub.example.com'}",
     "1:22: http is for this machine only; write https:// (what people send here holds their sessions)"),
    ("server: {max_body_size: 32MB}", "1:25: not a size; write a number of bytes, or one with a unit such as 32MiB"),
    ("server: {max_body_size: 0}", "1:25: not a size; write a number of bytes, or one with a unit such as 32MiB"),
    ("server: {max_body_size: true}", "1:25: not a size; write a number of bytes, or one with a unit such as 32MiB"),
    ("server: {max_body_size: 1.5}", "1:25: not a size; write a number of bytes, or one with a unit such as 32MiB"),
    ("server: {api_token: short}", "1:21: too short; use at least 8 characters, better 16 random ones"),
    ("database: {url: 'mysql://x'}",
     "1:17: not a database; write sqlite:///alerthub.db or postgresql://user:password@host/name"),
    ("database: {url: 'sqlite:///'}",
     "1:17: not a database; write sqlite:///alerthub.db or postgresql://user:password@host/name"),
    ("database: {retention: 90}", f"1:23: {SPAN}"), ("database: {retention: 0}", "1:23: must be longer than 0; for example 1m"),
    ("log: {format: xml}", "1:15: this must be text or json"),
    ("log: {level: loud}", "1:14: this must be debug, info, warning or error"),
    ("reopen_window: 5", f"1:16: {SPAN}"),
    ("reopen_window: 101y", "1:16: too long; write at most 100y"),
    ("reopen_window: 99999999999999999999y", "1:16: too long; write at most 100y"),
    ("reopen_window: " + "9" * 5000 + "ms", "1:16: too long; write at most 100y"), ("reopen_window: {a: b}", f"1:16: {SPAN}"),
    ("runbooks: {}", "1:11: folder is missing here; add it"),
    ("inhibit_rules: []", "1:1: unknown key `inhibit_rules`: inhibition is done in Alertmanager; remove it here"),
    ("global: {resolve_timeout: 5m}", "1:10: unknown key `resolve_timeout`: see stale_after of a source; remove it here"),
    ("global: {slack_bot_tokn: x}", "1:10: unknown key `slack_bot_tokn`; did you mean `slack_bot_token`?"),
    ("global: {smtp_require_tls: maybe}", f"1:28: {BOOL}"),
    ("recievers: []", "1:1: unknown key `recievers`; did you mean `receivers`?"),
]


@pytest.mark.parametrize(("text", "problem"), SERVER)
def test_a_mistake_in_what_the_hub_itself_needs(tmp_path: Path, text: str, problem: str) -> None:
    assert problems(tmp_path, text + "\n", rest=REST) == [problem]


PEOPLE = [
    ("people: {name: a}", f"1:9: {LIST}"), ("people: [a]", f"1:10: {BLOCK}"),
    ("people: [{role: x}]", "1:10: name is missing here; add it"),
    ("people: [{name: ''}]", "1:17: this is too short; write at least 1 character"),
    ("people: [{name: a, slack: ayse}]",
     "1:27: Slack's member id is expected, such as U012AB3CD (in the profile: copy member ID)"),
    ("people: [{name: a, telegram: ayse}]", "1:30: Telegram's numeric id is expected, such as 123456789 (ask @userinfobot)"),
    ("people: [{name: a, email: a}]", "1:27: an address is expected, such as ayse@example.com"),
    ("people: [{name: a, contact: [pager]}]", "1:30: this must be slack, telegram or email"),
    ("people: [{name: a, contact: [slack]}]",
     "1:29: contact names slack, but the person has no slack; add it, or take it out"),
    ("schedules: [{name: s}]", "1:13: layers is missing here; add it"),
    ("schedules: [{name: s, layers: []}]", "1:31: at least 1 entry is needed here"),
    ("schedules: [{name: s, time_zone: Mars/Base, layers: [{people: [p]}]}]\npeople: [{name: p}]",
     "1:34: Mars/Base is not a time zone; write its IANA name, for example Europe/Istanbul or UTC"),
    ("people: [{name: p}]\nschedules: [{name: s, layers: [{people: [p], rotation: hourly}]}]",
     "2:56: this must be daily, weekly or custom"),
    ("people: [{name: p}]\nschedules: [{name: s, layers: [{people: [p], rotation: custom}]}]",
     "2:56: rotation custom needs the length of a turn; add it, for example length: 3d"),
    ("people: [{name: p}]\nschedules: [{name: s, layers: [{people: [p], length: 3d}]}]",
     "2:54: length is for rotation custom; take it out, or write rotation: custom"),
    ("people: [{name: p}]\nschedules: [{name: s, layers: [{people: [p], handoff: 9am}]}]",
     "2:55: not a time of handing over; write it like 09:00 or mon 09:00"),
    ("people: [{name: p}]\nschedules: [{name: s, layers: [{people: [p], handoff: someday 09:00}]}]",
     "2:55: not a time of handing over; write it like 09:00 or mon 09:00"),
    ("people: [{name: p}]\nschedules: [{name: s, layers: [{people: [p], handoff: mon 25:00}]}]",
     "2:55: 25:00 is not a time of day; write it like 09:00, at most 24:00"),
    ("people: [{name: p}]\nschedules: [{name: s, layers: [{people: [p], start: soon}]}]",
     "2:53: a day is expected here, for example 2026-11-30"),
    ("escalation_policies: [{name: e, steps: []}]", "1:40: at least 1 entry is needed here"),
    ("escalation_policies: [{name: e, steps: [{notify: ['receiver:alerts'], wait: soon}]}]", f"1:77: {SPAN}"),
    ("escalation_policies: [{name: e, steps: [{notify: ['receiver:alerts']}], repeat: -1}]", "1:81: this must be at least 0"),
    ("heartbeats: [{name: h, receiver: alerts}]", "1:14: interval is missing here; add it, or cron"),
    ("heartbeats: [{name: H h, interval: 1m, receiver: alerts}]",
     "1:21: small letters, digits, - and _ are expected here, such as backup-1: it is part of an address"),
]


@pytest.mark.parametrize(("text", "problem"), PEOPLE)
def test_a_mistake_in_people_and_their_turns(tmp_path: Path, text: str, problem: str) -> None:
    assert problems(tmp_path, text + "\n", rest=REST) == [problem]


TIMES = [
    ("times: [{start_time: 9:00, end_time: '17:00'}]", "4:27: 9:00 is not a time of day; write it like 09:00, at most 24:00"),
    ("times: [{start_time: 09:00}]", "4:14: end_time is missing here; add it"),
    ("times: [{start_time: 22:00, end_time: 06:00}]",
     "4:14: it ends at 06:00, not after its start at 22:00; an interval over midnight is two: 22:00 to 24:00, "
     "and 00:00 to 06:00"),
    ("times: []", "4:13: at least 1 entry is needed here"),
    ("weekdays: monday", f"4:16: {LIST}"),
    ("weekdays: [monday, mon]",
     "4:25: mon is not a weekday; write sunday, monday, … saturday, or a span like monday:wednesday"),
    ("weekdays: [[monday]]", "4:17: write it like monday:friday"),
    ("days_of_month: [32]",
     "4:22: 32 is not a day of the month; write 1 to 31, -1 to -31 from its end, or a span like 1:5"),
    ("months: [1:13]",
     "4:15: 13 is not a month; write january, february, … december, or a span like february:april"),
    ("years: [26]", "4:14: 26 is not a year; write it like 2026, or a span like 2026:2028"),
    ("location: Nowhere", "4:16: Nowhere is not a time zone; write its IANA name, for example Europe/Istanbul or UTC"),
    ("times_: 1", "4:6: unknown key `times_`; did you mean `times`?"),
]


@pytest.mark.parametrize(("text", "problem"), TIMES)
def test_a_mistake_in_a_time_interval(tmp_path: Path, text: str, problem: str) -> None:
    case = f"time_intervals:\n- name: t\n  time_intervals:\n  - {{{text}}}\n"
    assert problems(tmp_path, case, rest=REST) == [problem]


MATCHERS = [
    ("matchers: ['a=~\"(\"']", "6:18: at character 4: not a valid regular expression: missing ): ("),
    ("matchers: ['a=b', 'severity:critical']", "6:25: at character 18: expected one of = != =~ !~, found the end"),
    ("matchers: ['']", "6:18: a matcher is missing; write it like severity=\"critical\""),
    ("matchers: ['{}']", "6:18: a matcher is missing; write it like severity=\"critical\""),
    ("matchers: 'a=b'", f"6:17: {LIST}"),
    ("matchers: [{a: b}]", f"6:18: {TEXT}"),
    ("match: [a]", f"6:14: {BLOCK}"), ("match: {a: [b]}", f"6:18: {TEXT}"),
    ("match_re: {a: '('}", "6:21: not a valid regular expression: missing ): ("),
    ("match: {'': b}", "6:15: this is too short; write at least 1 character"),
    ("group_by: [..., a]", "6:17: group_by: ... means all labels; write it alone, or name the labels"),
    ("group_by: [a, b, a]", "6:17: group_by names a twice; keep one of them"),
    ("group_by: ['']", "6:18: this is too short; write at least 1 character"), ("group_by: a", f"6:17: {LIST}"),
    ("group_wait: 30", f"6:19: {SPAN}"), ("group_wait: 30 s", f"6:19: {SPAN}"), ("group_wait: -1s", f"6:19: {SPAN}"),
    ("repeat_interval: 0s", "6:24: must be longer than 0; for example 1m"),
    ("group_interval: 0", "6:23: must be longer than 0; for example 1m"),
    ("continue: maybe", f"6:17: {BOOL}"),
    ("recevier: alerts", "6:7: unknown key `recevier`; did you mean `receiver`?"),
    ("routes: {a: b}", f"6:15: {LIST}"), ("routes: [{routes: [{recevier: x}]}]", "6:27: unknown key `recevier`; did you mean "
                                          "`receiver`?"),
]


@pytest.mark.parametrize(("text", "problem"), MATCHERS)
def test_a_mistake_in_a_route(tmp_path: Path, text: str, problem: str) -> None:
    case = f"receivers:\n- {{name: alerts, console_configs: [{{}}]}}\nroute:\n  receiver: alerts\n  routes:\n    - {text}\n"
    assert problems(tmp_path, case) == [problem]


EDGES = [
    ("receivers: []", ["1:12: at least 1 entry is needed here", "2:19: there is no receiver `a`; there are none"]),
    ("receivers: [{name: a, pigeon_confgs: [{}]}]", ["1:23: unknown key `pigeon_confgs`; did you mean `pigeon_configs`?"]),
    ("receivers: [{name: a, flag_configs: []}]",
     ["1:13: a receiver needs a destination; add one of pigeon_configs, flag_configs"]),
    ("receivers: [{name: a, pigeon_configs: {loft: x}}]", [f"1:39: {LIST}"]),
    ("receivers: [{name: a, pigeon_configs: [x]}]", [f"1:40: {BLOCK}"]),
    ("receivers: [{name: a, pigeon_configs: [{weight: heavy}]}]", ["1:49: a number is expected here, for example 0.5"]),
    ("receivers: [{name: a, pigeon_configs: [{weight: 0}]}]", ["1:49: this must be more than 0.0"]),
    ("receivers: [{name: a, pigeon_configs: [{weight: 2.5}]}]", ["1:49: this must be at most 2.0"]),
    ("receivers: [{name: a, pigeon_configs: [{toes: 7.5}]}]", [f"1:47: {INT}"]),
    ("receivers: [{name: a, pigeon_configs: [{awake: 2}]}]", [f"1:48: {BOOL}"]),
    ("receivers: [{name: a, pigeon_configs: [{awake: sometimes}]}]", [f"1:48: {BOOL}"]),
    ("receivers: [{name: a, pigeon_configs: [{ring: [5]}]}]", [f"1:47: {INT}"]),
    ("receivers: [{name: a, pigeon_configs: [{notes: {a: [b]}}]}]", [f"1:52: {TEXT}"]),
    ("receivers: [{name: a, pigeon_configs: [{colour: blue}]}]", ["1:49: this must be white or grey"]),
    ("receivers: [{name: a, flag_configs: [{maste: x}]}]", ["1:39: unknown key `maste`; did you mean `mast`?"]),
    ("targets: [{name: b, type: bel}]", ["1:27: there is no type `bel`; did you mean `bell`?"]),
    ("targets: [{name: b}]", ["1:11: type is missing; the types of targets are bell, gate"]),
    ("targets: [{name: b, type: bell, roope: x}]", ["1:33: unknown key `roope`; did you mean `rope`?"]),
    ("targets: [{name: b, type: gate, rope: x}]", ["1:33: unknown key `rope`; the keys here are name, release, type"]),
    ("actions: [{name: b, type: prefect}]", ["1:27: there is no type `prefect`; the types of actions are ring, shut, think"]),
    ("actions: [{name: b, type: shut, shut: [x], target_label: l}]\ntargets: [{name: g, type: gate}]", [f"1:39: {TEXT}"]),
    ("actions: [{name: b, type: ring}]", ["1:11: name what it acts on: target, targets, or the target_label that names it"]),
    ("actions: [{name: b, type: think, max_per_hour: -1}]", ["1:48: this must be at least 0"]),
    ("actions: [{name: b, type: think, cooldown: 5}]", [f"1:44: {SPAN}"]),
    ("sources: [{name: a, type: alertmanager, tokn: x}]", ["1:41: unknown key `tokn`; did you mean `token`?"]),
    ("sources: []", ["1:10: at least 1 entry is needed here"]),
]


@pytest.mark.parametrize(("text", "expected"), EDGES)
def test_a_mistake_in_the_blocks_of_the_edges(tmp_path: Path, text: str, expected: list[str]) -> None:
    rest = "route: {receiver: a}\n" if text.startswith("receivers") else SMALL_REST
    assert problems(tmp_path, text + "\n", rest=rest, kinds=small_kinds()) == expected


def test_the_real_registries_say_which_kinds_there_are(tmp_path: Path) -> None:
    [found] = problems(tmp_path, "actions: [{name: a, type: prefekt}]\n", rest=REST)
    assert found.startswith("1:27: there is no type `prefekt`; ")
    [found] = problems(tmp_path, "sources: [{name: a, type: grafna}]\n", rest=REST)
    assert found == "1:27: there is no type `grafna`; did you mean `grafana`?"


# -- where YAML's types stand against what is meant

def test_a_number_where_a_text_is_wanted_is_the_text_as_it_was_written(tmp_path: Path) -> None:
    model = configured(tmp_path, """
        receivers: [{name: 007, pigeon_configs: [{loft: 1.10, ring: 5, toes: "7", weight: 1, awake: no, notes: {1: true}}]}]
        route: {receiver: 007}
    """, kinds=small_kinds()).model
    pigeon = model.receivers[0].pigeon_configs[0]
    assert (model.receivers[0].name, pigeon.loft, pigeon.ring, pigeon.toes, pigeon.awake) == ("007", "1.10", 5, 7, False)
    assert pigeon.notes == {"1": "true"}


def test_an_empty_value_is_an_absent_one(tmp_path: Path) -> None:
    model = configured(tmp_path, """
        server:
        database:
          url:
        people:
        sources:
        receivers: [{name: a, flag_configs: [{mast: }], pigeon_configs: }]
        route: {receiver: a, group_by: , routes: , continue: }
    """, kinds=small_kinds()).model
    assert model.server.listen == "127.0.0.1:8095"
    assert model.database.url == "sqlite:///alerthub.db"
    assert [source.name for source in model.sources] == ["alertmanager"]
    assert (model.people, model.route.group_by, model.route.routes) == ((), None, ())


def test_an_unknown_key_is_one_also_without_a_value(tmp_path: Path) -> None:
    assert problems(tmp_path, "people:\npeeple:\n", rest=REST) == ["2:1: unknown key `peeple`; did you mean `people`?"]


def test_the_mistake_in_a_list_is_said_of_its_entry(tmp_path: Path) -> None:
    """`to` takes a text or a list: that a list is no text is no mistake."""
    rest = "route: {receiver: a}\n"
    assert problems(tmp_path, "receivers: [{name: a, email_configs: [{to: [a@example.com, {x: y}]}]}]\n", rest=rest) == [
        "1:60: a text is expected here"]
    assert problems(tmp_path, "receivers: [{name: a, email_configs: [{to: {x: y}}]}]\n", rest=rest) == [
        "1:44: a text is expected here"]


def test_every_mistake_is_said_at_once_in_file_order(tmp_path: Path) -> None:
    assert problems(tmp_path, """
        server: {listen: nowhere, publik_url: x}
        people:
          - {name: a, telegram: x}
        receivers:
          - {name: alerts}
          - {name: risk, flag_configs: [{mast: [x]}], color: red}
        sources:
          - {name: am, type: alertmanager, stale_after: 0}
        route:
          receiver: alert
          group_wait: soon
          routes:
            - {matchers: ['a'], receiver: risc}
    """, kinds=small_kinds()) == [
        "1:18: not an address to listen on; write host:port, for example 127.0.0.1:8095 or 0.0.0.0:8095",
        "1:27: unknown key `publik_url`; did you mean `public_url`?",
        "3:25: Telegram's numeric id is expected, such as 123456789 (ask @userinfobot)",
        "5:5: a receiver needs a destination; add one of pigeon_configs, flag_configs",
        "6:40: a text is expected here",
        "6:47: unknown key `color`; the keys here are flag_configs, name, pigeon_configs",
        "8:49: must be longer than 0; for example 1m",
        "10:13: there is no receiver `alert`; did you mean `alerts`?",
        f"11:15: {SPAN}",
        "13:19: at character 2: expected one of = != =~ !~, found the end",
        "13:35: there is no receiver `risc`; did you mean `risk`?",
    ]
