"""What zero-config makes once and keeps: WireGuard keys, the VLESS user id, the VPS's certificate.

``read`` takes what the state directory has and makes the rest in memory; nothing is written here. The files are
part of the desired state, so the first ``apply`` writes what was made and later ones find it.
"""

from __future__ import annotations

import os
import re
from base64 import b64encode
from collections.abc import Callable
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
from host_agent.profile import wireguard_key
from host_agent.state import File, Secret

CERTIFICATE_LIFE = timedelta(days=3650)  # pinned by the client, so nobody is served by a shorter one


@dataclass(frozen=True)
class Identity:
    gateway_key: Secret
    client_key: Secret
    client_preshared_key: Secret
    user_id: Secret
    certificate: str  # PEM
    certificate_key: Secret = field(repr=False)  # PEM

    def files(self, state_dir: Path) -> frozenset[File]:
        texts = {
            "keys/gateway.key": self.gateway_key.text,
            "keys/client-1.key": self.client_key.text,
            "keys/client-1.psk": self.client_preshared_key.text,
            "xray/user-id": self.user_id.text,
            "vps/cert.pem": self.certificate,
            "vps/key.pem": self.certificate_key.text,
        }
        return frozenset(File(str(state_dir / name), f"{text.strip()}\n".encode()) for name, text in texts.items())


def read(state_dir: Path, server_name: str) -> Identity:
    """The identity on file, completed. Raises Refused for a file that holds something else than it should."""
    problems: list[str] = []

    def kept(name: str, check: Callable[[str], str], make: Callable[[], str]) -> str:
        path = state_dir / name
        try:
            return check(path.read_text().strip())
        except FileNotFoundError:
            return make()
        except (ValueError, UnicodeDecodeError):
            problems.append(f"{path}: damaged; restore it from a backup, or remove it and a new one is made")
            return ""

    made_certificate, made_key = _certificate(server_name)
    certificate = kept("vps/cert.pem", _pem, lambda: made_certificate)
    certificate_key = kept("vps/key.pem", _pem, lambda: made_key)
    if not problems and not _belong_together(certificate, certificate_key, server_name):
        certificate, certificate_key = made_certificate, made_key  # another VPS name, or one of the two was lost
    identity = Identity(
        Secret(kept("keys/gateway.key", wireguard_key, new_wireguard_key)),
        Secret(kept("keys/client-1.key", wireguard_key, new_wireguard_key)),
        Secret(kept("keys/client-1.psk", wireguard_key, lambda: b64encode(os.urandom(32)).decode())),
        Secret(kept("xray/user-id", _user_id, lambda: str(uuid4()))),
        certificate,
        Secret(certificate_key),
    )
    if problems:
        raise Refused(*problems)
    return identity


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
