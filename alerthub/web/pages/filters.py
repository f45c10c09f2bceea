"""What a person looks for on the list of incidents: read from the address, and what is wrong with it in words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlencode

from alerthub.domain.matcher import Matcher
from alerthub.domain.wording import typed_line
from alerthub.store.search import Wanted
from alerthub.web.api import BadQuery
from alerthub.web.searching import matchers_of

STATES = {"open": "Open", "triggered": "Triggered", "acknowledged": "Acknowledged", "resolved": "Resolved", "all": "All"}
SEVERITIES = ("critical", "error", "warning", "info")
LONGEST = 500           # characters of one field
MOST_WORDS = 8


@dataclass(frozen=True, slots=True)
class Filters:
    """The fields of the form as they were typed. `problem`: why the label matchers are left out of `wanted`."""

    status: str = "open"
    severity: str = ""
    team: str = ""
    matcher: str = ""
    q: str = ""
    wanted: Wanted = field(default_factory=lambda: Wanted("open"))
    problem: str = ""

    @property
    def is_narrow(self) -> bool:
        """Whether more than a state is asked for."""
        return bool(self.severity or self.team or self.matcher or self.q)

    @property
    def query(self) -> str:
        """As it stands in an address; without what is usual."""
        named = {"status": self.status if self.status != "open" else "", "severity": self.severity, "team": self.team,
                 "matcher": self.matcher, "q": self.q}
        return urlencode({name: value for name, value in named.items() if value})

    def address(self, **changes: str) -> str:
        """The list with the same filters but these, which are fields or `before`."""
        fields = {name: getattr(self, name) for name in ("status", "severity", "team", "matcher", "q")} | changes
        named = {name: value for name, value in fields.items() if value and (name, value) != ("status", "open")}
        return f"/?{urlencode(named)}" if named else "/"


def read_filters(given: Mapping[str, str]) -> Filters:
    """Never raises: what no form of ours sends counts as not asked for."""
    status, severity = given.get("status", "open"), given.get("severity", "")
    status, severity = status if status in STATES else "all", severity if severity in SEVERITIES else ""
    team, matcher, q = (typed_line(given.get(name, ""), LONGEST) for name in ("team", "matcher", "q"))
    matchers, problem = read_matchers(matcher)
    wanted = Wanted(status if status != "all" else "", (severity,) if severity else (), team=team, matchers=matchers,
                    words=tuple(q.split()[:MOST_WORDS]))
    return Filters(status, severity, team, matcher, q, wanted, problem)


def read_matchers(text: str) -> tuple[tuple[Matcher, ...], str]:
    """The matchers; or none, and what would be right."""
    try:
        return matchers_of([text] if text else []), ""
    except BadQuery as error:
        return (), f'{error}. Write it like severity="critical", team=~"ml|risk".'
