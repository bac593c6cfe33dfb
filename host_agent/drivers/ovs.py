"""Open vSwitch by ovs-vsctl: one transaction to change, one run to read. Our rows carry an external id."""

from __future__ import annotations

import json
import shutil
import socket
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from host_agent.drivers.command import run
from host_agent.drivers.modules import kernel_has
from host_agent.errors import AgentError, CommandFailed, Missing
from host_agent.state import MESH_ETHERNET, OWNER, Bridge

TIMEOUT = 15  # seconds ovs-vswitchd has to carry a transaction out
ANSWER_TIME = 5.0  # seconds it has to say that it is there
RUN_DIRECTORY = Path("/run/openvswitch")
START = "start it: systemctl start openvswitch-switch"
MARK = f"external_ids:owner={OWNER}"


@dataclass(frozen=True)
class Reading:
    bridges: frozenset[Bridge]  # ours, with our ports
    strangers: frozenset[str]  # names of bridges and ports of others


NOTHING = Reading(frozenset(), frozenset())


def installed() -> bool:
    return shutil.which("ovs-vsctl") is not None


def there() -> bool:
    """Whether there can be a switch to look at."""
    return installed() and (RUN_DIRECTORY / "db.sock").exists()


def has_kernel_datapath() -> bool:
    return kernel_has("openvswitch")


def read(patience: float = ANSWER_TIME) -> Reading:
    """Raises Missing if Open vSwitch does not run: its database, or, within ``patience`` seconds, ovs-vswitchd, which
    does what stands there."""
    found = read_database()
    if not any(_answers(path, patience) for path in RUN_DIRECTORY.glob("ovs-vswitchd.*.ctl")):
        raise Missing(f"ovs-vswitchd does not answer; {START}")
    return found


def read_database() -> Reading:
    """What is wanted of the switch, by its database. Raises Missing if that does not answer."""
    columns = {
        "Bridge": "name,datapath_type,fail_mode,protocols,controller,other_config,external_ids,ports",
        "Port": "_uuid,name,external_ids",
        "Controller": "_uuid,target,max_backoff,connection_mode",
    }
    command = ["ovs-vsctl", f"--timeout={TIMEOUT}", "--format=json"]
    for table, names in columns.items():
        command += ["--", f"--columns={names}", "list", table]
    try:
        answer = run(command)
    except CommandFailed as error:
        raise Missing(f"Open vSwitch does not answer; {START} ({error})") from None
    bridges, ports, controllers = (_rows(line) for line in answer.splitlines())
    return _reading(bridges, {row["_uuid"]: row for row in ports}, {row["_uuid"]: row for row in controllers})


def _answers(path: Path, patience: float) -> bool:
    """Whether a daemon answers at its control socket, as ovs-appctl(8) asks: JSON-RPC, RFC 7047. One that ended leaves
    the socket behind, and a database that is as we want it."""
    with suppress(OSError), socket.socket(socket.AF_UNIX) as control:
        control.settimeout(patience)
        control.connect(str(path))
        control.sendall(b'{"id":0,"method":"version","params":[]}')
        return bool(control.recv(1))
    return False


def _reading(bridges: list[Any], ports: dict[str, Any], controllers: dict[str, Any]) -> Reading:
    ours, strangers = set(), set()
    for row in bridges:
        on_bridge = [ports[uuid] for uuid in _many(row["ports"])]
        marked = {port["name"] for port in on_bridge if _is_ours(port)}
        strangers |= {port["name"] for port in on_bridge} - marked
        if not _is_ours(row):
            strangers.add(row["name"])
            continue
        strangers.discard(row["name"])  # the LOCAL port, which comes with the bridge
        found = [controllers[uuid] for uuid in _many(row["controller"])]
        ours.add(
            Bridge(
                row["name"],
                "netdev" if row["datapath_type"] == "netdev" else "system",
                frozenset(marked),
                " ".join(_many(row["fail_mode"])),
                tuple(_many(row["protocols"])),
                " ".join(controller["target"] for controller in found),
                max((int(n) for controller in found for n in _many(controller["max_backoff"])), default=0),
                " ".join(mode for controller in found for mode in _many(controller["connection_mode"])),
                row["other_config"].get("disable-in-band") == "true",
                _datapath_id(row["other_config"]),
            )
        )
    return Reading(frozenset(ours), frozenset(strangers))


def change(bridge: Bridge, new_ports: Iterable[str], new_controller: bool) -> None:
    """Create or correct the bridge with its ports, in one transaction: it never runs with half of its settings."""
    _transact(change_words(bridge, new_ports, new_controller))


def change_words(bridge: Bridge, new_ports: Iterable[str], new_controller: bool) -> list[str]:
    """What ovs-vsctl(8) is told for it."""
    name = bridge.name
    words = ["--may-exist", "add-br", name]
    words += ["--", "set", "Bridge", name, f"datapath_type={bridge.datapath_type}", f"fail_mode={bridge.fail_mode}"]
    words += [f"protocols={','.join(bridge.protocols)}", MARK]
    words += [f"other_config:disable-in-band={'true' if bridge.disable_in_band else 'false'}"]
    if bridge.datapath_id is not None:
        words += [f"other_config:datapath-id={bridge.datapath_id:016x}"]
    else:
        words += ["--", "remove", "Bridge", name, "other_config", "datapath-id"]
    if new_controller:
        words += ["--", "set-controller", name, bridge.controller]
        words += ["--", "set", "Controller", name, f"max_backoff={bridge.max_backoff}"]
        words += [f"connection_mode={bridge.connection_mode}"]
    for port in sorted(new_ports):
        words += _add_port(name, port, internal=port not in bridge.adopted)
        if port in bridge.mesh:
            words += ["--", "set", "Interface", port, f'mac="{MESH_ETHERNET}"']
    return words


def replug(bridge: str, port: str) -> None:
    """Give a port a new device: the old one went away with its namespace."""
    ethernet = run(["ovs-vsctl", f"--timeout={TIMEOUT}", *ethernet_question(port)]).strip()
    for words in replug_words(bridge, port, ethernet or "[]"):
        _transact(words)


def ethernet_question(port: str) -> list[str]:
    return ["--if-exists", "get", "Interface", port, "mac"]


def replug_words(bridge: str, port: str, ethernet: str) -> tuple[list[str], list[str]]:
    """What ovs-vsctl(8) is told for it, in two transactions; ``ethernet`` as it answers ``ethernet_question``."""
    again = [*_add_port(bridge, port)[1:], "--", "set", "Interface", port, f"mac={ethernet}"]
    return removal_words(bridge, [port]), again


def remove_ports(bridge: str, ports: Iterable[str]) -> None:
    _transact(removal_words(bridge, ports))


def removal_words(bridge: str, ports: Iterable[str]) -> list[str]:
    words: list[str] = []
    for port in sorted(ports):
        words += ["--", "--if-exists", "del-port", bridge, port]
    return words[1:]


def remove_bridge(name: str) -> None:
    _transact(["--if-exists", "del-br", name])


def _add_port(bridge: str, port: str, internal: bool = True) -> list[str]:
    kind = ["--", "set", "Interface", port, "type=internal"] if internal else []
    return ["--", "add-port", bridge, port, *kind, "--", "set", "Port", port, MARK]


def _datapath_id(other_config: dict[str, str]) -> int | None:
    text = other_config.get("datapath-id", "")
    return int(text, 16) if text else None


def _transact(words: list[str]) -> None:
    """One transaction, carried out when this returns. Raises AgentError if ovs-vswitchd does not do its part."""
    try:
        run(["ovs-vsctl", f"--timeout={TIMEOUT}", "--", *words])
    except CommandFailed as error:
        if error.ended:
            raise
        raise AgentError(f"ovs-vswitchd does not answer; see: systemctl status openvswitch-switch ({error})") from None


def _rows(line: str) -> list[dict[str, Any]]:
    table = json.loads(line)
    return [dict(zip(table["headings"], map(_plain, row), strict=True)) for row in table["data"]]


def _plain(value: Any) -> Any:
    """RFC 7047 notation to plain values: a set to a list (but one of a single item stands bare), a map to a dict."""
    match value:
        case ["uuid", text]:
            return text
        case ["set", items]:
            return [_plain(item) for item in items]
        case ["map", pairs]:
            return dict(pairs)
    return value


def _many(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _is_ours(row: dict[str, Any]) -> bool:
    return bool(row["external_ids"].get("owner") == OWNER)
