"""What every block of the configuration shares: durations, and secrets that are read from files and never shown."""

from __future__ import annotations

import json
import traceback
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from alerthub.settings import Duration, Secret, Settings, parse_duration, revealed

SECRET = "xoxb-hunter2-hunter2"


class Block(Settings):
    token: Secret | None = None
    token_file: str | None = None
    wait: Duration = timedelta(seconds=5)
    key_file: str | None = None         # a file, but not of a secret: there is no field `key`


DURATIONS = [
    ("0", timedelta(0)), (0, timedelta(0)), ("0s", timedelta(0)), ("15ms", timedelta(milliseconds=15)),
    ("30s", timedelta(seconds=30)), ("5m", timedelta(minutes=5)), ("4h", timedelta(hours=4)), ("2d", timedelta(days=2)),
    ("1w", timedelta(weeks=1)), ("1y", timedelta(days=365)), ("1h30m", timedelta(minutes=90)),
    ("1d12h5m1s500ms", timedelta(days=1, hours=12, minutes=5, seconds=1, milliseconds=500)),
    ("090s", timedelta(seconds=90)), ("100y", timedelta(days=36500)), (timedelta(seconds=7), timedelta(seconds=7)),
]


@pytest.mark.parametrize(("written", "span"), DURATIONS)
def test_a_duration_is_written_as_prometheus_writes_it(written: Any, span: timedelta) -> None:
    assert parse_duration(written) == span
    assert Block(wait=written).wait == span


NOT_DURATIONS = ["", "5", "s", "5 m", " 5m", "5m ", "5M", "1.5h", "-5m", "5min", "5m30", "m5", "1h,30m", "PT5M", "5m\n", 5, 1.5,
                 -1, [], {}, b"5m"]


@pytest.mark.parametrize("written", NOT_DURATIONS, ids=repr)
def test_what_is_not_a_duration_is_refused_with_an_example(written: Any) -> None:
    with pytest.raises(ValidationError) as caught:
        Block(wait=written)
    (problem,) = caught.value.errors(include_input=False, include_url=False)
    assert problem["loc"] == ("wait",)
    assert "for example 30s, 5m or 1h30m" in problem["msg"]


@pytest.mark.parametrize("written", ["101y", "36501d", "99y9999999h", "9999999999999999s", "9" * 5000 + "ms"])
def test_a_duration_beyond_all_dates_is_refused(written: str) -> None:
    with pytest.raises(ValidationError, match="too long; write at most 100y"):
        Block(wait=written)


@settings(deadline=None)
@given(st.integers(0, 800_000), st.integers(0, 59), st.integers(0, 59))
def test_hours_minutes_and_seconds_add_up(hours: int, minutes: int, seconds: int) -> None:
    assert parse_duration(f"{hours}h{minutes}m{seconds}s") == timedelta(hours=hours, minutes=minutes, seconds=seconds)


def test_the_editor_is_told_how_a_duration_looks() -> None:
    shape = Block.model_json_schema()["properties"]["wait"]
    assert (shape["type"], shape["examples"]) == ("string", ["30s", "5m", "4h"])


# -- secrets in files

@pytest.mark.parametrize(("written", "secret"), [
    (SECRET, SECRET), (f"{SECRET}\n", SECRET), (f"{SECRET}\r\n", SECRET), (f" {SECRET} \n", f" {SECRET} "), ("gız🔑\n", "gız🔑"),
], ids=["bare", "newline", "CRLF", "blanks are part of it", "UTF-8"])
def test_a_secret_is_read_from_its_file(tmp_path: Path, written: str, secret: str) -> None:
    file = tmp_path / "token"
    file.write_bytes(written.encode())
    block = Block(token_file=str(file))
    assert revealed(block.token) == secret
    assert secret not in repr(block) + str(block) + block.model_dump_json()


def test_a_file_setting_without_a_secret_beside_it_is_only_a_path() -> None:
    assert Block(key_file="/nowhere/at/all").key_file == "/nowhere/at/all"


def test_no_secret_is_none() -> None:
    assert revealed(Block().token) is None


def problem_of(**fields: Any) -> tuple[str, str]:
    """The text that people get, and everything that Python would print of the error."""
    with pytest.raises(ValidationError) as caught:
        Block(**fields)
    error = caught.value
    told = error.errors(include_input=False, include_url=False, include_context=False)
    return told[0]["msg"], "".join(traceback.format_exception(error)) + str(error) + repr(error) + json.dumps(told)


def test_a_file_that_is_missing_is_named(tmp_path: Path) -> None:
    text, _ = problem_of(token_file=str(tmp_path / "gone"))
    assert text == f"Value error, token_file: cannot read {tmp_path}/gone: No such file or directory"


def test_a_folder_is_not_a_secret(tmp_path: Path) -> None:
    text, _ = problem_of(token_file=str(tmp_path))
    assert text == f"Value error, token_file: cannot read {tmp_path}: Is a directory"


@pytest.mark.parametrize("content", [b"", b"\n", b"\r\n\n"])
def test_an_empty_file_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "token").write_bytes(content)
    text, _ = problem_of(token_file=str(tmp_path / "token"))
    assert text == f"Value error, token_file: {tmp_path}/token is empty; put the secret into it"


def test_bytes_that_are_no_text_are_refused_and_not_shown(tmp_path: Path) -> None:
    (tmp_path / "token").write_bytes(SECRET.encode() + b"\xff\xfe")
    text, printed = problem_of(token_file=str(tmp_path / "token"))
    assert "is not UTF-8 text" in text
    assert SECRET not in printed


def test_a_secret_and_a_file_at_once_is_a_mistake_that_shows_neither(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("another-secret")
    text, printed = problem_of(token=SECRET, token_file=str(tmp_path / "token"))
    assert text == "Value error, give token or token_file, not both"
    assert SECRET not in printed
    assert "another-secret" not in printed


def test_no_other_mistake_shows_the_secret(tmp_path: Path) -> None:
    (tmp_path / "token").write_text(SECRET)
    _, printed = problem_of(token_file=str(tmp_path / "token"), wait="soon", colour="red")
    assert SECRET not in printed
    _, printed = problem_of(token=[SECRET])
    assert SECRET not in printed


def test_unknown_keys_are_refused_and_nothing_can_be_changed() -> None:
    text, _ = problem_of(tokn="x")
    assert text == "Extra inputs are not permitted"
    with pytest.raises(ValidationError, match="frozen"):
        Block().wait = timedelta(0)


@pytest.mark.parametrize("body", ["text", 5, ["token"], None])
def test_what_is_not_a_block_is_refused(body: Any) -> None:
    with pytest.raises(ValidationError):
        Block.model_validate(body)
