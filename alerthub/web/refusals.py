"""Who was refused, in the log: one line a minute for each thing that may be said. Nothing that a stranger sends is repeated."""

from __future__ import annotations

from starlette.requests import Request

REFUSAL_SECONDS = 60.0      # between two lines of one name and one reason


class Refusals:
    """When each was said last. A name is one of the hub's own, never a stranger's: there are few, and they are kept."""

    def __init__(self) -> None:
        self._told: dict[tuple[str, str], float] = {}

    def is_news(self, name: str, reason: str, now: float) -> bool:
        """Whether it is to be said now; then it counts as said."""
        if now - self._told.get((name, reason), -REFUSAL_SECONDS) < REFUSAL_SECONDS:
            return False
        self._told[name, reason] = now
        return True


def refusals(request: Request, door: str) -> Refusals:
    """Those of this application at that door."""
    state = request.app.state
    if not hasattr(state, "refusals"):
        state.refusals = {}
    doors: dict[str, Refusals] = state.refusals
    return doors.setdefault(door, Refusals())
