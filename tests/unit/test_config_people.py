"""What is said of people in the configuration file: whose account is whose, what reaches them, who may do nothing when called."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.config_files import REST, configured, problems

SLACK = "slack_bot_token: xoxb-1-some-token"
BOT = "telegram_bot_token: '123456789:AAE-some-token-of-a-bot'"
MAIL = "smtp_smarthost: mail.example.com:587, smtp_from: hub@example.com"
PUBLIC = "server: {public_url: 'https://hub.example.com', api_token: 0123456789abcdef}\n"


def warned(folder: Path, text: str) -> list[str]:
    config = configured(folder, text + "\n", rest=REST)
    return [warning.removeprefix(f"{folder}/alerthub.yml:") for warning in config.warnings]


# -- mistakes

ACCOUNTS = [
    ("slack: U012AB3CD", "slack: U012AB3CD", "slack"), ("telegram: 123456789", "telegram: '123456789'", "telegram"),
    ("email: a@example.com", "email: A@Example.com", "email"), ("pagerduty: PXPGF42", "pagerduty: PXPGF42", "pagerduty"),
]


@pytest.mark.parametrize(("first", "second", "kind"), ACCOUNTS)
def test_an_account_is_one_persons(tmp_path: Path, first: str, second: str, kind: str) -> None:
    text = f"people:\n- {{name: ayse, {first}}}\n- {{name: mehmet, {second}}}\n"
    column = 18 + len(kind) + 2
    assert problems(tmp_path, text, rest=REST) == [
        f"3:{column}: this is ayse's {kind} as well, see line 2; whoever answers from there must be one person: correct one of "
        "them"]


def test_the_same_id_in_two_places_is_two_accounts(tmp_path: Path) -> None:
    text = "people: [{name: a, slack: U012AB3CD}, {name: b, pagerduty: U012AB3CD}, {name: c}, {name: d, slack: }, {name: e}]\n"
    assert problems(tmp_path, text, rest=REST) == []


def test_an_account_that_is_given_twice_is_told_with_every_other_mistake(tmp_path: Path) -> None:
    text = "people: [{name: a, telegram: 5, x: y}, {telegram: 5}, {name: [], telegram: 6}, {name: d, telegram: 6}]\n"
    found = problems(tmp_path, text, rest=REST)
    assert [line.partition(" ")[0] for line in found] == ["1:33:", "1:40:", "1:51:", "1:62:", "1:100:"]
    assert found[2].startswith("1:51: this is a's telegram as well, see line 1; ")
    assert found[4].startswith("1:100: this is another person's telegram as well, see line 1; ")


FORMS = [
    ("slack: '@ayse'", "1:27: Slack's member id is expected, such as U012AB3CD (in the profile: copy member ID)"),
    ("telegram: '@ayse'", "1:30: Telegram's numeric id is expected, such as 123456789 (ask @userinfobot)"),
    ("telegram: 1.5", "1:30: Telegram's numeric id is expected, such as 123456789 (ask @userinfobot)"),
    ("telegram: true", "1:30: Telegram's numeric id is expected, such as 123456789 (ask @userinfobot)"),
    ("telegram: [5]", "1:30: Telegram's numeric id is expected, such as 123456789 (ask @userinfobot)"),
    ("email: ayse", "1:27: an address is expected, such as ayse@example.com"),
    ("pagerduty: ayse@example.com",
     "1:31: PagerDuty's user id is expected, such as PXPGF42 (the last part of the profile's address)"),
    ("role: ''", "1:26: this is too short; write at least 1 character"),
]


@pytest.mark.parametrize(("text", "problem"), FORMS)
def test_what_is_no_account_is_told_what_one_looks_like(tmp_path: Path, text: str, problem: str) -> None:
    assert problems(tmp_path, f"people: [{{name: a, {text}}}]\n", rest=REST) == [problem]


def test_names_are_told_in_words_what_they_may_be(tmp_path: Path) -> None:
    assert problems(tmp_path, "people: [{name: ' a'}]\n", rest=REST) == [
        "1:17: no space is expected at the beginning and the end"]
    text = "people: [{name: a}]\nschedules: [{name: a/b, layers: [{people: [a]}]}]\n"
    assert problems(tmp_path, text, rest=REST) == ["2:20: no slash is expected here: it is part of an address"]


@pytest.mark.parametrize(("rotation", "handoff", "is_wrong"), [
    ("daily", "mon 09:00", True), ("daily", "09:00", False), ("weekly", "mon 09:00", False),
    ("custom, length: 3d", "mon 09:00", False)])
def test_who_hands_over_daily_does_not_name_a_weekday(tmp_path: Path, rotation: str, handoff: str, is_wrong: bool) -> None:
    text = ("people: [{name: a}]\n"
            f"schedules: [{{name: s, layers: [{{people: [a], handoff: {handoff}, rotation: {rotation}}}]}}]\n")
    assert problems(tmp_path, text, rest=REST) == [
        "2:55: handoff names a weekday, but rotation daily hands over every day; take the weekday out, or write "
        "rotation: weekly"] * is_wrong


STEPS = [
    ("aysee", "did you mean `ayse`?"), ("persn:ayse", "did you mean `person:ayse`?"), ("person:aysee", "did you mean `ayse`?"),
    ("user:ayse", "did you mean `person:ayse`?"), ("Leads", "did you mean `leads`?"),
    ("recever:leads", "did you mean `receiver:leads`?"),
    ("zzz", "there are person:ayse, receiver:alerts, receiver:leads"),
]


@pytest.mark.parametrize(("notify", "right"), STEPS)
def test_a_slip_in_whom_to_notify_is_told_who_may_be_meant(tmp_path: Path, notify: str, right: str) -> None:
    text = (f"people: [{{name: ayse}}]\nescalation_policies: [{{name: e, steps: [{{notify: ['{notify}']}}]}}]\n"
            "receivers: [{name: alerts, console_configs: [{}]}, {name: leads, console_configs: [{}]}]\n"
            "route: {receiver: alerts}\n")
    [found] = problems(tmp_path, text)
    assert found.startswith("2:51: there is no ")
    assert found.endswith(f"; {right}")


# -- what reaches people

CONTACTS = [
    ("", "slack", "slack: U012AB3CD", "slack_bot_token_file"),
    ("", "telegram", "telegram: 5", "telegram_bot_token_file"),
    ("", "email", "email: a@example.com", "smtp_smarthost and smtp_from"),
    (SLACK, "email", "email: a@example.com", "smtp_smarthost and smtp_from"),
    ("smtp_smarthost: mail.example.com:587", "email", "email: a@example.com", "smtp_from"),
    ("smtp_from: hub@example.com", "email", "email: a@example.com", "smtp_smarthost"),
    ("telegram_updates: polling", "telegram", "telegram: 5", "telegram_bot_token_file"),
    ("slack_app_token: xapp-1-some-token", "slack", "slack: U012AB3CD", "slack_bot_token_file"),
    ("slack_api_url: 'https://hooks.slack.com/services/x'", "slack", "slack: U012AB3CD", "slack_bot_token_file"),
]


@pytest.mark.parametrize(("shared", "kind", "account", "keys"), CONTACTS)
def test_whoever_wants_to_be_called_somewhere_needs_an_account_of_the_hub_there(
        tmp_path: Path, shared: str, kind: str, account: str, keys: str) -> None:
    text = f"people: [{{contact: [{kind}], name: a, {account}}}]\nglobal: {{{shared}}}\nspeling: 1\n"
    assert [problem.partition("; the keys here are")[0] for problem in problems(tmp_path, text, rest=REST)] == [
        f"1:21: contact names {kind}, but the hub has no account there; add {keys} to global", "3:1: unknown key `speling`"]


def test_each_entry_of_contact_is_told_at_its_place(tmp_path: Path) -> None:
    text = "people: [{name: a, telegram: 5, email: a@example.com, slack: U012AB3CD, contact: [slack, email, telegram]}]\n"
    found = problems(tmp_path, text + f"global: {{{MAIL}}}\n", rest=REST)
    assert [line.partition(" ")[0] for line in found] == ["1:83:", "1:97:"]


def test_an_account_for_each_is_enough(tmp_path: Path) -> None:
    text = "people: [{name: a, telegram: 5, email: a@example.com, slack: U012AB3CD, contact: [slack, email, telegram]}]\n"
    assert problems(tmp_path, text + f"global: {{{SLACK}, {BOT}, {MAIL}}}\n", rest=REST) == []


def test_addresses_that_contact_does_not_name_need_no_account(tmp_path: Path) -> None:
    text = "people: [{name: a, telegram: 5, email: a@example.com, slack: U012AB3CD}]\n"
    assert problems(tmp_path, text, rest=REST) == []


@pytest.mark.parametrize("wrong", ["telegram_bot_token_file: /nowhere", "telegram_bot_tokn: x", "telegram_bot_token: '${UNSET}'"])
def test_what_a_mistake_under_global_leads_to_is_not_told_of_people(tmp_path: Path, wrong: str) -> None:
    text = f"global: {{{wrong}}}\npeople: [{{name: a, telegram: 5, contact: [telegram]}}]\n"
    [found] = problems(tmp_path, text, rest=REST)
    assert found.startswith("1:")


def test_what_a_channel_says_against_its_account_is_told_without_the_secret(tmp_path: Path) -> None:
    text = "people: [{name: a, telegram: 5, contact: [telegram]}]\nglobal: {telegram_bot_token: canary canary}\n"
    [found] = problems(tmp_path, text, rest=REST)
    assert found.startswith("1:43: telegram: ")
    assert "canary" not in found


# -- warnings

OWN = "is none of viewer, responder, approver, admin, so it may do what a responder may"
ROLES = [
    ("role: veiwer", [f"1:26: veiwer {OWN}; did you mean `viewer`?"]),
    ("role: Viewer", [f"1:26: Viewer {OWN}; did you mean `viewer`?"]),
    ("role: admn", [f"1:26: admn {OWN}; did you mean `admin`?"]),
    ("role: ml", []), ("role: trader", []), ("role: viewer", []), ("role: admin", []), ("name: x", None),
    ("grants: [approver, ml]", []),
    ("grants: [ml, viewer]", ["1:33: the grant viewer has no effect: grants are for approvals; write role: viewer"]),
    ("grants: [responder]", ["1:29: the grant responder has no effect: grants are for approvals; write role: responder"]),
    ("grants: [admin]", ["1:29: the grant admin has no effect: grants are for approvals; write role: admin"]),
    ("grants: [aprover]", ["1:29: the grant aprover is asked for by no action; did you mean `approver`?"]),
]


@pytest.mark.parametrize(("text", "expected"), ROLES)
def test_a_role_that_looks_like_another_is_doubted(tmp_path: Path, text: str, expected: list[str] | None) -> None:
    if expected is None:
        assert problems(tmp_path, f"people: [{{name: a, {text}}}]\n", rest=REST)
    else:
        assert warned(tmp_path, f"people: [{{name: a, {text}}}]") == expected


@pytest.mark.parametrize("given", ["role: reviewer", "grants: [reviewer]", "role: reviewer, grants: [admin]"])
def test_a_role_that_an_action_asks_for_is_meant(tmp_path: Path, given: str) -> None:
    asked = "admin" if "admin" in given else "reviewer"
    text = (f"people: [{{name: a, {given}}}]\ntargets: [{{name: t, type: http, url: 'http://127.0.0.1:1'}}]\n"
            f"actions: [{{name: x, type: http, target: t, approve: {{role: {asked}}}}}]")
    assert [line for line in warned(tmp_path, text) if line.startswith("1:")] == (
        [] if asked == "reviewer" else [
            f"1:26: reviewer {OWN}; did you mean `viewer`?"])


LOOKERS = [
    ("viewer", "schedules: [{name: s, layers: [{people: [a]}]}]", True),
    ("approver", "schedules: [{name: s, layers: [{people: [a]}]}]", True),
    ("viewer", "escalation_policies: [{name: e, steps: [{notify: [a]}]}]", True),
    ("viewer", "escalation_policies: [{name: e, steps: [{notify: ['person: a']}]}]", True),
    ("viewer", "escalation_policies: [{name: e, steps: [{notify: [alerts]}]}]", False),
    ("responder", "schedules: [{name: s, layers: [{people: [a]}]}]", False),
    ("admin", "schedules: [{name: s, layers: [{people: [a]}]}]", False),
    ("ml", "schedules: [{name: s, layers: [{people: [a]}]}]", False),
    ("responder, grants: [approver]", "schedules: [{name: s, layers: [{people: [a]}]}]", False),
]


@pytest.mark.parametrize(("role", "calls", "is_odd"), LOOKERS)
def test_whoever_is_called_should_be_able_to_acknowledge(tmp_path: Path, role: str, calls: str, is_odd: bool) -> None:
    assert warned(tmp_path, f"people: [{{name: a, pagerduty: PXPGF42, slack: U012AB3CD, role: {role}}}]\n{calls}") == [
        f"1:64: a may be called, but a role of {role} cannot acknowledge; write role: responder, or take a out of schedules "
        "and steps"] * is_odd


LINKS = ("1:27: links in mails begin with http://127.0.0.1:8095 and lead to this machine only; add server.public_url, by which "
         "people open the hub")


@pytest.mark.parametrize(("text", "is_odd"), [
    (f"global: {{{MAIL}}}", True), ("", False), ("global: {slack_bot_token: xoxb-1-some-token}", False),
    (f"global: {{{MAIL}}}\n{PUBLIC}", False), (f"global: {{{MAIL}}}\nserver: {{public_url: 'http://127.0.0.1:8095'}}", False),
    (f"global: {{{MAIL}}}\nserver: {{listen: 127.0.0.1:8095}}", True),
])
def test_links_in_mails_should_lead_to_the_hub(tmp_path: Path, text: str, is_odd: bool) -> None:
    people = "people: [{name: a, email: a@example.com}, {name: b, email: b@example.com}]\n"
    assert warned(tmp_path, people + text) == [LINKS] * is_odd


def test_links_in_mails_of_a_receiver_with_its_own_server_should_lead_to_the_hub_too(tmp_path: Path) -> None:
    config = configured(tmp_path, """
        people: [{name: a, email: a@example.com}]
        receivers: [{name: x, email_configs: [{to: a@example.com, from: h@example.com, smarthost: mail.example.com:587}]}]
        route: {receiver: x}
    """)
    assert [warning.removeprefix(f"{tmp_path}/alerthub.yml:") for warning in config.warnings] == [LINKS]


@pytest.mark.parametrize(("shared", "people", "is_odd"), [
    (SLACK, "slack: U012AB3CD", True), (SLACK, "telegram: 5", False),
    (f"{SLACK}, slack_team_id: T1, slack_signing_secret: 0123456789abcdef", "slack: U012AB3CD", False),
    (f"{SLACK}, slack_team_id: T1, slack_app_token: xapp-1-some-token", "slack: U012AB3CD", False),
    ("slack_api_url: 'https://hooks.slack.com/services/x'", "slack: U012AB3CD", False),
])
def test_a_slack_that_is_not_heard_has_no_buttons(tmp_path: Path, shared: str, people: str, is_odd: bool) -> None:
    assert warned(tmp_path, f"global: {{{shared}}}\npeople: [{{name: a, {people}}}]") == [
        "1:10: slack_bot_token alone: nothing is heard from Slack, so messages there have no buttons; add slack_app_token_file "
        "(Socket Mode) or slack_signing_secret_file"] * is_odd


@pytest.mark.parametrize(("shared", "place"), [
    ("slack_signing_secret: 0123456789abcdef", "1:10: slack_signing_secret"),
    ("slack_app_token: xapp-1-some-token", "1:10: slack_app_token"),
    ("slack_app_token: xapp-1-some-token, slack_signing_secret: 0123456789abcdef", "1:46: slack_signing_secret"),
    (f"{SLACK}, slack_base_url: 'https://slack.com/api/', slack_app_token_file: SECRET", "1:88: slack_app_token"),
    ("slack_signing_secret: 0123456789abcdef, slack_team_id: T012AB3CD", ""), (SLACK, ""),
])
def test_who_hears_slack_should_say_which_workspace(tmp_path: Path, shared: str, place: str) -> None:
    secret = tmp_path / "app"
    secret.write_text("xapp-1-some-token")
    secret.chmod(0o600)
    assert warned(tmp_path, f"global: {{{shared.replace('SECRET', str(secret))}}}") == [
        f"{place} without slack_team_id: somebody of another workspace with the same id would pass for one of yours; "
        "add slack_team_id: T…, the id of your workspace"] * bool(place)


@pytest.mark.parametrize(("wait", "is_odd"), [("0", True), ("0s", True), ("1s", False), ("5m", False)])
def test_a_step_should_give_time_to_answer(tmp_path: Path, wait: str, is_odd: bool) -> None:
    text = f"escalation_policies: [{{name: e, steps: [{{notify: [alerts]}}, {{notify: [alerts], wait: {wait}}}]}}]"
    assert warned(tmp_path, text) == [
        "1:86: wait: 0 leaves nobody the time to answer: what follows comes at once; write for example wait: 5m"
    ] * is_odd


@pytest.mark.parametrize(("count", "said"), [(0, "but 0 of people have the role risk"), (2, "so none of those can ask"), (3, "")])
def test_as_many_as_must_agree_to_a_release_are_one_too_few(tmp_path: Path, count: int, said: str) -> None:
    people = "".join(f", {{name: r{number}, role: risk}}" for number in range(count))
    found = warned(tmp_path, f"""people: [{{name: root, role: admin}}{people}]
actions: [{{name: safe, type: safe_mode, direction: tighten, target_label: agent}}]
targets:
- {{name: btc, type: agent, url: 'http://a:1', release: {{mode: trading, approve: {{role: risk, count: 2}}}}}}
""")
    ours = [line for line in found if "must agree to release btc" in line]
    assert [said in line for line in ours] == ([True] if said else [])
