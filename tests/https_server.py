"""An HTTPS server on loopback with an authority of its own, that answers as a test says: also badly."""

from __future__ import annotations

import datetime
import socket
import ssl
import threading
from collections.abc import Callable
from contextlib import suppress
from ipaddress import IPv4Address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

Answer = Callable[[socket.socket], None]  # writes to the connection, after the request was read


class HttpsServer:
    """``answers`` maps paths to what is sent; ``asked`` lists the paths that were asked for, in order."""

    def __init__(self, directory: Path) -> None:
        self.answers: dict[str, Answer] = {}
        self.asked: list[str] = []
        self.authority = directory / "authority.pem"
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(_certificates(directory, self.authority))
        self._context = context
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"https://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with suppress(OSError), self._context.wrap_socket(connection, server_side=True) as stream:
            request = b""
            while b"\r\n\r\n" not in request:
                request += stream.recv(4096)
            path = request.split()[1].decode()
            self.asked.append(path)
            self.answers.get(path, status(404, b"no such zone\n"))(stream)


def status(code: int, body: bytes, headers: str = "", length: int | None = None) -> Answer:
    """A whole answer; ``length`` is what it claims, if that is not the truth."""
    claimed = len(body) if length is None else length

    def send(stream: socket.socket) -> None:
        head = f"HTTP/1.1 {code} Said so\r\nContent-Length: {claimed}\r\nConnection: close\r\n{headers}\r\n"
        stream.sendall(head.encode() + body)

    return send


def raw(*parts: bytes) -> Answer:
    """Exactly these bytes."""
    return lambda stream: stream.sendall(b"".join(parts))


def endless(head: bytes, part: bytes, sent: list[int], pause: Callable[[], object] = lambda: None) -> Answer:
    """Without an end; ``sent`` has the number of bytes that were taken."""

    def send(stream: socket.socket) -> None:
        stream.sendall(head)
        while True:
            stream.sendall(part)
            sent.append(len(part))
            pause()

    return send


def _certificates(directory: Path, authority_file: Path) -> Path:
    now = datetime.datetime.now(datetime.UTC)
    day = datetime.timedelta(days=1)
    keys = [ec.generate_private_key(ec.SECP256R1()) for _ in range(2)]
    names = [x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]) for name in ("authority", "server")]

    def builder(number: int) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(names[number])
            .issuer_name(names[0])
            .public_key(keys[number].public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - day)
            .not_valid_after(now + day)
            .add_extension(x509.BasicConstraints(ca=number == 0, path_length=None), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(keys[number].public_key()), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(keys[0].public_key()), critical=False)
        )

    signing = x509.KeyUsage(
        digital_signature=False, content_commitment=False, key_encipherment=False, data_encipherment=False,
        key_agreement=False, key_cert_sign=True, crl_sign=True, encipher_only=False, decipher_only=False,
    )  # fmt: skip
    authority = builder(0).add_extension(signing, critical=True).sign(keys[0], hashes.SHA256())
    place = x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))])
    server = builder(1).add_extension(place, critical=False).sign(keys[0], hashes.SHA256())
    pem = serialization.Encoding.PEM
    authority_file.write_bytes(authority.public_bytes(pem))
    private = keys[1].private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    chain = directory / "server.pem"
    chain.write_bytes(server.public_bytes(pem) + private)
    return chain
