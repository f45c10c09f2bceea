"""`GET /api/v1/permits/{target}`: a lease that the agent's own client takes; safe with the alert, with a wrong key, and without
the hub."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from alerthub.domain.latch import LatchState, changed
from alerthub.domain.rules import PermitRule, Release
from alerthub.errors import Busy
from alerthub.log import redact
from alerthub.permit import Keeper, Permit, Reading, Refused, verifier
from alerthub.store import latches
from tests.guard.source import ROOT
from tests.kit.binaries import wait_until
from tests.kit.clock import START, FakeClock
from tests.kit.hub import RunningHub, running_hub
from tests.kit.hub_process import HubProcess
from tests.kit.webhooks import alert, webhook
from tests.unit.config_files import REST, configured, problems

pytestmark = pytest.mark.anyio
KEY = bytes(range(32))
SECRET = "whsec_" + base64.b64encode(KEY).decode()
OTHER = "whsec_" + base64.b64encode(KEY[::-1]).decode()
TOKEN = "0123456789abcdef"
BEARER = {"authorization": f"Bearer {TOKEN}"}
TTL = 1.5       # seconds, of the hub that runs as a process
CONFIG = f"""
targets:
  - {{name: agent-btc, type: agent, url: 'http://127.0.0.1:9', permit: {{ttl: 15s, secret: {SECRET}, token: {TOKEN}}}}}
  - {{name: agent-own, type: agent, url: 'http://127.0.0.1:9', secret: {OTHER}, permit: {{token: another-token-of-16}}}}
  - {{name: agent-bare, type: agent, url: 'http://127.0.0.1:9'}}
  - {{name: a/b c, type: agent, url: 'http://127.0.0.1:9', permit: {{secret: {SECRET}, token: {TOKEN}}}}}
actions: [{{name: safe-mode, type: safe_mode, target_label: agent}}]
receivers: [{{name: console, console_configs: [{{}}]}}]
route: {{receiver: console, group_by: [alertname], actions: [safe-mode]}}
"""
PATH = "/api/v1/permits/agent-btc"


@pytest.fixture
async def hub(clock: FakeClock) -> AsyncIterator[RunningHub]:
    async with running_hub(CONFIG, clock=clock) as running:
        yield running


async def mode(hub: RunningHub, path: str = PATH) -> str:
    return str((await hub.json(path, headers=BEARER))["mode"])


async def test_the_agent_s_client_takes_what_the_hub_gives(hub: RunningHub) -> None:
    answer = await hub.get(PATH, headers=BEARER)
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"
    assert list(answer.json()) == ["target", "mode", "issued_at", "expires_at", "sequence", "signature"]
    asked = Reading(START.timestamp(), 0.0)
    keeper = Keeper("agent-btc", verifier(SECRET))
    assert keeper.take(answer.content, asked) == 15.0
    assert keeper.why_not(asked) == ""
    assert answer.json()["mode"] == "armed"


async def test_each_lease_has_a_higher_number(hub: RunningHub) -> None:
    answers = await asyncio.gather(*(hub.json(PATH, headers=BEARER) for _ in range(5)))
    assert sorted(answer["sequence"] for answer in answers) == [1, 2, 3, 4, 5]
    assert (await hub.json("/api/v1/permits/a%2Fb%20c/", headers=BEARER))["sequence"] == 1


async def test_it_is_safe_in_the_moment_in_which_the_alert_is_answered(hub: RunningHub) -> None:
    body = json.dumps(webhook(alert("Reward", agent="agent-btc"))).encode()
    assert await mode(hub) == "armed"
    assert (await hub.post(body)).status_code == 200
    assert await mode(hub) == "safe"


@pytest.mark.parametrize(("state", "told"), [(state, "safe" if state.is_safe else "armed") for state in LatchState])
async def test_only_a_latch_that_is_open_is_armed(hub: RunningHub, state: LatchState, told: str) -> None:
    await hub.hub.store.write(lambda tx: latches.save(
        tx, changed(latches.lock(tx, ["agent-btc"], START)["agent-btc"], state, START)))
    assert await mode(hub) == told


@pytest.mark.parametrize("headers", [
    {}, {"authorization": "Bearer"}, {"authorization": f"Bearer {TOKEN}x"}, {"authorization": f"Basic {TOKEN}"},
    {"authorization": f"Bearer {TOKEN[:-1]}"}, {"authorization": "Bearer \xff\xfe"},
])
@pytest.mark.parametrize("target", ["agent-btc", "agent-bare", "nobody", "%00", "..%2f", "x" * 5000])
async def test_without_the_token_nobody_learns_which_targets_there_are(hub: RunningHub, headers: dict[str, str],
                                                                       target: str) -> None:
    raw = {name: value.encode("latin-1") for name, value in headers.items()}
    answer = await hub.get(f"/api/v1/permits/{target}", headers=raw)     # type: ignore[arg-type]
    assert (answer.status_code, answer.json()["detail"]) == (
        401, "send the header Authorization: Bearer with the token of this permit")


async def test_another_agent_s_token_does_not_fit(hub: RunningHub) -> None:
    assert (await hub.get("/api/v1/permits/agent-own", headers=BEARER)).status_code == 401
    own = await hub.get("/api/v1/permits/agent-own", headers={"authorization": "Bearer another-token-of-16"})
    Keeper("agent-own", verifier(OTHER)).take(own.content, Reading(START.timestamp(), 0.0))


@pytest.mark.parametrize("target", ["agent-bare", "nobody"])
async def test_a_target_without_a_permit_is_404_for_who_has_a_token(hub: RunningHub, target: str) -> None:
    assert (await hub.get(f"/api/v1/permits/{target}", headers=BEARER)).status_code == 404


async def test_a_database_that_is_away_is_503_and_quick(hub: RunningHub) -> None:
    hub.open_door(commit_seconds=0.05)
    hub.store.error = Busy("the database is away")
    assert (await hub.get(PATH, headers=BEARER)).status_code == 503
    hub.store.mend()
    hub.store.hold()
    assert (await hub.get(PATH, headers=BEARER)).status_code == 503


async def test_no_method_but_get_leads_here_and_no_secret_is_shown(hub: RunningHub) -> None:
    assert (await hub.client.post(PATH, headers=BEARER)).status_code == 405
    assert SECRET not in repr(hub.hub.door) + repr(hub.hub.rules)
    assert str(KEY) not in repr(hub.hub.door)


# -- settings

async def test_the_configuration_says_what_it_takes_to_release_and_how_long_a_lease_lasts(hub: RunningHub) -> None:
    rules = hub.hub.rules
    assert rules.releases["agent-btc"] == Release(mode="armed")
    assert rules.actions["safe-mode"].releases
    assert sorted(rules.permits) == ["a/b c", "agent-btc", "agent-own"]
    assert rules.permits["agent-btc"] == PermitRule(timedelta(seconds=15), hashlib.sha256(TOKEN.encode()).hexdigest())
    assert hub.hub.door.permit_keys["agent-own"] == KEY[::-1]


AGENT = "targets: [{name: a, type: agent, url: 'http://a:1', %s}]\n"


@pytest.mark.parametrize(("settings", "listen", "word"), [
    (f"permit: {{secret: {SECRET}}}", "127.0.0.1:1", ""),
    (f"permit: {{secret: {SECRET}}}", "0.0.0.0:1", "the permit of a needs a token while the hub listens on 0.0.0.0"),
    (f"permit: {{secret: {SECRET}, token: {TOKEN}}}", "0.0.0.0:1", ""),
    ("permit: {token: 0123456789abcde}", "127.0.0.1:1", "too short"),
    ("permit: {secret: whsec_short}", "127.0.0.1:1", "signing secret"),
    ("permit: {ttl: 1s}", "127.0.0.1:1", ""), ("permit: {ttl: 5m}", "127.0.0.1:1", ""),
    ("permit: {ttl: 999ms}", "127.0.0.1:1", "from 1s to 5m"), ("permit: {ttl: 301s}", "127.0.0.1:1", "from 1s to 5m"),
    ("release: {mode: safe}", "127.0.0.1:1", "leads out of safe"), ("release: {mode: trading, clear_for: 0}", "127.0.0.1:1", ""),
    ("release: {approve: {count: 0}}", "127.0.0.1:1", "at least 1"),
])
def test_what_is_wrong_is_said_at_the_start(tmp_path: Path, settings: str, listen: str, word: str) -> None:
    server = f"server: {{listen: '{listen}', public_url: 'https://hub.example.com'}}\n"
    sources = f"sources: [{{name: am, type: alertmanager, token: {TOKEN}}}]\n"
    found = problems(tmp_path, server + sources + AGENT % settings, rest=REST)
    assert (word in found[0]) if word else found == [], found


def test_what_is_odd_is_warned_of(tmp_path: Path) -> None:
    text = AGENT % "permit: {ttl: 9s}" + "actions: [{name: s, type: safe_mode, target: a}]\n" + REST.replace(
        "{receiver: alerts}", "{receiver: alerts, actions: [s]}")
    warned = " ".join(configured(tmp_path, text).warnings)
    assert "there is nothing to sign this permit with" in warned
    assert "2 must agree to release a once it is safe, but 0 of people have the role approver" in warned
    assert "s latches its target, and alertmanager cannot be asked what fires (no reconcile)" in warned


# -- Ed25519: the agent can check a lease and cannot make one

PRIVATE = Ed25519PrivateKey.from_private_bytes(KEY)
PUBLIC = "whpk_" + base64.b64encode(PRIVATE.public_key().public_bytes_raw()).decode()


def pem(key: Any = PRIVATE, lock: KeySerializationEncryption | None = None) -> str:
    return str(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, lock or NoEncryption()).decode())


def key_file(folder: Path, text: str | None = None) -> str:
    path = folder / "permit.pem"
    path.write_text(pem() if text is None else text)
    return str(path)


async def test_a_private_key_signs_what_its_public_key_checks(tmp_path: Path, clock: FakeClock) -> None:
    config = CONFIG.replace(f"secret: {SECRET}, token", f"key_file: '{key_file(tmp_path)}', token", 1)
    async with running_hub(config, clock=clock) as hub:
        answer = await hub.get(PATH, headers=BEARER)
        assert answer.json()["signature"].startswith("v1a,")
        asked = Reading(START.timestamp(), 0.0)
        keeper = Keeper("agent-btc", verifier(PUBLIC))
        assert keeper.take(answer.content, asked) == 15.0
        assert keeper.why_not(asked) == ""
        other = "whpk_" + base64.b64encode(Ed25519PrivateKey.generate().public_key().public_bytes_raw()).decode()
        for wrong in (other, SECRET):
            with pytest.raises(Refused, match="signature"):
                Keeper("agent-btc", verifier(wrong)).take(answer.content, asked)
        line = pem().splitlines()[1]
        assert line not in repr(hub.hub.door) + repr(hub.hub.rules) + redact(f"it is {line}")
        assert (await hub.get("/api/v1/permits/agent-own", headers={"authorization": "Bearer another-token-of-16"})).json()[
            "signature"].startswith("v1,"), "each target has its own"


async def test_the_key_wins_over_the_targets_own_secret(tmp_path: Path, clock: FakeClock) -> None:
    config = CONFIG.replace("permit: {token: another", f"permit: {{key_file: '{key_file(tmp_path)}', token: another")
    async with running_hub(config, clock=clock) as hub:
        own = await hub.get("/api/v1/permits/agent-own", headers={"authorization": "Bearer another-token-of-16"})
        Keeper("agent-own", verifier(PUBLIC)).take(own.content, Reading(START.timestamp(), 0.0))


async def test_an_agent_may_check_with_what_it_has(tmp_path: Path, clock: FakeClock) -> None:
    """Another library than ours: it is given the signed text and the signature as it was sent."""
    seen: list[tuple[bytes, str]] = []

    def check(text: bytes, signature: str) -> bool:
        seen.append((text, signature))
        PRIVATE.public_key().verify(base64.b64decode(signature.removeprefix("v1a,")), text)
        return True

    async with running_hub(CONFIG.replace(f"secret: {SECRET}, token", f"key_file: '{key_file(tmp_path)}', token", 1),
                           clock=clock) as hub:
        answer = await hub.get(PATH, headers=BEARER)
        asked = Reading(START.timestamp(), 0.0)
        keeper = Keeper("agent-btc", verifier(check))
        keeper.take(answer.content, asked)
        assert keeper.why_not(asked) == ""
        assert seen[0][0].startswith(b"alerthub-permit-v1\nagent-btc\narmed\n")
        with pytest.raises(Refused, match="signature"):
            Keeper("agent-btc", verifier(lambda text, signature: False)).take(answer.content, asked)


LOCKED = pem(lock=BestAvailableEncryption(b"S3CRET"))
CURVE = pem(generate_private_key(SECP256R1()))
HALF = PRIVATE.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


@pytest.mark.parametrize(("text", "word"), [
    (LOCKED, "locked with a password"), (CURVE, "not one for Ed25519"), (HALF, "not a private key as PEM"),
    ("S3CRET", "not a private key as PEM"), (SECRET, "not a private key as PEM"), (pem()[:60], "not a private key as PEM"),
    ("\x00é", "not a private key as PEM"), ("", "is empty"),
])
def test_a_key_that_signs_nothing_is_said_at_the_start_and_never_shown(tmp_path: Path, text: str, word: str) -> None:
    found = problems(tmp_path, AGENT % f"permit: {{key_file: '{key_file(tmp_path, text)}'}}", rest=REST)
    assert len(found) == 1
    assert word in found[0]
    assert not any(line in found[0] for line in text.splitlines() if len(line) > 5)


def test_a_key_file_that_cannot_be_read_and_two_keys_at_once_are_said(tmp_path: Path) -> None:
    (gone,) = problems(tmp_path, AGENT % "permit: {key_file: /nowhere/permit.pem}", rest=REST)
    assert "cannot read /nowhere/permit.pem: No such file or directory" in gone
    (two,) = problems(tmp_path, AGENT % f"permit: {{key_file: '{key_file(tmp_path)}', secret: {SECRET}}}", rest=REST)
    assert "give secret_file or key_file, not both" in two


WITHOUT = """
import sys
sys.modules["cryptography"] = None
from alerthub.actions.safe_mode import PermitSettings
from alerthub.signing_ed25519 import read_private
PermitSettings(secret=sys.argv[1])
try: read_private("x")
except ValueError as error: print(error)
"""


def test_without_the_extra_only_this_is_missing() -> None:
    ran = subprocess.run([sys.executable, "-c", WITHOUT, SECRET], capture_output=True, text=True, check=True, timeout=60)
    assert ran.stdout == "a key for Ed25519 needs one more library; install alerthub[ed25519], or use secret_file\n"


@pytest.mark.slow
def test_a_key_as_the_readme_makes_it_works_between_a_running_hub_and_an_agent(tmp_path: Path) -> None:
    made = "openssl genpkey -algorithm ed25519 -out permit.pem"
    told = 'echo "whpk_$(openssl pkey -in permit.pem -pubout -outform DER | tail -c 32 | base64)"'
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert made in readme
    assert told in readme
    public = subprocess.run(["sh", "-ec", f"{made}\n{told}"], cwd=tmp_path, capture_output=True, text=True, check=True,
                            timeout=30).stdout.strip()
    config = "server: {listen: '${HUB_LISTEN}'}\n" + CONFIG.replace("ttl: 15s", f"ttl: {int(TTL * 1000)}ms").replace(
        f"secret: {SECRET}, token", f"key_file: '{tmp_path / 'permit.pem'}', token", 1)
    with HubProcess(config) as hub, closing(permit_of(hub, key=public)) as permit, closing(permit_of(hub, key=PUBLIC)) as wrong:
        wait_until(lambda: permit.trading_allowed, 10, "a lease comes")
        wait_until(lambda: "signature" in wrong.trouble, 10, "another key fits not")
        assert not wrong.trading_allowed
        assert hub.post(webhook(alert("Reward", agent="agent-btc"))) == 200
        wait_until(lambda: not permit.trading_allowed, TTL / 3 + 1, "it is safe")
        assert permit.why_not == "the hub says safe"


# -- the agent and a hub that runs

@pytest.fixture(scope="module")
def served() -> Iterator[HubProcess]:
    config = "server: {listen: '${HUB_LISTEN}'}\n" + CONFIG.replace("ttl: 15s", f"ttl: {int(TTL * 1000)}ms")
    with HubProcess(config) as process:
        yield process


def permit_of(hub: HubProcess, **settings: Any) -> Permit:
    return Permit(hub.url, "agent-btc", **{"key": SECRET, "token": TOKEN, **settings})


@pytest.mark.slow
def test_the_agent_acts_by_renewed_leases_and_is_safe_soon_after_the_alert_and_without_the_hub(served: HubProcess) -> None:
    with closing(permit_of(served)) as permit, closing(permit_of(served, key=OTHER)) as wrong:
        wait_until(lambda: permit.trading_allowed, 10, "a lease comes")
        first = permit._keeper.sequence
        wait_until(lambda: permit._keeper.sequence > first + 3, 10, "it is renewed")
        assert permit.trading_allowed
        assert not wrong.trading_allowed
        assert served.post(webhook(alert("Reward", agent="agent-btc"))) == 200
        wait_until(lambda: not permit.trading_allowed, TTL / 3 + 1, "it is safe")
        assert permit.why_not == "the hub says safe"


@pytest.mark.slow
def test_the_agent_is_safe_when_the_hub_is_killed() -> None:
    config = "server: {listen: '${HUB_LISTEN}'}\n" + CONFIG.replace("ttl: 15s", f"ttl: {int(TTL * 1000)}ms")
    with HubProcess(config) as hub, closing(permit_of(hub)) as permit:
        wait_until(lambda: permit.trading_allowed, 10, "a lease comes")
        hub.kill()
        wait_until(lambda: not permit.trading_allowed, TTL + 1, "its lease ends")
        assert permit.why_not == "the lease was not renewed in time"
