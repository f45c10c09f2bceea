"""`alerthub demo` as a newcomer has it: the whole story in a process of its own, and on a stage that a test can see into."""

from __future__ import annotations

import asyncio
import io
import os
import pty
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from alerthub.clock import SystemClock
from alerthub.demo import stage
from alerthub.demo.counterparts import Accounts
from alerthub.demo.screen import Screen, columns
from alerthub.demo.stage import perform
from alerthub.errors import AlerthubError

PROGRAM = Path(sys.executable).with_name("alerthub")
STORY_SECONDS = 60
# In this order, each after the one before it.
MOMENTS = (
    "nothing leaves this machine", "mode: trading",
    "1. The agent loses money", 'rolling_reward{agent="agent-btc"} -0.42', "The hub answers 200", "Incident #1 is open",
    "The agent says of itself: mode safe", "The hub has verified it", "Action safe-mode on agent-btc succeeded",
    "2. The agent is slow", "Incident #2 is open", "Action autoscale on autoscaler succeeded",
    "Ayse presses Acknowledge", "ACKNOWLEDGED", "Incident #2 is acknowledged by ayse, in every channel",
    "3. The data pipeline fails", "Incident #3 is open", "Action prefect-retry on prefect succeeded",
    "4. A feature drifts", "Incident #4 is open", "Action queue-retraining on training-queue succeeded",
    "5. It ends", "Incident #1 is resolved", "Incident #2 is resolved", "Incident #3 is resolved",
    "The agent is still in mode safe", "Incident #4 stays open", "The demo has ended.",
)
# What each channel must have shown at some time, by act.
FRAMES = {
    "1": {"Email to risk@example.com": "FIRING: AgentRewardNegative", "PagerDuty · triggered": "FIRING: AgentRewardNegative"},
    "2": {"Telegram": "FIRING · #2", "PagerDuty · triggered": "FIRING: InferenceLatencyHigh",
          "Autoscaler · asked to": "the signature is right", "Telegram · for Ayse alone": "You have #2 now.",
          "PagerDuty · acknowledged": "Acknowledged by ayse", "Telegram · edited in place": "ACKNOWLEDGED by ayse · #2"},
    "3": {"Slack #alerts": "FIRING: EtlFailureRatioHigh", "Prefect · asked to": "the signature is right"},
    "4": {"Slack #alerts": "FIRING: FeatureDriftDetected", "Model registry · asked to": "feature: spread",
          "Training queue · asked to": "the signature is right"},
    "5": {"Email to risk@example.com": "RESOLVED: AgentRewardNegative", "PagerDuty · resolved": "RESOLVED: InferenceLatencyHigh",
          "Telegram · edited in place": "RESOLVED · #2", "Telegram · in reply": "Resolved: 1 alert cleared",
          "Slack #alerts · edited in place": "RESOLVED: EtlFailureRatioHigh", "Slack #alerts · in the thread": "Resolved: 1"},
}
SECRETS = re.compile(r"xoxb-|whsec_|Bearer|\d{6}:[0-9a-f]{8}|[0-9a-f]{24}")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def environment(tmp_path: Path, **more: str) -> dict[str, str]:
    """A place for temporary files of its own, so that what is left behind can be seen."""
    (tmp_path / "tmp").mkdir()
    (tmp_path / "here").mkdir()
    return {**os.environ, "TMPDIR": str(tmp_path / "tmp"), **more}


def left_behind(tmp_path: Path) -> list[Path]:
    return [*(tmp_path / "tmp").iterdir(), *(tmp_path / "here").iterdir()]


def acts(text: str) -> dict[str, str]:
    """The story by the numbers of its headlines."""
    parts = re.split(r"^(\d)\. ", text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def frames(act: str) -> Iterator[tuple[str, str]]:
    """Title and content of every framed message."""
    for match in re.finditer(r"^   ┌─ (.*?) ─*$((?:\n   │.*)*)\n   └─$", act, flags=re.MULTILINE):
        yield match[1], match[2].replace("\n   │", "\n")


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> tuple[subprocess.CompletedProcess[str], Path]:
    """The whole story, once, through a pipe."""
    tmp_path = tmp_path_factory.mktemp("demo")
    command = [PROGRAM, "demo", "--once", "--port", str(free_port())]
    done = subprocess.run(command, env=environment(tmp_path), cwd=tmp_path / "here", capture_output=True,
                          text=True, timeout=STORY_SECONDS, check=False)
    return done, tmp_path


@pytest.mark.slow
class TestTheWholeStory:
    def test_it_ends_well_and_complains_of_nothing(self, told: tuple[subprocess.CompletedProcess[str], Path]) -> None:
        done, _ = told
        assert done.stderr == ""
        assert done.returncode == 0
        assert "Traceback" not in done.stdout

    def test_its_moments_come_in_their_order(self, told: tuple[subprocess.CompletedProcess[str], Path]) -> None:
        text = re.sub(r"\s+(│ )?", " ", told[0].stdout)      # sentences are wrapped
        at = 0
        for moment in MOMENTS:
            found = text.find(moment, at)
            assert found >= 0, f"{moment!r} does not come after {text[max(0, at - 60):at]!r}"
            at = found + len(moment)

    @pytest.mark.parametrize("act", FRAMES)
    def test_each_act_shows_what_each_channel_shows(self, told: tuple[subprocess.CompletedProcess[str], Path], act: str) -> None:
        shown = list(frames(acts(told[0].stdout)[act]))
        for title, text in FRAMES[act].items():
            assert any(one.startswith(title) and text in content for one, content in shown), (title, text, shown)

    def test_nobody_hears_of_what_is_not_for_them(self, told: tuple[subprocess.CompletedProcess[str], Path]) -> None:
        by_act = {act: {title.split(" ")[0] for title, _ in frames(text)} for act, text in acts(told[0].stdout).items()}
        assert by_act["1"] == {"Email", "PagerDuty"}
        assert by_act["2"] == {"Telegram", "PagerDuty", "Autoscaler"}
        assert by_act["3"] == {"Slack", "Prefect"}
        assert by_act["4"] == {"Slack", "Model", "Training"}
        assert by_act["5"] == {"Email", "PagerDuty", "Telegram", "Slack"}

    def test_no_phone_rings_twice_for_one_incident(self, told: tuple[subprocess.CompletedProcess[str], Path]) -> None:
        assert told[0].stdout.count("PagerDuty · triggered: a phone rings") == 2

    def test_no_row_is_wider_than_80_columns(self, told: tuple[subprocess.CompletedProcess[str], Path]) -> None:
        assert [row for row in told[0].stdout.split("\n") if columns(row) > 80] == []

    def test_a_pipe_gets_no_colours(self, told: tuple[subprocess.CompletedProcess[str], Path]) -> None:
        assert "\x1b" not in told[0].stdout

    def test_no_secret_is_printed(self, told: tuple[subprocess.CompletedProcess[str], Path]) -> None:
        assert SECRETS.findall(told[0].stdout + told[0].stderr) == []

    def test_nothing_is_left_behind(self, told: tuple[subprocess.CompletedProcess[str], Path]) -> None:
        assert left_behind(told[1]) == []


def terminal(command: list[str | Path], tmp_path: Path, **more: str) -> tuple[subprocess.Popen[bytes], int]:
    """A program on a terminal, and our end of that."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(command, env=environment(tmp_path, TERM="xterm", COLUMNS="80", **more), cwd=tmp_path / "here",
                               stdin=subprocess.DEVNULL, stdout=theirs, stderr=theirs)
    os.close(theirs)
    return process, ours


def read_until(descriptor: int, text: str) -> str:
    """What a terminal was given, up to the text or its end."""
    read = b""
    while text.encode() not in read:
        try:
            part = os.read(descriptor, 65536)
        except OSError:         # Linux says so when the other end is closed
            break
        if not part:
            break
        read += part
    return read.decode("utf-8", "replace")


@pytest.mark.slow
@pytest.mark.parametrize(("number", "text", "more", "is_coloured"), [
    (signal.SIGINT, "the agent", {}, True),
    (signal.SIGINT, "Incident #1 is open", {"NO_COLOR": "1"}, False),
    (signal.SIGTERM, "2. The agent is slow", {}, True),
    (signal.SIGHUP, "PagerDuty", {}, True),
])
def test_it_can_be_ended_at_any_time(tmp_path: Path, number: int, text: str, more: dict[str, str], is_coloured: bool) -> None:
    process, ours = terminal([PROGRAM, "demo", "--port", str(free_port())], tmp_path, **more)
    try:
        shown = read_until(ours, text)
        assert text in shown
        began = time.monotonic()
        process.send_signal(number)
        shown += read_until(ours, "there is no such text: read to the end")
        assert process.wait(10) == 0
        assert time.monotonic() - began < 3
    finally:
        process.kill()
        process.wait()
        os.close(ours)
    assert "Traceback" not in shown
    assert "The demo has ended." in shown
    assert ("\x1b[" in shown) is is_coloured
    assert left_behind(tmp_path) == []


@pytest.mark.slow
def test_a_port_that_is_taken_is_said_plainly(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        done = subprocess.run([PROGRAM, "demo", "--once", "--port", str(port)], env=environment(tmp_path), cwd=tmp_path / "here",
                              capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith(f"alerthub: port {port} of 127.0.0.1 is taken by another program")
    assert done.stderr.count("\n") == 1
    assert left_behind(tmp_path) == []


@pytest.mark.slow
def test_a_reader_that_goes_away_ends_it_quietly(tmp_path: Path) -> None:
    process = subprocess.Popen([PROGRAM, "demo", "--port", str(free_port())], env=environment(tmp_path), cwd=tmp_path / "here",
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        process.stdout.read(10)
        process.stdout.close()
        assert process.wait(STORY_SECONDS) == 1
        assert process.stderr.read() == b""
    finally:
        process.kill()
        process.wait()
        process.stderr.close()
    assert left_behind(tmp_path) == []


# --- on a stage in this process ---------------------------------------------------------------------------------------------

class Paper(io.StringIO):
    """A stream that one can wait on, as long as somebody writes."""

    def __init__(self) -> None:
        super().__init__()
        self.written = asyncio.Event()

    def flush(self) -> None:
        self.written.set()

    async def until(self, text: str, playing: asyncio.Task[None]) -> str:
        playing.add_done_callback(lambda _: self.written.set())
        async with asyncio.timeout(STORY_SECONDS):
            while text not in self.getvalue() and not playing.done():
                self.written.clear()
                await self.written.wait()
        if playing.done():
            playing.result()
        assert text in self.getvalue()
        return self.getvalue()


class Hurried(SystemClock):
    """Leaves out the pauses for readers."""

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(0)


def command_of(text: str) -> list[str]:
    """The command that the newcomer is invited to copy, as a shell reads it."""
    match = re.search(r"curl .*?}'", text, flags=re.DOTALL)
    assert match is not None
    return shlex.split(match[0])


@pytest.mark.slow
@pytest.mark.anyio
async def test_it_stays_open_for_the_newcomers_own_alert(tmp_path: Path) -> None:
    paper, stop, accounts = Paper(), asyncio.Event(), Accounts()
    playing = asyncio.create_task(perform(0, Screen(paper), stop, once=False, accounts=accounts, clock=Hurried(), place=tmp_path))
    try:
        text = await paper.until("Ctrl-C ends the demo", playing)
        _, url, _, body = command_of(text)
        (folder,) = tmp_path.iterdir()
        assert f"{folder}/" in text.replace("\n   ", "")
        assert folder.stat().st_mode & 0o077 == 0
        async with httpx.AsyncClient(trust_env=False) as http:
            assert (await http.post(url, content=body)).status_code == 200
            await paper.until("FIRING: MyFirst", playing)
            assert "FeatureDriftDetected" in (await http.get(url.replace("/hooks/alertmanager", "/"))).text
            reloaded = await http.post(url.replace("/hooks/alertmanager", "/api/v1/reload"))
            assert (reloaded.status_code, reloaded.json()["status"]) == (200, "reloaded")
    finally:
        stop.set()
        await playing
    assert paper.getvalue().endswith("The demo has ended. Its files are removed, and nothing runs any more.\n")
    assert list(tmp_path.iterdir()) == []
    for name in Accounts.__dataclass_fields__:
        assert getattr(accounts, name) not in paper.getvalue()
    with pytest.raises(OSError):
        socket.create_connection(("127.0.0.1", httpx.URL(url).port or 0), timeout=1).close()


@pytest.mark.anyio
async def test_a_fault_ends_it_with_its_reason_and_clears_away_all_the_same(tmp_path: Path) -> None:
    """Here: two secrets that the hub refuses to start with."""
    paper = Paper()
    accounts = Accounts(telegram_token="no token", action_secret="no key")
    with pytest.raises(AlerthubError, match=r"the bot token does not look like one|a signing secret is whsec_"):
        await perform(0, Screen(paper), asyncio.Event(), once=True, accounts=accounts, place=tmp_path)
    assert paper.getvalue() == ""
    assert list(tmp_path.iterdir()) == []


@pytest.mark.anyio
async def test_what_is_stopped_before_it_begins_leaves_nothing(tmp_path: Path) -> None:
    paper, stop = Paper(), asyncio.Event()
    stop.set()
    await perform(0, Screen(paper), stop, once=True, place=tmp_path)
    assert "The demo has ended." in paper.getvalue()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("port", [-1, 65536, 1_000_000])
def test_what_is_no_port_is_said_plainly(port: int) -> None:
    with pytest.raises(AlerthubError, match=f"{port} is not a port"):
        stage.listen(port)


def test_without_room_for_its_files_it_says_so(tmp_path: Path) -> None:
    with pytest.raises(AlerthubError, match="cannot make a temporary folder: No such file"), \
            stage.temporary_folder(tmp_path / "gone"):
        pass
