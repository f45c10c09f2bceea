"""What people type about what waits: read without guessing, and a word that is missing is named."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerthub.channels.telegram_updates import COMMANDS as IN_TELEGRAM
from alerthub.domain.words import COMMANDS, NotUnderstood, Said, named, parse


@pytest.mark.parametrize(("line", "said"), [
    ("approve 0123456789ab", Said("approve", 0, "0123456789ab")), ("  DENY   0123456789ab ", Said("deny", 0, "0123456789ab")),
    ("release agent-btc drift is over", Said("release", 0, "agent-btc drift is over")),
    ("override agent-btc I know", Said("override", 0, "agent-btc I know")), ("latches", Said("latches")), ("runs", Said("runs")),
    ("freeze agents act strangely", Said("freeze", 0, "agents act strangely")), ("unfreeze", Said("unfreeze")),
    ("unfreeze retrain", Said("unfreeze", 0, "retrain")), ("approve 17", Said("approve", 0, "17")),
])
def test_a_line_is_read(line: str, said: Said) -> None:
    assert parse(line) == said


@pytest.mark.parametrize(("line", "missing"), [("approve", "code"), ("deny  ", "code"), ("release", "target"),
                                               ("override", "target"), ("freeze", "reason")])
def test_what_is_missing_is_named(line: str, missing: str) -> None:
    with pytest.raises(NotUnderstood, match=f"^The {missing} is missing. Write {line.strip()} "):
        parse(line)


@pytest.mark.parametrize(("rest", "found"), [
    ("agent-btc", ("agent-btc", "")), ("agent btc drift", ("agent btc", "drift")), ("agent drift", ("agent", "drift")),
    ("agent btcx", ("agent", "btcx")), ("other thing", ("other", "thing")), ("", ("", "")),
])
def test_the_longest_known_name_counts(rest: str, found: tuple[str, str]) -> None:
    assert named(rest, ["agent", "agent btc", "agent-btc", ""]) == found


@given(st.text(max_size=100), st.lists(st.text(max_size=10), max_size=5))
def test_a_name_and_the_rest_are_all_of_the_line(rest: str, known: list[str]) -> None:
    name, after = named(rest, known)
    assert rest.startswith(name)
    assert after == rest[len(name):].strip()


def test_telegram_knows_all_of_them() -> None:
    assert set(COMMANDS) <= IN_TELEGRAM
