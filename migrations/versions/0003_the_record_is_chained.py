"""the record is chained: a hash in each event, anchors over all histories, and what was pruned since the last one"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = '0003'
down_revision = '0002'
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Rows that are there already have no hash. An older hub that runs beside this one writes such rows, too.
    op.add_column('events', sa.Column('hash', sa.Text(), nullable=True))
    op.create_table('anchors',
    sa.Column('n', sa.BigInteger(), autoincrement=False, nullable=False),
    sa.Column('at', sa.BigInteger(), nullable=False),
    sa.Column('position', sa.BigInteger(), nullable=False),
    sa.Column('content', sa.Text(), nullable=False),
    sa.Column('hash', sa.Text(), nullable=False),
    sa.PrimaryKeyConstraint('n', name=op.f('pk_anchors'))
    )
    op.create_table('pruned',
    sa.Column('incident_id', sa.Text(), nullable=False),
    sa.Column('seq', sa.Integer(), nullable=False),
    sa.Column('hash', sa.Text(), nullable=False),
    sa.PrimaryKeyConstraint('incident_id', name=op.f('pk_pruned'))
    )


def downgrade() -> None:
    op.drop_table('pruned')
    op.drop_table('anchors')
    op.drop_column('events', 'hash')
