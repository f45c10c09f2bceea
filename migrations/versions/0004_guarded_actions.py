"""guarded actions: latches, votes, freezes, permits; an action may run again in one episode after its target was released"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = '0004'
down_revision = '0003'
branch_labels = None
depends_on = None

ROW_ID = sa.BigInteger().with_variant(sa.Integer(), 'sqlite')
ONCE = 'uq_action_runs_incident_id_episode_action_target'
ONCE_A_ROUND = 'uq_action_runs_once_a_round'
COLUMNS = ['incident_id', 'episode', 'action', 'target']
DUE = sa.text('due_at IS NOT NULL')
STANDING = sa.text('lifted_at IS NULL')


def upgrade() -> None:
    # An older hub cannot propose actions beside this one: its "once per episode" is not the key any more.
    op.drop_index('ix_action_runs_due', 'action_runs')
    with op.batch_alter_table('action_runs', schema=None) as batch_op:
        batch_op.add_column(sa.Column('round', sa.Integer(), server_default=sa.text('0'), nullable=False))
        batch_op.add_column(sa.Column('mode', sa.Text(), server_default=sa.text("'live'"), nullable=False))
        batch_op.add_column(sa.Column('rules_version', sa.Text(), server_default=sa.text("''"), nullable=False))
        batch_op.add_column(sa.Column('alert', sa.Text(), server_default=sa.text("''"), nullable=False))
        batch_op.add_column(sa.Column('asked_by', sa.Text(), server_default=sa.text("''"), nullable=False))
        batch_op.drop_constraint(op.f(ONCE), type_='unique')
        batch_op.create_unique_constraint(op.f(ONCE_A_ROUND), [*COLUMNS, 'direction', 'round'])
    op.create_index('ix_action_runs_due', 'action_runs', ['due_at'], unique=False, sqlite_where=DUE, postgresql_where=DUE)
    op.create_index('ix_action_runs_action_started_at', 'action_runs', ['action', 'started_at'], unique=False)
    latches()
    people()


def latches() -> None:
    op.create_table('latches',
    sa.Column('target', sa.Text(), nullable=False),
    sa.Column('state', sa.Text(), nullable=False),
    sa.Column('seq', sa.Integer(), nullable=False),
    sa.Column('generation', sa.Integer(), nullable=False),
    sa.Column('since', sa.BigInteger(), nullable=False),
    sa.Column('action', sa.Text(), nullable=False),
    sa.Column('incident_id', sa.Text(), nullable=False),
    sa.Column('asked_by', sa.Text(), nullable=False),
    sa.Column('why', sa.Text(), nullable=False),
    sa.Column('due_at', sa.BigInteger(), nullable=True),
    sa.Column('verified_at', sa.BigInteger(), nullable=True),
    sa.PrimaryKeyConstraint('target', name=op.f('pk_latches'))
    )
    op.create_table('latch_causes',
    sa.Column('target', sa.Text(), nullable=False),
    sa.Column('incident_id', sa.Text(), nullable=False),
    sa.Column('action', sa.Text(), nullable=False),
    sa.Column('at', sa.BigInteger(), nullable=False),
    sa.Column('clear_since', sa.BigInteger(), nullable=True),
    sa.PrimaryKeyConstraint('target', 'incident_id', name=op.f('pk_latch_causes'))
    )
    op.create_table('looks',
    sa.Column('source', sa.Text(), nullable=False),
    sa.Column('at', sa.BigInteger(), nullable=False),
    sa.PrimaryKeyConstraint('source', name=op.f('pk_looks'))
    )
    op.create_table('permits',
    sa.Column('target', sa.Text(), nullable=False),
    sa.Column('sequence', sa.BigInteger(), nullable=False),
    sa.Column('asked_at', sa.BigInteger(), nullable=False),
    sa.PrimaryKeyConstraint('target', name=op.f('pk_permits'))
    )


def people() -> None:
    op.create_table('votes',
    sa.Column('id', ROW_ID, autoincrement=True, nullable=False),
    sa.Column('subject', sa.Text(), nullable=False),
    sa.Column('person', sa.Text(), nullable=False),
    sa.Column('account', sa.Text(), nullable=False),
    sa.Column('via', sa.Text(), nullable=False),
    sa.Column('verdict', sa.Text(), nullable=False),
    sa.Column('at', sa.BigInteger(), nullable=False),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_votes')),
    sa.UniqueConstraint('subject', 'person', name=op.f('uq_votes_subject_person'))
    )
    op.create_table('freezes',
    sa.Column('id', ROW_ID, autoincrement=True, nullable=False),
    sa.Column('scope', sa.Text(), nullable=False),
    sa.Column('by', sa.Text(), nullable=False),
    sa.Column('account', sa.Text(), nullable=False),
    sa.Column('why', sa.Text(), nullable=False),
    sa.Column('at', sa.BigInteger(), nullable=False),
    sa.Column('lifted_at', sa.BigInteger(), nullable=True),
    sa.Column('lifted_by', sa.Text(), nullable=False),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_freezes'))
    )
    op.create_index('uq_freezes_standing', 'freezes', ['scope'], unique=True, sqlite_where=STANDING, postgresql_where=STANDING)


def downgrade() -> None:
    for table in ('freezes', 'votes', 'permits', 'looks', 'latch_causes', 'latches'):
        op.drop_table(table)
    op.drop_index('ix_action_runs_action_started_at', 'action_runs')
    op.drop_index('ix_action_runs_due', 'action_runs')
    with op.batch_alter_table('action_runs', schema=None) as batch_op:
        batch_op.drop_constraint(op.f(ONCE_A_ROUND), type_='unique')
        batch_op.create_unique_constraint(op.f(ONCE), COLUMNS)
        for column in ('asked_by', 'alert', 'rules_version', 'mode', 'round'):
            batch_op.drop_column(column)
    op.create_index('ix_action_runs_due', 'action_runs', ['due_at'], unique=False, sqlite_where=DUE, postgresql_where=DUE)
