"""A program of the hub's own machine: allowed by its path, started without a shell, killed with all it began at the deadline.

What may be started at all says `commands: {allow: […]}` of the configuration, which lists no program by default.
"""

from __future__ import annotations

import asyncio
import os
import re
import resource
import signal
import stat
import unicodedata
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import AfterValidator, BaseModel, Field, model_validator

from alerthub.actions.base import ActionSettings, ActionWire, Call, Outcome, Report, TargetSettings
from alerthub.actions.deadline import Deadline
from alerthub.errors import ActionFailed, ActionUnknown
from alerthub.log import redact

OUTPUT_BYTES = 64 * 1024        # more of what it prints is read and dropped, so that it does not wait for us
EXCERPT = 200                   # characters of it that people are shown
LAST_WORDS = 0.5                # seconds that what it left running may still print
PLACE = re.compile(r"\{([^{}]+)\}")
ENVIRONMENT = {"PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8"}


def check_argv(argv: tuple[str, ...]) -> tuple[str, ...]:
    if any("\0" in argument for argument in argv):
        raise ValueError("an argument holds no NUL")
    if argv and (not argv[0].startswith("/") or os.path.normpath(argv[0]) != argv[0]):
        raise ValueError("begin with the absolute path of a program, such as /usr/local/bin/restart-feed; no shell finds it")
    return argv


Argv = Annotated[tuple[str, ...], AfterValidator(check_argv)]


class CommandSettings(ActionSettings):
    """`{name}` as a whole argument is the value of a label or parameter of that name. `verify` is run when it has exited with
    0, and must do so too."""

    needs_target: ClassVar[bool] = False

    type: Literal["command"] = "command"
    argv: Annotated[Argv, Field(min_length=1)]
    verify: Argv = ()
    memory_mib: int = Field(default=1024, ge=16)

    @property
    def programs(self) -> tuple[str, ...]:
        """All that it may start, for the list of what is allowed."""
        return tuple(dict.fromkeys(argv[0] for argv in (self.argv, self.verify) if argv))

    @model_validator(mode="after")
    def check_places(self) -> Self:
        used, known = set(), {*self.labels, *self.parameters}
        for argument in (*self.argv[1:], *self.verify[1:]):
            for name in PLACE.findall(argument):
                if argument != f"{{{name}}}" and name in known:
                    raise ValueError(f"{{{name}}} is a whole argument, or none: a part of one can change what the rest means")
                used.add(name)
        if unused := sorted(known - used):
            raise ValueError(f"{unused[0]} is not in argv; write it there as \"{{{unused[0]}}}\", or remove it")
        return self

    @model_validator(mode="after")
    def check_no_target(self) -> Self:
        if self.target_names or self.target_label:
            raise ValueError("a command acts on no target of the configuration; say what it needs in argv")
        return self


@dataclass(frozen=True, slots=True)
class Ended:
    code: int
    output: str


class Command:
    kind: ClassVar[str] = "command"
    Config: ClassVar[type[BaseModel]] = CommandSettings
    Target: ClassVar[type[BaseModel] | None] = None
    resumable: ClassVar[bool] = False

    def __init__(self, config: CommandSettings, target: TargetSettings | None, wire: ActionWire) -> None:
        """Raises ValueError for a target: there is none."""
        if target is not None:
            raise ValueError(f"the action {config.name} acts on targets of type none: a command has no target")
        self._config, self._clock = config, wire.clock

    async def run(self, call: Call) -> Report:
        """Start it once, and wait for its end. Killed at the deadline, with all it started that did not leave its group."""
        request: dict[str, Any] = {}
        end = Deadline.of(call, self._config, self._clock)
        if call.resumed:
            return Report(Outcome.unknown, "the hub stopped while it ran; what it has done is not known", request)
        try:
            argv, verify = (filled(given, call.parameters) for given in (self._config.argv, self._config.verify))
            request |= {"argv": [redact(argument) for argument in argv]}
            ended = await self._end_of(argv, call, end)
        except ActionFailed as error:
            return Report(Outcome.failed, error.detail, request)
        except ActionUnknown as error:
            return Report(Outcome.unknown, error.detail, request)
        answer = {"exit": ended.code, "output": ended.output}
        if ended.code != 0:
            return Report(Outcome.failed, described("it exited with", ended), request, answer)
        if not verify:
            return Report(Outcome.succeeded, described("it exited with", ended), request, answer)
        return await self._verified(verify, call, end, request, answer)

    async def rehearse(self, call: Call, *, ask: bool) -> Report:
        """What would be started; in a dry run, whether it is a program that may be."""
        try:
            argv, verify = (filled(given, call.parameters) for given in (self._config.argv, self._config.verify))
            for program in {argv[0], *verify[:1]} if ask else ():
                check_program(program)
        except ActionFailed as error:
            return Report(Outcome.failed, error.detail)
        shown = [redact(argument) for argument in argv]
        return Report(Outcome.succeeded, " ".join(shown), {"argv": shown, "verify": [redact(argument) for argument in verify]})

    async def _verified(self, verify: list[str], call: Call, end: Deadline, request: dict[str, Any],
                        answer: dict[str, Any]) -> Report:
        request |= {"verify": [redact(argument) for argument in verify]}
        try:
            ended = await self._end_of(verify, call, end)
        except (ActionFailed, ActionUnknown) as error:
            return Report(Outcome.unknown, f"it exited with 0, and could not be verified: {error.detail}", request, answer)
        answer |= {"verify_exit": ended.code, "verify_output": ended.output}
        if ended.code != 0:
            return Report(Outcome.unknown, described("it exited with 0, but its verification with", ended), request, answer)
        return Report(Outcome.succeeded, "it exited with 0 and is verified", request, answer, described("exit", ended))

    async def _end_of(self, argv: list[str], call: Call, end: Deadline) -> Ended:
        """Raises ActionFailed when it was not started, ActionUnknown when it did not end by itself."""
        left = end.left()
        if left <= 0:
            raise ActionFailed("the deadline had passed before it could be started")
        check_program(argv[0])
        output = Output()
        try:
            process = await started(argv, call, output)
            limit(process.pid, left, self._config.memory_mib)
            return await end_of(process, output, left)
        finally:
            output.close()


async def started(argv: list[str], call: Call, output: Output) -> asyncio.subprocess.Process:
    """Raises ActionFailed."""
    try:
        process = await asyncio.create_subprocess_exec(
            *argv, stdin=asyncio.subprocess.DEVNULL, stdout=output.sink, stderr=output.sink, cwd="/", env=environment(call),
            start_new_session=True)
    except (OSError, ValueError) as error:
        raise ActionFailed(f"it cannot be started: {getattr(error, 'strerror', None) or type(error).__name__}") from None
    output.listen()
    return process


class Output:
    """What a program prints. A pipe of our own: asyncio's would keep `wait` until all that inherited it have ended, too."""

    def __init__(self) -> None:
        self.kept, self.ended = bytearray(), asyncio.Event()
        self.source, self.sink = os.pipe()
        os.set_blocking(self.source, False)

    def listen(self) -> None:
        os.close(self.sink)
        self.sink = -1
        asyncio.get_running_loop().add_reader(self.source, self._read)

    def _read(self) -> None:
        chunk = os.read(self.source, OUTPUT_BYTES)
        self.kept += chunk[:OUTPUT_BYTES - len(self.kept)]
        if not chunk:
            asyncio.get_running_loop().remove_reader(self.source)
            self.ended.set()

    def close(self) -> None:
        asyncio.get_running_loop().remove_reader(self.source)
        for end in (self.source, self.sink):
            if end >= 0:
                os.close(end)


async def end_of(process: asyncio.subprocess.Process, output: Output, seconds: float) -> Ended:
    """Whatever happens here, nothing of its group runs on."""
    try:
        async with asyncio.timeout(seconds):
            code = await process.wait()
        with suppress(TimeoutError):
            async with asyncio.timeout(LAST_WORDS):
                await output.ended.wait()
    except TimeoutError:
        raise ActionUnknown(f"killed at its deadline; what it has done is not known{said(shown(output.kept))}") from None
    finally:
        if process.returncode is None or not output.ended.is_set():     # it, or what it began, still runs
            kill_group(process.pid)
            await process.wait()
    if code < 0:
        raise ActionUnknown(f"ended by signal {signal_name(-code)}; what it has done is not known{said(shown(output.kept))}")
    return Ended(code, shown(output.kept))


def kill_group(group: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGKILL)


def limit(pid: int, seconds: float, memory_mib: int) -> None:
    """From outside, where the system can: code between fork and exec is not safe beside threads. Children inherit it."""
    if not hasattr(resource, "prlimit"):
        return
    memory, cpu = memory_mib * 1024**2, int(seconds) + 1
    for kind, most in ((resource.RLIMIT_AS, memory), (resource.RLIMIT_CPU, cpu), (resource.RLIMIT_CORE, 0)):
        with suppress(OSError, ValueError):     # it has ended already, or is held tighter
            resource.prlimit(pid, kind, (most, most))


def filled(argv: tuple[str, ...], parameters: Mapping[str, str | int | float | bool]) -> list[str]:
    """Raises ActionFailed for a value that the program could take for an option."""
    found = list(argv[:1])
    for argument in argv[1:]:
        name = argument[1:-1] if PLACE.fullmatch(argument) else ""
        if name not in parameters:
            found.append(argument)
            continue
        value = str(parameters[name])
        if value.startswith("-") or "\0" in value:
            raise ActionFailed(f"refused: the value of {name} begins with - or holds NUL, so it could be read as an option")
        found.append(value)
    return found


def check_program(path: str) -> None:
    """Raises ActionFailed for what is no program, or what others may have changed."""
    try:
        mode = os.stat(path).st_mode
    except OSError as error:
        raise ActionFailed(f"it cannot be started: {path}: {error.strerror}") from None
    if not stat.S_ISREG(mode) or mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise ActionFailed(f"it is not started: {path} is no file, or one that others may write; chmod go-w")


def environment(call: Call) -> dict[str, str]:
    """All of it: nothing of the hub's own, which may hold secrets."""
    return {**ENVIRONMENT, "ALERTHUB_RUN_ID": call.id, "ALERTHUB_ACTION": call.action, "ALERTHUB_INCIDENT_ID": call.incident_id,
            "ALERTHUB_INCIDENT": str(call.number), "ALERTHUB_CREATED_AT": call.created_at.isoformat()}


def shown(output: bytes | bytearray) -> str:
    """What it printed, one line, redacted before and after the control characters are gone."""
    text = redact(output.decode("utf-8", "replace"))
    line = "".join(" " if unicodedata.category(sign) in ("Cc", "Cf", "Cs", "Zl", "Zp") else sign for sign in text)
    return redact(" ".join(line.split()))


def said(output: str) -> str:
    return f": {output if len(output) <= EXCERPT else output[:EXCERPT - 1] + '…'}" if output else ""


def described(what: str, ended: Ended) -> str:
    return f"{what} {ended.code}{said(ended.output)}"


def signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return str(number)
