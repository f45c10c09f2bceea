"""The filters of templates: what each makes, and that none makes much out of little."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alerthub.channels.sandbox import (
    CHARACTERS,
    ITEM,
    ITERATIONS,
    STEPS,
    TEXT,
    WHOLE,
    Allowance,
    Exceeded,
    LabelSet,
    checked,
    size,
)
from alerthub.channels.template import Template
from alerthub.channels.template_filters import FILTERS
from alerthub.domain.alert import AlertStatus
from tests.kit.messages import alert_line, message

BTC = alert_line(labels={"agent": "btc", "zone": "a"}, annotations={"summary": "one"})
ETH = alert_line(AlertStatus.resolved, labels={"agent": "eth"}, annotations={"summary": "two"})


def say(expression: str, **overrides: object) -> str | None:
    told = {"alerts": (BTC, ETH), "common_labels": {"agent": "btc", "nil": "", "number": "12.5"}, **overrides}
    return Template("{{ " + expression + " }}").render(message(**told))


@pytest.mark.parametrize(("expression", "wanted"), [
    ("'aB' | upper", "AB"), ("'aB' | lower", "ab"), ("'a b' | title", "A B"), ("'aB c' | capitalize", "Ab c"),
    ("' a ' | trim", "a"), ("' a ' | strip", "a"), ("'xax' | strip('x')", "a"), ("12 | string ~ 3", "123"),
    ("labels.missing | default('x')", "x"), ("labels.missing | d('x')", "x"), ("labels.missing | d", ""),
    ("labels.nil | default('x')", ""), ("labels.nil | default('x', true)", "x"), ("labels.agent | default('x')", "btc"),
    ("'aaa' | replace('a', 'bb')", "bbbbbb"), ("'abc' | replace('z', 'y')", "abc"), ("'abc' | replace('b', '')", "ac"),
    ("'abcdef' | truncate(4)", "abc…"), ("'abcdef' | truncate(6)", "abcdef"), ("'abcdef' | truncate(4, '')", "abcd"),
    ("'abc' | truncate(0)", ""), ("'abc' | truncate(-5)", ""),
    ("'a,b,c' | split(',') | join('-')", "a-b-c"), ("' a  b ' | split | join('-')", "a-b"),
    ("['a', 2, none] | join('-')", "a-2-"), ("alerts | join(', ', attribute='labels.agent')", "btc, eth"),
    ("alerts | map('labels.agent') | first", "btc"), ("alerts | map(attribute='labels.agent') | last", "eth"),
    ("alerts | map('labels.missing') | join('-')", "-"), ("'abc' | first", "a"), ("'abc' | last", "c"), ("[] | first", ""),
    ("labels | first", "agent"), ("alerts | length", "2"), ("'abc' | length", "3"), ("labels | count", "3"),
    ("labels | list | join(' ')", "agent nil number"), ("['b', 'a', 'b'] | unique | join", "ba"),
    ("['b', 'C', 'a'] | sort | join", "abC"), ("[10, 9] | sort | join(' ')", "10 9"),
    ("alerts | sort(attribute='labels.agent', reverse=true) | map('summary') | join", "twoone"),
    ("'abc' | reverse", "cba"), ("[1, 2] | reverse | join", "21"),
    ("labels | items | length", "3"), ("labels | dictsort | length", "3"), ("labels.missing | items | length", "0"),
    ("labels | get('agent')", "btc"), ("labels | get('missing', 'x')", "x"), ("labels | get('nil', 'x')", ""),
    ("alerts | selectattr('status', 'eq', 'firing') | map('summary') | join", "one"),
    ("alerts | selectattr('status', '!=', 'firing') | map('summary') | join", "two"),
    ("alerts | rejectattr('labels.agent', 'in', ['btc', 'x']) | map('summary') | join", "two"),
    ("alerts | selectattr('labels.zone') | map('summary') | join", "one"),
    ("alerts | rejectattr('labels.zone') | map('summary') | join", "two"),
    ("labels.number | float + 1", "13.5"), ("'x' | float", "0.0"), ("'x' | float(7)", "7"), ("labels.missing | float(2)", "2"),
    ("labels.number | int", "12"), ("'x' | int(7)", "7"), ("labels.missing | int", "0"), ("'²' | int(3)", "3"),
    ("2.567 | round(2)", "2.57"), ("'2.5' | round", "2.0"), ("-2 | abs", "2"), ("(1 - 3) | abs", "2"),
    ("'a b/ü&' | urlencode", "a%20b%2F%C3%BC%26"),
])
def test_a_filter_makes(expression: str, wanted: str) -> None:
    assert say(expression) == wanted


@pytest.mark.parametrize(("expression", "word"), [
    ("'a' | replace('', 'x')", "look for"), ("title | items", "items wants"), ("title | get('x')", "get wants"),
    ("5 | list", "a list is wanted"), ("alerts | map('nothing')| join", "no field 'nothing'"), ("'x' | abs", "abs wants"),
    ("alerts | selectattr('status', 'like', 'x') | length", "no test 'like'"), ("1.5 | round(10)", "9 digits"),
    ("alerts | sort | length", "cannot be compared"), ("alerts | unique | length", "cannot be compared"),
    ("alerts | first", "cannot be printed"), ("alerts | upper", "is not a text"), ("labels | items | join", "cannot be printed"),
    ("[alerts] | length", "texts and numbers only"), ("'x' | safe", "no filter 'safe'"), ("'x' | e", "no filter 'e'"),
    ("[1] + [2]", "no meaning"), ("'a' - 'b'", "no meaning"), ("'a' * 1.5", "more than"),
])
def test_a_filter_refuses_what_it_cannot_do(expression: str, word: str) -> None:
    with pytest.raises(ValueError) as caught:
        say(expression)
    assert word in str(caught.value)


@pytest.mark.parametrize(("length", "fits"), [(TEXT - 1, True), (TEXT, True), (TEXT + 1, False)])
@pytest.mark.parametrize("expression", [
    "('x' * firing) ~ 'y'", "('x' * firing) + 'y'", "'y' ~ ('x' * firing)", "(('x' * firing) ~ 'z') | replace('z', 'y')",
    "['x' * firing, ''] | join('y')",
])
def test_a_text_is_as_long_as_it_may_be_and_no_longer(expression: str, length: int, fits: bool) -> None:
    told = Template("{{ (" + expression + ") | length }}").render(message(firing=length - 1))
    assert told == (str(length) if fits else None)


@pytest.mark.parametrize(("count", "fits"), [(ITERATIONS - 1, True), (ITERATIONS, True), (ITERATIONS + 1, False)])
def test_a_list_is_as_long_as_it_may_be_and_no_longer(count: int, fits: bool) -> None:
    for expression in ("range(firing)", "(',' * (firing - 1)).split(',')"):
        told = Template("{{ " + expression + " | length }}").render(message(firing=count))
        assert told == (str(count) if fits else None)


@pytest.mark.parametrize(("number", "fits"), [
    (WHOLE - 1, True), (WHOLE, True), (WHOLE + 1, False), (-WHOLE, True), (-WHOLE - 1, False),
])
def test_a_number_is_as_large_as_it_may_be_and_no_larger(number: int, fits: bool) -> None:
    assert (Template("{{ firing + 0 }}").render(message(firing=number)) == str(number)) is fits
    if not fits:
        with pytest.raises(Exceeded):
            checked(number)


@pytest.mark.parametrize(("spent", "fits"), [(CHARACTERS - 1, True), (CHARACTERS, True), (CHARACTERS + 1, False)])
def test_the_characters_of_one_rendering_are_counted(spent: int, fits: bool) -> None:
    allowance = Allowance()
    if fits:
        allowance.spend(spent)
        assert allowance.characters == CHARACTERS - spent
    else:
        with pytest.raises(Exceeded):
            allowance.spend(spent)


@pytest.mark.parametrize(("rounds", "weight", "fits"), [
    (ITERATIONS, 1, True), (ITERATIONS + 1, 1, False), (100, STEPS // 100, True), (100, STEPS // 100 + 1, False),
])
def test_rounds_are_counted_and_weighed(rounds: int, weight: int, fits: bool) -> None:
    if fits:
        Allowance().loop(rounds, weight)
    else:
        with pytest.raises(Exceeded):
            Allowance().loop(rounds, weight)


@pytest.mark.parametrize(("value", "wanted"), [
    ("abc", 3), ([], 0), (["a", "bc"], 3 + 2 * ITEM), ([["a"]], 1 + 2 * ITEM), (LabelSet({"a": "bc"}), 4), (7, 1), (None, 1),
])
def test_what_a_value_costs(value: object, wanted: int) -> None:
    assert size(value) == wanted


VALUES = st.one_of(st.text(max_size=20), st.integers(-(10**19), 10**19), st.floats(), st.none(), st.booleans(),
                   st.lists(st.text(max_size=5), max_size=3))


def written(value: object) -> str:
    """The value as a template spells it."""
    if isinstance(value, list):
        return f"[{', '.join(map(written, value))}]"
    if isinstance(value, str):
        return "'" + value.encode("ascii", "backslashreplace").decode().replace("\\", "").replace("'", "").replace("\n", "") + "'"
    return {"None": "none", "True": "true", "False": "false", "nan": "1e999", "inf": "1e999"}.get(str(value), f"({value})")


@settings(max_examples=150, deadline=None)
@given(name=st.sampled_from(sorted(name for name in FILTERS)), value=VALUES, arguments=st.lists(VALUES, max_size=2))
def test_any_filter_on_any_value_gives_text_or_a_plain_refusal(name: str, value: object, arguments: list[object]) -> None:
    call = f"({', '.join(map(written, arguments))})" if arguments else ""
    source = "{{ " + written(value) + f" | {name}{call} | string }}}}"
    try:
        told = Template(source).render(message())
    except ValueError as refusal:
        told = str(refusal)
    assert told is None or len(told) <= TEXT
