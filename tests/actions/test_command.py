"""The command action, with real programs: no shell between, nothing of the hub's own in its hands, and nothing left running."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, ClassVar

import pytest
from pydantic import ValidationError

from alerthub import log
from alerthub.actions.base import Action, ActionWire, Outcome, Report
from alerthub.actions.command import OUTPUT_BYTES, Command, CommandSettings
from alerthub.actions.exchange import WebTarget
from alerthub.clock import SystemClock
from alerthub.config import load
from alerthub.errors import ConfigError
from tests.actions.contract import RUN, ActionContract, SteppingClock, call
from tests.kit.messages import HOSTILE, NOW
from tests.unit.config_files import REST

pytestmark = pytest.mark.anyio
PRINTF, ENV, TRUE, FALSE, SLEEP, SH = (f"/usr/bin/{name}" for name in ("printf", "env", "true", "false", "sleep", "sh"))
SECRET = "s3cret-of-the-hub"


def action(*argv: str, clock: SystemClock | None = None, **settings: Any) -> Command:
    config = CommandSettings.model_validate({"name": "run-it", "type": "command", "argv": argv, **settings})
    return Command(config, None, ActionWire(None, clock or SystemClock()))      # type: ignore[arg-type]


async def report_of(*argv: str, parameters: dict[str, Any] | None = None, seconds: float = 20, **settings: Any) -> Report:
    now = SystemClock().now()
    async with asyncio.timeout(30):
        return await action(*argv, **settings).run(
            call(parameters=parameters or {}, deadline=now + timedelta(seconds=seconds), created_at=now))


class TestCommand(ActionContract):
    """What the contract says of requests is said here of programs."""

    kind = "command"
    settings: ClassVar[dict[str, Any]] = {"name": "run-it", "type": "command", "argv": [TRUE]}

    # Of a target that is asked over HTTP: there is none.
    test_an_address_with_two_readings_is_refused = test_credentials_in_an_address_are_refused_with_the_way_out = None
    test_a_target_that_cannot_be_is_refused_by_name = test_it_proves_who_asks_and_carries_its_id = None
    test_a_target_that_does_it_makes_a_success_with_its_evidence = test_without_credentials_it_sends_none = None
    test_hostile_text_is_only_ever_a_text_in_the_body = test_a_target_that_is_never_reached_is_a_failure_at_the_deadline = None
    test_a_target_that_comes_back_is_reached = test_an_answer_that_is_lost_is_unknown = None
    test_a_target_that_stays_silent_is_unknown_at_the_deadline = test_a_redirect_is_not_followed = None
    test_a_host_that_takes_no_connection_in_time_is_a_failure = test_an_answer_that_makes_no_sense_breaks_nothing = None
    test_a_huge_answer_is_not_read_to_its_end = test_a_gzip_bomb_does_not_unfold = None
    test_an_answer_that_drips_ends_at_the_deadline = test_cancelling_a_run_cancels_it = None
    test_no_secret_is_reported_printed_or_logged = test_no_time_left_means_no_request = None
    test_a_clock_that_is_set_back_meanwhile_prolongs_nothing = test_a_redirect_to_no_address_is_a_redirect = None
    test_a_clock_that_is_set_forward_meanwhile_ends_what_does_not_tighten = None

    @asynccontextmanager
    async def opened(self, clock: SystemClock | None = None, **target: Any) -> AsyncIterator[tuple[None, Action]]:
        self.clock = clock or SteppingClock()
        self.wire = ActionWire(None, self.clock)        # type: ignore[arg-type]
        yield None, self.action(None)

    async def test_a_target_of_another_type_is_refused_when_it_is_built(self) -> None:
        async with self.opened():
            with pytest.raises(ValueError, match="run-it acts on targets of type none"):
                self.action(WebTarget(name="other", type="other", url="http://h"))

    @pytest.mark.parametrize(("wrong", "word"), [
        ({"unknown": 1}, "unknown"), ({"parameters": {"__x": "y"}, "argv": [TRUE]}, "__"), ({"labels": ["__name__"]}, "__"),
        ({"labels": ["a"], "parameters": {"a": "x"}}, "keep one"), ({"pattern": "("}, "regular expression"),
        ({"name": "two\nlines"}, "name"), ({"deadline": "0"}, "longer than 0"), ({"max_per_hour": -1}, "max_per_hour"),
        ({"direction": "tighten", "cooldown": "1h"}, "cooldown"), ({"direction": "tighten", "labels": ["a"]}, "labels"),
        ({"target": "agent-btc"}, "no target"), ({"targets": ["a"]}, "no target"), ({"target_label": "agent"}, "no target"),
        ({"argv": []}, "argv"), ({"argv": ["true"]}, "absolute path"), ({"argv": ["./true"]}, "absolute path"),
        ({"argv": ["/usr/bin/../bin/true"]}, "absolute path"), ({"argv": ["//usr/bin/x/"]}, "absolute path"),
        ({"argv": [TRUE, "a\0b"]}, "NUL"), ({"argv": f"{TRUE} -x"}, "argv"), ({"argv": [TRUE, 7]}, "argv"),
        ({"verify": ["true"]}, "absolute path"), ({"argv": [TRUE, "--host={host}"], "labels": ["host"]}, "whole argument"),
        ({"argv": [TRUE, "{host}{host}"], "labels": ["host"]}, "whole argument"), ({"labels": ["host"]}, "host is not in argv"),
        ({"argv": ["{host}"], "labels": ["host"]}, "absolute path"), ({"memory_mib": 1}, "memory_mib"),
    ])
    def test_a_setting_that_cannot_be_is_refused_by_name(self, wrong: dict[str, Any], word: str) -> None:
        with pytest.raises(ValidationError) as caught:
            self.action_class.Config.model_validate({**self.settings, **wrong})
        assert word in str(caught.value)


class SetWhileItRuns(SteppingClock):
    """By the second look, `passed` seconds have gone by, and the clock on the wall shows others."""

    def __init__(self, passed: float, shown: float) -> None:
        super().__init__()
        self.passed, self.shown, self.looks = passed, shown, 0

    def monotonic(self) -> float:
        self.looks += 1
        if self.looks == 2:
            self.at += timedelta(seconds=self.shown)
        return self.passed if self.looks > 1 else 0.0


@pytest.mark.parametrize(("direction", "passed", "shown", "outcome"), [
    ("neutral", 31, -3600, Outcome.failed), ("tighten", 31, -3600, Outcome.failed),
    ("neutral", 1, 3600, Outcome.failed), ("tighten", 1, 3600, Outcome.succeeded),
])
async def test_a_clock_that_is_set_starts_nothing_too_late_and_keeps_no_tighten_from_it(
        direction: str, passed: float, shown: float, outcome: Outcome) -> None:
    clock = SetWhileItRuns(passed, shown)
    async with asyncio.timeout(30):
        report = await action(TRUE, direction=direction, clock=clock).run(call())
    assert clock.looks > 1
    assert report.outcome is outcome


# --- done ---------------------------------------------------------------------------------------------------------------


async def test_a_program_that_exits_with_0_is_a_success_with_its_evidence() -> None:
    report = await report_of(PRINTF, "%s-%s", "{agent}", "done", labels=["agent"], parameters={"agent": "btc"})
    assert report == Report(Outcome.succeeded, "it exited with 0: btc-done",
                            {"argv": [PRINTF, "%s-%s", "btc", "done"]}, {"exit": 0, "output": "btc-done"})
    json.dumps([report.request, report.answer, report.verified])


@pytest.mark.parametrize("value", [*HOSTILE, "$(id)", "`id`", "a; id", "a b  c", "*", "~", "$HOME", "{agent}", "'\"", "é"],
                         ids=lambda value: ascii(value[:12]))
async def test_a_value_is_one_argument_whatever_it_holds(value: str) -> None:
    """The allow-list of values stands before it (see base); no shell stands behind."""
    value = value.replace("\0", "").encode("utf-8", "ignore").decode()
    program = 'import sys; print(len(sys.argv), ascii(sys.argv[2]) == sys.argv[3].replace("<", "{") or "<" in sys.argv[2])'
    python = os.path.realpath("/usr/bin/python3")
    report = await report_of(python, "-c", program, "first", "{agent}", ascii(value).replace("{", "<"), labels=["agent"],
                             parameters={"agent": value})
    assert report.outcome is (Outcome.failed if value.startswith("-") else Outcome.succeeded)
    if report.outcome is Outcome.succeeded:
        assert report.answer["output"] == "4 True"


@pytest.mark.parametrize("value", ["-rf", "--help", "-"])
async def test_a_value_that_could_be_an_option_is_refused(value: str) -> None:
    report = await report_of(PRINTF, "{agent}", labels=["agent"], parameters={"agent": value})
    assert report.outcome is Outcome.failed
    assert "refused: the value of agent" in report.detail
    assert value not in report.detail.replace("begins with -", "")


async def test_it_sees_nothing_of_the_hub() -> None:
    report = await report_of(ENV, "-0")
    names = {pair.partition("=")[0] for pair in report.answer["output"].split(" ")}
    assert names == {"PATH", "LANG", "ALERTHUB_RUN_ID", "ALERTHUB_ACTION", "ALERTHUB_INCIDENT_ID", "ALERTHUB_INCIDENT",
                     "ALERTHUB_CREATED_AT"}
    assert set(os.environ) - names, "the hub has more than it gives"
    assert RUN in report.answer["output"]
    assert (await report_of("/usr/bin/pwd")).answer["output"] == "/"
    assert (await report_of("/usr/bin/cat")).answer["output"] == "", "nothing comes in"


async def test_it_leads_a_session_of_its_own_within_its_limits() -> None:
    python = os.path.realpath("/usr/bin/python3")
    program = ("import os, resource as r, time\n"
               "while r.getrlimit(r.RLIMIT_CORE)[0]: time.sleep(0.01)\n"
               "print(os.getsid(0) == os.getpid(), r.getrlimit(r.RLIMIT_AS)[1], r.getrlimit(r.RLIMIT_CPU)[1])")
    assert (await report_of(python, "-c", program, memory_mib=256)).answer["output"] == f"True {256 * 1024**2} 20"


async def test_what_it_prints_is_cut_and_read_to_its_end() -> None:
    report = await report_of("/usr/bin/head", "-c", "3000000", "/dev/zero")
    assert report.outcome is Outcome.succeeded
    report = await report_of("/usr/bin/seq", "1000000")
    assert report.outcome is Outcome.succeeded
    assert len(report.answer["output"]) <= OUTPUT_BYTES
    assert len(report.detail) < 300


async def test_a_secret_that_it_prints_is_not_shown() -> None:
    log.hide(SECRET)
    report = await report_of(PRINTF, f"%s\\033[2J\\n{SECRET[:5]}\\000{SECRET[5:]}", SECRET)
    assert SECRET not in repr(report)
    assert SECRET not in report.answer["output"]
    assert report.answer["output"].isprintable()


# --- not done, or in doubt ----------------------------------------------------------------------------------------------


async def test_another_exit_is_a_failure_with_what_it_said() -> None:
    report = await report_of("/usr/bin/ls", "/no/such/folder")
    assert report.outcome is Outcome.failed
    assert report.detail.startswith("it exited with 2: ")
    assert "/no/such/folder" in report.detail


async def test_what_cannot_be_started_is_a_failure(tmp_path: Path) -> None:
    text, open_to_all = tmp_path / "text", tmp_path / "open"
    text.write_text("no program")
    open_to_all.write_bytes(Path(TRUE).read_bytes())
    open_to_all.chmod(0o777)
    for program, word in ((str(text), "cannot be started"), (str(tmp_path / "none"), "No such file"),
                          (str(tmp_path), "is no file"), (str(open_to_all), "others may write")):
        report = await report_of(program)
        assert report.outcome is Outcome.failed
        assert word in report.detail


async def test_no_time_left_means_that_nothing_is_started(tmp_path: Path) -> None:
    report = await report_of("/usr/bin/touch", str(tmp_path / "made"), seconds=0)
    assert report.outcome is Outcome.failed
    assert "deadline" in report.detail
    assert not (tmp_path / "made").exists()


async def test_a_run_that_was_broken_off_is_not_run_again(tmp_path: Path) -> None:
    made = tmp_path / "made"
    report = await action("/usr/bin/touch", str(made), clock=SteppingClock()).run(call(resumed=True))
    assert report.outcome is Outcome.unknown
    assert not made.exists()
    assert (await action("/usr/bin/touch", str(made), clock=SteppingClock()).run(call(deadline=NOW))).outcome is Outcome.failed


def alive(group: int) -> bool:
    """Whether anything of a process group still runs."""
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                state, _, pgrp = (folder / "stat").read_text().rpartition(")")[2].split()[:3]
            except OSError:
                continue
            if int(pgrp) == group and state not in "ZX":
                return True
    return False


FAMILY = 'echo $$; /usr/bin/sleep 600 & /usr/bin/sleep 600'


async def test_at_the_deadline_it_is_killed_with_all_its_children_and_in_doubt() -> None:
    report = await report_of(SH, "-c", FAMILY, seconds=0.5)
    assert report.outcome is Outcome.unknown
    assert "killed at its deadline" in report.detail
    group = int(report.detail.rpartition(": ")[2])
    while alive(group):      # the kernel needs a moment to end them; the test's own time limit is the end of this
        await asyncio.sleep(0)


async def test_what_it_leaves_running_does_not_hold_the_run_and_is_ended() -> None:
    report = await report_of(SH, "-c", "echo $$; /usr/bin/sleep 600 &")
    assert report.outcome is Outcome.succeeded
    group = int(report.answer["output"])
    while alive(group):
        await asyncio.sleep(0)


async def test_cancelling_a_run_ends_the_program(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    running = asyncio.ensure_future(report_of(SH, "-c", f"echo $$ > {pipe}; exec /usr/bin/sleep 600"))
    told = asyncio.Event()
    asyncio.get_running_loop().add_reader(reader, told.set)
    await asyncio.wait_for(told.wait(), 20)
    asyncio.get_running_loop().remove_reader(reader)
    group = int(os.read(reader, 100))
    os.close(reader)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert not alive(group)


@pytest.mark.parametrize(("word", "name"), [("kill -9 $$", "SIGKILL"), ("kill -TERM $$", "SIGTERM")])
async def test_an_end_by_a_signal_is_in_doubt(word: str, name: str) -> None:
    report = await report_of(SH, "-c", word)
    assert report.outcome is Outcome.unknown
    assert name in report.detail


# --- verified -----------------------------------------------------------------------------------------------------------


async def test_it_is_verified_by_a_second_program(tmp_path: Path) -> None:
    made = str(tmp_path / "made")
    good = await report_of("/usr/bin/touch", made, verify=["/usr/bin/ls", made])
    assert (good.outcome, good.verified) == (Outcome.succeeded, f"exit 0: {made}")
    bad = await report_of(TRUE, verify=[FALSE])
    assert (bad.outcome, bad.verified) == (Outcome.unknown, "")
    assert "verification with 1" in bad.detail
    assert bad.answer == {"exit": 0, "output": "", "verify_exit": 1, "verify_output": ""}
    gone = await report_of(TRUE, verify=["/no/such/program"])
    assert gone.outcome is Outcome.unknown
    slow = await report_of(TRUE, verify=[SLEEP, "600"], seconds=0.5)
    assert slow.outcome is Outcome.unknown


async def test_what_failed_is_not_verified(tmp_path: Path) -> None:
    assert (await report_of(FALSE, verify=["/usr/bin/touch", str(tmp_path / "made")])).outcome is Outcome.failed
    assert not (tmp_path / "made").exists()


# --- allowed ------------------------------------------------------------------------------------------------------------


def problems_of(folder: Path, text: str) -> list[str]:
    file = folder / "alerthub.yml"
    file.write_text(f"{text}\n{REST}")
    try:
        load(file, {})
    except ConfigError as error:
        return [problem.text for problem in error.problems]
    return []


def test_no_program_is_allowed_until_it_is_listed(tmp_path: Path) -> None:
    entry = f"actions: [{{name: run-it, type: command, argv: [{TRUE}], verify: [{FALSE}]}}]"
    told = problems_of(tmp_path, entry)
    assert [text[:60] for text in told] == [f"action run-it starts {program}, which is not allowed; add it to the top"[:60]
                                            for program in (TRUE, FALSE)]
    assert f"{FALSE}, which is not allowed" in problems_of(tmp_path, f"commands: {{allow: [{TRUE}]}}\n{entry}")[0]
    assert problems_of(tmp_path, f"commands: {{allow: [{TRUE}, {FALSE}]}}\n{entry}") == []


@pytest.mark.parametrize("path", ["true", "/usr/bin/", "/usr/../bin/true", "/usr/bin/*/../true"])
def test_only_whole_paths_are_listed(path: str, tmp_path: Path) -> None:
    assert "absolute path" in problems_of(tmp_path, f"commands: {{allow: ['{path}']}}")[0]
