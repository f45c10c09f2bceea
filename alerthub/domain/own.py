"""The hub's own alarms. They are alerts like any other, of the source `alerthub`, and walk the same corridor."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime

from alerthub.domain.alert import Alert, AlertStatus, Batch
from alerthub.domain.incident import OWN_SOURCE, Incident
from alerthub.domain.message import IncidentStatus
from alerthub.domain.rules import Direction

DELIVERY_FAILED = "AlerthubDeliveryFailed"
BAD_PAYLOAD = "AlerthubBadPayload"
BODY_TOO_LARGE = "AlerthubBodyTooLarge"
ACTION_FAILED = "AlerthubActionFailed"
CIRCUIT_OPEN = "AlerthubActionCircuitOpen"
ACTIONS_FROZEN = "AlerthubActionsFrozen"
SOURCE_UNREACHABLE = "AlerthubSourceUnreachable"
ESCALATION_STUCK = "AlerthubEscalationStuck"
NO_TARGET, ALL_ACTIONS = "(none)", "(all)"
# These have no event that ends them: they end when they have not been seen for an hour.
EXPIRING = frozenset({BAD_PAYLOAD, BODY_TOO_LARGE})
# About these only a person knows when they are over; a channel, a source or a heartbeat says so itself.
BY_HAND = EXPIRING | {ACTION_FAILED, ESCALATION_STUCK}


def own_alert(name: str, severity: str, summary: str, description: str, **labels: str) -> Alert:
    return Alert(labels={"alertname": name, "severity": severity, **labels}, status=AlertStatus.firing,
                 annotations={"summary": summary, "description": description})


def own_batch(alerts: Sequence[Alert], now: datetime) -> Batch:
    return Batch(source=OWN_SOURCE, arrived_at=now, alerts=tuple(alerts), observer="hub")


def cleared(alert: Alert, now: datetime, description: str = "") -> Alert:
    annotations = {**alert.annotations, **({"description": description} if description else {})}
    return Alert(labels=alert.labels, status=AlertStatus.resolved, annotations=annotations, ends_at=now)


def delivery_failed(destination: str, channel: str, detail: str) -> Alert:
    return own_alert(DELIVERY_FAILED, "critical", f"{destination} does not take messages",
                     f"{detail}. Messages to it wait as dead letters: repair the cause, then replay them.",
                     destination=destination, channel=channel)


def delivery_works(destination: str, channel: str, now: datetime) -> Alert:
    return cleared(delivery_failed(destination, channel, ""), now, "It takes messages again. What waits as dead letters can be "
                   "replayed.")


def bad_payload(source: str, reason: str) -> Alert:
    return own_alert(BAD_PAYLOAD, "warning", f"{source} sends bodies that cannot be read",
                     f"{reason}. The body is kept in quarantine; the sender was answered 400.", sender=source)


def body_too_large(source: str, limit: int) -> Alert:
    return own_alert(BODY_TOO_LARGE, "critical", f"{source} sends a body larger than {limit // 1024} KiB",
                     "It was answered 413 and none of its alerts got through; the sender repeats it. "
                     "Group alerts more finely at the sender, or raise server.max_body_size.", sender=source)


def action_failed(action: str, target: str, incident_id: str, word: str, detail: str) -> Alert:
    """An incident of its own for every incident whose run a person must look at. `word`: FAILED, is UNCONFIRMED …"""
    on = f" on {target}" if target else ""
    return own_alert(ACTION_FAILED, "critical", f"{action}{on} {word}: act by hand", detail,
                     action=action, target=target or NO_TARGET, incident=incident_id)


def release_failed(action: str, target: str, incident_id: str, word: str, detail: str) -> Alert:
    """People agreed to let a target out of its safe mode, and it is not out."""
    return own_alert(ACTION_FAILED, "critical", f"The release of {target} {word}: it is to stay safe", detail,
                     action=action, target=target, incident=incident_id, direction=Direction.relax.value)


def circuit_open(action: str, detail: str) -> Alert:
    return own_alert(CIRCUIT_OPEN, "critical", f"{action} failed too often in a row and is not run now", detail, action=action)


def actions_frozen(scope: str, by: str, why: str, *, only_releases: bool = False) -> Alert:
    """`scope`: an action; empty: all of them. `only_releases`: the action makes targets safe, which nothing holds back."""
    what, held = "All actions are", "Nothing starts but what makes a target safe,"
    if scope:
        what, held = f"{scope} is", f"{scope} does not start, all other actions do,"
    if only_releases:
        what, held = f"The releases of {scope} are", f"No target that {scope} made safe is released; it goes on making safe,"
    return own_alert(ACTIONS_FROZEN, "warning", f"{what} frozen by {by}",
                     f"Why: {why or 'not said'}. {held} until a person lifts the freeze, and what is refused meanwhile is not "
                     "made up for.", action=scope or ALL_ACTIONS)


def action_without_target(action: str, wanted: str, incident_id: str, detail: str) -> Alert:
    """A tighten that could not even be tried: the label names nothing that is configured."""
    return own_alert(ACTION_FAILED, "critical", f"{action} was NOT RUN for {wanted or 'an alert without the label'}: act by hand",
                     detail, action=action, target=NO_TARGET, wanted=wanted, incident=incident_id)


def is_over(labels: Mapping[str, str], action: str, target: str, direction: str, alike: Collection[str] = ()) -> bool:
    """Whether an alarm ends because such a run succeeded: all that say that it failed on this target, or that an action `alike`
    did, and that it is not run any more."""
    if labels.get("alertname") == CIRCUIT_OPEN:
        return (labels.get("action"), direction) == (action, Direction.neutral.value)
    failed = (labels.get("alertname"), labels.get("target")) == (ACTION_FAILED, target)
    is_it = labels.get("action") in (action, *alike)
    return failed and is_it and (labels.get("direction") == Direction.relax.value) == (direction == Direction.relax.value)


def waits_for_incident(labels: Mapping[str, str]) -> str:
    """The id of the incident with which an alarm ends that nothing else ends; else empty."""
    if labels.get("alertname") == ESCALATION_STUCK or (
            labels.get("alertname") == ACTION_FAILED and labels.get("target") == NO_TARGET):
        return labels.get("incident", "")
    return ""


def ends_when_taken(labels: Mapping[str, str], incident: Incident) -> bool:
    """Nobody need be called any more about an incident that somebody has."""
    return labels.get("alertname") == ESCALATION_STUCK and incident.status is IncidentStatus.acknowledged


def source_unreachable(source: str, detail: str) -> Alert:
    return own_alert(SOURCE_UNREACHABLE, "warning", f"{source} cannot be asked which alerts fire",
                     f"{detail}. Resolves that got lost are not found until it answers.", sender=source)


def escalation_stuck(number: int, incident_id: str, title: str) -> Alert:
    return own_alert(ESCALATION_STUCK, "critical", f"The escalation of #{number} was stuck",
                     f"{title}: critical, open, and nobody was being called. The hub has begun its escalation again; look at the "
                     "hub's log for why it stopped.", incident=incident_id)
