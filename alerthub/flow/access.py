"""The room of who may enter: who stands behind a session or a token now, invitations, the first admin, passwords, tokens. What is
refused is said as NotGranted, and changes nothing; whoever calls has hashed what is secret, since that takes long."""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass
from datetime import datetime, timedelta

from alerthub.domain.access import ROLES, Kind, person_of, scope_of, scope_text, scoped, wrong_name
from alerthub.domain.person import Account, Person, Right
from alerthub.domain.rules import Rules
from alerthub.errors import AlerthubError
from alerthub.store import accounts, logins, sessions
from alerthub.store.tx import Tx

logger = logging.getLogger("alerthub.access")
KINDS = frozenset({"login", "scoped"})      # of accounts whose person is in the database
SETUP, INVITE = "setup", "invite"
SETUP_LIVES, INVITE_LIVES = timedelta(hours=1), timedelta(days=3)
LONGEST_TOKEN = timedelta(days=366)
NUMBER = re.compile("[0-9]{1,15}")
USED = "This link is wrong, too old, or was used already. Ask for a new one."


class NotGranted(AlerthubError):
    """It was not done. The text says why and what would be right; `status` is for the web."""

    def __init__(self, text: str, status: int = 403) -> None:
        self.status = status
        super().__init__(text)


@dataclass(frozen=True, slots=True)
class Asker:
    """Who asks for something about accounts. `person` is None for whoever is nobody in particular. `is_token`: with a token of
    the database, a person's or a service's, which has an end and can be revoked."""

    name: str
    person: Person | None = None
    is_local: bool = False
    address: str = ""
    is_token: bool = False

    @property
    def is_admin(self) -> bool:
        return self.person is not None and self.person.may(Right.administer)


def note(tx: Tx, kind: Kind, now: datetime, account: str, by: str = "", address: str = "", detail: str = "") -> None:
    """In the record of the door, and a line in the log."""
    logins.note(tx, kind, now, account, by, address, detail)
    logger.info("%s: %s%s", kind.value.replace("_", " "), account or by, f" by {by}" if by and by != account else "", extra={
        "event": f"access.{kind.value}", "account": account, "by": by, "address": address, "detail": detail})


# -- who somebody is now

def person_behind(tx: Tx, rules: Rules, account: Account) -> Person | None:
    """As of now: None for who was disabled, has left the configuration, or whose token was revoked, since they came in."""
    if account.kind == "login":
        found = accounts.find(tx, account.id)
        return None if found is None or found.disabled_at is not None else person_of(rules.people, found.name, found.role)
    token = sessions.token_of(tx, int(account.id)) if NUMBER.fullmatch(account.id) else None
    return None if token is None or token.revoked_at is not None else owner_of(rules, token)


def owner_of(rules: Rules, token: sessions.Token) -> Person | None:
    """The person whose token it is, with what it leaves them; None for a service's, and for who is nobody any more."""
    person = person_of(rules.people, token.owner, token.role or "") if token.owner and not token.is_disabled else None
    return scoped(person, scope_of(token.scope)) if person is not None else None


# -- coming in

def enter(tx: Tx, account: str, via: str, now: datetime, lasts: timedelta, *, before: str = "", proof: str = "", agent: str = "",
          address: str = "") -> str:
    """A new session, never the one that the browser had before: whoever knew that id gains nothing (session fixation)."""
    if before:
        sessions.end(tx, before)
    accounts.entered(tx, account, now)
    note(tx, Kind.login, now, account, account, address, via)
    return sessions.begin(tx, account, via, now, lasts, proof=proof, agent=agent, address=address)


def leave(tx: Tx, account: str, key: str, now: datetime, address: str = "", *, everywhere: bool = False) -> None:
    """This session, or all of the account's."""
    if everywhere:
        sessions.end_all(tx, account)
    else:
        sessions.end_one(tx, account, key)
    note(tx, Kind.logout, now, account, account, address, "everywhere" if everywhere else "")


# -- accounts

def offer_setup(tx: Tx, rules: Rules, now: datetime, *, is_open: bool = False) -> str:
    """The code of a link by which somebody becomes the first admin; empty when anybody can log in already. `is_open`: on this
    machine anybody may enter until somebody has a password, and needs no link."""
    if accounts.is_any_able(tx, rules.people.keys()) or (is_open and not accounts.is_any_known(tx)):
        return ""
    return accounts.new_link(tx, SETUP, "", now + SETUP_LIVES, "console")


def may_grant(tx: Tx, rules: Rules, asker: Asker, name: str, role: str) -> bool:
    """Whether they may give somebody a way in with that name and role: an admin, and for whose votes count an admin who stands
    in the configuration as they do, and not a token; else, for who decides nothing; and on this machine anybody, while nobody
    can log in. Whoever gives a way in could take it, and speak with that voice."""
    target = person_of(rules.people, name, role)
    if asker.is_admin:
        return target is None or not target.votes(rules.approving) or (asker.name in rules.people and not asker.is_token)
    if asker.person is not None:
        return False
    decides = target is None or target.decides(rules.approving)
    return not decides or (asker.is_local and not accounts.is_any_able(tx, rules.people.keys()))


NOT_THEIRS = ("{} may approve or administer, so only an admin's own log-in or token gives them a way in (ALERTHUB_TOKEN, "
              "--token-file, the page People)")
VOTES = ("{0}'s word counts where something is approved: only an admin who stands in `people` too, logged in, gives them a way "
         "in; or stop the hub and run: alerthub people link {0}")


def invite(tx: Tx, rules: Rules, asker: Asker, name: str, role: str, now: datetime) -> str:
    """The code of a link by which that person sets a password, once, within three days; the account is made when there is none.
    Who is in the configuration has their role from there. A password that they have counts until they set another one."""
    if wrong := wrong_name(name):
        raise NotGranted(wrong, 422)
    found = accounts.find(tx, name)
    if name in rules.people:
        if role and role != rules.people[name].role:
            raise NotGranted(f"{name} is {rules.people[name].role} by the configuration, which counts; leave the role out", 422)
        role = ""
    elif not role:
        role = found.role if found is not None else ""
    if name not in rules.people and role not in ROLES:
        raise NotGranted(f"{name} is not in `people` of the configuration: say a role, one of {', '.join(ROLES)}. To approve, "
                         "somebody must stand in `people`: only their words are counted", 422)
    if not may_grant(tx, rules, asker, name, role) or (found is not None and found.role and not may_grant(
            tx, rules, asker, name, found.role)):
        raise NotGranted(NOT_THEIRS.format(name) if asker.person is None else VOTES.format(name) if asker.is_admin else
                         f"{asker.name} may not do that; it needs an admin")
    if found is not None and found.disabled_at is not None:
        raise NotGranted(f"{name} is disabled; enable the account first", 409)
    if not accounts.add(tx, name, role, now, asker.name):
        accounts.set_role(tx, name, role)
    note(tx, Kind.invited, now, name, asker.name, asker.address, role or "as configured")
    return accounts.new_link(tx, INVITE, name, now + INVITE_LIVES, asker.name)


def set_password(tx: Tx, rules: Rules, code: str, name: str, encoded: str, now: datetime, address: str = "") -> str:
    """By a link: the name of the account whose password it is from now on; all sessions that it had are over. `name` is what
    whoever sets the hub up has chosen."""
    found = accounts.use_link(tx, code, now)
    if found is None:
        raise NotGranted(USED, 404)
    purpose, account = found
    if purpose == SETUP:
        account = first_admin(tx, rules, name, now)
    stored = accounts.find(tx, account)
    if stored is None or stored.disabled_at is not None or person_of(rules.people, account, stored.role) is None:
        raise NotGranted(USED, 404)
    keep_password(tx, account, encoded, now, account, address)
    return account


def first_admin(tx: Tx, rules: Rules, name: str, now: datetime) -> str:
    if accounts.is_any_able(tx, rules.people.keys()):
        raise NotGranted("Somebody has set this hub up already. Log in, or let an admin invite you.", 409)
    if wrong := wrong_name(name):
        raise NotGranted(wrong, 422)
    person = rules.people.get(name)
    if person is not None and not person.may(Right.administer):
        raise NotGranted(f"{name} is {person.role} by the configuration, and the first account is an admin's; choose another "
                         f"name, and invite {name} afterwards", 422)
    if not accounts.add(tx, name, "" if person else "admin", now, SETUP):
        accounts.set_role(tx, name, "" if person else "admin")
        accounts.set_disabled(tx, name, None)
    accounts.drop_links(tx, "", SETUP)
    return name


def keep_password(tx: Tx, account: str, encoded: str, now: datetime, by: str, address: str = "", but: str = "") -> None:
    """Every session but the one of the key `but` is over: whoever knew the old password has nothing left."""
    accounts.set_password(tx, account, encoded)
    accounts.drop_links(tx, account)
    sessions.end_all(tx, account, but)
    note(tx, Kind.password_set, now, account, by, address)


def disable(tx: Tx, rules: Rules, asker: Asker, name: str, now: datetime) -> None:
    """No session, no token and no link of theirs works any more. What the configuration gives them stays: chat,
    people[].api_token.
    """
    found = accounts.find(tx, name)
    if found is None:
        raise NotGranted(f"there is no account {name[:40]!r}", 404)
    if not asker.is_admin and not may_grant(tx, rules, asker, name, found.role):
        raise NotGranted(f"{asker.name} may not do that; it needs an admin's own log-in or token")
    if asker.person is not None and asker.person.name == name:
        raise NotGranted("nobody disables themselves: let another admin do it", 409)
    accounts.set_disabled(tx, name, now)
    accounts.drop_links(tx, name)
    sessions.end_all(tx, name)
    sessions.revoke_all(tx, name, now)
    note(tx, Kind.disabled, now, name, asker.name, asker.address)


def enable(tx: Tx, rules: Rules, asker: Asker, name: str, now: datetime) -> None:
    found = accounts.find(tx, name)
    if found is None:
        raise NotGranted(f"there is no account {name[:40]!r}", 404)
    if not asker.is_admin and not may_grant(tx, rules, asker, name, found.role):
        raise NotGranted(f"{asker.name} may not do that; it needs an admin's own log-in or token")
    if accounts.set_disabled(tx, name, None):
        note(tx, Kind.enabled, now, name, asker.name, asker.address)


# -- tokens

def make_token(tx: Tx, rules: Rules, asker: Asker, owner: str, name: str, scope: str, lasts: timedelta, now: datetime) -> tuple[
        int, str]:
    """A token with a scope and an end: a person's own, or, with no owner, for a service, which an admin makes. Its number and the
    token, which is told once."""
    if wrong := wrong_name(name):
        raise NotGranted(f"what the token is for: {wrong}", 422)
    try:
        rights = scope_of(scope)
    except ValueError as error:
        raise NotGranted(str(error), 422) from None
    if not timedelta(minutes=1) <= lasts <= LONGEST_TOKEN:
        raise NotGranted("a token lasts from a minute to a year; say for example 90d", 422)
    if asker.is_token:      # or it would live on, by another, after its end
        raise NotGranted("a token makes no tokens: log in, or use people[].api_token")
    if owner:
        if asker.person is None or asker.person.name != owner:
            raise NotGranted("a token of a person is made by that person, logged in or with their own token")
    elif Right.approve in rights:
        raise NotGranted("a service approves nothing: only people do", 422)
    elif not (asker.is_admin or (asker.person is None and Right.administer not in rights)):
        raise NotGranted("a token for a service is made by an admin")
    if len(sessions.tokens_of(tx, owner)) >= sessions.MOST_TOKENS:
        raise NotGranted(f"there are {sessions.MOST_TOKENS} tokens already; revoke what nothing uses", 409)
    made = sessions.new_token(tx, owner, name, scope_text(rights), now, now + lasts, asker.name)
    note(tx, Kind.token_made, now, owner or name, asker.name, asker.address, f"#{made[0]} {name}: {scope_text(rights)}")
    return made


def revoke_token(tx: Tx, asker: Asker, number: int, now: datetime) -> None:
    """One's own, or as an admin anybody's; with the shared token, a service's. With a token of the database only as an admin."""
    found = sessions.token_of(tx, number)
    own = asker.person.name if asker.person is not None else ""
    is_theirs = asker.is_admin or (found is not None and found.owner == own and not asker.is_token)
    if found is None or not is_theirs or not sessions.revoke(tx, number, now):
        raise NotGranted(f"there is no token {number} that {asker.name} could revoke", 404)
    note(tx, Kind.token_revoked, now, found.owner or found.name, asker.name, asker.address, f"#{number} {found.name}")
