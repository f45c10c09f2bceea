"""SQL of votes: what people said to a run that waits for them, or to a latch that shall be released."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import select

from alerthub.domain.approval import Verdict, Vote
from alerthub.store.schema import votes
from alerthub.store.tx import Tx, chunks


def add(tx: Tx, subject: str, vote: Vote) -> bool:
    """Keep it, once per person. False: they have voted on this already. Only who has agreed may still deny."""
    row = {"subject": subject, "person": vote.person, "account": vote.account, "via": vote.via, "verdict": vote.verdict.value,
           "at": vote.at}
    new = tx.insert(votes).values(row)
    if vote.verdict is Verdict.deny:
        new = new.on_conflict_do_update(index_elements=["subject", "person"], set_=row,
                                        where=votes.c.verdict == Verdict.approve.value)
    else:
        new = new.on_conflict_do_nothing()
    return tx.conn.execute(new.returning(votes.c.id)).first() is not None


def of(tx: Tx, subjects: Iterable[str]) -> dict[str, list[Vote]]:
    """By subject, in the order they came; subjects without votes are absent."""
    found: dict[str, list[Vote]] = {}
    for chunk in chunks(subjects):
        for row in tx.conn.execute(select(votes).where(votes.c.subject.in_(chunk)).order_by(votes.c.id)):
            found.setdefault(row.subject, []).append(Vote(row.person, row.account, row.via, Verdict(row.verdict), row.at))
    return found
