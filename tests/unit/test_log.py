"""Log lines are one line each, say what they must, and hold no secret in any form."""

from __future__ import annotations

import base64
import html
import io
import json
import logging
import re
import threading
import traceback
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from urllib.parse import quote, quote_plus, urlencode

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerthub import log
from alerthub.log import MASK, JsonLines, LineHandler, Redactor, TextLines, bound

SECRET = 'p@ss/w0rd+"ü\\%20&<key>'
SECRETS = [
    SECRET, "123456789:AAH-plain_token", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "with space and ~tilde!",
    "a'b\"c\\d\ne", "日本語の秘密の鍵", "abcd", "===//++==", "\x1bescape\x07bell",
]
WORLDLY_FORMS = {
    "raw": lambda secret: secret,
    "in the middle": lambda secret: f"before{secret}after",
    "percent, strict": lambda secret: quote(secret, safe=""),
    "percent, path": quote,
    "percent, lower case": lambda secret: re.sub("%..", lambda code: code[0].lower(), quote(secret, safe="")),
    "form": lambda secret: urlencode({"token": secret}),
    "plus": quote_plus,
    "httpx query": lambda secret: str(httpx.URL("http://h/", params={"token": secret})),
    "json, ascii": lambda secret: json.dumps({"a": secret}),
    "json, unicode": lambda secret: json.dumps({"a": secret}, ensure_ascii=False),
    "python": lambda secret: repr({"a": secret}),
    "python bytes": lambda secret: repr(secret.encode()),
    "html": lambda secret: html.escape(secret),
    "base64": lambda secret: base64.b64encode(secret.encode()).decode(),
    "base64 for addresses": lambda secret: base64.urlsafe_b64encode(secret.encode()).decode().rstrip("="),
    "basic, alignment 0": lambda secret: base64.b64encode(b"us:" + secret.encode()).decode(),
    "basic, alignment 1": lambda secret: base64.b64encode(b"user:ab" + secret.encode() + b"tail").decode(),
    "basic, alignment 2": lambda secret: base64.b64encode(b"user:" + secret.encode() + b"x").decode(),
}


class Log:
    """A logger of its own with our handler on a text stream."""

    def __init__(self, formatter: logging.Formatter) -> None:
        self.stream = io.StringIO()
        handler = LineHandler(self.stream)
        handler.setFormatter(formatter)
        self.logger = logging.Logger("alerthub.test", logging.DEBUG)
        self.logger.addHandler(handler)

    @property
    def text(self) -> str:
        return self.stream.getvalue()

    @property
    def lines(self) -> list[str]:
        assert self.text.endswith("\n")
        return self.text[:-1].split("\n")

    @property
    def last(self) -> dict[str, object]:
        value: dict[str, object] = json.loads(self.lines[-1])
        return value


def json_log(*secrets: str) -> Log:
    return Log(JsonLines(Redactor(secrets)))


def text_log(*secrets: str) -> Log:
    return Log(TextLines(Redactor(secrets)))


# --- what a line says ---------------------------------------------------------------------------------------------------


def test_a_json_line_has_the_fixed_fields_first() -> None:
    out = json_log()
    out.logger.info("A message was sent", extra={"event": "delivery.sent", "attempt": 2})
    assert list(out.last) == ["time", "level", "logger", "event", "message", "attempt"]
    assert out.last["level"] == "info"
    assert out.last["logger"] == "alerthub.test"
    assert out.last["event"] == "delivery.sent"
    assert out.last["message"] == "A message was sent"
    assert out.last["attempt"] == 2


def test_the_time_is_utc_with_microseconds() -> None:
    out = json_log()
    record = logging.LogRecord("x", logging.INFO, "", 0, "m", (), None)
    record.created = datetime(2026, 11, 21, 12, 0, 0, 123456, tzinfo=UTC).timestamp()
    out.logger.handle(record)
    assert out.last["time"] == "2026-11-21T12:00:00.123456Z"


def test_arguments_are_put_into_the_sentence() -> None:
    out = json_log()
    out.logger.warning("%d of %s", 3, "four")
    assert out.last["message"] == "3 of four"


def test_arguments_that_do_not_fit_lose_no_line() -> None:
    out = json_log("hunter2hunter2")
    out.logger.warning("%d of %s", "hunter2hunter2")
    assert out.last["message"] == f"%d of %s ('{MASK}',)"


class Colour(StrEnum):
    red = "red"


@pytest.mark.parametrize(("value", "written"), [
    ("text", "text"), (3, 3), (2.5, 2.5), (True, True), (None, None), (Colour.red, "red"),
    (float("nan"), "nan"), (float("inf"), "inf"), (timedelta(minutes=1), 60.0),
    (datetime(2026, 11, 21, tzinfo=UTC), "2026-11-21T00:00:00+00:00"), ({"a": [1, {"b": (2,)}]}, {"a": [1, {"b": [2]}]}),
    (b"bytes", "b'bytes'"), ({1: 2}, {"1": 2}), (["x"] * 300, ["x"] * 100), ("y" * 20_000, "y" * 10_000 + "…"),
], ids=repr)
def test_extra_fields_keep_their_kind_as_far_as_json_can(value: object, written: object) -> None:
    out = json_log()
    out.logger.info("m", extra={"field": value})
    assert out.last["field"] == written


def test_a_value_that_holds_itself_ends() -> None:
    out, loop = json_log(), []
    loop.append(loop)
    out.logger.info("m", extra={"field": loop})
    assert out.last["field"]


def test_a_name_that_is_taken_gets_an_underscore() -> None:
    out = json_log()
    out.logger.info("m", extra={"time": "never", "logger": "me", "exception": "none"})
    assert (out.last["time_"], out.last["logger_"], out.last["exception_"]) == ("never", "me", "none")
    assert out.last["logger"] == "alerthub.test"


def test_an_exception_is_one_field_with_its_traceback() -> None:
    out = json_log()
    try:
        raise RuntimeError("broken")
    except RuntimeError:
        out.logger.exception("It failed")
    assert len(out.lines) == 1
    assert str(out.last["exception"]).startswith("Traceback")
    assert str(out.last["exception"]).endswith("RuntimeError: broken")


def test_of_a_giant_traceback_the_end_is_kept() -> None:
    out = json_log()
    try:
        raise RuntimeError("x" * 50_000 + "the end")
    except RuntimeError:
        out.logger.exception("It failed")
    assert str(out.last["exception"]).endswith("the end")
    assert len(out.lines[0]) < 11_000


def test_exc_info_without_an_exception_adds_nothing() -> None:
    out = json_log()
    out.logger.error("m", exc_info=True)
    assert "exception" not in out.last


# --- ids ----------------------------------------------------------------------------------------------------------------


def test_bound_ids_are_in_every_line_inside_and_in_none_after() -> None:
    out = json_log()
    with bound(incident="17", delivery=None):
        with bound(attempt=3):
            out.logger.info("inner")
            inner = out.last
        out.logger.info("outer")
        outer = out.last
    out.logger.info("after")
    assert (inner["incident"], inner["attempt"]) == ("17", "3")
    assert "delivery" not in inner
    assert "attempt" not in outer
    assert "incident" not in out.last


def test_ids_end_with_an_exception_too() -> None:
    out = json_log()
    with pytest.raises(KeyError), bound(incident="17"):
        raise KeyError
    out.logger.info("after")
    assert "incident" not in out.last


def test_another_thread_has_ids_of_its_own() -> None:
    out = json_log()
    with bound(incident="17"):
        thread = threading.Thread(target=out.logger.info, args=("elsewhere",))
        thread.start()
        thread.join()
    assert "incident" not in out.last


# --- secrets ------------------------------------------------------------------------------------------------------------


def assert_gone(secret: str, form: str, text: str) -> None:
    assert form not in text
    assert secret not in text
    assert MASK in text


# Four letters inside longer base64 are too few to tell from chance.
CASES = [(secret, form) for secret in SECRETS for form in WORLDLY_FORMS if len(secret) >= 8 or not form.startswith("basic")]


@pytest.mark.parametrize(("secret", "form"), CASES, ids=ascii)
def test_a_secret_is_redacted_in_every_form(secret: str, form: str) -> None:
    written = WORLDLY_FORMS[form](secret)
    if form.startswith("basic"):
        assert MASK in Redactor([secret]).redact(written)
    else:
        assert_gone(secret, written, Redactor([secret]).redact(written))


@pytest.mark.parametrize("secret", ["123456789:AAH-plain_token", "with space and ~tilde!", "T0/B0/x+y=(z)*'@,;:$&"])
def test_a_secret_in_the_path_of_an_address_is_redacted(secret: str) -> None:
    address = httpx.URL("http://h/").copy_with(path=f"/bot{secret}/sendMessage")
    assert Redactor([secret]).redact(str(address)) == f"http://h/bot{MASK}/sendMessage"


def test_what_is_left_of_longer_base64_does_not_decode_to_the_secret() -> None:
    secret = "correct horse battery"
    for user in ("", "u", "us", "use"):
        text = Redactor([secret]).redact(base64.b64encode(f"{user}:{secret}".encode()).decode())
        rest = "".join(text.split(MASK))
        assert len(rest) <= 12, "only what mixes with the neighbours may stay"


@pytest.mark.parametrize("secret", SECRETS, ids=ascii)
@pytest.mark.parametrize("make", [json_log, text_log], ids=["json", "text"])
def test_a_secret_is_nowhere_in_a_line(secret: str, make: type[Log]) -> None:
    out = make(secret)
    with bound(id=f"id-{secret}"):
        try:
            raise RuntimeError(f"cannot reach http://user:{secret}@host/{quote(secret)}")
        except RuntimeError:
            out.logger.exception("%s: %s", secret, {"k": secret}, stack_info=True,
                                 extra={"event": secret, "list": [secret], "map": {secret: secret}, "body": json.dumps([secret])})
    for form in ("raw", "percent, strict", "json, ascii", "json, unicode", "base64", "python"):
        assert WORLDLY_FORMS[form](secret) not in out.text
    for line in secret.splitlines():
        assert line not in out.text or len(line) < 4


def test_a_secret_number_is_redacted_as_a_number() -> None:
    out = json_log("13371337")
    out.logger.info("m", extra={"a": 13371337, "b": [13371337], "c": 1337})
    assert (out.last["a"], out.last["b"], out.last["c"]) == (MASK, [MASK], 1337)


def test_json_stays_json_when_a_secret_looks_like_it() -> None:
    out = json_log('": "', '", "', '"level"', "info", "time")
    out.logger.info('{"level": "x", "time"}', extra={"a": '", "'})
    assert out.last["level"] in ("info", MASK)
    assert out.last["a"] == MASK


def test_the_lines_of_a_key_are_redacted_one_by_one() -> None:
    key = "-----BEGIN KEY-----\nMIIEvQIBADANBgkqh\nab\n-----END KEY-----"
    group = ExceptionGroup("two", [ValueError(key), ValueError("other")])
    out = text_log(key)
    out.logger.error("m", exc_info=(type(group), group, None))
    assert "MIIEvQ" not in "".join(traceback.format_exception(group)).replace("MIIEvQIBADANBgkqh", "")
    assert "MIIEvQ" not in out.text
    assert "other" in out.text


def test_secrets_that_overlap_leave_nothing() -> None:
    redactor = Redactor(["abcdef", "defghi", "abcdefgh-long"])
    assert redactor.redact("x abcdefghi y abcdefgh-long z") == f"x {MASK} y {MASK} z"
    assert Redactor(["aaaa"]).redact("b" + "a" * 7 + "b") == f"b{MASK}b"


def test_secrets_beside_each_other_are_two() -> None:
    assert Redactor(["abcd", "wxyz"]).redact("abcdwxyz") == MASK + MASK


@pytest.mark.parametrize("short", ["", "a", "abc", "   "])
def test_a_secret_of_fewer_than_four_characters_blanks_out_nothing(short: str) -> None:
    assert Redactor([short]).redact(f"a {short} b abc") == f"a {short} b abc"


def test_four_characters_are_a_secret() -> None:
    assert Redactor(["abcd"]).redact("abcd abcde abc") == f"{MASK} {MASK}e abc"


def test_no_secret_is_cut_in_half_by_the_limit() -> None:
    out = json_log("S3CRET-S3CRET")
    out.logger.info("%s", "x" * 9_995 + "S3CRET-S3CRET")
    assert "S3CRE" not in out.text


@given(secret=st.text(min_size=8, max_size=40), around=st.text(max_size=20))
def test_no_text_shows_a_secret_after_redaction(secret: str, around: str) -> None:
    redactor = Redactor([secret])
    for text in (secret, json.dumps(secret), quote(secret.encode("utf-8", "surrogatepass")), repr(secret)):
        assert secret not in redactor.redact(around + text + around) or secret in around + MASK + around


@given(text=st.text(max_size=200))
def test_a_text_without_a_secret_is_left_as_it_is(text: str) -> None:
    redactor = Redactor(["a-secret-that-no-one-writes"])
    assert redactor.redact(text) == text


def test_hide_and_redact_share_one_register() -> None:
    log.hide("module-wide-secret-1")
    assert log.redact("see module-wide-secret-1") == f"see {MASK}"


# --- text that pretends -------------------------------------------------------------------------------------------------

FORGERY = 'x\n2026-11-21T12:00:00Z ERROR alerthub: forged\r\n{"level": "error"}\x1b[2J\x9b31m\u2028\u202egnp.\x00\ud800'
UNSEEN = "\n\r\x1b\x9b\u2028\u202e\x00\ud800"


@pytest.mark.parametrize("make", [json_log, text_log], ids=["json", "text"])
def test_untrusted_text_stays_in_its_line(make: type[Log]) -> None:
    out = make()
    with bound(id=FORGERY):
        out.logger.info("%s", FORGERY, extra={"value": FORGERY, FORGERY: 1})
    assert len(out.lines) == 1
    assert not any(sign in out.lines[0] for sign in UNSEEN)
    out.stream.getvalue().encode("utf-8")


def test_json_gives_the_text_back_exactly() -> None:
    out = json_log()
    out.logger.info("%s", FORGERY)
    assert out.last["message"] == FORGERY


def test_a_traceback_at_the_console_is_indented_so_that_it_cannot_forge_a_line() -> None:
    out = text_log()
    try:
        raise RuntimeError(FORGERY)
    except RuntimeError:
        out.logger.exception("It failed")
    head, *rest = out.lines
    assert "ERROR" in head
    assert rest
    assert all(line.startswith("    | ") for line in rest)


def test_a_console_line_reads_as_a_sentence_with_pairs() -> None:
    out = text_log()
    with bound(incident=17):
        out.logger.warning("A message was sent", extra={"event": "delivery.sent", "to": "#alerts now", "list": [1, "a"], "n": 1})
    assert out.lines[0][27:] == (' WARNING  alerthub.test: A message was sent event=delivery.sent incident=17 '
                                 'to="#alerts now" list=[1, "a"] n=1')


@pytest.mark.parametrize("make", [JsonLines, TextLines])
def test_a_stream_without_unicode_gets_escapes(make: type[log.LineFormatter]) -> None:
    out = Log(make(Redactor(), is_unicode=False))
    out.logger.info("Ayşe 🔥")
    out.text.encode("ascii")
    assert "Ay\\u015fe" in out.text


# --- what goes wrong while logging --------------------------------------------------------------------------------------


class Unprintable:
    def __str__(self) -> str:
        raise LookupError("S3CRET-S3CRET")


def test_a_value_that_cannot_be_printed_gives_a_line_that_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    out = json_log("S3CRET-S3CRET")
    out.logger.info("%s", Unprintable(), extra={"token": "S3CRET-S3CRET"})
    assert out.last["event"] == "log.lost"
    assert "LookupError" in str(out.last["message"])
    assert "S3CRET" not in out.text + capsys.readouterr().err


def test_a_closed_stream_is_silent(capsys: pytest.CaptureFixture[str]) -> None:
    out = json_log()
    out.stream.close()
    out.logger.info("m", extra={"token": "S3CRET"})
    assert capsys.readouterr().err == ""


# --- configure ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def root() -> Iterator[logging.Logger]:
    """The root logger, put back afterwards."""
    logger = logging.getLogger()
    level, handlers = logger.level, list(logger.handlers)
    levels = {name: logging.getLogger(name).level for name in log.TALKATIVE}
    yield logger
    logger.handlers[:] = handlers
    logger.setLevel(level)
    for name, before in levels.items():
        logging.getLogger(name).setLevel(before)


def test_configure_writes_to_the_newest_stream_only(root: logging.Logger) -> None:
    first, second = io.StringIO(), io.StringIO()
    log.configure(first, json=True, level="info")
    log.configure(second, json=False, level=logging.INFO)
    logging.getLogger("alerthub.x").info("here")
    logging.getLogger("alerthub.x").debug("not here")
    assert first.getvalue() == ""
    assert "alerthub.x: here" in second.getvalue()
    assert "not here" not in second.getvalue()


@pytest.mark.parametrize("level", ["debug", "info", "warning", "error"])
@pytest.mark.parametrize("name", log.TALKATIVE)
def test_clients_that_print_addresses_speak_from_warning_on(root: logging.Logger, name: str, level: str) -> None:
    stream = io.StringIO()
    log.configure(stream, json=True, level=level)
    logging.getLogger(name).info("POST https://api.telegram.org/bot123:SECRET/sendMessage")
    assert stream.getvalue() == ""
    logging.getLogger(name).error("loud")
    assert "loud" in stream.getvalue()


def test_an_unknown_level_is_refused(root: logging.Logger) -> None:
    with pytest.raises(ValueError, match="LOUD"):
        log.configure(io.StringIO(), json=True, level="loud")


def test_configure_uses_the_registered_secrets(root: logging.Logger) -> None:
    stream = io.StringIO()
    log.configure(stream, json=True, level="info")
    log.hide("module-wide-secret-2")
    logging.getLogger("x").info("see module-wide-secret-2")
    assert MASK in stream.getvalue()


def test_a_stream_of_another_encoding_is_recognised(root: logging.Logger) -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="latin-1")
    log.configure(stream, json=True, level="info")
    logging.getLogger("x").info("Ayşe ü 🔥")
    stream.flush()
    assert json.loads(raw.getvalue())["message"] == "Ayşe ü 🔥"
