"""Every operation of the API. A test holds this list against the routes: an address that is not here fails it."""

from __future__ import annotations

from alerthub.domain.action import Reason, RunState
from alerthub.domain.alert import Severity
from alerthub.domain.command import GUARDED, Verb
from alerthub.web.shapes import actions, incidents, rules, settings
from alerthub.web.shapes.around import ACCESS, RECORD
from alerthub.web.shapes.operation import AFTER, AFTER_NAME, BY, LIMIT, PAGED, TEXT, TIME, V1, Operation, Query, one_of

MATCHERS = 'a matcher as Alertmanager writes them, such as agent="btc"; an alert of the incident must match all of them'
PAIR = {"type": "string", "pattern": "^[^=]+="}
DONE_OR_NOT = (403, 404, 409, 422)
SEARCH = (
    Query("status", one_of("open", "triggered", "acknowledged", "resolved"), "open is triggered or acknowledged"),
    Query("sort", one_of("newest", "gravest"), "of open ones: the gravest first"),
    Query("severity", one_of(*(severity.value for severity in Severity)), "any of these", many=True),
    Query("source", TEXT, "its source"), Query("team", TEXT, "the label team of an alert"),
    Query("matcher", TEXT, MATCHERS, many=True),
    Query("q", TEXT, "words, each of which is in the title or in the labels, whatever the case"),
    Query("opened_since", TIME, "RFC 3339"), Query("opened_until", TIME, "RFC 3339, not included"))

INCIDENTS = [
    Operation("GET", f"{V1}/incidents", "incidents", "What happened, the newest first; a page of a search may hold fewer than "
              "`limit`, or none, and have a next one", {200: incidents.Incidents},
              (LIMIT, Query("before", TEXT, "the `next` of the page before"), *SEARCH)),
    Operation("GET", f"{V1}/incidents/{{reference}}", "incidents", "One incident, by number or id",
              {200: incidents.IncidentDetail}, refusals=(404,), is_tagged=True),
    Operation("GET", f"{V1}/incidents/{{reference}}/events", "incidents", "Its history, oldest first", {200: incidents.Events},
              (LIMIT, AFTER), refusals=(404,)),
    Operation("GET", f"{V1}/incidents/{{reference}}/alerts", "incidents", "Its alerts, newest first", {200: incidents.Alerts},
              PAGED, refusals=(404,)),
    Operation("GET", f"{V1}/incidents/{{reference}}/deliveries", "incidents", "What was sent about it, newest first",
              {200: incidents.Deliveries}, PAGED, refusals=(404,)),
    *[Operation("POST", f"{V1}/incidents/{{reference}}/{verb.value}", "incidents", f"{verb.value.capitalize()} it",
                {200: incidents.Told}, body=incidents.CommentBody if verb is Verb.comment else incidents.CommandBody,
                needs_body=verb is Verb.comment, refusals=DONE_OR_NOT, is_keyed=True, is_matched=True)
      for verb in Verb if verb not in GUARDED],
]

DELIVERIES = [
    Operation("GET", f"{V1}/deliveries", "deliveries", "What was sent, newest first", {200: incidents.Deliveries},
              (*PAGED, Query("state", one_of("sending", "sent", "failed", "unknown"), "of the attempt"),
               Query("dead_letter", one_of("0", "1", "false", "true"), "only what was given up"))),
    Operation("GET", f"{V1}/deliveries/{{id}}", "deliveries", "One attempt", {200: incidents.DeliveryDetail}, refusals=(404,)),
    Operation("POST", f"{V1}/deliveries/replay", "deliveries", "Send all dead letters again", {200: incidents.Replayed},
              is_keyed=True),
    Operation("GET", f"{V1}/lanes", "deliveries", "Who is told of which incident", {200: incidents.Lanes},
              (*PAGED, Query("dead", one_of("0", "1", "false", "true"), "only those that wait for a replay"))),
    Operation("GET", f"{V1}/lanes/{{lane}}", "deliveries", "One of them, with its newest attempts and how its destination is",
              {200: incidents.LaneDetail}, refusals=(404,)),
    Operation("POST", f"{V1}/lanes/{{lane}}/replay", "deliveries", "Send its dead letter again", {200: incidents.Replayed},
              refusals=(404,), is_keyed=True),
    Operation("GET", f"{V1}/quarantine", "deliveries", "Bodies that could not be read", {200: incidents.Quarantine}, PAGED),
]

ACTIONS = [
    Operation("GET", f"{V1}/actions/runs", "actions", "Action runs, newest first", {200: actions.Runs},
              (LIMIT, Query("before", TEXT, "the `next` of the page before"),
               Query("state", one_of(*(state.value for state in RunState)), "of the run"),
               Query("reason", one_of(*(reason.value for reason in Reason)), "why it is so; shadow and dry_run have `hits`"))),
    Operation("GET", f"{V1}/actions/runs/{{run}}", "actions", "One run, by id", {200: actions.Run}, refusals=(404,),
              is_tagged=True),
    *[Operation("POST", f"{V1}/actions/runs/{{run}}/{verb.value}", "actions", f"{verb.value.capitalize()} it, by id or code",
                {200: incidents.Told}, body=actions.VoteBody, refusals=DONE_OR_NOT, is_keyed=True, is_matched=True)
      for verb in (Verb.approve, Verb.deny)],
    Operation("GET", f"{V1}/latches", "actions", "Targets that were made safe, by name", {200: actions.Latches},
              (LIMIT, AFTER_NAME)),
    Operation("GET", f"{V1}/latches/{{target}}", "actions", "One of them", {200: actions.LatchShape}, refusals=(404,),
              is_tagged=True),
    *[Operation("POST", f"{V1}/latches/{{target}}/{verb.value}", "actions", about, {200: incidents.Told}, body=actions.WhyBody,
                refusals=DONE_OR_NOT, is_keyed=True, is_matched=True)
      for verb, about in ((Verb.release, "Ask for its release"), (Verb.approve, "Agree to its release"),
                          (Verb.deny, "Speak against its release"), (Verb.override, "Release it without proof: admins only"))],
    Operation("GET", f"{V1}/freezes", "actions", "What is frozen", {200: actions.Freezes}),
    Operation("POST", f"{V1}/freezes", "actions", "Freeze an action, or all", {200: incidents.Told}, body=actions.FreezeBody,
              refusals=DONE_OR_NOT, is_keyed=True),
    Operation("DELETE", f"{V1}/freezes", "actions", "Lift a freeze", {200: incidents.Told},
              (Query("action", TEXT, "empty: that of all of them"),), refusals=DONE_OR_NOT),
    Operation("GET", f"{V1}/permits/{{target}}", "actions", "An agent's signed lease", {200: actions.LeaseShape}, refusals=(404,),
              security=("permit",)),
]

RULES = [
    Operation("GET", f"{V1}/silences", "silences", "Newest first", {200: rules.Silences},
              (*PAGED, Query("state", one_of("active", "expired", "all"), "active, unless said otherwise"))),
    Operation("POST", f"{V1}/silences", "silences", "Make one", {201: rules.SilenceShape}, body=rules.SilenceBody,
              needs_body=True, is_keyed=True),
    Operation("GET", f"{V1}/silences/{{number}}", "silences", "One of them", {200: rules.SilenceShape}, refusals=(404,),
              is_tagged=True),
    Operation("DELETE", f"{V1}/silences/{{number}}", "silences", "End it", {200: rules.SilenceShape}, (BY,), refusals=(404, 409),
              is_matched=True),
    Operation("GET", f"{V1}/heartbeats", "heartbeats", "Which are watched, and how they are", {200: rules.Heartbeats},
              (LIMIT, AFTER_NAME)),
    Operation("GET", f"{V1}/heartbeats/{{name}}", "heartbeats", "One of them", {200: rules.HeartbeatShape}, refusals=(404,)),
    Operation("GET", f"{V1}/oncall", "on call", "Who is on call", {200: rules.OnCall},
              (Query("schedule", TEXT, "only this one"), Query("at", TIME, "as of then")), refusals=(404,)),
    Operation("GET", f"{V1}/schedules/{{name}}/overrides", "on call", "Those that have not ended", {200: rules.Overrides},
              (LIMIT, AFTER), refusals=(404,)),
    Operation("POST", f"{V1}/schedules/{{name}}/overrides", "on call", "Make one", {200: rules.OverrideShape},
              body=rules.OverrideBody, needs_body=True, refusals=(404, 422), is_keyed=True),
    Operation("GET", f"{V1}/overrides/{{id}}", "on call", "One of them", {200: rules.OverrideShape}, refusals=(404,),
              is_tagged=True),
    Operation("DELETE", f"{V1}/overrides/{{id}}", "on call", "Take it back", {200: rules.Removed}, refusals=(404,),
              is_matched=True),
    Operation("PUT", f"{V1}/schedules/{{name}}/imported", "on call", "Make the events of a calendar overrides",
              {200: rules.Imported}, body=rules.ImportBody, needs_body=True, refusals=(404, 422)),
    Operation("GET", f"{V1}/schedules/{{name}}/calendar.ics", "on call", "As iCalendar", {200: "text/calendar"},
              (Query("weeks", {"type": "integer", "minimum": 1, "maximum": 104}, "how many to come"),), refusals=(404, 501)),
    Operation("GET", f"{V1}/schedules/{{name}}/calendar", "on call", "Who is on call over a span, its gaps and overrides",
              {200: rules.Calendar}, (Query("from", TIME, "now, unless said otherwise"),
                                      Query("until", TIME, "a week later, unless said otherwise; at most 366 days")),
              refusals=(404,)),
    Operation("GET", f"{V1}/escalation-policies", "on call", "Their steps, and whom each would call now", {200: rules.Policies},
              (LIMIT, AFTER_NAME)),
    Operation("GET", f"{V1}/routes/test", "configuration", "Who would hear of an alert, and why", {200: rules.RoutesTold},
              (Query("label", PAIR, "NAME=VALUE", many=True, is_required=True), Query("at", TIME, "as of then"))),
    Operation("GET", f"{V1}/configuration", "configuration", "What the hub goes by", {200: settings.Configuration}),
    Operation("POST", f"{V1}/reload", "configuration", "Read the configuration again", {200: rules.Reloaded}, refusals=(422,),
              is_keyed=True),
    Operation("POST", f"{V1}/people/{{person}}/link-code", "people", "A one-time code by which a chat account becomes a person's",
              {200: rules.LinkCode}, refusals=(404,), is_keyed=True),
]

DOCUMENT = Operation("GET", "/api/openapi.json", "configuration", "This document", {200: "application/json"})
OPERATIONS = [DOCUMENT, *INCIDENTS, *DELIVERIES, *ACTIONS, *RULES, *RECORD, *ACCESS]
