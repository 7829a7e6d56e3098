"""Time zones by name."""

from zoneinfo import ZoneInfo

import pytest

from services.chassis.runtime.time_zones import load_time_zone


def test_a_zone_is_found_by_its_name() -> None:
    assert load_time_zone("Asia/Tokyo") == ZoneInfo("Asia/Tokyo")


@pytest.mark.parametrize("name", ["Nowhere/Land", "", "../etc/passwd", "Europe"])
def test_an_unknown_zone_is_utc(name: str) -> None:
    assert load_time_zone(name) == ZoneInfo("UTC")
