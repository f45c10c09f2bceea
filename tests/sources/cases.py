"""Tables that every source is tried with: junk, hostile values, credentials right and wrong."""

from __future__ import annotations

from base64 import b64encode

TOKEN, OLD_TOKEN, PASSWORD = "right-token-1", "right-token-0", "pässwörd"
HOSTILE = ["<!channel>", "</b><script>alert(1)</script>", "two\nlines", "tab\there", "{{ 7*7 }}", "{0.__class__}", "%s%n",
           "' OR 1=1 --", '"quoted" \\ back\\u0000slash', "日本語 🔥", "\u202eabc", "\x7f", "x" * 10_240, "null", "true"]
JUNK = [
    b"", b" ", b"\x00", b"null", b"true", b"42", b'"alerts"', b"[]", b"{", b"{}x", b"{'a': 1}", b"alerts=1",
    b"\xff\xfe{\x00}\x00",
    b'{"alerts": NaN}', b'{"alerts": ' + b"[" * 100_000, b'{"alerts": ' + b"9" * 10_000 + b"}", b'{"alerts": "\xed\xa0\x80"}',
    b'{"alerts": [{"labels": {"alertname": "raw\x00control"}}]}', b"<xml/>", b"\x1f\x8b\x08\x00", b"{}",
]


def basic(text: str) -> str:
    return "Basic " + b64encode(text.encode()).decode()


BEARER = {"token": TOKEN, "token_previous": OLD_TOKEN}
LOGIN = {"username": "hub", "password": PASSWORD}
CREDENTIALS: list[tuple[dict[str, str], str | None, bool]] = [
    (BEARER, f"Bearer {TOKEN}", True),
    (BEARER, f"Bearer {OLD_TOKEN}", True),
    (BEARER, f"bEARER   {TOKEN} ", True),
    (BEARER, None, False),
    (BEARER, "", False),
    (BEARER, "Bearer", False),
    (BEARER, "Bearer ", False),
    (BEARER, TOKEN, False),
    (BEARER, f"Bearer {TOKEN}x", False),
    (BEARER, f"Bearer {TOKEN[:-1]}", False),
    (BEARER, f"Bearer {TOKEN.upper()}", False),
    (BEARER, f"Token {TOKEN}", False),
    (BEARER, f"Bearer\t{TOKEN}", False),
    (BEARER, "Bearer tökén", False),
    (BEARER, "Bearer \ud800", False),
    (BEARER, "Bearer \x00", False),
    (BEARER, f"Bearer {'x' * 200_000}", False),
    (BEARER, basic(f":{TOKEN}"), False),
    (LOGIN, basic(f"hub:{PASSWORD}"), True),
    (LOGIN, basic(f"hub:{PASSWORD}").replace("Basic", "BASIC"), True),
    (LOGIN, basic(f"hub:{PASSWORD}x"), False),
    (LOGIN, basic(f"Hub:{PASSWORD}"), False),
    (LOGIN, basic("hub"), False),
    (LOGIN, basic(""), False),
    (LOGIN, None, False),
    (LOGIN, "Basic !!!!", False),
    (LOGIN, "Basic aHVi=OnA=", False),
    (LOGIN, "Basic a", False),
    (LOGIN, "Basic ÄÖÜ=", False),
    (LOGIN, f"Bearer hub:{PASSWORD}", False),
    ({}, None, True),
    ({}, "Bearer whatever", True),
]
