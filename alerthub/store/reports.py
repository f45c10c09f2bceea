"""SQL of reports: every version of what people wrote about an incident, the newest counting."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, insert, select

from alerthub.store.schema import reports
from alerthub.store.tx import AnyRow, AnySelect, Tx


@dataclass(frozen=True, slots=True)
class Report:
    """One version. `kind`: `draft` where the hub wrote it, `edited` where a person did. Version 0 is not kept."""

    version: int
    at: datetime
    by: str
    kind: str
    text: str = ""


def newest(tx: Tx, incident_id: str) -> Report | None:
    return one(tx, of(incident_id).order_by(reports.c.version.desc()).limit(1))


def find(tx: Tx, incident_id: str, version: int) -> Report | None:
    return one(tx, of(incident_id).where(reports.c.version == version))


def versions(tx: Tx, incident_id: str, limit: int) -> list[Report]:
    """The newest first, without their texts."""
    query = select(reports.c.version, reports.c.at, reports.c.by, reports.c.kind).where(reports.c.incident_id == incident_id)
    return [Report(*row) for row in tx.conn.execute(query.order_by(reports.c.version.desc()).limit(limit))]


def count(tx: Tx, incident_id: str) -> int:
    query = select(func.count()).select_from(reports).where(reports.c.incident_id == incident_id)
    return int(tx.conn.execute(query).scalar_one())


def add(tx: Tx, incident_id: str, report: Report) -> None:
    """Two of one version cannot both commit: whoever comes second is run again and sees the first."""
    tx.conn.execute(insert(reports).values(incident_id=incident_id, version=report.version, at=report.at, by=report.by,
                                           kind=report.kind, text=report.text))


def of(incident_id: str) -> AnySelect:
    return select(reports.c.version, reports.c.at, reports.c.by, reports.c.kind, reports.c.text).where(
        reports.c.incident_id == incident_id)


def one(tx: Tx, query: AnySelect) -> Report | None:
    row: AnyRow | None = tx.conn.execute(query).first()
    return Report(*row) if row else None
