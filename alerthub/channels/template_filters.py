"""The filters of message templates: the useful ones of Jinja2, each of which cannot make much out of little.

A filter that could (replace, join, repeat) looks before it makes. `sandbox.bounded` pays for what they read and return.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote

from jinja2.runtime import ChainableUndefined, Undefined

from alerthub.channels.sandbox import (
    SCALARS,
    TEXT,
    Allowance,
    Exceeded,
    Function,
    LabelSet,
    Record,
    bounded,
    compared,
    kind,
    size,
    written,
)
from alerthub.domain.wording import clip


def text(value: Any) -> str:
    return written(value)


def many(value: Any) -> list[Any]:
    """The items of a list, or the names of labels."""
    if isinstance(value, LabelSet):
        return list(value.names())
    if isinstance(value, list | tuple | Undefined):
        return list(value)
    raise Exceeded(f"a list is wanted, not {kind(value)}")


def field(allowance: Allowance, item: Any, name: str) -> Any:
    """`status`, or `labels.agent`, of one item; the item itself without a name."""
    for part in name.split(".") if name else ():
        if isinstance(item, LabelSet):
            item = item.value(part)
        elif isinstance(item, Record) and part in item.values:
            item = item.values[part]
        else:
            raise Exceeded(f"there is no field {part!r}")
    allowance.spend(size(item))
    return item


def default(value: Any, other: Any = "", boolean: bool = False) -> Any:
    return other if isinstance(value, Undefined) or (boolean and not value) else value


def replace(value: Any, old: str, new: str) -> str:
    source = text(value)
    if not old:
        raise Exceeded("replace wants something to look for")
    if len(source) + source.count(old) * (len(new) - len(old)) > TEXT:
        raise Exceeded(f"a text of more than {TEXT} characters")
    return source.replace(old, new)


def join(allowance: Allowance, value: Any, separator: str = "", attribute: str = "") -> str:
    parts = [written(field(allowance, item, attribute)) for item in many(value)]
    if sum(map(len, parts)) + max(0, len(parts) - 1) * len(separator) > TEXT:
        raise Exceeded(f"a text of more than {TEXT} characters")
    return separator.join(parts)


def strip(value: Any, characters: str | None = None) -> str:
    """Few characters only: Python looks through all of them for every character of the text."""
    return scalar(value).strip(characters[:64] if characters is not None else None)


def truncate(value: Any, length: int = 255, end: str = "…") -> str:
    return clip(text(value), max(0, int(length)), end)


def split(value: Any, separator: str | None = None) -> list[str]:
    return text(value).split(separator)


def first(value: Any) -> Any:
    return next(iter(items_or_text(value)), "")


def last(value: Any) -> Any:
    return next(reversed(items_or_text(value)), "")


def items_or_text(value: Any) -> list[Any] | str:
    return value if isinstance(value, str) else many(value)


def length(value: Any) -> int:
    return len(items_or_text(value))


def ordered(allowance: Allowance, value: Any, reverse: bool = False, attribute: str = "") -> list[Any]:
    """Sorted as texts, without regard to case: labels are texts, and a mixture must not fail."""
    def key(item: Any) -> str:
        return written(compared(field(allowance, item, attribute))).casefold()

    return sorted(many(value), key=key, reverse=bool(reverse))


def unique(value: Any) -> list[Any]:
    return list(dict.fromkeys(map(compared, many(value))))


def items(value: Any) -> list[tuple[str, str]]:
    if isinstance(value, LabelSet):
        return value.items()
    if isinstance(value, Undefined):
        return []
    raise Exceeded(f"items wants labels or annotations, not {kind(value)}")


def get(value: Any, name: str, other: Any = "") -> Any:
    if not isinstance(value, LabelSet):
        raise Exceeded(f"get wants labels or annotations, not {kind(value)}")
    return default(value.value(name), other)


def mapped(allowance: Allowance, value: Any, attribute: str) -> list[Any]:
    return [field(allowance, item, attribute) for item in many(value)]


def predicate(test: str, wanted: Any) -> Callable[[Any], bool]:
    """What `selectattr` and `rejectattr` ask of the field of each item."""
    if not test:
        return bool
    if test in ("==", "eq", "equalto"):
        return lambda found: bool(compared(found) == compared(wanted))
    if test in ("!=", "ne"):
        return lambda found: bool(compared(found) != compared(wanted))
    if test == "in":
        chosen = frozenset(many(wanted))
        return lambda found: compared(found) in chosen
    raise Exceeded(f"there is no test {test!r} to select by; there are equalto, ne and in")


def select(allowance: Allowance, value: Any, attribute: str, test: str = "", wanted: Any = None) -> list[Any]:
    holds = predicate(test, wanted)
    return [item for item in many(value) if holds(field(allowance, item, attribute))]


def reject(allowance: Allowance, value: Any, attribute: str, test: str = "", wanted: Any = None) -> list[Any]:
    holds = predicate(test, wanted)
    return [item for item in many(value) if not holds(field(allowance, item, attribute))]


def to_float(value: Any, other: float = 0.0) -> float:
    """A label that is missing or is no number gives `other`; so do not depend on it for a decision."""
    try:
        return other if isinstance(value, ChainableUndefined) else float(value)
    except (ValueError, TypeError):
        return other


def to_int(value: Any, other: int = 0) -> int:
    if isinstance(value, ChainableUndefined):
        return other
    try:
        return int(float(value)) if isinstance(value, str) and not value.strip().isdigit() else int(value)
    except (ValueError, TypeError, OverflowError):
        return other


def rounded(value: Any, digits: int = 0) -> float:
    if not -9 <= digits <= 9:
        raise Exceeded("round takes at most 9 digits")
    return round(float(value), digits)


def absolute(value: Any) -> Any:
    if not isinstance(value, int | float):
        raise Exceeded(f"abs wants a number, not {kind(value)}")
    return abs(value)


def backwards(value: Any) -> Any:
    return value[::-1] if isinstance(value, str) else many(value)[::-1]


def url_part(value: Any) -> str:
    """For a value inside an address: `?q={{ labels.agent | urlencode }}`."""
    return quote(clip(text(value), TEXT // 12, ""), safe="", errors="replace")


def scalar(value: Any) -> str:
    if not isinstance(value, SCALARS):
        raise Exceeded(f"{kind(value)} is not a text")
    return text(value)


PLAIN: Mapping[str, Function] = {
    "upper": lambda value: scalar(value).upper(), "lower": lambda value: scalar(value).lower(),
    "title": lambda value: scalar(value).title(), "capitalize": lambda value: scalar(value).capitalize(),
    "strip": strip, "trim": strip,
    "startswith": lambda value, prefix: scalar(value).startswith(prefix),
    "endswith": lambda value, suffix: scalar(value).endswith(suffix),
    "string": scalar, "default": default, "d": default, "replace": replace, "truncate": truncate, "split": split,
    "first": first, "last": last, "length": length, "count": length, "list": many, "unique": unique, "reverse": backwards,
    "items": items, "dictsort": items, "get": get,
    "float": to_float, "int": to_int, "round": rounded, "abs": absolute, "urlencode": url_part,
}
LOOKING_INSIDE: Mapping[str, Function] = {
    "join": join, "sort": ordered, "map": mapped, "selectattr": select, "rejectattr": reject,
}
FILTERS: Mapping[str, Function] = {
    **{name: bounded(function) for name, function in PLAIN.items()},
    **{name: bounded(function, looks_inside=True) for name, function in LOOKING_INSIDE.items()},
}
