"""The addresses of all pages."""

from alerthub.web.pages import actions, deliveries, heartbeats, incidents, oncall, runbooks, silences, static

ROUTES = [*incidents.ROUTES, *oncall.ROUTES, *actions.ROUTES, *silences.ROUTES, *deliveries.ROUTES, *heartbeats.ROUTES,
          *runbooks.ROUTES, *static.ROUTES]
