"""Pages for people who look. Server-rendered; reading needs no script. One file for each page, and its addresses at its end."""

from alerthub.web.pages import analytics, incidents, report, runbooks, static

ROUTES = [*incidents.ROUTES, *analytics.ROUTES, *report.ROUTES, *runbooks.ROUTES, *static.ROUTES]
