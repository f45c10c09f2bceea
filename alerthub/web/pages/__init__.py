"""Pages for people who look. Server-rendered; reading needs no script. One file for each page, and its addresses at its end."""

from alerthub.web.pages import analytics, audit, configuration, incidents, report, runbooks, static

ROUTES = [*incidents.ROUTES, *analytics.ROUTES, *audit.ROUTES, *configuration.ROUTES, *report.ROUTES, *runbooks.ROUTES,
          *static.ROUTES]
