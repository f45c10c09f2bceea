"""Pictures of numbers, as SVG that the server draws: bars in bands, one band for each kind, with its name and its sum in words.
Where things stand is computed here; colours are the style sheet's, and nothing is told by colour alone."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

WIDTH, LABEL, BARS, GAP, AXIS = 480, 20, 34, 12, 22


@dataclass(frozen=True, slots=True)
class Bar:
    x: float
    y: float
    width: float
    height: float
    words: str


@dataclass(frozen=True, slots=True)
class Band:
    """One kind. `base` is where its bars stand, `style` a class."""

    label: str
    style: str
    base: float
    bars: tuple[Bar, ...]


@dataclass(frozen=True, slots=True)
class Chart:
    """`ticks` are (x, words) below; `nights` (x, width) stretches that are marked."""

    id: str
    title: str
    words: str
    height: float
    bands: tuple[Band, ...]
    ticks: tuple[tuple[float, str], ...]
    nights: tuple[tuple[float, float], ...]


def chart(name: str, title: str, words: str, rows: Sequence[tuple[str, str, Sequence[int]]], columns: Sequence[str],
          ticks: Mapping[int, str], nights: Collection[int] = ()) -> Chart:
    """`rows`: (label, style, a number for each column). All bands have one scale, so that they can be compared."""
    step = WIDTH / max(1, len(columns))
    most = max((value for _, _, values in rows for value in values), default=0)
    bands = tuple(Band(label, style, base_of(place), tuple(bars(values, columns, step, base_of(place), most)))
                  for place, (label, style, values) in enumerate(rows))
    marked = tuple((start * step, (end - start) * step) for start, end in stretches(nights))
    return Chart(name, title, words, base_of(len(rows) - 1) + AXIS, bands,
                 tuple((index * step, text) for index, text in ticks.items()), marked)


def base_of(place: int) -> float:
    return (place + 1) * (LABEL + BARS) + place * GAP


def bars(values: Sequence[int], columns: Sequence[str], step: float, base: float, most: int) -> Iterator[Bar]:
    for index, value in enumerate(values):
        if value:
            height = round(max(2.0, BARS * value / most), 1)
            yield Bar(round(index * step, 1), round(base - height, 1), round(max(1.0, step - max(1.0, step / 5)), 1), height,
                      f"{columns[index]}: {value}")


def stretches(marked: Collection[int]) -> Iterator[tuple[int, int]]:
    """The numbers as runs: from the first up to, and without, the last."""
    start = None
    for index in range(max(marked, default=-1) + 2):
        if index in marked and start is None:
            start = index
        if index not in marked and start is not None:
            yield start, index
            start = None
