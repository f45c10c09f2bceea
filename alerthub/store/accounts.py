"""SQL of accounts and of the one-time links by which a password is set. Only hashes of links are kept."""

from __future__ import annotations

import secrets
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import delete, select, update

from alerthub.hashing import hashed
from alerthub.store.schema import access_links, accounts, sessions, tokens
from alerthub.store.tx import AnyRow, Tx, chunks

PAGE = 200


@dataclass(frozen=True, slots=True)
class Stored:
    """An account as the database holds it. `role` is empty for who is in the configuration, or was."""

    name: str
    role: str
    password: str
    subject: str
    created_at: datetime
    created_by: str
    disabled_at: datetime | None
    entered_at: datetime | None

    @property
    def has_password(self) -> bool:
        return bool(self.password)


def stored(row: AnyRow) -> Stored:
    return Stored(*(getattr(row, name) for name in Stored.__slots__))


def find(tx: Tx, name: str, *, is_held: bool = False) -> Stored | None:
    """`is_held`: nobody else changes it until this transaction ends."""
    query = select(accounts).where(accounts.c.name == name)
    row = tx.conn.execute(query.with_for_update() if is_held else query).first()
    return stored(row) if row is not None else None


def by_subject(tx: Tx, subject: str) -> Stored | None:
    """Whose account is known by that subject at the provider; only asked of one that has a name there."""
    row = tx.conn.execute(select(accounts).where(accounts.c.subject == subject, accounts.c.subject != "")).first()
    return stored(row) if row is not None else None


def page(tx: Tx, after: str = "", limit: int = PAGE) -> list[Stored]:
    found = tx.conn.execute(select(accounts).where(accounts.c.name > after).order_by(accounts.c.name).limit(limit))
    return [stored(row) for row in found]


def add(tx: Tx, name: str, role: str, now: datetime, by: str) -> bool:
    """Whether there was none of that name."""
    new = tx.insert(accounts).values(name=name, role=role, password="", subject="", created_at=now, created_by=by)
    return tx.conn.execute(new.on_conflict_do_nothing().returning(accounts.c.name)).first() is not None


def set_role(tx: Tx, name: str, role: str) -> None:
    tx.conn.execute(update(accounts).where(accounts.c.name == name).values(role=role))


def set_password(tx: Tx, name: str, encoded: str) -> None:
    tx.conn.execute(update(accounts).where(accounts.c.name == name).values(password=encoded))


def rehash(tx: Tx, name: str, before: str, encoded: str) -> None:
    """The same password in a newer form, unless it was changed meanwhile."""
    tx.conn.execute(update(accounts).where(accounts.c.name == name, accounts.c.password == before).values(password=encoded))


def set_subject(tx: Tx, name: str, subject: str) -> None:
    tx.conn.execute(update(accounts).where(accounts.c.name == name).values(subject=subject))


def set_disabled(tx: Tx, name: str, at: datetime | None) -> bool:
    done = tx.conn.execute(update(accounts).where(accounts.c.name == name, accounts.c.disabled_at.is_(None) if at
                                                  else accounts.c.disabled_at.is_not(None)).values(disabled_at=at))
    return done.rowcount > 0


def entered(tx: Tx, name: str, now: datetime) -> None:
    tx.conn.execute(update(accounts).where(accounts.c.name == name).values(entered_at=now))


def adopt(tx: Tx, people: Collection[str]) -> None:
    """Whom the configuration names has no role of the database any more: who leaves it later is not again what they were
    before. Who had the name from the provider has chosen it there: whether they are that person, it must prove anew.
    """
    for names in chunks(sorted(people)):
        chosen = accounts.c.name.in_(names) & (accounts.c.role != "") & (accounts.c.subject != "")
        found = list(tx.conn.execute(select(accounts.c.name).where(chosen)).scalars())
        tx.conn.execute(delete(sessions).where(sessions.c.account.in_(found)))
        tx.conn.execute(delete(tokens).where(tokens.c.owner.in_(found)))
        tx.conn.execute(delete(access_links).where(access_links.c.account.in_(found)))
        tx.conn.execute(update(accounts).where(accounts.c.name.in_(found)).values(subject="", password=""))
        tx.conn.execute(update(accounts).where(accounts.c.name.in_(names), accounts.c.role != "").values(role=""))


def is_any_able(tx: Tx, people: Collection[str]) -> bool:
    """Whether anybody could log in now: is somebody, has a password or is known at the provider, and is not disabled."""
    query = select(accounts.c.name).where(accounts.c.disabled_at.is_(None),
                                          (accounts.c.password != "") | (accounts.c.subject != "")).limit(1)
    if tx.conn.execute(query.where(accounts.c.role != "")).first() is not None:
        return True
    return any(tx.conn.execute(query.where(accounts.c.name.in_(names))).first() is not None for names in chunks(sorted(people)))


def is_any_known(tx: Tx) -> bool:
    """Whether anybody could ever log in, also who was disabled or has left the configuration since."""
    query = select(accounts.c.name).where((accounts.c.password != "") | (accounts.c.subject != "")).limit(1)
    return tx.conn.execute(query).first() is not None


# -- one-time links

def new_link(tx: Tx, purpose: str, account: str, expires_at: datetime, by: str) -> str:
    """A code for one account, or for whoever sets the hub up; earlier ones of that account count no longer."""
    code = secrets.token_urlsafe(32)
    if account:
        drop_links(tx, account)
    tx.conn.execute(access_links.insert().values(code_sha256=hashed(code), purpose=purpose, account=account,
                                                 expires_at=expires_at, created_by=by))
    return code


def find_link(tx: Tx, code: str, now: datetime) -> tuple[str, str] | None:
    """Its purpose and account, while it may be used."""
    row = tx.conn.execute(select(access_links).where(access_links.c.code_sha256 == hashed(code))).first()
    return (row.purpose, row.account) if row is not None and row.expires_at > now else None


def use_link(tx: Tx, code: str, now: datetime) -> tuple[str, str] | None:
    """The same, once: of two who send it at the same time one is the first."""
    gone = delete(access_links).where(access_links.c.code_sha256 == hashed(code)).returning(
        access_links.c.purpose, access_links.c.account, access_links.c.expires_at)
    row = tx.conn.execute(gone).first()
    return (row.purpose, row.account) if row is not None and row.expires_at > now else None


def drop_links(tx: Tx, account: str, purpose: str = "invite") -> None:
    tx.conn.execute(delete(access_links).where(access_links.c.account == account, access_links.c.purpose == purpose))


def forget(tx: Tx, now: datetime) -> None:
    """What nobody can use any more: links and sessions whose time is over, tokens that ended long ago."""
    tx.conn.execute(delete(access_links).where(access_links.c.expires_at < now))
    tx.conn.execute(delete(sessions).where(sessions.c.ends_at < now))


def forget_tokens(tx: Tx, before: datetime) -> None:
    tx.conn.execute(delete(tokens).where(tokens.c.expires_at < before))


def links_of(tx: Tx) -> Sequence[str]:
    """The accounts that have an invitation which nobody has used."""
    return list(tx.conn.execute(select(access_links.c.account).where(access_links.c.account != "").limit(PAGE)).scalars())
