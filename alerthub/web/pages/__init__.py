"""Pages for people who look. Server-rendered; reading needs no script. One file for each page, and its addresses at its end."""

from alerthub.web.pages import account, incidents, invited, login, oidc, people, runbooks, static

ROUTES = [*incidents.ROUTES, *runbooks.ROUTES, *static.ROUTES, *login.ROUTES, *oidc.ROUTES, *invited.ROUTES, *account.ROUTES,
          *people.ROUTES]
