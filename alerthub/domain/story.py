"""One run of an action in plain words, for a reader at night who does not know the program: what, why, when, who, how it was
proved. The evidence, its page and the mails all tell it from here, so that they never differ. Pure.

A run is plain JSON here, as flow/stories.py makes it: times are ISO 8601, texts may come from a label and are escaped elsewhere.
A request to release a target that came to no run has the same form; its `line` is its place in the history.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from alerthub.domain.action import REASON_TEXT, Reason, RunState
from alerthub.domain.approval import Verdict
from alerthub.domain.latch import LatchState
from alerthub.domain.rules import Direction

Run = Mapping[str, Any]


class Fate(StrEnum):
    """What became of it, as far as it is known. In the order in which it is told."""

    not_done = "not_done"       # or nobody knows that it was
    pending = "pending"         # not decided, or not finished
    done = "done"


HEADINGS = {Fate.not_done: "What was not done, and why", Fate.pending: "What is not decided or not finished yet",
            Fate.done: "What was done"}
ENDED = {
    RunState.succeeded: "was done", RunState.failed: "FAILED: it was not done",
    RunState.unknown: "is UNCONFIRMED: it may have been done", RunState.refused: "was NOT done", RunState.expired: "was NOT done",
    RunState.awaiting_approval: "has NOT been done yet", RunState.proposed: "has NOT been done yet",
    RunState.approved: "has NOT been done yet", RunState.started: "is under way and NOT confirmed yet",
    RunState.verifying: "is under way and NOT confirmed yet",
}
PENDING = {
    RunState.awaiting_approval: "people must agree first", RunState.proposed: "it starts in a moment",
    RunState.approved: "it starts in a moment", RunState.started: "it has been started, and how it ended is not known yet",
    RunState.verifying: "it was sent, and its target is being asked whether it has happened",
}
ONLY_TRIED = {
    Reason.shadow: "it is only being tried out (shadow mode), so nothing was sent. It would have been",
    Reason.dry_run: "it was only rehearsed (dry run), so nothing was changed. The rehearsal",
}
NO_REASON = frozenset({Reason.tighten.value, Reason.allowed.value})     # why it may start, not why it was not done
REHEARSED = {Reason.shadow: "shadow", Reason.dry_run: "dry run"}
DOORS = {"api": ", over the API", "web": ", on the pages"}
KNOWN_BY = {"slack": "their Slack account", "telegram": "their Telegram account", "pagerduty": "their PagerDuty account"}


def fate_of(run: Run) -> Fate:
    state = RunState(run["state"])
    if not state.is_final:
        return Fate.pending
    return Fate.done if state is RunState.succeeded else Fate.not_done


def may_be_done(run: Run) -> bool:
    """Whether nobody knows if its effect was caused."""
    return run["state"] in (RunState.unknown.value, RunState.started.value, RunState.verifying.value)


def none_of(fate: Fate, others: Collection[Fate], *, in_doubt: bool) -> str:
    """What is said where nothing has this fate. `others`: the fates of all that was called for; `in_doubt`: something may have
    been done."""
    if not others:
        return "Nothing: no action was called for."
    if fate is Fate.pending:
        return "Nothing: all that was called for is decided and has ended."
    if fate is Fate.done:
        return "Nothing that is confirmed." if in_doubt else "Nothing was done."
    if Fate.pending in others:
        return "Nothing so far, but not all that was called for is decided and has ended."
    return "Nothing was left undone: every action that was called for was done."


def story(run: Run) -> tuple[str, ...]:
    """First what became of it, then why; the rest is for who reads on."""
    found = (headline(run), why(run), purpose(run), called_for(run), times(run), *people(run), sent(run), verified(run),
             held(run), undo(run), place(run))
    return tuple(line for line in found if line)


def short(run: Run) -> str:
    """What became of it in a few words, for a live message."""
    state, reason, what = RunState(run["state"]), Reason(run["reason"]), named(run["action"], run["target"], run["direction"])
    detail = run["report"].get("detail") or REASON_TEXT[reason]
    if state.is_final and reason in REHEARSED:
        works = run["report"].get("outcome", RunState.succeeded.value) == RunState.succeeded.value
        return f"{what}: would {'have been run' if works else 'NOT have worked'} ({REHEARSED[reason]}): {detail}"
    if state in (RunState.refused, RunState.expired):
        return f"{what}: NOT RUN: {detail}"
    released = f"; {run['why']}" if state is RunState.succeeded and run["direction"] == Direction.relax.value else ""
    return f"{what}: {state.value.replace('_', ' ')}" + (f", {detail}{released}" if state.is_final else "")


def headline(run: Run) -> str:
    what = named(run["action"], run["target"], run["direction"])
    beginning = f"The {what}" if run["direction"] == Direction.relax.value else what
    return f"{beginning} {ENDED[RunState(run['state'])]}."


def named(action: str, target: str, direction: str) -> str:
    """`retrain on drl`; what a release of a target is called is not its action's name, which may be `safe-mode`."""
    shown = target.removeprefix("?")
    if direction == Direction.relax.value:
        return f"release of {shown}"
    return f"{action} on {shown}" if shown else action


def why(run: Run) -> str:
    state, reason = RunState(run["state"]), Reason(run["reason"])
    detail = run["report"].get("detail", "")
    if state in PENDING:
        return f"Why not yet: {PENDING[state]}."
    if reason in ONLY_TRIED:
        return sentence(f"Why: {ONLY_TRIED[reason]}: {detail or 'not known'}")
    if state is RunState.succeeded:
        return sentence(f"How it went: {detail}") if detail else "How it went: as it should."
    return sentence(f"Why: {detail or REASON_TEXT[reason]}")


def sentence(text: str) -> str:
    return text if text.endswith((".", "!", "?")) else f"{text}."


def purpose(run: Run) -> str:
    """What it means, where the name of the action does not say it; and what a person must do when it was not done."""
    target = run["target"].removeprefix("?") or "its target"
    if run["direction"] == Direction.relax.value:
        return f"What it is: permission for {target} to act again."
    if run["direction"] != Direction.tighten.value:
        return ""
    text = f"What it is: it makes {target} safe"
    is_lost = fate_of(run) is Fate.not_done
    return f"{text}. {target} may STILL BE ACTING: look at it, and make it safe by hand." if is_lost else f"{text}."


def called_for(run: Run) -> str:
    """The alert by what it says; a release by what people said."""
    if run["direction"] == Direction.relax.value:
        return sentence(f"Because: {run['why']}")
    said = (run.get("alert") or {}).get("annotations", {}).get("summary", "")
    return sentence(f"Called for by the alert: {run['why']}" + (f": {said}" if said and said not in run["why"] else ""))


def times(run: Run) -> str:
    if run.get("line"):
        ended = f", ended {moment(run['finished_at'])}" if run["finished_at"] else ", not decided yet"
        return f"When: asked for {moment(run['created_at'])}{ended}."
    started = f", started {moment(run['started_at'])}" if run["started_at"] else ", never started"
    ended = f", ended {moment(run['finished_at'])}" if run["finished_at"] else ", not ended yet"
    return f"When: called for {moment(run['created_at'])}{started}{ended}."


def moment(text: str) -> str:
    """`2026-11-21 03:00:12 UTC`"""
    return f"{datetime.fromisoformat(text).astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def people(run: Run) -> Iterator[str]:
    """Who asked and who agreed, and how the hub knew that it was they."""
    if run["asked_by"]:
        overrode = " It is an override: an admin alone decided, and nobody else agreed." if run.get("is_forced") else ""
        yield f"Asked for by {run['asked_by']}{how_known(run.get('asked_account', ''), run.get('asked_via', ''))}.{overrode}"
    for vote in run["votes"]:
        verdict, account = Verdict(vote["verdict"]), vote["account"]
        said = "agreed" if verdict is Verdict.approve else "said no"
        known = how_known(account, vote["via"], is_proved=verdict is Verdict.approve)
        yield f"{vote['person']} {said} at {moment(vote['at'])}{known}."
    if not run["votes"] and not run.get("is_forced"):
        yield nobody(run)


def nobody(run: Run) -> str:
    if run["direction"] == Direction.tighten.value:
        return "Who agreed: nobody had to. What makes a target safe waits for nobody."
    if run["state"] == RunState.succeeded.value:
        return "Who agreed: nobody had to; no approval is configured for it."
    return "Who agreed: nobody." if run["reason"] in (Reason.needs_approval.value, Reason.not_approved.value) else ""


def how_known(account: str, via: str = "", *, is_proved: bool = True) -> str:
    """` (known by their Slack account U012AB3CD, in slack:#alerts)`"""
    kind, _, name = account.partition(":")
    where = "" if via in ("", account) else DOORS.get(via, f", in {via}")
    if kind == "token":
        return f" (known by their own token{where})"
    if kind == "email":         # to agree, the page that the mail leads to asks for the token as well
        return f" (known by a link mailed to {name}{', and by their own token' if is_proved else ''}{where})"
    known = f"known by {KNOWN_BY[kind]} {name}" if kind in KNOWN_BY else f"known as {account}" if account else ""
    return f" ({known}{where})" if known else ""


def sent(run: Run) -> str:
    request = run["report"].get("request") or {}
    would = "would have been sent" if run["reason"] in (Reason.shadow.value, Reason.dry_run.value) else "was sent"
    return f"What {would}: {request.get('method', 'POST')} {request['url']}." if request.get("url") else ""


def verified(run: Run) -> str:
    if said := run["report"].get("verified"):
        return f"Verified: the target was asked afterwards, and said: {said}."
    if run["state"] != RunState.succeeded.value:
        return ""
    if run.get("line"):
        return "Verified: no. Nothing was sent to the target; the hub does not keep it safe any more."
    return "Verified: no. This target cannot be asked, and its answer was taken for it."


def held(run: Run) -> str:
    """How the hub holds the target at this moment."""
    latch = run.get("latch")
    if not latch or run["direction"] == Direction.neutral.value:
        return ""
    target, state = latch["target"], LatchState(latch["state"])
    since = f" since {moment(latch['since'])}" if latch["since"] else ""
    if state is LatchState.released:
        return f"Now: {target} is released{since}. It may act again."
    if state is LatchState.releasing:
        return f"Now: {target} is being released{since}. It counts as safe until it confirms that."
    if state is LatchState.release_requested:
        return f"Now: {latch['asked_by']} asks to release {target}{since}. It stays safe until enough people agree."
    if state is LatchState.safe:
        confirmed = "" if latch["verified_at"] else " That it IS safe has not been confirmed."
        return f"Now: {target} is locked in its safe state (latched){since}.{confirmed} Only people can release it."
    return ""


def undo(run: Run) -> str:
    how = run["report"].get("undo") or {}
    return sentence(f"To undo it: {how['how']}") if how.get("how") else ""


def place(run: Run) -> str:
    """Where it is found in the record, and under which word."""
    if run.get("line"):
        return f"In the record: line {run['line']} of the history."
    is_said = fate_of(run) is Fate.not_done and run["reason"] not in NO_REASON
    word = f", as {run['reason']}" if is_said else ""
    return f"In the record: run {run['id']}{word}."
