"""WireGuard devices, in the kernel where it has WireGuard, else by wireguard-go.

A device's UDP socket stays in the namespace where the device was created. Ours are created on the node and then
moved, so that a hop's namespace needs no uplink. Keys go through netlink or a unix socket, never through arguments.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

from host_agent.drivers import daemon, netlink_change, uapi
from host_agent.drivers.modules import kernel_has
from host_agent.drivers.namespaces import Namespaces
from host_agent.errors import AgentError
from host_agent.peers import WireGuardChange
from host_agent.state import NODE, Daemon, Endpoint, Link, Peer, Secret, WireGuardDevice

SOCKETS = Path("/run/wireguard")
PROGRAM = "wireguard-go"
START_TIME = 10.0  # seconds until the control socket must answer
ANSWER_TIME = 5.0


def in_kernel() -> bool:
    """Whether the kernel makes WireGuard devices itself."""
    return kernel_has("wireguard")


def process_name(device: str) -> str:
    """The name of the process of a userspace device."""
    return f"wireguard-{device}"


def create(namespaces: Namespaces, link: Link, namespace: str, log: str) -> None:
    """A new device, made on the node, marked, and moved into the namespace; still down. Raises AgentError."""
    node = namespaces.netlink(NODE)
    if in_kernel():
        netlink_change.create(node, link.name, "wireguard")
    else:
        _start(link.name, log)
    netlink_change.move(node, link.name, namespaces.path(namespace))


def remove(namespaces: Namespaces, name: str, namespace: str) -> None:
    if not daemon.stop(process_name(name)):
        netlink_change.remove_link(namespaces.netlink(namespace), name)


def read(namespaces: Namespaces, name: str, namespace: str) -> uapi.Reading | None:
    """The device's settings and its peers' traffic; None if nothing answers for it."""
    if (SOCKETS / f"{name}.sock").exists():
        with suppress(OSError, ValueError):
            return uapi.parse_get(name, _talk(name, "get=1\n\n"))
    with suppress(OSError), namespaces.inside(namespace), _kernel() as kernel:
        return from_netlink(name, kernel.info(name))
    return None


def configure(namespaces: Namespaces, name: str, namespace: str, change: WireGuardChange) -> None:
    if (SOCKETS / f"{name}.sock").exists():
        answer = _talk(name, uapi.render_set(change))
        if "errno=0" not in answer:
            raise AgentError(f"{name}: the WireGuard process refuses its settings: {answer.strip()}")
        return
    with namespaces.inside(namespace), _kernel() as kernel:
        key = change.private_key.text if change.private_key else None
        kernel.set(name, private_key=key, listen_port=change.listen_port)
        for peer in change.peers:
            kernel.set(name, peer=for_netlink(peer))
        for public_key in change.removed:
            kernel.set(name, peer={"public_key": public_key, "remove": True})


@contextmanager
def _kernel() -> Iterator[Any]:
    """A conversation with the kernel's own WireGuard. Raises OSError for what it refuses."""
    from pyroute2 import WireGuard  # takes long to load, and is of use only where the kernel has WireGuard
    from pyroute2.netlink.exceptions import NetlinkError

    try:
        with WireGuard() as kernel:
            yield kernel
    except NetlinkError as error:
        raise OSError(error.code, str(error)) from error


def _start(name: str, log: str) -> None:
    process = Daemon(process_name(name), (PROGRAM, "--foreground", name), NODE, log)
    SOCKETS.mkdir(parents=True, exist_ok=True, mode=0o700)
    daemon.wait_until("answer", process, daemon.start(process), lambda: _answers(name), START_TIME)


def _answers(name: str) -> bool:
    with suppress(OSError):
        return bool(_talk(name, "get=1\n\n"))
    return False


def _talk(name: str, question: str) -> str:
    """One exchange on the control socket: the answer ends with an empty line."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(ANSWER_TIME)
        connection.connect(str(SOCKETS / f"{name}.sock"))
        connection.sendall(question.encode())
        answer = b""
        while not answer.endswith(b"\n\n"):
            piece = connection.recv(65536)
            if not piece:
                break
            answer += piece
    return answer.decode()


def for_netlink(peer: Peer) -> dict[str, Any]:
    """The peer as pyroute2 takes it."""
    words: dict[str, Any] = {
        "public_key": peer.public_key,
        "preshared_key": peer.preshared_key.text if peer.preshared_key else uapi.NO_KEY,
        "persistent_keepalive": peer.keepalive,
        "replace_allowed_ips": True,
        "allowed_ips": [str(network) for network in sorted(peer.allowed_ips, key=str)],
    }
    for endpoint in peer.endpoints[:1]:
        words |= {"endpoint_addr": str(endpoint.address), "endpoint_port": endpoint.port}
    return words


def from_netlink(name: str, messages: Any) -> uapi.Reading:
    """What the kernel's answer says; a device with many peers comes in several messages."""
    private, port = "", 0
    peers: dict[str, Peer] = {}
    traffic: dict[str, uapi.Traffic] = {}
    for message in messages:
        private = _text(message.get("WGDEVICE_A_PRIVATE_KEY")) or private
        port = message.get("WGDEVICE_A_LISTEN_PORT") or port
        for found in message.get("WGDEVICE_A_PEERS") or ():
            key = _text(found.get("WGPEER_A_PUBLIC_KEY"))
            preshared = _text(found.get("WGPEER_A_PRESHARED_KEY"))
            at = found.get("WGPEER_A_ENDPOINT")
            endpoint = Endpoint(ip_address(at["addr"]), at["port"]) if at else None
            networks = {ip_network(item["addr"]) for item in found.get("WGPEER_A_ALLOWEDIPS") or ()}
            earlier = peers[key].allowed_ips if key in peers else frozenset()
            peers[key] = Peer(
                key,
                Secret(preshared) if preshared not in ("", uapi.NO_KEY) else None,
                earlier | networks,
                (endpoint,) if endpoint else (),
                found.get("WGPEER_A_PERSISTENT_KEEPALIVE_INTERVAL") or 0,
            )
            handshake = found.get("WGPEER_A_LAST_HANDSHAKE_TIME")
            traffic[key] = uapi.Traffic(
                key,
                str(endpoint) if endpoint else None,
                handshake["tv_sec"] if handshake else 0,
                found.get("WGPEER_A_RX_BYTES") or 0,
                found.get("WGPEER_A_TX_BYTES") or 0,
            )
    device = WireGuardDevice(name, Secret(private), port, frozenset(peers.values()))
    return uapi.Reading(device, tuple(traffic.values()))


def _text(value: Any) -> str:
    value = value["value"] if isinstance(value, dict) else value
    return value.decode() if isinstance(value, bytes) else value or ""
