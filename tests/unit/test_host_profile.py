"""The reader of WireGuard profiles: takes tunnels, never commands; hostile input ends in file:line of a refusal."""

from __future__ import annotations

import pytest
from host_examples import WGCF, key

from host_agent.errors import Refused
from host_agent.facts.profile import read_profile

TEXT = f"""\
[Interface]
PrivateKey = {key(1)}
Address = 172.16.0.2/32
[Peer]
PublicKey = {key(2)}
AllowedIPs = 0.0.0.0/0
Endpoint = engage.example.net:2408
"""


def problems(text: str) -> list[str]:
    with pytest.raises(Refused) as caught:
        read_profile(text, "wgcf.conf")
    return list(caught.value.problems)


def test_wgcf_profile() -> None:
    profile = read_profile(WGCF, "wgcf.conf")
    assert (profile.private_key.text, profile.mtu) == (key(1), 1280)
    assert list(map(str, profile.addresses)) == ["172.16.0.2/32", "2606:4700:110:8a36::2/128"]
    (peer,) = profile.peers
    assert (peer.public_key, peer.endpoint) == (key(2), ("engage.example.net", 2408))
    assert set(map(str, peer.allowed_ips)) == {"0.0.0.0/0", "::/0"}
    assert peer.preshared_key is None


def test_names_are_known_in_any_case_and_comments_are_passed_over() -> None:
    text = TEXT.replace("PrivateKey", "PRIVATEKEY").replace("[Peer]", "[peer] # the endpoint")
    assert read_profile(text.replace("\n", "\r\n"), "f") == read_profile(TEXT, "f")


@pytest.mark.parametrize("line", ["PostUp = reboot", "PreDown=x", "Table = auto", "DNS = 1.1.1.1", "SaveConfig = true"])
def test_hooks_routes_and_dns_are_not_taken(line: str) -> None:
    assert read_profile(TEXT.replace("[Peer]", f"{line}\n[Peer]"), "f") == read_profile(TEXT, "f")


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        (key(1), "short", "wgcf.conf:2: PrivateKey: expected a key, 32 bytes in base64"),
        (key(1), "A" * 44, "wgcf.conf:2: PrivateKey: expected a key, 32 bytes in base64"),
        ("172.16.0.2/32", "172.16.0.2/33", "wgcf.conf:3: Address: expected addresses with prefix length"),
        ("172.16.0.2/32", "172.16.0.2/32; reboot", "wgcf.conf:3: Address: expected addresses with prefix length"),
        ("0.0.0.0/0", "everything", "wgcf.conf:6: AllowedIPs: expected networks"),
        (":2408", ":0", "wgcf.conf:7: Endpoint: expected host:port"),
        (":2408", ":65536", "wgcf.conf:7: Endpoint: expected host:port"),
        (":2408", "", "wgcf.conf:7: Endpoint: expected host:port"),
        ("engage.example.net", "a b", "wgcf.conf:7: Endpoint: expected host:port"),
        ("engage.example.net", "-oProxyCommand", "wgcf.conf:7: Endpoint: expected host:port"),
        ("engage.example.net", "a\x00b", "wgcf.conf:7: Endpoint: expected host:port"),
        ("[Peer]", "[Pear]", "wgcf.conf:4: expected [Interface], [Peer] or Name = value"),
        ("Endpoint =", "Endpiont =", "wgcf.conf:7: unknown name in [Peer]: 'Endpiont'"),
        ("Address =", "MTU = 99999999\nAddress =", "wgcf.conf:3: MTU: expected a number of bytes from 576 to 65535"),
        ("Address =", f"PrivateKey = {key(3)}\nAddress =", "wgcf.conf:3: PrivateKey is given twice"),
        ("[Peer]", "[Interface]\n[Peer]", "wgcf.conf:1: expected one [Interface] section, found 2"),
        (f"PublicKey = {key(2)}\n", "", "wgcf.conf:4: the section has no PublicKey"),
    ],
)
def test_faults_name_file_and_line(old: str, new: str, problem: str) -> None:
    assert old in TEXT
    assert [text for text in problems(TEXT.replace(old, new)) if text.startswith(problem)]


def test_all_faults_come_at_once_and_show_no_key() -> None:
    found = problems(TEXT.replace(key(1), key(1)[:-2]).replace(":2408", ":x").replace("0.0.0.0/0", "?"))
    assert [text.split(":")[1] for text in found] == ["2", "6", "7"]
    assert key(1)[:-2] not in "".join(found)


@pytest.mark.parametrize("text", ["", "\x00\xff", "PrivateKey = x", "[Interface]\n" * 3, "a" * 70000])
def test_what_is_no_profile_is_refused(text: str) -> None:
    assert problems(text)


def test_ipv6_endpoint() -> None:
    (peer,) = read_profile(TEXT.replace("engage.example.net", "[2001:db8::1]"), "f").peers
    assert peer.endpoint == ("2001:db8::1", 2408)
