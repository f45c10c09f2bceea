"""What the page of actions shows, read in one transaction: what may be done, what waits for people, what is kept safe, what was
done. What is offered to whom is only for show: the rooms decide."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from alerthub.domain.action import RunState
from alerthub.domain.answer import Who, lifts_freezes
from alerthub.domain.approval import Asked, Verdict, approvers, voting
from alerthub.domain.guard import mode_of
from alerthub.domain.latch import Latch, LatchState
from alerthub.domain.person import Person, Right
from alerthub.domain.rules import ActionRule, Direction, Rules, RunMode
from alerthub.domain.story import Fate, fate_of, headline, named, story
from alerthub.domain.wording import spoken
from alerthub.flow import latch as latch_room
from alerthub.flow.asking import question_of, request_of
from alerthub.flow.freeze import may_freeze
from alerthub.flow.showing import lines_of_run, of_release
from alerthub.flow.stories import views
from alerthub.store import freezes, latches, permits, usage, votes
from alerthub.store.freezes import Freeze
from alerthub.store.runs import Run
from alerthub.store.tx import Tx
from alerthub.web.actions import latch_view

WAITING, LATCHED, RUNS = 50, 50, 30
WORDS = {RunMode.live: "armed", RunMode.shadow: "shadow", RunMode.dry_run: "dry run"}


def facts(tx: Tx, rules: Rules, who: Who, now: datetime, before: str, state: str) -> dict[str, Any]:
    standing, held = freezes.standing(tx), list(latches.read(tx).values())
    pending = usage.page(tx, WAITING, state=RunState.awaiting_approval.value)
    latest = usage.page(tx, RUNS, before, state)
    safe = [latch for latch in held if latch.state.is_safe]
    names = usage.numbers(tx, {run.incident_id for run in (*pending.runs, *latest.runs)})
    used = usage.started(tx, rules.actions, now)
    return {
        "freezes": [{"freeze": one, "text": one.text(rules.answers.time_zone)} for one in standing],
        "waiting": waiting(tx, rules, pending.runs, names, who, now), "more_wait": bool(pending.next),
        "latches": [safe_view(tx, rules, latch, who, now) for latch in safe[:LATCHED]], "safe_count": len(safe),
        "others": [latch for latch in held if not latch.state.is_safe][:LATCHED],
        "actions": [action_view(tx, rules, rule, standing, used, now) for rule in rules.actions.values()],
        "all_used": sum(number for (_, mode), number in used.items() if mode == RunMode.live.value),
        "permits": permit_views(tx, rules, {latch.target: latch for latch in held}),
        "runs": run_views(tx, latest.runs, names), "next": latest.next,
        "may_freeze": may_freeze(who), "may_lift": who.person is not None and lifts_freezes(who.person)}


# -- what may be done

def action_view(tx: Tx, rules: Rules, rule: ActionRule, standing: Sequence[Freeze], used: Mapping[tuple[str, str], int],
                now: datetime) -> dict[str, Any]:
    mode = mode_of(rule, rule.direction, rules.guards)
    is_held = any(one.holds(rule.name) for one in standing)
    is_frozen = is_held and rule.direction is not Direction.tighten
    return {"rule": rule, "mode": "frozen" if is_frozen else WORDS[mode], "shape": "frozen" if is_frozen else mode.value,
            "holds_releases": is_held and rule.releases and not is_frozen,
            "targets": rule.targets or (tuple(sorted(rules.targets)) if rule.target_label else ()),
            "guards": list(guards_of(tx, rule, mode, used.get((rule.name, mode.value), 0), now)),
            "may_be_frozen": rule.direction is not Direction.tighten or rule.releases}


def guards_of(tx: Tx, rule: ActionRule, mode: RunMode, used: int, now: datetime) -> Iterable[str]:
    """Each guard, and how much of it is used where that is known."""
    if rule.direction is Direction.tighten:
        yield "none: what makes safe waits for nobody"
        return
    if rule.approval is not None:
        yield f"{rule.approval.count} of {rule.approval.role} must agree within {spoken(rule.approval.within)}"
    if rule.max_per_hour:
        yield f"{used} of {rule.max_per_hour} used in this hour"
    if rule.cooldown:
        yield f"{spoken(rule.cooldown)} between two on one target"
    if rule.blast.targets or rule.blast.percent:
        most = f"{rule.blast.targets}" if rule.blast.targets else f"{rule.blast.percent} % of its"
        yield f"at most {most} targets in {spoken(rule.blast.within)}"
    if rule.circuit.failures:
        yield circuit_of(tx, rule, mode, now)


def circuit_of(tx: Tx, rule: ActionRule, mode: RunMode, now: datetime) -> str:
    failures, last = usage.failures(tx, rule, mode)
    if failures >= rule.circuit.failures and last is not None and now < last + rule.circuit.reset:
        return f"STOPPED: its last {failures} runs failed; it is tried again in {spoken(last + rule.circuit.reset - now)}"
    return f"stops after {rule.circuit.failures} failures in a row" + (f" ({failures} now)" if failures else "")


def permit_views(tx: Tx, rules: Rules, held: Mapping[str, Latch]) -> list[dict[str, Any]]:
    asked = permits.asked(tx)
    return [{"target": target, "ttl": rule.ttl, "is_safe": target in held and held[target].state.is_safe,
             "asked_at": asked[target][1] if target in asked else None} for target, rule in rules.permits.items()]


# -- what waits

def waiting(tx: Tx, rules: Rules, found: Sequence[Run], names: Mapping[str, tuple[int, str, int]], who: Who,
            now: datetime) -> list[dict[str, Any]]:
    said = votes.of(tx, [run.subject for run in found])
    return [{"what": named(run.action, run.target, run.direction), "about": run.id, "incident": names.get(run.incident_id),
             **question_view(rules, question_of(rules, run, said), who, now, run)} for run in found]


def question_view(rules: Rules, asked: Asked | None, who: Who, now: datetime, run: Run | None = None) -> dict[str, Any]:
    """`asked` None: the configuration was changed, and it is not run any more."""
    if asked is None:
        return {"asked": None, "effect": (), "may_approve": False, "may_deny": False, "why_not": "", "approved": (), "able": []}
    counted = asked.tally(rules.people)
    able = [person.name for person in approvers(rules.people, asked.approval, asked.asked_by)]
    return {"asked": asked, "effect": lines_of_run(rules, run, asked) if run else (), "approved": counted.approved,
            "missing": counted.missing, "able": able, **offered(asked, who.person, now)}


def offered(asked: Asked, person: Person | None, now: datetime) -> dict[str, Any]:
    if person is None:
        return {"may_approve": False, "may_deny": False, "why_not": ""}
    agree, deny = (voting(asked, person, verdict, now) for verdict in (Verdict.approve, Verdict.deny))
    why_not = "" if agree.is_done else agree.text.removesuffix(" Nothing was done.")     # nothing was to be done either
    return {"may_approve": agree.is_done, "may_deny": deny.is_done, "why_not": why_not}


def safe_view(tx: Tx, rules: Rules, latch: Latch, who: Who, now: datetime) -> dict[str, Any]:
    """A target that is kept safe: since when, because of what, and what speaks against its release."""
    request = request_of(rules, latch, votes.of(tx, [latch.subject]))
    is_resting, person = latch.state is LatchState.safe, who.person
    return {**latch_view(tx, rules, latch, now), **question_view(rules, request, who, now), "subject": latch.subject,
            "effect": of_release(tx, rules, latch.subject, latch.target) if request else (),
            "against": latch_room.against(tx, rules, latch, now) if is_resting else "",
            "may_ask": is_resting and person is not None and (person.may(Right.respond) or person.may(Right.approve)),
            "may_override": person is not None and person.may(Right.administer) and latch.state is not LatchState.releasing}


# -- what was done

def run_views(tx: Tx, found: Sequence[Run], names: Mapping[str, tuple[int, str, int]]) -> list[dict[str, Any]]:
    told = views(tx, found)
    return [{"run": run, "what": named(run.action, run.target, run.direction), "incident": names.get(run.incident_id),
             "headline": headline(told[run.id]), "lines": story(told[run.id])[1:], "shape": shape(told[run.id]),
             "report": json.dumps(run.report, indent=1, ensure_ascii=False, sort_keys=True) if run.report else ""}
            for run in found]


def shape(run: Mapping[str, Any]) -> str:
    if run["reason"] in (RunMode.shadow.value, RunMode.dry_run.value):
        return str(run["reason"])
    return {Fate.done: "good", Fate.pending: "open", Fate.not_done: "bad"}[fate_of(run)]
