"""Xray's configurations and the identity in them."""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from further_hops import with_further
from host_examples import IDENTITY, POLICY, SERVER, VPS, key
from policy_documents import changed

from host_agent.errors import Refused
from host_agent.facts.identity import GatewayKeys, ServerIdentity, read
from host_agent.facts.values import XrayProgram
from host_agent.roles.xray_config import Vless, client_config, server_config
from host_agent.state import Secret
from policies.load import parse
from policies.model import PrivacyRouter

VLESS = Vless("vps.example.com", 443, SERVER.user_id, SERVER.certificate)
CLIENT = client_config(VLESS, VPS, 12345, 1080)
CONFIG = server_config(VLESS, SERVER.certificate_key)


def kept(state_dir: Path, policy: PrivacyRouter = POLICY) -> tuple[GatewayKeys, ServerIdentity]:
    """What there is of the first gateway and server."""
    identity = read(state_dir, policy)
    return next(iter(identity.gateways.values())), next(iter(identity.servers.values()))


def write_all(state_dir: Path, policy: PrivacyRouter = POLICY) -> None:
    for file in read(state_dir, policy).files(state_dir):
        Path(file.path).parent.mkdir(exist_ok=True, parents=True)
        Path(file.path).write_bytes(file.content)


def test_client_sends_everything_to_the_pinned_server() -> None:
    config = json.loads(CLIENT)
    (outbound,) = config["outbounds"]
    tls = outbound["streamSettings"]["tlsSettings"]
    assert outbound["protocol"] == "vless"
    assert outbound["settings"]["vnext"][0]["address"] == "203.0.113.10", "no name to resolve through the tunnel"
    assert tls["serverName"] == "vps.example.com" and tls["disableSystemRoot"] is True
    assert tls["certificates"][0]["usage"] == "verify"
    assert outbound["streamSettings"]["sockopt"]["mark"] == 255
    tproxy, socks = config["inbounds"]
    assert (tproxy["port"], tproxy["streamSettings"]["sockopt"]["tproxy"]) == (12345, "tproxy")
    assert (socks["listen"], socks["port"], socks["settings"]["udp"]) == ("127.0.0.1", 1080, True)


def test_client_and_server_agree() -> None:
    client, server = json.loads(CLIENT)["outbounds"][0], json.loads(CONFIG)["inbounds"][0]
    assert client["settings"]["vnext"][0]["users"][0]["id"] == server["settings"]["clients"][0]["id"]
    assert client["settings"]["vnext"][0]["port"] == server["port"]
    theirs = server["streamSettings"]["tlsSettings"]["certificates"][0]["certificate"]
    assert client["streamSettings"]["tlsSettings"]["certificates"][0]["certificate"] == theirs


@pytest.mark.skipif(shutil.which("v2ray") is None, reason="v2ray is not installed")
@pytest.mark.parametrize("config", [CLIENT, CONFIG])
def test_v2ray_accepts_the_configuration(tmp_path: Path, config: bytes) -> None:
    file = tmp_path / "config.json"
    file.write_bytes(config)
    done = subprocess.run(["v2ray", "-test", "-config", str(file)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_each_program_has_its_own_way_to_start() -> None:
    assert XrayProgram("/x", "v2ray 4").argv("c") == ("/x", "-config", "c")
    assert XrayProgram("/x", "v2ray 5").argv("c") == XrayProgram("/x", "xray").argv("c") == ("/x", "run", "-c", "c")


def test_an_identity_is_made_once(tmp_path: Path) -> None:
    write_all(tmp_path)
    assert read(tmp_path, POLICY) == read(tmp_path, POLICY)
    (tmp_path / "keys" / "client-1.key").unlink()
    (before, _), (after, _) = kept(tmp_path), kept(tmp_path)
    assert before.client_key != after.client_key and before.private_key == after.private_key


def test_another_server_name_or_a_lost_key_gives_a_new_certificate(tmp_path: Path) -> None:
    write_all(tmp_path)
    _, before = kept(tmp_path)
    _, other = kept(tmp_path, replace(POLICY, xray=replace(POLICY.xray, vps_address="203.0.113.10")))
    assert other.certificate != before.certificate and other.user_id == before.user_id
    (tmp_path / "vps" / "key.pem").unlink()
    assert kept(tmp_path)[1].certificate != before.certificate


def test_further_gateways_and_servers_have_identities_of_their_own(tmp_path: Path) -> None:
    """Two Xrays with one server share what that server knows them by."""
    policy = parse(changed(with_further), "policy.json")
    write_all(tmp_path, policy)
    identity = read(tmp_path, policy)
    assert identity == read(tmp_path, policy)
    names = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert {"keys/gateway.key", "keys/gateway-102.key", "keys/client-102-1.key", "vps/cert.pem"} <= names
    first, second = (identity.gateways[number] for number in (100, 102))
    assert len({it.text for keys in (first, second) for it in (keys.private_key, keys.client_key)}) == 4
    assert len(identity.servers) == 1
    elsewhere = policy.xray.further[0]
    policy = replace(policy, xray=replace(policy.xray, further=(replace(elsewhere, vps_address="other.example.com"),)))
    write_all(tmp_path, policy)
    one, other = read(tmp_path, policy).servers.values()
    assert one == next(iter(identity.servers.values())) and one.user_id != other.user_id
    assert (tmp_path / "vps-other.example.com-443" / "cert.pem").read_text().strip() == other.certificate


def test_a_damaged_key_is_never_silently_replaced(tmp_path: Path) -> None:
    write_all(tmp_path)
    (tmp_path / "keys" / "gateway.key").write_text(key(1)[:-1])
    (tmp_path / "xray" / "user-id").write_text("me")
    with pytest.raises(Refused) as caught:
        read(tmp_path, POLICY)
    assert len(caught.value.problems) == 2
    assert key(1)[:-1] not in str(caught.value)


def test_an_identity_shows_no_secret() -> None:
    assert SERVER.certificate_key.text not in repr(IDENTITY)
    assert repr(Secret("x")) == "Secret()"
