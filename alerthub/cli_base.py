"""What the commands share: their options, how they fail, and how they ask the running hub."""

from __future__ import annotations

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
from alerthub.settings import revealed

P = ParamSpec("P")
T = TypeVar("T")

config_option = click.option("--config", "path", type=click.Path(path_type=Path), envvar="ALERTHUB_CONFIG",
                             help="The configuration file (default: ALERTHUB_CONFIG, then alerthub.yml here, else none).")
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, for a machine to read.")


def fails_plainly(command: Callable[P, T]) -> Callable[P, T]:
    """An error of ours is its text on stderr and exit code 1, never a traceback."""

    @wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return command(*args, **kwargs)
        except ConfigError as error:
            for problem in error.problems:
                click.echo(log.redact(str(problem)), err=True)
            sys.exit(1)
        except AlerthubError as error:
            click.echo(log.redact(f"alerthub: {error}"), err=True)
            sys.exit(1)

    return run


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


async def ask_hub(config: Config, method: str, path: str, body: object = None) -> dict[str, Any]:
    """What the running hub answers to a call of /api/v1/. Raises NoHub when it does not run, AlerthubError when it refuses."""
    content = await ask_hub_for_bytes(config, method, path, json=body)
    try:
        return {**json.loads(content)}
    except (ValueError, TypeError):
        raise not_ours(config) from None


async def ask_hub_for_bytes(config: Config, method: str, path: str, **more: Any) -> bytes:
    """The same, whatever the answer holds; `more` as httpx takes it."""
    url = f"http://{reachable(*config.listen)}/api/v1/{path}"
    token = revealed(config.model.server.api_token)
    try:
        async with outbound() as http:
            answer = await http.request(method, url, headers={"authorization": f"Bearer {token}"} if token else {}, **more)
        if not answer.is_success:
            raise AlerthubError(f"the hub answered {answer.status_code}: {answer.json()['detail']}")
        return answer.content
    except httpx.ConnectError:
        raise NoHub(f"no hub answers on {config.model.server.listen}; start it with alerthub serve") from None
    except httpx.HTTPError:
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
