"""Operations around the incidents: the record, reports, looking back, and who may enter."""

from __future__ import annotations

from alerthub.domain.analytics import DAYS_ASKED, SEVERITIES
from alerthub.domain.event import EventKind
from alerthub.web.shapes import access, analytics, record
from alerthub.web.shapes.operation import AFTER_NAME, BEFORE, LIMIT, PAGED, TEXT, V1, Operation, Query, one_of

SHORT = {"type": "string", "maxLength": 200}
DAY_OR_TIME = {"type": "string", "examples": ["2026-11-21", "2026-11-21T03:00"]}
WANTED = (
    Query("incident", TEXT, "its number"), Query("kind", one_of(*(kind.value for kind in EventKind)), "of what happened"),
    Query("actor", SHORT, "who did it: a name, a kind, or `kind:name`"),
    Query("text", SHORT, "stands in the line, whatever the case"),
    Query("since", DAY_OR_TIME, "a day or a time there, or RFC 3339"), Query("until", DAY_OR_TIME, "as since; a day is included"))

RECORD = [
    Operation("GET", f"{V1}/audit", "record", "What happened in all incidents, newest first; a page may hold fewer than `limit`, "
              "or none, and have a next one", {200: record.Record}, (*PAGED, *WANTED)),
    Operation("GET", f"{V1}/audit/export", "record", "At most 10,000 lines of it, or the evidence of one incident",
              {200: ("application/jsonl", "text/csv", "application/json", "text/html")},
              (Query("format", one_of("jsonl", "csv", "json", "html"), "jsonl or csv; of evidence json or html"), BEFORE, *WANTED,
               Query("evidence", TEXT, "the number of the incident; nothing else is looked at but the format")),
              refusals=(404,), tells={"X-Next-Before": "the `before` to go on with; not there at the end"}),
    Operation("GET", f"{V1}/audit/verify", "record", "The check of the whole record: that runs, or the last",
              {200: record.Checked}),
    Operation("POST", f"{V1}/audit/verify", "record", "Check the whole record: 202 when it begins, 200 when one runs already, or "
              "this key has begun one", {200: record.Checked, 202: record.Checked}, is_keyed=True),
    Operation("GET", f"{V1}/audit/anchors", "record", "Hashes over the record, newest first", {200: record.Anchors},
              (LIMIT, BEFORE)),
    Operation("GET", f"{V1}/incidents/{{reference}}/verify", "record", "Whether its history is as the hub wrote it",
              {200: record.Verified}, refusals=(404,)),
    Operation("GET", f"{V1}/incidents/{{reference}}/report", "record", "What people write about it afterwards; before anybody "
              "did, the draft", {200: record.ReportShape},
              (Query("version", {"type": "integer", "minimum": 0}, "the newest, unless said otherwise"),),
              refusals=(404,), tells={"ETag": "the newest version"}),
    Operation("PUT", f"{V1}/incidents/{{reference}}/report", "record", "Save it as the next version", {200: record.SavedReport},
              body=record.ReportBody, needs_body=True, refusals=(404, 409, 428), is_matched=True, needs_match=True,
              tells={"ETag": "the newest version"}),
    Operation("GET", f"{V1}/analytics", "analytics", "Looking back over 7, 30 or 90 days, or days by name",
              {200: analytics.Analytics},
              (Query("days", one_of(*map(str, DAYS_ASKED)), "30, unless said otherwise"),
               Query("from", DAY_OR_TIME, "the first day"), Query("to", DAY_OR_TIME, "the last day, included"),
               Query("severity", one_of(*SEVERITIES), "of the incidents"),
               Query("team", SHORT, "the label team of their alerts"))),
]

ACCESS = [
    Operation("GET", f"{V1}/accounts", "access", "Who can log in, by name; for admins", {200: access.Accounts}, (AFTER_NAME,)),
    Operation("POST", f"{V1}/accounts", "access", "Invite somebody: 201 with a link, told once; 200 without it when this key has "
              "made it", {200: access.InvitedBefore, 201: access.Invited}, body=access.InviteBody, needs_body=True,
              refusals=(409, 422), is_keyed=True),
    Operation("GET", f"{V1}/accounts/{{name}}", "access", "One of them; for admins", {200: access.AccountShape}, refusals=(404,),
              is_tagged=True),
    *[Operation("POST", f"{V1}/accounts/{{name}}/{word}", "access", about, {200: access.Changed}, body=access.EmptyBody,
                refusals=(404, *more), is_keyed=True, is_matched=True)
      for word, about, more in (("disable", "End their sessions and tokens, and let them in no more", (409,)),
                                ("enable", "Let them in again", ()))],
    Operation("GET", f"{V1}/tokens", "access", "One's own; of an admin, all. Newest first", {200: access.Tokens}, (BEFORE,)),
    Operation("POST", f"{V1}/tokens", "access", "Make one: 201 with the token, told once; 200 without it when this key has made "
              "it", {200: access.MadeBefore, 201: access.MadeToken}, body=access.TokenBody, refusals=(409, 422), is_keyed=True),
    Operation("DELETE", f"{V1}/tokens/{{id}}", "access", "Revoke it", {200: access.Revoked}, refusals=(404, 408, 413),
              is_keyed=True),
    Operation("GET", f"{V1}/access/events", "access", "Log-ins, refusals, invitations, tokens; newest first; for admins",
              {200: access.DoorEvents}, (BEFORE,)),
]
