"""Passwords as argon2id hashes. One hash takes 64 MiB and a fifth of a second by design, so it is made in a thread, few at a
time, and whoever comes when too many wait is told to come again (R-63, PROTOCOLS 8)."""

from __future__ import annotations

import asyncio
from functools import cached_property

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from alerthub.domain.access import normal
from alerthub.errors import Busy

AT_ONCE, WAITING = 2, 16


class Passwords:
    """Makes and checks hashes; the cost is argon2-cffi's own (RFC 9106), kept in each hash."""

    def __init__(self, hasher: PasswordHasher | None = None) -> None:
        self.hasher = hasher or PasswordHasher()
        self.slots = asyncio.Semaphore(AT_ONCE)
        self.waiting = 0

    @cached_property
    def nobody(self) -> str:
        """What an unknown name is compared with, for the same work as a known one."""
        return self.hasher.hash("nobody has this password")

    async def hash(self, password: str) -> str:
        """Raises Busy."""
        return await self._aside(self._hash, password, "")

    async def matches(self, encoded: str, password: str) -> bool:
        """Whether it is the password of that hash; nothing is that of an empty one, and it takes as long to say. Raises Busy."""
        return bool(await self._aside(self._matches, password, encoded))

    def is_outdated(self, encoded: str) -> bool:
        """Whether it was made at a lower cost than new ones are."""
        return self.hasher.check_needs_rehash(encoded)

    def _hash(self, password: str, _: str) -> str:
        return self.hasher.hash(normal(password).encode("utf-8", "replace"))

    def _matches(self, password: str, encoded: str) -> str:
        try:
            self.hasher.verify(encoded or self.nobody, normal(password).encode("utf-8", "replace"))
        except (VerificationError, InvalidHashError):
            return ""
        return encoded

    async def _aside(self, work: object, password: str, encoded: str) -> str:
        if self.waiting >= WAITING:
            raise Busy("too many people log in at this moment")
        self.waiting += 1
        try:
            async with self.slots:
                result: str = await asyncio.to_thread(work, password, encoded)  # type: ignore[arg-type]
                return result
        finally:
            self.waiting -= 1
