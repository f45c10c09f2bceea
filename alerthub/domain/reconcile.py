"""What the source's own list of alerts says about ours. Absence is proof only when nobody could have forgotten."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from alerthub.domain.alert import Alert, AlertStatus, Labels
from alerthub.domain.incident import AlertState

# An Alertmanager that restarted knows nothing until Prometheus repeats its alerts: it does so every minute
# (--rules.alert.resend-delay), so after five an absence means what it says (PROTOCOLS 1.4, 1.6-7).
FORGETFUL = timedelta(minutes=5)
HEARD = timedelta(minutes=15)       # an alert that is listed counts as heard of; written down this often


@dataclass(frozen=True, slots=True)
class Listed:
    """One alert in the source's list. `is_suppressed`: silenced or inhibited there. `silenced_by`: the source's ids of the
    silences, where they alone hold it back."""

    labels: Labels
    is_suppressed: bool
    silenced_by: frozenset[str] = frozenset()

    def is_held(self, mirrored: Collection[str]) -> bool:
        """By more than the hub's own silences."""
        return self.is_suppressed and (not self.silenced_by or not self.silenced_by.issubset(mirrored))


@dataclass(frozen=True, slots=True)
class Peer:
    """What one peer of the source answered: since when it runs, and its alerts by identity."""

    started_at: datetime | None
    alerts: Mapping[str, Listed]


@dataclass(frozen=True, slots=True)
class Finding:
    """What to change: alerts to count as resolved, to mark as missing since now, and to mark as present again."""

    resolved: tuple[AlertState, ...] = ()
    missing: tuple[AlertState, ...] = ()
    present: tuple[AlertState, ...] = ()
    suppressed: frozenset[str] = frozenset()     # identities
    listed: frozenset[str] = frozenset()         # identities of ours


def compare(ours: Collection[AlertState], peers: Sequence[Peer], asked_at: datetime, mirrored: Collection[str] = ()) -> Finding:
    """`peers` are all configured ones, all of which answered. An alert that no peer lists is resolved when it was absent
    from an earlier list too, and no peer can have forgotten it in a restart. `mirrored`: the source's ids of the hub's own
    silences, which do not count as the source's."""
    listed: dict[str, bool] = {}
    for peer in peers:
        for identity, alert in peer.alerts.items():
            listed[identity] = listed.get(identity, True) and alert.is_held(mirrored)
    resolved, missing, present = [], [], []
    for state in ours:
        if state.identity in listed:
            if state.missing_since is not None or asked_at - state.seen_at > HEARD:
                present.append(state)
        elif max(state.changed_at, state.seen_at) >= asked_at:
            continue    # heard of since the question: the answer is older news
        elif any(may_have_forgotten(peer, state, asked_at) for peer in peers):
            continue
        elif state.missing_since is not None and state.missing_since < asked_at:
            resolved.append(state)
        else:
            missing.append(state)
    known = frozenset(state.identity for state in ours if state.identity in listed)
    suppressed = frozenset(identity for identity, is_suppressed in listed.items() if is_suppressed)
    return Finding(tuple(resolved), tuple(missing), tuple(present), suppressed, known)


def may_have_forgotten(peer: Peer, state: AlertState, asked_at: datetime) -> bool:
    """True when the peer started after we last heard of the alert, and not long enough ago to have heard of it again."""
    if peer.started_at is None:
        return True
    return peer.started_at > state.seen_at and may_have_lost(peer, asked_at)


def may_have_lost(peer: Peer, asked_at: datetime) -> bool:
    """Whether its list may not be whole again yet since it started."""
    return peer.started_at is None or asked_at - peer.started_at < FORGETFUL


def resolution(state: AlertState, labels: Labels, annotations: Labels, asked_at: datetime) -> Alert:
    """The observation that closes it. It counts from when the source was asked, so a webhook that came since wins (R-14)."""
    return Alert(labels=labels, annotations=annotations, status=AlertStatus.resolved, ends_at=asked_at,
                 starts_at=state.starts_at)
