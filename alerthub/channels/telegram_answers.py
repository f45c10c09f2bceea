"""Telegram hears people: buttons and commands, by long polling (no inbound port) or by webhook, one listener for every bot.

Reading an update is in telegram_updates.py. A bot's updates go to one poller only; Telegram answers 409 to two (PROTOCOLS 3.6).
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import logging
from collections import defaultdict
from collections.abc import Awaitable, Coroutine
from typing import Any, ClassVar

from telegram import LinkPreviewOptions, ReplyParameters

from alerthub.channels.base import ATTEMPT_SECONDS, Forged, Hearing, Inbound, Reply, Take, Unreadable, Wire
from alerthub.channels.telegram import TelegramConfig, TelegramGlobal
from alerthub.channels.telegram_client import POLL_SECONDS, Keyboard, SilentBot, WireRequest, boundary, checked_token, checked_url
from alerthub.channels.telegram_html import TEXT_LIMIT, encodable
from alerthub.channels.telegram_updates import ALLOWED, FORCE_LABEL, Chats, Heard, NotAnUpdate, heard_in, raw_update
from alerthub.channels.text import utf16_clip
from alerthub.clock import Clock
from alerthub.domain.command import Answer, Outcome
from alerthub.errors import Failure, SendFailed
from alerthub.settings import revealed

PATH = "/replies/telegram"
SECRET_HEADER = "x-telegram-bot-api-secret-token"  # noqa: S105  (the name of a header)
BATCH = 50
FIRST_WAIT = 1.0
LONGEST_WAIT = 60.0
PAUSE = 0.1                 # after an answer with nothing in it: whoever does not hold a poll is not asked in a tight loop
BUSY_WAIT = 5.0             # at most, between two tries to store: people are waiting
TOAST_LIMIT = 200           # of an answer to a press (PROTOCOLS 3.1)
GRACE = 2.0                 # seconds that a stop waits for answers that are under way
FOREIGN = "Nothing was done: this chat ({}) is not one of the hub's. Add its number to telegram_configs."

logger = logging.getLogger("alerthub.channels.telegram")


def listeners(shared: TelegramGlobal, hearing: Hearing, wire: Wire) -> list[TelegramListener]:
    """One for every bot: the global one, and those of entries with a token of their own. None with `telegram_updates: off`.

    Raises ValueError, without the secret, for a token that is none."""
    if shared.hears_by == "off":
        return []
    common, url = revealed(shared.telegram_bot_token), shared.telegram_api_url
    urls = {common: url} if common else {}
    chats: defaultdict[str, list[int | str]] = defaultdict(list)
    for entry in hearing.entries:
        own = revealed(entry.bot_token) if isinstance(entry, TelegramConfig) else None
        if isinstance(entry, TelegramConfig) and (token := own or common):
            chats[token].append(entry.chat_id)
            urls.setdefault(token, entry.api_url or url)
    secret = revealed(shared.telegram_webhook_secret) if shared.hears_by == "webhook" else None
    return [TelegramListener(checked_token(token), checked_url(urls[token]), Chats.of(chats[token]), wire,
                             hearing.public_url, secret_for(token, common, secret)) for token in urls]


def secret_for(token: str, common: str | None, secret: str | None) -> str | None:
    """The webhook secret of a bot. All bots post to one address, and the secret says which one it is."""
    if secret is None or token == common:
        return secret
    return hmac.digest(secret.encode(), bot_id(token).encode(), hashlib.sha256).hex()


def bot_id(token: str) -> str:
    """The public half of a token."""
    return token.partition(":")[0]


class TelegramListener:
    """Hears one bot. Without a `secret` by polling. Which updates are confirmed is in memory only: Telegram keeps the others,
    and the hub knows what it had already by its key."""

    kind: ClassVar[str] = "telegram"

    def __init__(self, token: str, url: str, chats: Chats, wire: Wire, public_url: str = "", secret: str | None = None) -> None:
        self._token, self._chats, self._secret = token, chats, secret
        self._webhook = f"{public_url.rstrip('/')}{PATH}"
        self._bot = SilentBot.over(WireRequest(wire.http, wire.clock), token, url)
        self._clock, self._patience = wire.clock, Patience(wire.clock, self.name)
        self._username = ""
        self._taken: set[int] = set()               # of what is not confirmed, what the hub has
        self._telling: set[asyncio.Task[None]] = set()

    def __repr__(self) -> str:
        return f"TelegramListener({self.name!r})"

    @property
    def name(self) -> str:
        return f"telegram:{bot_id(self._token)}"

    @property
    def is_exclusive(self) -> bool:
        return self._secret is None

    async def receive(self, inbound: Inbound, take: Take) -> Reply:
        """Empty, because Telegram would carry out a method that an answer names; 503 when it is to come again."""
        if not self._is_genuine(inbound.headers.get(SECRET_HEADER)):
            raise Forged("the secret token of the webhook is missing or wrong")
        try:
            raw = raw_update(inbound.body)
        except NotAnUpdate:
            raise Unreadable("not an update of Telegram's") from None
        heard = self._read(raw)
        return Reply() if heard is None or await self._hear(heard, take) else Reply(503)

    async def listen(self, take: Take) -> None:
        await (self._poll(take) if self._secret is None else self._register())

    async def aclose(self) -> None:
        """Answers that are under way get a moment."""
        if self._telling:
            _, late = await asyncio.wait(self._telling, timeout=GRACE)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    def _is_genuine(self, given: str | None) -> bool:
        if self._secret is None or given is None:
            return False
        digests = [hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest() for text in (self._secret, given)]
        return hmac.compare_digest(*digests)

    # --- asking Telegram ------------------------------------------------------------------------------------------------

    async def _poll(self, take: Take) -> None:
        """Take each update before it is confirmed, and that is by asking for later ones."""
        offset, limit, webhook_may_be_set = None, BATCH, True
        while True:
            try:
                updates = await self._updates(offset, limit)
            except SendFailed as error:
                if webhook_may_be_set and "webhook" in error.detail.lower():
                    webhook_may_be_set = False
                    await self._quietly(self._bot.delete_webhook(drop_pending_updates=False), "webhook.kept")
                # One by one they fit into the answer that we read, however long they are.
                limit = 1 if error.reason is Failure.bug else limit
                await self._patience.wait(error)
                continue
            limit = min(2 * limit, BATCH)
            if not updates:
                self._patience.succeeded()
                await self._clock.sleep(PAUSE)
                continue
            offset = await self._take_all(updates, take)
            if offset <= updates[-1]["update_id"]:
                await self._patience.wait(SendFailed(Failure.unavailable, "the hub cannot take them now"), BUSY_WAIT)
            else:
                self._patience.succeeded()

    async def _updates(self, offset: int | None, limit: int) -> list[dict[str, Any]]:
        try:
            async with asyncio.timeout(POLL_SECONDS + 2 * ATTEMPT_SECONDS):
                with boundary(self._token):
                    found = await self._bot.raw_updates(offset, limit, ALLOWED)
        except TimeoutError:
            raise SendFailed(Failure.timeout, "no complete answer") from None
        return sorted(found, key=lambda raw: int(raw["update_id"]))

    async def _take_all(self, updates: list[dict[str, Any]], take: Take) -> int:
        """Give them to the hub, what one person did in its order. Returns the first that is still to be taken, of these or
        of those to come."""
        by_person: defaultdict[str, list[tuple[int, Heard]]] = defaultdict(list)
        for raw in updates:
            number = int(raw["update_id"])
            if number not in self._taken and (heard := self._read(raw)) is not None:
                by_person[heard.ask.by.id].append((number, heard))
        missed = await asyncio.gather(*(self._take_in_order(asked, take) for asked in by_person.values()))
        offset = min((number for number in missed if number is not None), default=int(updates[-1]["update_id"]) + 1)
        self._taken = {number for number in self._taken if number >= offset}
        return offset

    async def _take_in_order(self, asked: list[tuple[int, Heard]], take: Take) -> int | None:
        """The first that the hub could not take; those after it wait."""
        for number, heard in asked:
            if not await self._hear(heard, take):
                return number
            self._taken.add(number)
        return None

    async def _register(self) -> None:
        """Tell Telegram where to post; as often as it takes."""
        while True:
            try:
                async with asyncio.timeout(ATTEMPT_SECONDS):
                    with boundary(self._token):
                        await self._bot.set_webhook(self._webhook, secret_token=self._secret, allowed_updates=ALLOWED,
                                                    drop_pending_updates=False)
            except TimeoutError:
                await self._patience.wait(SendFailed(Failure.timeout, "no complete answer"))
            except SendFailed as error:
                await self._patience.wait(error)
            else:
                self._patience.succeeded()
                return

    # --- hearing --------------------------------------------------------------------------------------------------------

    def _read(self, raw: dict[str, Any]) -> Heard | None:
        return heard_in(raw, bot_id(self._token))

    async def _hear(self, heard: Heard, take: Take) -> bool:
        """Give it to the hub, and go on to tell the person how it ended. False when it must be heard again."""
        if not self._chats.know(heard):
            if heard.query:
                self._later(self._toast(heard, FOREIGN.format(heard.chat), is_alert=True))
            return True
        if heard.addressed:
            try:
                if heard.addressed != await self._own_name():
                    return True
            except SendFailed:
                return False
        answer = await take(heard.ask)
        if answer.outcome is Outcome.busy:
            return False
        self._later(self._tell(heard, answer))
        return True

    async def _own_name(self) -> str:
        """Asked for when a command names a bot, and not before: an outage at start must not stop the hub."""
        if not self._username:
            with boundary(self._token):
                self._username = (await self._bot.get_me()).name.removeprefix("@").lower()
        return self._username

    # --- telling --------------------------------------------------------------------------------------------------------

    def _later(self, telling: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(telling)
        self._telling.add(task)
        task.add_done_callback(self._telling.discard)

    async def _tell(self, heard: Heard, answer: Answer) -> None:
        if not heard.query:
            await self._say(heard, answer.text, answer.force)
            return
        await self._toast(heard, answer.text, is_alert=answer.outcome in (Outcome.refused, Outcome.held))
        if answer.outcome is Outcome.held and answer.force:
            await self._say(heard, f"{heard.ask.by.name or 'You'}: {answer.text}", answer.force)
        elif heard.is_question and heard.message is not None and answer.outcome in (Outcome.done, Outcome.already):
            done = self._bot.edit_message_reply_markup(heard.chat, heard.message, reply_markup=Keyboard([]))
            await self._quietly(done, "question.kept")

    async def _toast(self, heard: Heard, text: str, *, is_alert: bool) -> None:
        """Always, or the button goes on turning. Telegram shows it to whoever pressed, and to nobody else."""
        shown = encodable(utf16_clip(text, TOAST_LIMIT)) or None
        await self._quietly(self._bot.answer_callback_query(heard.query, shown, show_alert=is_alert), "press.unanswered")

    async def _say(self, heard: Heard, text: str, force: str = "") -> None:
        """A reply that all of the chat see: in a group nobody can be told alone. Never parsed."""
        shown = encodable(utf16_clip(text, TEXT_LIMIT))
        if not shown.strip():
            return
        reply = ReplyParameters(heard.message, allow_sending_without_reply=True) if heard.message is not None else None
        asked = Keyboard.of([[(FORCE_LABEL, force)]]) if force else None
        await self._quietly(self._bot.send_message(
            heard.chat, shown, reply_parameters=reply, reply_markup=asked, message_thread_id=heard.topic,
            link_preview_options=LinkPreviewOptions(is_disabled=True)), "reply.unsent")

    async def _quietly(self, call: Awaitable[object], event: str) -> None:
        """What fails here fails nobody: what was asked is done, and the live message shows it. A press can be answered for
        150 s only (PROTOCOLS 3.6)."""
        try:
            async with asyncio.timeout(ATTEMPT_SECONDS):
                with boundary(self._token):
                    await call
        except SendFailed as error:
            logger.info("Telegram did not take an answer: %s", error, extra={"event": f"telegram.{event}", "listener": self.name})
        except TimeoutError:
            logger.info("Telegram did not take an answer in time", extra={"event": f"telegram.{event}", "listener": self.name})


class Patience:
    """How long to wait after failures in a row: 1 s, doubling to a minute. Says each new cause once."""

    def __init__(self, clock: Clock, name: str) -> None:
        self._clock, self._name = clock, name
        self._failures, self._said = 0, ""

    async def wait(self, error: SendFailed, longest: float = LONGEST_WAIT) -> None:
        if self._said != str(error):
            self._said = str(error)
            logger.warning("Telegram's answers are not heard: %s; it is tried again", error,
                           extra={"event": "telegram.deaf", "listener": self._name})
        delay = min(FIRST_WAIT * 2 ** min(self._failures, 10), longest)
        self._failures += 1
        await self._clock.sleep(max(delay, error.after or 0.0))

    def succeeded(self) -> None:
        if self._failures:
            logger.info("Telegram's answers are heard again", extra={"event": "telegram.hears", "listener": self._name})
        self._failures, self._said = 0, ""
