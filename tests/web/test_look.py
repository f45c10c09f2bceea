"""The colours of the pages, so that anybody can read them: WCAG 2.2, level AA, computed from the tokens, light and dark."""

from __future__ import annotations

import re

import pytest

from alerthub.web.pages.render import HERE

SHEET = (HERE / "static" / "hub.css").read_text()
TOKEN = re.compile(r"--([a-z-]+): (#[0-9a-f]{3,6});")
LIGHT_PART, _, REST = SHEET.partition("@media (prefers-color-scheme: dark)")
LIGHT = dict(TOKEN.findall(LIGHT_PART))
THEMES = {"light": LIGHT, "dark": {**LIGHT, **dict(TOKEN.findall(REST))}}
TEXTS = ("ink", "soft", "accent", "critical", "error", "warning", "info", "calm")
PAIRS = [(text, ground) for text in TEXTS for ground in ("ground", "raised")] + [("on-accent", "accent")]
TEXT, SHAPE = 4.5, 3.0      # 1.4.3 and 1.4.11
MIXED = 0.14                # of `soft` in the ground of code

Colour = tuple[float, float, float]


def colour(text: str) -> Colour:
    digits = text[1:] if len(text) == 7 else "".join(2 * digit for digit in text[1:])
    red, green, blue = (int(digits[at:at + 2], 16) / 255 for at in (0, 2, 4))
    return red, green, blue


def luminance(one: Colour) -> float:
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in one)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: Colour, other: Colour) -> float:
    lighter, darker = sorted((luminance(one), luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def mixed(one: Colour, other: Colour, share: float) -> Colour:
    red, green, blue = (share * first + (1 - share) * second for first, second in zip(one, other, strict=True))
    return red, green, blue


@pytest.mark.parametrize(("one", "other", "expected"), [
    ("#fff", "#000", 21.0), ("#fff", "#fff", 1.0), ("#767676", "#ffffff", 4.54), ("#777777", "#ffffff", 4.48),
])
def test_contrast_is_computed_as_the_standard_says(one: str, other: str, expected: float) -> None:
    assert contrast(colour(one), colour(other)) == pytest.approx(expected, abs=0.01)


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize(("text", "ground"), PAIRS)
def test_text_can_be_read(theme: str, text: str, ground: str) -> None:
    tokens = THEMES[theme]
    assert contrast(colour(tokens[text]), colour(tokens[ground])) >= TEXT


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("text", ["ink", "soft"])
@pytest.mark.parametrize("ground", ["ground", "raised"])
def test_a_label_can_be_read(theme: str, text: str, ground: str) -> None:
    tokens = THEMES[theme]
    behind = mixed(colour(tokens["soft"]), colour(tokens[ground]), MIXED)
    assert contrast(colour(tokens[text]), behind) >= TEXT


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("shape", ["edge", "accent", "critical", "error", "warning", "info", "calm"])
def test_a_field_a_focus_and_a_mark_can_be_seen(theme: str, shape: str) -> None:
    tokens = THEMES[theme]
    assert contrast(colour(tokens[shape]), colour(tokens["ground"])) >= SHAPE


def test_every_colour_of_the_dark_theme_is_its_own() -> None:
    dark = dict(TOKEN.findall(REST))
    assert dark.keys() == LIGHT.keys()
    assert not set(dark.values()) & set(LIGHT.values())


def test_colours_are_named_once() -> None:
    """A colour outside the tokens would be of one theme only."""
    rules = re.sub(r":root \{.*?\}", "", SHEET, flags=re.DOTALL)
    assert re.findall(r"#[0-9a-f]{3,8}\b(?![^{]*\{)", rules) in ([], ["#000"] * rules.count("#000"))     # of a mask


@pytest.mark.parametrize("state", ["triggered", "acknowledged", "resolved", "firing"])
def test_a_state_has_a_shape_beside_its_colour(state: str) -> None:
    assert re.search(rf"\.{state} \.state::before[^{{]*\{{ content: \"[^\"]\" / \"\"", SHEET)


def test_each_severity_has_a_shape_of_its_own() -> None:
    shapes = [re.search(rf"\.{name} \.severity::before[^{{]*\{{ content: \"([^\"])\"", SHEET) for name in
              ("critical", "error", "warning", "info")]
    assert len({shape[1] for shape in shapes if shape}) == 4


def test_what_moves_is_nothing() -> None:
    assert "animation" not in SHEET
    assert "transition" not in SHEET
