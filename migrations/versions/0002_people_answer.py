"""people answer: timers, silences, heartbeats, overrides, linked accounts"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = '0002'
down_revision = '0001'
branch_labels = None
depends_on = None

ROW_ID = sa.BigInteger().with_variant(sa.Integer(), 'sqlite')


def partial(where: str) -> dict[str, sa.TextClause]:
    return {"sqlite_where": sa.text(where), "postgresql_where": sa.text(where)}


def upgrade() -> None:
    # Only columns that an older hub need not know: it may run beside this one while replicas are replaced.
    op.add_column('incidents', sa.Column('acknowledged_at', sa.BigInteger(), nullable=True))
    op.add_column('incidents', sa.Column('silence_id', sa.Text(), server_default=sa.text("''"), nullable=False))
    op.add_column('incidents', sa.Column('flaps', sa.Integer(), server_default=sa.text('0'), nullable=False))
    op.add_column('lanes', sa.Column('urgent_at', sa.BigInteger(), nullable=True))
    op.create_index('ix_lanes_urgent_at', 'lanes', ['urgent_at'], **partial('urgent_at IS NOT NULL'))
    op.add_column('destinations', sa.Column('paused_until', sa.BigInteger(), nullable=True))
    answers()
    times()


def answers() -> None:
    op.create_table('heard',
    sa.Column('key', sa.Text(), nullable=False),
    sa.Column('at', sa.BigInteger(), nullable=False),
    sa.Column('outcome', sa.Text(), nullable=False),
    sa.Column('answer', sa.Text(), nullable=False),
    sa.PrimaryKeyConstraint('key', name=op.f('pk_heard'))
    )
    op.create_index('ix_heard_at', 'heard', ['at'])
    op.create_table('identities',
    sa.Column('account', sa.Text(), nullable=False),
    sa.Column('person', sa.Text(), nullable=False),
    sa.Column('linked_at', sa.BigInteger(), nullable=False),
    sa.PrimaryKeyConstraint('account', name=op.f('pk_identities'))
    )
    op.create_table('link_codes',
    sa.Column('code_sha256', sa.Text(), nullable=False),
    sa.Column('person', sa.Text(), nullable=False),
    sa.Column('expires_at', sa.BigInteger(), nullable=False),
    sa.PrimaryKeyConstraint('code_sha256', name=op.f('pk_link_codes'))
    )
    op.create_table('keys',
    sa.Column('name', sa.Text(), nullable=False),
    sa.Column('value', sa.LargeBinary(), nullable=False),
    sa.PrimaryKeyConstraint('name', name=op.f('pk_keys'))
    )


def times() -> None:
    op.create_table('timers',
    sa.Column('id', ROW_ID, autoincrement=True, nullable=False),
    sa.Column('incident_id', sa.Text(), nullable=False),
    sa.Column('kind', sa.Text(), nullable=False),
    sa.Column('name', sa.Text(), nullable=False),
    sa.Column('episode', sa.Integer(), nullable=False),
    sa.Column('step', sa.Integer(), nullable=False),
    sa.Column('round', sa.Integer(), nullable=False),
    sa.Column('state', sa.Text(), nullable=False),
    sa.Column('due_at', sa.BigInteger(), nullable=True),
    sa.ForeignKeyConstraint(['incident_id'], ['incidents.id'], name=op.f('fk_timers_incident_id'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_timers')),
    sa.UniqueConstraint('incident_id', 'kind', 'name', name=op.f('uq_timers_incident_id_kind_name'))
    )
    op.create_index('ix_timers_due_at', 'timers', ['due_at'], **partial('due_at IS NOT NULL'))
    op.create_table('silences',
    sa.Column('number', ROW_ID, autoincrement=True, nullable=False),
    sa.Column('id', sa.Text(), nullable=False),
    sa.Column('source', sa.Text(), nullable=False),
    sa.Column('remote_id', sa.Text(), nullable=False),
    sa.Column('matchers', sa.Text(), nullable=False),
    sa.Column('starts_at', sa.BigInteger(), nullable=False),
    sa.Column('ends_at', sa.BigInteger(), nullable=False),
    sa.Column('created_by', sa.Text(), nullable=False),
    sa.Column('comment', sa.Text(), nullable=False),
    sa.Column('created_at', sa.BigInteger(), nullable=False),
    sa.Column('mirrored', sa.Text(), nullable=False),
    sa.Column('due_at', sa.BigInteger(), nullable=True),
    sa.PrimaryKeyConstraint('number', name=op.f('pk_silences')),
    sa.UniqueConstraint('id', name=op.f('uq_silences_id')),
    sqlite_autoincrement=True
    )
    op.create_index('ix_silences_ends_at', 'silences', ['ends_at'])
    op.create_index('uq_silences_remote', 'silences', ['source', 'remote_id'], unique=True, **partial("remote_id <> ''"))
    op.create_index('ix_silences_due_at', 'silences', ['due_at'], **partial('due_at IS NOT NULL'))
    op.create_table('heartbeats',
    sa.Column('name', sa.Text(), nullable=False),
    sa.Column('state', sa.Text(), nullable=False),
    sa.Column('seen_at', sa.BigInteger(), nullable=True),
    sa.Column('due_at', sa.BigInteger(), nullable=True),
    sa.Column('since', sa.BigInteger(), nullable=False),
    sa.PrimaryKeyConstraint('name', name=op.f('pk_heartbeats'))
    )
    op.create_index('ix_heartbeats_due_at', 'heartbeats', ['due_at'], **partial('due_at IS NOT NULL'))
    op.create_table('overrides',
    sa.Column('id', ROW_ID, autoincrement=True, nullable=False),
    sa.Column('schedule', sa.Text(), nullable=False),
    sa.Column('person', sa.Text(), nullable=False),
    sa.Column('replaces', sa.Text(), nullable=False),
    sa.Column('starts_at', sa.BigInteger(), nullable=False),
    sa.Column('ends_at', sa.BigInteger(), nullable=False),
    sa.Column('created_by', sa.Text(), nullable=False),
    sa.Column('created_at', sa.BigInteger(), nullable=False),
    sa.Column('uid', sa.Text(), nullable=False),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_overrides'))
    )
    op.create_index('ix_overrides_schedule_ends_at', 'overrides', ['schedule', 'ends_at'])


def downgrade() -> None:
    for table in ('overrides', 'heartbeats', 'silences', 'timers', 'keys', 'link_codes', 'identities', 'heard'):
        op.drop_table(table)
    op.drop_index('ix_lanes_urgent_at', 'lanes')
    op.drop_column('destinations', 'paused_until')
    op.drop_column('lanes', 'urgent_at')
    for column in ('flaps', 'silence_id', 'acknowledged_at'):
        op.drop_column('incidents', column)
