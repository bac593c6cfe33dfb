"""What is said to a WireGuard device: only what differs, and the same over the control socket's text."""

from __future__ import annotations

import shlex
import socket
from base64 import b64decode, b64encode
from dataclasses import replace
from ipaddress import ip_address, ip_network
from pathlib import Path
from threading import Thread

import pytest
from host_examples import key
from pyroute2.netlink.generic.wireguard import AsyncWireGuard, wgmsg

from host_agent.drivers import wireguard
from host_agent.drivers.namespaces import Namespaces
from host_agent.drivers.uapi import parse_get, render_set
from host_agent.drivers.wireguard import for_netlink, from_netlink
from host_agent.peers import WireGuardChange, change
from host_agent.state import NODE, Endpoint, Peer, Secret, WireGuardDevice
from host_agent.steps import ConfigureWireGuard

NETWORK = frozenset({ip_network("10.100.0.2/32"), ip_network("fd00:100::2/128")})
HERE = Endpoint(ip_address("198.51.100.1"), 2408)
THERE = Endpoint(ip_address("2001:db8::1"), 2408)
PEER = Peer(key(2), Secret(key(3)), NETWORK, (HERE,), 25)
DEVICE = WireGuardDevice("wg0", Secret(key(1)), 51820, frozenset({PEER}))


def hexadecimal(text: str) -> str:
    return b64decode(text).hex()


def test_nothing_differs() -> None:
    assert not change(DEVICE, DEVICE)


def test_a_new_device_is_told_everything() -> None:
    assert change(DEVICE, None) == WireGuardChange(Secret(key(1)), 51820, (PEER,), ())


def test_a_device_without_a_key_is_told_its_key() -> None:
    """As an apply that was killed leaves it, or whoever took its key away."""
    without = parse_get("wg100", "listen_port=51820\nerrno=0\n\n").device
    assert change(DEVICE, without) == WireGuardChange(Secret(key(1)), None, (PEER,), ())
    assert change(without, DEVICE) == WireGuardChange(None, None, (), (key(2),)), (
        "the former state had none to give back"
    )
    assert not change(without, None).private_key


def test_only_the_changed_peer_is_named() -> None:
    for differing in ({"preshared_key": None}, {"allowed_ips": frozenset()}, {"keepalive": 0}):
        assert change(DEVICE, replace(DEVICE, peers=frozenset({replace(PEER, **differing)}))).peers == (PEER,)
    other = Peer(key(9), None, NETWORK)
    found = replace(DEVICE, peers=frozenset({replace(PEER, keepalive=0), other}))
    assert change(DEVICE, found) == WireGuardChange(None, None, (PEER,), (key(9),))


def test_any_of_several_endpoints_will_do_and_a_roaming_peer_is_left_alone() -> None:
    wanted = replace(DEVICE, peers=frozenset({replace(PEER, endpoints=(THERE, HERE))}))
    assert not change(wanted, DEVICE)
    assert change(replace(DEVICE, peers=frozenset({replace(PEER, endpoints=(THERE,))})), DEVICE).peers
    roaming = replace(DEVICE, peers=frozenset({replace(PEER, endpoints=())}))
    assert not change(roaming, DEVICE)
    assert change(DEVICE, roaming).peers, "a peer that was wanted somewhere has no endpoint"


def test_a_key_reads_back_with_its_fixed_bits_set() -> None:
    raw = bytearray(b64decode(key(1)))
    raw[0], raw[31] = raw[0] & 248, (raw[31] & 127) | 64
    found = replace(DEVICE, private_key=Secret(b64encode(raw).decode()))
    assert found != DEVICE and not change(DEVICE, found)
    assert change(DEVICE, replace(DEVICE, private_key=Secret(key(9)))).private_key


def test_any_port_will_do_if_none_is_wanted() -> None:
    assert not change(replace(DEVICE, listen_port=None), DEVICE)


def test_words_of_a_change_hold_no_secret() -> None:
    assert str(change(DEVICE, None)) == f"private key, port 51820, peer {key(2)}"
    shown = str(change(DEVICE, None)) + repr(change(DEVICE, None))
    assert key(1) not in shown and key(3) not in shown


def test_the_command_for_a_peer_leaves_nothing_of_what_it_had() -> None:
    peer = Peer(key(2), endpoints=(THERE,))
    (line,) = ConfigureWireGuard("warp", "wgcf", WireGuardChange(peers=(peer,))).commands()
    assert shlex.split(line)[5:] == [
        *("set", "wgcf", "peer", key(2), "allowed-ips", "", "endpoint", "[2001:db8::1]:2408"),
        *("persistent-keepalive", "0", "preshared-key", "/dev/null"),
    ]


def test_set_as_text() -> None:
    text = render_set(change(DEVICE, replace(DEVICE, private_key=Secret(key(8)), peers=frozenset({Peer(key(9))}))))
    assert text.splitlines() == [
        "set=1",
        f"private_key={hexadecimal(key(1))}",
        f"public_key={hexadecimal(key(2))}",
        f"preshared_key={hexadecimal(key(3))}",
        "endpoint=198.51.100.1:2408",
        "persistent_keepalive_interval=25",
        "replace_allowed_ips=true",
        "allowed_ip=10.100.0.2/32",
        "allowed_ip=fd00:100::2/128",
        f"public_key={hexadecimal(key(9))}",
        "remove=true",
        "",
    ]
    assert text.endswith("\n\n")


def test_an_ipv6_endpoint_is_in_brackets() -> None:
    text = render_set(WireGuardChange(peers=(replace(PEER, endpoints=(THERE,)),)))
    assert "endpoint=[2001:db8::1]:2408\n" in text


def test_get_as_text() -> None:
    answer = whole_answer()
    reading = parse_get("wg0", answer)
    assert reading.device == replace(DEVICE, peers=frozenset({PEER, Peer(key(4))}))
    seen = reading.traffic[0]
    assert (seen.endpoint, seen.handshake, seen.received, seen.sent) == ("198.51.100.1:2408", 1700000000, 22, 11)
    assert reading.traffic[1].handshake == 0


def whole_answer() -> str:
    return "\n".join(
        [
            f"private_key={hexadecimal(key(1))}",
            "listen_port=51820",
            f"public_key={hexadecimal(key(2))}",
            f"preshared_key={hexadecimal(key(3))}",
            "protocol_version=1",
            "endpoint=198.51.100.1:2408",
            "last_handshake_time_sec=1700000000",
            "last_handshake_time_nsec=5",
            "tx_bytes=11",
            "rx_bytes=22",
            "persistent_keepalive_interval=25",
            "allowed_ip=10.100.0.2/32",
            "allowed_ip=fd00:100::2/128",
            f"public_key={hexadecimal(key(4))}",
            "preshared_key=" + "0" * 64,
            "errno=0",
        ]
    )


def test_the_kernels_netlink_says_the_same() -> None:
    """What is sent to a kernel device, read back as the kernel would answer."""
    message = wgmsg()
    message["cmd"] = 0
    message["attrs"] = [["WGDEVICE_A_PRIVATE_KEY", key(1)], ["WGDEVICE_A_LISTEN_PORT", 51820]]
    AsyncWireGuard._wg_set_peer(AsyncWireGuard.__new__(AsyncWireGuard), message, for_netlink(PEER))
    message.encode()
    answer = wgmsg(message.data)
    answer.decode()
    reading = from_netlink("wg0", [answer])
    assert reading.device == DEVICE
    assert reading.traffic[0].endpoint == str(HERE)


def test_an_answer_that_is_an_error_or_breaks_off_says_nothing_of_the_device() -> None:
    for answer in ("errno=22\n\n", *(whole_answer()[:end] for end in range(len(whole_answer())))):
        with pytest.raises(ValueError, match="no whole answer"):
            parse_get("wg0", answer)


def test_a_process_that_ends_while_it_answers_is_one_that_does_not_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wireguard, "SOCKETS", tmp_path)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "wg9.sock"))
        listening.listen()

        def answer() -> None:
            with listening.accept()[0] as connection:
                connection.recv(65536)
                connection.sendall(whole_answer()[:150].encode())

        process = Thread(target=answer)
        process.start()
        assert wireguard.read(Namespaces({}), "wg9", NODE) is None
        process.join()
