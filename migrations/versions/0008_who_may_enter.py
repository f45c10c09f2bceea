"""who may enter: accounts of people, their sessions and tokens, one-time links, and how often somebody has guessed wrong"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = '0008'
down_revision = '0007'
branch_labels = None
depends_on = None

ROW = sa.BigInteger().with_variant(sa.Integer(), 'sqlite')


def upgrade() -> None:
    op.create_table(
        'accounts',
        sa.Column('name', sa.Text(), nullable=False), sa.Column('role', sa.Text(), nullable=False),
        sa.Column('password', sa.Text(), nullable=False), sa.Column('subject', sa.Text(), nullable=False),
        sa.Column('created_at', sa.BigInteger(), nullable=False), sa.Column('created_by', sa.Text(), nullable=False),
        sa.Column('disabled_at', sa.BigInteger(), nullable=True), sa.Column('entered_at', sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint('name', name='pk_accounts'))
    op.create_table(
        'sessions',
        sa.Column('id_sha256', sa.Text(), nullable=False), sa.Column('account', sa.Text(), nullable=False),
        sa.Column('via', sa.Text(), nullable=False), sa.Column('proof', sa.Text(), nullable=False),
        sa.Column('created_at', sa.BigInteger(), nullable=False), sa.Column('seen_at', sa.BigInteger(), nullable=False),
        sa.Column('ends_at', sa.BigInteger(), nullable=False), sa.Column('agent', sa.Text(), nullable=False),
        sa.Column('address', sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint('id_sha256', name='pk_sessions'))
    op.create_index('ix_sessions_account', 'sessions', ['account', 'seen_at'], unique=False)
    op.create_index('ix_sessions_ends_at', 'sessions', ['ends_at'], unique=False)
    op.create_table(
        'tokens',
        sa.Column('id', ROW, autoincrement=True, nullable=False), sa.Column('token_sha256', sa.Text(), nullable=False),
        sa.Column('owner', sa.Text(), nullable=False), sa.Column('name', sa.Text(), nullable=False),
        sa.Column('scope', sa.Text(), nullable=False), sa.Column('created_at', sa.BigInteger(), nullable=False),
        sa.Column('created_by', sa.Text(), nullable=False), sa.Column('expires_at', sa.BigInteger(), nullable=False),
        sa.Column('used_at', sa.BigInteger(), nullable=True), sa.Column('revoked_at', sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint('id', name='pk_tokens'),
        sa.UniqueConstraint('token_sha256', name='uq_tokens_token_sha256'), sqlite_autoincrement=True)
    op.create_index('ix_tokens_owner', 'tokens', ['owner', 'id'], unique=False)
    op.create_index('ix_tokens_expires_at', 'tokens', ['expires_at'], unique=False)
    op.create_table(
        'access_links',
        sa.Column('code_sha256', sa.Text(), nullable=False), sa.Column('purpose', sa.Text(), nullable=False),
        sa.Column('account', sa.Text(), nullable=False), sa.Column('expires_at', sa.BigInteger(), nullable=False),
        sa.Column('created_by', sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint('code_sha256', name='pk_access_links'))
    op.create_index('ix_access_links_expires_at', 'access_links', ['expires_at'], unique=False)
    op.create_table(
        'login_attempts',
        sa.Column('key', sa.Text(), nullable=False), sa.Column('failures', sa.Integer(), nullable=False),
        sa.Column('last_at', sa.BigInteger(), nullable=False), sa.Column('free_at', sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint('key', name='pk_login_attempts'))
    op.create_index('ix_login_attempts_last_at', 'login_attempts', ['last_at'], unique=False)
    op.create_table(
        'access_events',
        sa.Column('id', ROW, autoincrement=True, nullable=False), sa.Column('at', sa.BigInteger(), nullable=False),
        sa.Column('kind', sa.Text(), nullable=False), sa.Column('account', sa.Text(), nullable=False),
        sa.Column('by', sa.Text(), nullable=False), sa.Column('address', sa.Text(), nullable=False),
        sa.Column('detail', sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint('id', name='pk_access_events'), sqlite_autoincrement=True)
    op.create_index('ix_access_events_at', 'access_events', ['at'], unique=False)


def downgrade() -> None:
    for table in ('access_events', 'login_attempts', 'access_links', 'tokens', 'sessions', 'accounts'):
        op.drop_table(table)
