"""What people type to the hub, in Slack after `/alerthub` and in Telegram after `/`: one small language for both."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from alerthub.domain.wording import clip

LONGEST = 2_000
SHOWN = 40      # characters of what was not understood
COMMANDS = {
    "list": "list: what is open",
    "ack": "ack N: I take care of incident N",
    "unack": "unack N: I give it back",
    "resolve": "resolve N [force]: it is over",
    "silence": "silence N 1h|4h|tomorrow [why]: say nothing of it until then",
    "escalate": "escalate N: call the next person now",
    "comment": "comment N text: a line in its history",
    "who": "who [N]: who has it; without a number, who you are here",
    "oncall": "oncall: who is on call now",
    "runs": "runs: which actions wait for people, and the last ten",
    "approve": "approve CODE: I agree that it is run, or released (give the target's name)",
    "deny": "deny CODE: it must not be",
    "latches": "latches: which targets are kept safe",
    "release": "release TARGET [why]: ask others to agree that it leaves its safe state",
    "override": "override TARGET why: release it without proof and without others (admins)",
    "freeze": "freeze [ACTION] why: start no action, or not this one; what makes safe goes on",
    "unfreeze": "unfreeze [ACTION]: they may start again",
    "link": "link CODE: this account is mine (get a code with `alerthub link NAME`)",
    "help": "help: these lines",
}
SYNONYMS = {"acknowledge": "ack", "unacknowledge": "unack", "start": "help", "": "help", "ls": "list", "on-call": "oncall"}
NAMED = {"approve": "code", "deny": "code", "release": "target", "override": "target", "freeze": "reason"}
NUMBERED = frozenset({"ack", "unack", "resolve", "silence", "escalate", "comment"})
# What may follow; whatever follows the others is theirs.
ENDINGS = {"list": ("",), "who": ("",), "ack": ("",), "unack": ("",), "escalate": ("",), "resolve": ("", "force")}


class NotUnderstood(ValueError):
    """Its text says what would be right."""


@dataclass(frozen=True, slots=True)
class Said:
    """`what` is a key of COMMANDS; `number` 0 when none was given; `rest` what followed."""

    what: str
    number: int = 0
    rest: str = ""
    forced: bool = False


def parse(text: str) -> Said:
    """`ack 17`, `#17` being a number too. Raises NotUnderstood."""
    first, _, rest = text[:LONGEST].strip().partition(" ")
    what = SYNONYMS.get(first.lower(), first.lower())
    if what not in COMMANDS:
        raise NotUnderstood("That is not a command here. " + usage())
    number, after = numbered(rest.strip())
    if what in NUMBERED and not number:
        raise NotUnderstood(f"Which incident? Write {COMMANDS[what]}")
    if what not in NUMBERED and what != "who":
        number, after = 0, rest.strip()
    if what in NAMED and not after:
        raise NotUnderstood(f"The {NAMED[what]} is missing. Write {COMMANDS[what]}")
    if what == "comment" and not after:
        raise NotUnderstood(f"The text is missing. Write {COMMANDS[what]}")
    if what == "link" and not after:
        raise NotUnderstood(f"The code is missing. Write {COMMANDS[what]}")
    if after.lower() not in ENDINGS.get(what, (after.lower(),)):
        raise NotUnderstood(f"Nothing was done: {clip(after, SHOWN)!r} is not understood there. Write {COMMANDS[what]}")
    return Said(what, number, after, forced=what == "resolve" and after.lower() == "force")


def numbered(rest: str) -> tuple[int, str]:
    """A number at the beginning, and what follows it; 0 without one."""
    first, _, after = rest.partition(" ")
    digits = first.removeprefix("#")
    return (int(digits), after.strip()) if digits.isascii() and digits.isdigit() and len(digits) < 16 else (0, rest)


def named(rest: str, known: Collection[str]) -> tuple[str, str]:
    """What is named at the beginning, and what follows it. Names may hold spaces: the longest known one counts; where none is
    known, the first word."""
    found = max((name for name in known if name and f"{rest} ".startswith(f"{name} ")), key=len, default="")
    name = found or rest.partition(" ")[0]
    return name, rest[len(name):].strip()


def usage() -> str:
    return "Commands:\n" + "\n".join(COMMANDS.values())
