"""Runs, latches and freezes over the API: who is a person may vote, and nobody else; each refusal has its status."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from alerthub.domain.command import Verb
from tests.kit.alerts import batch, firing
from tests.kit.clock import FakeClock
from tests.kit.hub import RunningHub, running_hub
from tests.web.rooms import BEGIN, SHARED, TOKENS

pytestmark = pytest.mark.anyio
CONFIG = BEGIN + """
receivers: [{name: console, console_configs: [{}]}]
targets:
  - {name: drl, type: http, url: "http://127.0.0.1:9/"}
  - {name: agent-btc, type: agent, url: "http://127.0.0.1:9/"}
actions:
  - {name: retrain, type: http, target: drl, approve: {role: ml, count: 2, within: 15m}}
  - {name: scale, type: http, target: drl, mode: shadow}
  - {name: safe-mode, type: safe_mode, direction: tighten, target_label: agent}
route: {receiver: console, group_by: [alertname], actions: [retrain, scale]}
"""
AGENT = "\nroute: {receiver: console, group_by: [alertname], actions: [safe-mode]}\n"
RUNS = "/api/v1/actions/runs"


@pytest.fixture
async def hub(clock: FakeClock) -> AsyncIterator[RunningHub]:
    """A run waits, and another would have been run."""
    async with running_hub(CONFIG, clock=clock) as running:
        await running.hub.take(batch(firing("Drift", severity="critical"), at=clock.now()))
        await running.drain()
        yield running


async def call(hub: RunningHub, method: str, path: str, who: str = "", **more: Any) -> httpx.Response:
    token = TOKENS.get(who, SHARED)
    return await hub.client.request(method, path, headers={"authorization": f"Bearer {token}"}, **more)


async def waiting(hub: RunningHub) -> dict[str, Any]:
    (run,) = (await call(hub, "GET", f"{RUNS}?state=awaiting_approval")).json()["items"]
    return run


async def test_two_people_with_tokens_of_their_own_approve_a_run(hub: RunningHub) -> None:
    run = await waiting(hub)
    first = await call(hub, "POST", f"{RUNS}/{run['id']}/approve", "ayse")
    assert (first.status_code, first.json()["text"]) == (200, "You agree to retrain on drl: 1 more of ml must agree.")
    again = await call(hub, "POST", f"{RUNS}/{run['id']}/approve", "ayse")
    assert (again.status_code, again.json()["outcome"]) == (200, "already")
    assert (await call(hub, "POST", f"{RUNS}/{run['id'][-12:]}/approve", "mehmet")).status_code == 200
    await hub.drain()
    assert (await call(hub, "GET", f"{RUNS}?state=awaiting_approval")).json()["items"] == []
    events = (await call(hub, "GET", "/api/v1/incidents/1")).json()["events"]
    assert [(event["data"]["account"], event["data"]["via"]) for event in events if "vote" in event["data"]] == [
        ("token:ayse", "api"), ("token:mehmet", "api")]


async def test_the_shared_token_is_nobody_in_particular(hub: RunningHub) -> None:
    run = await waiting(hub)
    for verb in ("approve", "deny"):
        answer = await call(hub, "POST", f"{RUNS}/{run['id']}/{verb}", json={"by": "ayse"})
        assert (answer.status_code, answer.headers["content-type"]) == (403, "application/problem+json")
        assert "An approval needs a person" in answer.json()["detail"]
        assert "Use your own token (people[].api_token), or chat" in answer.json()["detail"]
    assert (await waiting(hub))["state"] == "awaiting_approval"


@pytest.mark.parametrize("who", ["omer", "vera", "pia", "emre"])
async def test_who_has_not_the_role_is_refused(hub: RunningHub, who: str) -> None:
    answer = await call(hub, "POST", f"{RUNS}/{(await waiting(hub))['id']}/approve", who)
    assert (answer.status_code, "people with the role ml decide" in answer.json()["detail"]) == (403, True)


async def test_what_does_not_wait_is_not_found_and_what_is_decided_conflicts(hub: RunningHub) -> None:
    run = await waiting(hub)
    for name in ("0" * 12, "x", "%00", "%ff%fe", "a" * 300, "..%2f..", "latch:agent-btc:1"):
        assert (await call(hub, "POST", f"{RUNS}/{name}/approve", "ayse")).status_code == 404, name
    assert (await call(hub, "POST", f"{RUNS}/{run['id']}/deny", "ayse")).status_code == 200
    late = await call(hub, "POST", f"{RUNS}/{run['id']}/approve", "mehmet")
    assert (late.status_code, "does not wait any more: refused" in late.json()["detail"]) == (409, True)


async def test_a_repeat_with_the_same_key_is_the_same_answer_for_the_same_person_only(hub: RunningHub) -> None:
    run = await waiting(hub)
    headers = {"idempotency-key": "k"}
    answers = [(await hub.client.post(f"{RUNS}/{run['id']}/approve", headers={
        **headers, "authorization": f"Bearer {TOKENS[who]}"})).json()["text"] for who in ("ayse", "ayse", "mehmet")]
    assert answers[0] == answers[1] != answers[2]


async def test_what_shadow_mode_would_have_run_is_counted(hub: RunningHub, clock: FakeClock) -> None:
    await hub.hub.take(batch(firing("Other"), at=clock.now()))
    await hub.drain()
    found = (await call(hub, "GET", f"{RUNS}?reason=shadow")).json()
    assert [(hit["action"], hit["target"], hit["count"]) for hit in found["hits"]] == [("scale", "drl", 2)]
    assert {run["action"] for run in found["items"]} == {"scale"}
    assert (await call(hub, "GET", f"{RUNS}?reason=nothing")).status_code == 400


async def test_no_incident_has_a_path_for_what_is_not_about_it(hub: RunningHub) -> None:
    for verb in (Verb.approve, Verb.deny, Verb.release, Verb.override, Verb.freeze, Verb.unfreeze):
        assert (await call(hub, "POST", f"/api/v1/incidents/1/{verb.value}", "ayse")).status_code == 404
    assert (await call(hub, "POST", "/api/v1/incidents/1/acknowledge", "ayse")).status_code == 200
    assert (await call(hub, "GET", "/api/v1/incidents/1")).json()["acknowledged_by"] == "ayse"


async def test_a_latch_is_shown_with_what_speaks_against_its_release(clock: FakeClock) -> None:
    config = CONFIG[:CONFIG.index("\nroute:")] + AGENT
    async with running_hub(config, clock=clock) as hub:
        await hub.hub.take(batch(firing("Reward", agent="agent-btc"), at=clock.now()))
        await hub.drain()       # the agent is being told until then, and a release would come too early
        (item,) = (await call(hub, "GET", "/api/v1/latches")).json()["items"]
        assert (item["target"], item["state"], item["is_safe"], item["number"]) == ("agent-btc", "safe", True, 1)
        assert item["lack"] == "#1, which latched it, is still open"
        for who, status in (("", 403), ("vera", 403), ("ayse", 409)):
            asked = await call(hub, "POST", "/api/v1/latches/agent-btc/release", who, json={"why": "over"})
            assert asked.status_code == status, who
        assert (await call(hub, "POST", "/api/v1/latches/agent-btc/approve", "ayse")).status_code == 409
        assert (await call(hub, "POST", "/api/v1/latches/agent-btc/override", "ayse", json={"why": "x"})).status_code == 403
        assert (await call(hub, "POST", "/api/v1/latches/agent-btc/override", "emre", json={})).status_code == 409
        done = await call(hub, "POST", "/api/v1/latches/agent-btc/override", "emre", json={"why": "a false alarm"})
        assert (done.status_code, done.json()["number"]) == (200, 1)
        assert (await call(hub, "POST", "/api/v1/latches/nowhere/release", "ayse")).status_code == 409


async def test_a_freeze_is_anybodys_and_lifting_it_is_a_persons(hub: RunningHub) -> None:
    freezes = "/api/v1/freezes"
    assert (await call(hub, "POST", freezes, json={})).status_code == 409
    assert (await call(hub, "POST", freezes, "vera", json={"why": "x"})).status_code == 403
    assert (await call(hub, "POST", freezes, json={"action": "retrain", "why": "strange", "by": "cron"})).status_code == 200
    (item,) = (await call(hub, "GET", freezes)).json()["items"]
    assert (item["action"], item["why"], item["by"]) == ("retrain", "strange", "cron (API)")
    assert (await call(hub, "DELETE", f"{freezes}?action=retrain")).status_code == 403
    assert (await call(hub, "DELETE", f"{freezes}?action=retrain", "omer")).status_code == 403
    assert (await call(hub, "DELETE", f"{freezes}?action=retrain", "pia")).status_code == 200
    assert (await call(hub, "GET", freezes)).json()["items"] == []
    assert (await call(hub, "POST", freezes, json={"nope": "x"})).status_code == 400


# -- a person's own token

async def test_a_person_may_over_the_api_what_their_role_allows(hub: RunningHub) -> None:
    silence = {"matchers": ['alertname="Drift"'], "duration": "1h", "comment": "x", "created_by": "x"}
    for who, statuses in (("vera", (200, 403, 403, 200)), ("omer", (200, 200, 403, 200)), ("emre", (200, 200, 200, 200))):
        answers = [await call(hub, "GET", "/api/v1/incidents", who),
                   await call(hub, "POST", "/api/v1/silences", who, json=silence),
                   await call(hub, "POST", "/api/v1/people/ayse/link-code", who),
                   await call(hub, "POST", f"/api/v1/people/{who}/link-code", who)]
        assert tuple(200 if answer.status_code in (200, 201) else answer.status_code for answer in answers) == statuses, who
    for path in ("/api/v1/reload", "/api/v1/deliveries/replay"):
        assert (await call(hub, "POST", path, "omer")).status_code == 403
    for verb in ("acknowledge", "resolve", "silence", "escalate", "comment"):
        answer = await call(hub, "POST", f"/api/v1/incidents/1/{verb}", "vera", json={"comment": "x"})
        assert (answer.status_code, answer.json()["outcome"]) == (403, "refused"), verb
    assert (await call(hub, "POST", "/api/v1/incidents/1/acknowledge", "omer")).status_code == 200


@pytest.mark.parametrize(("name", "asker", "status"), [
    ("omer", "", 200), ("vera", "", 200), ("vera", "omer", 403), ("omer", "emre", 200),
    ("ayse", "", 403), ("ayse", "mehmet", 403), ("ayse", "omer", 403), ("ayse", "ayse", 200), ("ayse", "emre", 200),
    ("pia", "", 403), ("pia", "pia", 200), ("pia", "emre", 200), ("emre", "", 403), ("emre", "pia", 403), ("emre", "emre", 200),
    ("nobody", "", 404), ("nobody", "emre", 404),
])
async def test_a_code_for_whose_word_decides_is_made_by_them_or_by_an_admin_only(hub: RunningHub, name: str, asker: str,
                                                                                status: int) -> None:
    answer = await call(hub, "POST", f"/api/v1/people/{name}/link-code", asker)
    assert answer.status_code == status
    assert ("code" in answer.json()) is (status == 200)
    if status == 403 and not asker:
        assert "give their account in `people`, or let an admin make the code" in answer.json()["detail"]


async def test_a_role_becomes_one_that_decides_where_an_action_asks_for_it(clock: FakeClock) -> None:
    """Whatever its name: a responder by a grant, or because responders are asked."""
    granted = CONFIG.replace("name: omer, role: responder", "name: omer, role: responder, grants: [risk]")
    asked = CONFIG.replace("approve: {role: ml", "approve: {role: responder")
    for config in (granted, asked):
        async with running_hub(config, clock=clock) as hub:
            assert (await call(hub, "POST", "/api/v1/people/omer/link-code")).status_code == 403
            assert (await call(hub, "POST", "/api/v1/people/omer/link-code", "omer")).status_code == 200


async def test_on_this_machine_too_who_shows_no_token_makes_no_code_for_whose_word_decides(clock: FakeClock) -> None:
    async with running_hub(CONFIG.replace(f"server: {{api_token: {SHARED}}}\n", ""), clock=clock) as hub:
        assert (await hub.client.post("/api/v1/people/omer/link-code")).status_code == 200
        assert (await hub.client.post("/api/v1/people/pia/link-code")).status_code == 403
        assert (await call(hub, "POST", "/api/v1/people/pia/link-code", "pia")).status_code == 200


async def test_a_token_that_is_nobodys_enters_nowhere(hub: RunningHub) -> None:
    for token in ("", "x", TOKENS["ayse"] + "x", TOKENS["ayse"][:-1], "ayse", "\u00e9"):
        answer = await hub.client.get(RUNS, headers={"authorization": f"Bearer {token}".encode("latin-1")})
        assert answer.status_code == 401


async def test_on_this_machine_a_token_names_whoever_has_it_although_none_is_needed(clock: FakeClock) -> None:
    config = CONFIG.replace(f"server: {{api_token: {SHARED}}}\n", "")
    async with running_hub(config, clock=clock) as hub:
        await hub.hub.take(batch(firing("Drift"), at=clock.now()))
        await hub.drain()
        (run,) = (await hub.client.get(f"{RUNS}?state=awaiting_approval")).json()["items"]
        assert (await hub.client.post(f"{RUNS}/{run['id']}/approve")).status_code == 403
        assert (await call(hub, "POST", f"{RUNS}/{run['id']}/approve", "ayse")).status_code == 200


async def test_who_left_the_configuration_has_no_token_any_more(hub: RunningHub) -> None:
    run = await waiting(hub)
    text = hub.path.read_text()
    hub.path.write_text("\n".join(line for line in text.splitlines() if "name: mehmet" not in line))
    assert hub.hub.reload() == []
    assert (await call(hub, "POST", f"{RUNS}/{run['id']}/approve", "mehmet")).status_code == 401


@pytest.mark.parametrize("same", [f"api_token: {TOKENS['ayse']}", f"api_token: {SHARED}"])
async def test_no_two_share_a_token(hub: RunningHub, same: str) -> None:
    hub.path.write_text(hub.path.read_text().replace(f"api_token: {TOKENS['mehmet']}", same))
    (problem,) = hub.hub.reload()
    assert "give each person a token of their own" in problem
    assert TOKENS["ayse"] not in problem
    assert SHARED not in problem
