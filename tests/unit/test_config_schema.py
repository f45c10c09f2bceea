"""The JSON Schema for editors: it takes what the program takes, and refuses what the program refuses."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from alerthub import actions, channels, sources
from alerthub.config import schema
from alerthub.config.kinds import KINDS, duration_text, type_of
from alerthub.config.reader import read_document
from alerthub.settings import parse_duration
from tests.unit.config_example import example
from tests.unit.config_files import REST, problems, small_kinds, written

SCHEMA = schema()
SMALL = schema(small_kinds())


def data_of(text: str) -> Any:
    document = read_document("a.yml", written(text).encode(), {})
    assert document.problems == []
    return document.data


def refusals(text: str, which: dict[str, Any] = SCHEMA) -> list[str]:
    """Where the schema refuses the text, as paths."""
    validator = jsonschema.Draft202012Validator(which)
    return sorted("/".join(map(str, error.absolute_path)) for error in validator.iter_errors(data_of(text)))


def test_it_is_a_schema_of_the_draft_that_it_names() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    assert SCHEMA["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert json.loads(json.dumps(SCHEMA)) == SCHEMA


def test_it_takes_the_example_of_the_design(tmp_path: Path) -> None:
    text = example(tmp_path)
    assert refusals(text) == []
    assert problems(tmp_path, text) == []


def test_it_takes_the_least_that_a_file_needs() -> None:
    assert refusals(REST) == []


BROKEN = [
    # old, new, where
    ("listen: 127.0.0.1:8095", "lisen: 127.0.0.1:8095", "server"),
    ("role: responder", "roles: responder", "people/0"),
    ("telegram: 123456789", "telegram: many", "people/0/telegram"),
    ("contact: [telegram, email]", "contact: [pigeon]", "people/0/contact/0"),
    ("rotation: weekly", "rotation: hourly", "schedules/0/layers/0/rotation"),
    ("wait: 5m", "wait: soon", "escalation_policies/0/steps/0/wait"),
    ("repeat: 2", "repeat: -2", "escalation_policies/0/repeat"),
    ('channel: "#alerts"', "chanel: x", "receivers/0/slack_configs/0"),
    ("slack_configs", "slak_configs", "receivers/0"),
    ("type: alertmanager", "type: alertmanger", "sources/0"),
    ("type: alertmanager, ", "", "sources/0"),
    ("type: safe_mode", "type: safe-mode", "actions/0"),
    ("type: safe_mode, ", "", "actions/0"),
    ("max_per_hour: 2", "max_per_hour: -2", "actions/1"),
    ("type: agent, ", "", "targets/0"),
    ("interval: 2m", "interval: often", "heartbeats/0/interval"),
    ("continue: true", "continue: sometimes", "route/routes/0/continue"),
    ("group_by: [alertname, agent]", "group_by: alertname", "route/group_by"),
    ("escalation_policy: trading", "escalation: trading", "route/routes/0"),
    ("smtp_require_tls: true", "smtp_tls: true", "global"),
    ("route:\n", "routes:\n", ""),
]


@pytest.mark.parametrize(("old", "new", "place"), BROKEN)
def test_it_refuses_what_the_program_refuses(tmp_path: Path, old: str, new: str, place: str) -> None:
    text = example(tmp_path).replace(old, new, 1)
    assert text != example(tmp_path)
    assert place in refusals(text)
    assert problems(tmp_path, text)


def test_a_duration_of_the_schema_is_one_of_the_program() -> None:
    for text in ("30s", "1h30m", "0", "2d", "500ms"):
        assert refusals(f"reopen_window: {text!r}\n" + REST) == []
    for text in ("30", "1.5h", "h", "5 m", "-1s"):
        assert refusals(f"reopen_window: '{text}'\n" + REST) == ["reopen_window"]


def defaults(node: Any) -> list[Any]:
    if isinstance(node, list):
        return [found for item in node for found in defaults(item)]
    if not isinstance(node, dict):
        return []
    own = [node["default"]] if isinstance(node.get("default"), str) and "ms|[smhdwy]" in str(node.get("pattern")) else []
    return own + [found for value in node.values() for found in defaults(value)]


def test_defaults_of_durations_are_in_the_words_of_the_file() -> None:
    found = defaults(SCHEMA)
    assert {"12h", "90d", "5m", "1h"} <= set(found)
    assert all(parse_duration(text) >= timedelta(0) for text in found)


@pytest.mark.parametrize(("span", "text"), [
    (timedelta(0), "0"), (timedelta(seconds=30), "30s"), (timedelta(minutes=90), "1h30m"), (timedelta(days=90), "90d"),
    (timedelta(milliseconds=1500), "1s500ms"), (timedelta(days=1, seconds=1), "1d1s"), (timedelta(microseconds=1), "0"),
])
def test_a_duration_is_written_as_a_file_would(span: timedelta, text: str) -> None:
    assert duration_text(span) == text


def test_every_kind_of_the_registries_is_in_it() -> None:
    properties = SCHEMA["$defs"]["Receiver"]["properties"]
    assert set(properties) == {"name", *(f"{kind}_configs" for kind in channels.REGISTRY)}
    assert set(SCHEMA["properties"]["sources"]["items"]["discriminator"]["mapping"]) == set(sources.REGISTRY)
    assert set(SCHEMA["properties"]["actions"]["items"]["discriminator"]["mapping"]) == set(actions.REGISTRY)


def test_the_names_of_kinds_are_those_that_their_settings_say() -> None:
    for registry in (KINDS.actions, KINDS.sources):
        for name in registry.names:
            assert type_of(registry.load(name).Config) == name


def test_global_has_the_keys_of_every_channel() -> None:
    keys = {name for kind in channels.REGISTRY for name in channels.load(kind).Global.model_fields}
    assert set(SCHEMA["$defs"]["Global"]["properties"]) == keys


def test_no_two_channels_share_a_key_of_global() -> None:
    keys = [name for kind in channels.REGISTRY for name in channels.load(kind).Global.model_fields]
    assert len(keys) == len(set(keys))


def test_other_registries_give_another_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(SMALL)
    assert set(SMALL["$defs"]["Receiver"]["properties"]) == {"name", "pigeon_configs", "flag_configs"}
    assert refusals("receivers: [{name: a, pigeon_configs: [{weight: 1, ring: x}]}]\nroute: {receiver: a}\n", SMALL) == []
    assert refusals("receivers: [{name: a, pigeon_configs: [{weight: 9}]}]\nroute: {receiver: a}\n", SMALL) == [
        "receivers/0/pigeon_configs/0/weight"]
