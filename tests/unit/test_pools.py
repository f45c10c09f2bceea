"""Connections of calls out: kept and used again, few in one pool, whatever becomes of a request."""

from __future__ import annotations

import asyncio

import httpx
import pytest

from alerthub import pools
from alerthub.pools import Pools
from tests.kit.binaries import free_port
from tests.kit.providers.http import Answer, FakeProvider

pytestmark = pytest.mark.anyio


def under_way(found: Pools) -> list[int]:
    return [pool.under_way for members in found.origins.values() for pool in members]


async def test_calls_one_after_the_other_share_a_connection() -> None:
    async with FakeProvider() as provider, httpx.AsyncClient(transport=(found := Pools())) as client:
        for _ in range(3):
            assert (await client.post(provider.url, content=b"x")).status_code == 200
        assert under_way(found) == [0]
        ((pool,),) = found.origins.values()
        assert len(pool.transport._pool.connections) == 1


async def test_many_at_once_are_spread_over_small_pools() -> None:
    async with FakeProvider() as provider, httpx.AsyncClient(transport=(found := Pools())) as client:
        provider.script(hang=True, times=9)
        tasks = [asyncio.create_task(client.post(provider.url, content=b"x")) for _ in range(9)]
        await provider.expect(9)
        assert under_way(found) == [4, 4, 1]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert under_way(found) == [0, 0, 0]


async def test_what_only_a_storm_needs_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    async with FakeProvider() as provider, httpx.AsyncClient(transport=(found := Pools())) as client:
        await asyncio.gather(*(client.get(provider.url) for _ in range(9)))
        assert under_way(found) == [0, 0, 0]
        monkeypatch.setattr(pools, "KEPT_SECONDS", -1.0)
        await client.get(provider.url)
        assert under_way(found) == [0]


async def test_room_is_made_by_every_end_of_a_call() -> None:
    async with FakeProvider() as provider, httpx.AsyncClient(transport=(found := Pools())) as client:
        provider.script(drop=True)
        with pytest.raises(httpx.HTTPError):
            await client.post(provider.url, content=b"x")
        with pytest.raises(httpx.ConnectError):
            await client.post(f"http://127.0.0.1:{free_port()}/", content=b"x")
        async with client.stream("GET", provider.url) as answer:
            assert sum(under_way(found)) == 1
            assert answer.status_code == 200
        await answer.aclose()       # a second time
        assert under_way(found) == [0, 0]


async def test_a_body_cut_off_half_way_is_told_as_httpx_tells_it() -> None:
    async with FakeProvider(lambda _: Answer(body=b"half of it", drip=True)) as provider:
        async with httpx.AsyncClient(transport=(found := Pools()), timeout=0.2) as client:
            with pytest.raises(httpx.ReadTimeout):
                await client.get(provider.url)
        assert under_way(found) == []


async def test_of_many_origins_the_idle_ones_are_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pools, "ORIGINS", 2)
    async with (FakeProvider() as busy, FakeProvider() as old, FakeProvider() as other, FakeProvider() as new,
                httpx.AsyncClient(transport=(found := Pools())) as client):
        async with client.stream("GET", busy.url):
            for provider in (old, other, new):
                await client.get(provider.url)
            assert [port for _, _, port in found.origins] == [busy.port, new.port]
        assert (await client.get(old.url)).status_code == 200


async def test_an_answer_is_not_lost_by_letting_go_of_another_origin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pools, "ORIGINS", 1)
    async with FakeProvider() as old, FakeProvider() as new, httpx.AsyncClient(transport=(found := Pools())) as client:
        await client.get(old.url)
        ((pool,),) = found.origins.values()

        close = pool.transport.aclose

        async def broken() -> None:
            await close()
            raise OSError("its other end is gone")
        monkeypatch.setattr(pool.transport, "aclose", broken)
        assert (await client.post(new.url, content=b"x")).status_code == 200
        assert under_way(found) == [0]


async def test_a_call_that_is_cut_off_while_another_origin_is_let_go_takes_no_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pools, "ORIGINS", 1)
    async with FakeProvider() as old, FakeProvider() as new, httpx.AsyncClient(transport=(found := Pools())) as client:
        await client.get(old.url)
        ((pool,),) = found.origins.values()
        await pool.transport.aclose()
        monkeypatch.setattr(pool.transport, "aclose", asyncio.Event().wait)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                await client.get(new.url)
        assert under_way(found) == [0]


async def test_the_environment_names_no_authorities(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", "/nowhere/authorities.pem")
    await Pools().aclose()


async def test_the_certificate_is_checked() -> None:
    found = Pools()
    assert found.verify.verify_mode.name == "CERT_REQUIRED"     # type: ignore[union-attr]
