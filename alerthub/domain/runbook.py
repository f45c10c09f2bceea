"""A runbook: which labels it is for, what to do. Which one an incident gets is decided here; reading files is not."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from alerthub.domain.alert import Labels
from alerthub.domain.matcher import Matcher, all_match


@dataclass(frozen=True, slots=True)
class Runbook:
    """`name` is the file's name without `.md`; `text` is Markdown without the front matter,
    `html` the same rendered and cleaned by whoever read it."""

    name: str
    title: str
    matchers: tuple[Matcher, ...]
    text: str = ""
    html: str = ""
    owner: str = ""
    actions: tuple[str, ...] = ()


def choose(runbooks: Iterable[Runbook], labels: Labels) -> Runbook | None:
    """The matching runbook with the most matchers; of equals, the first by name."""
    fitting = [runbook for runbook in runbooks if runbook.matchers and all_match(runbook.matchers, labels)]
    return min(fitting, key=lambda runbook: (-len(runbook.matchers), runbook.name), default=None)
