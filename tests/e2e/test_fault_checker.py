"""The judge of faults must be able to say no: made-up histories, each with one promise broken, and with what is allowed."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from tests.kit.faults.checker import Allowed, Ended, judged
from tests.kit.faults.proxy import Wire
from tests.kit.faults.record import Entry, Fault, Life, Noticed, Recorder, Seen, Sent, read_machine
from tests.kit.faults.stage import SIGNING
from tests.kit.providers.http import Answer, FakeProvider, Request
from tests.kit.providers.receiver import FakeReceiver

FIRES, ENDS = Sent(1.0, {"DiskFull": "firing"}, 200), Sent(5.0, {"DiskFull": "resolved"}, 200)
TOLD = Seen(2.0, "machine", "DiskFull", "triggered", "post", "id-1", 1)
OVER = Seen(6.0, "machine", "DiskFull", "resolved", "post", "id-2", 1)
AGAIN = replace(TOLD, at=3.0, is_marked=True)
POST = Seen(2.0, "slack", "FIRING: DiskFull", "triggered", "post")
EDIT = Seen(6.0, "slack", "RESOLVED: DiskFull", "resolved", "edit")
PAGE = Seen(2.0, "pagerduty", "DiskFull", "triggered", "trigger", "key-1")
CLOSE = Seen(6.0, "pagerduty", "", "resolved", "resolve", "key-1")
OPEN, CLOSED = Ended("DiskFull", "triggered"), Ended("DiskFull", "resolved")
EVERYWHERE = ("slack", "machine", "pagerduty")


def said(history: Sequence[Entry], ended: Sequence[Ended], **more: Any) -> list[str]:
    found = judged(history, ended, more.pop("destinations", {one.to for one in history if isinstance(one, Seen)}), **more)
    return found.broken


@pytest.mark.parametrize(("history", "ended"), [
    ([FIRES, TOLD], [OPEN]),
    ([FIRES, TOLD, POST, PAGE, ENDS, OVER, EDIT, CLOSE], [CLOSED]),
    ([replace(FIRES, answer=503), FIRES, TOLD], [OPEN]),
    ([replace(FIRES, answer=503)], []),                                     # nobody has promised anything
    ([ENDS], []),                                                           # the end of what nobody heard of
    ([FIRES, TOLD], [replace(OPEN, status="acknowledged")]),
    ([FIRES, TOLD], [OPEN, Ended("a hub's own", "triggered", is_own=True)]),
    ([FIRES, replace(TOLD, taken=False), TOLD], [OPEN]),
    ([FIRES, TOLD, replace(PAGE, at=4.0), PAGE], [OPEN]),                   # the same dedup_key: no second page
    ([FIRES, TOLD, ENDS, OVER, replace(TOLD, at=7.0, is_marked=False, taken=False)], [CLOSED]),
    ([FIRES, replace(POST, text="3 incidents: DiskFull"), ENDS, replace(EDIT, call="post")], [CLOSED]),     # after a summary
    ([FIRES, TOLD, Fault(1.0, "slack"), Noticed(60.0, "slack", "/health")], [OPEN]),
    ([FIRES, TOLD, Life(9.0, 150.0)], [OPEN]),
], ids=range(13))
def test_what_kept_every_promise_is_left_alone(history: list[Entry], ended: list[Ended]) -> None:
    assert said(history, ended) == []


@pytest.mark.parametrize(("history", "ended", "words"), [
    ([FIRES, TOLD], [], "P1: DiskFull: firing was answered 2xx, but its incidents are []"),
    ([FIRES, TOLD], [CLOSED], "P1: DiskFull: firing was answered 2xx, but its incidents are ['resolved']"),
    ([FIRES, TOLD, ENDS, OVER], [OPEN], "P1: DiskFull: resolved was answered 2xx"),
    ([FIRES, TOLD], [OPEN, OPEN], "P1: DiskFull: more than one open incident"),
    ([FIRES, TOLD], [replace(OPEN, untold=("slack:#a",))], "P1: DiskFull: slack:#a still wait to be told"),
    ([FIRES, TOLD], [OPEN, Ended("Ghost", "triggered")], "P1: Ghost is not in what was posted"),
    ([FIRES, replace(TOLD, taken=False)], [OPEN], "P1: DiskFull: machine was never told"),
    ([FIRES, replace(TOLD, text="Other")], [OPEN], "P1: DiskFull: machine was never told"),
    ([FIRES, TOLD, AGAIN], [OPEN], "P2: 1 messages too many, 0 allowed"),
    ([FIRES, POST, replace(POST, is_marked=True)], [OPEN], "P2: 1 messages too many, 0 allowed"),
    ([FIRES, PAGE, replace(PAGE, id="key-2")], [OPEN], "P2: pagerduty: DiskFull was paged again by another key"),
    ([FIRES, TOLD, ENDS, OVER, replace(TOLD, id="id-3"), replace(OVER, id="id-4")], [CLOSED],
     "P3: machine: 'DiskFull' went back to triggered"),
    ([FIRES, replace(TOLD, episode=2), replace(TOLD, id="id-3")], [OPEN], "P3: machine: 'DiskFull' went back to"),
    ([FIRES, TOLD, ENDS], [CLOSED], "P3: DiskFull: it is resolved, and machine was last told triggered"),
    ([FIRES, POST, ENDS, EDIT, replace(EDIT, status="triggered")], [CLOSED], "P3: DiskFull: it is resolved, and slack was last"),
    ([FIRES, TOLD, Fault(1.0, "slack")], [OPEN], "P4: slack: not visible within 60 s"),
    ([FIRES, TOLD, Fault(1.0, "slack"), Noticed(62.0, "slack", "/health")], [OPEN], "P4: slack: not visible"),
    ([FIRES, TOLD, Fault(9.0, "slack"), Noticed(2.0, "slack", "/health")], [OPEN], "P4: slack: not visible"),
    ([FIRES, TOLD, Life(9.0, 700.0)], [OPEN], "P6: 700 MiB of memory, 300 allowed"),
    ([FIRES, TOLD, Life(9.0, 0.0, has_died=True)], [OPEN], "P6: the hub ended by itself"),
], ids=range(20))
def test_what_broke_one_is_named(history: list[Entry], ended: list[Ended], words: str) -> None:
    found = said(history, ended)
    assert [one.startswith(words) for one in found] == [True], found


def test_a_double_is_allowed_for_what_was_in_flight_and_only_when_it_says_so() -> None:
    once = Allowed(extra=1)
    assert said([FIRES, TOLD, AGAIN], [OPEN], allowed=once) == []
    assert "not marked" in said([FIRES, TOLD, replace(AGAIN, is_marked=False)], [OPEN], allowed=once)[0]
    assert "2 messages too many, 1 allowed" in said([FIRES, TOLD, AGAIN, AGAIN], [OPEN], allowed=once)[0]
    assert judged([FIRES, TOLD, AGAIN], [OPEN], ["machine"], once).doubled == 1


def test_who_is_paged_again_after_an_end_is_paged_for_something_new() -> None:
    for key in ("key-1", "key-2"):
        again = replace(PAGE, at=8.0, id=key)
        assert said([FIRES, PAGE, ENDS, CLOSE, replace(FIRES, at=7.0), again], [OPEN]) == []


def test_what_was_given_up_need_not_be_told_and_what_nobody_answered_is_not_promised() -> None:
    assert said([FIRES, TOLD], [OPEN], destinations=EVERYWHERE, allowed=Allowed(given_up=frozenset({"slack", "pagerduty"}))) == []
    assert len(said([FIRES, TOLD], [OPEN], destinations=EVERYWHERE)) == 2
    for ended in (OPEN, CLOSED):
        assert said([FIRES, TOLD, replace(ENDS, answer=-1)], [ended]) == []


@pytest.mark.parametrize("dress", ["s3cret/word", "s3cret%2Fword", "czNjcmV0L3dvcmQ"])
def test_a_secret_is_found_in_any_dress_and_not_repeated(dress: str) -> None:
    (found,) = said([FIRES, TOLD], [OPEN], outputs={"the log": f"… {dress} …"}, secrets=["s3cret/word"])
    assert found == "P5: secret 0 shows in the log"


def test_the_recorder_keeps_everything_in_the_order_of_its_happening(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "record.jsonl")
    history: list[Entry] = [FIRES, TOLD, Fault(1.0, "x"), Noticed(2.0, "x", "log"), Life(3.0, 1.0)]
    for entry in history:
        recorder.note(entry)
    assert list(map(asdict, recorder.entries())) == list(map(asdict, history))


@pytest.mark.anyio
async def test_the_recorder_tells_what_was_done_from_what_was_only_asked(tmp_path: Path) -> None:
    recorder, machine = Recorder(tmp_path / "record.jsonl"), FakeReceiver(SIGNING)
    recorder.watch(machine, "machine", read_machine)
    data = {"possible_duplicate": True, "incident": {"title": "DiskFull", "status": "triggered", "episode": 1}}
    request = Request("POST", "/slow", {"webhook-id": "id-1"}, json.dumps({"data": data}).encode())
    assert machine.witness is not None
    for answer in (Answer(503), Answer(202, body={"status": "accepted"}, drop=True), Answer(200, body="<html>")):
        machine.witness(request, answer)
    seen = [one for one in recorder.entries() if isinstance(one, Seen)]
    assert [(one.taken, one.answer) for one in seen] == [(False, "503"), (True, "drop"), (False, "200")]
    assert {(one.to, one.text, one.id, one.is_marked) for one in seen} == {("machine/slow", "DiskFull", "id-1", True)}


class TestTheWire:
    """What it does to a connection, with a plain server behind it."""

    @pytest.mark.anyio
    async def test_it_passes_on_is_silent_goes_on_and_is_cut(self) -> None:
        async with FakeProvider() as server, Wire(f"postgresql://hub@127.0.0.1:{server.port}/hub") as wire:
            assert wire.url == f"postgresql://hub@127.0.0.1:{wire.port}/hub"
            reader, writer = await asyncio.open_connection("127.0.0.1", wire.port)
            writer.write(b"GET / HTTP/1.1\r\n\r\n")
            assert b"200" in await reader.readline()
            wire.open.clear()
            writer.write(b"GET /silent HTTP/1.1\r\n\r\n")
            await asyncio.sleep(0)
            assert len(server.requests) == 1
            wire.open.set()
            await server.expect(2)
            wire.cut()
            with pytest.raises(ConnectionError):
                while await reader.read(1000):
                    pass
            writer.close()

    @pytest.mark.anyio
    @pytest.mark.parametrize(("when", "arrived"), [("before", 0), ("after", 1)])
    async def test_it_loses_the_answer_to_a_commit_or_the_commit_itself(self, when: str, arrived: int) -> None:
        async with FakeProvider() as server, Wire(f"postgresql://hub@127.0.0.1:{server.port}/hub") as wire:
            wire.lose(when)
            reader, writer = await asyncio.open_connection("127.0.0.1", wire.port)
            writer.write(b"POST / HTTP/1.1\r\ncontent-length: 7\r\n\r\nCOMMIT\x00")
            with pytest.raises(ConnectionError):
                await reader.read()
            assert (wire.lost, len(server.requests)) == (1, arrived)
            writer.close()
