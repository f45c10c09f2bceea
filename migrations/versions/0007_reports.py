"""reports that people write afterwards, and two small indexes for looking back: of acknowledgements, and of latched targets"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = '0007'
down_revision = '0006'
branch_labels = None
depends_on = None

ACKNOWLEDGED = sa.text("kind = 'acknowledged'")
LATCH = sa.text("kind = 'latch'")


def upgrade() -> None:
    op.create_table('reports',
    sa.Column('incident_id', sa.Text(), nullable=False),
    sa.Column('version', sa.Integer(), autoincrement=False, nullable=False),
    sa.Column('at', sa.BigInteger(), nullable=False),
    sa.Column('by', sa.Text(), nullable=False),
    sa.Column('kind', sa.Text(), nullable=False),
    sa.Column('text', sa.Text(), nullable=False),
    sa.ForeignKeyConstraint(['incident_id'], ['incidents.id'], name=op.f('fk_reports_incident_id'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('incident_id', 'version', name=op.f('pk_reports'))
    )
    # Rows of few events: what a webhook writes is in neither.
    op.create_index('ix_events_acknowledged', 'events', ['incident_id', 'at'], unique=False, sqlite_where=ACKNOWLEDGED,
                    postgresql_where=ACKNOWLEDGED)
    op.create_index('ix_events_latch', 'events', ['at'], unique=False, sqlite_where=LATCH, postgresql_where=LATCH)


def downgrade() -> None:
    op.drop_index('ix_events_latch', 'events')
    op.drop_index('ix_events_acknowledged', 'events')
    op.drop_table('reports')
