"""Documents of many function routes, for tests and benches."""

from __future__ import annotations

import json
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

EXAMPLE = Path(__file__).resolve().parents[1] / "policies/documents/privacy-router.json"
FIRST = IPv4Address("100.64.0.10")


def large_document(routes: int, sockets: int = 20) -> tuple[str, tuple[str, ...]]:
    """The example with this many function routes over so many sockets, and the ports of its bridge."""
    whole: Any = json.loads(EXAMPLE.read_text())
    router = whole["privacy_router"]
    names = tuple(f"internal_{200 + number}" for number in range(sockets))
    router["netmaker"]["subnet"] = "100.64.0.0/14"
    router["containers"] = []
    router["socket_networking"]["mesh_sockets"] = [
        {"name": name, "container_id": 200 + number} for number, name in enumerate(names)
    ]
    router["openflow"]["function_routing"] = [
        {
            "function": f"function_{number}",
            "target_socket": names[number % sockets],
            "match_fields": {"ip": f"nw_dst={FIRST + number}"},
        }
        for number in range(routes)
    ]
    return json.dumps(whole, indent=1), ("internal_100", "warp0", "internal_101", *names, "nm-privacy")
