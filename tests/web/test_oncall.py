"""`/api/v1/oncall` and overrides: who is on call, who stands in, and what is said to what makes no sense."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import httpx
import pytest
from icalendar import Calendar
from starlette.applications import Starlette

from alerthub.app import Hub
from alerthub.config.oncall import schedules_of
from alerthub.domain.person import Person
from alerthub.web import oncall
from alerthub.web.app import guarded, route
from alerthub.web.oncall import Unknown, known, moment
from tests.kit.clock import FakeClock
from tests.kit.hub import HERE, PLAIN, running_hub
from tests.web.test_api import problem_of

pytestmark = pytest.mark.anyio

SCHEDULED = PLAIN + """
people: [{name: ayse, email: ayse@example.com}, {name: mehmet}]
schedules:
  - {name: primary, time_zone: Europe/Istanbul, layers: [{handoff: "mon 09:00", start: 2026-11-16, people: [ayse, mehmet]}]}
  - name: office hours
    time_zone: Europe/Istanbul
    layers: [{people: [ayse], restrictions: [{times: [{start_time: "09:00", end_time: "18:00"}], weekdays: ["monday:friday"]}]}]
"""
OVERRIDES = "/api/v1/schedules/primary/overrides"
IMPORTED = "/api/v1/schedules/primary/imported"
SUNDAY = {"person": "mehmet", "starts_at": "2026-11-22T10:00", "ends_at": "2026-11-22T18:00"}


def with_people(hub: Hub) -> Hub:
    """Its rules know the people and schedules of its configuration."""
    model, plant = hub.equipment.config.model, hub.equipment.plant
    people = {one.name: Person(one.name, accounts=frozenset({("email", one.email)} if one.email else ())) for one in model.people}
    rules = replace(plant.rules, schedules=schedules_of(model), people=people)
    hub.equipment = replace(hub.equipment, plant=replace(plant, rules=rules))
    return hub


def application(hub: Hub) -> Starlette:
    """The endpoints of this room alone, without the door in front of them."""
    app = Starlette(routes=[
        *route("/api/v1/oncall", guarded(oncall.now)),
        *route("/api/v1/schedules/{name}/overrides", guarded(oncall.list_overrides)),
        *route("/api/v1/schedules/{name}/overrides", guarded(oncall.add_override), "POST"),
        *route("/api/v1/schedules/{name}/imported", guarded(oncall.import_overrides), "PUT"),
        *route("/api/v1/schedules/{name}/calendar.ics", guarded(oncall.calendar)),
        *route("/api/v1/overrides/{id}", guarded(oncall.remove_override), "DELETE")])
    app.state.hub = hub
    return app


@pytest.fixture
async def client(clock: FakeClock) -> AsyncIterator[httpx.AsyncClient]:
    """At 2026-11-21 06:00 in Istanbul, a Saturday in the week of ayse."""
    async with running_hub(SCHEDULED, clock=clock) as running:
        app = application(with_people(running.hub))
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=HERE) as found:
            yield found


async def ask(client: httpx.AsyncClient, **query: str) -> list[dict[str, Any]]:
    answer = await client.get("/api/v1/oncall", params=query)
    assert answer.status_code == 200, answer.text
    return list(answer.json()["items"])


async def test_all_schedules_say_who_is_on_call_and_until_when(client: httpx.AsyncClient) -> None:
    primary, office = await ask(client)
    assert (primary["schedule"], primary["time_zone"], primary["person"]) == ("primary", "Europe/Istanbul", "ayse")
    assert primary["until"] == "2026-11-23T06:00:00+00:00"
    assert [(shift["person"], shift["starts_at"][:10], (shift["ends_at"] or "")[:10]) for shift in primary["shifts"]] == [
        ("ayse", "2026-11-16", "2026-11-23"), ("mehmet", "2026-11-23", "2026-11-30"), ("ayse", "2026-11-30", "")]
    assert (office["schedule"], office["person"]) == ("office hours", None)
    assert office["shifts"][0] == {
        "person": None, "starts_at": "2026-11-20T15:00:00+00:00", "ends_at": "2026-11-23T06:00:00+00:00"}


async def test_a_shift_that_ends_with_the_two_weeks_has_an_end(client: httpx.AsyncClient) -> None:
    for at, last in (("2026-11-23T09:00", "2026-12-07T06:00:00+00:00"), ("2026-11-23T09:01", None)):
        (found,) = await ask(client, schedule="primary", at=at)
        assert found["shifts"][-1]["ends_at"] == last


@pytest.mark.parametrize(("at", "person"), [
    ("2026-11-23T08:59", "ayse"), ("2026-11-23T09:00", "mehmet"), ("2026-11-23T09:00+01:00", "mehmet"),
    ("2026-11-23T05:59:59Z", "ayse"), ("2026-11-23", "ayse"), ("2026-11-24", "mehmet")])
async def test_another_time_is_on_the_clocks_of_the_schedule(client: httpx.AsyncClient, at: str, person: str) -> None:
    (found,) = await ask(client, schedule="primary", at=at)
    assert found["person"] == person


@pytest.mark.parametrize(("query", "status", "word"), [
    ({"at": "soon"}, 400, "'soon' is not a time; write it like 2026-11-23T09:00"), ({"at": ""}, 400, "is not a time"),
    ({"at": "9999-12-31"}, 400, "too far away"), ({"at": "0001-01-01T00:00+14:00"}, 400, "too far away"),
    ({"at": "x" * 5000}, 400, "is not a time"),
    ({"schedule": "primry"}, 404, "there is no schedule 'primry'; did you mean primary?"),
    ({"schedule": "\x00"}, 404, "there are office hours, primary"),
])
async def test_a_question_that_makes_no_sense_is_told_so(
        client: httpx.AsyncClient, query: dict[str, str], status: int, word: str) -> None:
    assert word in problem_of(await client.get("/api/v1/oncall", params=query), status)


async def test_an_override_is_made_shown_used_and_taken_back(client: httpx.AsyncClient) -> None:
    made = (await client.post(OVERRIDES, json={**SUNDAY, "replaces": "ayse"})).json()
    assert made == {"id": made["id"], "schedule": "primary", "person": "mehmet", "replaces": "ayse", "created_by": "api",
                    "uid": None, "starts_at": "2026-11-22T07:00:00+00:00", "ends_at": "2026-11-22T15:00:00+00:00"}
    assert (await client.get(OVERRIDES)).json() == {"items": [made], "next": None}
    (found,) = await ask(client, schedule="primary")
    assert [shift["person"] for shift in found["shifts"]] == ["ayse", "mehmet", "ayse", "mehmet", "ayse"]
    assert (found["person"], found["until"]) == ("ayse", made["starts_at"])
    assert (await client.delete(f"/api/v1/overrides/{made['id']}")).json() == {"removed": made["id"]}
    assert "there is no override" in problem_of(await client.delete(f"/api/v1/overrides/{made['id']}"), 404)
    assert (await client.get(OVERRIDES)).json() == {"items": [], "next": None}


@pytest.mark.parametrize(("given", "by"), [
    ("ayse", "ayse"), ("", "api"), ("  a\n b\x00\ud800 ", "a b"), ("x" * 500, "x" * 200)])
async def test_an_override_carries_the_name_of_its_maker(client: httpx.AsyncClient, given: str, by: str) -> None:
    answer = await client.post(OVERRIDES, content=json.dumps({**SUNDAY, "created_by": given}))
    assert (answer.status_code, answer.json()["created_by"]) == (200, by)
    body = {"uids": ["a"], "overrides": [{**SUNDAY, "uid": "a"}], "created_by": given}
    await client.delete(f"/api/v1/overrides/{answer.json()['id']}")
    await client.put(IMPORTED, content=json.dumps(body))
    assert [one["created_by"] for one in (await client.get(OVERRIDES)).json()["items"]] == [by]


async def test_the_exact_second_counts(client: httpx.AsyncClient) -> None:
    await client.post(OVERRIDES, json={**SUNDAY, "starts_at": "2026-11-22T10:00:30"})
    assert [(await ask(client, schedule="primary", at=f"2026-11-22T10:00:{second}"))[0]["person"] for second in (29, 45)] == [
        "ayse", "mehmet"]


@pytest.mark.parametrize(("fields", "status", "word"), [
    ({"person": "mehmt"}, 422, "there is no person 'mehmt'; did you mean mehmet?"),
    ({"replaces": "zeynep"}, 422, "there is no person 'zeynep'"), ({"replaces": "mehmet"}, 400, "cannot stand in for mehmet"),
    ({"ends_at": "2026-11-22T10:00"}, 400, "ends when it starts"),
    ({"ends_at": "2026-11-22T09:00"}, 400, "ends before it starts"),
    ({"ends_at": ""}, 400, "ends_at missing"), ({"starts_at": "now"}, 400, "'now' is not a time"),
    ({"person": ["mehmet"]}, 400, "send an object of texts"),
    ({"created_by": 1}, 400, "created_by: must be a text"),
    ({"from": "x"}, 400, "'from' is not a field of an override"),
    ({"person": "\ud800"}, 422, "there is no person '\\ud800'"), ({"person": "\x00"}, 422, "there is no person"),
])
async def test_an_override_that_makes_no_sense_is_refused(
        client: httpx.AsyncClient, fields: dict[str, Any], status: int, word: str) -> None:
    assert word in problem_of(await client.post(OVERRIDES, content=json.dumps({**SUNDAY, **fields})), status)
    assert (await client.get(OVERRIDES)).json() == {"items": [], "next": None}


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b"[" * 100_000, b"null", b"[]", b'"x"', b"1e999", b"{}"])
@pytest.mark.parametrize("path", [OVERRIDES, IMPORTED])
async def test_a_body_of_anything_else_is_refused(client: httpx.AsyncClient, path: str, body: bytes) -> None:
    problem_of(await client.request("POST" if path == OVERRIDES else "PUT", path, content=body), 400)


async def test_a_body_that_is_too_large_is_refused(client: httpx.AsyncClient) -> None:
    problem_of(await client.post(OVERRIDES, content=b" " * (1024**2 + 1)), 413)


@pytest.mark.parametrize("path", ["overrides", "calendar.ics"])
async def test_a_schedule_that_does_not_exist_is_404(client: httpx.AsyncClient, path: str) -> None:
    assert "did you mean primary?" in problem_of(await client.get(f"/api/v1/schedules/primar/{path}"), 404)


@pytest.mark.parametrize("reference", ["0", "-1", "x", "9" * 15, "9" * 30, "%00", "²", "1%00"])
async def test_an_override_that_cannot_be_is_404(client: httpx.AsyncClient, reference: str) -> None:
    problem_of(await client.delete(f"/api/v1/overrides/{reference}"), 404)


async def test_an_import_is_all_or_nothing_and_the_same_again(client: httpx.AsyncClient) -> None:
    items = [{**SUNDAY, "uid": "a"}, {**SUNDAY, "uid": "b", "person": "ayse"}]
    body = {"uids": ["a", "b"], "overrides": items}
    assert (await client.put(IMPORTED, json=body)).json() == {"added": 2, "removed": 0, "already": 0}
    assert (await client.put(IMPORTED, json=body)).json() == {"added": 0, "removed": 0, "already": 2}
    wrong = {"uids": ["a", "b"], "overrides": [items[0], {**items[1], "person": "zeynep"}]}
    problem_of(await client.put(IMPORTED, json=wrong), 422)
    assert len((await client.get(OVERRIDES)).json()["items"]) == 2
    assert (await client.put(IMPORTED, json={"uids": ["a", "b"], "overrides": []})).json() == {
        "added": 0, "removed": 2, "already": 0}


async def test_shifts_that_are_so_already_become_no_overrides(client: httpx.AsyncClient) -> None:
    """In the week of ayse, into that of mehmet."""
    def span(uid: str, person: str, start: str, end: str) -> dict[str, str]:
        return {"uid": uid, "person": person, "starts_at": f"2026-11-{start}", "ends_at": f"2026-11-{end}"}

    async def put(*items: dict[str, str]) -> tuple[int, int, int]:
        done = (await client.put(IMPORTED, json={"uids": ["a", "b", "c"], "overrides": list(items)})).json()
        return done["added"], done["removed"], done["already"]

    so = [span("a", "ayse", "21T00:00", "22T00:00"), span("b", "mehmet", "23T09:00", "24T09:00")]
    for _ in range(2):
        assert await put(*so) == (0, 0, 2)
    longer = span("b", "mehmet", "23T08:00", "24T09:00")        # it begins an hour before his week
    assert await put(so[0], longer) == (1, 0, 1)
    assert await put(so[0], longer) == (0, 0, 2)                # what the first time made is no reason to take it back
    assert await put(*so) == (0, 1, 2)
    other = span("c", "mehmet", "21T12:00", "21T18:00")         # the calendar itself says two things, so both are kept
    assert await put(other, *so) == (2, 0, 1)
    assert await put(*so) == (0, 2, 2)
    by_hand = {"person": "mehmet", "starts_at": "2026-11-21T10:00", "ends_at": "2026-11-21T11:00"}
    assert (await client.post(OVERRIDES, json=by_hand)).status_code == 200
    assert await put(*so) == (1, 0, 1)                          # somebody had made it otherwise: the calendar wins




@pytest.mark.parametrize("body", [
    {"uids": ["a"], "overrides": [SUNDAY]}, {"uids": ["a"], "overrides": [{**SUNDAY, "uid": "b"}]},
    {"uids": ["a"], "overrides": [{**SUNDAY, "uid": ["a"]}]}, {"uids": [1], "overrides": []}, {"uids": ["\x00"], "overrides": []},
    {"uids": ["\ud800"], "overrides": []}, {"uids": "a", "overrides": []}, {"uids": ["a"] * 2001, "overrides": []}, {"uids": []},
    {"uids": ["a"], "overrides": [None]},
])
async def test_an_import_of_anything_else_is_refused(client: httpx.AsyncClient, body: dict[str, Any]) -> None:
    problem_of(await client.put(IMPORTED, content=json.dumps(body)), 400)


async def test_the_calendar_is_one(client: httpx.AsyncClient) -> None:
    await client.post(OVERRIDES, json=SUNDAY)
    answer = await client.get("/api/v1/schedules/primary/calendar.ics", params={"weeks": "1"})
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/calendar; charset=utf-8")
    events = Calendar.from_ical(answer.content).walk("VEVENT")
    assert [(str(one["SUMMARY"]), f"{one.start:%d %H}", f"{one.end:%d %H}") for one in events] == [
        ("ayse", "16 06", "22 07"), ("mehmet", "22 07", "22 15"), ("ayse", "22 15", "23 06"), ("mehmet", "23 06", "28 03")]
    assert events[0]["ATTENDEE"] == "mailto:ayse@example.com"
    assert "weeks must be" in problem_of(await client.get("/api/v1/schedules/primary/calendar.ics", params={"weeks": "0"}), 400)


def test_names_are_offered_when_none_is_close() -> None:
    for names, word in (((), "there are none"), (("ayse", "mehmet"), "there are ayse, mehmet")):
        with pytest.raises(Unknown, match=word):
            known("person", "zzz", names)


def test_a_time_in_the_hole_of_the_clocks_is_after_it() -> None:
    assert moment("2026-03-29T02:30", "Europe/Berlin").isoformat() == "2026-03-29T01:00:00+00:00"
