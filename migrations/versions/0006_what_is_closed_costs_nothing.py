"""what is closed costs nothing: indexes of the few rows that are asked for among the many that are over"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = '0006'
down_revision = '0005'
branch_labels = None
depends_on = None

FLAPPING = sa.text('flaps > 0')
STRAY = sa.text('incident_id IS NULL')
NOT_SENT = sa.text("state <> 'sent'")


def upgrade() -> None:
    op.create_index('ix_incidents_flapping', 'incidents', ['number'], unique=False, sqlite_where=FLAPPING,
                    postgresql_where=FLAPPING)
    op.create_index('ix_alerts_stray_seen_at', 'alerts', ['seen_at'], unique=False, sqlite_where=STRAY, postgresql_where=STRAY)
    op.create_index('ix_deliveries_not_sent', 'deliveries', ['state', 'id'], unique=False, sqlite_where=NOT_SENT,
                    postgresql_where=NOT_SENT)
    op.create_index('ix_action_runs_state', 'action_runs', ['state', 'id'], unique=False)
    op.create_index('ix_action_runs_reason', 'action_runs', ['reason', 'id'], unique=False)


def downgrade() -> None:
    op.drop_index('ix_action_runs_reason', 'action_runs')
    op.drop_index('ix_action_runs_state', 'action_runs')
    op.drop_index('ix_deliveries_not_sent', 'deliveries')
    op.drop_index('ix_alerts_stray_seen_at', 'alerts')
    op.drop_index('ix_incidents_flapping', 'incidents')
