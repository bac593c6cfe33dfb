"""The example with a second gateway, 102, and a second Xray client, 103."""

from __future__ import annotations

from typing import Any


def with_further(router: dict[str, Any]) -> None:
    """A change for ``policy_documents.policy``."""
    router["wireguard"]["further"] = [{"container_id": 102, "listen_port": 51821, "client_subnet": "10.100.1.0/24"}]
    router["xray"]["further"] = [{"container_id": 103}]
    router["socket_networking"]["privacy_sockets"] += [
        {"name": f"internal_{number}", "container_id": number, "port_type": "privacy"} for number in (102, 103)
    ]
