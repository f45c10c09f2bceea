"""What all shapes share, and the answer to what is refused."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, Field

T = TypeVar("T")
Moment = datetime                   # RFC 3339, UTC
Count = Annotated[int, Field(ge=0)]


class Shape(BaseModel):
    """Exactly these fields."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Page(Shape, Generic[T]):
    """`next`, if there is one, is the `before` (or `after`) of the page that follows."""

    items: list[T]
    next: int | str | None


class Problem(Shape):
    """RFC 9457. `detail` says what happened and what to do; `reason` is the same, as senders' logs show it."""

    type: str = Field(examples=["about:blank"])
    title: str
    status: int
    detail: str
    reason: str
    instance: str | None = Field(None, description="the path that was asked")
    outcome: str | None = Field(None, description="of a command: held can be forced, refused cannot")
