"""SQL of votes: what people said to a run that waits for them, or to a latch that shall be released."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import select

from alerthub.domain.approval import Verdict, Vote
from alerthub.store.schema import votes
from alerthub.store.tx import Tx, chunks


def add(tx: Tx, subject: str, vote: Vote) -> bool:
    """Keep it, once per person. False: they have voted on this already."""
    row = {"subject": subject, "person": vote.person, "account": vote.account, "via": vote.via, "verdict": vote.verdict.value,
           "at": vote.at}
    done = tx.insert(votes).values(row).on_conflict_do_nothing().returning(votes.c.id)
    return tx.conn.execute(done).first() is not None


def of(tx: Tx, subjects: Iterable[str]) -> dict[str, list[Vote]]:
    """By subject, in the order they came; subjects without votes are absent."""
    found: dict[str, list[Vote]] = {}
    for chunk in chunks(subjects):
        for row in tx.conn.execute(select(votes).where(votes.c.subject.in_(chunk)).order_by(votes.c.id)):
            found.setdefault(row.subject, []).append(Vote(row.person, row.account, row.via, Verdict(row.verdict), row.at))
    return found
