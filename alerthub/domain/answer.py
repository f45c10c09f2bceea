"""What becomes of what a person asked: done, already so, held with a question, or refused, each for a named reason."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from alerthub.domain.command import GUARDED, Command, Outcome, Verb
from alerthub.domain.event import Actor
from alerthub.domain.incident import OWN_SOURCE, Incident
from alerthub.domain.local_time import dated
from alerthub.domain.message import IncidentStatus
from alerthub.domain.person import Account, Person, Right
from alerthub.domain.rules import Rules

# Doors that have let somebody in by themselves: the bearer of the API, a program with a token of its own, whoever may run the
# program or is on its machine, PagerDuty's own log-in.
TRUSTED = frozenset({"api", "cli", "local", "pagerduty", "service"})


DOORS = {"api": "API", "cli": "command line", "local": "this machine", "pagerduty": "PagerDuty", "service": "service"}
AUTOMATION = "pagerduty:automation"         # whatever acts there without being a person
ECHO_SPAN = timedelta(minutes=5)            # so late may its clock say that it did what the hub told it to do


class Why(StrEnum):
    """Why nothing was done. Also the metric label."""

    none = "none"
    unknown_account = "unknown_account"
    not_allowed = "not_allowed"
    no_incident = "no_incident"
    is_resolved = "is_resolved"
    earlier_episode = "earlier_episode"
    bad_button = "bad_button"
    expired_link = "expired_link"
    other_place = "other_place"
    still_fires = "still_fires"
    so_already = "so_already"
    nobody_to_call = "nobody_to_call"
    not_understood = "not_understood"
    bad_code = "bad_code"
    not_possible = "not_possible"
    needs_person = "needs_person"        # whoever may use this door is nobody in particular
    needs_proof = "needs_proof"          # a mailed link alone is no proof of who reads it
    own_request = "own_request"          # two-person rule
    nothing_waits = "nothing_waits"
    is_decided = "is_decided"
    is_expired = "is_expired"
    rule_changed = "rule_changed"
    changed_since = "changed_since"      # it is not any more what they said they had seen


@dataclass(frozen=True, slots=True)
class Who:
    """Whoever spoke. `person` is None for an account that is nobody's."""

    account: Account
    person: Person | None

    @property
    def name(self) -> str:
        """As history shows it: who they are, or which account it was and that nobody vouches for it."""
        if self.person is not None:
            return self.person.name
        if self.account.kind in TRUSTED:
            name, door = self.account.name or self.account.id, DOORS[self.account.kind]
            return name if name == door else f"{name} ({door})"
        return f"{self.account.name or self.account.id} ({self.account.key}, not linked)"

    @property
    def actor(self) -> Actor:
        """As history keeps it: a person only who was recognised as one."""
        return Actor("person" if self.person is not None else "account", self.name)


@dataclass(frozen=True, slots=True)
class Decision:
    outcome: Outcome
    text: str = ""
    why: Why = Why.none

    @property
    def is_done(self) -> bool:
        return self.outcome is Outcome.done


DONE = Decision(Outcome.done)
NEEDS_PERSON = ("An approval needs a person, as a release, an override and lifting a freeze do; this door is nobody's in "
                "particular. Use your own token (people[].api_token), or chat, or log in.")
NOT_CONFIGURED = ("{} is not in `people` of the configuration. An approval, a release, an override and lifting a freeze are "
                  "theirs who stand there: their words are counted. Nothing was done.")


def refused(why: Why, text: str) -> Decision:
    return Decision(Outcome.refused, text, why)


def recognised(rules: Rules, account: Account, linked: str) -> Who:
    """`linked` is the person that a one-time code proved the account to be, or empty. The configuration wins: who left it is
    nobody, whatever was linked."""
    by_configuration = next((person for person in rules.people.values() if (account.kind, account.id) in person.accounts), None)
    return Who(account, by_configuration or rules.people.get(linked))


NEEDED = {Verb.release: (Right.respond, Right.approve), Verb.override: (Right.administer,),
          Verb.freeze: (Right.respond, Right.approve)}
ONLY_FOR = {Verb.override: "Only an admin may override.", Verb.unfreeze: "Only approvers and admins lift a freeze."}


def lifts_freezes(person: Person) -> bool:
    """The approver, by role or by grant, and the admin. A role of one's own decides about what asks for it and nothing else."""
    return person.may(Right.administer) or person.may_approve("approver")


def may_ask(person: Person, verb: Verb) -> bool:
    if verb is Verb.unfreeze:
        return lifts_freezes(person)
    if verb in (Verb.approve, Verb.deny):       # whose word counts says approval.py; a token must be made for it
        return person.scope is None or Right.approve in person.scope or (verb is Verb.deny and Right.respond in person.scope)
    return any(person.may(right) for right in NEEDED.get(verb, (Right.respond,)))


def permission(rules: Rules, who: Who, verb: Verb) -> Decision:
    """Whether they may ask for that at all. Whose word counts for what waits depends on what it is: see approval.py."""
    if who.person is not None:
        # Else one human could ask as one account and agree as another.
        if verb in GUARDED and verb is not Verb.freeze and who.person.name not in rules.people:
            return refused(Why.not_allowed, NOT_CONFIGURED.format(who.person.name))
        if may_ask(who.person, verb):
            return DONE
        if who.person.scope is not None:
            return refused(Why.not_allowed, f"This token of {who.person.name} may not do that; it was made to "
                           f"{' and '.join(sorted(who.person.scope))}.")
        return refused(Why.not_allowed, f"{who.person.name} is {who.person.role} here. {ONLY_FOR[verb]}" if verb in ONLY_FOR else
                       f"{who.person.name} is {who.person.role} here and may only look.")
    if who.account.kind in TRUSTED:
        if verb in GUARDED and verb is not Verb.freeze:     # freezing makes everything safer, whoever does it
            return refused(Why.needs_person, NEEDS_PERSON)
        return DONE
    if verb is Verb.acknowledge and rules.answers.unknown_may_acknowledge:
        return DONE
    return refused(Why.unknown_account, "The hub does not know whose account this is. Ask for a code (alerthub link NAME) and "
                   "send it here as: link CODE")


def decide(incident: Incident, command: Command, who: Who, rules: Rules, *, ends_by_hand: bool = False,
           closed_by_hub_at: datetime | None = None) -> Decision:
    """What becomes of a command about this incident, as it is now. Pure; whoever asked has been recognised. `ends_by_hand`:
    one of the hub's own alarms that nothing else ends. `closed_by_hub_at`: when the hub itself last closed it at PagerDuty
    although it is open."""
    allowed = permission(rules, who, command.verb)
    if not allowed.is_done:
        return allowed
    if command.verb is Verb.comment:
        return DONE
    if is_echo(command, incident, closed_by_hub_at):
        return Decision(Outcome.already, "This is what the hub itself has told PagerDuty.", Why.so_already)
    if command.episode is not None and command.episode != incident.episode:
        return refused(Why.earlier_episode, f"That message is about an earlier time; #{incident.number} has fired again since. "
                       "Use the newest message.")
    if not incident.is_open:
        over = f"#{incident.number} is resolved already."
        is_wish = command.verb is Verb.resolve
        return Decision(Outcome.already, over, Why.is_resolved) if is_wish else refused(Why.is_resolved, over)
    if command.verb is Verb.resolve and ends_by_hand and not is_automatic(command):
        return DONE
    return BY_VERB[command.verb](incident, command, who, rules)


def is_automatic(command: Command) -> bool:
    return command.by.key == AUTOMATION


def is_echo(command: Command, incident: Incident, closed_by_hub_at: datetime | None) -> bool:
    """PagerDuty repeats what the hub did there, by nobody's hand; late, it must not be done anew (PROTOCOLS 4.2). An end may
    also be its own doing, by its auto-resolve time or a rule: whatever is older than the hub's last closing is not, since the
    hub has opened it anew after that."""
    if not is_automatic(command):
        return False
    if command.verb is not Verb.resolve:
        return command.verb is Verb.acknowledge
    if not incident.is_open or command.episode not in (None, incident.episode):
        return True
    return closed_by_hub_at is not None and (command.said_at is None or command.said_at <= closed_by_hub_at + ECHO_SPAN)


def acknowledging(incident: Incident, command: Command, who: Who, rules: Rules) -> Decision:
    if incident.status is IncidentStatus.acknowledged:
        at = f" since {dated(incident.acknowledged_at, rules.answers.time_zone)}" if incident.acknowledged_at else ""
        has = "You have" if incident.acknowledged_by == who.name else f"{incident.acknowledged_by} has"
        return Decision(Outcome.already, f"{has} #{incident.number}{at}.", Why.so_already)
    return DONE


def unacknowledging(incident: Incident, command: Command, who: Who, rules: Rules) -> Decision:
    if incident.status is not IncidentStatus.acknowledged:
        return Decision(Outcome.already, f"Nobody has #{incident.number}.", Why.so_already)
    return DONE


def resolving(incident: Incident, command: Command, who: Who, rules: Rules) -> Decision:
    """Held while the source still fires: it knows better, until a person insists by name."""
    if incident.firing <= 0 or command.forced:
        return DONE
    fire = "1 alert still fires" if incident.firing == 1 else f"{incident.firing} alerts still fire"
    where = "as the hub itself sees it" if incident.source == OWN_SOURCE else f"at {incident.source}"
    return Decision(Outcome.held, f"{fire} {where}, so #{incident.number} stays open. Resolve it anyway? "
                    "When the source next says that it fires, it opens again and people are called again.", Why.still_fires)


def going_on(incident: Incident, command: Command, who: Who, rules: Rules) -> Decision:
    return DONE


BY_VERB = {Verb.acknowledge: acknowledging, Verb.unacknowledge: unacknowledging, Verb.resolve: resolving,
           Verb.silence: going_on, Verb.escalate: going_on}
