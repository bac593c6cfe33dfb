"""What zero-config makes once and keeps: WireGuard keys, the VLESS user id, the VPS's certificate.

``read`` takes what the state directory has and makes the rest in memory; nothing is written here. The files are
part of the desired state, so the first ``apply`` writes what was made and later ones find it.
"""

from __future__ import annotations

import os
import re
from base64 import b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from uuid import uuid4

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.x509.oid import NameOID

from host_agent.errors import Refused
from host_agent.facts.profile import wireguard_key
from host_agent.state import File, Secret
from policies.model import PrivacyRouter, XrayClient

CERTIFICATE_LIFE = timedelta(days=3650)  # pinned by the client, so nobody is served by a shorter one


@dataclass(frozen=True)
class GatewayKeys:
    """Of one gateway and its first client. ``name``: "", or what tells a further gateway's files from the first's."""

    name: str
    private_key: Secret
    client_key: Secret
    client_preshared_key: Secret

    def files(self) -> dict[str, str]:
        return {
            f"keys/gateway{self.name}.key": self.private_key.text,
            f"keys/client{self.name}-1.key": self.client_key.text,
            f"keys/client{self.name}-1.psk": self.client_preshared_key.text,
        }


@dataclass(frozen=True)
class ServerIdentity:
    """What an Xray server and its clients know of each other. ``name``: as in ``GatewayKeys``."""

    name: str
    user_id: Secret
    certificate: str  # PEM
    certificate_key: Secret = field(repr=False)  # PEM

    def files(self) -> dict[str, str]:
        return {
            f"xray/user-id{self.name}": self.user_id.text,
            f"vps{self.name}/cert.pem": self.certificate,
            f"vps{self.name}/key.pem": self.certificate_key.text,
        }


@dataclass(frozen=True)
class Identity:
    gateways: Mapping[int, GatewayKeys]  # by container id
    servers: Mapping[tuple[str, int], ServerIdentity]  # by host name or address, and port
    made: frozenset[str] = field(default=frozenset(), compare=False)  # of the files: those that are not there yet

    def files(self, state_dir: Path) -> frozenset[File]:
        texts: dict[str, str] = {}
        for gateway in self.gateways.values():
            texts |= gateway.files()
        for server in self.servers.values():
            texts |= server.files()
        return frozenset(File(str(state_dir / name), f"{text.strip()}\n".encode()) for name, text in texts.items())


class _Store:
    """The state directory. What is not there is made; what is damaged is a problem."""

    def __init__(self, state_dir: Path) -> None:
        self._state_dir = state_dir
        self.problems: list[str] = []
        self.made: set[str] = set()

    def kept(self, name: str, check: Callable[[str], str], make: Callable[[], str]) -> str:
        path = self._state_dir / name
        try:
            return check(path.read_text().strip())
        except FileNotFoundError:
            self.made.add(name)
            return make()
        except (ValueError, UnicodeDecodeError):
            self.problems.append(f"{path}: damaged; restore it from a backup, or remove it and a new one is made")
            return ""


def read(state_dir: Path, policy: PrivacyRouter) -> Identity:
    """The identity on file, completed. Raises Refused for a file that holds something else than it should."""
    store = _Store(state_dir)
    gateways = {policy.wireguard.container_id: _gateway(store, "")}
    for gateway in policy.wireguard.further:
        gateways[gateway.container_id] = _gateway(store, f"-{gateway.container_id}")
    servers = {server_of(policy.xray): _server(store, "", policy.xray.vps_address or "vps")}
    for xray in policy.xray.further:
        host, port = server_of(xray)
        if (host, port) not in servers:
            servers[host, port] = _server(store, f"-{host}-{port}", host)
    if store.problems:
        raise Refused(*store.problems)
    return Identity(gateways, servers, frozenset(store.made))


def server_of(xray: XrayClient) -> tuple[str, int]:
    """By which its server's identity is found."""
    return xray.vps_address.lower(), xray.vps_port


def _gateway(store: _Store, name: str) -> GatewayKeys:
    return GatewayKeys(
        name,
        Secret(store.kept(f"keys/gateway{name}.key", wireguard_key, new_wireguard_key)),
        Secret(store.kept(f"keys/client{name}-1.key", wireguard_key, new_wireguard_key)),
        Secret(store.kept(f"keys/client{name}-1.psk", wireguard_key, lambda: b64encode(os.urandom(32)).decode())),
    )


def _server(store: _Store, name: str, host: str) -> ServerIdentity:
    certificate = store.kept(f"vps{name}/cert.pem", _pem, str)
    certificate_key = store.kept(f"vps{name}/key.pem", _pem, str)
    if not store.problems and not _belong_together(certificate, certificate_key, host):
        certificate, certificate_key = _certificate(host)  # the first time, another server, or one of the two was lost
        store.made |= {f"vps{name}/cert.pem", f"vps{name}/key.pem"}
    user_id = Secret(store.kept(f"xray/user-id{name}", _user_id, lambda: str(uuid4())))
    return ServerIdentity(name, user_id, certificate, Secret(certificate_key))


def new_wireguard_key() -> str:
    key = X25519PrivateKey.generate()
    return b64encode(key.private_bytes_raw()).decode()


def _user_id(text: str) -> str:
    if not re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", text):
        raise ValueError("no user id")
    return text


def _pem(text: str) -> str:
    if not text.startswith("-----BEGIN "):
        raise ValueError("not PEM")
    return text


def _certificate(server_name: str) -> tuple[str, str]:
    """A self-signed certificate for the server name and its key, both PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, server_name[:64])])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))  # the two machines' clocks may differ
        .not_valid_after(now + CERTIFICATE_LIFE)
        .add_extension(x509.SubjectAlternativeName([_general_name(server_name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    return (
        certificate.public_bytes(pem).decode().strip(),
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()).decode().strip(),
    )


def _general_name(server_name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(server_name))
    except ValueError:
        return x509.DNSName(server_name)


def _belong_together(certificate: str, key: str, server_name: str) -> bool:
    try:
        loaded = x509.load_pem_x509_certificate(certificate.encode())
        private = serialization.load_pem_private_key(key.encode(), None)
        names = loaded.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (ValueError, TypeError, x509.ExtensionNotFound):
        return False
    return loaded.public_key() == private.public_key() and _general_name(server_name) in names
