"""Slack: the channel contract in both forms, edits and threads, and every row of the error table."""

from __future__ import annotations

import gzip
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import httpx
import pytest
from pydantic import ValidationError

from alerthub.channels.base import Channel, Wire
from alerthub.channels.slack import Slack, SlackConfig, SlackGlobal
from alerthub.channels.slack_client import ERROR_PREFIXES, ERRORS, SLOW, classify
from alerthub.domain.alert import Severity
from alerthub.domain.message import ActionLine, Button, Message, Receipt, Why
from alerthub.errors import Failure, SendFailed
from tests.channels.contract import ChannelContract, FixedClock, HttpChannelContract
from tests.kit.messages import acknowledged_message, digest_message, giant_message, message, resolved_message
from tests.kit.providers.http import Answer, FakeProvider
from tests.kit.providers.slack import CHANNEL, FakeSlack, Posted, parsed_as_markup, problems, tokens, visible

pytestmark = pytest.mark.anyio
TOKEN = "xoxb-canary-7f3a9d51c2"
SIGNING = "canary-signing-secret-91"


def sent_messages(provider: FakeSlack) -> list[dict[str, Any]]:
    return [request.json() for request in provider.requests]


class SlackText(ChannelContract):
    """What both forms of Slack share: what a reader sees, what is parsed, which limits hold."""

    def answer_ok(self, provider: FakeSlack) -> None:
        """FakeSlack is healthy as it is."""

    def texts(self, provider: FakeSlack) -> str:
        return "\n".join(map(visible, sent_messages(provider)))

    def markup(self, provider: FakeSlack) -> list[str]:
        return [part for sent in sent_messages(provider) for part in parsed_as_markup(sent)]

    def assert_within_limits(self, provider: FakeSlack) -> None:
        for sent in sent_messages(provider):
            assert len(sent["text"]) <= 4_000
            assert problems(sent["blocks"]) == [] if "blocks" in sent else sent["text"]


class TestBotContract(SlackText, HttpChannelContract):
    secrets: ClassVar[list[str]] = [TOKEN, SIGNING]

    def provider(self) -> AbstractAsyncContextManager[FakeProvider]:
        return FakeSlack(TOKEN)

    def channel(self, provider: FakeSlack) -> Channel:
        shared = SlackGlobal(slack_bot_token=TOKEN, slack_signing_secret=SIGNING, slack_base_url=provider.base_url)
        return Slack(SlackConfig(channel="#alerts"), shared, self.wire)

    def assert_edited(self, provider: FakeSlack) -> None:
        assert [root.edits for root in provider.roots] == [1]


class TestIncomingWebhookContract(SlackText, HttpChannelContract):
    secrets: ClassVar[list[str]] = ["hook-secret"]

    def provider(self) -> AbstractAsyncContextManager[FakeProvider]:
        return FakeSlack()

    def channel(self, provider: FakeSlack) -> Channel:
        return Slack(SlackConfig(channel="#alerts", api_url=provider.hook_url), SlackGlobal(), self.wire)


class Workspace:
    """A bot in a fake workspace: `tell` sends as the hub does, keeping the receipt."""

    def __init__(self, slack: FakeSlack, channel: Slack) -> None:
        self.slack, self.channel = slack, channel
        self.receipt: Receipt | None = None

    async def tell(self, told: Message) -> Receipt:
        self.receipt = await self.channel.send(told, self.receipt)
        return self.receipt

    async def refusal(self, told: Message) -> SendFailed:
        with pytest.raises(SendFailed) as caught:
            await self.tell(told)
        return caught.value

    def root(self) -> Posted:
        assert len(self.slack.roots) == 1, "one live message per incident"
        return self.slack.roots[0]

    def replies(self) -> list[Posted]:
        return self.slack.thread(self.root().ts)


def bot(slack: FakeSlack, http: httpx.AsyncClient, **settings: Any) -> Slack:
    shared = SlackGlobal(slack_bot_token=TOKEN, slack_base_url=slack.base_url)
    return Slack(SlackConfig(**{"channel": "#alerts", **settings}), shared, Wire(http, FixedClock()))


@pytest.fixture
async def workspace(http):
    async with FakeSlack(TOKEN) as slack:
        channel = bot(slack, http, mention=("U012AB3CD", "S99AB3CD"))
        yield Workspace(slack, channel)
        await channel.aclose()


async def test_the_receipt_is_the_channel_and_ts_that_slack_returned(workspace):
    receipt = await workspace.tell(message())
    assert receipt.handle == {"channel": CHANNEL, "ts": "1763726400.000001"}


async def test_an_edit_goes_to_the_returned_channel_id_and_ts(workspace):
    first = await workspace.tell(message())
    second = await workspace.tell(acknowledged_message())
    update = next(request.json() for request in workspace.slack.requests if request.path == "/api/chat.update")
    assert (update["channel"], update["ts"]) == (first.handle["channel"], first.handle["ts"])
    assert second == first


async def test_the_root_shows_the_state_now_and_the_thread_what_happened(workspace):
    await workspace.tell(message())
    await workspace.tell(acknowledged_message("ayse"))
    await workspace.tell(resolved_message())
    assert "RESOLVED" in workspace.root().text
    assert "FIRING" not in workspace.root().text
    assert [reply.text for reply in workspace.replies()] == [
        "Acknowledged by ayse", "Resolved: 1 alert cleared: AgentRewardNegative on btc"]


async def test_the_first_telling_has_no_thread(workspace):
    await workspace.tell(message())
    assert workspace.slack.methods() == ["chat.postMessage"]


async def test_a_change_without_news_edits_silently(workspace):
    await workspace.tell(message())
    await workspace.tell(message(why=Why.changed, news=()))
    assert workspace.slack.methods() == ["chat.postMessage", "chat.update"]


async def test_an_edit_alone_says_nothing_new_even_where_there_is_news(workspace):
    await workspace.tell(message())
    await workspace.tell(acknowledged_message("ayse", why=Why.escalated, only_edit=True))
    assert workspace.slack.methods() == ["chat.postMessage", "chat.update"]
    assert "ACKNOWLEDGED by ayse" in workspace.root().text


async def test_the_buttons_change_with_the_state_and_go_when_it_is_over_or_degraded(workspace):
    give_back = Button("unacknowledge", "Give back", "u.1.1..mac")
    await workspace.tell(message(buttons=(Button("acknowledge", "Acknowledge", "a.1.1..mac"),)))
    assert tokens(workspace.root().sent) == {"Acknowledge": "a.1.1..mac"}
    await workspace.tell(acknowledged_message(buttons=(give_back,)))
    assert tokens(workspace.root().sent) == {"Give back": "u.1.1..mac"}
    await workspace.tell(acknowledged_message(buttons=(give_back,), is_degraded=True))
    assert tokens(workspace.root().sent) == {}
    await workspace.tell(resolved_message())
    assert tokens(workspace.root().sent) == {}


@pytest.mark.parametrize(("why", "broadcast"), [
    (Why.reopened, True), (Why.escalated, True), (Why.repeat, True), (Why.changed, False), (Why.resolved, False),
    (Why.acknowledged, False), (Why.action, False), (Why.comment, False), (Why.stale, False),
])
async def test_what_nobody_may_miss_goes_into_the_channel_too(workspace, why, broadcast):
    await workspace.tell(message())
    await workspace.tell(message(why=why, news=("Something happened",)))
    assert [reply.sent["reply_broadcast"] for reply in workspace.replies()] == [broadcast]


@pytest.mark.parametrize(("outcomes", "why", "broadcast"), [
    ([True], Why.action, True), ([False, True, False], Why.action, True), ([False], Why.action, False), ([], Why.action, False),
    ([True], Why.changed, False),
])
async def test_an_action_that_went_wrong_goes_into_the_channel_too(workspace, outcomes, why, broadcast):
    done = tuple(ActionLine("safe-mode", is_bad=is_bad) for is_bad in outcomes)
    await workspace.tell(message())
    await workspace.tell(message(why=why, news=("Action safe-mode reported",), actions=done))
    assert [reply.sent["reply_broadcast"] for reply in workspace.replies()] == [broadcast]


async def test_a_failed_action_without_news_is_no_reply(workspace):
    await workspace.tell(message())
    await workspace.tell(message(why=Why.action, news=(), actions=(ActionLine("safe-mode", is_bad=True),)))
    assert workspace.replies() == []


async def test_a_reopened_incident_stays_in_its_thread(workspace):
    await workspace.tell(message())
    await workspace.tell(resolved_message())
    await workspace.tell(message(why=Why.reopened, episode=2, news=("Reopened: 1 alert fired again",)))
    assert "FIRING" in workspace.root().text
    assert "reopened" in workspace.root().text
    assert workspace.replies()[-1].sent["reply_broadcast"] is True


async def test_a_repeat_says_how_long_it_has_been_open(workspace):
    await workspace.tell(message())
    await workspace.tell(message(why=Why.repeat, news=()))
    assert "Still firing after 5 min: AgentRewardNegative (agent=btc), 1 firing" in workspace.replies()[0].text


async def test_people_are_called_when_it_opens_and_when_it_is_told_again(workspace):
    await workspace.tell(message())
    assert "<@U012AB3CD> <!subteam^S99AB3CD>" in workspace.root().sent["text"]
    await workspace.tell(message(why=Why.repeat, news=()))
    assert workspace.replies()[0].sent["text"].startswith("<@U012AB3CD> <!subteam^S99AB3CD> Still")
    assert "<@U012AB3CD>" not in workspace.root().sent["text"], "an edit calls nobody"


@pytest.mark.parametrize("quiet", [
    message(severity=Severity.warning), resolved_message(), message(why=Why.test),
], ids=["warning", "resolved", "test"])
async def test_nobody_is_called_for_what_can_wait(workspace, quiet):
    await workspace.tell(quiet)
    assert "<@" not in str(workspace.root().sent)


async def test_every_post_carries_the_delivery_id_and_unfurls_nothing(workspace):
    await workspace.tell(message())
    await workspace.tell(resolved_message(delivery_id="second"))
    posts = [posted.sent for posted in (workspace.replies()[0],)]
    posts.insert(0, workspace.slack.requests[0].json())
    assert [post["metadata"]["event_payload"]["delivery_id"] for post in posts] == [message().delivery_id, "second"]
    assert all(post["unfurl_links"] is post["unfurl_media"] is False for post in posts)


async def test_a_degraded_edit_takes_the_blocks_away(workspace):
    await workspace.tell(message())
    await workspace.tell(message(is_degraded=True, news=()))
    update = workspace.slack.last.json()
    assert "blocks" not in update
    assert "AgentRewardNegative" in update["text"]


async def test_a_degraded_post_has_nothing_that_could_be_refused(http):
    async with FakeSlack(TOKEN) as slack:
        channel = bot(slack, http)
        await channel.send(message(is_degraded=True), None)
        await channel.aclose()
        assert set(slack.last.json()) == {"channel", "text", "unfurl_links", "unfurl_media", "mrkdwn"}


async def test_a_degraded_page_still_calls_people(workspace):
    await workspace.tell(message(is_degraded=True))
    assert workspace.slack.last.json()["text"].startswith("<@U012AB3CD>")
    assert "mrkdwn" not in workspace.slack.last.json()


async def test_a_failed_thread_line_after_the_edit_is_tried_again_without_doubling(workspace):
    await workspace.tell(message())
    workspace.slack.script(body={"ok": True, "channel": CHANNEL, "ts": "1"})      # the edit
    workspace.slack.script(503)                                                   # the line
    error = await workspace.refusal(resolved_message())
    assert error.reason is Failure.unavailable
    await workspace.tell(resolved_message())
    assert workspace.slack.methods()[1:] == ["chat.update", "chat.postMessage", "chat.update", "chat.postMessage"]
    assert len(workspace.replies()) == 1


async def test_an_edit_that_fails_posts_nothing_into_the_thread(workspace):
    await workspace.tell(message())
    workspace.slack.script(500)
    await workspace.refusal(resolved_message())
    assert workspace.slack.methods() == ["chat.postMessage", "chat.update"]


async def test_a_deleted_live_message_is_a_stale_handle(workspace):
    await workspace.tell(message())
    workspace.slack.posted.clear()
    error = await workspace.refusal(resolved_message())
    assert error.reason is Failure.stale_handle
    assert error.is_retryable


async def test_a_thread_that_cannot_be_answered_is_a_stale_handle(workspace):
    await workspace.tell(message())
    workspace.slack.script(body={"ok": True})
    workspace.slack.script(body={"ok": False, "error": "cannot_reply_to_message"})
    assert (await workspace.refusal(resolved_message())).reason is Failure.stale_handle


@pytest.mark.parametrize("previous", [None, Receipt(), Receipt({"ts": "1"}), Receipt({"channel": CHANNEL})])
async def test_without_a_whole_handle_a_new_root_is_posted(workspace, previous):
    workspace.receipt = previous
    await workspace.tell(resolved_message())
    assert workspace.slack.methods() == ["chat.postMessage"]


@pytest.mark.parametrize("answer", [
    {"ok": True}, {"ok": True, "channel": CHANNEL}, {"ok": True, "ts": "1.2"}, {"ok": True, "channel": CHANNEL, "ts": ""},
    {"ok": True, "channel": CHANNEL, "ts": 1763726400.1}, {"ok": True, "channel": None, "ts": "1.2"},
], ids=str)
async def test_ok_without_a_usable_handle_is_no_success(workspace, answer):
    workspace.slack.script(body=answer)
    error = await workspace.refusal(message())
    assert error.reason is Failure.bug
    assert error.is_ambiguous


# PROTOCOLS 2.7, row by row, as Slack says it: HTTP 200, ok false. The table under test is not read here.
ROWS = {
    Failure.rate_limited: "ratelimited rate_limited message_limit_exceeded",
    Failure.unavailable: "internal_error fatal_error service_unavailable request_timeout update_failed "
                         "external_channel_migrating",
    Failure.content: "invalid_blocks invalid_blocks_format msg_blocks_too_long msg_too_long no_text too_many_attachments "
                     "attachment_payload_limit_exceeded metadata_too_large invalid_metadata_format invalid_metadata_schema "
                     "block_mismatch markdown_text_conflict",
    Failure.stale_handle: "message_not_found cant_update_message edit_window_closed is_inactive cannot_reply_to_message "
                          "restricted_action_thread_locked thread_not_found",
    Failure.configuration: "invalid_auth not_authed account_inactive token_revoked token_expired missing_scope no_permission "
                           "channel_not_found not_in_channel is_archived restricted_action restricted_action_read_only_channel "
                           "team_not_found messages_tab_disabled org_login_required access_denied ekm_access_denied "
                           "accesslimited deprecated_endpoint enterprise_is_restricted not_allowed_token_type",
    Failure.bug: "a_new_error_of_slack",
}


@pytest.mark.parametrize(("code", "reason"), [(code, reason) for reason, codes in ROWS.items() for code in codes.split()])
async def test_each_error_word_has_its_class(workspace, code, reason):
    workspace.receipt = Receipt({"channel": CHANNEL, "ts": "1.1"})
    workspace.slack.script(body={"ok": False, "error": code})
    error = await workspace.refusal(message())
    assert error.reason is reason
    assert code in error.detail


def test_no_row_of_the_error_table_is_without_a_test():
    words = {code for codes in ROWS.values() for code in codes.split()} | {code for _, code, _ in HOOK_ROWS}
    assert set(ERRORS) <= words
    assert all(any(word.startswith(prefix) for word in words) for prefix in ERROR_PREFIXES)


@pytest.mark.parametrize("code", ROWS[Failure.stale_handle].split())
def test_without_a_handle_nothing_is_stale(code):
    assert classify(code, 200, has_handle=False) is Failure.bug


async def test_a_limit_of_the_workspace_is_waited_out_slowly(workspace):
    workspace.slack.script(body={"ok": False, "error": "message_limit_exceeded"})
    assert (await workspace.refusal(message())).after == SLOW


async def test_a_missing_scope_is_named(workspace):
    workspace.slack.script(body={"ok": False, "error": "missing_scope", "needed": "chat:write", "provided": "x"})
    assert (await workspace.refusal(message())).detail == "missing_scope (needs chat:write)"


@pytest.mark.parametrize("said", ["", "Not A Code!", "x" * 101, 5, None, ["a"], {"a": "b"}, TOKEN], ids=str)
async def test_what_is_not_shaped_like_an_error_word_is_not_repeated(workspace, said):
    workspace.slack.script(body={"ok": False, "error": said, "needed": said})
    assert (await workspace.refusal(message())).detail == "HTTP 200 without a known error"


# PROTOCOLS 2.8.
HOOK_ROWS = [
    (400, "invalid_payload", Failure.content), (400, "no_text", Failure.content),
    (403, "action_prohibited", Failure.configuration),
    (404, "no_service", Failure.configuration), (404, "channel_not_found", Failure.configuration),
    (410, "channel_is_archived", Failure.configuration), (500, "rollup_error", Failure.unavailable), (200, "not ok", Failure.bug),
]


@pytest.mark.parametrize(("status", "said", "reason"), HOOK_ROWS)
async def test_each_error_of_an_incoming_webhook_has_its_class(http, status, said, reason):
    async with FakeSlack() as slack:
        channel = Slack(SlackConfig(api_url=slack.hook_url), SlackGlobal(), Wire(http, FixedClock()))
        slack.script(status, body=said)
        with pytest.raises(SendFailed) as caught:
            await channel.send(message(), None)
    assert caught.value.reason is reason


async def test_an_incoming_webhook_posts_each_time_and_gives_no_handle(http):
    async with FakeSlack() as slack:
        channel = Slack(SlackConfig(), SlackGlobal(slack_api_url=slack.hook_url), Wire(http, FixedClock()))
        first = await channel.send(message(), None)
        await channel.send(resolved_message(), first)
        assert first == Receipt()
        assert channel.edits is False
        said = [visible(sent) for sent in slack.hooked]
        assert [("FIRING" in text, "RESOLVED" in text) for text in said] == [(True, False), (False, True)]


async def test_a_digest_lists_every_incident(workspace):
    await workspace.tell(digest_message(40))
    assert all(f"#{number} " in workspace.root().text for number in range(101, 141))


async def test_templates_of_the_configuration_replace_title_and_text(http):
    async with FakeSlack(TOKEN) as slack:
        channel = bot(slack, http, title="Reward of {{ labels.agent }}", text="<!channel> *{{ firing }}* firing")
        await channel.send(message(), None)
        await channel.aclose()
        assert "Reward of btc" in slack.roots[0].text
        assert "<!channel> *1* firing" in slack.roots[0].text, "what a template says is literal too"


async def test_a_template_that_fails_when_it_runs_never_loses_a_page(http):
    async with FakeSlack(TOKEN) as slack:
        channel = bot(slack, http, title="{{ 6 // (firing - 17) }}", text="{{ 6 // (firing - 17) }}")
        await channel.send(message(firing=17), None)
        await channel.aclose()
        assert "AgentRewardNegative" in slack.roots[0].text


async def test_looks_are_sent_with_posts_and_never_with_edits(http):
    async with FakeSlack(TOKEN) as slack:
        channel = bot(slack, http, username="Hub", icon_emoji=":fire:")
        receipt = await channel.send(message(), None)
        await channel.send(message(news=()), receipt)
        await channel.aclose()
        post, update = (request.json() for request in slack.requests)
        assert (post["username"], post["icon_emoji"]) == ("Hub", ":fire:")
        assert "icon_url" not in post
        assert not {"username", "icon_emoji", "unfurl_links"} & set(update)


async def test_the_environments_proxy_is_not_used(http, monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    async with FakeSlack(TOKEN) as slack:
        channel = bot(slack, http)
        assert (await channel.send(message(), None)).handle
        await channel.aclose()


async def test_a_closed_channel_opens_again_when_it_is_used(workspace):
    await workspace.tell(message())
    await workspace.channel.aclose()
    await workspace.channel.aclose()
    await workspace.tell(resolved_message())
    assert "RESOLVED" in workspace.root().text


async def test_a_giant_first_message_passes_the_limits_of_slack(workspace):
    await workspace.tell(giant_message())
    await workspace.tell(giant_message(why=Why.repeat))
    assert workspace.slack.methods() == ["chat.postMessage", "chat.update", "chat.postMessage"]


async def test_an_answer_without_json_keeps_its_status(workspace):
    workspace.slack.answer = lambda request: Answer(502, body="<html>Bad gateway</html>", headers={"content-type": "text/html"})
    assert (await workspace.refusal(message())).reason is Failure.unavailable


async def test_an_answer_that_came_packed_although_we_asked_for_plain_is_not_unpacked(workspace):
    packed = gzip.compress(b'{"ok": true, "channel": "C012AB3CD", "ts": "1.2"}')
    workspace.slack.script(body=packed, headers={"content-encoding": "gzip"})
    assert (await workspace.refusal(message())).is_ambiguous
    assert workspace.slack.last.headers["accept-encoding"] == "identity"


def build(config: dict[str, Any], shared: dict[str, Any]) -> Slack:
    return Slack(SlackConfig(**config), SlackGlobal(**shared), Wire(None, FixedClock()))


@pytest.mark.parametrize(("config", "shared", "reason"), [
    ({"channel": "#alerts"}, {}, "slack_bot_token_file"),
    ({}, {"slack_bot_token": TOKEN}, "a channel is needed"),
    ({"api_url": "hooks.slack.com/canary"}, {}, "api_url must be an address"),
    ({"api_url": "https://exa mple/canary"}, {}, "api_url must be an address"),
    ({"channel": "#alerts"}, {"slack_bot_token": TOKEN, "slack_base_url": "ftp://canary"}, "slack_base_url must be"),
    ({"channel": "#alerts"}, {"slack_bot_token": TOKEN, "slack_base_url": "http://"}, "slack_base_url must be"),
    ({"channel": "#alerts", "title": "{{ broken"}, {"slack_bot_token": TOKEN}, "unexpected end"),
])
def test_settings_that_do_not_suffice_are_refused_in_plain_words(config, shared, reason):
    with pytest.raises(ValueError, match=reason) as caught:
        build(config, shared)
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize("mention", ["U1", "<@U012AB3CD>", "u012ab3cd", "@ayse", "everyone!", "U012AB3CD> <!channel", ""])
def test_only_ids_can_be_mentioned(mention):
    with pytest.raises(ValidationError, match="write Slack ids"):
        SlackConfig(channel="#alerts", mention=(mention,))


@pytest.mark.parametrize("mention", ["U012AB3CD", "W012AB3CD", "S012AB3CD", "here", "channel", "everyone"])
def test_people_groups_and_the_channel_can_be_mentioned(mention):
    assert SlackConfig(channel="#alerts", mention=(mention,)).mention == (mention,)


def test_what_is_nearest_to_the_destination_decides_the_form():
    token, hook = {"slack_bot_token": TOKEN}, "https://hooks.slack.com/services/T/B/x"
    assert build({"channel": "#a"}, {**token, "slack_api_url": hook}).edits is True
    assert build({"channel": "#a", "api_url": hook}, token).edits is False
    assert build({}, {"slack_api_url": hook}).edits is False
    assert Slack.edits is True


def test_two_incoming_webhooks_have_two_addresses_that_show_neither():
    one, two = (build({"channel": "#a", "api_url": f"https://hooks.slack.com/services/T/B/{n}"}, {}).address for n in "xy")
    assert one != two
    assert one.startswith("incoming-webhook/#a/")
    assert "hooks" not in one + two


def test_the_address_of_a_bots_destination_is_its_channel():
    assert build({"channel": "#alerts"}, {"slack_bot_token": TOKEN}).address == "#alerts"


def test_secrets_come_from_files(tmp_path: Path):
    path = tmp_path / "token"
    path.write_text(TOKEN + "\n")
    shared = SlackGlobal(slack_bot_token_file=str(path))
    assert shared.slack_bot_token.get_secret_value() == TOKEN
    assert TOKEN not in repr(shared) + str(shared.model_dump())


def test_unknown_settings_are_refused():
    with pytest.raises(ValidationError, match="chanel"):
        SlackConfig(chanel="#alerts")


async def test_only_the_message_differs_between_two_attempts(workspace):
    """The delivery id stays, so that a doubled post can be found."""
    workspace.slack.script(drop=True)
    await workspace.refusal(message())
    await workspace.tell(replace(message(), possible_duplicate=True))
    ids = [request.json()["metadata"]["event_payload"]["delivery_id"] for request in workspace.slack.requests]
    assert len(set(ids)) == 1
    assert "duplicate" in workspace.root().text
