"""What ``explain`` says of a packet is what becomes of it, in the LAN router's lab, with real packets."""

from __future__ import annotations

from pathlib import Path

from lab_reports import reports


def test_every_packet_takes_the_way_that_was_explained(tmp_path: Path) -> None:
    rounds = reports("tests/integration/explained.py", tmp_path, timeout=120)
    assert len(rounds) == 5
    for each in rounds:
        assert each["packets"] > 100 and {"xray", "vpn1", "vpn2", "wan"} <= set(each["ways"]), "every way is taken"
        assert not each["wrong"], each["policy"]
