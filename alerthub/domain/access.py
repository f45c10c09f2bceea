"""Who somebody is who has logged in, what a token leaves of their rights, and when one may guess again. Pure: no secret is known
here but as a text that is being chosen."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import timedelta
from enum import StrEnum

from alerthub.domain.person import Person, Right

# Of an account that the configuration does not name. To approve, somebody must stand in `people`: votes of others are not
# counted.
ROLES = ("viewer", "responder", "admin")
SHORTEST, LONGEST = 12, 256         # characters of a password
LONGEST_NAME = 100
GOOD = "four words that nobody else would put together make a good one"
FREE_BY_NAME, FREE_BY_ADDRESS = 5, 20       # wrong guesses before one has to wait
FIRST_WAIT, LONGEST_WAIT = timedelta(seconds=1), timedelta(minutes=1)
FORGOTTEN = timedelta(hours=1)      # after so long without a guess it begins anew
NEVER = ("//", "/\\", "/login", "/logout", "/setup")     # where nobody is led after the log-in


class Kind(StrEnum):
    """What happened at the door. Also the word in log and record."""

    login = "login"
    login_failed = "login_failed"
    throttled = "throttled"
    logout = "logout"
    denied = "denied"
    invited = "invited"
    password_set = "password_set"  # noqa: S105  (no password, but that one was set)
    disabled = "disabled"
    enabled = "enabled"
    token_made = "token_made"  # noqa: S105
    token_revoked = "token_revoked"  # noqa: S105


def person_of(people: Mapping[str, Person], name: str, role: str) -> Person | None:
    """Whose account of this name it is, now: the person of the configuration, whatever role the database has; else somebody of
    that role. None for who left the configuration."""
    return people.get(name) or (Person(name, role) if role in ROLES else None)


def scoped(person: Person, scope: Iterable[Right]) -> Person:
    """The same person with no more rights than these, which are no more than they have."""
    return replace(person, scope=frozenset(scope))


def scope_of(text: str) -> frozenset[Right]:
    """`respond` as `view respond`: to look is in everything but in nothing. ValueError, with what would be right."""
    names = text.replace(",", " ").split()
    if not names or any(name not in Right.__members__ for name in names):
        raise ValueError(f"a scope is one or more of {', '.join(Right)}; for example: view respond")
    return frozenset({Right.view, *map(Right, names)})


def scope_text(scope: Iterable[Right]) -> str:
    return " ".join(right.value for right in Right if right in set(scope))


def wait_after(failures: int, free: int) -> timedelta:
    """How long after so many wrong guesses the next one is heard: twice as long each time, and never more than a minute, so that
    whoever knows the password is never kept out for long by others who do not."""
    return timedelta(0) if failures < free else min(LONGEST_WAIT, FIRST_WAIT * 2 ** min(failures - free, 10))


def normal(password: str) -> str:
    """However a keyboard puts it together."""
    return unicodedata.normalize("NFKC", password)


def weakness(password: str, name: str) -> str:
    """Why that must not be a password, and what would be right; empty for one that may."""
    if not SHORTEST <= len(password) <= LONGEST:
        return f"a password has {SHORTEST} to {LONGEST} characters; {GOOD}"
    plain = password.casefold()
    if len(set(plain)) < 5 or plain in "0123456789" * 30 or plain in "abcdefghijklmnopqrstuvwxyz" * 10:
        return f"that is the first that somebody would guess; {GOOD}"
    if len(name) > 2 and plain.replace(name.casefold(), "").strip("0123456789!._- ") == "":
        return f"that is nearly your name; {GOOD}"
    return ""


def wrong_name(name: str) -> str:
    """Why nobody can be called that; empty when they can."""
    if not name or name != " ".join(name.split()) or len(name) > LONGEST_NAME or not name.isprintable():
        return f"a name has 1 to {LONGEST_NAME} characters, on one line, without blanks around it"
    return "" if "/" not in name and ":" not in name else "a name holds no / and no :"


def way_back(path: str) -> str:
    """Where to lead whoever has logged in: only ever a page of the hub's own, whatever was asked (open redirects)."""
    is_ours = path.startswith("/") and path.isprintable() and "\\" not in path and path.isascii() and len(path) < 2000
    return path if is_ours and not path.startswith(NEVER) else "/"
