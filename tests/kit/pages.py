"""What a browser would make of a page of the hub: read strictly, so that nothing that a stranger wrote can act on it."""

from __future__ import annotations

from collections.abc import Iterator
from html.parser import HTMLParser

from alerthub.web.styles import SHEETS

KNOWN = {
    "html", "head", "meta", "title", "link", "body", "header", "footer", "nav", "main", "section", "aside", "article", "div",
    "span", "a", "h1", "h2", "h3", "h4", "p", "ul", "ol", "li", "dl", "dt", "dd", "code", "kbd", "b", "strong", "em", "small",
    "pre", "br", "hr", "table", "caption", "thead", "tbody", "tr", "th", "td", "blockquote", "details", "summary", "time",
    "figure", "figcaption", "form", "input", "button", "label", "select", "option", "textarea", "fieldset", "legend",
    "datalist", "dialog", "progress", "script", "style", "svg", "g", "path", "rect", "circle", "line", "polyline", "text", "desc",
}
ALLOWED = {
    "class", "id", "href", "rel", "lang", "charset", "name", "content", "title", "start", "type", "role", "open", "hidden",
    "tabindex", "method", "action", "value", "placeholder", "for", "rows", "cols", "selected", "checked", "required",
    "disabled", "readonly", "maxlength", "minlength", "min", "max", "step", "pattern", "autocomplete", "list", "src", "defer",
    "datetime", "colspan", "rowspan", "scope", "multiple", "size", "inputmode", "spellcheck", "autocapitalize",
    "accesskey", "viewbox", "width",
    "height", "x", "y", "x1", "x2", "y1", "y2", "cx", "cy", "r", "rx", "d", "points", "transform", "text-anchor",
    "preserveaspectratio", "xmlns",
}
VOID = ("meta", "link", "br", "hr", "input")


class Reader(HTMLParser):
    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.words: list[str] = []
        self.sheets: list[str] = []
        self.open: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, f"</{tag}> closes something else"

    def handle_comment(self, data: str) -> None:
        raise AssertionError(f"a comment: {data[:80]}")

    def handle_data(self, data: str) -> None:
        (self.sheets if "style" in self.open else self.words).append(data)

    @property
    def text(self) -> str:
        return "".join(self.words)

    def links(self) -> Iterator[str]:
        yield from (attributes["href"] for tag, attributes in self.tags if "href" in attributes)

    def forms(self) -> list[dict[str, str]]:
        return [attributes for tag, attributes in self.tags if tag == "form"]


def read(page: str) -> Reader:
    """The page, after it was seen that it can do nothing but show text, link to this site and the web, ask for one of the hub's
    own addresses, and run the hub's own files."""
    reader = Reader(page)
    assert reader.open == []
    for tag, attributes in reader.tags:
        assert tag in KNOWN, tag
        unknown = {name for name in attributes if name not in ALLOWED and not name.startswith(("data-", "aria-"))}
        assert not unknown, (tag, attributes)
        assert tag != "script" or attributes.get("src", "").startswith("/static/"), attributes
    assert set(reader.sheets) <= set(SHEETS.values()), "a style that is not the hub's own"
    for form in reader.forms():
        assert form.get("action", "/").startswith("/"), form
        assert not form.get("action", "/").startswith("//"), form
    for link in reader.links():
        assert link.startswith(("/", "http://", "https://", "mailto:", "#", "?")), link
        assert not link.startswith("//"), link
    return reader
