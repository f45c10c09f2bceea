"""Standard Webhooks signatures on what goes out, to targets and to receivers (PROTOCOLS 6.4). Checking them is their part."""

from __future__ import annotations

import binascii
import hashlib
import hmac
from base64 import b64decode, b64encode
from datetime import datetime

PREFIX = "whsec_"
KEY_BYTES = range(24, 65)


def read_key(secret: str) -> bytes:
    """The key of `whsec_…`. Raises ValueError, without the secret in it, for what receivers' libraries would refuse."""
    try:
        key = b64decode(secret.removeprefix(PREFIX), validate=True) if secret.startswith(PREFIX) else None
    except (binascii.Error, ValueError):
        key = None
    if key is None:
        raise ValueError('a signing secret is whsec_ followed by base64; make one: echo "whsec_$(openssl rand -base64 32)"')
    if len(key) not in KEY_BYTES:
        raise ValueError(f"a signing secret has 24 to 64 bytes, this one {len(key)}; make one: openssl rand -base64 32")
    return key


def signed_headers(key: bytes, message_id: str, at: datetime, body: bytes) -> dict[str, str]:
    """The three headers. `message_id` stays the same over retries; `at` is the time of this attempt.

    Raises ValueError for an id with a dot: the signed text is `id.timestamp.body`, which must have one reading only.
    """
    if "." in message_id:
        raise ValueError("the id of a webhook has no dot")
    timestamp = str(int(at.timestamp()))
    signature = hmac.digest(key, f"{message_id}.{timestamp}.".encode() + body, hashlib.sha256)
    return {
        "webhook-id": message_id,
        "webhook-timestamp": timestamp,
        "webhook-signature": f"v1,{b64encode(signature).decode()}",
    }
