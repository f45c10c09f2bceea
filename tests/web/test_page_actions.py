"""The page of actions: all that the automation may do and has done, what waits for whom, and what each may press there."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any
from urllib.parse import quote, unquote

import pytest

from alerthub.domain.alert import Alert, AlertStatus
from alerthub.flow import beat
from tests.kit.agent import RunningAgent, running_agent
from tests.kit.alerts import batch, firing
from tests.kit.clock import START, FakeClock
from tests.kit.hub import PLAIN, RunningHub, running_hub
from tests.kit.pages import Reader, read
from tests.web.rooms import BEGIN, EVIL, as_, hidden, look, press, said, told

pytestmark = pytest.mark.anyio
CONFIG = BEGIN + """
receivers: [{name: console, console_configs: [{}]}]
targets:
  - {name: drl, type: http, url: "AGENT"}
  - name: agent-btc
    type: agent
    url: "AGENT"
    release: {mode: trading, clear_for: 1m, approve: {role: ml, count: 2, within: 15m}}
actions:
  - {name: retrain, type: http, target: drl, cooldown: 6h, max_per_hour: 2, approve: {role: ml, count: 2, within: 15m}}
  - {name: scale, type: http, target: drl, mode: shadow}
  - {name: safe-mode, type: safe_mode, direction: tighten, target_label: agent}
heartbeats: [{name: nightly, interval: 10m, receiver: console, actions: [{name: safe-mode, targets: [agent-btc]}]}]
route:
  receiver: console
  group_by: [alertname]
  routes:
    - {matchers: ['alertname="RewardNegative"'], receiver: console, actions: [safe-mode]}
    - {matchers: ['alertname!="Calm"'], receiver: console, actions: [retrain, scale]}
"""
SAY = "/actions/say"


@pytest.fixture
def agent() -> Iterator[RunningAgent]:
    with running_agent() as running:
        yield running


@pytest.fixture
async def hub(clock: FakeClock, agent: RunningAgent) -> AsyncIterator[RunningHub]:
    """A run waits for two of ml, another would have been run, and one target is kept safe."""
    async with running_hub(CONFIG.replace("AGENT", agent.url), clock=clock) as running:
        await running.hub.take(batch(firing("Drift", severity="critical"), at=clock.now()))
        await running.hub.take(batch(firing("RewardNegative", agent="agent-btc"), at=clock.now()))
        await running.drain()
        yield running


async def waiting(hub: RunningHub) -> list[dict[str, Any]]:
    return (await hub.get("/api/v1/actions/runs?state=awaiting_approval", headers=as_(""))).json()["items"]


async def latch(hub: RunningHub) -> dict[str, Any]:
    (found,) = (await hub.get("/api/v1/latches", headers=as_(""))).json()["items"]
    return found


def verbs(page: Reader) -> set[str]:
    """What is offered: by a form at once, or by a link that asks first."""
    forms = {attributes["value"] for tag, attributes in page.tags if tag == "input" and attributes.get("name") == "verb"}
    links = {link.partition("verb=")[2].partition("&")[0] for link in page.links() if link.startswith("/actions/ask")}
    return forms | links


async def agree(hub: RunningHub, who: str, about: str) -> Reader:
    """As people do: look at what will happen, then press."""
    form = hidden(await look(hub, f"/actions/ask?verb=approve&about={quote(about)}", who), SAY)
    return await told(hub, await press(hub, SAY, who, **form), who)


# -- looking

async def test_one_page_says_what_may_be_done_how_it_is_guarded_and_what_was_done(hub: RunningHub) -> None:
    words = said(await look(hub, "/actions", "vera"))
    for told_of in ("retrain http armed neutral 2 of ml must agree within 15 min", "0 of 2 used in this hour",
                    "6 h between two on one target", "stops after 3 failures in a row", "scale http shadow neutral",
                    "safe-mode safe_mode armed tighten none: what makes safe waits for nobody",
                    "the label agent names one of: agent-btc", "all together 0 of 60 in this hour",
                    "2 more of ml must agree, until 2026-11-21 03:15 UTC in 15 min. Nobody has agreed yet. May: ayse, mehmet.",
                    "Because of #1 Drift", "Action: retrain (type http, neutral)", "agent-btc safe Since 2026-11-21 03:00 UTC",
                    "because of #2", "Against its release: #2, which latched it, is still open.",
                    "safe-mode on agent-btc was done.", "scale on drl was NOT done.", "refused shadow"):
        assert told_of in words, told_of


async def test_the_runs_are_filtered_by_state(hub: RunningHub) -> None:
    words = said(await look(hub, "/actions?state=succeeded")).partition("What was done")[2]
    assert "safe-mode on agent-btc" in words
    assert "scale on drl" not in words
    assert "No run like that." in said(await look(hub, "/actions?state=unknown"))


@pytest.mark.parametrize("query", ["state=<b>", "before=x", "before=%00", "state=succeeded&before=' or 1=1"])
async def test_an_odd_question_is_a_page_all_the_same(hub: RunningHub, query: str) -> None:
    assert "What was done" in said(await look(hub, f"/actions?{query}"))


async def test_older_runs_are_on_further_pages(hub: RunningHub, clock: FakeClock) -> None:
    for number in range(20):        # each calls for two
        await hub.hub.take(batch(firing(f"D{number}"), at=clock.now()))
    page, seen = await look(hub, "/actions"), 0
    while True:
        seen += said(page).partition("What was done")[2].count("on drl has NOT been done")
        links = [link for link in page.links() if "before=" in link]
        if not links:
            break
        page = await look(hub, links[0].partition("#")[0])
    assert seen >= 40


async def test_without_actions_it_says_how_to_begin(clock: FakeClock) -> None:
    async with running_hub(PLAIN, clock=clock) as hub:
        words = said(await look(hub, "/actions"))
        for calm in ("No action is configured: the hub only tells people.", "No action waits for anybody's word.",
                     "No target is latched: none is kept safe.", "Nothing yet: no alert has called for an action."):
            assert calm in words


@pytest.mark.parametrize(("who", "offered"), [
    ("vera", set()), ("nobody", {"freeze"}), ("omer", {"freeze"}), ("ayse", {"freeze", "approve", "deny"}),
    ("pia", {"freeze"}), ("emre", {"freeze", "override"}),
])
async def test_everybody_is_offered_what_they_may_do(hub: RunningHub, who: str, offered: set[str]) -> None:
    page = await look(hub, "/actions", who)
    assert verbs(page) == offered
    assert ("An approval needs a person" in said(page)) is (who == "nobody")


# -- runs

async def test_two_people_agree_and_it_is_run(hub: RunningHub) -> None:
    (run,) = await waiting(hub)
    page = await look(hub, f"/actions/ask?verb=approve&about={run['id']}", "ayse")
    assert "Action: retrain (type http, neutral)" in said(page)
    assert "Nothing has been done yet. If you press now, it is done as ayse." in said(page)
    assert "You agree to retrain on drl: 1 more of ml must agree." in said(await agree(hub, "ayse", run["id"]))
    seen = await look(hub, "/actions", "ayse")
    assert "1 more of ml must agree" in said(seen)
    assert "Agreed: ayse." in said(seen)
    assert "approve" not in verbs(seen)
    assert "it starts now" in said(await agree(hub, "mehmet", run["id"]))
    await hub.drain()
    assert await waiting(hub) == []
    assert "known by their own token, on the pages" in said(await look(hub, "/actions"))


async def test_the_same_form_sent_twice_is_one_vote(hub: RunningHub) -> None:
    (run,) = await waiting(hub)
    form = hidden(await look(hub, f"/actions/ask?verb=approve&about={run['id']}", "ayse"), SAY)
    for _ in range(2):
        assert "You agree to retrain" in said(await told(hub, await press(hub, SAY, "ayse", **form), "ayse"))
    (still,) = await waiting(hub)
    assert still["state"] == "awaiting_approval"


async def test_to_deny_is_done_at_once(hub: RunningHub) -> None:
    (run,) = await waiting(hub)
    form = hidden(await look(hub, "/actions", "mehmet"), SAY)
    assert form["verb"] in ("freeze", "deny")
    answer = await press(hub, SAY, "mehmet", **{**form, "verb": "deny", "about": run["id"]})
    assert "Denied: retrain on drl will not be run." in said(await told(hub, answer, "mehmet"))
    assert await waiting(hub) == []
    gone = await hub.get(f"/actions/ask?verb=approve&about={run['id']}", headers=as_("ayse"))
    assert (gone.status_code, "This does not wait any more" in said(read(gone.text))) == (404, True)


@pytest.mark.parametrize(("who", "words"), [
    ("omer", "people with the role ml decide"), ("vera", "people with the role ml decide"),
    ("nobody", "An approval needs a person"),
])
async def test_whose_word_does_not_count_is_told_so_where_they_asked(hub: RunningHub, who: str, words: str) -> None:
    (run,) = await waiting(hub)
    answer = await press(hub, SAY, who, verb="approve", about=run["id"], key="k")
    assert answer.status_code == 409
    assert words in said(read(answer.text))
    assert len(await waiting(hub)) == 1


async def test_to_look_at_the_question_changes_nothing(hub: RunningHub) -> None:
    (run,) = await waiting(hub)
    before = (await hub.get("/api/v1/incidents/1", headers=as_(""))).json()["events"]
    for _ in range(3):
        await look(hub, f"/actions/ask?verb=approve&about={run['id']}", "ayse")
    assert (await hub.get("/api/v1/incidents/1", headers=as_(""))).json()["events"] == before


# -- latches

async def release_is_asked_for(hub: RunningHub, clock: FakeClock) -> None:
    """Proved to be over by hand of the test's own source, which cannot be asked: so an admin must override."""
    await hub.hub.take(batch(Alert({"alertname": "RewardNegative", "agent": "agent-btc"}, AlertStatus.resolved, {}, START,
                                   clock.now()), at=clock.now()))
    await hub.drain()


async def test_a_release_without_proof_is_refused_where_it_was_asked_and_the_reason_is_kept(hub: RunningHub) -> None:
    page = await look(hub, "/actions/ask?verb=release&about=agent-btc", "omer")
    assert "Target: agent-btc leaves its safe state; it is told the mode 'trading'" in said(page)
    answer = await press(hub, SAY, "omer", **hidden(page, SAY), why="it looks fine")
    assert answer.status_code == 409
    refused = read(answer.text)
    assert "agent-btc is not released: #2, which latched it, is still open" in said(refused)
    assert ("input", "it looks fine") in [(tag, attributes.get("value")) for tag, attributes in refused.tags]
    assert (await latch(hub))["state"] == "safe"


async def test_an_admin_overrides_with_a_reason_and_not_without(hub: RunningHub, clock: FakeClock, agent: RunningAgent) -> None:
    await release_is_asked_for(hub, clock)
    page = await look(hub, "/actions/ask?verb=override&about=agent-btc", "emre")
    assert "Not proved: alertmanager cannot be asked whether #2 is over" in said(page)
    assert "Nobody else is asked. Your name and your reason stand in the record." in said(page)
    form = hidden(page, SAY)
    without = await press(hub, SAY, "emre", **form)
    assert (without.status_code, "An override needs a reason" in said(read(without.text))) == (409, True)
    assert (await latch(hub))["state"] == "safe"
    await told(hub, await press(hub, SAY, "emre", **{**form, "key": "another", "why": "all positions are closed"}), "emre")
    await hub.drain()
    assert (await latch(hub))["state"] == "released"
    assert agent.agent.mode == "trading"
    assert "Not kept safe any more: agent-btc (released" in said(await look(hub, "/actions"))


async def quiet_for(hub: RunningHub, clock: FakeClock, minutes: int, *, beats: bool) -> None:
    """Time passes in steps as short as the watch of heartbeats asks for."""
    for _ in range(minutes * 12):
        clock.advance(seconds=5)
        if beats:
            assert (await hub.get("/heartbeats/nightly")).text == "ok"
        await hub.hub.store.write(lambda tx: beat.run_due(tx, hub.hub.rules, clock.now()))
        await hub.drain()


async def test_what_is_proved_to_be_over_is_released_by_two_who_did_not_ask(clock: FakeClock, agent: RunningAgent) -> None:
    """A heartbeat stayed away, and comes again for long enough: the hub itself has seen that."""
    async with running_hub(CONFIG.replace("AGENT", agent.url), clock=clock) as hub:
        await hub.hub.store.write(lambda tx: beat.start(tx, hub.hub.rules, clock.now()))
        await quiet_for(hub, clock, 12, beats=False)
        assert agent.agent.mode == "safe"
        await quiet_for(hub, clock, 2, beats=True)
        assert "Nothing speaks against its release" in said(await look(hub, "/actions", "omer"))
        form = hidden(await look(hub, "/actions/ask?verb=release&about=agent-btc", "omer"), SAY)
        asked = await told(hub, await press(hub, SAY, "omer", **form, why="the job runs again"), "omer")
        assert "You have asked to release agent-btc: 2 of ml must agree" in said(asked)
        assert verbs(asked) == {"freeze", "deny"}       # who asks does not agree, but may call it off
        page = await look(hub, "/actions", "ayse")
        assert "omer asks for its release: the job runs again" in said(page)
        (about,) = {link.partition("about=")[2] for link in page.links() if "verb=approve" in link}
        await agree(hub, "ayse", unquote(about))
        assert "1 more of ml must agree" in said(await look(hub, "/actions"))
        await agree(hub, "mehmet", unquote(about))
        await hub.drain()
        assert ((await latch(hub))["state"], agent.agent.mode) == ("released", "trading")


@pytest.mark.parametrize("who", ["omer", "ayse", "vera", "pia", "nobody"])
async def test_nobody_else_overrides(hub: RunningHub, who: str) -> None:
    answer = await press(hub, SAY, who, verb="override", about="agent-btc", why="please", key="k")
    assert answer.status_code == 409
    assert (await latch(hub))["state"] == "safe"


# -- freezes

async def test_a_freeze_is_at_once_and_its_lifting_is_asked_twice(hub: RunningHub) -> None:
    form = hidden(await look(hub, "/actions", "omer"), SAY)
    words = said(await told(hub, await press(hub, SAY, "omer", **form, about="", why="the exchange is down"), "omer"))
    assert "All actions are frozen. Nothing but tightening starts" in words
    assert "omer froze all actions at 2026-11-21 03:00 UTC: the exchange is down" in words
    assert "retrain http frozen" in words
    assert "safe-mode safe_mode armed its releases are frozen tighten" in words
    assert "unfreeze" not in verbs(await look(hub, "/actions", "omer"))
    page = await look(hub, "/actions", "pia")
    assert "unfreeze" in verbs(page)
    asked = await look(hub, "/actions/ask?verb=unfreeze&about=", "pia")
    assert "From then on every action may run again when an alert calls for it." in said(asked)
    lifted = await told(hub, await press(hub, SAY, "pia", **hidden(asked, SAY)), "pia")
    assert "All actions are not frozen any more." in said(lifted)
    assert "retrain http armed" in said(await look(hub, "/actions"))


async def test_a_freeze_of_one_needs_a_reason_and_the_choice_is_kept(hub: RunningHub) -> None:
    answer = await press(hub, SAY, "omer", verb="freeze", about="scale", why=" ", key="k")
    page = read(answer.text)
    assert (answer.status_code, "A freeze needs a reason" in said(page)) == (400, True)
    assert [attributes["value"] for tag, attributes in page.tags if tag == "option" and "selected" in attributes] == ["scale"]
    words = said(await told(hub, await press(hub, SAY, "omer", verb="freeze", about="scale", why="too many", key="k2"), "omer"))
    assert "scale http frozen" in words
    assert "retrain http armed" in words


async def test_a_target_that_only_tightens_cannot_be_held_back(hub: RunningHub) -> None:
    await press(hub, SAY, "omer", verb="freeze", about="", why="all", key="k")
    await hub.hub.take(batch(firing("RewardNegative", agent="agent-btc"), at=START))
    assert "none: what makes safe waits for nobody" in said(await look(hub, "/actions"))


# -- what is not asked for

@pytest.mark.parametrize("fields", [{}, {"verb": "resolve"}, {"verb": "<script>"}, {"verb": "approve"},
                                    {"verb": "approve", "about": "\0"}, {"verb": "deny", "about": "x" * 5000},
                                    {"verb": "release", "about": "nowhere"}, {"verb": "freeze", "about": "nothing", "why": "x"}])
async def test_what_makes_no_sense_is_an_answer_and_changes_nothing(hub: RunningHub, fields: dict[str, str]) -> None:
    answer = await press(hub, SAY, "ayse", **fields)
    assert answer.status_code in (303, 400, 404, 409)
    assert len(await waiting(hub)) == 1
    assert "frozen" not in said(await look(hub, "/actions")).partition("What may be done")[2]


@pytest.mark.parametrize("query", ["", "verb=freeze", "verb=approve", "verb=approve&about=%00", "verb=override&about=<b>",
                                   "verb=unfreeze&about=x", "verb=approve&about=latch:agent-btc:1", "verb=release&about=drl"])
async def test_a_question_about_nothing_is_a_page(hub: RunningHub, query: str) -> None:
    assert "Not done" in said(await look(hub, f"/actions/ask?{query}", "emre", 404))


async def test_a_form_of_another_site_changes_nothing(hub: RunningHub) -> None:
    answer = await hub.client.post(SAY, data={"verb": "freeze", "about": "", "why": "x"},
                                   headers={**as_("omer"), "sec-fetch-site": "cross-site"})
    assert answer.status_code == 403
    assert "frozen" not in said(await look(hub, "/actions"))


@pytest.mark.parametrize("text", EVIL)
async def test_what_strangers_write_is_shown_as_it_stands(hub: RunningHub, text: str) -> None:
    await hub.hub.take(batch(firing("Evil", host=text, annotations={"summary": text, "description": text}), at=START))
    await hub.drain()
    await press(hub, SAY, "omer", verb="freeze", about="retrain", why=text, key="k")
    page = await look(hub, "/actions", "ayse")
    assert text.replace("\u202e", "") in page.text.replace("\u202e", "")
    run = next(one for one in await waiting(hub) if one["labels"].get("host") == text)
    assert f"host={text}" in (await look(hub, f"/actions/ask?verb=approve&about={run['id']}", "ayse")).text
