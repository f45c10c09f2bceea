"""`GET /api/v1/permits/{target}`: a short signed lease that says whether an agent may act. Whatever goes wrong here, the agent is
safe by itself: it acts by a fresh lease only.
"""

from __future__ import annotations

import asyncio
import hmac
import logging

from starlette.requests import Request
from starlette.responses import Response

from alerthub.domain.permit import signed
from alerthub.domain.rules import PermitRule, Rules
from alerthub.errors import Busy
from alerthub.flow import permit
from alerthub.hashing import hashed
from alerthub.web.base import answer, hub_of, problem
from alerthub.web.gate import bearer

logger = logging.getLogger("alerthub.permits")


async def lease(request: Request) -> Response:
    hub, target = hub_of(request), request.path_params["target"].removesuffix("/")
    rules, key = hub.rules, hub.door.permit_keys.get(target)
    rule = rules.permits.get(target)
    if not is_admitted(rules, rule, bearer(request.headers)):
        return problem(401, "send the header Authorization: Bearer with the token of this permit", {"www-authenticate": "Bearer"})
    if rule is None or key is None:
        return problem(404, "there is no permit for that target; give it one: permit: {secret_file: …, token_file: …}")
    try:
        async with asyncio.timeout(hub.door.commit_seconds):
            given = await hub.store.write(lambda tx: permit.lease(tx, rule, target, hub.clock.now()))
    except TimeoutError:
        return busy(target, "the database did not commit in time")
    except Busy as error:
        return busy(target, str(error))
    return answer(200, signed(given, key))


def is_admitted(rules: Rules, rule: PermitRule | None, token: str) -> bool:
    """Whether the token is the one of this permit. About targets without a permit only those learn anything who have a token of
    some other one, or everybody where nobody needs any; the time that it takes tells nothing."""
    digest = hashed(token)
    wanted = [one.token_sha256 for one in rules.permits.values()]
    fitting = sum(hmac.compare_digest(digest, one) for one in wanted)
    if rule is None:
        return fitting > 0 or not any(wanted)
    return not rule.token_sha256 or hmac.compare_digest(digest, rule.token_sha256)


def busy(target: str, reason: str) -> Response:
    logger.warning("permit answered 503: %s", reason, extra={"event": "permit.busy", "target": target})
    return problem(503, f"{reason}; ask again", {"retry-after": "1"})
