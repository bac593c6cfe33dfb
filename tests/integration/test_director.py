"""The director beside other people's rules on one router."""

from __future__ import annotations

from typing import Any

import pytest
from lab_reports import reports


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    return {
        each["test"]: each for each in reports("mininet/lan_strangers.py", tmp_path_factory.mktemp("lan"), timeout=120)
    }


def test_stop_leaves_the_machine_byte_for_byte_as_it_was(found: dict[str, dict[str, Any]]) -> None:
    """With strangers' rules at our preferences, in our tables and chains; and a second apply writes nothing."""
    assert found["stop"]["differences"] == []


def test_the_jumps_stand_where_the_document_says(found: dict[str, dict[str, Any]]) -> None:
    """XRAY_TPROXY first; TUN_DIR behind the last interface mark of the system, also one that came later."""
    assert found["order"]["rules"] == ["XRAY_TPROXY", "RETURN", "MARK", "MINE", "MARK", "TUN_DIR", "MARK"]
    assert found["order"]["answers"] == ["vpn1", "xray"]


def test_what_belongs_to_others_is_refused_before_anything_is_touched(found: dict[str, dict[str, Any]]) -> None:
    said = found["collisions"]["said"]
    assert [line.split(" is not ours")[0].split(" (")[0] for line in said] == [
        "node: ip rule pref 5210 fwmark 0x10000/0xff0000",
        "node: ip rule pref 5211 fwmark 0x1000000/0x1000000",
        "node: route local default dev lo table 101",
        "node: iptables mangle TAKEN",
        "node: ipset THEIRS",
    ]
    assert found["collisions"]["answers"] == ["vpn1", "xray"], "when they are gone, it works"
