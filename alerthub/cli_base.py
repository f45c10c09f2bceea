"""What the commands share: their options, how they fail, and how they ask the running hub."""

from __future__ import annotations

import getpass
import ipaddress
import json
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import click
import httpx

from alerthub import log
from alerthub.config import Config, load
from alerthub.equipment import hide_secrets, outbound
from alerthub.errors import AlerthubError, ConfigError
from alerthub.outbound import NO_ANSWER
from alerthub.settings import revealed

P = ParamSpec("P")
T = TypeVar("T")

config_option = click.option("--config", "path", type=click.Path(path_type=Path), envvar="ALERTHUB_CONFIG",
                             help="The configuration file (default: ALERTHUB_CONFIG, then alerthub.yml here, else none).")
token_option = click.option("--token-file", "token_file", type=click.Path(path_type=Path, exists=True, dir_okay=False),
                            help="Your own token, by which the hub knows you (default: ALERTHUB_TOKEN, then server.api_token).")
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, for a machine to read.")


def number_of(text: str) -> int:
    """The type of an argument: `2`, also as people and messages write it: `#2`."""
    digits = text.removeprefix("#")
    if not (digits.isascii() and digits.isdigit() and len(digits) < 16 and int(digits)):
        raise click.BadParameter(f"{text[:40]!r} is not a number; write it like 17 or '#17'")
    return int(digits)


def fails_plainly(command: Callable[P, T]) -> Callable[P, T]:
    """An error of ours is its text on stderr, or JSON on stdout where JSON was asked for, and exit code 1; never a traceback."""

    @wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return command(*args, **kwargs)
        except AlerthubError as error:
            told = [str(problem) for problem in error.problems] if isinstance(error, ConfigError) else [f"alerthub: {error}"]
            if kwargs.get("as_json"):
                click.echo(json.dumps({"error": log.redact(str(error)), **getattr(error, "more", {})}, ensure_ascii=False))
            for line in [] if kwargs.get("as_json") else told:
                click.echo(log.redact(line), err=True)
            sys.exit(1)

    return run


def user() -> str:
    """Who runs this, for history."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):     # a container whose user has no name
        return "cli"


def find_config(path: Path | None) -> Path | None:
    """The file asked for, else alerthub.yml in the working directory, else none."""
    if path is not None:
        return path
    here = Path("alerthub.yml")
    return here if here.exists() else None


def configured(path: Path | None) -> Config:
    """The configuration that counts. None of its secrets is printed from now on."""
    config = load(find_config(path), os.environ)
    hide_secrets(config)
    return config


class NoHub(AlerthubError):
    """Nothing listens where the hub would: a command that can do without it goes on."""


class HubRefused(AlerthubError):
    """The hub has answered no. The text is its sentence; `more` is for a machine: the HTTP status, and the outcome if told."""

    def __init__(self, status: int, text: str, outcome: str = "") -> None:
        self.status, self.outcome = status, outcome
        self.more = {"status": status, **({"outcome": outcome} if outcome else {})}
        super().__init__(text)


def token_from(file: Path | None) -> str:
    """A person's own token; empty when they give none. It is printed nowhere."""
    try:
        token = file.read_text(encoding="utf-8").strip() if file is not None else os.environ.get("ALERTHUB_TOKEN", "").strip()
    except (OSError, ValueError):
        raise AlerthubError(f"{file} cannot be read") from None
    if file is not None and not token:
        raise AlerthubError(f"{file} is empty; put your token into it")
    if not token.isascii() or not token.isprintable():
        raise AlerthubError("that token is none of the hub's: it has characters that no header can hold")
    if token:
        log.hide(token)
    return token


async def ask_hub(config: Config, method: str, path: str, body: object = None, token: str = "") -> dict[str, Any]:
    """What the running hub answers to a call of /api/v1/. Raises NoHub when it does not run, HubRefused when it says no.
    `token`: a person's own, instead of the shared one."""
    content = await ask_hub_for_bytes(config, method, path, token or token_from(None), json=body)
    try:
        return {**json.loads(content)}
    except (ValueError, TypeError):
        raise not_ours(config) from None


async def ask_hub_for_bytes(config: Config, method: str, path: str, token: str = "", **more: Any) -> bytes:
    """The same, whatever the answer holds; `more` as httpx takes it."""
    url = f"http://{reachable(*config.listen)}/api/v1/{path}"
    token = token or revealed(config.model.server.api_token) or ""
    try:
        async with outbound() as http:
            answer = await http.request(method, url, headers={"authorization": f"Bearer {token}"} if token else {}, **more)
        if not answer.is_success:
            said = answer.json()
            raise HubRefused(answer.status_code, str(said["detail"]), str(said.get("outcome", "")))
        return answer.content
    except httpx.ConnectError:
        raise NoHub(f"no hub answers on {config.model.server.listen}; start it with alerthub serve") from None
    except NO_ANSWER:
        raise AlerthubError(f"the hub on {config.model.server.listen} does not answer; see its log") from None
    except (ValueError, KeyError, TypeError):
        raise not_ours(config) from None


def not_ours(config: Config) -> AlerthubError:
    return AlerthubError(f"what answers on {config.model.server.listen} is not alerthub")


def reachable(host: str, port: int) -> str:
    """The address on which this machine reaches what listens there; also when that is on all addresses."""
    with suppress(ValueError):
        address = ipaddress.ip_address(host)
        found = ("127.0.0.1" if address.version == 4 else "::1") if address.is_unspecified else host
        host = f"[{found}]" if address.version == 6 else found
    return f"{host}:{port}"
