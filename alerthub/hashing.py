"""What is kept of a token, a code or a key that somebody shows: its SHA-256, never itself."""

from __future__ import annotations

from hashlib import sha256


def hashed(text: str) -> str:
    """In hexadecimal; also of what is no Unicode, since a stranger may send it. Of what is random and long enough a plain hash
    suffices, and looking it up takes the same time for all."""
    return sha256(text.encode("utf-8", "surrogateescape")).hexdigest()
