"""Pages for people who look. Server-rendered; reading needs no script. One file for each page, and its addresses at its end."""

from alerthub.web.pages import actions, deliveries, heartbeats, incidents, oncall, runbooks, silences, static

ROUTES = [*incidents.ROUTES, *oncall.ROUTES, *actions.ROUTES, *silences.ROUTES, *deliveries.ROUTES, *heartbeats.ROUTES,
          *runbooks.ROUTES, *static.ROUTES]
