"""The faults of PROTOCOLS 9.1 that are played against real hub processes, in the order of the matrix. What is shown by a test
elsewhere is not played again: README's table names that test."""

from __future__ import annotations

from tests.faults import changes, clocks, crashes, databases, doors, failover, providers, replicas
from tests.kit.faults.table import Scenario

POSTGRES = ("postgres",)
BOTH = ("sqlite", "postgres")

LITE = ("sqlite",)

SCENARIOS = (
    Scenario("F1", crashes.kill_deliveries, short=7, long=1008, databases=BOTH),
    Scenario("F2", replicas.rolling_restart, short=1, long=5, databases=POSTGRES, in_short=POSTGRES),
    Scenario("F3", databases.lost_commits, short=3, long=60, databases=POSTGRES, in_short=POSTGRES),
    *(Scenario("F3", play, short=1, long=30, databases=POSTGRES) for play in databases.ways().values()),
    Scenario("F4", failover.lagging, short=1, long=4, databases=POSTGRES, in_short=POSTGRES),
    Scenario("F4", failover.waiting, short=1, long=2, databases=POSTGRES),
    Scenario("F5", databases.full_disk, short=1, long=5, in_short=LITE),
    Scenario("F6", providers.rate_limited, short=1, long=3, databases=BOTH),
    Scenario("F7", providers.down, short=2, long=60, databases=BOTH),
    Scenario("F8", providers.hanging, short=1, long=10, databases=BOTH),
    Scenario("F9", providers.garbage, short=1, long=4, databases=BOTH, in_short=LITE),
    Scenario("F10", providers.reset_after_request, short=2, long=30, databases=BOTH, in_short=LITE),
    Scenario("F11", providers.permanent, short=1, long=3, databases=BOTH, in_short=LITE),
    Scenario("F12", clocks.jumps, short=1, long=3, databases=BOTH),
    Scenario("F12", clocks.first_word, short=1, long=3, databases=BOTH),
    Scenario("F12", clocks.skewed, short=1, long=3, databases=POSTGRES),
    Scenario("F13", replicas.doubled_senders, short=1, long=10, databases=POSTGRES, in_short=POSTGRES),
    Scenario("F16", doors.storms, short=100, long=1000, databases=BOTH),
    Scenario("F17", doors.fuzzed, short=500, long=100_000, databases=BOTH),
    Scenario("F18", doors.slowloris, short=500, long=500),
    Scenario("F19", replicas.paused, short=1, long=4, databases=POSTGRES),
    Scenario("F19", replicas.split, short=1, long=10, databases=POSTGRES, in_short=POSTGRES),
    Scenario("F23", replicas.away, short=30, long=400, databases=BOTH, in_short=LITE),
    Scenario("F24", changes.bad_reloads, short=1, long=5),
    Scenario("F25", changes.upgraded, short=1, long=2, databases=BOTH),
)
