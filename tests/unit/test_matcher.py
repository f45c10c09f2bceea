"""Matchers: Alertmanager's grammar by its own cases, texts of mistakes, and agreement with a slow and obvious reference."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from alerthub.domain.matcher import OPERATORS, Matcher, all_match, parse_matcher, parse_matchers

GOOD = [
    # no or several matchers, braces, commas and spaces
    ("", []), ("   ", []), ("{}", []), (" { } ", []),
    ("foo=bar", [("foo", "=", "bar")]), ("{foo=bar}", [("foo", "=", "bar")]), ("{foo=bar,}", [("foo", "=", "bar")]),
    ("foo=bar,", [("foo", "=", "bar")]), (" foo = bar ", [("foo", "=", "bar")]), ("foo\t=\nbar", [("foo", "=", "bar")]),
    ('{foo="bar", baz!="x"}', [("foo", "=", "bar"), ("baz", "!=", "x")]),
    ('foo="bar",baz!="x"', [("foo", "=", "bar"), ("baz", "!=", "x")]),
    ('foo="a,b}",baz="{x"', [("foo", "=", "a,b}"), ("baz", "=", "{x")]),
    ("foo=bar,foo!=bar", [("foo", "=", "bar"), ("foo", "!=", "bar")]),
    # operators
    ("foo!=bar", [("foo", "!=", "bar")]), ('foo=~"a|b"', [("foo", "=~", "a|b")]), ("foo!~[a-z]+", [("foo", "!~", "[a-z]+")]),
    ("foo=~[a-z]+", [("foo", "=~", "[a-z]+")]), ('foo!~"a|b"', [("foo", "!~", "a|b")]),
    # quotes
    ('"foo"="bar"', [("foo", "=", "bar")]), ('foo=""', [("foo", "=", "")]), ('"foo bar"=baz', [("foo bar", "=", "baz")]),
    ('"{}!=~,"="x"', [("{}!=~,", "=", "x")]), ('foo="it\'s"', [("foo", "=", "it's")]),
    # names and values in any script
    ("foo=🙂bar", [("foo", "=", "🙂bar")]), ("naïve=ß", [("naïve", "=", "ß")]), ('"🙂"="🙂"', [("🙂", "=", "🙂")]),
    ("a.b-c/d=1", [("a.b-c/d", "=", "1")]), ("a:b=c", [("a:b", "=", "c")]),
    # escapes: of classic names, only these three; any other backslash stands for itself
    (r'foo="a\"b"', [("foo", "=", 'a"b')]), (r'foo="a\\b"', [("foo", "=", r"a\b")]), (r'foo="a\nb"', [("foo", "=", "a\nb")]),
    (r'foo=~"\d+\.\w"', [("foo", "=~", r"\d+\.\w")]), (r'foo=~"\\d+"', [("foo", "=~", r"\d+")]),
    (r'foo="\x41\t"', [("foo", "=", r"\x41\t")]), (r'foo="\\n"', [("foo", "=", r"\n")]),
    # with a name that only the UTF-8 grammar knows: Go's
    (r'"foo bar"="\x41\101\u00e9\U0001f642\t\\\""', [("foo bar", "=", 'AAé🙂\t\\"')]),
    (r'"foo bar"="\xf0\x9f\x99\x82"', [("foo bar", "=", "🙂")]), (r'"\x41"="\n"', [("A", "=", "\n")]),
    (r'"foo bar"=~"\\d+"', [("foo bar", "=~", r"\d+")]),
]


@pytest.mark.parametrize(("text", "found"), GOOD)
def test_a_text_is_read_as_alertmanager_reads_it(text: str, found: list[tuple[str, str, str]]) -> None:
    assert parse_matchers(text) == tuple(Matcher(*parts) for parts in found)


OPERATOR = "one of = != =~ !~"
BAD = [
    (",", "at character 1: expected a label name, found ,"),
    ("{,}", "at character 2: expected a label name, found ,"),
    ("foo=bar,,a=b", "at character 9: expected a label name, found ,"),
    ("{", "at character 2: expected } for the { at the beginning, found the end"),
    ("}", "at character 1: expected no }, as there is no { at the beginning, found }"),
    ("foo=bar}", "at character 8: expected no }, as there is no { at the beginning, found }"),
    ("{foo=bar", "at character 9: expected } for the { at the beginning, found the end"),
    ("{foo=bar} x", "at character 11: expected nothing more, found x"),
    ("{foo=bar}}", "at character 10: expected nothing more, found }"),
    ("foo", f"at character 4: expected {OPERATOR}, found the end"),
    ("foo bar=1", f"at character 5: expected {OPERATOR}, found bar"),
    ("=bar", "at character 1: expected a label name, found ="),
    ("foo=", 'at character 5: expected a value (for an empty one write ""), found the end'),
    ("foo==bar", 'at character 5: expected a value (for an empty one write ""), found ='),
    ("foo=,a=b", 'at character 5: expected a value (for an empty one write ""), found ,'),
    ('foo=:"bar"', 'at character 6: expected a comma, or the end, found "bar"'),
    ("foo=bar baz", "at character 9: expected a comma, or the end, found baz"),
    ('a="x" b="y"', "at character 7: expected a comma, or the end, found b"),
    ("foo!bar", "at character 4: ! alone is not an operator; use one of = != =~ !~"),
    ("foo~bar", "at character 4: ~ alone is not an operator; use one of = != =~ !~"),
    ('foo="bar', 'at character 5: the quote is not closed; end the text with "'),
    ('foo="bar\\"', 'at character 5: the quote is not closed; end the text with "'),
    ("foo='bar'", "at character 5: ' must stand inside double quotes"),
    ("foo=a\\b", "at character 6: \\ must stand inside double quotes"),
    ("{foo=`x`}", "at character 6: ` must stand inside double quotes"),
    (r'"foo bar"=~"\d"', r"at character 13: \d is no escape; for a backslash write \\"),
    (r'"foo bar"="\U00110000"', r"at character 12: \U00110000 is no escape; for a backslash write \\"),
    (r'"foo bar"="\ud800"', r"at character 12: \ud800 is no escape; for a backslash write \\"),
    (r'"foo bar"="\5"', r"at character 12: \5 is no escape; for a backslash write \\"),
    (r'"foo bar"="\²"', r"at character 12: \² is no escape; for a backslash write \\"),
    (r'"foo bar"="\xf0\x9f"', "at character 11: the escaped bytes are not UTF-8 text"),
    ("a=\ud800", "at character 3: half of a surrogate pair is not text"),
    ('""=x', 'at character 1: a label name cannot be empty; write it like severity="critical"'),
    ('foo=~"("', "at character 6: not a valid regular expression: missing ): ("),
    ('foo=~"a)(b"', "at character 6: not a valid regular expression: unexpected ): a)(b"),
    (r'foo=~"(?=x)"', "at character 6: not a valid regular expression: invalid perl operator: (?="),
    ('a=b,foo!~"*"', "at character 10: not a valid regular expression: no argument for repetition operator: *"),
]


@pytest.mark.parametrize(("text", "problem"), BAD)
def test_a_mistake_is_said_with_its_place_and_what_would_be_right(text: str, problem: str) -> None:
    with pytest.raises(ValueError) as raised:
        parse_matchers(text)
    assert str(raised.value) == problem


@pytest.mark.parametrize("text", ["", "{}", "a=b,c=d", "{a=b}"])
def test_one_matcher_is_one_without_braces(text: str) -> None:
    with pytest.raises(ValueError, match='expected one matcher such as severity="critical"'):
        parse_matcher(text)


def test_an_operator_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ValueError, match="== is not an operator; use one of = != =~ !~"):
        Matcher("a", "==", "b")


# -- what a matcher matches

MATCHES = [
    # text, the label's value (None: it is missing), matched
    ('a="x"', "x", True), ('a="x"', "X", False), ('a="x"', None, False), ('a=""', None, True), ('a=""', "", True),
    ('a!="x"', "x", False), ('a!="x"', "y", True), ('a!="x"', None, True), ('a!=""', None, False), ('a!=""', "y", True),
    ('a=~"x"', "x", True), ('a=~"x"', "xx", False), ('a=~"x|yy"', "yy", True), ('a=~"x|y"', "xy", False),
    ('a=~"x.*"', "xyz", True), ('a=~".*"', None, True), ('a=~".+"', None, False), ('a=~""', None, True),
    ('a!~"x.*"', "xyz", False), ('a!~"x.*"', "yx", True), ('a!~".+"', None, True),
    ('a=~".*"', "one\ntwo", False), ('a=~"(?s).*"', "one\ntwo", True),        # as in Go, . is no line break
    ('a=~"^x$"', "x", True), ('a=~"(?i)x"', "X", True), (r'a=~"\d+"', "٣", False), ('a=~"ß+"', "ßß", True),
    ("a=~x", "x\n", False),                                                   # $ is the end, not the last line break
]


@pytest.mark.parametrize(("text", "value", "matched"), MATCHES)
def test_a_missing_label_is_empty_and_a_pattern_matches_whole(text: str, value: str | None, matched: bool) -> None:
    labels = {"b": "x"} if value is None else {"a": value, "b": "x"}
    assert parse_matcher(text).matches(labels) is matched


def test_all_matchers_must_match() -> None:
    matchers = parse_matchers('job=~"api|web",env!="dev"')
    assert all_match(matchers, {"job": "api"})
    assert not all_match(matchers, {"job": "api", "env": "dev"})
    assert not all_match(matchers, {"env": "prod"})
    assert all_match((), {"anything": "at all"})


def test_a_pattern_cannot_run_away() -> None:
    assert not parse_matcher('a=~"(a+)+b"').matches({"a": "a" * 20_000})


# -- against a slow and obvious reference

def obviously_matches(matcher: Matcher, labels: dict[str, str]) -> bool:
    value = dict.get(labels, matcher.name) or ""
    equal = {"=": value == matcher.value, "!=": value != matcher.value}
    return equal[matcher.op] if matcher.op in equal else bool(re.match(f"^(?:{matcher.value})\\Z", value)) == (matcher.op == "=~")


def obviously_unquoted(text: str) -> str:
    """Letter by letter, as the classic parser reads the inside of quotes."""
    found, rest = "", text
    while rest:
        pair = rest[:2]
        found += {"\\n": "\n", '\\"': '"', "\\\\": "\\"}.get(pair, rest[0])
        rest = rest[2:] if pair in ("\\n", '\\"', "\\\\") else rest[1:]
    return found


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
names = texts.filter(bool)
patterns = st.recursive(
    st.sampled_from(["a", "b", "ab", ".", "[ab]", "x?", "", "ä"]),
    lambda inner: st.one_of(st.tuples(inner, inner).map("".join), st.tuples(inner, inner).map("|".join),
                            inner.map(lambda part: f"(?:{part})*"), inner.map(lambda part: f"(?:{part})+")), max_leaves=6)


def written(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'


@given(st.lists(st.tuples(names, st.sampled_from(["=", "!="]), texts), max_size=4), st.booleans(), st.booleans(),
       st.sampled_from(["", " ", "\t\n"]))
@settings(max_examples=200, deadline=None)
@example([("a", "=", "\x1c"), ("\u2028", "!=", "}")], True, True, " ")
def test_whatever_is_written_in_quotes_is_read_back(
        parts: list[tuple[str, str, str]], is_braced: bool, has_comma: bool, space: str) -> None:
    inside = f"{space},{space}".join(f"{written(name)}{space}{op}{space}{written(value)}" for name, op, value in parts)
    text = inside + "," * (has_comma and bool(parts))
    matchers = parse_matchers(f"{space}{{{text}{space}}}" if is_braced else text)
    assert [(matcher.name, matcher.op, matcher.value) for matcher in matchers] == parts


@given(st.builds(Matcher, names, st.sampled_from(OPERATORS), texts.map(re.escape)))
@settings(max_examples=150, deadline=None)
def test_a_matcher_as_text_is_the_same_matcher(matcher: Matcher) -> None:
    assert parse_matcher(str(matcher)) == matcher


@given(st.text(st.sampled_from('ab\\nt"x4 '), max_size=10))
@settings(max_examples=300, deadline=None)
def test_escapes_of_classic_names_agree_with_the_obvious_reading(inside: str) -> None:
    try:
        matcher = parse_matcher(f'a="{inside}"')
    except ValueError:
        unescaped = re.sub(r"\\.", "", inside)
        assert '"' in unescaped or unescaped.endswith("\\")
    else:
        assert matcher.value == obviously_unquoted(inside)


@given(st.text(st.sampled_from("ab=!~{},\"\\' "), max_size=14))
@settings(max_examples=400, deadline=None)
def test_any_text_is_read_or_refused_with_a_place(text: str) -> None:
    problem, matchers = "", ()
    try:
        matchers = parse_matchers(text)
    except ValueError as error:
        problem = str(error)
    assert re.fullmatch(r"(at character \d+: .+)?", problem, re.DOTALL)
    assert parse_matchers(",".join(map(str, matchers))) == matchers


@given(st.sampled_from(OPERATORS), patterns, st.dictionaries(st.sampled_from("ab"), st.text("abxä\n", max_size=6)))
@settings(max_examples=300, deadline=None)
def test_matching_agrees_with_the_obvious_reading(op: str, value: str, labels: dict[str, str]) -> None:
    matcher = Matcher("a", op, value)
    assert matcher.matches(labels) is obviously_matches(matcher, labels)
