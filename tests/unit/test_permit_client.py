"""The agent's permit is safe whenever it is not certain: over random histories, over a real port, alone in an interpreter."""

from __future__ import annotations

import base64
import json
import math
import socket
import subprocess
import sys
import threading
import timeit
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from alerthub import permit as module
from alerthub.domain.permit import Mode, lease, signed
from alerthub.permit import Keeper, Permit, Reading, Refused, verifier

KEY, OTHER_KEY = bytes(range(32)), bytes(range(1, 33))
SECRET = "whsec_" + base64.b64encode(KEY).decode()
START = datetime(2026, 11, 21, 12, tzinfo=UTC)
T0 = START.timestamp()
TTL = 15.0
TARGET = "agent-btc"


def body(at: float = 0, sequence: int = 1, *, mode: str = "armed", ttl: float = TTL, key: Any = KEY,
         target: str = TARGET) -> bytes:
    """What the hub answers so many seconds after the start."""
    made = signed(lease(target, Mode(mode), START + timedelta(seconds=at), timedelta(seconds=ttl), sequence), key)
    return json.dumps(made).encode()


def spoiled(**changed: Any) -> bytes:
    """A right answer that was changed after it was signed."""
    return json.dumps({**json.loads(body(2, 2)), **changed}).encode()


def at(seconds: float, jump: float = 0) -> Reading:
    return Reading(T0 + seconds + jump, 1_000.0 + seconds)


def keeper(**settings: Any) -> Keeper:
    return Keeper(TARGET, verifier(SECRET), **settings)


def armed() -> Keeper:
    found = keeper()
    found.take(body(), at(0))
    assert found.why_not(at(0)) == ""
    return found


def test_before_the_first_lease_it_is_safe() -> None:
    assert keeper().why_not(at(0)) == "no lease yet"


def test_an_armed_lease_lasts_for_its_time_and_not_longer() -> None:
    permit = armed()
    assert permit.why_not(at(TTL - 0.001)) == ""
    assert permit.why_not(at(TTL)) == "the lease was not renewed in time"
    assert permit.why_not(at(1e9))


def test_time_counts_from_the_question_not_from_the_answer() -> None:
    permit = keeper()
    permit.take(body(at=5), at(0))
    assert permit.why_not(at(TTL - 0.001)) == ""
    assert permit.why_not(at(TTL)) != ""


@pytest.mark.parametrize("jump", [1.01, -1.01, 3600, -3600, 1e12, math.nan, math.inf, -math.inf])
def test_a_clock_that_jumped_is_safe(jump: float) -> None:
    permit = armed()
    assert permit.why_not(at(1, jump)) == "the clock has jumped"
    assert permit.why_not(at(1)) == ""


@pytest.mark.parametrize("jump", [0.9, -0.9])
def test_a_clock_that_is_corrected_a_little_is_none_that_jumped(jump: float) -> None:
    assert armed().why_not(at(1, jump)) == ""


@pytest.mark.parametrize("monotonic", [math.nan, -math.inf, 0.0, math.inf])
def test_a_monotonic_clock_that_is_wrong_is_safe(monotonic: float) -> None:
    assert armed().why_not(Reading(T0, monotonic)) != ""


def test_a_lease_that_is_over_by_the_wall_clock_is_safe() -> None:
    """The machine slept before it asked, or its clock is ahead: what the hub gave is over in its own words."""
    permit = keeper()
    permit.take(body(at=-20), at(0))
    assert permit.why_not(at(0)) == "the lease has expired"


@pytest.mark.parametrize(("answer", "word"), [
    (body(2, 2, key=OTHER_KEY), "signature"), (body(2, 2, target="agent-eth"), "another target"),
    (body(2, 2, mode="safe").replace(b'"safe"', b'"armed"'), "signature"), (spoiled(sequence=3), "signature"),
    (spoiled(expires_at="2099-01-01T00:00:00Z"), "signature"),
    (spoiled(issued_at="2026-11-21T11:59:59.000000Z"), "signature"),
    (spoiled(signature=""), "signature"), (spoiled(signature="v1,"), "signature"),
    (spoiled(signature="v1,!"), "signature"), (spoiled(signature=None), "signature"),
    (spoiled(signature="v1a," + "A" * 88), "signature"), (spoiled(signature="v1,é"), "signature"),
    (body(2, 2, ttl=301), "lasts"), (body(60, 2), "future"), (spoiled(sequence=True), "sequence"),
    (spoiled(sequence=-1), "sequence"), (spoiled(sequence="2"), "sequence"), (spoiled(sequence=2.0), "sequence"),
    (spoiled(target=None), "target"), (spoiled(mode=["armed"]), "mode"), (spoiled(issued_at="now"), "issued_at"),
    (spoiled(issued_at="2026-11-21T12:00:00"), "issued_at"), (spoiled(issued_at="0001-01-01T00:00:00+23:59"), "."),
    (spoiled(expires_at=1e999), "expires_at"), (spoiled(target="agent-btc\narmed"), "target"),
    (spoiled(target="\ud800"), "target"),
    (b"", "no lease"), (b"[]", "no lease"), (b"null", "no lease"), (b"\xff", "no lease"), (b"[" * 16_000, "no lease"),
    (b'{"sequence": ' + b"9" * 8_000 + b"}", "no lease"), (b"<html>", "no lease"), (b"{}", "issued_at"),
])
def test_an_answer_that_is_no_lease_of_ours_makes_it_safe_at_once(answer: bytes, word: str) -> None:
    permit = armed()
    with pytest.raises(Refused, match=word) as caught:
        permit.take(answer, at(2))
    assert permit.why_not(at(2)) == str(caught.value)
    permit.take(body(3, 4), at(3))
    assert permit.why_not(at(3)) == "", "the next right one counts again"


def test_a_mode_that_is_not_known_is_safe_though_the_hub_signed_it() -> None:
    permit, strange = armed(), json.loads(body(2, 2))
    strange["mode"] = "careful"
    key = verifier(SECRET)
    assert not key(module.signing_text(strange), strange["signature"])
    permit.verify = lambda text, signature: True
    with pytest.raises(Refused, match="mode that is not known"):
        permit.take(json.dumps(strange).encode(), at(2))
    assert permit.why_not(at(2))


def test_what_the_hub_calls_safe_is_safe_until_it_says_armed() -> None:
    permit = armed()
    assert permit.take(body(2, 5, mode="safe"), at(2)) == TTL
    assert permit.why_not(at(2)) == "the hub says safe"
    permit.take(body(3, 6), at(4))
    assert permit.why_not(at(4)) == ""


@pytest.mark.parametrize("mode", ["armed", "safe"])
def test_after_a_number_that_went_back_it_is_safe_until_a_person_restarts_it(mode: str) -> None:
    """The hub's database was restored: it may not know any more that it had said safe."""
    permit = armed()
    permit.take(body(2, 720, mode="safe"), at(2))
    with pytest.raises(Refused, match="older"):
        permit.take(body(3, 7, mode=mode), at(3))
    for sequence in (8, 720, 721, 5_000):
        with pytest.raises(Refused, match="look at the hub's latches, then restart the agent"):
            permit.take(body(4, sequence), at(4))
        assert "older" in permit.why_not(at(4))


def test_a_number_of_nobody_s_making_does_not_hold_it() -> None:
    """Only what the hub has signed for this very target counts: anybody else could keep the agent from its work for ever."""
    permit = armed()
    for answer in (body(2, 0, key=OTHER_KEY), body(2, 0, target="agent-eth")):
        assert not take(permit, answer, at(2))
    permit.take(body(3, 4), at(3))
    assert permit.why_not(at(3)) == ""


def test_the_same_lease_again_neither_lengthens_nor_arms() -> None:
    permit = armed()
    permit.take(body(), at(10))
    assert permit.why_not(at(TTL - 0.001)) == ""
    assert permit.why_not(at(TTL)) != ""
    permit.take(body(20, 2, mode="safe"), at(20))
    permit.take(body(20, 2), at(20))
    assert permit.why_not(at(20)) == "the hub says safe"


# --- random histories against a slow reference ---------------------------------------------------------------------------


@dataclass
class History:
    """Everything that was ever answered. The reference looks at all of it each time it is asked."""

    now: float = 0.0
    jump: float = 0.0
    answers: list[tuple[Reading, dict[str, Any]]] = field(default_factory=list)

    def allowed(self) -> bool:
        """Only if the last word that counts is a right armed lease, newer than all others, asked for within its time, and
        neither clock disagrees."""
        newest, went_back = -1, False
        verdict: tuple[Reading, dict[str, Any]] | None = None
        for asked, said in self.answers:
            right = said["kind"] in ("armed", "safe")
            went_back = went_back or (right and said["sequence"] < newest)
            if not right or went_back:
                verdict = None
            elif said["kind"] == "safe":
                verdict, newest = None, max(newest, said["sequence"])
            elif said["sequence"] > newest and said["issued"] <= asked.wall - T0 + TTL + 5:
                verdict, newest = (asked, said), said["sequence"]
            elif said["sequence"] != newest:
                verdict, newest = None, max(newest, said["sequence"])
        if verdict is None:
            return False
        asked, said = verdict
        now = at(self.now, self.jump)
        return (now.monotonic - asked.monotonic < TTL and abs((now.wall - now.monotonic) - (asked.wall - asked.monotonic)) <= 1
                and now.wall < T0 + said["issued"] + TTL)


steps = st.lists(st.one_of(
    st.tuples(st.just("wait"), st.sampled_from([0.5, 3, 6, 14, 15, 40])),
    st.tuples(st.just("jump"), st.sampled_from([-3600, -20, -4, -0.5, 0.5, 4, 20, 3600])),
    st.tuples(st.just("ask"), st.tuples(st.sampled_from(["armed", "armed", "armed", "safe", "forged", "other"]),
                                        st.sampled_from([0, 0, 1, 5, 14, 16]), st.sampled_from([1, 1, 1, 0, -1, -3, 2])))),
    max_size=14)


@given(steps)
def test_over_any_history_it_allows_what_the_slow_reference_allows(history: list[tuple[str, Any]]) -> None:
    permit, world, sequence = keeper(), History(), 5
    for kind, value in history:
        if kind == "wait":
            world.now += value
        elif kind == "jump":
            world.jump += value
        else:
            what, delay, step = value
            asked, issued, sequence = at(world.now, world.jump), world.now + delay / 2, max(0, sequence + step)
            world.now += delay
            answer = body(issued, sequence, mode="safe" if what == "safe" else "armed",
                          key=OTHER_KEY if what == "forged" else KEY, target="agent-eth" if what == "other" else TARGET)
            world.answers.append((asked, {"kind": what, "sequence": sequence, "issued": issued}))
            take(permit, answer, asked)
        assert (permit.why_not(at(world.now, world.jump)) == "") == world.allowed()


def take(permit: Keeper, answer: bytes, asked: Reading) -> bool:
    try:
        permit.take(answer, asked)
    except Refused:
        return False
    return True


# --- keys ---------------------------------------------------------------------------------------------------------------


def test_a_public_key_checks_and_cannot_be_used_to_sign() -> None:
    private = Ed25519PrivateKey.generate()
    public = private.public_key().public_bytes_raw()
    permit = Keeper(TARGET, verifier("whpk_" + base64.b64encode(public).decode()))
    permit.take(body(key=private), at(0))
    assert permit.why_not(at(0)) == ""
    assert not take(permit, body(1, 2, key=public), at(1)), "HMAC with the public key is no signature"
    assert not take(permit, body(1, 3, key=Ed25519PrivateKey.generate()), at(1))


@pytest.mark.parametrize(("key", "word"), [
    ("S3CRET-key", "whsec_"), ("whsec_S3CRET!", "base64"), ("whsec_" + base64.b64encode(b"S3CRET").decode(), "24 bytes"),
    (b"S3CRET", "24 bytes"), ("whpk_QUJD", "32 bytes"), ("whpk_!", "base64"), ("", "whsec_"),
])
def test_a_key_that_cannot_be_is_refused_without_being_shown(key: str | bytes, word: str) -> None:
    with pytest.raises(ValueError, match=word) as caught:
        Permit("http://127.0.0.1:9", TARGET, key=key)
    assert "S3CRET" not in str(caught.value)


@pytest.mark.parametrize("url", [
    "ftp://h", "h:80", "", "http://", "http://u:S3CRET@h", "http://h/?x=1", "http://h/#x", "http://h h", "http://h\r\n",
])
def test_an_address_that_cannot_be_is_refused(url: str) -> None:
    with pytest.raises(ValueError) as caught:
        Permit(url, TARGET, key=SECRET)
    assert "S3CRET" not in str(caught.value)


@pytest.mark.parametrize("token", ["a b", "a\r\nX: y", "ü", "\x00"])
def test_a_token_that_cannot_be_sent_is_refused(token: str) -> None:
    with pytest.raises(ValueError, match="token"):
        Permit("http://127.0.0.1:9", TARGET, key=SECRET, token=token)


def test_the_file_works_alone_and_says_what_ed25519_needs(tmp_path: Path) -> None:
    """In an interpreter without any other package, as an agent that copied it has it."""
    (tmp_path / "hub_permit.py").write_text(Path(module.__file__).read_text())
    program = (f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import hub_permit as p\n"
               f"print(p.Keeper('a', p.verifier({SECRET!r})).held.why)\n"
               f"try: p.Permit('http://127.0.0.1:9', 'a', key='whpk_{base64.b64encode(KEY).decode()}')\n"
               "except ValueError as error: print(error)\n"
               "print([name for name in sys.modules if name.startswith(('alerthub', 'httpx'))])")
    said = subprocess.run([sys.executable, "-I", "-S", "-c", program], capture_output=True, text=True, check=True, timeout=30)
    lines = said.stdout.splitlines()
    assert lines[0] == "no lease yet"
    assert "pip install cryptography" in lines[1]
    assert lines[2] == "[]"


# --- over a port --------------------------------------------------------------------------------------------------------


class Hub:
    """Answers over a real port; `answer` returns (status, headers, body) and sees the request."""

    def __init__(self, answer: Callable[[Any], tuple[int, dict[str, str], bytes]]) -> None:
        self.answer, self.asked = answer, threading.Semaphore(0)
        self.seen: list[tuple[str, dict[str, str]]] = []


@contextmanager
def served(hub: Hub) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            hub.seen.append((self.path, {name.lower(): value for name, value in self.headers.items()}))
            status, headers, content = hub.answer(self)
            if status:
                self.send_response(status)
                for name, value in {**headers, "Content-Length": str(len(content))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(content)
            hub.asked.release()

        def log_message(self, *words: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class Leases:
    """Leases of the running time, one newer than the other."""

    def __init__(self, ttl: float = 0.6) -> None:
        self.ttl, self.mode, self.count, self.asked = ttl, Mode.armed, 0, datetime.now(UTC)

    def __call__(self, request: Any) -> tuple[int, dict[str, str], bytes]:
        self.count += 1
        made = lease(TARGET, self.mode, datetime.now(UTC), timedelta(seconds=self.ttl), self.count)
        return 200, {}, json.dumps(signed(made, KEY)).encode()


def wait_for(hub: Hub, times: int) -> None:
    for _ in range(times):
        assert hub.asked.acquire(timeout=10)


def until(condition: Callable[[], bool]) -> None:
    """Wait for what another thread does, for at most ten seconds."""
    tick, end = threading.Event(), timeit.default_timer() + 10
    while not condition():
        assert timeit.default_timer() < end
        tick.wait(0.005)


@pytest.mark.slow
def test_it_renews_by_itself_and_goes_safe_when_the_hub_is_gone() -> None:
    hub = Hub(Leases(ttl=0.6))
    with served(hub) as url:
        permit = Permit(url + "/", TARGET, key=SECRET, token="t0ken")
        with closing(permit):
            until(lambda: permit.trading_allowed)
            wait_for(hub, 5)
            assert permit.trading_allowed, "five renewals take longer than a lease lasts, or nearly"
            hub.answer = lambda request: (503, {}, b"")
            until(lambda: not permit.trading_allowed)
            assert permit.why_not == "the lease was not renewed in time"
            assert permit.trouble == "the hub did not answer (OSError)"
            hub.answer = Leases()
            hub.answer.count = 1_000
            until(lambda: permit.trading_allowed)
        assert not permit.trading_allowed, "closed"
        assert permit.why_not == "nobody renews the lease any more"
    path, headers = hub.seen[0]
    assert path == "/api/v1/permits/agent-btc"
    assert headers["authorization"] == "Bearer t0ken"
    assert headers["accept-encoding"] == "identity"
    assert "t0ken" not in repr(permit) + permit.trouble


def test_a_hub_that_says_safe_is_obeyed_at_the_next_renewal() -> None:
    leases = Leases(ttl=0.3)
    with served(Hub(leases)) as url, closing(Permit(url, TARGET, key=SECRET)) as permit:
        until(lambda: permit.trading_allowed)
        leases.mode = Mode.safe
        until(lambda: permit.why_not == "the hub says safe")
        leases.mode = Mode.armed
        until(lambda: permit.trading_allowed)


@pytest.mark.parametrize("bad", [
    (301, {"Location": "/elsewhere"}, b""), (307, {"Location": "http://127.0.0.1:9/"}, b""), (404, {}, b"{}"), (204, {}, b""),
    (500, {}, b""), (200, {}, b"x" * 20_000), (0, {}, b""), (200, {"Content-Encoding": "gzip"}, b"\x1f\x8b"),
], ids=lambda bad: str(bad[0]))
def test_every_other_answer_leaves_it_safe_and_is_not_followed(bad: tuple[int, dict[str, str], bytes]) -> None:
    hub = Hub(lambda request: bad)
    with served(hub) as url, closing(Permit(url, TARGET, key=SECRET)) as permit:
        until(lambda: permit.trouble != "")
        wait_for(hub, 2)
        assert not permit.trading_allowed
        assert {path for path, _ in hub.seen} == {"/api/v1/permits/agent-btc"}


@pytest.mark.slow
def test_a_hub_that_drips_is_cut_off_and_asked_again() -> None:
    """Each byte comes in time; the whole never does."""
    gone = threading.Event()

    def drip(request: Any) -> tuple[int, dict[str, str], bytes]:
        request.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
        for _ in range(1_000):
            try:
                request.wfile.write(b"x")
            except OSError:
                break
            if gone.wait(0.02):
                break
        return 0, {}, b""

    hub = Hub(drip)
    with served(hub) as url, closing(Permit(url, TARGET, key=SECRET, timeout=0.2)) as permit:
        wait_for(hub, 2)
        assert not permit.trading_allowed
        assert permit.trouble.startswith("the hub did not answer")
        gone.set()


@pytest.mark.slow
@pytest.mark.parametrize("cut", [
    b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\n\r\n{", b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{", b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n{",
])
def test_an_answer_that_was_cut_off_leaves_the_lease_standing(cut: bytes) -> None:
    """A hub that dies while it answers is a hub that is gone: the lease holds until it ends."""
    leases = Leases(ttl=6)
    hub = Hub(leases)
    with served(hub) as url, closing(Permit(url, TARGET, key=SECRET)) as permit:
        until(lambda: permit.trading_allowed)

        def broken(request: Any) -> tuple[int, dict[str, str], bytes]:
            request.wfile.write(cut)
            return 0, {}, b""

        hub.answer = broken
        until(lambda: permit.trouble != "")
        assert permit.trouble.startswith("the hub did not answer")
        assert permit.trading_allowed


def test_closing_does_not_wait_for_a_silent_hub() -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        permit = Permit(f"http://127.0.0.1:{listener.getsockname()[1]}", TARGET, key=SECRET, timeout=60)
        line, _ = listener.accept()
        with closing(line):
            line.recv(10_000)
            began = timeit.default_timer()
            permit.close()
            assert timeit.default_timer() - began < 30
            assert not permit._thread.is_alive()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_thread_that_died_is_safe() -> None:
    def broken() -> float:
        raise SystemExit        # ends a thread without a word

    with served(Hub(Leases(ttl=0.3))) as url:
        times = iter([1_000.0, 1_000.0])
        permit = Permit(url, TARGET, key=SECRET, monotonic=lambda: next(times, None) or broken())
        permit._thread.join(10)
        assert permit.why_not == "nobody renews the lease any more"
        assert permit.trading_allowed is False


def test_how_long_an_answer_takes_is_told() -> None:
    with served(Hub(Leases(ttl=60))) as url, closing(Permit(url, TARGET, key=SECRET)) as permit:
        until(lambda: permit.trading_allowed)
        seconds = timeit.timeit(lambda: permit.trading_allowed, number=20_000) / 20_000
    print(f"trading_allowed: {seconds * 1e6:.2f} µs")
