"""What every source promises, whatever its format. A source's test file subclasses SourceContract and adds what is special."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from alerthub.domain.alert import Alert, AlertStatus, Batch
from alerthub.errors import BadPayload
from alerthub.sources import load
from tests.sources.cases import BEARER, CREDENTIALS, HOSTILE, JUNK, LOGIN, OLD_TOKEN, PASSWORD, TOKEN
from tests.sources.mutate import mutated

PAYLOADS = Path(__file__).parent / "payloads"
NOW = datetime(2026, 11, 20, 16, 0, tzinfo=UTC)

UNFIT = st.characters(codec="utf-8", exclude_categories=["Cc"]) | st.sampled_from("\n\t")
TEXT = st.text(UNFIT, max_size=12)
TEXTS = st.dictionaries(TEXT.filter(bool), TEXT.filter(bool), max_size=4)
TIMES = st.datetimes(datetime(1970, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))


@st.composite
def alerts(draw: st.DrawFn) -> Alert:
    status = draw(st.sampled_from(AlertStatus))
    return Alert(
        labels={"alertname": draw(TEXT.filter(bool)), **draw(TEXTS)}, status=status, annotations=draw(TEXTS),
        starts_at=draw(st.none() | TIMES), ends_at=None if status is AlertStatus.firing else draw(st.none() | TIMES),
        generator_url=draw(st.sampled_from(["", "http://prom:9090/graph?g0.expr=up%3D%3D0&g0.tab=1"])),
        fingerprint=draw(st.sampled_from(["", "1ddf54b6b1ae6652"])),
    )


@st.composite
def batches(draw: st.DrawFn) -> Batch:
    return Batch(
        source="src", arrived_at=NOW, alerts=tuple(draw(st.lists(alerts(), max_size=4))), group_labels=draw(TEXTS),
        receiver=draw(st.sampled_from(["", "team.a-x (raw)", "[a]{b}^$|?*+\\", "größe"])),
        sender=draw(st.sampled_from(["", "http://am-1:9093"])), truncated=draw(st.integers(0, 2**31 - 1)),
    )


def texts_of(batch: Batch) -> Iterator[str]:
    """Every text that will be stored."""
    yield from (batch.receiver, batch.sender, *batch.group_labels, *batch.group_labels.values())
    for alert in batch.alerts:
        for texts in (alert.labels, alert.annotations, alert.links):
            yield from (*texts, *texts.values())
        yield from (alert.generator_url, alert.fingerprint, alert.identity)


def assert_storable(batch: Batch) -> None:
    """Nothing in it that one database takes and the other refuses (PROTOCOLS 7.2), and nothing half read."""
    for text in texts_of(batch):
        assert type(text) is str
        text.encode("utf-8")
        assert not any(character < " " and character not in "\n\t" for character in text), ascii(text)[:200]
    assert 0 <= batch.truncated < 2**31
    for alert in batch.alerts:
        assert alert.labels
        assert all(alert.labels.values())
        assert alert.status in AlertStatus
        for moment in (alert.starts_at, alert.ends_at):
            assert moment is None or moment.utcoffset() == timedelta(0)
        assert alert.ends_at is None or not alert.is_firing
        for address in (alert.generator_url, *alert.links.values()):
            assert not address or address.lower().startswith(("http://", "https://"))


def payload(name: str) -> bytes:
    return (PAYLOADS / name).read_bytes()


CHECKED = settings(
    max_examples=150, deadline=None, database=None,
    suppress_health_check=[HealthCheck.differing_executors, HealthCheck.too_slow, HealthCheck.data_too_large,
                           HealthCheck.large_base_example],
)


class SourceContract:
    """Subclasses give `kind`, `render` and `carried`."""

    kind: str

    def render(self, batch: Batch) -> bytes:
        """The body in which a sender would say this."""
        raise NotImplementedError

    def carried(self, batch: Batch) -> Batch:
        """What of a batch the format can say."""
        return batch

    def source(self, **extra: Any) -> Any:
        kind = load(self.kind)
        return kind(kind.Config.model_validate({"name": "src", "type": self.kind, **extra}))

    def bodies(self) -> list[bytes]:
        return [path.read_bytes() for path in sorted(PAYLOADS.glob(f"{self.kind}-*.json"))]

    def parse(self, body: bytes) -> Batch:
        batch: Batch = self.source().parse(body, NOW)
        assert_storable(batch)
        return batch

    def reason(self, body: bytes) -> str:
        with pytest.raises(BadPayload) as refusal:
            self.source().parse(body, NOW)
        assert len(refusal.value.reason) <= 500
        return refusal.value.reason

    def said(self, labels: dict[str, str], **attributes: Any) -> Batch:
        return Batch("src", NOW, (Alert(labels, AlertStatus.firing, **attributes),))

    def test_the_registry_leads_to_it(self) -> None:
        kind = load(self.kind)
        assert kind.kind == self.kind
        assert kind.Config.model_fields["type"].default == self.kind

    def test_every_payload_at_hand_is_taken(self) -> None:
        bodies = self.bodies()
        assert bodies
        for body in bodies:
            batch = self.parse(body)
            assert batch.alerts
            assert (batch.source, batch.arrived_at, batch.observer) == ("src", NOW, "webhook")
            assert batch.body_sha256 == hashlib.sha256(body).hexdigest()

    @pytest.mark.parametrize("body", JUNK, ids=lambda body: ascii(body[:24]))
    def test_junk_is_refused_with_a_reason(self, body: bytes) -> None:
        assert self.reason(body)

    @CHECKED
    @given(data=st.data())
    def test_a_spoiled_body_is_read_or_refused_and_nothing_else(self, data: st.DataObject) -> None:
        body = data.draw(mutated(self.bodies()))
        try:
            self.parse(body)
            reason = "taken"
        except BadPayload as refusal:
            reason = refusal.reason
        assert 0 < len(reason) <= 500
        reason.encode("utf-8")

    @CHECKED
    @given(batch=batches())
    def test_what_a_sender_says_is_what_is_read(self, batch: Batch) -> None:
        body = self.render(batch)
        assert replace(self.parse(body), body_sha256="") == self.carried(batch)

    @pytest.mark.parametrize("value", HOSTILE, ids=lambda value: ascii(value[:20]))
    def test_a_hostile_value_survives_literally(self, value: str) -> None:
        batch = self.parse(self.render(self.said({"alertname": "X", "evil": value}, annotations={"summary": value})))
        assert batch.alerts[0].labels == {"alertname": "X", "evil": value}
        assert batch.alerts[0].annotations == {"summary": value}

    def test_the_order_of_labels_does_not_matter(self) -> None:
        one = self.parse(self.render(self.said({"alertname": "X", "a": "1", "b": "2"})))
        two = self.parse(self.render(self.said({"b": "2", "a": "1", "alertname": "X"})))
        assert one.alerts[0].identity == two.alerts[0].identity

    @pytest.mark.parametrize(("escape", "text"), [
        (r"\u0000", "�"), (r"\u0001", "�"), (r"\u001f", "�"), (r"\u001F", "�"), (r"\b", "�"), (r"\f", "�"), (r"\r", "�"),
        (r"\r\n", "\n"), (r"\n", "\n"), (r"\u000a", "\n"), (r"\u000A", "\n"), (r"\t", "\t"), (r"\u0009", "\t"),
        (r"\ud800", "�"), (r"\uDFFF", "�"), (r"\udc00\ud800", "��"), (r"\ud83d\ud83d\ude00", "�😀"), (r"\ud83d\ude00", "😀"),
        (r"\\u0000", r"\u0000"), (r"C:\\bin\\root", r"C:\bin\root"), (r"\\\u0000", "\\�"), (r"\\\\r\r", "\\\\r�"),
        (r"\u0020", " "), (r"\u0080", "\x80"), (r"\/", "/"), (r"\"", '"'),
    ])
    def test_what_a_database_refuses_is_replaced(self, escape: str, text: str) -> None:
        said = self.said({"alertname": "X", "odd": "MARK-v"}, annotations={"MARK-n": "MARK-v"})
        alert = self.parse(self.render(said).replace(b"MARK", escape.encode())).alerts[0]
        assert alert.labels["odd"] == f"{text}-v"
        assert alert.annotations == {f"{text}-n": f"{text}-v"}

    def test_a_byte_order_mark_is_overlooked(self) -> None:
        body = self.render(self.said({"alertname": "X"}))
        assert self.parse(b"\xef\xbb\xbf" + body).alerts == self.parse(body).alerts

    def test_no_alert_at_all_is_a_batch(self) -> None:
        assert self.parse(self.render(Batch("src", NOW, ()))).alerts == ()

    def test_of_a_name_given_twice_the_last_counts(self) -> None:
        body = self.render(self.said({"alertname": "X"})).replace(b'"X"', b'"X", "alertname": "Y"')
        assert self.parse(body).alerts[0].labels == {"alertname": "Y"}

    @pytest.mark.parametrize(("value", "text"), [
        ("1", "1"), ("-0", "0"), ("1.5", "1.5"), ("true", "true"), ("false", "false"), ("null", None), ('""', None),
        (str(10**600), str(10**600)),
    ], ids=lambda value: str(value)[:20])
    def test_a_plain_label_value_becomes_text(self, value: str, text: str | None) -> None:
        body = self.render(self.said({"alertname": "X", "odd": "MARK"})).replace(b'"MARK"', value.encode())
        assert self.parse(body).alerts[0].labels.get("odd") == text

    @pytest.mark.parametrize("value", ["{}", "[]", '["a"]', "1e999", "-1e999", str(10**700)], ids=lambda value: value[:20])
    def test_a_label_value_without_a_plain_text_is_refused(self, value: str) -> None:
        body = self.render(self.said({"alertname": "X", "odd": "MARK"})).replace(b'"MARK"', value.encode())
        assert 'alerts[0].labels["odd"]: is a' in self.reason(body)

    def test_an_alert_without_labels_is_refused(self) -> None:
        assert "alerts[0].labels: is empty" in self.reason(self.render(self.said({})))
        assert "alerts[0].labels: is empty" in self.reason(self.render(self.said({"alertname": ""})))

    def test_a_reason_names_the_alert_and_repeats_little_of_it(self) -> None:
        body = json.dumps(json.loads(self.render(self.said({"alertname": "X", "Q" * 5000: "MARK"})))).encode()
        reason = self.reason(body.replace(b'"MARK"', b"[" + b'"' + b"Q" * 5000 + b'"]'))
        assert "alerts[0]" in reason
        assert 0 < reason.count("Q") <= 100

    @pytest.mark.parametrize(("credentials", "header", "is_right"), CREDENTIALS)
    def test_credentials(self, credentials: dict[str, str], header: str | None, is_right: bool) -> None:
        headers = {} if header is None else {"authorization": header}
        source = self.source(**credentials)
        assert source.admits(headers, None, NOW) is is_right
        assert source.admits(headers, b"{}", NOW) is is_right
        assert source.is_open is (not credentials)
        assert source.signs_body is False

    def test_a_token_comes_from_a_file(self, tmp_path: Path) -> None:
        new, old = tmp_path / "new", tmp_path / "old"
        new.write_text(f"{TOKEN}\n")
        old.write_text(f"{OLD_TOKEN}\r\n")
        source = self.source(token_file=str(new), token_previous_file=str(old))
        for token in (TOKEN, OLD_TOKEN):
            assert source.admits({"authorization": f"Bearer {token}"}, None, NOW)

    @pytest.mark.parametrize(("extra", "word"), [
        ({"token": ""}, "too short"), ({"token": "1234567"}, "too short"), ({"token": "tökentöken"}, "ASCII"),
        ({"token": "white space"}, "spaces"), ({"token": "trailing-\n"}, "line breaks"),
        ({"token_previous": OLD_TOKEN}, "token_previous"), ({"username": "hub"}, "go together"),
        ({"password": PASSWORD}, "go together"), ({"username": "hub", "password": "1234567"}, "too short"),
        ({"username": "a:b", "password": PASSWORD}, "username"), ({**BEARER, **LOGIN}, "not both"),
        ({"token": TOKEN, "token_file": "/dev/null"}, "not both"), ({"name": "Upper Case"}, "name"), ({"name": ""}, "name"),
        ({"name": "-a"}, "name"), ({"name": "a/b"}, "name"), ({"stale_after": "0s"}, "longer than 0"),
        ({"tokne": TOKEN}, "tokne"),
    ])
    def test_a_mistake_in_the_settings_is_told_without_the_secret(self, extra: dict[str, str], word: str) -> None:
        with pytest.raises(ValueError) as refusal:
            self.source(**extra)
        told = str(refusal.value)
        assert word in told
        assert TOKEN not in told
        assert PASSWORD not in told

    def test_a_secret_of_the_least_length_will_do(self) -> None:
        assert self.source(token="12345678").admits({"authorization": "Bearer 12345678"}, None, NOW)

    def test_settings_never_print_their_secrets(self) -> None:
        kind = load(self.kind)
        for credentials in (BEARER, LOGIN):
            config = kind.Config.model_validate({"name": "src", **credentials})
            shown = f"{config!r} {config} {config.model_dump_json()} {vars(kind(config))!r}"
            assert not any(secret in shown for secret in (TOKEN, OLD_TOKEN, PASSWORD))
