"""Xray's configurations and the identity in them."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from host_examples import IDENTITY, VPS, key

from host_agent.errors import Refused
from host_agent.facts import XrayProgram
from host_agent.identity import read
from host_agent.state import Secret
from host_agent.xray_config import Vless, client_config, server_config

VLESS = Vless("vps.example.com", 443, IDENTITY.user_id, IDENTITY.certificate)
CLIENT = client_config(VLESS, VPS, 12345, 1080)
SERVER = server_config(VLESS, IDENTITY.certificate_key)


def write_all(identity_of: Path, server_name: str = "vps.example.com") -> None:
    for file in read(identity_of, server_name).files(identity_of):
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
    client, server = json.loads(CLIENT)["outbounds"][0], json.loads(SERVER)["inbounds"][0]
    assert client["settings"]["vnext"][0]["users"][0]["id"] == server["settings"]["clients"][0]["id"]
    assert client["settings"]["vnext"][0]["port"] == server["port"]
    theirs = server["streamSettings"]["tlsSettings"]["certificates"][0]["certificate"]
    assert client["streamSettings"]["tlsSettings"]["certificates"][0]["certificate"] == theirs


@pytest.mark.skipif(shutil.which("v2ray") is None, reason="v2ray is not installed")
@pytest.mark.parametrize("config", [CLIENT, SERVER])
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
    assert read(tmp_path, "vps.example.com") == read(tmp_path, "vps.example.com")
    (tmp_path / "keys" / "client-1.key").unlink()
    before, after = read(tmp_path, "vps.example.com"), read(tmp_path, "vps.example.com")
    assert before.client_key != after.client_key and before.gateway_key == after.gateway_key


def test_another_server_name_or_a_lost_key_gives_a_new_certificate(tmp_path: Path) -> None:
    write_all(tmp_path)
    kept = read(tmp_path, "vps.example.com")
    other = read(tmp_path, "203.0.113.10")
    assert other.certificate != kept.certificate and other.user_id == kept.user_id
    (tmp_path / "vps" / "key.pem").unlink()
    assert read(tmp_path, "vps.example.com").certificate != kept.certificate


def test_a_damaged_key_is_never_silently_replaced(tmp_path: Path) -> None:
    write_all(tmp_path)
    (tmp_path / "keys" / "gateway.key").write_text(key(1)[:-1])
    (tmp_path / "xray" / "user-id").write_text("me")
    with pytest.raises(Refused) as caught:
        read(tmp_path, "vps.example.com")
    assert len(caught.value.problems) == 2
    assert key(1)[:-1] not in str(caught.value)


def test_an_identity_shows_no_secret() -> None:
    assert IDENTITY.certificate_key.text not in repr(IDENTITY)
    assert repr(Secret("x")) == "Secret()"
