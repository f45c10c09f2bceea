"""The style sheets. They stand in the pages themselves: a browser that has to ask for one paints that much later. The content
policy names their digests, so that no other style in a page is believed."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path

from markupsafe import Markup

SHEETS = {path.name: path.read_text() for path in sorted((Path(__file__).parent / "static").glob("*.css"))}


def digest(sheet: str) -> str:
    """As a content policy names it (CSP 3, section 2.3.1)."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(sheet.encode()).digest()).decode()}'"


def style(name: str) -> Markup:
    """The element that holds this sheet."""
    return Markup(f"<style>{SHEETS[name]}</style>")  # noqa: S704  (files of ours)


DIGESTS = " ".join(map(digest, SHEETS.values()))
