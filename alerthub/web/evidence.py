"""The evidence of an incident as one page that needs nothing else: no script, no address, nothing that is fetched."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from alerthub.domain.story import is_not_done, story
from alerthub.web.pages import ENVIRONMENT


def page_of(pack: Mapping[str, Any]) -> str:
    """HTML of a pack that the hub has made. Every text in it may come from a label: all of it is escaped."""
    runs = [{"lines": story(run), "is_bad": is_not_done(run), "run": run} for run in pack["runs"]]
    return ENVIRONMENT.get_template("evidence.html").render(pack=pack, runs=runs)
