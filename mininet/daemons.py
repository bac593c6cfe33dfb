"""The daemons of a machine in a lab: Open vSwitch, and WireGuard's where the kernel has none.

``enter`` is what a command needs in front of it to run there, ``root`` where its files are seen from here.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from processes import LabError, Processes

SCHEMA = "/usr/share/openvswitch/vswitch.ovsschema"
SOCKET = "/run/openvswitch/db.sock"


def start_open_vswitch(processes: Processes, database: Path, enter: Sequence[str] = (), root: str = "") -> None:
    """With an empty database."""
    processes.run("lab", [*enter, "ovsdb-tool", "create", str(database), SCHEMA])
    command = ["ovsdb-server", str(database), f"--remote=punix:{SOCKET}", "--pidfile"]
    processes.start("ovsdb-server", [*enter, *command])
    processes.wait("ovsdb-server", lambda: os.path.exists(f"{root}{SOCKET}"))
    processes.run("lab", [*enter, "ovs-vsctl", "--no-wait", "init"])
    processes.start("ovs-vswitchd", [*enter, "ovs-vswitchd", f"unix:{SOCKET}", "--pidfile"])


def add_wireguard(processes: Processes, device: str, enter: Sequence[str], root: str = "") -> None:
    """A device without keys, by the kernel or, where it cannot, by wireguard-go."""
    try:
        processes.run("lab", [*enter, "ip", "link", "add", device, "type", "wireguard"])
    except LabError:
        name = f"wireguard-{device}"
        processes.start(name, [*enter, "wireguard-go", "--foreground", device])
        processes.wait(name, lambda: os.path.exists(f"{root}/run/wireguard/{device}.sock"))
