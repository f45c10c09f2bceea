"""Calls out: which addresses can be called, what is taken of an answer, how long a Retry-After asks to wait."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import suppress

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerthub.outbound import NO_ANSWER, client, is_address, json_object, read_capped, retry_after
from tests.kit.clock import START


@pytest.mark.parametrize(("url", "usable"), [
    ("http://a", True), ("https://a.example:8443/b?c=d", True), ("http://[::1]:80/", True), ("http://127.0.0.1", True),
    ("", False), ("a", False), ("//a", False), ("ftp://a", False), ("http://", False), ("http:///x", False),
    ("http://a:0", False), ("http://a:99999", False), ("http://a:x", False), ("http://[::1", False), ("http://a b", False),
    ("http://a/\n", False), ("http://a/\u00a0", False), ("http://a/\x00", False),
])
def test_an_address_can_be_called_or_not(url: str, usable: bool) -> None:
    assert is_address(url) is usable


@given(st.text())
def test_no_text_breaks_what_reads_it(text: str) -> None:
    assert is_address(text) in (True, False)
    asked = retry_after(text, START)
    assert asked is None or asked >= 0
    assert isinstance(json_object(text.encode("utf-8", "surrogatepass")), dict)


@pytest.mark.parametrize(("body", "value"), [
    (b'{"a": 1}', {"a": 1}), (b"[1]", {}), (b"", {}), (b"\xff", {}), (b"[" * 100_000, {}), (b"null", {}), (b'{"a"', {}),
])
def test_a_body_is_an_object_or_nothing(body: bytes, value: dict[str, int]) -> None:
    assert json_object(body) == value


@pytest.mark.anyio
@pytest.mark.parametrize(("encoding", "chunks", "taken"), [
    ("", [b"abc"], b"abc"), ("identity", [b"abc", b"def"], b"abcdef"), ("IDENTITY", [b"abcdef", b"ghij"], b"abcdefgh"),
    ("", [b"abcdefgh", b"never"], b"abcdefgh"), ("gzip", [b"abc"], b""), ("br", [b"abc"], b""),
])
async def test_of_an_answer_only_so_much_is_read_and_nothing_unpacked(encoding: str, chunks: list[bytes], taken: bytes) -> None:
    seen: list[bytes] = []

    async def stream() -> AsyncIterator[bytes]:
        for chunk in chunks:
            seen.append(chunk)
            yield chunk

    headers = {"content-encoding": encoding} if encoding else {}
    body = bytearray()
    await read_capped(httpx.Response(200, headers=headers, content=stream()), 8, body)
    assert bytes(body) == taken
    assert b"never" not in seen


@pytest.mark.parametrize(("word", "seconds"), [("7", 7.0), ("1.5", 1.5), ("9" * 9, 999_999_999.0), ("9" * 10, float("inf")),
                                               ("soon", None), (None, None), ("-1", None), ("٣", None)])
def test_a_wait_is_seconds_without_a_limit_of_ours(word: str | None, seconds: float | None) -> None:
    assert retry_after(word, START) == seconds


@pytest.mark.anyio
@pytest.mark.parametrize("where", [
    "http://b/", "/b", "", "about:blank", "javascript:alert(1)", "http://h:x/", "::::", "//\x00", "http://[", "http://xn--\x80/",
    "http://b/" + "x" * 70_000,
])
async def test_a_redirect_is_an_answer_wherever_it_leads(where: str) -> None:
    transport = httpx.MockTransport(lambda request: httpx.Response(302, headers={"location": where.encode("latin-1")}))
    async with client(transport=transport) as http, http.stream("GET", "http://a/") as response:
        assert response.status_code == 302
        assert response.next_request is None
    async with httpx.AsyncClient(transport=transport) as bare:
        with suppress(NO_ANSWER):       # another client may stumble over it, but in a way that callers know
            assert (await bare.get("http://a/")).status_code == 302


@pytest.mark.anyio
async def test_the_session_of_one_target_is_not_another_s_at_the_same_host() -> None:
    sent: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        sent.append(request.headers.get("cookie", ""))
        return httpx.Response(200, headers={"set-cookie": "session=of-the-first; Path=/"})

    async with client(transport=httpx.MockTransport(answer)) as http:
        await http.get("http://a.example/")
        await http.get("http://a.example/")
    assert sent == ["", ""]
