"""Whatever is asked that the document allows, and what it does not allow: never a 500, and no answer that is not in it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode

from alerthub.web.openapi import document
from tests.kit.clock import FakeClock
from tests.kit.documented import wrong_with
from tests.kit.hub import HERE, RunningHub
from tests.kit.lived_api import PERMIT, TOKENS, lived_hub

pytestmark = pytest.mark.slow
EXAMPLES = 20        # of each operation, each way
OPERATIONS = {f"{one.method.upper()} {one.path}": one for one in (
    found.ok() for found in schemathesis.openapi.from_dict(dict(document())).get_all_operations())}
WHO = ("", TOKENS["ayse"], TOKENS["emre"], PERMIT, "nobody's")
# What is there, so that not every question ends in 404.
KNOWN = {"reference": ("1", "2", "3"), "number": ("1", "2"), "id": ("1", "2"), "lane": ("1", "2"),
         "name": ("primary", "nightly", "selin"), "target": ("agent-btc",), "person": ("ayse",), "run": ()}


@pytest.fixture(scope="module")
def place() -> Iterator[tuple[asyncio.Runner, RunningHub]]:
    """One hub for all; what is asked changes it, as in life."""
    with asyncio.Runner() as runner:
        clock = FakeClock()
        context = lived_hub(clock)
        hub = runner.run(context.__aenter__())
        yield runner, hub
        runner.run(context.__aexit__(None, None, None))


def ways() -> Iterator[Any]:
    """Each operation as the document allows it; and as it does not, where anything is not allowed."""
    for name in sorted(OPERATIONS):
        method, _, path = name.partition(" ")
        told = document()["paths"][path][method.lower()]
        yield pytest.param(name, GenerationMode.POSITIVE, id=f"{name}, as allowed")
        if "requestBody" in told or any(one["in"] == "query" for one in told["parameters"]):
            yield pytest.param(name, GenerationMode.NEGATIVE, id=f"{name}, as not allowed")


@pytest.mark.parametrize(("name", "mode"), list(ways()))
def test_every_answer_is_one_of_the_document(place: tuple[asyncio.Runner, RunningHub], name: str, mode: GenerationMode) -> None:
    runner, hub = place
    operation = OPERATIONS[name]
    seen: list[int] = []

    @settings(max_examples=EXAMPLES, derandomize=True, database=None, deadline=None, phases=[Phase.generate],
              suppress_health_check=list(HealthCheck))
    @given(case=operation.as_strategy(generation_mode=mode), who=st.sampled_from(WHO), data=st.data())
    def ask(case: Any, who: str, data: st.DataObject) -> None:
        for one, known in KNOWN.items():
            if one in (case.path_parameters or {}) and known and data.draw(st.booleans()):
                case.path_parameters[one] = data.draw(st.sampled_from(known))
        request = case.as_transport_kwargs(base_url=HERE)
        answer = runner.run(asked(hub, request, who))
        seen.append(answer.status_code)
        assert answer.status_code != 500, answer.text
        wrong = wrong_with(case.method, answer.request.url.path, answer.status_code, answer.headers, answer.content)
        assert not wrong, f"{case.as_curl_command()}: {wrong}"

    ask()
    assert seen


async def asked(hub: RunningHub, request: dict[str, Any], who: str) -> httpx.Response:
    headers = {**dict(request.pop("headers", None) or {}), **({"authorization": f"Bearer {who}"} if who else {})}
    known = {name: value for name, value in request.items() if name in ("method", "url", "params", "json", "content")}
    if "data" in request:
        known["content"] = request["data"]
    return await hub.client.request(**known, headers=headers)
