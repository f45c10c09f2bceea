"""Schedules of a file: what they compile to, and what is said of their gaps."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from alerthub.config.oncall import gap_warnings, schedules_of
from alerthub.domain.interval import Period
from alerthub.domain.schedule import Layer, Schedule, on_call
from tests.unit.config_files import REST, configured

NOW = datetime(2026, 11, 21, 3, 0, 30, tzinfo=UTC)      # a Saturday
PEOPLE = "people: [{name: ayse}, {name: mehmet}]\n"


def compiled(folder: Path, text: str) -> dict[str, Schedule]:
    return schedules_of(configured(folder, PEOPLE + text + "\n", rest=REST).model)


def warned(folder: Path, text: str, now: datetime = NOW) -> list[str]:
    config = configured(folder, PEOPLE + text + "\n", rest=REST)
    return [str(found).removeprefix(f"{folder}/alerthub.yml:") for found in gap_warnings(config.document, config.model, now)]


def test_a_layer_is_what_the_file_says(tmp_path: Path) -> None:
    found = compiled(tmp_path, """
schedules:
  - name: primary
    time_zone: Europe/Istanbul
    layers:
      - {rotation: weekly, handoff: "mon 09:00", people: [ayse, mehmet], start: 2026-11-23, name: base}
      - {rotation: custom, length: 3d, handoff: "18:30", people: [ayse], time_zone: Europe/Berlin,
         restrictions: [{times: [{start_time: "22:00", end_time: "24:00"}], weekdays: ["monday:friday"]}, {weekdays: [sunday]}]}
""")
    zone = "Europe/Berlin"
    assert found == {"primary": Schedule("primary", time_zone="Europe/Istanbul", layers=(
        Layer(("ayse", "mehmet"), "weekly", 1, 540, None, date(2026, 11, 23), "Europe/Istanbul", name="base"),
        Layer(("ayse",), "custom", None, 1110, timedelta(days=3), None, zone, (
            Period(times=((1320, 1440),), weekdays=((1, 5),), location=zone), Period(weekdays=((0, 0),), location=zone)))))}


@pytest.mark.parametrize(("handoff", "weekday", "minute"), [
    ("09:00", None, 540), ("sun 00:00", 0, 0), ("Monday 07:05", 1, 425), ("SAT 24:00", 6, 1440), ("wednesday 12:00", 3, 720)])
def test_the_hand_off_is_a_weekday_from_sunday_and_a_minute(
        tmp_path: Path, handoff: str, weekday: int | None, minute: int) -> None:
    (schedule,) = compiled(tmp_path, f"schedules: [{{name: p, layers: [{{handoff: '{handoff}', people: [ayse]}}]}}]").values()
    assert (schedule.layers[0].handoff_weekday, schedule.layers[0].handoff_minute) == (weekday, minute)


def test_a_hand_off_on_monday_is_on_a_monday(tmp_path: Path) -> None:
    (schedule,) = compiled(tmp_path, "schedules: [{name: p, layers: [{handoff: 'mon 09:00', people: [ayse, mehmet]}]}]").values()
    monday = datetime(2026, 11, 23, 9, tzinfo=UTC)
    assert on_call(schedule, (), monday) != on_call(schedule, (), monday - timedelta(seconds=1))


def test_a_file_without_schedules_has_none(tmp_path: Path) -> None:
    assert compiled(tmp_path, "") == {}
    assert warned(tmp_path, "") == []


def test_a_schedule_without_gaps_is_not_spoken_of(tmp_path: Path) -> None:
    assert warned(tmp_path, "schedules: [{name: p, layers: [{people: [ayse, mehmet]}]}]") == []


OFFICE = """schedules:
  - {name: always, layers: [{people: [ayse]}]}
  - name: office
    time_zone: Europe/Istanbul
    layers: [{people: [ayse], restrictions: [{times: [{start_time: "09:00", end_time: "18:00"}], weekdays: ["monday:friday"]}]}]
"""


def test_one_line_names_the_first_gaps_with_their_place(tmp_path: Path) -> None:
    assert warned(tmp_path, OFFICE) == [
        "4:5: schedule office: nobody is on call Sat 2026-11-21 06:00 – Mon 2026-11-23 09:00, Mon 2026-11-23 18:00 – "
        "Tue 2026-11-24 09:00 and 9 more in two weeks (Europe/Istanbul); put a layer without restrictions before the others, or "
        "let the escalation policy go on to somebody else"]


NOT_SATURDAYS = "schedules: [{name: p, layers: [{people: [ayse], restrictions: [{weekdays: ['sunday:friday']}]}]}]"


def test_two_gaps_are_named_and_the_others_counted(tmp_path: Path) -> None:
    (line,) = warned(tmp_path, NOT_SATURDAYS)
    assert ("nobody is on call Sat 2026-11-21 03:00 – Sun 2026-11-22 00:00, Sat 2026-11-28 00:00 – Sun 2026-11-29 00:00 "
            "and 1 more in two weeks (UTC)") in line
    (line,) = warned(tmp_path, NOT_SATURDAYS, NOW + timedelta(days=1))
    assert "Sat 2026-11-28 00:00 – Sun 2026-11-29 00:00, Sat 2026-12-05 00:00 – Sun 2026-12-06 00:00 (UTC)" in line
