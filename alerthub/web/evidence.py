"""The evidence of an incident as one page that needs nothing else: no script, no address, nothing that is fetched."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from alerthub.domain.story import HEADINGS, Fate, fate_of, headline, may_be_done, none_of, story
from alerthub.web.pages.render import ENVIRONMENT, STYLES


def page_of(pack: Mapping[str, Any]) -> str:
    """HTML of a pack that the hub has made. Every text in it may come from a label: all of it is escaped."""
    told = [*pack["runs"], *pack["requests"]]
    fates, in_doubt = [fate_of(run) for run in told], any(map(may_be_done, told))
    parts = [{"heading": HEADINGS[fate], "lines": pack["summary"][fate.value], "style": STYLES[fate],
              "none": none_of(fate, fates, in_doubt=in_doubt)} for fate in Fate]
    runs = [{"lines": story(run), "style": STYLES[fate], "run": run, "heading": headline(run).rstrip("."),
             "is_request": bool(run.get("line"))} for run, fate in zip(told, fates, strict=True)]
    return ENVIRONMENT.get_template("evidence.html").render(pack=pack, parts=parts, runs=runs)
