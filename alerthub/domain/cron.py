"""Times by which a job is expected, written as cron: five fields in a time zone, meant as Debian's cron means them.

When the clocks change, a fixed time that is skipped comes right after the gap, and one that is doubled comes once, at first.
"""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

FIELDS = 5
LONGEST = 200               # characters
A_DAY = datetime(2026, 1, 1, tzinfo=UTC)
EXAMPLE = "write minute, hour, day, month and weekday, for example 0 3 * * 1-5"


def parse_cron(text: str) -> str:
    """The same with single spaces. Raises ValueError: what is wrong, and what would be right."""
    parts = text.split()
    if len(parts) != FIELDS or len(text) > LONGEST:
        raise ValueError(f"not a cron time; {EXAMPLE}")
    found = " ".join(parts)
    try:
        next_time(found, "UTC", A_DAY)
    except CronSimError as error:       # its texts name the field and repeat no value
        raise ValueError(f"not a cron time ({str(error)[:1].lower()}{str(error)[1:]}); {EXAMPLE}") from None
    except StopIteration:
        raise ValueError("this cron time never comes; correct its day or its month") from None
    except ValueError:                  # more digits than Python reads
        raise ValueError(f"not a cron time; {EXAMPLE}") from None
    return found


def next_time(cron: str, time_zone: str, after: datetime) -> datetime:
    """The first of its times after that instant, in UTC."""
    zone = UTC if time_zone == "UTC" else ZoneInfo(time_zone)
    times = CronSim(cron, after.astimezone(zone))
    # In the second of two equal hours it counts on from the first one: what it finds there is over already.
    while (found := next(times).astimezone(UTC)) <= after:
        continue
    return found
