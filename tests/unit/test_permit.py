"""The permit on the hub's side: one reading of what is signed, and signatures that others can check."""

from __future__ import annotations

import base64
import hashlib
import hmac
from datetime import UTC, datetime, timedelta, timezone

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from alerthub.domain.permit import Lease, Mode, lease, signed, signing_text

NOW = datetime(2026, 11, 21, 12, 0, 0, 5, tzinfo=UTC)
KEY = bytes(range(32))
TTL = timedelta(seconds=15)


def test_what_is_sent_is_exactly_this() -> None:
    text = (b"alerthub-permit-v1\nagent-btc\narmed\n2026-11-21T12:00:00.000005Z\n2026-11-21T12:00:15.000005Z\n7")
    signature = base64.b64encode(hmac.new(KEY, text, hashlib.sha256).digest()).decode()
    assert signed(lease("agent-btc", Mode.armed, NOW, TTL, 7), KEY) == {
        "target": "agent-btc", "mode": "armed", "issued_at": "2026-11-21T12:00:00.000005Z",
        "expires_at": "2026-11-21T12:00:15.000005Z", "sequence": 7, "signature": f"v1,{signature}"}


def test_a_private_key_signs_for_whoever_has_the_public_one() -> None:
    private = Ed25519PrivateKey.generate()
    given_ = lease("agent-btc", Mode.safe, NOW, TTL, 0)
    scheme, _, signature = str(signed(given_, private)["signature"]).partition(",")
    assert scheme == "v1a"
    private.public_key().verify(base64.b64decode(signature), signing_text(given_))


@pytest.mark.parametrize(("target", "ttl", "sequence", "word"), [
    ("a", timedelta(0), 1, "longer"), ("a", timedelta(seconds=-1), 1, "longer"), ("a", TTL, -1, "sequence"),
    ("", TTL, 1, "name"), ("two\nlines", TTL, 1, "name"), ("a\r", TTL, 1, "name"),
])
def test_a_lease_that_no_agent_would_take_is_not_made(target: str, ttl: timedelta, sequence: int, word: str) -> None:
    with pytest.raises(ValueError, match=word):
        lease(target, Mode.armed, NOW, ttl, sequence)


def test_times_are_told_in_utc_whatever_they_are_given_in() -> None:
    istanbul = timezone(timedelta(hours=3))
    there, here = (lease("a", Mode.armed, now, TTL, 1) for now in (NOW.astimezone(istanbul), NOW))
    assert signing_text(there) == signing_text(here)


leases = st.builds(
    lambda target, mode, at, ttl, sequence: lease(target, mode, NOW + at, ttl, sequence),
    st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), min_size=1, max_size=5), st.sampled_from(Mode),
    st.timedeltas(timedelta(0), timedelta(seconds=2)), st.timedeltas(timedelta(microseconds=1), timedelta(seconds=2)),
    st.integers(0, 3))


@given(leases, leases)
def test_two_leases_are_signed_alike_only_when_they_are_one(one: Lease, other: Lease) -> None:
    assert (signing_text(one) == signing_text(other)) == (one == other)
