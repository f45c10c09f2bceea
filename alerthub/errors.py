"""Every error of the hub, one tree.

AlerthubError
├── ConfigError        the configuration cannot be used: every problem with its place
├── BadPayload         a body that can never be valid (quarantined, answered 400)
├── SendFailed         the whole vocabulary of a channel that could not deliver
├── ActionFailed       the whole vocabulary of an action that did not do its work
├── ActionUnknown    its answer was lost: perhaps it did
├── Unreachable      a source could not be asked which alerts fire
├── NotProved          nobody knows who that is (OpenID Connect)
├── Busy               the hub cannot take this now (answered 503)
└── Conflict           somebody was first; run the unit of work again
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class AlerthubError(Exception):
    """Base of all errors that the hub raises on purpose."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake in a configuration file. Line and column count from 1; 0 when the place is not known."""

    file: str
    line: int
    column: int
    text: str

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}:{self.column}" if self.line else self.file
        return f"{place}: {self.text}"


class ConfigError(AlerthubError):
    """The configuration cannot be used. `problems` holds every mistake, in file order."""

    def __init__(self, problems: list[Problem]) -> None:
        self.problems = problems
        super().__init__("\n".join(map(str, problems)))


class BadPayload(AlerthubError):
    """A body that can never become valid. `reason` is for the sender: which field, and what would be right."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)


class Failure(StrEnum):
    """Why a provider did not take a message (PROTOCOLS 2.7, 3.3, 4.1, 5). Also the metric label."""

    rate_limited = "rate_limited"      # told to wait: `after` says how long
    unavailable = "unavailable"        # 5xx, refused, reset: nothing was delivered, try again
    timeout = "timeout"                # no answer: it may have been delivered
    content = "content"                # this text is refused; degraded plain text may pass
    stale_handle = "stale_handle"      # the live message is gone: post a new one
    moved = "moved"                    # the address changed; SendFailed.moved_to is the new one
    configuration = "configuration"    # token, permission, unknown channel: a person must repair it
    bug = "bug"                        # an error of ours or one that we do not know


class SendFailed(AlerthubError):
    """A channel could not deliver.

    `after`: seconds to wait when the provider said so, else None. `detail`: the provider's word, free of secrets.
    """

    def __init__(self, reason: Failure, detail: str, *, after: float | None = None, moved_to: str | None = None) -> None:
        self.reason, self.detail, self.after, self.moved_to = reason, detail, after, moved_to
        super().__init__(f"{reason.value}: {detail}")

    @property
    def is_retryable(self) -> bool:
        return self.reason not in (Failure.content, Failure.configuration)

    @property
    def is_ambiguous(self) -> bool:
        """The provider may have delivered it all the same."""
        return self.reason in (Failure.timeout, Failure.bug)


class ActionFailed(AlerthubError):
    """An action did not do its work: the target refused, or was never reached. Nothing is in doubt."""

    def __init__(self, detail: str) -> None:
        self.detail = detail
        super().__init__(detail)


class ActionUnknown(AlerthubError):
    """The answer was lost: the effect may or may not have happened. Never rerun; a person is paged."""

    def __init__(self, detail: str) -> None:
        self.detail = detail
        super().__init__(detail)


class Unreachable(AlerthubError):
    """A source could not be asked which alerts fire. The text names it and says why, without credentials."""


class NotProved(AlerthubError):
    """The provider of OpenID Connect did not prove who somebody is. The text is for that person, and holds nothing of theirs."""


class Busy(AlerthubError):
    """The hub cannot take this now: overloaded, stopping, or the database is away. The sender should retry."""


class Conflict(AlerthubError):
    """Another replica was first. The whole unit of work is run again."""
