"""The addresses of all pages."""

from alerthub.web.pages import (
    account,
    actions,
    analytics,
    audit,
    configuration,
    deliveries,
    heartbeats,
    incident,
    incidents,
    invited,
    live,
    login,
    oidc,
    oncall,
    people,
    report,
    runbooks,
    silences,
    static,
)

PAGES = (incidents, incident, report, live, oncall, actions, silences, deliveries, heartbeats, analytics, audit, configuration,
         runbooks, static, login, oidc, invited, account, people)
ROUTES = [one for page in PAGES for one in page.ROUTES]
