"""YAML as the configuration reads it: plain data with places, the environment, and what is refused."""

from __future__ import annotations

import re
import time
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from alerthub.config.reader import MAX_DEPTH, MAX_VALUES, Document, Place, read_document


def read(text: str | bytes, environ: dict[str, str] | None = None) -> Document:
    return read_document("a.yml", text.encode() if isinstance(text, str) else text, environ or {})


def said(document: Document) -> list[str]:
    return [str(problem) for problem in document.problems]


# -- data

SCALARS: list[tuple[str, Any]] = [
    # YAML 1.1 would make a boolean, a number in base 60 or 8, or a date of these
    ("no", "no"), ("yes", "yes"), ("on", "on"), ("off", "off"), ("y", "y"), ("NO", "NO"), ("True", "True"), ("FALSE", "FALSE"),
    ("12:30", "12:30"), ("1:5", "1:5"), ("190:20:30", "190:20:30"), ("0777", "0777"), ("007", "007"), ("0x1F", "0x1F"),
    ("0b11", "0b11"), ("1_000", "1_000"), ("2026-01-01", "2026-01-01"), ("2026-01-01T10:00:00Z", "2026-01-01T10:00:00Z"),
    (".inf", ".inf"), (".nan", ".nan"), ("1e3", "1e3"), ("=", "="), ("Null", "Null"), ("<<", "<<"),
    ("1.2.3", "1.2.3"), ("+", "+"), ("9" * 31, "9" * 31), ("½", "½"), ("٣", "٣"),
    # these are what they seem
    ("true", True), ("false", False), ("null", None), ("~", None), ("", None), ("0", 0), ("5", 5), ("-5", -5), ("+5", 5),
    ("-100123456789", -100123456789), ("0.5", 0.5), ("-1.25", -1.25), ("1.5e3", 1500.0),
    # quotes make a text
    ('"5"', "5"), ("'true'", "true"), ('""', ""), ("'null'", "null"), ('"~"', "~"), ('"a\\nb"', "a\nb"), ("'it''s'", "it's"),
    ("!!str 5x", "5x"), ("#comment", None), ('"#alerts"', "#alerts"), ("a #b", "a"), ("a#b", "a#b"),
]


@pytest.mark.parametrize(("text", "value"), SCALARS)
def test_a_scalar_is_what_it_looks_like(text: str, value: Any) -> None:
    document = read(f"a: {text}\n")
    assert said(document) == []
    found = document.data["a"]
    assert found == value
    assert type(found) is type(value)


def test_a_scalar_that_is_not_text_keeps_how_it_was_written() -> None:
    document = read("a: 1.10\nb: +5\nc: true\nd: '5'\ne: [0.50, x]\n")
    assert document.texts == {("a",): "1.10", ("b",): "+5", ("c",): "true", ("e", 0): "0.50"}


def test_every_key_and_value_has_its_place() -> None:
    document = read("a:\n  - bé: {c: d}\n    e: [f,  g]\n")
    assert document.data == {"a": [{"bé": {"c": "d"}, "e": ["f", "g"]}]}
    assert document.keys == {("a",): Place(1, 1), ("a", 0, "bé"): Place(2, 5), ("a", 0, "bé", "c"): Place(2, 10),
                             ("a", 0, "e"): Place(3, 5)}
    assert document.values[("a", 0)] == Place(2, 5)
    assert document.values[("a", 0, "bé", "c")] == Place(2, 13)
    assert document.values[("a", 0, "e", 1)] == Place(3, 13)
    assert document.place(("a", 0, "e", 1, "not", "there")) == Place(3, 13)
    assert document.place(("nothing",)) == Place(1, 1)


def test_columns_count_characters_not_bytes() -> None:
    document = read('{"ñandú🙂": 1, b: 2}\n')
    assert document.keys[("b",)] == Place(1, 15)


def test_a_mark_of_byte_order_is_no_part_of_the_text() -> None:
    document = read(b"\xef\xbb\xbfa: b\n")
    assert document.data == {"a": "b"}
    assert document.keys[("a",)] == Place(1, 1)


def test_lines_of_windows_are_lines() -> None:
    document = read(b"a: b\r\nc: d\r\n")
    assert document.data == {"a": "b", "c": "d"}
    assert document.keys[("c",)] == Place(2, 1)


@pytest.mark.parametrize("text", ["", "\n", "# nothing\n", "---\n"])
def test_an_empty_file_has_no_data(text: str) -> None:
    document = read(text)
    assert document.data is None
    assert said(document) == []


# -- anchors

ANCHORS = [
    ("a: &x [1, 2]\nb: *x\n", {"a": [1, 2], "b": [1, 2]}),
    ("a: &x {k: v}\nb: {<<: *x, l: w}\n", {"a": {"k": "v"}, "b": {"k": "v", "l": "w"}}),
    ("a: &x {k: v}\nb: {k: own, <<: *x}\n", {"a": {"k": "v"}, "b": {"k": "own"}}),
    ("a: &x {k: 1}\nb: &y {k: 2, l: 3}\nc: {<<: [*x, *y]}\n", {"a": {"k": 1}, "b": {"k": 2, "l": 3}, "c": {"k": 1, "l": 3}}),
    ("a: &x {k: 1}\nb: &y {<<: *x, l: 2}\nc: {<<: *y}\n", {"a": {"k": 1}, "b": {"k": 1, "l": 2}, "c": {"k": 1, "l": 2}}),
    ("a: {'<<': b}\n", {"a": {"<<": "b"}}),
]


@pytest.mark.parametrize(("text", "data"), ANCHORS)
def test_aliases_and_merges_are_taken_in(text: str, data: Any) -> None:
    document = read(text)
    assert said(document) == []
    assert document.data == data


def test_two_uses_of_an_anchor_share_nothing() -> None:
    data = read("a: &x [1]\nb: *x\n").data
    data["a"].append(2)
    assert data["b"] == [1]


def test_a_merged_key_stands_where_it_was_written() -> None:
    document = read("a: &x\n  k: v\nb:\n  <<: *x\n")
    assert document.keys[("b", "k")] == Place(2, 3)


# -- the environment

EXPANDED = [
    ("a: ${X}", "value"), ("a: '${X}'", "value"), ('a: "${X}"', "value"), ("a: x-${X}-${X}", "x-value-value"),
    ("a: $${X}", "${X}"), ("a: $X", "$X"), ("a: $", "$"), ("a: $$", "$$"), ("a: '^(a|b)$'", "^(a|b)$"),
    ("a: |\n  one ${X}\n  two\n", "one value\ntwo\n"), ("a: ${FIVE}", "5"), ("a: ${TRUE}", "true"), ("a: ${EMPTY}", ""),
    ("a: ${NESTED}", "${X}"), ("a: ${YAML}", "{b: c}"), ("a: $${X} ${X}", "${X} value"), ("a: '{{ x }}'", "{{ x }}"),
]
ENVIRON = {"X": "value", "FIVE": "5", "TRUE": "true", "EMPTY": "", "NESTED": "${X}", "YAML": "{b: c}"}


@pytest.mark.parametrize(("text", "value"), EXPANDED)
def test_a_variable_becomes_its_value_and_nothing_else(text: str, value: str) -> None:
    document = read(text, ENVIRON)
    assert said(document) == []
    assert document.data == {"a": value}


def test_keys_are_never_expanded() -> None:
    assert read("${X}: a", ENVIRON).data == {"${X}": "a"}


NAME = "after ${ comes the name of an environment variable and }; for ${ itself write $${"
UNSET = "the environment variable GONE is not set; set it, or write $${GONE} for the text"
NOT_EXPANDED = [
    ("a: ${GONE}", f"a.yml:1:4: {UNSET}"), ("a: 1\nb:\n  - x${GONE}\n", f"a.yml:3:5: {UNSET}"),
    ("a: ${A-B}", f"a.yml:1:4: {NAME}"), ("a: ${X:-y}", f"a.yml:1:4: {NAME}"), ("a: '${}'", f"a.yml:1:4: {NAME}"),
    ("a: '${X'", f"a.yml:1:4: {NAME}"), ("a: ${1X}", f"a.yml:1:4: {NAME}"),
]


@pytest.mark.parametrize(("text", "problem"), NOT_EXPANDED)
def test_a_variable_that_cannot_be_read_is_a_problem(text: str, problem: str) -> None:
    assert said(read(text, ENVIRON)) == [problem]


def test_every_unset_variable_is_named_at_once() -> None:
    document = read("a: ${ONE}\nb: ${TWO} ${THREE}\n")
    assert [re.findall("variable (\\w+)", line)[0] for line in said(document)] == ["ONE", "TWO", "THREE"]


def test_a_message_shows_the_variable_and_not_its_value() -> None:
    document = read("a: ${TOKEN}\nb: ${LONGER}\n", {"TOKEN": "canary", "LONGER": "canary-and-more"})
    problem = document.problem(("a",), "what is canary, and canary-and-more?")
    assert problem.text == "what is ${TOKEN}, and ${LONGER}?"


# -- mistakes

INDENT = "a tab indents this line; use spaces"
ODD = "this does not fit here; check the indentation, the quotes and the brackets before it"
TOO_MANY = "a `: ` too many; check the line before, or put the text in quotes"
QUOTE = "the quote that begins here is not closed; end the text with the same quote"
SYNTAX = [
    ("a:\n\tb: 1\n", f"2:1: {INDENT}"), ("a:\n  - b\n \t- c\n", f"3:2: {INDENT}"), ("a: 1\n\tb: 2\n", f"2:1: {INDENT}"),
    ("a: 'x\nb: 1\n", f"1:4: {QUOTE}"), ('a: 1\nb: "x\n', f"2:4: {QUOTE}"),
    ("a: [1, 2\nb: 3\n", "1:4: the list that begins here is not closed; a comma or ] is missing"),
    ("a: {b: 1\nc: 3\n", "1:4: the block that begins here is not closed; a comma or } is missing"),
    ("a: b: c\n", f"1:5: {TOO_MANY}"), ("a: 1\n b: 2\n", f"2:3: {TOO_MANY}"), ("a\nb: 1\n", f"2:2: {TOO_MANY}"),
    ("a: @x\n", "1:4: a value cannot begin with @; put it in quotes"),
    ("a: `x`\n", "1:4: a value cannot begin with `; put it in quotes"),
    ("a: %x\n", "1:4: a value cannot begin with %; put it in quotes"),
    ("a: *x\n", "1:4: this alias is not known; define it before with &name"),
    ("a: &x 1\nb: &x 2\n", "2:4: this anchor is defined twice; give the second another name"),
    ('a: "\\d"\n', "1:5: in double quotes a backslash begins an escape; double it, or use single quotes"),
    ("- a\nb: 1\n", "2:1: the indentation does not fit: here a list goes on, so the line begins with `- `"),
    ("a:\n  b: 1\n c: 2\n", f"3:2: {ODD}"), ("a: [b]]\n", f"1:7: {ODD}"), ("a: 'b' c\n", f"1:8: {ODD}"),
    ("---\na: 1\n---\nb: 1\n", "3:1: a second document begins here; one file holds one"),
    ("%x\n", "1:3: this is not YAML; check the indentation and the quotes around here"),
    ("a: {b\n", "1:4: the block that begins here is not closed; a comma or } is missing"),
    ("a: [\n", "2:1: a value is missing here, or the bracket before it is not closed"),
    ("a: 1\na: 2\n", "2:1: the key `a` is here twice, first in line 1; keep one of them"),
    ("a: {b: 1, c: 2, b: 3}\n", "1:17: the key `b` is here twice, first in line 1; keep one of them"),
    ("? [a]\n: b\n", "1:3: a key must be one word; write `key: value`"),
    ("a: !!int 5\n", "1:4: the tag !!int is not used here; remove it"),
    ("a: !secret x\n", "1:4: the tag !secret is not used here; remove it"),
    ("a: !!python/object:os.system x\n", "1:4: the tag !!python/object:os.system is not used here; remove it"),
    ("a: {<<: b}\n", "1:9: << takes in a mapping; give it an alias of one, like <<: *name"),
    ("a: &x [1]\nb: {<<: *x}\n", "1:8: << takes in a mapping; give it an alias of one, like <<: *name"),
    ("a: &x [*x]\n", "1:4: this alias contains itself; write it out"),
    ("a: &x {b: {c: *x}}\n", "1:4: this alias contains itself; write it out"),
    ("a: &x {<<: *x}\n", "1:4: this alias contains itself; write it out"),
    ("a: x\x00y\n", "1:5: the character U+0000 is not allowed in YAML; remove it"),
    ("a: 1\nb: \x1b[0m\n", "2:4: the character U+001B is not allowed in YAML; remove it"),
]


@pytest.mark.parametrize(("text", "problem"), SYNTAX)
def test_a_mistake_has_a_place_and_a_plain_text(text: str, problem: str) -> None:
    if not yaml.__with_libyaml__ and text in ("a: [\n", "a: [b]]\n", "%x\n"):
        pytest.skip("libyaml stops elsewhere than PyYAML's own parser")
    assert said(read(text)) == [f"a.yml:{problem}"]


def test_what_is_not_utf_8_is_said_with_its_place() -> None:
    assert said(read("a: b\nc: ñ\n".encode("latin-1"))) == ["a.yml:2:4: not UTF-8 text; save the file as UTF-8"]
    assert said(read("a: b\n".encode("utf-16"))) == ["a.yml:1:1: not UTF-8 text; save the file as UTF-8"]


@pytest.mark.parametrize("text", ["[" * (MAX_DEPTH + 1), "[" * 100_000, "{a: " * 5_000, "- " * 5_000 + "x",
                                  "".join("  " * depth + "a:\n" for depth in range(500))])
def test_nesting_is_bounded(text: str) -> None:
    [problem] = said(read(text))
    assert problem.endswith(f"lists and blocks are nested more than {MAX_DEPTH} deep; make it flatter")


def test_nesting_within_the_bound_is_read() -> None:
    document = read("[" * MAX_DEPTH + "]" * MAX_DEPTH)
    assert said(document) == []


def test_aliases_of_aliases_are_bounded() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
    [problem] = said(read("\n".join(lines)))
    assert problem.endswith(f"the file has more than {MAX_VALUES} values, perhaps by aliases of aliases; use fewer")


@pytest.mark.slow
def test_merges_of_merges_are_bounded() -> None:
    lines = ["a0: &a0 {" + ", ".join(f"k{n}: [x, x, x, x]" for n in range(50)) + "}"]
    lines += [f"a{n}: &a{n} {{x: *a{n - 1}, y: *a{n - 1}, <<: *a{n - 1}}}" for n in range(1, 20)]
    assert any("more than" in problem for problem in said(read("\n".join(lines))))


# -- any text at all

@given(st.text(st.sampled_from("ab01:-[]{}&*<'\"#|>!%@$ \n\t?,~."), max_size=30))
@settings(max_examples=500, deadline=None)
def test_any_text_is_read_or_refused_with_a_place(text: str) -> None:
    document = read(text)
    lines = text.count("\n") + 2
    for problem in document.problems:
        assert 1 <= problem.line <= lines
        assert problem.column >= 1


@given(st.binary(max_size=40))
@settings(max_examples=200, deadline=None)
def test_any_bytes_are_read_or_refused(content: bytes) -> None:
    document = read(content)
    assert document.problems or document.data is None or isinstance(document.data, str | int | float | bool | list | dict)


keys = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="$"), max_size=5)      # which are never expanded
plain = st.recursive(
    st.one_of(st.text(max_size=8), st.integers(-10**6, 10**6), st.booleans(), st.none()),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(keys, inner, max_size=3)), max_leaves=8)


@given(st.dictionaries(st.text("abc", min_size=1, max_size=4), plain, max_size=4))
@settings(max_examples=150, deadline=None)
def test_what_is_written_as_yaml_is_read_back(data: dict[str, Any]) -> None:
    text = yaml.safe_dump(data)
    document = read(text.replace("${", "$${"))
    assert said(document) == []
    assert document.data == data


QUOTED = '; if a value here is ${NAME}, put it in quotes: "${NAME}"'


@pytest.mark.parametrize(("text", "is_said"), [
    ("a: {b: ${NAME}}\n", True), ("a: {b: ${NAME}, c: 1}\n", True), ("a: [${NAME}]\n", True), ("a: [x, ${NAME}, y]\n", True),
    ("a: {b: http://${NAME}/x}\n", True), ("a:\n- {b: 1,\n   c: ${NAME}}\n", True),
    ("a: {b: 1\nc: 3\n", False), ('a: {b: "${NAME}" c: 3}\n', False), ("a: b: ${NAME}\n", False), ("a: ${NAME}\n  b: 1\n", False),
])
def test_a_variable_in_a_block_in_braces_wants_quotes(text: str, is_said: bool) -> None:
    document = read_document("x.yml", text.encode(), {"NAME": "canary"})
    (problem,) = document.problems
    assert problem.text.endswith(QUOTED) is is_said, problem
    assert "canary" not in problem.text


def test_a_long_list_with_a_mistake_at_its_end_is_read_quickly() -> None:
    text = "a: [" + "[b], " * 100_000 + "${NAME"
    began = time.monotonic()
    assert len(read_document("x.yml", text.encode(), {}).problems) == 1
    assert time.monotonic() - began < 10
