"""What `check` says of alerts that have no runbook, that nobody owns, or that no route takes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from alerthub.cli import main
from alerthub.config import compile_rules, load
from alerthub.config.coverage import uncovered_rules
from alerthub.domain.matcher import parse_matcher
from alerthub.domain.runbook import Runbook
from alerthub.errors import ConfigError

HUB = """
receivers: [{{name: alerts, console_configs: [{{}}]}}]
runbooks: {{folder: {folder}}}
route:
  receiver: alerts
  routes:
    - {route}
"""
BOOK = "---\ntitle: A title\nmatchers: ['{matchers}']\n{owner}---\ntext\n"


def said(folder: Path, route: str, **books: str) -> list[str]:
    """The warnings for one route, beside these runbooks of one's own (name → matchers, with ! nobody owns it)."""
    (folder / "books").mkdir()
    for name, matchers in books.items():
        owner = "" if matchers.endswith("!") else "owner: ml\n"
        text = BOOK.format(matchers=matchers.removesuffix("!").replace(" ", "', '"), owner=owner)
        (folder / "books" / f"{name}.md").write_text(text)
    file = folder / "alerthub.yml"
    file.write_text(HUB.format(route=route, folder=folder / "books").lstrip("\n"))
    return [warning.removeprefix(f"{file}:") for warning in load(file, {}).warnings if "deprecated" not in warning]


NONE = "{} has no runbook; write one with matchers: ['alertname=\"{}\"']{} into the folder that runbooks: names"
NOBODY = "nobody owns {}; add owner: to the runbook {}.md"


class TestRoutes:
    @pytest.mark.parametrize(("route", "place"), [
        ("{matchers: ['alertname=\"X\"']}", "6:18"), ("{receiver: alerts, match: {alertname: X}}", "6:33"),
        ("{matchers: ['alertname=~\"X\"', 'job!=\"a\"']}", "6:18"),
        ("{matchers: ['alertname=\"X\"', 'severity=\"critical\"'], routes: [{matchers: ['job=\"a\"']}]}", "6:18"),
    ])
    def test_one_that_is_for_an_alert_without_a_runbook(self, tmp_path: Path, route: str, place: str) -> None:
        assert said(tmp_path, route) == [f"{place}: " + NONE.format("X", "X", " and owner:")]

    def test_each_of_several_names_counts(self, tmp_path: Path) -> None:
        found = said(tmp_path, "{matchers: ['alertname=~\"X|Y|Z\"']}", y='alertname="Y"')
        assert [text.split(" ")[1] for text in found] == ["X", "Z"]

    def test_a_route_far_down_is_looked_at_with_what_those_above_say(self, tmp_path: Path) -> None:
        route = "{matchers: ['team=\"ml\"'], routes: [{matchers: ['alertname=\"X\"']}]}"
        assert said(tmp_path, route, other='alertname="X" team="data"') == ["6:53: " + NONE.format("X", "X", "")]

    def test_a_runbook_that_nobody_owns(self, tmp_path: Path) -> None:
        assert said(tmp_path, "{matchers: ['alertname=\"X\"']}", x='alertname="X"!') == ["6:18: " + NOBODY.format("X", "x")]

    @pytest.mark.parametrize(("route", "book"), [
        ("{matchers: ['alertname=\"X\"']}", 'alertname="X"'),
        ("{matchers: ['alertname=\"X\"']}", 'alertname=~"X|Y" severity="critical"'),        # for some of them
        ("{matchers: ['alertname=\"X\"', 'team=\"ml\"']}", 'alertname="X"!'),               # the route says whose it is
        ("{matchers: ['alertname=~\"X.*\"']}", 'alertname="Z"'),                            # any name
        ("{matchers: ['alertname!=\"X\"']}", 'alertname="Z"'),
        ("{matchers: ['severity=\"critical\"']}", 'alertname="Z"'),
        ("{matchers: ['alertname=\"Watchdog\"']}", 'alertname="Z"'),                        # one that travels with the program
    ])
    def test_what_is_known_or_is_no_single_alert_is_no_warning(self, tmp_path: Path, route: str, book: str) -> None:
        assert said(tmp_path, route, book=book) == []

    @pytest.mark.parametrize("book", ['severity="critical"', 'alertname="X" severity="warning"', 'alertname!="Z"'])
    def test_a_runbook_against_which_a_label_speaks_or_for_which_none_does_is_not_one(self, tmp_path: Path, book: str) -> None:
        route = "{matchers: ['alertname=\"X\"', 'severity=\"info\"']}"
        fits = book == 'alertname!="Z"'
        assert (said(tmp_path, route, book=book) == []) is fits

    def test_a_broken_runbook_is_said_where_it_is_and_not_here(self, tmp_path: Path) -> None:
        (tmp_path / "books").mkdir()
        (tmp_path / "books" / "x.md").write_text("no front matter")
        file = tmp_path / "alerthub.yml"
        file.write_text(HUB.format(route="{matchers: ['alertname=\"Watchdog\"']}", folder=tmp_path / "books"))
        assert load(file, {}).warnings == ()


# -- files of Prometheus

ROUTES = """
receivers: [{name: alerts, console_configs: [{}]}]
route:
  receiver: alerts
  routes:
    - matchers: ['severity="critical"']
    - matchers: ['job="api"', 'severity!~".+"']
    - matchers: ['alertname="Watchdog"']
"""
KNOWN = (Runbook("x", "X", (parse_matcher('alertname="X"'),), owner="ml"), Runbook("y", "Y", (parse_matcher('alertname="Y"'),)))
NO_ROUTE = ("no route takes {0}, so only the catch-all hears of it (alerts); add a route with matchers: ['alertname=\"{0}\"'], "
            "or a label that one of the routes asks for")


def found(folder: Path, rules: str) -> list[str]:
    hub, file = folder / "alerthub.yml", folder / "rules.yml"
    hub.write_text(ROUTES)
    file.write_text(rules)
    compiled = compile_rules(load(hub, {}), {"alerts": ()}, KNOWN)
    return [str(one).removeprefix(f"{file}:") for one in uncovered_rules(file, compiled)]


def rule(text: str, group: str = "") -> str:
    return f"groups:\n- name: g\n{group}  rules:\n  - {{record: a, expr: b}}\n  - {{{text}}}\n"


class TestRules:
    @pytest.mark.parametrize("text", [
        "alert: X, labels: {severity: critical}",
        "alert: Y, labels: {severity: critical, team: ml}",
        "alert: Y, labels: {severity: critical, owner: '{{ $labels.owner }}'}",
        "alert: X, labels: {severity: '{{ $labels.severity }}'}",       # may be critical
        "alert: Z, labels: {severity: critical, team: ml}, annotations: {runbook_url: https://example.com/z}",
        "alert: X",                                                     # its series may be of the job api
    ])
    def test_an_alert_that_has_everything(self, tmp_path: Path, text: str) -> None:
        assert found(tmp_path, rule(text)) == []

    @pytest.mark.parametrize(("text", "texts"), [
        ("alert: Z, labels: {severity: critical}", [NONE.format("Z", "Z", " and owner:")]),
        ("alert: Z, labels: {severity: critical, team: ml}", [NONE.format("Z", "Z", "")]),
        ("alert: Z, labels: {severity: critical, team: ml}, annotations: {runbook_url: ''}", [NONE.format("Z", "Z", "")]),
        ("alert: Y, labels: {severity: critical}", [NOBODY.format("Y", "y")]),
        ("alert: Z, labels: {severity: critical}, annotations: {runbook_url: https://example.com/z}",
         ["nobody owns Z; add a label team: to the rule"]),
        ("alert: X, labels: {severity: warning}", [NO_ROUTE.format("X")]),
        ("alert: X, labels: {severity: critical, job: db}, annotations: 7", []),
        ("alert: Y, labels: {severity: info}", [NOBODY.format("Y", "y"), NO_ROUTE.format("Y")]),
    ])
    def test_what_an_alert_lacks(self, tmp_path: Path, text: str, texts: list[str]) -> None:
        assert found(tmp_path, rule(text)) == [f"5:13: {one}" for one in texts]

    def test_labels_of_the_group_count_and_those_of_the_rule_count_more(self, tmp_path: Path) -> None:
        group = "  labels: {severity: critical, team: ml}\n"
        assert found(tmp_path, rule("alert: Y", group)) == []
        assert found(tmp_path, rule("alert: Y, labels: {severity: low}", group)) == [f"6:13: {NO_ROUTE.format('Y')}"]

    def test_what_looks_like_a_variable_stays_what_it_is(self, tmp_path: Path) -> None:
        text = "alert: X, labels: {severity: critical}, expr: 'label_replace(up, \"a\", \"${1}\", \"b\", \"$${2}\")'"
        assert found(tmp_path, rule(text)) == []

    @pytest.mark.parametrize(("text", "problem"), [
        ("", "is no file of Prometheus rules: there is no list of groups in it"),
        ("tests: []", "is no file of Prometheus rules: there is no list of groups in it"),
        ("groups: {a: b}", "is no file of Prometheus rules: there is no list of groups in it"),
        ("groups: [", "2:1: a value is missing here"), ("a: \x00", "1:4: the character U+0000 is not allowed"),
    ])
    def test_a_file_that_is_none_is_refused(self, tmp_path: Path, text: str, problem: str) -> None:
        with pytest.raises(ConfigError) as caught:
            found(tmp_path, text)
        assert str(caught.value).removeprefix(f"{tmp_path}/rules.yml:").strip().startswith(problem)

    def test_strange_groups_are_left_to_promtool(self, tmp_path: Path) -> None:
        assert found(tmp_path, "groups: [7, {rules: 8}, {rules: [9, {alert: }, {record: r}]}, {}]") == []

    def test_a_file_that_is_not_there_is_named(self, tmp_path: Path) -> None:
        (tmp_path / "alerthub.yml").write_text(ROUTES)
        rules = compile_rules(load(tmp_path / "alerthub.yml", {}), {"alerts": ()}, KNOWN)
        with pytest.raises(ConfigError, match=r"none\.yml: cannot be read: No such file"):
            uncovered_rules(tmp_path / "none.yml", rules)


# -- the command

def check(folder: Path, *more: str) -> Result:
    (folder / "hub.yml").write_text(ROUTES)
    (folder / "good.yml").write_text(rule("alert: Watchdog"))
    (folder / "bad.yml").write_text(rule("alert: Z, labels: {severity: critical}"))
    arguments = [str(folder / text) if text.endswith(".yml") else text for text in more]
    return CliRunner().invoke(main, ["check", str(folder / "hub.yml"), *arguments])


class TestTheCommand:
    def test_warnings_do_not_fail(self, tmp_path: Path) -> None:
        result = check(tmp_path, "--rules", "good.yml", "--rules", "bad.yml")
        assert result.exit_code == 0
        assert result.stdout.splitlines() == [
            f"warning: {tmp_path}/bad.yml:5:13: {NONE.format('Z', 'Z', ' and owner:')}", f"{tmp_path}/hub.yml: ok"]

    def test_strictly_they_do(self, tmp_path: Path) -> None:
        result = check(tmp_path, "--strict", "--rules", "bad.yml")
        assert result.exit_code == 1
        assert result.stdout.splitlines()[-1] == f"{tmp_path}/hub.yml: not ok: --strict allows no warnings"
        assert check(tmp_path, "--strict", "--rules", "good.yml").exit_code == 0

    @pytest.mark.parametrize(("more", "ok", "code"), [((), True, 0), (("--strict",), False, 1)])
    def test_a_machine_is_told_the_same(self, tmp_path: Path, more: tuple[str, ...], ok: bool, code: int) -> None:
        result = check(tmp_path, "--json", "--rules", "bad.yml", *more)
        told = json.loads(result.stdout)
        assert (result.exit_code, told["ok"], told["problems"], len(told["warnings"])) == (code, ok, [], 1)

    def test_a_file_that_is_no_rules_fails_in_any_case(self, tmp_path: Path) -> None:
        result = check(tmp_path, "--rules", "hub.yml")
        assert result.exit_code == 1
        assert "is no file of Prometheus rules" in result.stderr
