"""What Alertmanager's list of alerts says of why one is held back."""

from __future__ import annotations

from typing import Any

import pytest

from alerthub.sources.alertmanager_api import listed_alerts

SUPPRESSED = {"state": "suppressed", "silencedBy": ["r1"], "inhibitedBy": []}


@pytest.mark.parametrize(("status", "is_suppressed", "silenced_by"), [
    (SUPPRESSED, True, {"r1"}),
    ({**SUPPRESSED, "silencedBy": ["r1", "r2"]}, True, {"r1", "r2"}),
    ({**SUPPRESSED, "inhibitedBy": ["f1"]}, True, set()),
    ({**SUPPRESSED, "mutedBy": ["nights"]}, True, set()),
    ({**SUPPRESSED, "silencedBy": []}, True, set()),
    ({**SUPPRESSED, "silencedBy": [["r1"]]}, True, set()),
    ({**SUPPRESSED, "silencedBy": "r1"}, True, set()),
    ({"state": "active", "silencedBy": [], "inhibitedBy": []}, False, set()),
    ("suppressed", False, set()), (None, False, set()),
])
def test_an_alert_says_which_silences_alone_hold_it(status: Any, is_suppressed: bool, silenced_by: set[str]) -> None:
    (listed,) = listed_alerts([{"labels": {"alertname": "DiskFull"}, "status": status}]).values()
    assert (listed.is_suppressed, listed.silenced_by) == (is_suppressed, silenced_by)
