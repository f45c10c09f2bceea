"""Pages for people who look. Server-rendered; reading needs no script. One file for each page, and its addresses at its end."""

from alerthub.web.pages import incident, incidents, live, runbooks, static

ROUTES = [*incidents.ROUTES, *incident.ROUTES, *live.ROUTES, *runbooks.ROUTES, *static.ROUTES]
