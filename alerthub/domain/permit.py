"""The permit, on the hub's side: a short signed lease that says whether an agent may act. The agent's side is alerthub/permit.py,
which stands alone and is tested against this one."""

from __future__ import annotations

import hashlib
import hmac
from base64 import b64encode
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Protocol

VERSION = "alerthub-permit-v1"      # the first line of what is signed: a signature of anything else is none of a permit
HMAC_SHA256, ED25519 = "v1", "v1a"  # as Standard Webhooks calls them


class Mode(StrEnum):
    armed = "armed"     # the agent may act, until the lease ends
    safe = "safe"


class Signer(Protocol):
    """An Ed25519 private key, as the library `cryptography` has it."""

    def sign(self, data: bytes, /) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Lease:
    """`sequence` grows with every lease of a target, whichever replica gives it: an older one is a replay."""

    target: str
    mode: Mode
    issued_at: datetime
    expires_at: datetime
    sequence: int


def lease(target: str, mode: Mode, now: datetime, ttl: timedelta, sequence: int) -> Lease:
    """Raises ValueError for a lease that no agent would take."""
    if ttl <= timedelta(0):
        raise ValueError("a lease lasts longer than 0")
    if sequence < 0:
        raise ValueError("the sequence of leases counts from 0")
    if not target or not target.isprintable():
        raise ValueError("a target's name is one line of text")
    return Lease(target, mode, now, now + ttl, sequence)


def stamp(moment: datetime) -> str:
    """2026-11-21T12:00:00.000000Z"""
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def signing_text(lease: Lease) -> bytes:
    """Six lines: the version, then the fields as the JSON says them. No field holds a line break, so it has one reading."""
    lines = (VERSION, lease.target, lease.mode.value, stamp(lease.issued_at), stamp(lease.expires_at), str(lease.sequence))
    return "\n".join(lines).encode()


def signed(lease: Lease, key: bytes | Signer) -> dict[str, str | int]:
    """What the agent is sent: the lease, and `v1,…` (HMAC-SHA256 with a shared key) or `v1a,…` (Ed25519) over its text."""
    text = signing_text(lease)
    if isinstance(key, bytes):
        scheme, signature = HMAC_SHA256, hmac.digest(key, text, hashlib.sha256)
    else:
        scheme, signature = ED25519, key.sign(text)
    return {
        "target": lease.target, "mode": lease.mode.value, "issued_at": stamp(lease.issued_at),
        "expires_at": stamp(lease.expires_at), "sequence": lease.sequence,
        "signature": f"{scheme},{b64encode(signature).decode()}",
    }
