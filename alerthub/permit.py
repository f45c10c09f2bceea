"""For the agent: may it act? Answered from memory; safe whenever that is not certain. Standard library only, and no other file
of AlertHub: this one may be copied.

    permit = Permit("https://hub.example.com", "agent-btc", key="whsec_…", token="…")
    if permit.trading_allowed: …

The clocks of hub and agent must agree within `skew`."""

from __future__ import annotations

import binascii
import hashlib
import hmac
import http.client
import json
import math
import secrets
import socket
import ssl
import threading
import time
from base64 import b64decode
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import quote, urlsplit

VERSION = "alerthub-permit-v1"
ANSWER_BYTES = 16 * 1024        # more of an answer is never read
FIRST_PAUSE, SHORTEST_PAUSE = 1.0, 0.05      # seconds
ARMED, SAFE = "armed", "safe"
Verify = Callable[[bytes, str], bool]       # of the signed text and the signature as sent, `v1a,base64`


class Refused(Exception):
    """What was answered is no lease for us. The text says why, without the key."""


@dataclass(frozen=True, slots=True)
class Reading:
    """Both clocks at one moment, because each can be wrong: one is set, the other stands while a machine sleeps."""

    wall: float
    monotonic: float


@dataclass(frozen=True, slots=True)
class Held:
    """All that `trading_allowed` looks at; replaced whole, never changed. `why` is empty while the hub says armed. Times count
    from when it was asked for, which is never later than when it was issued."""

    why: str
    asked: Reading = Reading(0.0, 0.0)
    ttl: float = 0.0
    expires_at: float = 0.0


class Keeper:
    """Judges what the hub answers, and the time. No thread and no network: `Permit` has those."""

    def __init__(self, target: str, verify: Verify, *, tolerance: float = 1.0, skew: float = 5.0,
                 longest: float = 300.0) -> None:
        self.target, self.verify = target, verify
        self.tolerance, self.skew, self.longest = tolerance, skew, longest
        self.sequence, self.went_back = -1, False
        self.held = Held("no lease yet")

    def take(self, body: bytes, asked: Reading) -> float:
        """Take an answer to what was asked then; how long its lease lasts, in seconds. What is no lease of ours makes it safe
        at once. Raises Refused for that."""
        try:
            self.held, ttl = self._judged(body, asked)
        except Refused as error:
            self.held = Held(str(error))
            raise
        return ttl

    def _judged(self, body: bytes, asked: Reading) -> tuple[Held, float]:
        lease = read_object(body)
        issued_at, expires_at = seconds(lease, "issued_at"), seconds(lease, "expires_at")
        sequence, ttl = lease.get("sequence"), expires_at - issued_at
        if type(sequence) is not int or sequence < 0:
            raise Refused("the lease has no sequence")
        if not self.verify(signing_text(lease), text_of(lease, "signature")):
            raise Refused("the signature of the lease is wrong")
        if lease["target"] != self.target:
            raise Refused("the lease is for another target")
        # From here on the hub itself has said it.
        self.went_back, is_repeat = self.went_back or sequence < self.sequence, sequence == self.sequence
        self.sequence = max(self.sequence, sequence)
        if self.went_back:      # its numbers never do: a restored database may not know that it said safe
            raise Refused("the lease is older than one that was here already: look at the hub's latches, then restart the agent")
        if lease["mode"] != ARMED:
            if lease["mode"] != SAFE:
                raise Refused("the lease has a mode that is not known")
            return Held("the hub says safe"), min(max(ttl, 0.0), self.longest)
        if not 0 < ttl <= self.longest:
            raise Refused(f"the lease lasts for {ttl:.0f} s; at most {self.longest:.0f} s are taken")
        if issued_at > asked.wall + ttl + self.skew:
            raise Refused("the lease is of the future: the clocks of hub and agent differ")
        # The same lease again proves nothing new: it ends when it ended.
        return (self.held if is_repeat else Held("", asked, ttl, expires_at)), ttl

    def why_not(self, now: Reading) -> str:
        """Why it is safe at this moment; empty when the agent may act. Every comparison is such that NaN is safe."""
        held = self.held
        if held.why:
            return held.why
        elapsed = now.monotonic - held.asked.monotonic
        if not 0 <= elapsed < held.ttl:
            return "the lease was not renewed in time"
        if not abs(now.wall - held.asked.wall - elapsed) <= self.tolerance:
            return "the clock has jumped"
        if not now.wall < held.expires_at:
            return "the lease has expired"
        return ""


def read_object(body: bytes) -> dict[str, Any]:
    with suppress(ValueError, RecursionError):
        if isinstance(value := json.loads(body), dict):
            return value
    raise Refused("the answer is no lease")


def text_of(lease: dict[str, Any], name: str) -> str:
    """A field that is signed as it stands. A line break would give the signed text a second reading."""
    value = lease.get(name)
    if not isinstance(value, str) or not value.isprintable() or len(value) > 1_000:
        raise Refused(f"the lease has no {name}")
    return value


def seconds(lease: dict[str, Any], name: str) -> float:
    try:
        moment = datetime.fromisoformat(text_of(lease, name))
        found = moment.timestamp() if moment.tzinfo is not None else math.nan
    except (ValueError, OverflowError):
        found = math.nan
    if not math.isfinite(found):
        raise Refused(f"the lease has no {name}")
    return found


def signing_text(lease: dict[str, Any]) -> bytes:
    fields = [text_of(lease, name) for name in ("target", "mode", "issued_at", "expires_at")]
    return "\n".join([VERSION, *fields, str(lease["sequence"])]).encode()


def verifier(key: str | bytes | Verify) -> Verify:
    """`whsec_…` or bytes: a shared key (HMAC-SHA256). `whpk_…`: the hub's public key (Ed25519), which needs `cryptography`; or
    a check of your own. Raises ValueError, without the key in it, for everything else."""
    if callable(key):
        return key
    if isinstance(key, bytes) or key.startswith("whsec_"):
        shared = key if isinstance(key, bytes) else decoded(key.removeprefix("whsec_"))
        if len(shared) < 24:
            raise ValueError("the key has fewer than 24 bytes; make one: echo \"whsec_$(openssl rand -base64 32)\"")
        return lambda text, signature: hmac.compare_digest(
            signature_in(signature, "v1"), hmac.digest(shared, text, hashlib.sha256))
    if key.startswith("whpk_"):
        return ed25519(decoded(key.removeprefix("whpk_")))
    raise ValueError("the key is whsec_… (shared) or whpk_… (the hub's public one)")


def ed25519(public: bytes) -> Verify:
    try:
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    except ImportError:
        raise ValueError("a whpk_ key needs the library cryptography: pip install cryptography; or use a whsec_ key") from None
    if len(public) != 32:
        raise ValueError("a public Ed25519 key has 32 bytes")
    checked = Ed25519PublicKey.from_public_bytes(public)

    def verify(text: bytes, signature: str) -> bool:
        with suppress(InvalidSignature):
            checked.verify(signature_in(signature, "v1a"), text)
            return True
        return False

    return verify


def decoded(text: str) -> bytes:
    try:
        return b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("the key is not base64 behind its prefix") from None


def signature_in(signature: str, scheme: str) -> bytes:
    """Empty, which fits nothing, when it is of another scheme or no base64."""
    version, _, text = signature.partition(",")
    try:
        return b64decode(text, validate=True) if version == scheme else b""
    except (binascii.Error, ValueError):
        return b""


class Permit:
    """Renews in a thread of its own, from now on. `timeout` bounds one question altogether."""

    def __init__(self, url: str, target: str, *, key: str | bytes | Verify, token: str | None = None, timeout: float = 3.0,
                 tls_ca_file: str | None = None, tolerance: float = 1.0, skew: float = 5.0, longest: float = 300.0,
                 wall: Callable[[], float] = time.time, monotonic: Callable[[], float] = time.monotonic) -> None:  # noqa: TID251
        """`url` is the hub's; `key`: see `verifier`. Raises ValueError for what cannot work, without key and token in it."""
        self._wall, self._monotonic = wall, monotonic
        self._keeper = Keeper(target, verifier(key), tolerance=tolerance, skew=skew, longest=longest)
        self._line = Line(url, f"/api/v1/permits/{quote(target, safe='')}", token, timeout, tls_ca_file)
        self._closed = threading.Event()
        self.trouble = ""       # the last question's; for the agent's log
        self._thread = threading.Thread(target=self._renew, name="alerthub-permit", daemon=True)
        self._thread.start()

    @property
    def trading_allowed(self) -> bool:
        """From memory: no question, no lock, no error."""
        return not self.why_not

    @property
    def why_not(self) -> str:
        """Why trading is not allowed, for the agent's log; empty when it is."""
        if self._closed.is_set() or not self._thread.is_alive():
            return "nobody renews the lease any more"
        return self._keeper.why_not(self._now())

    def close(self) -> None:
        """Safe from now on. Returns when the thread has ended, or does not within the time of one question."""
        self._closed.set()
        self._line.hang_up()
        self._thread.join(self._line.timeout + 1)

    def _now(self) -> Reading:
        return Reading(self._wall(), self._monotonic())

    def _renew(self) -> None:
        pause = FIRST_PAUSE
        while not self._closed.is_set():
            asked = self._now()
            try:
                pause = self._keeper.take(self._line.ask(), asked) / 3
                self.trouble = ""
            except Refused as error:
                self.trouble, pause = str(error), FIRST_PAUSE
            except (OSError, http.client.HTTPException, ValueError) as error:     # the lease stands until it ends
                self.trouble, pause = f"the hub did not answer ({type(error).__name__})", min(pause, FIRST_PAUSE)
            jitter = 0.75 + secrets.randbelow(250) / 1000        # so that many agents do not ask at one moment
            self._closed.wait(max(SHORTEST_PAUSE, pause * jitter))


class Line:
    """The way to the hub. Proxies of the environment and redirects are not followed; every answer but 200 is an error."""

    def __init__(self, url: str, path: str, token: str | None, timeout: float, tls_ca_file: str | None) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment or "@" in parts.netloc:
            raise ValueError("the address of the hub is http://host:port or https://…, without a user, a query or a part after #")
        if not all(text.isascii() and text.isprintable() and text and " " not in text for text in (url, token or "-")):
            raise ValueError("the address of the hub and the token have letters, digits and ASCII signs only")
        self.timeout = timeout
        self._address = (parts.hostname, parts.port)
        self._path = parts.path.rstrip("/") + path
        self._headers = {"Accept": "application/json", "Accept-Encoding": "identity", "Connection": "close"}
        if token is not None:
            self._headers["Authorization"] = f"Bearer {token}"
        self._tls = ssl.create_default_context(cafile=tls_ca_file) if parts.scheme == "https" else None
        self._socket: socket.socket | None = None

    def ask(self) -> bytes:
        """One GET, in `timeout` altogether: what drips is cut off. Raises OSError, HTTPException, or ValueError."""
        host, port = self._address
        connection = (http.client.HTTPConnection(host, port, timeout=self.timeout) if self._tls is None else
                      http.client.HTTPSConnection(host, port, timeout=self.timeout, context=self._tls))
        end = threading.Timer(self.timeout, self.hang_up)
        end.daemon = True
        try:
            connection.connect()
            self._socket = connection.sock
            end.start()
            connection.request("GET", self._path, headers=self._headers)
            answer = connection.getresponse()
            if answer.status != 200:
                raise OSError(f"status {answer.status}")
            body = answer.read(ANSWER_BYTES + 1)
            if len(body) > ANSWER_BYTES or not (answer.chunked or answer.length == 0):
                raise OSError("too long, or cut off")       # which is no word of the hub's
            return body
        finally:
            end.cancel()
            self._socket = None
            connection.close()

    def hang_up(self) -> None:
        """Whoever reads from the line is woken by an error."""
        if (line := self._socket) is not None:
            with suppress(OSError):
                line.shutdown(socket.SHUT_RDWR)
