"""The words for what is wrong: what is expected, in place of pydantic's own sentences, which may repeat a value; and guesses at
what was meant.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from difflib import get_close_matches
from typing import Any

from alerthub.config.people import ADDRESS, PAGERDUTY_ID, SLACK_ID
from alerthub.config.reader import Path

LISTED = 12                 # more names than this are not listed
# Keys that Alertmanager has, and why they are not here.
HINTS = {
    "inhibit_rules": "inhibition is done in Alertmanager; remove it here",
    "templates": "texts are written in the receivers (title, text, message); remove it",
    "resolve_timeout": "see stale_after of a source; remove it here",
    "http_config": "it has no counterpart here; remove it",
    "mute_time_intervals": "name the intervals in time_intervals, and use them in the routes",
}
TEXTS: dict[str, str] = {
    "string_type": "a text is expected here",
    "int_type": "a whole number is expected here, for example 5",
    "int_parsing": "a whole number is expected here, for example 5",
    "int_from_float": "a whole number is expected here, for example 5",
    "float_type": "a number is expected here, for example 0.5",
    "float_parsing": "a number is expected here, for example 0.5",
    "bool_type": "true or false is expected here",
    "bool_parsing": "true or false is expected here",
    "tuple_type": "a list is expected here: [a, b], or one line beginning with `- ` for each",
    "list_type": "a list is expected here: [a, b], or one line beginning with `- ` for each",
    "model_type": "a block of `key: value` lines is expected here",
    "model_attributes_type": "a block of `key: value` lines is expected here",
    "dict_type": "a block of `key: value` lines is expected here",
    "date_type": "a day is expected here, for example 2026-11-30",
    "date_parsing": "a day is expected here, for example 2026-11-30",
    "date_from_datetime_parsing": "a day is expected here, for example 2026-11-30",
    "date_from_datetime_inexact": "a day is expected here, for example 2026-11-30",
    "string_pattern_mismatch": "this does not have the right form: {pattern}",
    "string_too_short": "this is too short; write at least {min_length} characters",
    "string_too_long": "this is too long; write at most {max_length} characters",
    "too_short": "at least {min_length} entry is needed here",
    "too_long": "at most {max_length} entries fit here",
    "greater_than": "this must be more than {gt}",
    "greater_than_equal": "this must be at least {ge}",
    "less_than": "this must be less than {lt}",
    "less_than_equal": "this must be at most {le}",
    "literal_error": "this must be {expected}",
    "enum": "this must be {expected}",
}
# What a text of a pattern is, in words.
FORMS = {
    r"^\S(.*\S)?$": "no space is expected at the beginning and the end",
    r"^[^/]+$": "no slash is expected here: it is part of an address",
    r"^[a-z0-9][a-z0-9_-]*$": "small letters, digits, - and _ are expected here, such as backup-1: it is part of an address",
    SLACK_ID: "Slack's member id is expected, such as U012AB3CD (in the profile: copy member ID)",
    ADDRESS: "an address is expected, such as ayse@example.com",
    PAGERDUTY_ID: "PagerDuty's user id is expected, such as PXPGF42 (the last part of the profile's address)",
}


def missing(key: str, path: Path) -> str:
    if key == "route" and not path:
        return "route is missing; add at least `route: {receiver: NAME}`, where what no other route takes goes"
    if key == "receivers" and not path:
        return "receivers is missing; add at least one, with a name and a destination"
    return f"{key} is missing here; add it"


def text_of(error: Mapping[str, Any]) -> str:
    """A validator's own sentence, else ours for the kind of error. Never pydantic's: it may repeat the value."""
    if error["type"] == "value_error":
        return str(error["ctx"]["error"])
    context: Mapping[str, Any] = error.get("ctx") or {}
    text = FORMS.get(context.get("pattern", "")) or TEXTS.get(
        error["type"], "this is not right here (" + error["type"].replace("_", " ") + ")")
    filled: Callable[[re.Match[str]], str] = lambda match: str(context.get(match[1], "?")).replace("'", "")      # noqa: E731
    return re.sub(r"\{(\w+)\}", filled, text).replace(" 1 characters", " 1 character")


def suggestion(wrong: str, names: Collection[str], listed: str) -> str:
    """`did you mean …?`, else what there is."""
    close = get_close_matches(wrong.lower(), names, n=1)
    if close:
        return f"did you mean `{close[0]}`?"
    if not names:
        return "there are none"
    some = sorted(names)
    return f"{listed} {', '.join(some[:LISTED])}{', …' if len(some) > LISTED else ''}"
