"""The host document: the document's own examples, later versions' keys, and everything that can be wrong with it."""

from __future__ import annotations

import copy
import json
import random
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import pytest
import yaml
from policy_documents import DOCUMENTS, EXAMPLE
from test_policies_nonsense import NONSENSE

from policies.country_codes import COUNTRY_CODES
from policies.errors import DocumentError
from policies.host_model import Advanced, Director, Mac
from policies.load import load, load_policy, parse, parse_policy
from policies.model import Target

LATER = {  # as later versions of the document's tool ship it
    "data_dir": "/opt/vpn-director/data",
    "webui": {"port": 8444, "jwt_secret": "secret"},
    "monitor": {"enabled": True},
    "tunnel_director": {"tunnels": {}},
    "xray": {"clients": [], "servers": [], "exclude_ips": [], "exclude_sets": ["ru"]},
    "paused_clients": [],
    "advanced": {
        "xray": {
            "tproxy_port": 12345,
            "socks_port": 12346,
            "route_table": 100,
            "rule_pref": 200,
            "fwmark": "0x100",
            "fwmark_mask": "0x100",
            "chain": "XRAY_TPROXY",
            "clients_ipset": "XRAY_CLIENTS",
            "bypass_ipset": "TPROXY_BYPASS",
        },
        "tunnel_director": {"chain": "TUN_DIR", "pref_base": 16384, "mark_mask": "0x00ff0000", "mark_shift": 16},
        "boot": {"min_time": 120, "wait_delay": 60},
    },
}


def director(document: dict[str, Any]) -> Director:
    found = parse_policy(json.dumps(document, indent=1), "policy.json").director
    assert found is not None
    return found


def problems(document: dict[str, Any]) -> list[tuple[str, str]]:
    """(path, message) of each problem; the line of each must be that of its value or key."""
    text = json.dumps(document, indent=1)
    try:
        parse_policy(text, "policy.json")
    except DocumentError as error:
        return [(problem.place.path, problem.message) for problem in error.problems]
    return []


def test_the_documents_examples_load_unchanged() -> None:
    one, two, three = (load_policy(DOCUMENTS / f"vpn-director-{n}.json").director for n in (1, 2, 3))
    assert one and two and three
    assert one.xray.clients == (ip_network("192.168.50.10/32"),) and one.xray.exclude_sets == ("ru",)
    (tunnel,) = two.tunnels
    assert (tunnel.name, tunnel.clients, tunnel.exclude) == ("ovpnc3", (ip_network("192.168.1.5/32"),), ("ru",))
    assert three.xray.clients == (ip_network("192.168.50.0/24"),) and three.tunnels[0].name == "wgc1"
    assert one.advanced == two.advanced == three.advanced == Advanced()


def test_the_defaults_are_the_documents_values() -> None:
    xray, tunnels = Advanced().xray, Advanced().tunnel_director
    assert (xray.chain, xray.clients_ipset, xray.servers_ipset) == ("XRAY_TPROXY", "XRAY_CLIENTS", "XRAY_SERVERS")
    assert (xray.fwmark, xray.fwmark_mask, xray.route_table, xray.rule_pref) == (0x100, 0x100, 100, 200)
    assert (tunnels.chain, tunnels.pref_base, tunnels.mark_mask, tunnels.mark_shift) == ("TUN_DIR", 16384, 0xFF0000, 16)
    assert tunnels.hash_file == "/tmp/tunnel_director/tun_dir_rules.sha256"
    assert Advanced().lan.interfaces == ("br0",)


def test_later_versions_keys_are_understood() -> None:
    found = director(LATER)
    assert found.advanced.xray.servers_ipset == "TPROXY_BYPASS"
    assert found.xray.exclude_sets == ("ru",) and found.tunnels == ()


def test_yaml_says_the_same() -> None:
    found = parse_policy(yaml.safe_dump(LATER), "policy.yaml").director
    assert found == director(LATER)


def test_every_key_of_the_model_is_in_the_example() -> None:
    found = load_policy(DOCUMENTS / "vpn-director-all-keys.yaml").director
    assert found is not None
    assert [tunnel.name for tunnel in found.tunnels] == ["wgc1", "ovpnc3", "main"]
    assert found.xray.clients[2] == Mac("02:00:00:00:50:0a")
    own = found.advanced
    assert (own.xray, own.tunnel_director, own.dns) == (Advanced().xray, Advanced().tunnel_director, Advanced().dns)


def test_it_stands_beside_a_chain_or_alone(tmp_path: Path) -> None:
    both = {**json.loads(EXAMPLE), **LATER}
    policy = parse_policy(json.dumps(both), "policy.json")
    assert policy.privacy_router == parse(EXAMPLE, "policy.json") and policy.director == director(LATER)
    assert parse(json.dumps(both), "policy.json") == policy.privacy_router, "who wants the chain only gets it"
    with pytest.raises(DocumentError, match="privacy_router: missing: this document is for clients of a LAN"):
        load(DOCUMENTS / "vpn-director-1.json")
    with pytest.raises(DocumentError, match="privacy_router: missing"):
        parse_policy("{}", "policy.json")


def test_the_order_of_tunnels_is_that_of_the_file_or_the_one_that_is_said() -> None:
    tunnels = {"wgc2": {"clients": ["192.168.1.2"]}, "ovpnc1": {"clients": ["192.168.1.3"]}}
    names = [tunnel.name for tunnel in director({"tunnel_director": {"tunnels": tunnels}}).tunnels]
    assert names == ["wgc2", "ovpnc1"]
    rewritten = json.dumps({"tunnel_director": {"tunnels": tunnels, "order": ["wgc2"]}}, sort_keys=True)
    found = parse_policy(rewritten, "policy.json").director
    assert found and [tunnel.name for tunnel in found.tunnels] == ["wgc2", "ovpnc1"]


@pytest.mark.parametrize("code", sorted(COUNTRY_CODES))
def test_every_country_is_one_in_any_case(code: str) -> None:
    found = director({"xray": {"exclude_sets": [code, code.upper() + "_ext"]}})
    assert found.xray.exclude_sets == (code, f"{code}_ext")


WGC1_PROBE = "tunnel_director.tunnels.wgc1.probe"


def with_tunnel(**keys: Any) -> dict[str, Any]:
    return {"tunnel_director": {"tunnels": {"wgc1": keys}}}


def advanced(**sections: Any) -> dict[str, Any]:
    return {"xray": {"clients": ["192.168.50.10"]}, "advanced": sections}


WRONG: dict[str, tuple[dict[str, Any], str, str]] = {  # document, path, words of the message
    "clients no list": ({"xray": {"clients": "192.168.1.5"}}, "xray.clients", "expected a list"),
    "a number": ({"xray": {"clients": [5]}}, "xray.clients[0]", "expected an address or a subnet"),
    "a newline": ({"xray": {"clients": ["192.168.1.5\n-j ACCEPT"]}}, "xray.clients[0]", "expected an address"),
    "shell characters": (with_tunnel(clients=["$(reboot)"]), "tunnel_director.tunnels.wgc1.clients[0]", "expected"),
    "host bits": ({"xray": {"clients": ["192.168.1.5/24"]}}, "xray.clients[0]", "write 192.168.1.0/24"),
    "host bits, IPv6": ({"xray": {"clients": ["fd00::5/64"]}}, "xray.clients[0]", "write fd00::/64"),
    "everything": ({"xray": {"clients": ["0.0.0.0/0"]}}, "xray.clients[0]", "everything there is"),
    "everything, IPv6": ({"xray": {"exclude_ips": ["::/0"]}}, "xray.exclude_ips[0]", "everything there is"),
    "a netmask": ({"xray": {"clients": ["192.168.1.0/255.255.255.0"]}}, "xray.clients[0]", "write 192.168.1.0/24"),
    "outside the LAN": ({"xray": {"clients": ["8.8.8.8"]}}, "xray.clients[0]", "outside the LAN"),
    "outside the subnets": (
        {"xray": {"clients": ["192.168.2.5"]}, "advanced": {"lan": {"subnets": ["192.168.1.0/24"]}}},
        "xray.clients[0]",
        "outside the LAN (192.168.1.0/24)",
    ),
    "loopback": ({"xray": {"clients": ["127.0.0.1"]}}, "xray.clients[0]", "of the LAN"),
    "multicast": ({"xray": {"clients": ["ff02::1"]}}, "xray.clients[0]", "of the LAN"),
    "a group's MAC": ({"xray": {"clients": ["01:00:5e:00:00:01"]}}, "xray.clients[0]", "of a group"),
    "twice": ({"xray": {"clients": ["192.168.1.5", "192.168.1.5/32"]}}, "xray.clients[1]", "1.5 is named already"),
    "in two tunnels": (
        {"tunnel_director": {"tunnels": {"a": {"clients": ["10.0.0.1"]}, "b": {"clients": ["10.0.0.1"]}}}},
        "tunnel_director.tunnels.b.clients[0]",
        "use failover",
    ),
    "IPv4 in IPv6": ({"xray": {"clients": ["::ffff:192.168.1.5"]}}, "xray.clients[0]", "write 192.168.1.5"),
    "IPv6 where IPv4 is meant": (advanced(dns={"server": "2620:fe::fe"}), "advanced.dns.server", "one IPv4 address"),
    "IPv4 where IPv6 is meant": (advanced(dns={"server6": "9.9.9.9"}), "advanced.dns.server6", "one IPv6 address"),
    "a zone": ({"xray": {"clients": ["fe80::1%eth0"]}}, "xray.clients[0]", "expected an address"),
    "unknown country": ({"xray": {"exclude_sets": ["zz"]}}, "xray.exclude_sets[0]", "ISO 3166-1"),
    "the United Kingdom": (with_tunnel(exclude=["uk"]), "tunnel_director.tunnels.wgc1.exclude[0]", "is gb"),
    "unknown key": (with_tunnel(clint=["192.168.1.5"]), "tunnel_director.tunnels.wgc1.clint", "did you mean clients?"),
    "kill_switch": (with_tunnel(kill_switch="maybe"), "tunnel_director.tunnels.wgc1.kill_switch", '"on" or "off"'),
    "dns": (with_tunnel(dns="direct"), "tunnel_director.tunnels.wgc1.dns", '"hijack", "tunnel" or "bypass"'),
    "a tunnel's name": ({"tunnel_director": {"tunnels": {"wg 1; reboot": {}}}}, "", "interface name"),
    "a kernel's table": ({"tunnel_director": {"tunnels": {"255": {}}}}, "", "kernel's own"),
    "local": ({"tunnel_director": {"tunnels": {"local": {}}}}, "tunnel_director.tunnels.local", "kernel's own"),
    "order of nothing": (
        {"tunnel_director": {"tunnels": {}, "order": ["wgc1"]}},
        "tunnel_director.order[0]", "no tunnel"),
    "a probe of a name": (with_tunnel(probe="example.com:443"), WGC1_PROBE, "an address and a port"),
    "a probe without a port": (with_tunnel(probe="198.51.100.1"), WGC1_PROBE, "an address and a port"),
    "a probe without brackets": (with_tunnel(probe="2001:db8::1:443"), WGC1_PROBE, 'or "[2001:db8::1]:443"'),
    "a probe of IPv4 in brackets": (with_tunnel(probe="[198.51.100.1]:443"), WGC1_PROBE, "an address and a port"),
    "a probe of a port too high": (with_tunnel(probe="[2001:db8::1]:65536"), WGC1_PROBE, "an address and a port"),
    "a probe of this machine": (with_tunnel(probe="[::1]:443"), WGC1_PROBE, "one other machine"),
    "a probe of a link": (with_tunnel(probe="[fe80::1]:443"), WGC1_PROBE, "one other machine"),
    "a probe of IPv4 in IPv6": (with_tunnel(probe="[::ffff:198.51.100.1]:443"), WGC1_PROBE, "one other machine"),
    "no probe": (with_tunnel(probe=[]), WGC1_PROBE, "at least one entry"),
    "one probe of two": (with_tunnel(probe=["198.51.100.1:443", 443]), f"{WGC1_PROBE}[1]", "an address and a port"),
    "two probes of a family": (
        with_tunnel(probe=["[2001:db8::1]:443", "[2001:db8::2]:443"]),
        f"{WGC1_PROBE}[1]", "expected one target of each family: IPv6 has one above"),
    "failover to itself": (with_tunnel(failover=["wgc1"]), "tunnel_director.tunnels.wgc1.failover[0]", "once"),
    "failover to main": (
        with_tunnel(failover=["main"]),
        "tunnel_director.tunnels.wgc1.failover[0]", "kill_switch: off"),
    "mark outside its mask": (advanced(xray={"fwmark": "0x300"}), "advanced.xray.fwmark", "outside its mask"),
    "masks that overlap": (
        advanced(xray={"fwmark": "0x10000", "fwmark_mask": "0x10000"}), "advanced.xray.fwmark_mask", "share bits"),
    "a mask with a hole": (
        advanced(tunnel_director={"mark_mask": "0x00f50000"}), "advanced.tunnel_director.mark_mask", "no field"),
    "a shift beside the mask": (
        advanced(tunnel_director={"mark_shift": 8}), "advanced.tunnel_director.mark_mask", "begins at bit 8"),
    "what is let past marked as a tunnel's": (
        advanced(tunnel_director={"judged_mark": "0x1010000"}), "advanced.tunnel_director.judged_mark", "of its own"),
    "what is let past marked as Xray's": (
        advanced(tunnel_director={"judged_mark": "0x100"}), "advanced.tunnel_director.judged_mark", "of its own"),
    "preferences that collide": (advanced(xray={"rule_pref": 16384}), "advanced.xray.rule_pref", "one of"),
    "a built-in chain": (advanced(xray={"chain": "PREROUTING"}), "advanced.xray.chain", "expected a chain's name"),
    "one chain for both": (advanced(xray={"chain": "TUN_DIR"}), "advanced.tunnel_director.chain", "chain of its own"),
    "a set's name": (advanced(xray={"clients_ipset": "A\nB"}), "advanced.xray.clients_ipset", "expected a set's name"),
    "a country's set": (advanced(xray={"clients_ipset": "ru"}), "advanced.xray.clients_ipset", "country's set"),
    "a relative path": (advanced(ipsets={"zones_dir": "zones"}), "advanced.ipsets.zones_dir", "absolute path"),
    "plain HTTP": (advanced(ipsets={"urls": ["http://x/{cc}"]}), "advanced.ipsets.urls[0]", "https://"),
    "no place for the code": (advanced(ipsets={"urls": ["https://x/ru"]}), "advanced.ipsets.urls[0]", "{cc}"),
    "no interface": (advanced(lan={"interfaces": []}), "advanced.lan.interfaces", "at least one"),
    "a port": (advanced(xray={"tproxy_port": 0}), "advanced.xray.tproxy_port", "1 to 65535"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_named(name: str) -> None:
    document, path, words = WRONG[name]
    found = problems(document)
    assert [message for where, message in found if words in message and (where == path or not path)], found


def test_a_tunnel_is_probed_by_one_address_or_by_one_of_each_family() -> None:
    four, six = Target(ip_address("198.51.100.1"), 443), Target(ip_address("2001:db8::1"), 8443)
    for given, understood in (
        ("198.51.100.1:443", (four,)),
        ("[2001:DB8:0::1]:8443", (six,)),
        (["198.51.100.1:443", "[2001:db8::1]:8443"], (four, six)),
        (None, ()),
    ):
        assert director(with_tunnel(probe=given)).tunnels[0].probe == understood
    assert [str(four), str(six)] == ["198.51.100.1:443", "[2001:db8::1]:8443"]


def test_256_tunnels_do_not_fit() -> None:
    def many(count: int) -> dict[str, Any]:
        return {
            "tunnel_director": {
                "tunnels": {f"wg{n}": {"clients": [f"10.0.{n // 250}.{n % 250 + 1}"]} for n in range(count)}
            }
        }

    assert problems(many(254)) == []
    ((path, message),) = problems(many(256))
    assert path == "tunnel_director.tunnels" and "256 tunnels, but the field of the mark holds 254" in message


def test_all_that_is_wrong_comes_at_once_with_its_line() -> None:
    document = {"xray": {"clients": ["x", "8.8.8.8", "192.168.1.4", "192.168.1.4"], "ipv6": 6}, "advanced": {"lan": 1}}
    text = json.dumps(document, indent=1)
    with pytest.raises(DocumentError) as caught:
        parse_policy(text, "policy.json")
    lines = text.splitlines()
    found = {problem.place.path: lines[problem.place.line - 1].strip(" ,") for problem in caught.value.problems}
    assert found == {
        "xray.clients[0]": '"x"',
        "xray.clients[1]": '"8.8.8.8"',
        "xray.clients[3]": '"192.168.1.4"',
        "xray.ipv6": '"ipv6": 6',
        "advanced.lan": '"lan": 1',
    }


def _places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, child in inner for place in _places(child, (*path, key)))]


def test_nonsense_in_every_place_is_a_policy_or_a_document_error() -> None:
    whole = yaml.safe_load((DOCUMENTS / "vpn-director-all-keys.yaml").read_text())
    outcomes = set()
    chance = random.Random(4)
    for place in _places(whole)[1:]:
        for value in chance.sample(NONSENSE, 8):
            document = copy.deepcopy(whole)
            inner: Any = document
            for key in place[:-1]:
                inner = inner[key]
            inner[place[-1]] = value
            try:
                parse_policy(yaml.safe_dump(document, sort_keys=False), "policy.yaml")
                outcomes.add("policy")
            except DocumentError as error:
                assert all(problem.place.file == "policy.yaml" for problem in error.problems)
                outcomes.add("refused")
    assert outcomes == {"policy", "refused"}
