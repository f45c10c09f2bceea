"""SQL of who was heard: answers by the provider's own id, linked accounts, one-time codes, and the keys that sign buttons."""

from __future__ import annotations

import hashlib
import secrets
from datetime import datetime, timedelta

from sqlalchemy import delete, or_, select

from alerthub.domain.command import Answer, Outcome
from alerthub.domain.heartbeat import SKEW
from alerthub.store.schema import heard, identities, keys, link_codes
from alerthub.store.tx import Tx

KEY_BYTES = 32
CODE_ALPHABET = "ABCDEFGHJKLMNPQRSTUVWXYZ23456789"      # nothing that looks like something else
CODE_LENGTH = 10
ANSWER_KEPT = 500
POSTED = "pagerduty:"       # the keys of its webhooks


def signing_key(tx: Tx, name: str = "buttons") -> bytes:
    """The key of buttons and links, or another: random, made by whoever needs it first, the same for all replicas and after a
    restart."""
    found = made_key(tx, name)
    if not found:
        tx.conn.execute(tx.insert(keys).values(name=name, value=secrets.token_bytes(KEY_BYTES)).on_conflict_do_nothing())
        found = made_key(tx, name)
    return found


def made_key(tx: Tx, name: str) -> bytes:
    """The key, if it was made; for who only reads."""
    return bytes(tx.conn.execute(select(keys.c.value).where(keys.c.name == name)).scalar() or b"")


def first_heard(tx: Tx, key: str, now: datetime) -> Answer | None:
    """Take note that this was said. None the first time; else what was answered then (R-31)."""
    new = tx.insert(heard).values(key=key, at=now, outcome="", answer="").on_conflict_do_nothing().returning(heard.c.key)
    if tx.conn.execute(new).first() is not None:
        return None
    row = tx.conn.execute(select(heard).where(heard.c.key == key)).one()
    return Answer(Outcome(row.outcome or Outcome.already.value), row.answer)


def was_heard(tx: Tx, key: str) -> bool:
    """Whether that was said before, and changed something."""
    return tx.conn.execute(select(heard.c.key).where(heard.c.key == key)).first() is not None


def answered(tx: Tx, key: str, answer: Answer) -> None:
    """Keep how it ended. What changed nothing may be asked again: it may end otherwise then. Not so a webhook, whose key is of
    what was done there: nobody asks again, it is only posted again, and what was held has changed something (R-31)."""
    if answer.outcome in (Outcome.held, Outcome.refused, Outcome.already) and not key.startswith(POSTED):
        tx.conn.execute(delete(heard).where(heard.c.key == key))
        return
    tx.conn.execute(heard.update().where(heard.c.key == key).values(
        outcome=answer.outcome.value, answer=answer.text[:ANSWER_KEPT]))


def pressed_lately(tx: Tx, key: str, now: datetime, within: timedelta) -> bool:
    """Whether this was pressed so shortly ago; else take note that it is pressed now. One statement: of two replicas that are
    asked at once, the second waits for what the first has done."""
    new = tx.insert(heard).values(key=key, at=now, outcome=Outcome.already.value, answer="")
    # Further ahead than replicas' clocks may differ it was written by one that has jumped back since.
    is_old = or_(heard.c.at <= now - within, heard.c.at >= now + SKEW)
    first = new.on_conflict_do_update(index_elements=["key"], set_={"at": now}, where=is_old).returning(heard.c.key)
    return tx.conn.execute(first).first() is None


def forget_heard(tx: Tx, before: datetime) -> int:
    """Providers repeat for two days at most (PROTOCOLS 4.2); what is older need not be known."""
    return tx.conn.execute(delete(heard).where(heard.c.at < before)).rowcount


def linked(tx: Tx, account: str) -> str:
    """The person that the account was proved to be; empty when it was not."""
    return tx.conn.execute(select(identities.c.person).where(identities.c.account == account)).scalar() or ""


def link(tx: Tx, account: str, person: str, now: datetime) -> None:
    new = tx.insert(identities)
    tx.conn.execute(new.values(account=account, person=person, linked_at=now).on_conflict_do_update(
        index_elements=["account"], set_={"person": new.excluded.person, "linked_at": new.excluded.linked_at}))


def new_code(tx: Tx, person: str, expires_at: datetime) -> str:
    """A one-time code for a person; only its hash is kept. Earlier codes of theirs no longer count."""
    code = "".join(secrets.choice(CODE_ALPHABET) for _ in range(CODE_LENGTH))
    tx.conn.execute(delete(link_codes).where(link_codes.c.person == person))
    tx.conn.execute(link_codes.insert().values(code_sha256=hashed(code), person=person, expires_at=expires_at))
    return code


def use_code(tx: Tx, code: str, now: datetime) -> str:
    """The person whose code it is, once; empty for a wrong, used or old one."""
    used = delete(link_codes).where(link_codes.c.code_sha256 == hashed(code))      # at once: two replicas may be asked
    row = tx.conn.execute(used.returning(link_codes.c.person, link_codes.c.expires_at)).first()
    return str(row.person) if row is not None and row.expires_at > now else ""


def hashed(code: str) -> str:
    return hashlib.sha256(code.strip().upper().encode("utf-8", "replace")).hexdigest()
