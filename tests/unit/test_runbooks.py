"""Runbook files: what is read from a good one, what is said of a bad one and where, and HTML that cannot act."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerthub.domain.runbook import Runbook, choose
from alerthub.errors import ConfigError
from alerthub.markdown import TAGS, render
from alerthub.runbooks import read_runbooks

GOOD = """---
title: The disk is full
matchers: ['alertname="DiskFull"', 'service=~"db|cache"']
owner: platform
actions: [safe-mode, clean-up]
---
# What it means

The disk is full.
"""


def read(folder: Path, **files: str) -> tuple[Runbook, ...]:
    for name, content in files.items():
        (folder / f"{name}.md").write_text(content, encoding="utf-8")
    return read_runbooks(folder)


def complaints(folder: Path, **files: str) -> list[str]:
    """What is said, with the folder left out of the place."""
    with pytest.raises(ConfigError) as caught:
        read(folder, **files)
    return [str(problem).removeprefix(f"{folder}/") for problem in caught.value.problems]


def front(*lines: str, text: str = "Do something.") -> str:
    return "\n".join(["---", *lines, "---", text])


class TestReading:
    def test_a_good_file_becomes_a_runbook(self, tmp_path: Path) -> None:
        (runbook,) = read(tmp_path, disk=GOOD)
        assert (runbook.name, runbook.title, runbook.owner) == ("disk", "The disk is full", "platform")
        assert runbook.actions == ("safe-mode", "clean-up")
        assert runbook.text == "# What it means\n\nThe disk is full."
        assert runbook.html == "<h1>What it means</h1>\n<p>The disk is full.</p>\n"

    def test_its_matchers_choose_it(self, tmp_path: Path) -> None:
        runbooks = read(tmp_path, disk=GOOD, any=front("title: Any disk", "matchers: ['alertname=~\"Disk.*\"']"))
        assert choose(runbooks, {"alertname": "DiskFull", "service": "db"}) == runbooks[1]
        assert choose(runbooks, {"alertname": "DiskFull", "service": "web"}) == runbooks[0]
        assert choose(runbooks, {"alertname": "Other"}) is None

    def test_owner_and_actions_may_be_left_out(self, tmp_path: Path) -> None:
        (runbook,) = read(tmp_path, disk=front("title: A", "matchers: ['a=\"b\"']"))
        assert (runbook.owner, runbook.actions) == ("", ())

    def test_the_files_come_by_name_and_only_markdown_counts(self, tmp_path: Path) -> None:
        (tmp_path / "notes.txt").write_text("not a runbook")
        assert [runbook.name for runbook in read(tmp_path, b=GOOD, a=GOOD, c=GOOD)] == ["a", "b", "c"]

    def test_what_was_changed_is_read_anew_and_what_was_not_stays_as_it_is(self, tmp_path: Path) -> None:
        first = read(tmp_path, disk=GOOD, other=GOOD)
        later = read(tmp_path, disk=GOOD.replace("is full", "is empty"))
        assert (later[0].title, "is empty" in later[0].html) == ("The disk is empty", True)
        assert later[1] is first[1]
        assert read(tmp_path, disk=GOOD) == first

    def test_an_empty_folder_has_no_runbooks(self, tmp_path: Path) -> None:
        assert read_runbooks(tmp_path) == ()

    @pytest.mark.parametrize("content", [
        pytest.param(GOOD.replace("\n", "\r\n"), id="lines of Windows"),
        pytest.param("\ufeff" + GOOD, id="a byte order mark"),
        pytest.param(GOOD.replace("---\n", "---  \n"), id="spaces after the fence"),
        pytest.param(GOOD + "\n---\n\nMore.\n", id="a rule in the text"),
    ])
    def test_what_editors_do_to_a_file_is_no_mistake(self, tmp_path: Path, content: str) -> None:
        (tmp_path / "disk.md").write_bytes(content.encode())
        (runbook,) = read_runbooks(tmp_path)
        assert runbook.title == "The disk is full"
        assert runbook.text.startswith("# What it means\n\nThe disk is full.")

    def test_yaml_does_not_reinterpret_a_text(self, tmp_path: Path) -> None:
        (runbook,) = read(tmp_path, disk=front("title: 12:30", "owner: no", "matchers: ['a=\"b\"']"))
        assert (runbook.title, runbook.owner) == ("12:30", "no")


SHAPE = "x.md:1:1: the file must begin with a line ---, then title: and matchers:, then a line ---"
BAD = {
    "no front matter": (
        "# Disk\n", [SHAPE]),
    "front matter that does not end": (
        "---\ntitle: A\n", [SHAPE]),
    "text above the front matter": (
        "\n" + GOOD, [SHAPE]),
    "an empty file": (
        "", [SHAPE]),
    "an empty front matter": (
        front(), [SHAPE]),
    "a list in place of keys": (
        front("- title", "- matchers"), [SHAPE]),
    "neither title nor matchers": (
        front("owner: me"), ["x.md:1:1: title is missing", "x.md:1:1: matchers is missing"]),
    "an unknown key": (
        front("title: A", "  # a comment", "matchers: ['a=\"b\"']", "team: x"),
        ["x.md:5:1: unknown key team; known are title, matchers, owner, actions"]),
    "a key given twice": (
        front("title: A", "matchers: ['a=\"b\"']", "title: B"), ["x.md:4:1: title is given twice"]),
    "a key that is no text": (
        front("title: A", "matchers: ['a=\"b\"']", "[a]: B"), ["x.md:4:1: unknown key ; known are"]),
    "broken YAML": (
        front("title: A", "matchers: ['a=\"b\"'"), ["x.md:3:19: not valid YAML: expected ',' or ']'"]),
    "a character that YAML refuses": (
        front("title: A\x07", "matchers: ['a=\"b\"']"), ["x.md:2:9: the character U+0007 is not allowed here"]),
    "an empty title": (
        front("title: '  '", "matchers: ['a=\"b\"']"), ["x.md:2:8: title must be one line of text"]),
    "a title that is a list": (
        front("title: [A]", "matchers: ['a=\"b\"']"), ["x.md:2:8: title must be one line of text"]),
    "matchers that are no list": (
        front("title: A", "matchers: 'a=\"b\"'"),
        ["x.md:3:11: matchers must be a list, for example ['alertname=\"DiskFull\"']"]),
    "no matchers": (
        front("title: A", "matchers: []"), ["x.md:3:11: matchers is empty; name at least the alert"]),
    "a matcher without an operator": (
        front("title: A", "matchers: ['a=\"b\"', 'DiskFull']"),
        ["x.md:3:21: at character 9: expected one of = != =~ !~, found the end"]),
    "a matcher that is not text": (
        front("title: A", "matchers:", "  - a: b"), ["x.md:4:5: an entry of matchers must be one line of text"]),
    "a regular expression that is none": (
        front("title: A", "matchers: ['a=~\"(\"']"), ["x.md:3:12: "]),
    "actions that are no list": (
        front("title: A", "matchers: ['a=\"b\"']", "actions: safe-mode"),
        ["x.md:4:10: actions must be a list, for example [safe-mode]"]),
    "no text": (
        front("title: A", "matchers: ['a=\"b\"']", text="  \n"), ["x.md:4:1: there is no text below the front matter"]),
}


class TestComplaints:
    @pytest.mark.parametrize("case", BAD, ids=list(BAD))
    def test_each_mistake_has_its_place_and_what_would_be_right(self, tmp_path: Path, case: str) -> None:
        content, expected = BAD[case]
        said = complaints(tmp_path, x=content)
        assert len(said) == len(expected), said
        for found, wanted in zip(said, expected, strict=True):
            assert wanted in found

    def test_all_mistakes_of_all_files_are_told_at_once(self, tmp_path: Path) -> None:
        said = complaints(tmp_path, a=front("title: []", "matchers: ['x']", "what: 1"), b="", good=GOOD)
        assert [re.match(r"\w+\.md:\d+", complaint).group() for complaint in said] == ["a.md:2", "a.md:3", "a.md:4", "b.md:1"]

    def test_a_file_that_is_not_utf8_is_named(self, tmp_path: Path) -> None:
        (tmp_path / "x.md").write_bytes(GOOD.encode("utf-16"))
        assert complaints(tmp_path) == ["x.md: is not UTF-8 text"]

    @pytest.mark.parametrize("name", ["a b", "ä", "-x", "a?b"])
    def test_a_name_that_is_no_address_is_a_mistake(self, tmp_path: Path, name: str) -> None:
        assert complaints(tmp_path, **{name: GOOD}) == [
            f"{name}.md: the file name becomes an address; use letters, digits, - _ and . only"]

    def test_a_file_that_cannot_be_read_is_named(self, tmp_path: Path) -> None:
        (tmp_path / "x.md").mkdir()
        assert complaints(tmp_path) == ["x.md: cannot be read: Is a directory"]

    def test_a_folder_that_is_not_there_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match="there is no such folder of runbooks") as caught:
            read_runbooks(tmp_path / "none")
        assert caught.value.problems[0].file == str(tmp_path / "none")

    @given(content=st.text())
    def test_no_content_at_all_ends_in_anything_but_a_runbook_or_a_complaint(
            self, tmp_path_factory: pytest.TempPathFactory, content: str) -> None:
        folder = tmp_path_factory.mktemp("fuzz")
        (folder / "x.md").write_bytes(f"---\n{content}".encode("utf-8", "replace"))
        try:
            found = len(read_runbooks(folder))
        except ConfigError as error:
            found = len(error.problems)
        assert found


class TestRendering:
    def test_headings_lists_tables_and_code_are_kept(self) -> None:
        html = render("# One\n\n1. first\n\n| a | b |\n|---|---|\n| c | d |\n\n```\ncurl x\n```\n\n`y` **z**")
        for part in ("<h1>One</h1>", "<ol>", "<li>first</li>", "<td>c</td>", "<pre><code>curl x", "<code>y</code>",
                     "<strong>z</strong>"):
            assert part in html

    def test_a_link_tells_the_other_side_nothing(self) -> None:
        assert 'rel="noopener noreferrer"' in render("[docs](https://example.com/)")
        assert 'href="https://example.com/"' in render("[docs](https://example.com/)")

    def test_a_link_to_another_runbook_stays(self) -> None:
        assert 'href="watchdog.md"' in render("[see](watchdog.md)")

    @pytest.mark.parametrize("text", [
        "<script>alert(1)</script>",
        "<img src=x onerror=alert(1)>",
        "<a href='javascript:alert(1)'>x</a>",
        "<iframe src=//evil></iframe>",
        "<svg/onload=alert(1)>",
        "[x](javascript:alert(1))",
        "[x](JaVaScRiPt:alert(1))",
        "[x](data:text/html;base64,PHNjcmlwdD4=)",
        "[x](vbscript:msgbox)",
        "<javascript:alert(1)>",
        "![x](https://evil/pixel.png)",
        "[x](&#106;avascript:alert(1))",
        "| a |\n|---|\n| <b onclick=x>c</b> |",
    ])
    def test_nothing_in_a_text_can_act(self, text: str) -> None:
        html = render(text)
        acts = re.compile(r"script|onerror|onload|onclick|img|iframe|svg|data:", re.IGNORECASE)
        assert not [tag for tag in re.findall(r"<[^>]*>", html) if acts.search(tag)], html

    @given(st.lists(st.sampled_from([*"<>\"'&()[]!`#|-:/ \n", "script", "javascript:", "onload=", "a", "https://x"])))
    def test_only_known_tags_come_out_of_any_text(self, pieces: list[str]) -> None:
        for tag in re.findall(r"<\s*/?\s*([^\s>/]+)", render("".join(pieces))):
            assert tag in TAGS
