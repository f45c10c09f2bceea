"""What the hub goes by: the compiled tree, who is who, what may be done; a route tester; reading the file again."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from alerthub.domain.person import Right
from alerthub.web.base import hub_of
from alerthub.web.configuration import shown, tried
from alerthub.web.forms import BadForm, back, read_form
from alerthub.web.pages.render import page
from alerthub.web.routing import route
from alerthub.web.visitor import known

PATH = "/configuration"


async def show(request: Request) -> Response:
    """With `labels` in the address also what would become of an alert with them. It asks and changes nothing, so it is a GET."""
    hub, visitor = hub_of(request), known(request)
    text, wrong, status, trial = request.query_params.get("labels", ""), "", 200, None
    if text.strip():
        try:
            trial = await tried(hub, text)
        except ValueError as error:
            wrong, status = str(error), 400
    return page(request, "configuration.html", status, found=shown(hub), labels=text, wrong=wrong, trial=trial,
                may_reload=visitor.may(Right.administer))


async def reload(request: Request) -> Response:
    """A bad file changes nothing, and the page says what is wrong with it."""
    hub, visitor = hub_of(request), known(request)
    try:
        await read_form(request)
    except BadForm as error:
        return back(request, PATH, str(error), is_good=False)
    if not visitor.may(Right.administer):
        return back(request, PATH, "Only an admin reads the configuration again. Nothing was done.", is_good=False)
    problems = hub.reload()
    if problems:
        return back(request, PATH, "The configuration was not taken over. What is wrong with it stands below.", is_good=False)
    return back(request, PATH, f"Taken over: version {hub.rules.version[:12]}.")


ROUTES = [*route(PATH, show), *route("/configuration/reload", reload, "POST")]
