"""The addresses of all pages."""

from alerthub.web.pages import (
    actions,
    deliveries,
    heartbeats,
    incident,
    incidents,
    live,
    oncall,
    report,
    runbooks,
    silences,
    static,
)

PAGES = (incidents, incident, report, live, oncall, actions, silences, deliveries, heartbeats, runbooks, static)
ROUTES = [one for page in PAGES for one in page.ROUTES]
