"""Templates: what they can say, what is refused before it can fail at night, and that nothing they do takes long."""

from __future__ import annotations

import logging
import time
import tracemalloc
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alerthub.channels.sandbox import SOURCE, TEXT, VALUE
from alerthub.channels.template import VARIABLES, Template, page_of, samples, variables
from alerthub.domain.message import Link
from tests.kit.messages import (
    HOSTILE,
    NOW,
    firing_line,
    giant_message,
    hostile_message,
    message,
    resolved_line,
    resolved_message,
)


def say(source: str, **overrides: object) -> str | None:
    return Template(source).render(message(**overrides))


# --- what a template can say ------------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("source", "wanted"), [
    ("{{ title }}", "AgentRewardNegative (agent=btc)"),
    ("{{ status }} {{ severity }} #{{ number }} {{ why }}", "triggered critical #17 opened"),
    ("{{ labels.agent }}{{ labels['agent'] }}{{ labels.get('agent') }}", "btcbtcbtc"),
    ("{{ labels.missing }}|{{ labels.missing.deeper }}|{{ labels.get('missing', 'none') }}", "||none"),
    ("{{ labels.missing | default('none') }}", "none"),
    ("{{ labels }}", "agent=btc, alertname=AgentRewardNegative, severity=critical"),
    ("{% for name, value in labels | items %}{{ name }}={{ value }};{% endfor %}",
     "agent=btc;alertname=AgentRewardNegative;severity=critical;"),
    ("{% for name, value in labels.items() %}{{ name }};{% endfor %}", "agent;alertname;severity;"),
    ("{% for name in labels %}{{ name }};{% endfor %}", "agent;alertname;severity;"),
    ("{{ annotations.summary }}", "The rolling reward of btc is -12.5"),
    ("{% for alert in alerts %}{{ loop.index }}/{{ loop.length }} {{ alert.status }} {{ alert.summary }} {{ alert.starts_at }} "
     "[{{ alert.ends_at }}] {{ alert.generator_url }}{% endfor %}",
     "1/1 firing The rolling reward of btc is -12.5 2026-11-21 11:55:00 UTC [] "
     "http://prometheus:9090/graph?g0.expr=rolling_reward"),
    ("{{ alerts[0].labels.agent }}{{ alerts[7].labels.agent }}", "btc"),
    ("{{ firing }} firing, {{ resolved }} resolved", "1 firing, 0 resolved"),
    ("{{ news | join('; ') }}", "Opened: 1 alert firing: AgentRewardNegative on btc"),
    ("{% for link in links %}{{ link.label }}: {{ link.url }} {% endfor %}",
     "Incident: https://hub.example.com/incidents/17 Runbook: https://hub.example.com/runbooks/agent-reward "),
    ("{{ url }} {{ source }}", "https://hub.example.com/incidents/17 alertmanager"),
    ("{{ opened_at }}|{{ resolved_at }}|{{ acknowledged_by }}", "2026-11-21 11:55:00 UTC||"),
    ("{% if severity == 'critical' and firing > 0 %}wake up{% else %}sleep{% endif %}", "wake up"),
    ("{{ 'yes' if is_stale or is_silenced or incomplete else 'no' }}", "no"),
    ("{{ severity in ['critical', 'error'] }} {{ 'agent' in labels }} {{ 'nobody' in labels }}", "True True False"),
    ("{{ labels.agent is defined }} {{ labels.missing is undefined }}", "True True"),
    ("{{ labels.agent | upper }} {{ labels.agent.upper() }} {{ 'a b'.title() }}", "BTC BTC A B"),
    ("{{ title[:5] }}{{ title[-1] }} {{ 'a,b'.split(',') | last }}", "Agent) b"),
    ("{{ '-' * 5 ~ (1 + 2) }} {{ 7 // 2 }} {{ 7 % 4 }} {{ 1 / 2 }} {{ 2 - 3 }} {{ -1 }}", "-----3 3 3 0.5 -1 -1"),
    ("{% set n = 2 %}{% with m = n + 1 %}{{ m }}{% endwith %}", "3"),
    ("{{ alerts | map(attribute='labels.agent') | unique | sort | join(', ') }}", "btc"),
    ("{{ alerts | map('status') | first }}", "firing"),
    ("{{ alerts | selectattr('status', 'equalto', 'firing') | length }}"
     "{{ alerts | rejectattr('status', 'equalto', 'firing') | length }}"
     "{{ alerts | selectattr('status', 'in', ['resolved']) | count }}{{ alerts | selectattr('summary') | count }}", "1001"),
    ("{{ labels.missing | float > 3 }} {{ '12.5' | float }} {{ '7' | int }} {{ '7.9' | int }} {{ 'x' | int(4) }}",
     "False 12.5 7 7 4"),
    ("{{ 2.345 | round(1) }} {{ -3 | abs }} {{ 'b' ~ 'a' | reverse }}", "2.3 3 ba"),
    ("https://x/?q={{ 'a b&c/ü' | urlencode }}", "https://x/?q=a%20b%26c%2F%C3%BC"),
    ("{{ title | truncate(8) }} {{ '  x ' | trim }} {{ 'xxaxx'.strip('x') }}", "AgentRe… x a"),
    ("{{ 'a-b' | replace('-', '+') }} {{ 'abc'.startswith('a') }} {{ 'abc'.endswith('a') }}", "a+b True False"),
    ("{{ ['b', 'A', 'c'] | sort(reverse=true) | join }}", "cbA"),
    ("{% for a in alerts if a.status == 'resolved' %}x{% else %}none{% endfor %}", "none"),
    ("plain text with { and } and # and %", "plain text with { and } and # and %"),
    ("", ""),
])
def test_a_template_says(source: str, wanted: str) -> None:
    assert say(source) == wanted


def test_every_documented_variable_exists_and_every_variable_is_documented() -> None:
    assert set(variables(message())) == set(VARIABLES)
    for name in VARIABLES:
        shown = f"{{{{ {name} | length }}}}" if name in ("actions", "alerts", "links", "news") else f"{{{{ {name} }}}}"
        assert say(shown) is not None


@pytest.mark.parametrize("name", ["items", "keys", "values", "get", "copy", "pop", "update", "__class__", "names", "pairs",
                                  "value", "upper", "format", "_private"])
def test_a_label_named_like_a_method_gives_its_value(name: str) -> None:
    line = firing_line(labels={name: "the value"})
    told = {"common_labels": {name: "the value"}, "alerts": (line,)}
    assert say(f"{{{{ labels.{name} }}}}", **told) == "the value"
    assert say(f"{{{{ labels['{name}'] }}}}", **told) == "the value"
    assert say(f"{{{{ alerts[0].labels.{name} }}}}", **told) == "the value"


@pytest.mark.parametrize("value", HOSTILE, ids=lambda value: ascii(value[:12]))
def test_a_label_is_data_and_never_source(value: str) -> None:
    told = Template("{{ title }}|{{ labels.agent }}|{{ annotations.summary }}").render(hostile_message(value))
    assert told == f"{value}|{value}|{value}"


def test_a_time_in_another_zone_is_told_in_utc() -> None:
    zone = timezone(timedelta(hours=3))
    assert say("{{ opened_at }}", opened_at=datetime(2026, 11, 21, 3, 0, tzinfo=zone)) == "2026-11-21 00:00:00 UTC"


def test_the_page_is_the_link_called_incident_else_the_first_else_nothing() -> None:
    runbook, incident = Link("Runbook", "https://r.example"), Link("Incident", "https://i.example")
    assert page_of(message(links=(runbook, incident))) == "https://i.example"
    assert page_of(message(links=(runbook, Link("Incident #17", "https://i.example/17")))) == "https://i.example/17"
    assert page_of(message(links=(runbook,))) == "https://r.example"
    assert page_of(message(links=())) == ""


def test_in_html_the_template_is_markup_and_what_it_prints_is_text() -> None:
    told = Template("<b>{{ title }}</b><a title=\"{{ labels.agent }}\">{{ '<i>' ~ title }}</a>", html=True).render(
        hostile_message("</b><script>\"'&"))
    safe = "&lt;/b&gt;&lt;script&gt;&quot;&#x27;&amp;"
    assert told == f'<b>{safe}</b><a title="{safe}">&lt;i&gt;{safe}</a>'


def test_a_template_can_be_rendered_again_and_its_bounds_start_anew() -> None:
    template = Template("{% for n in range(15000) %}{% endfor %}{{ number }}")
    assert [template.render(message(number=n)) for n in range(5)] == ["0", "1", "2", "3", "4"]


# --- what is refused when the configuration is read ---------------------------------------------------------------------------

@pytest.mark.parametrize(("source", "line", "word"), [
    ("{{ titel }}", 1, "titel"),
    ("\n\n{{ alerts[0].sumary }}", 3, "sumary"),
    ("\n{% if firing > 99 %}{{ titel }}{% endif %}", 2, "titel"),
    ("{% for link in links %}\n{{ link.adress }}{% endfor %}", 2, "adress"),
    ("{{ resolved_at }}\n{% if status == 'resolved' %}{{ alerts[0].endsAt }}{% endif %}", 2, "endsAt"),
    ("{% if title %}", 1, "endif"),
    ("{{ title", 1, "end of"),
    ("x\n{{ title | shout }}", 2, "shout"),
    ("{{ title is loud }}", 1, "loud"),
    ("{{ alerts }}", 1, "join"),
    ("{{ title + 1 }}", 1, "no meaning"),
    ("{{ labels.agent > 3 }}", 1, "not supported"),
    ("{{ title.format(1) }}", 1, "can be called"),
    ("{{ _secret }}", 1, "_secret"),
    ("{{ loop.index }}", 1, "loop"),
    ("{% for alert in alerts %}{{ loop.cycle('a', 'b') }}{% endfor %}", 1, "can be called"),
    ("{% include 'x' %}", 1, "Include"),
])
def test_a_mistake_is_refused_with_its_line(source: str, line: int, word: str) -> None:
    with pytest.raises(ValueError) as caught:
        Template(source)
    assert str(caught.value).startswith(f"line {line}: ")
    assert word in str(caught.value)


@pytest.mark.parametrize(("length", "fits"), [(SOURCE - 1, True), (SOURCE, True), (SOURCE + 1, False)])
def test_a_template_has_a_longest_length(length: int, fits: bool) -> None:
    if fits:
        assert Template("x" * length).render(message()) == "x" * length
    else:
        with pytest.raises(ValueError):
            Template("x" * length)


# --- attacks --------------------------------------------------------------------------------------------------------------

NESTED = "{% for a in range(9999) %}{% for b in range(9999) %}{% for c in range(9999) %}x{% endfor %}{% endfor %}{% endfor %}"
ATTACKS = {
    "nested ranges": NESTED,
    "a huge range": "{% for a in range(10 ** 9) %}{% endfor %}",
    "a huge range without power": "{{ range(999999999999999999) | length }}",
    "a wide range": "{% for a in range(99999) %}{% endfor %}",
    "empty loops": "{% for a in range(19000) %}{% for b in range(19000) %}{% endfor %}{% endfor %}",
    "an allocation": "{{ 'a' * 200000000 }}",
    "an allocation from the other side": "{{ 200000000 * 'a' }}",
    "a list allocation": "{{ [1] * 200000000 }}",
    "a power tower": "{{ 9 ** 9 ** 9 ** 9 }}",
    "a growing number": "{% set a = 999999999 %}" + "{% set a = a * a %}" * 60 + "{{ a }}",
    "doubling by concatenation": "{% set a = 'xxxxxxxxxxxxxxxx' %}" + "{% set a = a ~ a %}" * 60 + "{{ a }}",
    "doubling by addition": "{% set a = 'xxxxxxxxxxxxxxxx' %}" + "{% set a = a + a %}" * 60 + "{{ a }}",
    "doubling by replacement": "{% set a = 'xxxxxxxxxxxxxxxx' %}" + "{% set a = a | replace('x', 'xx') %}" * 60 + "{{ a }}",
    "one replacement": "{{ ('x' * 60000) | replace('x', 'y' * 60000) }}",
    "joining": "{{ range(19000) | join('y' * 60000) }}",
    "nesting lists": "{% set a = [1] %}" + "{% set a = [a, a] %}" * 60 + "{{ a == a }}",
    "comparing lists": "{{ range(19000) == range(19000) }}",
    "searching lists": "{% for a in range(5000) %}{{ 'x' in range(5000) }}{% endfor %}",
    "selecting by a long list": "{% set all = 'x y ' * 9000 %}{% for a in range(300) %}"
                                "{{ alerts | selectattr('status', 'in', all.split(' ')) | length }}{% endfor %}",
    "a percent format": "{{ '%999999999d' % 1 }}",
    "a format method": "{{ '{:>999999999}'.format(1) }}",
    "a format filter": "{{ '%999999999d' | format(1) }}",
    "centring": "{{ 'x' | center(999999999) }}",
    "an indent": "{{ 'x\\n' * 9999 | indent(99999) }}",
    "an xmlattr": "{{ {'a': 'b'} | xmlattr }}",
    "pretty printing": "{{ alerts | pprint }}",
    "json": "{{ labels | tojson }}",
    "a recursive macro": "{% macro m() %}{{ m() }}{{ m() }}{% endmacro %}{{ m() }}",
    "a recursive loop": "{% for a in alerts recursive %}{{ loop(alerts) }}{% endfor %}",
    "a block": "{% block a %}{{ self.a() }}{% endblock %}",
    "an import": "{% import 'os' as os %}{{ os }}",
    "an include": "{% include '/etc/passwd' %}",
    "an extension": "{% extends '/etc/passwd' %}",
    "a call block": "{% call title() %}{% endcall %}",
    "a filter block": "{% filter upper %}{{ title }}{% endfilter %}",
    "a captured block": "{% set a %}{% for b in range(9000) %}xxxxxxxxxxxxxxx{% endfor %}{% endset %}{{ a }}",
    "a walk over classes": "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "a walk by item": "{{ ''['__class__']['__mro__'] }}",
    "a walk by filter": "{{ '' | attr('__class__') }}",
    "a walk by map": "{{ alerts | map(attribute='__class__.__init__.__globals__') | list }}",
    "a walk over a function": "{{ range.__globals__ }}{{ cycler.__init__.__globals__ }}{{ lipsum() }}",
    "a walk over undefined": "{{ labels.missing.__class__.__init__ }}{{ labels.missing._undefined_exception }}",
    "a namespace": "{% set n = namespace(a=1) %}{% set n.a = 2 %}{{ n.a }}",
    "the context": "{{ self }}{{ caller }}{{ varargs }}{{ kwargs }}{{ context }}{{ environment }}",
    "our own names": "{{ (allowance) }}{{ '' | (loop) }}",
    "star arguments": "{{ title.upper(*alerts) }}{{ title | upper(**labels) }}",
    "deep parentheses": "{{ " + "(" * 4000 + "1" + ")" * 4000 + " }}",
    "deep lists": "{{ " + "[" * 4000 + "]" * 4000 + " }}",
    "deep filters": "{{ title" + " | upper" * 1800 + " }}",
    "deep negation": "{{ " + "not " * 3500 + "1 }}",
    "deep blocks": "{% if title %}" * 400 + "{% endif %}" * 400,
    "deep loops": "{% for a in range(2) %}" * 300 + "{% endfor %}" * 300,
    "wide loop bodies": "{% for a in range(20000) %}" + "{{ a | string | upper | lower | length }}" * 350 + "{% endfor %}",
    "filters in loops": "{% for a in range(6000) %}{{ a | string | upper | lower | length }}{% endfor %}",
    "comparisons in loops": "{% for a in range(20000) %}{% if a == 1 == a %}{% endif %}{% endfor %}",
    "long texts in loops": "{% set t = 'x' * 65000 %}{% for a in range(9000) %}{% if t | upper == t %}{% endif %}{% endfor %}",
    "stripping": "{% set t = 'a' * 65000 %}{% set u = ('b' * 64000) ~ 'a' %}{% for a in range(90) %}{% if t.strip(u) %}"
                 "{% endif %}{% endfor %}",
    "splitting": "{% set t = 'a,' * 32000 %}{% for a in range(900) %}{% if t.split(',') %}{% endif %}{% endfor %}",
    "quoting": "{{ ('ü' * 60000) | urlencode | urlencode | urlencode }}",
    "growing letters": "{{ ('ŉ' * 60000) | upper }}",
    "rounding": "{{ 1.5 | round(999999999) }}",
    "a long number": "{{ ('9' * 60000) | int }}{{ ('9' * 60000) | float }}",
    "infinity in the source": "{{ 1e999 }}{{ -1e999 }}{{ [1e999] | join }}",
    "infinity by a label": "{{ 'inf' | float + 1 }}{{ 'nan' | float }}{{ 'inf' | int }}",
    "a number in the source": "{{ " + "9" * 9000 + " }}",
    "a large output": "{% for a in range(19000) %}{{ title }}{{ title }}{{ title }}{% endfor %}",
    "a large static output": "{% for a in range(19000) %}" + "x" * 9000 + "{% endfor %}",
    "division by zero": "{{ 1 / 0 }}{{ 1 % 0 }}",
    "a nul": "\x00{{ title }}\x00",
    "a lone surrogate": "\ud800{{ '\ud800' }}",
    "nothing closed": "{{ {% {# " * 900,
}
DATA_ATTACKS = {     # harmless on the samples, too much on a storm
    "every alert with every alert": "{% for a in alerts %}{% for b in alerts %}{{ a.summary }}{{ b.summary }}"
                                    "{% endfor %}{% endfor %}",
    "quiet pairs": "{% for a in alerts %}{% for b in alerts %}{% if a.labels.value == b.labels.value %}{% endif %}"
                   "{% endfor %}{% endfor %}",
    "selecting": "{% for a in alerts %}{{ alerts | selectattr('labels.value', 'equalto', a.labels.value) | length }}{% endfor %}",
    "sorting": "{% for a in alerts %}{{ alerts | sort(attribute='labels.value') | length }}{% endfor %}",
    "joining": "{% for a in alerts %}{{ alerts | join(attribute='summary') }}{% endfor %}",
    "mapping": "{% for a in alerts %}{% if alerts | map(attribute='labels.value') %}{% endif %}{% endfor %}",
    "all labels": "{% for a in alerts %}{{ labels }}{{ labels | items | length }}{{ a.labels }}{% endfor %}",
    "all news": "{% for a in alerts %}{{ news | join }}{{ news | sort | first }}{% endfor %}",
}


def attacked(source: str, told: object) -> str | None:
    """None for a refusal or a failed rendering, else the text; with the time of it checked."""
    began = time.process_time()
    outcome = attempted(source, told)
    assert time.process_time() - began < 1.0
    return outcome


def attempted(source: str, told: object) -> str | None:
    try:
        return Template(source).render(told)      # type: ignore[arg-type]
    except ValueError:
        return None


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_ends_soon_in_nothing_or_a_bounded_text(name: str) -> None:
    told = attacked(ATTACKS[name], message())
    assert told is None or len(told) <= TEXT


@pytest.mark.parametrize("name", [name for name in ATTACKS if name.startswith(("an allocation", "a list", "doubling", "one repl",
                                                                               "joining", "a large", "growing", "a growing"))])
def test_an_attack_on_memory_gets_none(name: str) -> None:
    tracemalloc.start()
    try:
        attempted(ATTACKS[name], message())
        assert tracemalloc.get_traced_memory()[1] < 16 * 1024 * 1024
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("name", DATA_ATTACKS)
def test_a_storm_makes_a_costly_template_fail_and_nothing_else(name: str, caplog: pytest.LogCaptureFixture) -> None:
    assert Template(DATA_ATTACKS[name]).render(message()) is not None
    assert attacked(DATA_ATTACKS[name], giant_message()) is None
    assert {record.__dict__["event"] for record in caplog.records} == {"template.failed"}


@pytest.mark.parametrize("name", [
    "nested ranges", "an allocation", "a power tower", "a recursive macro", "a walk over classes", "a walk by item",
    "a walk by map", "a walk over a function", "a format method", "a percent format", "our own names", "the context",
    "star arguments", "a namespace", "an include", "a large output", "a list allocation", "long texts in loops",
])
def test_an_attack_is_refused_when_the_configuration_is_read(name: str) -> None:
    with pytest.raises(ValueError):
        Template(ATTACKS[name])


def test_no_attribute_of_an_undefined_value_is_reached() -> None:
    assert say(ATTACKS["a walk over undefined"]) == ""


@pytest.mark.parametrize(("count", "fits"), [(19_999, True), (20_000, True), (20_001, False)])
def test_the_rounds_of_all_loops_are_bounded_together(count: int, fits: bool) -> None:
    source = "{% for a in range(firing) %}{% endfor %}{% for a in range(resolved) %}{% endfor %}{{ number }}"
    told = Template(source).render(message(firing=count - 5_000, resolved=5_000))
    assert (told == "17") is fits


@pytest.mark.parametrize(("length", "fits"), [(TEXT - 1, True), (TEXT, True), (TEXT + 1, False)])
def test_the_result_is_bounded(length: int, fits: bool) -> None:
    half = length // 2
    source = "{{ 'x' * firing }}{{ 'y' * resolved }}"
    told = Template(source).render(message(firing=half, resolved=length - half))
    assert (told is not None and len(told) == length) is fits


@pytest.mark.parametrize(("length", "kept"), [(VALUE - 1, VALUE - 1), (VALUE, VALUE), (VALUE + 1, VALUE)])
def test_one_label_is_cut_and_never_fails_a_template(length: int, kept: int) -> None:
    told = say("{{ labels.big | length }}", common_labels={"big": "x" * length})
    assert told == str(kept)


# --- at run time ------------------------------------------------------------------------------------------------------------

def test_a_failure_is_one_warning_without_a_label_value(caplog: pytest.LogCaptureFixture) -> None:
    template = Template("line one\n{{ labels.agent | replace('b', 'x') }}{{ 10 // (firing - 99) }}")
    with caplog.at_level(logging.WARNING):
        assert template.render(message(firing=99, common_labels={"agent": "CANARY"})) is None
    (record,) = caplog.records
    assert (record.levelname, record.__dict__["event"], record.__dict__["line"]) == ("WARNING", "template.failed", 2)
    assert "CANARY" not in str(vars(record))


@pytest.mark.parametrize("told", [
    message(), resolved_message(), message(alerts=(), links=(), news=(), common_labels={}, common_annotations={}),
    message(alerts=(firing_line(starts_at=None, labels={}, annotations={}), resolved_line())), giant_message(),
], ids=["firing", "resolved", "empty", "odd", "giant"])
def test_a_usual_template_works_on_every_message(told: object) -> None:
    template = Template("[{{ status | upper }}] {{ title | truncate(80) }}\n"
                        "{% for alert in alerts[:5] %}- {{ alert.summary | truncate(100) }} ({{ alert.labels.agent }})\n"
                        "{% endfor %}{{ links | map(attribute='url') | first }} {{ opened_at }} {{ resolved_at }}")
    assert template.render(told) is not None      # type: ignore[arg-type]


def test_the_samples_hold_something_of_everything() -> None:
    assert {sample.status.value for sample in samples()} == {"triggered", "resolved"}
    assert all(sample.alerts and sample.links and sample.news and sample.common_labels for sample in samples())
    assert all(sample.at.tzinfo is UTC for sample in samples())


TOKENS = st.sampled_from([
    "{{", "}}", "{%", "%}", "{#", "#}", " for ", " in ", " if ", " endif ", " endfor ", " else ", " set ", " title ", " alerts ",
    " labels ", ".items", "[0]", "['x']", "(", ")", "|", "~", "+", "*", "%", "==", " range(9999) ", " 'xx' ", " 99999 ", ",", ":",
    " upper ", " join ", " sort ", " map ", " length ", " macro ", " a ", " b ", "=", "\n", "\x00", "é", " is defined ", " not ",
])


@settings(max_examples=100, deadline=None)
@given(st.lists(TOKENS, max_size=30).map("".join))
def test_any_source_is_refused_or_gives_bounded_text(source: str) -> None:
    try:
        template = Template(source)
    except ValueError:
        return
    told = template.render(giant_message())
    assert told is None or len(told) <= TEXT


@settings(max_examples=50, deadline=None)
@given(st.dictionaries(st.text(min_size=1, max_size=20), st.text(max_size=50), max_size=5))
def test_labels_of_any_kind_are_told_literally(labels: dict[str, str]) -> None:
    told = say("{% for name, value in labels | items %}{{ name }}\x01{{ value }}\x02{% endfor %}", common_labels=labels)
    assert told == "".join(f"{name}\x01{value}\x02" for name, value in sorted(labels.items()))
    assert NOW.tzinfo is UTC
