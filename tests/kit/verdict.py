"""The offline judge of a run with crashes: from what was promised and what everybody saw, what was broken (PROTOCOLS 7.3).

It looks at histories only, after all has come to rest; it knows nothing of when or where the crash was.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tests.kit.providers.pagerduty import FakePagerDuty
from tests.kit.providers.slack import FakeSlack, visible

IN_FLIGHT = 1       # Slack: that many extra messages for one incident and one crash
DUPLICATE = "This may be a duplicate"
WORDS = {"firing": ("triggered", "FIRING"), "resolved": ("resolved", "RESOLVED")}


def violations(answered: Mapping[str, str], incidents: Sequence[Mapping[str, Any]], slack: FakeSlack,
               pagerduty: FakePagerDuty) -> list[str]:
    """`answered`: by alert, the last status that a webhook answered 200 said. Empty when every promise was kept."""
    found: list[str] = []
    for name, status in answered.items():
        mine = [one for one in incidents if one["title"] == name]
        if [one["status"] for one in mine] != [WORDS[status][0]]:
            found.append(f"{name}: {status}, but its incidents are {[one['status'] for one in mine]}")
        found += in_slack(name, WORDS[status][1], slack)
        found += in_pagerduty(name, WORDS[status][0], pagerduty)
    own = [one["title"] for one in incidents if one["source"] != "alerthub"]
    found += [f"{title}: nobody sent it" for title in own if title not in answered]
    return found


def in_slack(name: str, word: str, slack: FakeSlack) -> Iterator[str]:
    posts = first_texts(name, slack)
    if not posts:
        yield f"{name}: Slack was never told"
        return
    if len(posts) > 1 + IN_FLIGHT:
        yield f"{name}: Slack was told {len(posts)} times"
    if word not in [message.text for message in slack.roots if name in message.text][-1]:
        yield f"{name}: Slack's live message does not say {word}"
    if not all(DUPLICATE in text for text in posts[1:]):
        yield f"{name}: a duplicate in Slack is not marked as one"


def first_texts(name: str, slack: FakeSlack) -> list[str]:
    """What its messages in the channel (not in threads) said when they were new."""
    posts = [request.json() for request in slack.requests if request.path.endswith("chat.postMessage")]
    return [text for text in map(visible, (post for post in posts if "thread_ts" not in post)) if name in text]


def in_pagerduty(name: str, status: str, pagerduty: FakePagerDuty) -> Iterator[str]:
    entries = [entry for entry in pagerduty.incidents.values() if name in entry.summary]
    if [entry.opened for entry in entries] != [1]:
        yield f"{name}: PagerDuty paged {[entry.opened for entry in entries]}"
    elif entries[0].status != status:
        yield f"{name}: it is {status}, and PagerDuty says {entries[0].status}"
