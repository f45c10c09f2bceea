"""SQL of sessions and of tokens. A request looks one row up, and writes only when it was seen long enough ago."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import delete, select, update

from alerthub.domain.heartbeat import SKEW
from alerthub.hashing import hashed
from alerthub.store.schema import accounts, sessions, tokens
from alerthub.store.tx import AnyRow, Tx

SEEN_EVERY = timedelta(minutes=1)       # how exactly it is known when one was used last
MOST_OF_ONE = 50                        # sessions of one account; the one that was used least of late makes room
SHOWN, MOST_TOKENS = 100, 100
# What all tokens begin with: scanners of code find them, and nothing else is looked up.
TOKEN = "aht_"  # noqa: S105


@dataclass(frozen=True, slots=True)
class Session:
    """`role`, and whether the account is disabled, as of now; None for the role where there is no account."""

    key: str
    account: str
    via: str
    proof: str
    created_at: datetime
    seen_at: datetime
    ends_at: datetime
    agent: str
    address: str
    role: str | None = None
    is_disabled: bool = False


@dataclass(frozen=True, slots=True)
class Token:
    """Without an owner it is a service's. `role` and whether the owner is disabled, as of now."""

    id: int
    owner: str
    name: str
    scope: str
    created_at: datetime
    created_by: str
    expires_at: datetime
    used_at: datetime | None
    revoked_at: datetime | None
    role: str | None = None
    is_disabled: bool = False


COLUMNS = [column for column in tokens.c if column.name != "token_sha256"]
WITH_ACCOUNT = (select(sessions, accounts.c.role, accounts.c.disabled_at)
                .select_from(sessions.outerjoin(accounts, accounts.c.name == sessions.c.account)))
TOKEN_WITH_ACCOUNT = (select(*COLUMNS, accounts.c.role, accounts.c.disabled_at)
                      .select_from(tokens.outerjoin(accounts, accounts.c.name == tokens.c.owner)))


def begin(tx: Tx, account: str, via: str, now: datetime, lasts: timedelta, *, proof: str = "", agent: str = "",
          address: str = "") -> str:
    """The id of a new session, for the cookie; it is nowhere else."""
    secret = secrets.token_urlsafe(32)
    old = (select(sessions.c.id_sha256).where(sessions.c.account == account)
           .order_by(sessions.c.seen_at.desc()).offset(MOST_OF_ONE - 1))
    tx.conn.execute(delete(sessions).where(sessions.c.id_sha256.in_(list(tx.conn.execute(old.limit(MOST_OF_ONE)).scalars()))))
    tx.conn.execute(sessions.insert().values(
        id_sha256=hashed(secret), account=account, via=via, proof=proof, created_at=now, seen_at=now, ends_at=now + lasts,
        agent=agent, address=address))
    return secret


def session(row: AnyRow) -> Session:
    return Session(row.id_sha256, row.account, row.via, row.proof, row.created_at, row.seen_at, row.ends_at, row.agent,
                   row.address, row.role, row.disabled_at is not None)


def find(tx: Tx, secret: str, now: datetime, idle: timedelta, absolute: timedelta) -> Session | None:
    """The one of that id, while it lasts: used within `idle`, not older than `absolute`, and not past the end that it began
    with: what the configuration allows now counts, but lengthens none that is there."""
    row = tx.conn.execute(WITH_ACCOUNT.where(sessions.c.id_sha256 == hashed(secret))).first()
    if row is None or min(row.ends_at, row.created_at + absolute, row.seen_at + idle) <= now:
        return None
    return session(row)


def is_to_be_seen(seen_at: datetime | None, now: datetime) -> bool:
    """Whether it is worth a write that it was used now; also after a clock that jumped back."""
    return seen_at is None or now - seen_at >= SEEN_EVERY or seen_at - now > SKEW


def seen(tx: Tx, key: str, now: datetime) -> None:
    tx.conn.execute(update(sessions).where(sessions.c.id_sha256 == key).values(seen_at=now))


def of(tx: Tx, account: str, now: datetime, idle: timedelta, absolute: timedelta) -> list[Session]:
    """Those that last, the one used last first."""
    query = WITH_ACCOUNT.where(sessions.c.account == account, sessions.c.ends_at > now, sessions.c.seen_at > now - idle,
                               sessions.c.created_at > now - absolute)
    return [session(row) for row in tx.conn.execute(query.order_by(sessions.c.seen_at.desc()).limit(SHOWN))]


def lasts(tx: Tx, account: str, key: str) -> bool:
    """Whether the account has it still; nobody ends it before this transaction is over."""
    row = select(sessions.c.account).where(sessions.c.account == account, sessions.c.id_sha256 == key).with_for_update()
    return tx.conn.execute(row).first() is not None


def end(tx: Tx, secret: str) -> None:
    tx.conn.execute(delete(sessions).where(sessions.c.id_sha256 == hashed(secret)))


def end_one(tx: Tx, account: str, key: str) -> bool:
    """One of the account's own."""
    return tx.conn.execute(delete(sessions).where(sessions.c.account == account, sessions.c.id_sha256 == key)).rowcount > 0


def end_all(tx: Tx, account: str, but: str = "") -> int:
    """Everywhere, or everywhere else: `but` is the key of the one that stays."""
    return tx.conn.execute(delete(sessions).where(sessions.c.account == account, sessions.c.id_sha256 != but)).rowcount


# -- tokens

def token(row: AnyRow) -> Token:
    return Token(**{column.name: getattr(row, column.name) for column in COLUMNS}, role=row.role,
                 is_disabled=row.disabled_at is not None)


def new_token(tx: Tx, owner: str, name: str, scope: str, now: datetime, expires_at: datetime, by: str) -> tuple[int, str]:
    """Its number, and the token itself, which is nowhere else."""
    secret = TOKEN + secrets.token_urlsafe(32)
    row = tx.conn.execute(tokens.insert().values(
        token_sha256=hashed(secret), owner=owner, name=name, scope=scope, created_at=now, created_by=by,
        expires_at=expires_at).returning(tokens.c.id)).one()
    return row.id, secret


def find_token(tx: Tx, secret: str, now: datetime) -> Token | None:
    """While it may be used."""
    row = tx.conn.execute(TOKEN_WITH_ACCOUNT.where(tokens.c.token_sha256 == hashed(secret))).first()
    return token(row) if row is not None and row.revoked_at is None and row.expires_at > now else None


def token_of(tx: Tx, id_: int) -> Token | None:
    """Also one that may not be used any more."""
    row = tx.conn.execute(TOKEN_WITH_ACCOUNT.where(tokens.c.id == id_)).first()
    return token(row) if row is not None else None


def used(tx: Tx, id_: int, now: datetime) -> None:
    tx.conn.execute(update(tokens).where(tokens.c.id == id_).values(used_at=now))


def tokens_of(tx: Tx, owner: str | None, before: int = 0) -> list[Token]:
    """Those of one owner, "" for services; None: of all. Not the revoked ones; the newest first, up to a page."""
    query = TOKEN_WITH_ACCOUNT.where(tokens.c.revoked_at.is_(None))
    query = query if owner is None else query.where(tokens.c.owner == owner)
    query = query.where(tokens.c.id < before) if before else query
    return [token(row) for row in tx.conn.execute(query.order_by(tokens.c.id.desc()).limit(MOST_TOKENS))]


def revoke(tx: Tx, id_: int, now: datetime, owner: str | None = None) -> bool:
    """One of that owner; None: whoever's it is."""
    query = update(tokens).where(tokens.c.id == id_, tokens.c.revoked_at.is_(None))
    return tx.conn.execute((query if owner is None else query.where(tokens.c.owner == owner)).values(revoked_at=now)).rowcount > 0


def revoke_all(tx: Tx, owner: str, now: datetime) -> int:
    query = update(tokens).where(tokens.c.owner == owner, tokens.c.owner != "", tokens.c.revoked_at.is_(None))
    return tx.conn.execute(query.values(revoked_at=now)).rowcount
