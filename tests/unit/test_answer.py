"""What PagerDuty's automation says of an incident: an echo of the hub's own doing, or its own."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from alerthub.domain.alert import Severity
from alerthub.domain.answer import ECHO_SPAN, Decision, Who, decide
from alerthub.domain.command import Command, Outcome, Verb
from alerthub.domain.incident import Incident
from alerthub.domain.message import IncidentStatus
from alerthub.domain.person import Account
from tests.kit.clock import START as NOW
from tests.kit.world import rules_for

AUTOMATION, PERSON = Account("pagerduty", "automation", "PagerDuty"), Account("pagerduty", "PAYSE", "Ayse")
SECOND = timedelta(seconds=1)


def decided(verb: Verb = Verb.resolve, *, by: Account = AUTOMATION, episode: int | None = 2, said_at: Any = NOW,
            status: IncidentStatus = IncidentStatus.triggered, firing: int = 1, **known: Any) -> Decision:
    incident = Incident("i", "key", "alertmanager", "DiskFull", status, Severity.critical, NOW, NOW, episode=2, number=1,
                        firing=firing)
    command = Command(verb, incident.id, by, "k", episode=episode, said_at=said_at)
    return decide(incident, command, Who(by, None), rules_for(), **known)


@pytest.mark.parametrize(("said", "outcome"), [
    ({}, Outcome.held), ({"firing": 0}, Outcome.done),
    ({"status": IncidentStatus.acknowledged}, Outcome.held),
    ({"status": IncidentStatus.resolved}, Outcome.already), ({"episode": 1}, Outcome.already),
    ({"closed_by_hub_at": NOW}, Outcome.already), ({"closed_by_hub_at": NOW + SECOND}, Outcome.already),
    ({"closed_by_hub_at": NOW - ECHO_SPAN}, Outcome.already), ({"closed_by_hub_at": NOW - ECHO_SPAN - SECOND}, Outcome.held),
    ({"closed_by_hub_at": NOW, "said_at": None}, Outcome.already),
    ({"closed_by_hub_at": NOW, "said_at": NOW - timedelta(hours=47)}, Outcome.already),      # opened anew since
    ({"ends_by_hand": True}, Outcome.held),     # nobody's hand
    ({"ends_by_hand": True, "by": PERSON}, Outcome.done),
    ({"closed_by_hub_at": NOW, "by": PERSON}, Outcome.held),
    ({"verb": Verb.acknowledge}, Outcome.already), ({"verb": Verb.acknowledge, "by": PERSON}, Outcome.done),
    ({"verb": Verb.unacknowledge, "status": IncidentStatus.acknowledged}, Outcome.done),
])
def test_what_nobody_did_in_pagerduty_is_an_echo_only_of_what_the_hub_did(said: dict[str, Any], outcome: Outcome) -> None:
    assert decided(**said).outcome is outcome


@pytest.mark.parametrize(("account", "name"), [
    (AUTOMATION, "PagerDuty"), (Account("pagerduty", "automation", "AlertHub"), "AlertHub (PagerDuty)"),
    (PERSON, "Ayse (PagerDuty)"), (Account("api", "token"), "token (API)"),
])
def test_history_names_the_door_once(account: Account, name: str) -> None:
    assert Who(account, None).name == name
