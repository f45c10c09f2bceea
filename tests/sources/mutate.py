"""Bodies gone wrong: real payloads with keys cut, values swapped, bytes flipped. For hypothesis; it shrinks to the culprit."""

from __future__ import annotations

import json
from copy import deepcopy
from typing import Any

from hypothesis import strategies as st

DEEP: list[Any] = []
for _ in range(150):
    DEEP = [DEEP]

ODD: list[Any] = [
    None, True, False, 0, -1, 1.5, 4, 10**18, 10**400, -(10**4000), 1e308, "", " ", "4", "1", "firing", "resolved",
    "FIRING", [], {}, [None], [[]], {"": ""}, {"a": None}, {"a": {"b": []}}, DEEP, "x" * 20_000, "\x00", "a\x01\r\n\tb",
    "\ud800", "\udfff\ud800", "\U0001f525", "0001-01-01T00:00:00Z", "0001-01-01T00:00:00+14:00",
    "9999-12-31T23:59:59.999999999-14:00", "10000-01-01T00:00:00Z", "2026-02-30T00:00:00Z", "2026-11-20T15:15:60Z",
    "2026-11-20T15:15:36.123456789Z", "2026-11-20", "1763651736", 1763651736, 1763651736.5, "٢٠٢٦-11-20T15:15:36Z",
    "javascript:alert(1)", "http://", "http:///x", "https://ok.example/\n", "\\", "a\\.b\\",
]
RAW = [b"NaN", b"-Infinity", b"1e999", b'"\\ud800"', b'"\\u0000"', b"\x00", b"\xff", b"\xed\xa0\x80", b"\\", b'"', b"[",
       b"{", b"}", b",", b"9" * 5000, b"[" * 300, b"\xef\xbb\xbf", b'"alerts":1,', b"/**/"]


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path of everything in a JSON value but the value itself."""
    items: list[tuple[Any, Any]] = []
    if isinstance(value, dict):
        items = list(value.items())
    elif isinstance(value, list):
        items = list(enumerate(value))
    found: list[tuple[Any, ...]] = []
    for key, item in items:
        found += [(*path, key), *places(item, (*path, key))]
    return found


def parent_of(value: Any, path: tuple[Any, ...]) -> Any:
    for key in path[:-1]:
        value = value[key]
    return value


@st.composite
def mutated(draw: st.DrawFn, bodies: list[bytes]) -> bytes:
    """One of the bodies after up to three changes of its values, then perhaps one of its bytes."""
    value = json.loads(draw(st.sampled_from(bodies)))
    for _ in range(draw(st.integers(0, 3))):
        paths = [path for path in places(value) if len(path) < 8]
        if not paths:
            break
        path = draw(st.sampled_from(paths))
        parent, change = parent_of(value, path), draw(st.sampled_from(["cut", "swap", "rename", "double"]))
        if change == "cut":
            del parent[path[-1]]
        elif change == "swap":
            parent[path[-1]] = deepcopy(draw(st.sampled_from(ODD)))     # a later change may be made inside it
        elif change == "rename" and isinstance(parent, dict):
            parent[draw(st.sampled_from(["", "\x00", "\ud800", "__proto__", "k" * 5000]))] = parent.pop(path[-1])
        elif isinstance(parent, list):
            parent.append(deepcopy(parent[path[-1]]))
    body = json.dumps(value, ensure_ascii=draw(st.booleans())).encode("utf-8", "surrogatepass")
    return draw(spoiled(body)) if draw(st.booleans()) else body


@st.composite
def spoiled(draw: st.DrawFn, body: bytes) -> bytes:
    at = draw(st.integers(0, max(0, len(body) - 1)))
    length = draw(st.sampled_from([0, 1, 2, 50]))
    return body[:at] + draw(st.sampled_from([*RAW, b""])) + body[at + length:]
