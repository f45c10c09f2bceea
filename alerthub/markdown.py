"""Markdown as HTML that cannot act: of runbooks, and of what people write afterwards."""

from __future__ import annotations

import nh3
from markdown_it import MarkdownIt

MARKDOWN = MarkdownIt("commonmark", {"html": False}).enable("table")
TAGS = {
    "a", "blockquote", "br", "code", "em", "h1", "h2", "h3", "h4", "h5", "h6", "hr", "li", "ol", "p", "pre", "strong",
    "table", "tbody", "td", "th", "thead", "tr", "ul",
}
ATTRIBUTES = {"a": {"href", "title"}, "ol": {"start"}}


def render(text: str) -> str:
    """No script, no raw HTML, no image, links only to http, https, mailto and relative addresses, each with
    rel="noopener noreferrer"."""
    return nh3.clean(MARKDOWN.render(text), tags=TAGS, attributes=ATTRIBUTES, link_rel="noopener noreferrer",
                     url_schemes={"http", "https", "mailto"})
