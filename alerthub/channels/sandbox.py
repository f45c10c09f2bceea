"""Jinja2 made finite: what a template can reach, and how much work one rendering may cost.

Work is counted, never timed, so a template that is refused is refused on every machine. Jinja2's own sandbox bounds
neither CPU nor memory (PROTOCOLS 8). The language is cut in `sandbox_syntax`; filters and variables are not here.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from html import escape
from typing import Any, TypeAlias

from jinja2 import pass_context
from jinja2.exceptions import TemplateRuntimeError
from jinja2.runtime import ChainableUndefined, Context, LoopContext, StrictUndefined, Undefined
from jinja2.sandbox import ImmutableSandboxedEnvironment

ITERATIONS = 20_000         # of all loops and ranges of one rendering together
STEPS = 200_000             # parts of the template evaluated inside loops
CHARACTERS = 4_000_000      # read and made by filters and operators
TEXT = 64 * 1024            # of one text, and of the result
VALUE = 16 * 1024           # of one label or annotation; the rest is cut
ITEM = 16                   # characters that one item of a list counts for
WHOLE = 10**18              # numbers stay below: a power tower is memory too
SOURCE = 16 * 1024          # of the template itself

ALLOWANCE = "(allowance)"   # parentheses: a name that no template can spell
LOOP, COMPARED, SEARCHED, LITERAL, CONCAT, CUT = "(loop)", "(compared)", "(searched)", "(literal)", "(concat)", "(cut)"

SCALARS = (str, int, float, bool, type(None), Undefined)
Function: TypeAlias = Callable[..., Any]


class Exceeded(TemplateRuntimeError):
    """The template does more than one message is worth, or something that it may not do."""


@dataclass(slots=True)
class Allowance:
    """What is left for one rendering. Every method raises Exceeded when it is used up."""

    iterations: int = ITERATIONS
    steps: int = STEPS
    characters: int = CHARACTERS

    def loop(self, count: int, weight: int = 1) -> None:
        self.iterations -= count
        self.steps -= count * weight
        if self.iterations < 0 or self.steps < 0:
            raise Exceeded(f"the loops take more than {ITERATIONS} rounds or {STEPS} steps together")

    def spend(self, characters: int) -> None:
        self.characters -= characters
        if self.characters < 0:
            raise Exceeded(f"more than {CHARACTERS} characters of work")


class Record:
    """Named values of ours: a name that does not exist is a mistake in the template."""

    __slots__ = ("values",)

    def __init__(self, values: Mapping[str, Any]) -> None:
        self.values = values


class LabelSet:
    """Labels or annotations, read only. It has no method that a template could reach, so a label called `items`, `keys`,
    `get` or `values` gives its value. A label that does not exist is undefined: labels are data, not spelling."""

    __slots__ = ("pairs",)

    def __init__(self, pairs: Mapping[str, str]) -> None:
        self.pairs = pairs

    def __len__(self) -> int:
        return len(self.pairs)

    def value(self, name: str) -> str | Undefined:
        return self.pairs[name][:VALUE] if name in self.pairs else ChainableUndefined(name=name)

    def names(self) -> list[str]:
        return sorted(self.pairs)

    def items(self) -> list[tuple[str, str]]:
        return [(name, self.pairs[name][:VALUE]) for name in self.names()]


def size(value: Any) -> int:
    """Characters that touching all of a value may cost."""
    if isinstance(value, str):
        return len(value)
    if isinstance(value, list | tuple):
        return sum(size(item) + ITEM for item in value)
    if isinstance(value, LabelSet):
        return sum(len(name) + min(len(text), VALUE) + 1 for name, text in value.pairs.items())
    return 1


def checked(value: Any) -> Any:
    """The value, when it is small enough to go on with."""
    if isinstance(value, str) and len(value) > TEXT:
        raise Exceeded(f"a text of more than {TEXT} characters")
    if isinstance(value, list | tuple) and len(value) > ITERATIONS:
        raise Exceeded(f"a list of more than {ITERATIONS} items")
    if isinstance(value, int | float) and abs(value) > WHOLE:
        raise Exceeded("a number that is too large")
    return value


def bounded(function: Function, *, looks_inside: bool = False) -> Function:
    """A filter that pays for what it reads and makes, and whose result is small. One that `looks_inside` objects gets the
    allowance as its first argument, to pay for what it finds there."""

    @pass_context
    def paying(context: Context, *args: Any, **kwargs: Any) -> Any:
        allowance: Allowance = context.parent[ALLOWANCE]
        allowance.spend(sum(map(size, args)) + sum(map(size, kwargs.values())))
        result = checked(function(*((allowance, *args) if looks_inside else args), **kwargs))
        allowance.spend(size(result))
        return result

    return paying


@pass_context
def looped(context: Context, value: Any, weight: int) -> list[Any]:
    """What `for` goes over, paid for before the first round."""
    if isinstance(value, LabelSet):
        value = value.names()
    if isinstance(value, Undefined):
        value = list(value)         # a strict one raises here
    if not isinstance(value, list | tuple):
        raise Exceeded(f"a loop goes over a list, not over {kind(value)}")
    context.parent[ALLOWANCE].loop(len(value), weight)
    return list(value)


def ranged(*bounds: int) -> list[int]:
    numbers = range(*bounds)
    if numbers[ITERATIONS:]:
        raise Exceeded(f"a list of more than {ITERATIONS} items")
    return list(numbers)


def kind(value: Any) -> str:
    names = {str: "a text", LabelSet: "labels", Record: "an object", list: "a list", tuple: "a list", type(None): "nothing"}
    return names.get(type(value), "a number")


def compared(value: Any) -> Any:
    """Comparing nested lists can take for ever; texts and numbers cannot."""
    if not isinstance(value, SCALARS):
        raise Exceeded(f"{kind(value)} cannot be compared")
    return value


def searched(value: Any) -> Any:
    return value.names() if isinstance(value, LabelSet) else value


def literal(value: list[Any] | tuple[Any, ...]) -> list[Any] | tuple[Any, ...]:
    if not all(isinstance(item, SCALARS) for item in value):
        raise Exceeded("a list in a template holds texts and numbers only")
    return value


def written(value: Any) -> str:
    """A value as it is printed; lists have to be joined first."""
    if isinstance(value, LabelSet):
        return ", ".join(f"{name}={text}" for name, text in value.items())
    if value is None:
        return ""
    if not isinstance(value, SCALARS):
        raise Exceeded(f"{kind(value)} cannot be printed; name a field of it, or use join")
    return str(value)


def concatenated(values: list[Any]) -> str:
    return "".join(map(written, values))


def cut(value: Any, start: int | None, stop: int | None, step: int | None) -> Any:
    return value[start:stop:step] if isinstance(value, str | list | tuple) else ChainableUndefined(name="slice")


@pass_context
def printed(context: Context, value: Any) -> str:
    context.parent[ALLOWANCE].spend(size(value))
    return written(value)


@pass_context
def printed_as_html(context: Context, value: Any) -> str:
    return escape(printed(context, value))


INTERNAL: Mapping[str, Function] = {
    LOOP: looped, COMPARED: bounded(compared), SEARCHED: bounded(searched), LITERAL: bounded(literal),
    CONCAT: bounded(concatenated), CUT: bounded(cut), "range": bounded(ranged),
}
ARITHMETIC: Mapping[str, Function] = {
    "-": operator.sub, "/": operator.truediv, "//": operator.floordiv, "%": operator.mod, "+": operator.add, "*": operator.mul,
}
LOOP_FIELDS = frozenset({"index", "index0", "revindex", "revindex0", "first", "last", "length", "previtem", "nextitem"})
TESTS = ("defined", "undefined", "none", "string", "number", "true", "false", "odd", "even")


class BoundedEnvironment(ImmutableSandboxedEnvironment):
    """No attribute of a Python object can be reached, and nothing can be called: names lead to data only."""

    intercepted_binops = frozenset(("+", "-", "*", "/", "//", "%", "**"))

    def __init__(self, filters: Mapping[str, Function], *, strict: bool, html: bool) -> None:
        super().__init__(undefined=StrictUndefined if strict else ChainableUndefined, autoescape=False, optimized=False,
                         finalize=printed_as_html if html else printed, cache_size=0)
        self.tests = {name: self.tests[name] for name in TESTS}
        self.globals = {}
        self.filters = {**filters, **INTERNAL}

    def getattr(self, obj: Any, attribute: str) -> Any:
        if isinstance(obj, LabelSet):
            return obj.value(attribute)
        if isinstance(obj, Record) and attribute in obj.values:
            value = obj.values[attribute]
            return value[:VALUE] if isinstance(value, str) else value
        if isinstance(obj, LoopContext) and attribute in LOOP_FIELDS:
            return getattr(obj, attribute)
        if isinstance(obj, Undefined):
            return obj          # a strict one speaks up when it is printed
        return self.undefined(f"there is no {attribute!r} here", name=attribute)

    def getitem(self, obj: Any, argument: Any) -> Any:
        if isinstance(obj, str | list | tuple) and isinstance(argument, int):
            return obj[argument] if -len(obj) <= argument < len(obj) else ChainableUndefined(name="item")
        return self.getattr(obj, str(argument)) if isinstance(argument, str) else self.undefined(name="item")

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        texts = isinstance(left, str) + isinstance(right, str)
        if texts == 2 and operator == "+":
            return bounded(concatenated)(context, [left, right])
        if texts == 1 and operator == "*":
            return repeated(context, *((left, right) if isinstance(left, str) else (right, left)))
        if texts or not all(isinstance(value, int | float) for value in (left, right)):
            raise Exceeded(f"{kind(left)} {operator} {kind(right)} has no meaning")
        return checked(ARITHMETIC[operator](checked(left), checked(right)))

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        return False

    def is_safe_callable(self, obj: Any) -> bool:
        return False


def repeated(context: Context, text: str, times: Any) -> str:
    if not isinstance(times, int) or len(text) * times > TEXT:
        raise Exceeded(f"a text of more than {TEXT} characters")
    context.parent[ALLOWANCE].spend(len(text) * max(0, times))
    return text * times
