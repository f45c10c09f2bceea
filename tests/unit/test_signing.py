"""Signatures are those of the Standard Webhooks specification, byte for byte."""

from __future__ import annotations

import base64
from datetime import UTC, datetime

import pytest

from alerthub.signing import read_key, signed_headers

# The example that the specification's own libraries are tested with.
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
MESSAGE, AT, BODY = "msg_p5jXN8AQM9LWM0D4loKWxJek", datetime.fromtimestamp(1614265330, UTC), b'{"test": 2432232314}'
SIGNATURE = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_the_published_example_gives_the_published_signature() -> None:
    assert signed_headers(read_key(SECRET), MESSAGE, AT, BODY) == {
        "webhook-id": MESSAGE, "webhook-timestamp": "1614265330", "webhook-signature": SIGNATURE}


@pytest.mark.parametrize(("message", "at", "body"), [
    (MESSAGE + "x", AT, BODY), (MESSAGE, datetime.fromtimestamp(1614265331, UTC), BODY), (MESSAGE, AT, BODY + b" "),
])
def test_the_signature_covers_id_time_and_body(message: str, at: datetime, body: bytes) -> None:
    assert signed_headers(read_key(SECRET), message, at, body)["webhook-signature"] != SIGNATURE


def test_the_time_is_whole_seconds() -> None:
    at = datetime(2026, 11, 21, 12, 0, 0, 999_999, tzinfo=UTC)
    assert signed_headers(read_key(SECRET), MESSAGE, at, b"")["webhook-timestamp"] == str(int(at.timestamp()))


def test_an_id_with_a_dot_is_refused() -> None:
    with pytest.raises(ValueError, match="dot"):
        signed_headers(read_key(SECRET), "a.b", AT, BODY)


def test_a_secret_without_its_prefix_is_refused() -> None:
    """It may be anything; the prefix says that it is meant for this."""
    with pytest.raises(ValueError, match="whsec_"):
        read_key(SECRET.removeprefix("whsec_"))


@pytest.mark.parametrize(("size", "is_right"), [
    (0, False), (23, False), (24, True), (25, True), (63, True), (64, True), (65, False),
])
def test_a_key_has_24_to_64_bytes(size: int, is_right: bool) -> None:
    secret = "whsec_" + base64.b64encode(b"k" * size).decode()
    if is_right:
        assert read_key(secret) == b"k" * size
    else:
        with pytest.raises(ValueError, match="24 to 64"):
            read_key(secret)


@pytest.mark.parametrize("secret", ["whsec_%%%%", "whsec_QUJD=", "whsec_ünïcode", "S3CRET with blanks in it!"])
def test_what_is_not_base64_is_refused_without_showing_it(secret: str) -> None:
    with pytest.raises(ValueError, match="openssl") as caught:
        read_key(secret)
    assert secret not in str(caught.value)
    assert caught.value.__cause__ is None
