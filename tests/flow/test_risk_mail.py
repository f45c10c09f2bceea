"""The mail that the risk officer reads at night says what was not done and why, then what was done and how that is known; in the
words of the evidence, without those of the program."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import event

from alerthub.actions.base import Outcome, Report
from alerthub.channels import email_body as body
from alerthub.channels.text import action_lines
from alerthub.domain.answer import Who
from alerthub.domain.command import Verb
from alerthub.domain.person import Account
from alerthub.domain.route import Route
from alerthub.domain.rules import ActionRule, Approval, Direction, Release, Rules, RunMode
from alerthub.domain.story import story
from alerthub.flow import evidence, freeze, stories
from alerthub.store import votes
from alerthub.store.runs import Run
from alerthub.store.tx import Tx
from alerthub.web.evidence import page_of
from tests.kit.alerts import firing
from tests.kit.world import EMAIL, SLACK, World, destination, person, rules_for, safe_mode

pytestmark = pytest.mark.anyio
BTC = "agent-btc"
TWO = Approval("risk", 2, timedelta(minutes=15))
UNDONE, PENDING, DONE = "What was not done, and why", "What is not decided or not finished yet", "What was done"
OWN_TOKEN = replace(person("bora", "risk"), accounts=frozenset({("token", "bora")}))
PIA = replace(person("pia", "risk"), accounts=frozenset({("token", "pia"), ("slack", "PIA")}))
PEOPLE = {one.name: one for one in (person("ayse", "ml"), PIA, person("can", "risk"), OWN_TOKEN,
                                    person("emre", "admin"))}
JARGON = re.compile(r"\b(tighten|relax|neutral|latch_moved|cooling_down|awaiting_approval|needs_approval|episode|lane|rule)\w*",
                    re.IGNORECASE)


def retrain(**fields: Any) -> ActionRule:
    return ActionRule("retrain", "prefect", Direction.neutral, **{"targets": ("drl",), "version": "1", **fields})


def rules(*actions: ActionRule, **fields: Any) -> Rules:
    found = actions or (safe_mode(releases=True), retrain())
    route = Route("alerts", group_by=("alertname",), actions=tuple(action.name for action in found))
    told = {"alerts": [destination(EMAIL), destination(SLACK)]}
    return rules_for(route, receivers=told, actions=found, targets=[BTC, "drl"], people=PEOPLE, **fields)


@pytest.fixture
def world(world: World) -> World:
    world.configure(rules())
    return world


async def fire(world: World, name: str = "RewardNegative") -> None:
    await world.receive(firing(name, agent=BTC, annotations={"summary": "The reward of btc is -12.5"}))
    await world.drain()
    await world.advance(seconds=40)


async def mail(world: World) -> str:
    await world.advance(minutes=1)
    return body.text_body(world.email.messages[-1], is_first=False)


def part(text: str, heading: str) -> str:
    """From the heading to the next empty line."""
    return text[text.index(heading):].partition("\n\n")[0]


async def test_what_was_done_is_told_with_who_when_why_and_how_it_is_known(world: World) -> None:
    world.actions["safe-mode", BTC].report = Report(
        Outcome.succeeded, "it says safe", {"method": "POST", "url": "http://agent-btc:8000/mode"}, verified="safe")
    world.configure(rules(safe_mode()))
    await fire(world)
    text = await mail(world)
    (run,) = await world.runs()
    assert part(text, UNDONE) == f"{UNDONE}:\nNothing was left undone: every action that was called for was done."
    assert part(text, f"{DONE}:").split("\n") == [
        "What was done:",
        "- safe-mode on agent-btc was done.",
        "  How it went: it says safe.",
        "  What it is: it makes agent-btc safe.",
        "  Called for by the alert: RewardNegative: The reward of btc is -12.5.",
        "  When: called for 2026-11-21 03:00:00 UTC, started 2026-11-21 03:00:00 UTC, ended 2026-11-21 03:00:00 UTC.",
        "  Who agreed: nobody had to. What makes a target safe waits for nobody.",
        "  What was sent: POST http://agent-btc:8000/mode.",
        "  Verified: the target was asked afterwards, and said: safe.",
        "  Now: agent-btc is locked in its safe state (latched) since 2026-11-21 03:00:00 UTC. Only people can release it.",
        f"  In the record: run {run.id}.",
    ]
    assert "The whole evidence, on the hub's machine: alerthub audit export 1" in text
    assert text.index(UNDONE) < text.index(f"{DONE}:")
    assert not JARGON.search(text)


async def test_frozen(world: World) -> None:
    who = Who(Account("slack", "AYSE", "ayse"), PEOPLE["ayse"])
    await world.store.write(lambda tx: freeze.freeze(tx, world.rules, "", who, "the exchange is down", world.clock.now()))
    await fire(world)
    text = await mail(world)
    undone = part(text, UNDONE)
    assert "- retrain on drl was NOT done.\n  Why: " in undone
    assert "ayse froze all actions" in undone
    assert "the exchange is down" in undone
    assert "never started" in undone
    assert "- safe-mode on agent-btc was done." in part(text, f"{DONE}:")
    assert not JARGON.search(text)


async def test_denied_says_who_said_no_and_how_they_were_known(world: World) -> None:
    world.configure(rules(retrain(approval=Approval("ml", 1, timedelta(minutes=15)))))
    await fire(world)
    text = await mail(world)
    assert "- retrain on drl has NOT been done yet.\n  Why not yet: people must agree first." in part(text, PENDING)
    assert "Who agreed: nobody." in part(text, PENDING)
    assert part(text, UNDONE).endswith("Nothing so far, but not all that was called for is decided and has ended.")
    (run,) = await world.runs()
    await world.command(Verb.deny, by="ayse", subject=run.id)
    undone = part(await mail(world), UNDONE)
    assert "- retrain on drl was NOT done.\n  Why: ayse said no." in undone
    assert "  ayse said no at 2026-11-21 03:0" in undone
    assert "(known by their Slack account AYSE)." in undone
    assert undone.endswith(f"run {run.id}, as denied.")
    assert part(await mail(world), f"{DONE}:") == "What was done:\nNothing was done."


async def test_by_cooldown(world: World) -> None:
    world.configure(rules(retrain(cooldown=timedelta(hours=1))))
    await fire(world)
    await fire(world, "Drift")
    text = await mail(world)
    assert "- retrain on drl was NOT done.\n  Why: " in part(text, UNDONE)
    assert "cooldown" in part(text, UNDONE)
    assert part(text, f"{DONE}:") == "What was done:\nNothing was done."


async def test_in_shadow_mode_says_what_it_would_have_been(world: World) -> None:
    world.configure(rules(retrain(mode=RunMode.shadow)))
    await fire(world)
    undone = part(await mail(world), UNDONE)
    assert "Why: it is only being tried out (shadow mode), so nothing was sent. It would have been: " in undone
    assert undone.endswith(", as shadow.")


@pytest.mark.parametrize(("outcome", "word"), [
    (Outcome.failed, "FAILED: it was not done"), (Outcome.unknown, "is UNCONFIRMED: it may have been done")])
async def test_what_may_still_be_acting_is_said_loudly(world: World, outcome: Outcome, word: str) -> None:
    world.actions["safe-mode", BTC].report = Report(outcome, "no answer within 30 s")
    world.configure(rules(safe_mode()))
    await fire(world)
    told = next(found for found in world.email.messages if found.number == 1 and found.actions and found.actions[0].is_bad)
    undone = part(body.text_body(told, is_first=False), UNDONE)
    assert f"- safe-mode on agent-btc {word}.\n  Why: no answer within 30 s." in undone
    assert "agent-btc may STILL BE ACTING: look at it, and make it safe by hand." in undone
    assert "That it IS safe has not been confirmed. Only people can release it." in undone


async def test_a_release_names_who_asked_who_agreed_and_how_they_were_known(world: World) -> None:
    world.configure(rules(safe_mode(releases=True), releases={BTC: Release(timedelta(0), TWO, "armed")}))
    await fire(world)
    await world.store.write(lambda tx: tx.conn.exec_driver_sql("DELETE FROM latch_causes"))
    await world.command(Verb.release, by="pia", subject=BTC, text="the drift is over")
    assert "Now: pia asks to release agent-btc since 2026-11-21 03:0" in await mail(world)
    for name, account in (("can", Account("telegram", "CAN", "can")), ("bora", Account("token", "bora", "bora"))):
        await world.command(Verb.approve, by=name, subject=BTC, account=account)
    await world.drain()
    text = await mail(world)
    done = part(text, f"{DONE}:")
    for line in ("- The release of agent-btc was done.", "What it is: permission for agent-btc to act again.",
                 "Because: can and bora agreed to release agent-btc, as pia asked (the drift is over).",
                 "Asked for by pia (known by their Slack account PIA).", "(known by their Telegram account CAN).",
                 "bora agreed at 2026-11-21 03:0", "(known by their own token).", "Now: agent-btc is released since",
                 "It may act again."):
        assert line in done, line
    assert not JARGON.search(text)


async def test_an_override_is_called_one(world: World) -> None:
    world.configure(rules(safe_mode(releases=True), releases={BTC: Release(timedelta(hours=1), TWO, "armed")}))
    await fire(world)
    await world.command(Verb.override, by="emre", subject=BTC, text="a false alarm")
    await world.drain()
    done = part(await mail(world), f"{DONE}:")
    assert ("Asked for by emre (known by their Slack account EMRE). It is an override: an admin alone decided, "
            "and nobody else agreed.") in done
    assert "Because: emre overrides the latch of agent-btc although #1, which latched it, is still open (a false alarm)." in done


async def asked_to_release(world: World, **release: Any) -> None:
    """An agent is latched, nothing speaks against its release any more, and pia asks for it over the API."""
    world.configure(rules(safe_mode(releases=True), releases={BTC: Release(timedelta(0), TWO, **release)}))
    await fire(world)
    await world.store.write(lambda tx: tx.conn.exec_driver_sql("DELETE FROM latch_causes"))
    pia = Account("token", "pia", "pia")
    await world.command(Verb.release, by="pia", subject=BTC, text="the drift is over", account=pia, via="api")


async def test_a_request_to_release_that_was_denied_is_told_and_who_asked_and_who_said_no(world: World) -> None:
    await asked_to_release(world, mode="armed")
    pending = part(await mail(world), PENDING)
    assert "- The release of agent-btc has NOT been done yet.\n  Why not yet: people must agree first." in pending
    await world.command(Verb.approve, by="can", subject=BTC, via="slack:#risk")
    await world.command(Verb.deny, by="bora", subject=BTC, account=Account("token", "bora", "bora"), via="api")
    text = await mail(world)
    undone = part(text, UNDONE)
    for line in ("- The release of agent-btc was NOT done.\n  Why: bora does not agree: agent-btc stays safe.",
                 "Because: pia asks to release agent-btc (the drift is over)",
                 "Asked for by pia (known by their own token, over the API).",
                 "can agreed at 2026-11-21 03:0", "(known by their Slack account CAN, in slack:#risk).",
                 "bora said no at 2026-11-21 03:0", "(known by their own token, over the API).",
                 "In the record: line "):
        assert line in undone, line
    assert part(text, PENDING).endswith("Nothing: all that was called for is decided and has ended.")
    assert not JARGON.search(text)
    assert "✖ release of agent-btc: NOT RUN: bora does not agree: agent-btc stays safe" in action_lines(world.slack.messages[-1])


async def test_a_request_to_release_that_nobody_answered_is_told(world: World) -> None:
    await asked_to_release(world, mode="armed")
    await world.advance(minutes=20)
    undone = part(await mail(world), UNDONE)
    assert "- The release of agent-btc was NOT done.\n  Why: Too few agreed in time (0 of 2): agent-btc stays safe." in undone
    assert "Who agreed: nobody." in undone


async def test_an_override_that_tells_the_target_nothing_is_told_all_the_same(world: World) -> None:
    world.configure(rules(safe_mode(), releases={BTC: Release(timedelta(hours=1), TWO)}))
    await fire(world)
    await world.command(Verb.override, by="emre", subject=BTC, text="a false alarm", via="slack:#risk")
    await world.drain()
    done = part(await mail(world), f"{DONE}:")
    for line in ("- The release of agent-btc was done.", "(a false alarm).",
                 "Asked for by emre (known by their Slack account EMRE, in slack:#risk). It is an override: an admin alone "
                 "decided, and nobody else agreed.", "Verified: no. Nothing was sent to the target"):
        assert line in done, line


async def test_a_release_that_led_to_a_run_is_told_once_and_by_its_own_name(world: World) -> None:
    await asked_to_release(world, mode="armed")
    for name in ("can", "bora"):
        account = Account("token", "bora", "bora") if name == "bora" else Account("slack", "CAN", "can")
        await world.command(Verb.approve, by=name, subject=BTC, account=account)
    await world.drain()
    pack = await world.store.read(lambda tx: evidence.pack(tx, "1", world.clock.now()))
    assert pack is not None
    assert pack["requests"] == []
    assert "<h2>The release of agent-btc was done</h2>" in page_of(pack)
    assert [line.partition(":")[0] for line in action_lines(world.slack.messages[-1])] == [
        "✔ safe-mode on agent-btc", "✔ release of agent-btc"]
    assert "release of agent-btc: succeeded (allowed)" in (await world.say("runs")).text


async def test_mail_and_evidence_say_the_same(world: World) -> None:
    await fire(world)
    told = world.email.messages[-1]
    pack = await world.store.read(lambda tx: evidence.pack(tx, "1", world.clock.now()))
    assert pack is not None
    assert [action.facts for action in told.actions] == [story(run) for run in pack["runs"]]
    for action in told.actions:
        for line in action.facts:
            assert line in page_of(pack)


async def test_the_chats_keep_their_short_lines(world: World) -> None:
    await fire(world)
    assert [action.text for action in world.slack.messages[-1].actions] == [
        "safe-mode on agent-btc: succeeded, done", "retrain on drl: succeeded, done"]


async def test_what_is_told_of_runs_is_read_in_one_go_and_not_at_all_without_any(world: World) -> None:
    for name in ("A", "B", "C"):
        await fire(world, name)
    found = [run for number in (1, 2, 3) for run in await world.runs(number)]
    assert len(found) == 6
    counts = []
    for some in ([], found[:1], found):
        asked: list[str] = []

        def note(_connection: Any, _cursor: Any, statement: str, *_rest: Any, asked: list[str] = asked) -> None:
            asked.extend(["read"] if statement.lstrip().startswith("SELECT") else [])

        def read(tx: Tx, some: list[Run] = some, note: Any = note) -> None:
            event.listen(tx.conn, "before_cursor_execute", note)
            stories.views(tx, some)
            event.remove(tx.conn, "before_cursor_execute", note)

        await world.store.read(read)
        counts.append(len(asked))
    assert counts == [0, 2, 2]


async def test_votes_of_another_run_are_not_told_of_this_one(world: World) -> None:
    world.configure(rules(retrain(approval=Approval("ml", 1, timedelta(minutes=15)))))
    await fire(world)
    await fire(world, "Drift")
    (first,), (second,) = await world.runs(1), await world.runs(2)
    await world.command(Verb.deny, by="ayse", subject=first.id)
    said = await world.store.read(lambda tx: votes.of(tx, [first.subject, second.subject]))
    assert set(said) == {first.subject}
    await world.advance(minutes=1)
    told = next(found for found in reversed(world.email.messages) if found.number == 2)
    assert not any("ayse" in line for action in told.actions for line in action.facts)
