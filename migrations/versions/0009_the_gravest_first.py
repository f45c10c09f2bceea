"""the gravest first: the first page of open incidents and their counts out of one index, however many are open"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = '0009'
down_revision = '0008'
branch_labels = None
depends_on = None

OPEN = sa.text("status <> 'resolved'")


def upgrade() -> None:
    op.create_index('ix_incidents_gravest', 'incidents', ['severity', 'status', 'number'], unique=False, sqlite_where=OPEN,
                    postgresql_where=OPEN)


def downgrade() -> None:
    op.drop_index('ix_incidents_gravest', 'incidents')
