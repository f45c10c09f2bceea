"""SQL of what programs ask twice: a key that they chose, what they asked with it, and what they were answered. Kept among what
was heard, and as long."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from typing import Any

from sqlalchemy import delete, select, update

from alerthub.domain.command import Outcome
from alerthub.store.schema import heard
from alerthub.store.tx import Tx

Said = tuple[int, dict[str, Any]]       # an HTTP status, and the body
REFUSED = 400                           # from this status on nothing was done, and it may be asked again


class OtherBody(Exception):
    """The key was used before, for something else."""


def claim(tx: Tx, key: str, asked: str, now: datetime) -> dict[str, Any] | None:
    """None the first time; else what is kept under the key. Raises OtherBody when something else was asked with it."""
    row = {"key": key, "at": now, "outcome": Outcome.done.value, "answer": json.dumps({"asked": asked})}
    new = tx.insert(heard).values(row).on_conflict_do_nothing().returning(heard.c.key)
    if tx.conn.execute(new).first() is not None:
        return None
    before: dict[str, Any] = json.loads(tx.conn.execute(select(heard.c.answer).where(heard.c.key == key)).scalar_one())
    if before["asked"] != asked:
        raise OtherBody
    return before


def kept(tx: Tx, key: str, asked: str) -> Said | None:
    """What was answered before under that key. Raises OtherBody."""
    found = tx.conn.execute(select(heard.c.answer).where(heard.c.key == key)).scalar_one_or_none()
    before: dict[str, Any] = json.loads(found) if found is not None else {"asked": asked}
    if before["asked"] != asked:
        raise OtherBody
    return (before["status"], before["body"]) if "status" in before else None


def once(tx: Tx, key: str, asked: str, now: datetime, unit: Callable[[Tx], Said]) -> tuple[Said, bool]:
    """Do it and keep the answer, in this transaction; or give the answer that is kept. And whether it was done now. What was
    refused is not kept. Raises OtherBody."""
    before = claim(tx, key, asked, now)
    if before is not None:
        return (before["status"], before["body"]), False
    status, body = unit(tx)
    if status >= REFUSED:
        tx.conn.execute(delete(heard).where(heard.c.key == key))
    else:
        answer = json.dumps({"asked": asked, "status": status, "body": body}, ensure_ascii=False)
        tx.conn.execute(update(heard).where(heard.c.key == key).values(answer=answer))
    return (status, body), True
