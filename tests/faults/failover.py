"""F4: PostgreSQL fails over to its standby, which lags behind it (what it had not got is lost), or which every commit waits for
(nothing is lost). The hubs live on, with both hosts in their address."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Sequence

from sqlalchemy import func, select

from alerthub.clock import SystemClock
from alerthub.flow import audit
from alerthub.store.audit import opened_for_reading
from alerthub.store.database import Store
from alerthub.store.schema import incidents, lanes
from tests.faults.databases import BUSY_WITHIN, RECOVERS_WITHIN, refused_in
from tests.faults.providers import rows
from tests.kit.binaries import wait_until
from tests.kit.faults.checker import Allowed
from tests.kit.faults.stage import Stage, stage
from tests.kit.faults.table import Row
from tests.kit.standby import NAME, Pair, asked, pair
from tests.kit.stores import migrated

LOST = 40       # incidents: more than the 32 numbers that a sequence is ahead in what a standby has
PAGES = ("/", "/deliveries", "/audit", "/metrics", "/health", "/api/v1/incidents", "/api/v1/deliveries", "/api/v1/audit")
TITLE = re.compile(r"\b(?:Before|Lost|After|Over)\d+y\b")
SYNCHRONOUS = "select count(*) = 1 from pg_stat_replication where sync_state = 'sync'"


def lagging(database: str, times: int) -> Row:
    """The standby is cut off, more is acknowledged and told, the primary is killed, the standby promoted: with one hub, and with
    two. What was lost comes again, since its sender repeats it."""
    how = []
    for number in range(times):
        with pair() as servers:
            migrated(servers.primary.server.dsn("postgres"))
            with stage("postgres", "slack", "machine", hubs=1 + number % 2, url=servers.url) as scene:
                how.append(lag_once(scene, servers))
                sees, verdict = how[-1][1], scene.verdict(Allowed(forgotten=frozenset(lost_names())))
                verdict.say("F4", [*how[-1][2], *foreign_edits(scene)])
                if verdict.broken or number == times - 1:
                    break
    slowest = max(seconds for seconds, _, _ in how)
    return Row(f"asynchronous: {LOST} incidents acknowledged and told that the standby had not got; 503 until it is promoted, "
               f"back in {slowest:.1f} s", number + 1, sees, verdict)


def lost_names() -> list[str]:
    return [f"Lost{number}y" for number in range(LOST)]


def lag_once(scene: Stage, servers: Pair) -> tuple[float, str, list[str]]:
    """Seconds until it goes on, what a person sees, what was wrong."""
    scene.fires("Before0y", "Before1y", "Over0y")
    scene.rest()
    servers.catch_up()
    servers.cut()
    scene.fires(*lost_names(), at_once=4)
    scene.fires("Over0y", status="resolved")
    scene.rest()
    witnessed, highest = anchored(servers), rows(scene.url, select(func.max(lanes.c.id)))[0][0]
    scene.begins("database")
    servers.lose_primary()
    waits = [refused_in(scene, "After0y")]
    sees = scene.notice("database", lambda: scene.unhealthy("database"))
    servers.standby.promote()
    seconds = back_in(scene, ["After0y"])
    wrong = [f"{path} answers {scene.hub.get(path).status_code}" for path in PAGES if scene.hub.get(path).status_code >= 500]
    kept = {row.title for row in rows(scene.url, select(incidents.c.title))}
    wrong += [] if kept == {"Before0y", "Before1y", "Over0y", "After0y"} else [f"kept were {sorted(kept)}"]
    scene.fires(*lost_names(), at_once=4)                # as its sender repeats what still fires
    scene.fires("Over0y", status="resolved")
    scene.rest(120)
    scene.fires("Before1y", *lost_names()[:3], status="resolved")
    scene.rest(120)
    lost = select(func.min(lanes.c.id)).join(incidents, incidents.c.id == lanes.c.incident_id)
    lowest = rows(scene.url, lost.where(incidents.c.title.startswith("Lost")))[0][0]
    wrong += [] if lowest <= highest else ["no number was given again: nothing is shown of that"]
    wrong += [] if reported(scene.url, witnessed) else ["an anchor that is not there any more was not missed"]
    wrong += [f"a 503 took {max(waits):.1f} s"] if max(waits) > BUSY_WITHIN else []
    wrong += [f"recovery took {seconds:.1f} s"] if seconds > RECOVERS_WITHIN else []
    silent = [number for number, hub in enumerate(scene.hubs) if "since a failover" not in hub.log.read_text()]
    wrong += [f"hub {number} did not say it" for number in silent]
    return seconds, sees, wrong


def back_in(scene: Stage, names: Sequence[str]) -> float:
    """How long it takes until every hub is ready and these are taken, by themselves."""
    began = time.monotonic()
    for hub in scene.hubs:
        wait_until(lambda one=hub: one.answers("/readyz"), 60, "it is ready again")
        scene.until_taken(dict.fromkeys(names, "firing"), hubs=[hub])
    return time.monotonic() - began


def anchored(servers: Pair) -> dict[int, str]:
    """An anchor of all that the primary has now, as its hub logs it."""
    clock = SystemClock()
    store = Store(servers.url, clock.new_id)
    try:
        made = store.write_now(lambda tx: audit.anchor(tx, clock.now()))
    finally:
        store.close()
    assert made is not None
    return {made.n: made.hash}


def reported(url: str, witnessed: dict[int, str]) -> bool:
    with opened_for_reading(url) as tx:
        return any("anchor" in str(finding) for finding in audit.verify(tx, witnessed))


def foreign_edits(scene: Stage) -> list[str]:
    """Incidents that have fewer messages in Slack now than were posted about them: another one has taken theirs."""
    posted = Counter(title for one in scene.seen() if one.to == "slack" and one.call == "post" and one.taken
                     for title in set(TITLE.findall(one.text)))
    shown = Counter(title for message in scene.slack.roots for title in set(TITLE.findall(message.text)))
    return [f"{title} was posted {count} times, and {shown[title]} messages are about it" for title, count in posted.items()
            if shown[title] != count]


# -- every commit waits for the standby

def waiting(database: str, times: int) -> Row:
    """With the standby gone no commit returns: 503. It comes back; then the setting is lifted; then the primary is killed."""
    for _ in range(times):
        with pair() as servers:
            migrated(servers.primary.server.dsn("postgres"))
            with stage("postgres", "slack", "machine", hubs=1, url=servers.url) as scene:
                seconds, sees, wrong = wait_once(scene, servers)
                verdict = scene.verdict(Allowed())
                verdict.say("F4", wrong)
                if verdict.broken:
                    break
    return Row(f"synchronous: the standby gone, 503; back in {seconds:.1f} s when it is, when the setting is lifted, and when "
               "it is promoted", times, sees, verdict)


def wait_once(scene: Stage, servers: Pair) -> tuple[float, str, list[str]]:
    scene.fires("Before0y")
    scene.rest()
    recoveries, waits = [], []
    synchronous(servers)
    scene.begins("database")
    for name, mend in (("During0y", servers.wire.mend), ("During1y", lambda: servers.set("synchronous_standby_names", ""))):
        servers.cut()
        wait_until(lambda: not asked(servers.primary, SYNCHRONOUS), 30, "the standby is gone")
        waits.append(refused_in(scene, name))
        sees = scene.notice("database", lambda: scene.unhealthy("database"))
        waits.append(refused_in(scene, name))
        mend()
        recoveries.append(back_in(scene, [name]))
    servers.wire.mend()
    servers.catch_up()
    synchronous(servers)
    scene.fires(*(f"Kept{number}y" for number in range(LOST)), at_once=4)
    scene.fires("Before0y", status="resolved")
    servers.lose_primary()
    waits.append(refused_in(scene, "After0y"))
    servers.standby.promote()
    recoveries.append(back_in(scene, ["After0y"]))
    scene.rest(120)
    titles = [row.title for row in rows(scene.url, select(incidents.c.title))]
    wrong = [f"{title} was opened {titles.count(title)} times" for title in sorted(set(titles)) if titles.count(title) > 1]
    wrong += [f"a 503 took {max(waits):.1f} s"] if max(waits) > BUSY_WITHIN else []
    wrong += [f"recovery took {max(recoveries):.1f} s"] if max(recoveries) > RECOVERS_WITHIN else []
    return max(recoveries), sees, wrong


def synchronous(servers: Pair) -> None:
    servers.set("synchronous_standby_names", NAME)
    wait_until(lambda: asked(servers.primary, SYNCHRONOUS), 30, "commits wait for the standby")
