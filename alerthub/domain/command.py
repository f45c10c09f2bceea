"""What a person asked, whatever door it came by, and what they are told. Deciding about it is in answer.py."""

from __future__ import annotations

import hashlib
import hmac
from base64 import urlsafe_b64encode
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

from alerthub.domain.person import Account


class Verb(StrEnum):
    acknowledge = "acknowledge"
    unacknowledge = "unacknowledge"
    resolve = "resolve"
    silence = "silence"
    escalate = "escalate"
    comment = "comment"
    approve = "approve"
    deny = "deny"
    release = "release"          # of the latch of a target
    override = "override"        # release it without proof and without other people: admins only, named
    freeze = "freeze"            # no neutral and no relaxing action starts; of one action, or of all
    unfreeze = "unfreeze"


# About what waits for people, a latch or a freeze; all others are about one incident.
GUARDED = frozenset({Verb.approve, Verb.deny, Verb.release, Verb.override, Verb.freeze, Verb.unfreeze})


@dataclass(frozen=True, slots=True)
class Press:
    """A button, or a signed link's form. `place` and `message` are the chat and the message that held it, as the receipt names
    them (Slack channel and ts, Telegram chat_id and message_id); empty where the door has none. `key` is the provider's id of
    this very click: the same one again changes nothing. `proved`: who they are beside what the door says of them; a mailed link
    says only to whom it was mailed."""

    token: str
    by: Account
    key: str
    place: str = ""
    message: str = ""
    proved: Account | None = None


@dataclass(frozen=True, slots=True)
class Typed:
    """A line of words: `ack 17`, `silence 17 4h`, `oncall`. See words.py."""

    words: str
    by: Account
    key: str
    place: str = ""


@dataclass(frozen=True, slots=True)
class Command:
    """One thing asked about one incident. `via` is the destination it came from: it is not told what it has just said.
    `episode` is the one that the person saw, None when they named the incident now."""

    verb: Verb
    incident: str                        # id, or number as text
    by: Account
    key: str
    via: str = ""
    episode: int | None = None
    text: str = ""                       # a comment, or the reason
    until: datetime | None = None        # of a silence
    forced: bool = False
    # Of approve and deny: a run (its id, or the end of it), a target, or exactly the request; of release and override: a target;
    # of a freeze: an action, or nothing for all.
    subject: str = ""
    said_at: datetime | None = None      # when it was done there, by the provider's own clock
    expected: tuple[str, ...] = ()       # any of these states, as seen.py names them; empty: whatever it is now
    service: str = ""                    # where there: its name at the provider, for what comes from one of several


Ask = Press | Typed | Command


UNKNOWN = "unknown"      # the database has not said in time whether it was stored


class Outcome(StrEnum):
    """How it ended; also the metric label."""

    done = "done"
    already = "already"          # it was so before
    held = "held"                # a question comes back: ask again with force
    refused = "refused"
    told = "told"                # only words were asked for: a list, who is on call
    busy = "busy"                # not stored, or not known to be (`why` is UNKNOWN); to be asked again


@dataclass(frozen=True, slots=True)
class Answer:
    """For that person only: plain text, untrusted like any other (titles are in it). `number` is the incident's; `force` a
    token that does what was held."""

    outcome: Outcome
    text: str
    number: int = 0
    force: str = ""
    why: str = ""                # of a refusal: its name, for machines; of a busy one UNKNOWN, or nothing


def press_of_link(token: str) -> Press:
    """The same link is the same press: it is done once. What of it may be logged does not act."""
    key = hashlib.sha256(token.encode("utf-8", "replace")).hexdigest()[:32]
    return Press(token, Account("link", key), f"link:{key}")


class BadToken(ValueError):
    """Not made by this hub, or changed."""


MAC_BYTES = 12
CODES = {"a": Verb.acknowledge, "r": Verb.resolve, "s": Verb.silence, "e": Verb.escalate, "u": Verb.unacknowledge,
         "y": Verb.approve, "n": Verb.deny, "l": Verb.release}
SILENCES = {"1": "1h", "4": "4h", "t": "tomorrow"}


@dataclass(frozen=True, slots=True)
class Token:
    """What a button means. Opaque to whoever holds it, and at most 64 bytes, Telegram's limit (PROTOCOLS 3.1).

    `expires`: of a mailed link; buttons live as long as their episode. `to`: for a mailed link, the address it was sent to."""

    verb: Verb
    lane: int
    episode: int
    # Of a silence: a key of SILENCES; of a resolve: `f`, forced; of approve and deny: a run's code, or the reference of a request
    # to release; of a release: the reference of its target. See approval.py.
    detail: str = ""
    expires: datetime | None = None
    mark: str = ""      # of the incident: after a failover its lane's number may be another's. Empty in what an older hub made

    def signed(self, key: bytes) -> str:
        code = next(code for code, verb in CODES.items() if verb is self.verb)
        until = str(int(self.expires.timestamp())) if self.expires else ""
        mark = f".{self.mark}" if self.mark else ""
        body = f"{code}{self.detail}.{self.lane}.{self.episode}.{until}{mark}"
        return f"{body}.{mac(key, body)}"


def mac(key: bytes, body: str) -> str:
    return urlsafe_b64encode(hmac.digest(key, f"button/{body}".encode(), hashlib.sha256)[:MAC_BYTES]).decode()


def mark_of(incident_id: str) -> str:
    return urlsafe_b64encode(hashlib.sha256(incident_id.encode("utf-8", "replace")).digest()[:3]).decode()


def read_token(text: str, key: bytes) -> Token:
    """Raises BadToken for what this key did not sign. Whether it has expired is the caller's question."""
    body, _, given = text.rpartition(".")
    if not text.isascii() or not hmac.compare_digest(mac(key, body), given):
        raise BadToken
    what, lane, episode, until, *mark = body.split(".")
    return Token(CODES[what[0]], int(lane), int(episode), what[1:],
                 datetime.fromtimestamp(int(until), UTC) if until else None, "".join(mark))


@dataclass(frozen=True, slots=True)
class LinkView:
    """What a mailed link would do, for the page that asks before it does. `verb` is the word of VERBS, of a silence its button's
    own label; `until` when that would end, in words. With a `problem` the rest may be empty. `effect`: of what waits for people
    exactly what would be done, line by line. `needs_proof`: holding the link does not suffice."""

    verb: str = ""
    number: int = 0
    title: str = ""
    status: str = ""
    severity: str = ""
    who: str = ""
    problem: str = ""
    until: str = ""
    effect: tuple[str, ...] = ()
    needs_proof: bool = False
