"""A service with metrics that a test sets: what Prometheus scrapes, in its text format."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from tests.kit.providers.http import Answer, FakeProvider, Request

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class FakeExporter(FakeProvider):
    """`set_all({'errors_total{job="api"}': 3})`: a series, as a query names it, and its value. Every path answers with all of
    them; while `is_down`, with 503."""

    def __init__(self, series: Mapping[str, float] | None = None) -> None:
        super().__init__(self._scraped)
        self.series: dict[str, float] = dict(series or {})
        self.past: list[str] = []
        self.is_down = False

    @property
    def address(self) -> str:
        """As Prometheus is told it."""
        return f"127.0.0.1:{self.port}"

    def set_all(self, series: Mapping[str, float]) -> None:
        """These from the next scrape on; others keep their value."""
        self.series = {**self.series, **series}

    def remember(self, series: str, value: float, moments: Iterable[float]) -> None:
        """What it was at these Unix times, told with the next scrape; Prometheus takes what is less than an hour old."""
        self.past += [f"{series} {value} {moment * 1000:.0f}\n" for moment in moments]

    def add_requests(self, name: str, seconds: float, count: int, buckets: tuple[float, ...] = (0.5, 1, 2.5, 5, 10),
                     **labels: str) -> None:
        """So many more requests of this duration, in the histogram of this name."""
        steps = {f"{limit:g}": limit for limit in buckets} | {"+Inf": float("inf")}
        added = {f"{name}_bucket{labelled(labels, le=step)}": count if seconds <= limit else 0 for step, limit in steps.items()}
        added |= {f"{name}_count{labelled(labels)}": count, f"{name}_sum{labelled(labels)}": seconds * count}
        self.set_all({series: self.series.get(series, 0) + more for series, more in added.items()})

    def _scraped(self, request: Request) -> Answer:
        if self.is_down:
            return Answer(503)
        text = "".join((*self.past, *(f"{series} {value}\n" for series, value in self.series.items())))
        self.past.clear()
        return Answer(headers={"content-type": CONTENT_TYPE}, body=text)


def labelled(labels: Mapping[str, str], **more: str) -> str:
    pairs = ",".join(f'{name}="{value}"' for name, value in {**labels, **more}.items())
    return f"{{{pairs}}}" if pairs else ""
