"""Email: the channel contract over a real SMTP conversation, threads, refusals by code, TLS, and settings."""

from __future__ import annotations

import html
import re
import ssl
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, ClassVar

import aiosmtplib
import httpx
import pytest
from pydantic import ValidationError

from alerthub.channels.base import Channel, Wire
from alerthub.channels.email import OURS, Email, EmailConfig, EmailGlobal, addresses, is_loopback
from alerthub.channels.email_client import CODES, all_refused, before_content, failure_for_code
from alerthub.domain.message import Button, Message, Receipt, Why
from alerthub.errors import Failure, SendFailed
from tests.channels.contract import ChannelContract, FixedClock
from tests.kit.messages import digest_message, hostile_message, message, resolved_message
from tests.kit.providers.smtp import FakeSmtp

pytestmark = pytest.mark.anyio
PASSWORD = "canary-smtp-7f3a9d51c2"
LOGIN = ("hub", PASSWORD)
RISK, DESK = "risk@example.com", "desk@example.com"


def email(post: FakeSmtp, shared: dict[str, Any] | None = None, **settings: Any) -> Email:
    common = {"smtp_smarthost": post.smarthost, "smtp_from": "AlertHub <hub@example.com>", "smtp_tls_ca_file": post.ca_file,
              **({"smtp_auth_username": LOGIN[0], "smtp_auth_password": PASSWORD} if post.login else {}), **(shared or {})}
    client = httpx.AsyncClient(transport=httpx.MockTransport(lambda request: httpx.Response(500)))
    return Email(EmailConfig(**{"to": RISK, **settings}), EmailGlobal(**common), Wire(client, FixedClock()))


def visible(source: str) -> str:
    return html.unescape(re.sub(r"<[^>]*>", " ", source))


class TestEmailContract(ChannelContract):
    secrets: ClassVar = [PASSWORD]

    def provider(self) -> AbstractAsyncContextManager[FakeSmtp]:
        return FakeSmtp(login=LOGIN)

    def channel(self, provider: FakeSmtp) -> Channel:
        return email(provider)

    def answer_ok(self, provider: FakeSmtp) -> None:
        provider.forget()

    def texts(self, provider: FakeSmtp) -> str:
        return "\n".join(f"{mail.message['Subject']}\n{mail.part('text/plain')}\n{visible(mail.part('text/html'))}"
                         for mail in provider.mails)

    def markup(self, provider: FakeSmtp) -> list[str]:
        return [mail.part("text/html") for mail in provider.mails]

    def assert_within_limits(self, provider: FakeSmtp) -> None:
        for mail in provider.mails:
            assert all(len(line) <= 998 for line in mail.content.split(b"\r\n"))
            assert len(str(mail.message["Subject"])) <= 204
            assert len(mail.part("text/html").encode()) <= 102_000

    def hang(self, provider: FakeSmtp) -> None:
        provider.script(hang="data")

    def reset(self, provider: FakeSmtp) -> None:
        provider.script(drop="data")


@pytest.fixture
async def post():
    async with FakeSmtp(login=LOGIN) as provider:
        yield provider


async def refusal(channel: Email, told: Message | None = None) -> SendFailed:
    with pytest.raises(SendFailed) as caught:
        await channel.send(told or message(), None)
    return caught.value


# --- the conversation ---------------------------------------------------------------------------------------------------------

async def test_a_mail_is_handed_over_encrypted_and_logged_in(post: FakeSmtp) -> None:
    await email(post, {"smtp_hello": "hub.example.com"}, to=f"{RISK}, Desk <{DESK}>").send(message(), None)
    (mail,) = post.mails
    assert (mail.sender, mail.recipients, mail.login) == ("hub@example.com", (RISK, DESK), "hub")
    assert (mail.was_encrypted, mail.hello) == (True, "hub.example.com")
    assert mail.message["To"] == f"{RISK}, Desk <{DESK}>"
    assert mail.message["From"] == "AlertHub <hub@example.com>"


async def test_an_incident_is_one_thread(post: FakeSmtp) -> None:
    channel = email(post)
    first = await channel.send(message(), None)
    second = await channel.send(resolved_message(title="Renamed"), first)
    third = await channel.send(message(why=Why.reopened, delivery_id="d3"), second)
    root, *later = [mail.message for mail in post.mails]
    assert all(mail["References"] == mail["In-Reply-To"] == root["Message-ID"] for mail in later)
    assert {mail["Subject"] for mail in later} == {f"Re: {root['Subject']}"}
    assert len({mail["Message-ID"] for mail in [root, *later]}) == 3
    assert third.handle["root"] == root["Message-ID"]
    assert third.handle["message_id"] == later[1]["Message-ID"]


async def test_the_links_to_answer_by_arrive_whole_in_both_parts(post: FakeSmtp) -> None:
    url = "https://hub.example.com/respond/a.4711.3.1795262400." + "x" * 16
    await email(post).send(message(buttons=(Button("acknowledge", "Acknowledge", "token", url),)), None)
    (mail,) = post.mails
    assert f"Acknowledge: {url}\n" in mail.part("text/plain").replace("\r\n", "\n")
    assert f'href="{url}"' in mail.part("text/html")


async def test_a_lost_answer_is_in_doubt_and_the_repetition_carries_the_same_id(post: FakeSmtp) -> None:
    channel = email(post)
    post.script(drop="data")
    error = await refusal(channel)
    assert (error.reason, error.is_ambiguous) == (Failure.timeout, True)
    receipts = [await channel.send(message(), None) for _ in range(2)]
    assert len({receipt.handle["message_id"] for receipt in receipts}) == 1
    assert len({mail.message["Message-ID"] for mail in post.mails}) == 1


@pytest.mark.parametrize("step", ["connect", "mail", "rcpt"])
async def test_a_connection_lost_before_the_content_delivered_nothing(post: FakeSmtp, step: str) -> None:
    post.script(drop=step)
    error = await refusal(email(post))
    assert (error.reason, error.is_ambiguous) == (Failure.unavailable, False)
    assert await email(post).send(message(), None)


@pytest.mark.parametrize("handle", [{}, {"root": "<x@y>"}, {"subject": "x"}, {"root": "\n", "subject": "x"},
                                    {"root": "<ü@y>", "subject": "x"}])
async def test_a_receipt_that_names_no_thread_starts_one(post: FakeSmtp, handle: dict[str, str]) -> None:
    await email(post).send(resolved_message(), Receipt(handle))
    assert post.mails[0].message["In-Reply-To"] is None


async def test_a_receipt_cannot_break_a_header(post: FakeSmtp) -> None:
    await email(post).send(message(), Receipt({"root": "<x@y>\r\nBcc: evil@x", "subject": "x\r\nBcc: evil@x"}))
    assert post.mails[0].message["Bcc"] is None
    assert post.mails[0].recipients == (RISK,)


async def test_a_storm_is_a_mail_of_its_own(post: FakeSmtp) -> None:
    channel = email(post)
    receipt = await channel.send(message(), None)
    await channel.send(digest_message(3), receipt)
    assert post.mails[1].message["In-Reply-To"] is None
    assert "3 new incidents" in str(post.mails[1].message["Subject"])


# --- refusals -----------------------------------------------------------------------------------------------------------------

async def test_who_is_refused_stands_in_the_receipt_when_others_were_accepted(
        post: FakeSmtp, caplog: pytest.LogCaptureFixture) -> None:
    post.script(rcpt={RISK: "550 5.1.1 no such user"})
    receipt = await email(post, to=[RISK, DESK]).send(message(), None)
    assert post.mails[0].recipients == (DESK,)
    assert receipt.handle["refused"] == f"{RISK}: 550 5.1.1 no such user"
    assert [record.__dict__.get("event") for record in caplog.records if record.name.startswith("alerthub")] == ["email.refused"]


async def test_a_mail_that_all_accepted_says_nothing_of_refusals(post: FakeSmtp) -> None:
    assert "refused" not in (await email(post, to=[RISK, DESK]).send(message(), None)).handle


@pytest.mark.parametrize(("replies", "reason"), [
    (("550 no such user", "550 no such user"), Failure.configuration),
    (("550 no such user", "451 greylisted"), Failure.unavailable),
    (("452 full", "451 greylisted"), Failure.unavailable),
    (("552 too large", "550 no such user"), Failure.content),
    (("554 spam", "554 spam"), Failure.content),
    (("553 bad name", "551 not local"), Failure.configuration),
])
async def test_when_all_are_refused_the_mildest_reason_counts(
        post: FakeSmtp, replies: tuple[str, str], reason: Failure) -> None:
    post.script(rcpt=dict(zip((RISK, DESK), replies, strict=True)))
    error = await refusal(email(post, to=[RISK, DESK]))
    assert error.reason is reason
    assert replies[0].split(" ", 1)[1] in error.detail
    assert post.mails == []


CODE_TABLE = [(code, Failure.unavailable) for code in (-1, 250, 400, 421, 450, 451, 452, 454, 499, 600)] + [
    (500, Failure.configuration), (530, Failure.configuration), (535, Failure.configuration), (538, Failure.configuration),
    (550, Failure.configuration), (551, Failure.configuration), (552, Failure.content), (553, Failure.configuration),
    (554, Failure.content), (555, Failure.configuration), (599, Failure.configuration)]


@pytest.mark.parametrize(("code", "reason"), CODE_TABLE)
def test_each_code_has_a_reason(code: int, reason: Failure) -> None:
    assert failure_for_code(code) is reason
    assert before_content(aiosmtplib.SMTPSenderRefused(code, "words", "x")).reason is reason
    assert before_content(aiosmtplib.SMTPAuthenticationError(code, PASSWORD)).reason is reason
    assert all_refused([aiosmtplib.SMTPRecipientRefused(code, "words", "x")]).reason is reason


def test_every_special_code_is_in_the_table() -> None:
    assert set(CODES) <= {code for code, _ in CODE_TABLE}


@pytest.mark.parametrize(("reply", "reason"), [
    ("451 later", Failure.unavailable), ("452 full", Failure.unavailable), ("552 too large", Failure.content),
    ("554 spam", Failure.content), ("550 policy", Failure.configuration),
])
@pytest.mark.parametrize("step", ["mail", "data"])
async def test_a_refused_sender_or_content_is_classified_by_its_code(
        post: FakeSmtp, step: str, reply: str, reason: Failure) -> None:
    post.script(**{step: reply})
    error = await refusal(email(post))
    assert error.reason is reason
    assert error.detail == reply


@pytest.mark.parametrize(("reply", "reason"), [
    ("535 5.7.8 bad credentials", Failure.configuration), ("454 4.7.0 try later", Failure.unavailable),
])
async def test_a_refused_login_says_no_word_of_the_server(post: FakeSmtp, reply: str, reason: Failure) -> None:
    post.refuses_login = f"{reply} {PASSWORD}"
    error = await refusal(email(post))
    assert error.reason is reason
    assert "login" in error.detail
    assert PASSWORD not in error.detail


@pytest.mark.parametrize(("error", "reason"), [
    (aiosmtplib.SMTPConnectTimeoutError("x"), Failure.unavailable),
    (aiosmtplib.SMTPConnectError("x"), Failure.unavailable),
    (aiosmtplib.SMTPServerDisconnected("x"), Failure.unavailable),
    (aiosmtplib.SMTPReadTimeoutError("x"), Failure.unavailable),
    (aiosmtplib.SMTPConnectResponseError(554, "no service"), Failure.content),
    (aiosmtplib.SMTPNotSupported("x"), Failure.configuration),
    (aiosmtplib.SMTPException("STARTTLS is not supported"), Failure.configuration),
    (ConnectionResetError(), Failure.unavailable),
    (ssl.SSLEOFError(8, "EOF"), Failure.unavailable),
    (ssl.SSLError(1, "wrong version number"), Failure.configuration),
    (ssl.SSLCertVerificationError(1, "self-signed"), Failure.configuration),
])
def test_each_error_before_the_content_has_a_reason(error: Exception, reason: Failure) -> None:
    assert before_content(error).reason is reason


# --- TLS ----------------------------------------------------------------------------------------------------------------------

async def test_a_server_without_starttls_gets_neither_password_nor_mail() -> None:
    async with FakeSmtp(login=LOGIN, starttls=False) as bare:
        error = await refusal(email(bare))
        assert error.reason is Failure.configuration
        assert "STARTTLS" in error.detail
        assert bare.mails == []


async def test_a_certificate_that_nobody_vouches_for_is_refused(post: FakeSmtp) -> None:
    error = await refusal(email(post, {"smtp_tls_ca_file": None}))
    assert error.reason is Failure.configuration
    assert "certificate is not trusted" in error.detail


@pytest.mark.parametrize("implicit", [False, True])
async def test_a_certificate_for_another_name_is_refused(implicit: bool) -> None:
    async with FakeSmtp(name="mail.elsewhere.example", implicit=implicit) as impostor:
        error = await refusal(email(impostor, {"smtp_force_implicit_tls": implicit}))
        assert error.reason is Failure.configuration
        assert "certificate is not trusted" in error.detail
        assert impostor.mails == []


async def test_tls_from_the_first_byte() -> None:
    async with FakeSmtp(login=LOGIN, implicit=True) as post:
        await email(post, force_implicit_tls=True).send(message(), None)
        assert post.mails[0].was_encrypted


async def test_tls_from_the_first_byte_with_a_server_that_speaks_first_is_a_matter_for_a_person(post: FakeSmtp) -> None:
    assert (await refusal(email(post, force_implicit_tls=True))).reason is Failure.configuration


async def test_a_relay_on_this_machine_may_be_spoken_to_in_clear() -> None:
    async with FakeSmtp(starttls=False) as relay:
        await email(relay, require_tls=False).send(message(), None)
        assert not relay.mails[0].was_encrypted


@pytest.mark.parametrize(("port", "forced", "implicit"), [
    (465, None, True), (587, None, False), (25, None, False), (2525, True, True), (465, False, False),
])
def test_port_465_means_tls_from_the_first_byte(port: int, forced: bool | None, implicit: bool) -> None:
    channel = build({"smtp_smarthost": f"mail.example.com:{port}", "smtp_force_implicit_tls": forced})
    assert channel._post._smarthost.is_implicit is implicit
    assert channel._post._smarthost.is_encrypted


# --- addresses outside ASCII --------------------------------------------------------------------------------------------------

async def test_an_address_outside_ascii_needs_smtputf8_and_gets_it(post: FakeSmtp) -> None:
    await email(post, to="jörg@example.com").send(message(), None)
    (mail,) = post.mails
    assert mail.recipients == ("jörg@example.com",)
    assert "SMTPUTF8" in mail.options
    assert "To: jörg@example.com".encode() in mail.content


async def test_without_smtputf8_such_an_address_is_a_matter_for_a_person() -> None:
    async with FakeSmtp(utf8=False) as old:
        error = await refusal(email(old, to="jörg@example.com"))
        assert error.reason is Failure.configuration
        assert "SMTPUTF8" in error.detail


async def test_a_domain_outside_ascii_is_written_in_ascii(post: FakeSmtp) -> None:
    await email(post, to="risk@bücher.example").send(message(), None)
    assert post.mails[0].recipients == ("risk@xn--bcher-kva.example",)
    assert post.mails[0].options == ()


# --- templates ----------------------------------------------------------------------------------------------------------------

async def test_subject_text_html_and_own_headers_are_templates(post: FakeSmtp) -> None:
    channel = email(post, text="T {{ title }}", html="<p>H {{ title }}</p>",
                    headers={"Subject": "[{{ status }}] {{ labels.agent }}", "X-Severity": "{{ severity }}"})
    await channel.send(hostile_message("<b>&\r\nX: y"), None)
    (mail,) = post.mails
    assert mail.message["Subject"] == "[triggered] <b>& X: y"
    assert mail.message["X-Severity"] == "critical"
    assert mail.message["X"] is None
    assert mail.part("text/plain").startswith("T <b>&")
    assert "H &lt;b&gt;&amp;" in mail.part("text/html")


async def test_a_template_that_fails_leaves_the_built_in_part(post: FakeSmtp) -> None:
    fails = "{{ 1 // (firing - 7) }}"
    await email(post, text=fails, html=fails, headers={"Subject": fails, "X-Own": fails}).send(message(firing=7), None)
    (mail,) = post.mails
    assert mail.message["Subject"] == "[#17] AgentRewardNegative (agent=btc)"
    assert "FIRING" in mail.part("text/plain")
    assert "FIRING" in mail.part("text/html")


# --- settings -----------------------------------------------------------------------------------------------------------------

def build(shared: dict[str, Any], **settings: Any) -> Email:
    common = {"smtp_smarthost": "mail.example.com:587", "smtp_from": "hub@example.com", **shared}
    client = httpx.AsyncClient(transport=httpx.MockTransport(lambda request: httpx.Response(500)))
    return Email(EmailConfig(**{"to": RISK, **settings}), EmailGlobal(**common), Wire(client, FixedClock()))


@pytest.mark.parametrize(("shared", "settings", "word"), [
    ({"smtp_smarthost": ""}, {}, "smtp_smarthost"),
    ({"smtp_smarthost": "mail.example.com"}, {}, "host:port"),
    ({"smtp_smarthost": "mail.example.com:0"}, {}, "host:port"),
    ({"smtp_smarthost": "mail.example.com:65536"}, {}, "host:port"),
    ({"smtp_smarthost": "http://mail.example.com:25"}, {}, "host:port"),
    ({"smtp_from": ""}, {}, "smtp_from"),
    ({"smtp_from": "nobody"}, {}, "not a mail address"),
    ({}, {"to": ""}, "no recipient"),
    ({}, {"to": "risk"}, "not a mail address"),
    ({}, {"to": [RISK, "a@b\nBcc: x@y"]}, "not a mail address"),
    ({"smtp_auth_username": "hub"}, {}, "belong together"),
    ({"smtp_auth_password": PASSWORD}, {}, "belong together"),
    ({"smtp_auth_username": "hub", "smtp_auth_password": PASSWORD, "smtp_require_tls": False}, {}, "never sent in clear"),
    ({"smtp_auth_username": "hub", "smtp_auth_password": PASSWORD}, {"require_tls": False}, "never sent in clear"),
    ({"smtp_hello": "hub example"}, {}, "host name"),
    ({"smtp_hello": "[x y]"}, {}, "host name"),
    ({}, {"headers": {"Subject": "{{ titel }}"}}, "titel"),
    ({}, {"html": "{{ titel }}"}, "titel"),
])
def test_settings_that_do_not_suffice_are_refused_without_the_secret(shared: Any, settings: Any, word: str) -> None:
    with pytest.raises(ValueError) as caught:
        build(shared, **settings)
    assert word in str(caught.value)
    assert PASSWORD not in str(caught.value)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "127.9.9.9"])
def test_a_password_in_clear_stays_on_this_machine(host: str) -> None:
    login = {"smtp_auth_username": "hub", "smtp_auth_password": PASSWORD, "smtp_require_tls": False}
    assert build({**login, "smtp_smarthost": f"{host}:25"})
    assert is_loopback(host.strip("[]"))
    assert not is_loopback(f"{host.strip('[]')}.example.com")


@pytest.mark.parametrize("name", [*sorted(OURS), "Content-Language", "Bad Name", "X:", "", "X\r\nBcc", "Übung"])
def test_a_header_that_is_ours_or_none_is_refused(name: str) -> None:
    with pytest.raises(ValidationError):
        EmailConfig(to=RISK, headers={name.title() if name.islower() else name: "x"})


@pytest.mark.parametrize("field", ["smtp_tls_ca_file", "tls_ca_file"])
def test_a_ca_file_is_tried_when_the_configuration_is_read(tmp_path: Path, field: str) -> None:
    (tmp_path / "empty.pem").write_text("no certificate")
    for path in (tmp_path / "empty.pem", tmp_path / "missing.pem"):
        with pytest.raises(ValidationError) as caught:
            EmailGlobal(**{field: str(path)}) if field.startswith("smtp") else EmailConfig(to=RISK, **{field: str(path)})
        assert str(path) in str(caught.value)


async def test_a_ca_file_that_went_away_is_a_matter_for_a_person(post: FakeSmtp, tmp_path: Path) -> None:
    copy = tmp_path / "ca.pem"
    copy.write_bytes(Path(post.ca_file).read_bytes())
    channel = email(post, {"smtp_tls_ca_file": str(copy)})
    copy.unlink()
    assert (await refusal(channel)).reason is Failure.configuration


def test_a_receivers_own_settings_come_before_the_global_ones(tmp_path: Path) -> None:
    secret = tmp_path / "password"
    secret.write_text("own\n")
    channel = build({"smtp_auth_username": "hub", "smtp_auth_password": PASSWORD}, smarthost="[2001:db8::1]:2525", hello="own",
                    auth_username="me", auth_password_file=str(secret), **{"from": "Own <own@example.org>"})
    smarthost = channel._post._smarthost
    assert (smarthost.host, smarthost.port, smarthost.hello, smarthost.username, smarthost.password) == (
        "2001:db8::1", 2525, "own", "me", "own")
    assert channel._head.domain == "example.org"
    assert "own" not in repr(smarthost).replace("'own'", "", 1)


@pytest.mark.parametrize(("value", "wanted"), [
    ("a@x.example", ["a@x.example"]),
    ("a@x.example, B <b@y.example>", ["a@x.example", "b@y.example"]),
    (("a@x.example", "b@y.example,c@z.example"), ["a@x.example", "b@y.example", "c@z.example"]),
    ("a@X.Example, a@x.example", ["a@x.example"]),
    ("first.last+tag@x.example", ["first.last+tag@x.example"]),
    ("", []), (" , ", []),
])
def test_recipients_are_a_list_of_addresses(value: Any, wanted: list[str]) -> None:
    assert [address.addr_spec for address in addresses(value, "to")] == wanted


@pytest.mark.parametrize("value", [
    "a", "@x", "a@", "a@@x", "a@b@c", "a b@x", "a@b c@d", "a@b;c@d", "<a@b>c", "a(c)@b", "evil@x(<good@y>", "a@b\nBcc: x@y",
    "<a@b", "a@b>", "a@x\x00", "a@[1.2.3.4]", '"a b"@x', "a\\@x", "a@" + "x" * 70 + ".example", "a@x..y", "a\u2028@x",
    "x" * 300 + "@y",
])
def test_what_is_no_address_is_refused_and_not_guessed_at(value: str) -> None:
    with pytest.raises(ValueError):
        addresses(value, "to")


def test_the_address_names_all_recipients() -> None:
    assert build({}, to=f"Risk <{RISK}>, {DESK}").address == f"{RISK}, {DESK}"
