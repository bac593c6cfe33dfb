"""What the five roles want of a machine for the document's example: the chain as docs/architecture.md describes it."""

from __future__ import annotations

import re
from dataclasses import replace
from ipaddress import IPv4Address

import pytest
from host_examples import FACTS, KEYS, POLICY, SERVER, WGCF, key, wanted

from host_agent.errors import Refused
from host_agent.facts.profile import read_profile
from host_agent.facts.values import public_key
from host_agent.state import Bridge, Chain, HostState, WireGuardDevice
from policies.model import Warp, WireGuard, Xray


def words(items: object) -> set[str]:
    return {str(item) for item in items}  # type: ignore[attr-defined]


def rules_of(state: HostState, namespace: str, family: str, table: str, name: str) -> list[str]:
    (chain,) = (c for c in state.namespaces[namespace].chains if c.key == (family, table, name))
    return [re.sub(' -m comment --comment "[^"]*"', "", rule.arguments) for rule in chain.rules]


def device_of(state: HostState, namespace: str) -> WireGuardDevice:
    (device,) = state.namespaces[namespace].wireguard
    return device


def test_bridge_is_secure_and_has_all_ports() -> None:
    assert wanted().bridges == {
        Bridge("ovsbr0", "netdev", frozenset({"internal_100", "internal_101", "internal_200", "internal_201", "warp0"}))
    }
    (bridge,) = wanted().bridges
    assert (bridge.fail_mode, bridge.protocols, bridge.controller) == ("secure", ("OpenFlow13",), "tcp:127.0.0.1:6653")
    assert (bridge.max_backoff, bridge.connection_mode, bridge.disable_in_band) == (1000, "out-of-band", True)


def test_each_namespace_has_its_links_and_addresses() -> None:
    found = {name: words(state.addresses) for name, state in wanted().namespaces.items()}
    assert found == {
        "ct100": {
            "address 10.99.0.100/24 dev internal_100",
            "address 10.100.0.1/24 dev wg100",
            "address fd00:100::1/64 dev wg100",
        },
        "warp": {"address 10.99.0.1/24 dev warp0", "address 172.16.0.2/32 dev wgcf"},
        "ct101": {"address 10.99.0.101/24 dev internal_101"},
        "ct200": {"address 100.104.70.10/24 dev internal_200"},
        "ct201": {"address 100.104.70.11/24 dev internal_201"},
    }
    created = {name for name, state in wanted().namespaces.items() if state.created}
    assert created == {"ct100", "warp", "ct101"}, "a mesh container's namespace is never ours to make"


def test_routes_and_rules() -> None:
    state = wanted().namespaces
    last = "metric 4278198272"
    assert words(state["ct100"].routes) == {
        "route default via 10.99.0.1 dev internal_100 table main",
        f"route unreachable default table main {last}",
    }
    assert words(state["warp"].rules) == {
        "ip rule pref 210 iif warp0 from 10.100.0.0/24 lookup 1001",
        "ip rule pref 220 iif warp0 from 10.99.0.101/32 lookup 1002",
    }
    assert words(state["warp"].routes) == {
        "route default via 10.99.0.101 dev warp0 table 1001",
        f"route unreachable default table 1001 {last}",
        "route default dev wgcf table 1002",
        "route 10.100.0.0/24 via 10.99.0.100 dev warp0 table 1002",
        f"route unreachable default table 1002 {last}",
        "route 10.100.0.0/24 via 10.99.0.100 dev warp0 table main",
        f"route unreachable default table main {last}",
    }
    assert words(state["ct101"].rules) == {"ip rule pref 200 iif internal_101 fwmark 0x100/0x100 lookup 100"}
    assert words(state["ct101"].routes) == {
        "route local default dev lo table 100",
        "route 10.100.0.0/24 via 10.99.0.1 dev internal_101 table main",
        "route default via 10.99.0.1 dev internal_101 table main",
        f"route unreachable default table main {last}",
    }
    assert not state["ct200"].routes | state["ct201"].routes


def test_tproxy_chain_is_in_the_documents_order() -> None:
    rules = rules_of(wanted(), "ct101", "ipv4", "mangle", "XRAY_TPROXY")
    assert rules[:2] == [
        "-m set ! --match-set XRAY_CLIENTS src -j RETURN",
        "-m set --match-set XRAY_SERVERS dst -j RETURN",
    ]
    assert [rule.split()[1] for rule in rules[2:-2]] == [
        "127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16", "224.0.0.0/4",
        "255.255.255.255/32", "0.0.0.0/8", "100.64.0.0/10", "192.0.0.0/24", "198.18.0.0/15", "240.0.0.0/4",
    ]  # fmt: skip
    assert rules[-2:] == [
        "-p tcp -j TPROXY --on-port 12345 --tproxy-mark 0x100/0x100",
        "-p udp -j TPROXY --on-port 12345 --tproxy-mark 0x100/0x100",
    ]
    assert rules_of(wanted(), "ct101", "ipv4", "mangle", "PREROUTING") == ["-j XRAY_TPROXY"]


def test_sets_hold_clients_and_servers() -> None:
    sets = {s.name: set(s.prefixes) for s in wanted().namespaces["ct101"].sets}
    assert sets == {"XRAY_CLIENTS": {"10.100.0.0/24"}, "XRAY_SERVERS": {"203.0.113.10/32"}}


def test_warp_hop_translates_only_into_the_tunnel() -> None:
    state = wanted()
    assert rules_of(state, "warp", "ipv4", "nat", "POSTROUTING") == ["-o wgcf -j MASQUERADE"]
    clamp = "-p tcp -m tcp --tcp-flags SYN,RST SYN -j TCPMSS --clamp-mss-to-pmtu"
    assert rules_of(state, "warp", "ipv4", "mangle", "FORWARD") == [f"-o wgcf {clamp}", f"-i wgcf {clamp}"]
    closed = ["-i wgcf -m conntrack ! --ctstate ESTABLISHED,RELATED -j DROP"]
    assert rules_of(state, "warp", "ipv4", "filter", "FORWARD") == closed
    assert rules_of(state, "warp", "ipv4", "filter", "INPUT") == closed


def test_ipv6_of_clients_is_dropped() -> None:
    assert rules_of(wanted(), "ct100", "ipv6", "mangle", "PREROUTING") == ["-i wg100 -j DROP"]


def test_a_kernel_without_ipv6_is_asked_for_none() -> None:
    for name, state in wanted(ipv6=False).namespaces.items():
        assert all(address.interface.version == 4 for address in state.addresses), name
        assert all(chain.family == "ipv4" for chain in state.chains), name
        assert not [setting.key for setting in state.sysctls if "ipv6" in setting.key], name


def test_sysctls_forward_only_where_packets_pass() -> None:
    settings = {name: {s.key: s.value for s in state.sysctls} for name, state in wanted().namespaces.items()}
    assert {name: values.get("net/ipv4/ip_forward") for name, values in settings.items()} == {
        "ct100": "1", "warp": "1", "ct101": "0", "ct200": None, "ct201": None,
    }  # fmt: skip
    assert settings["ct101"]["net/ipv4/conf/all/src_valid_mark"] == "0"
    assert settings["warp"]["net/ipv4/conf/wgcf/rp_filter"] == "0"
    assert settings["warp"]["net/ipv6/conf/wgcf/disable_ipv6"] == "1"


def test_gateway_device_knows_the_first_client() -> None:
    device = device_of(wanted(), "ct100")
    (peer,) = device.peers
    assert (device.name, device.private_key, device.listen_port) == ("wg100", KEYS.private_key, 51820)
    assert peer.public_key == public_key(KEYS.client_key)
    assert peer.preshared_key == KEYS.client_preshared_key
    assert words(peer.allowed_ips) == {"10.100.0.2/32", "fd00:100::2/128"}
    assert peer.endpoints == ()


def test_client_profile() -> None:
    (file,) = (file for file in wanted().files if file.path == "/state/clients/client-1.conf")
    assert file.mode == 0o600
    text = file.content.decode()
    profile = read_profile(text, file.path)
    (peer,) = profile.peers
    assert profile.private_key == KEYS.client_key
    assert words(profile.addresses) == {"10.100.0.2/32", "fd00:100::2/128"}
    assert peer.public_key == public_key(KEYS.private_key)
    assert words(peer.allowed_ips) == {"0.0.0.0/0", "::/0"}
    assert peer.endpoint == ("192.0.2.7", 51820)
    assert "DNS = 9.9.9.9\n" in text and "PersistentKeepalive = 25\n" in text


def test_client_profile_waits_for_an_address_to_dial() -> None:
    state = wanted(client_endpoint=None)
    assert not [file for file in state.files if "clients" in file.path]
    assert "/state/clients/client-1.conf waits for an address to dial: set wireguard.endpoint" in state.waiting
    named = replace(POLICY, wireguard=replace(POLICY.wireguard, endpoint="vpn.example.org"))
    (file,) = (file for file in wanted(named).files if "clients" in file.path)
    assert b"Endpoint = vpn.example.org:51820\n" in file.content


def test_own_keys_instead_of_zero_config() -> None:
    policy = replace(POLICY, wireguard=replace(POLICY.wireguard, zero_config=False))
    profile = read_profile(
        f"[Interface]\nPrivateKey={key(7)}\nListenPort=1\n[Peer]\nPublicKey={key(8)}\nAllowedIPs=10.100.0.9/32\n", "f"
    )
    state = wanted(policy, gateway_profiles={100: profile})
    device = device_of(state, "ct100")
    assert device.private_key.text == key(7)
    assert [(peer.public_key, words(peer.allowed_ips)) for peer in device.peers] == [(key(8), {"10.100.0.9/32"})]
    assert not [file for file in state.files if "clients" in file.path]


def test_warp_device_takes_only_the_tunnel_from_the_profile() -> None:
    device = device_of(wanted(), "warp")
    (peer,) = device.peers
    assert (device.name, device.private_key.text, device.listen_port) == ("wgcf", key(1), None)
    assert (peer.public_key, list(map(str, peer.endpoints)), peer.keepalive) == (key(2), ["198.51.100.1:2408"], 25)
    assert "pwned" not in repr(wanted()) and "1.1.1.1" not in repr(device)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda text: text.replace("Endpoint = engage.example.net:2408\n", ""),
        lambda text: text.replace("Address = 172.16.0.2/32\n", ""),
        lambda text: text[: text.index("[Peer]")],
    ],
)
def test_warp_profile_that_makes_no_tunnel_is_refused(spoil: object) -> None:
    text = spoil(WGCF)  # type: ignore[operator]
    with pytest.raises(Refused, match="WARP profile"):
        wanted(warp_profile=read_profile(text, "wgcf-profile.conf"))


def test_missing_mesh_container_waits_and_its_port_is_not_made() -> None:
    state = wanted(namespaces={"ct201": "/proc/77/ns/net"})
    assert "internal_200 waits for container 200" in state.waiting
    (bridge,) = state.bridges
    assert "internal_200" not in bridge.ports and "internal_201" in bridge.ports
    assert "ct200" not in state.namespaces and "ct201" in state.namespaces


def test_without_xray_clients_leave_by_warp() -> None:
    state = wanted(replace(POLICY, xray=Xray(enabled=False)), xray=None)
    assert words(state.namespaces["warp"].rules) == {"ip rule pref 210 iif warp0 from 10.100.0.0/24 lookup 1001"}
    assert "route default dev wgcf table 1001" in words(state.namespaces["warp"].routes)
    assert "ct101" not in state.namespaces and not state.daemons


def test_without_warp_there_is_no_way_on() -> None:
    policy = replace(POLICY, warp=Warp(enabled=False))
    with pytest.raises(Refused, match=r"warp\.enabled"):
        wanted(policy, warp_profile=None)
    with pytest.raises(Refused, match=r"warp\.enabled"):
        wanted(replace(policy, wireguard=WireGuard(enabled=False)), warp_profile=None)


def test_every_server_address_is_bypassed_and_order_of_dns_changes_nothing() -> None:
    two = (IPv4Address("203.0.113.9"), IPv4Address("203.0.113.10"))
    state = wanted(addresses={**FACTS.addresses, "vps.example.com": two})
    (servers,) = (s for s in state.namespaces["ct101"].sets if s.name == "XRAY_SERVERS")
    assert set(servers.prefixes) == {"203.0.113.9/32", "203.0.113.10/32"}


def test_a_changed_setting_gives_xray_another_command_line() -> None:
    other = replace(POLICY, xray=replace(POLICY.xray, tproxy_port=12346))
    (before,), (after,) = wanted().daemons, wanted(other).daemons
    assert before != after and before.name == after.name
    assert wanted().daemons == wanted().daemons


def test_secrets_are_in_no_repr() -> None:
    shown = repr(wanted()) + repr(FACTS)
    secrets = [KEYS.private_key, KEYS.client_key, KEYS.client_preshared_key, SERVER.user_id]
    for secret in [*secrets, SERVER.certificate_key]:
        assert secret.text not in shown
    assert key(1) not in shown


def test_chains_are_told_apart_by_kind() -> None:
    assert Chain("ipv4", "mangle", "PREROUTING", ()).shared
    assert not Chain("ipv4", "mangle", "XRAY_TPROXY", ()).shared
