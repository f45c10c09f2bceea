"""The tables of who may enter: accounts, sessions, tokens, one-time links, wrong guesses, and what happened at the door. Of every
secret only a hash is kept. Part of schema.py."""

from __future__ import annotations

from sqlalchemy import Column, Index, Integer, Table, Text, UniqueConstraint

from alerthub.store.columns import Instant, RowId, metadata

# Who logs in by themselves. `role` is empty for whom the configuration names: there it counts. `password` is the argon2id hash,
# empty for none; `subject` who they are at the provider of OpenID Connect, empty for nobody.
accounts = Table(
    "accounts", metadata,
    Column("name", Text, primary_key=True),
    Column("role", Text, nullable=False),
    Column("password", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("created_by", Text, nullable=False),
    Column("disabled_at", Instant),
    Column("entered_at", Instant),
)

# `via`: by password, oidc, token. `proof`: of a token that was given for it, its hash; when that token ends, the session does.
sessions = Table(
    "sessions", metadata,
    Column("id_sha256", Text, primary_key=True),
    Column("account", Text, nullable=False),
    Column("via", Text, nullable=False),
    Column("proof", Text, nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("seen_at", Instant, nullable=False),
    Column("ends_at", Instant, nullable=False),
    Column("agent", Text, nullable=False),
    Column("address", Text, nullable=False),
)
Index("ix_sessions_account", sessions.c.account, sessions.c.seen_at)
Index("ix_sessions_ends_at", sessions.c.ends_at)

# For programs. `owner` is a person, who it speaks as; empty for a service of that name, which is nobody.
tokens = Table(
    "tokens", metadata,
    Column("id", RowId, primary_key=True, autoincrement=True),
    Column("token_sha256", Text, nullable=False),
    Column("owner", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("scope", Text, nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("created_by", Text, nullable=False),
    Column("expires_at", Instant, nullable=False),
    Column("used_at", Instant),
    Column("revoked_at", Instant),
    UniqueConstraint("token_sha256"),
    sqlite_autoincrement=True,
)
Index("ix_tokens_owner", tokens.c.owner, tokens.c.id)
Index("ix_tokens_expires_at", tokens.c.expires_at)

# By which somebody sets a password, once: the first admin (`setup`), or who was invited.
access_links = Table(
    "access_links", metadata,
    Column("code_sha256", Text, primary_key=True),
    Column("purpose", Text, nullable=False),
    Column("account", Text, nullable=False),
    Column("expires_at", Instant, nullable=False),
    Column("created_by", Text, nullable=False),
)
Index("ix_access_links_expires_at", access_links.c.expires_at)

# How often was guessed wrong of late, by name, address and browser; shared by all replicas.
login_attempts = Table(
    "login_attempts", metadata,
    Column("key", Text, primary_key=True),
    Column("failures", Integer, nullable=False),
    Column("last_at", Instant, nullable=False),
    Column("free_at", Instant, nullable=False),
)
Index("ix_login_attempts_last_at", login_attempts.c.last_at)

access_events = Table(
    "access_events", metadata,
    Column("id", RowId, primary_key=True, autoincrement=True),
    Column("at", Instant, nullable=False),
    Column("kind", Text, nullable=False),
    Column("account", Text, nullable=False),
    Column("by", Text, nullable=False),
    Column("address", Text, nullable=False),
    Column("detail", Text, nullable=False),
    sqlite_autoincrement=True,
)
Index("ix_access_events_at", access_events.c.at)
