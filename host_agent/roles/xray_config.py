"""Render the configuration of Xray (or v2ray, which reads the same): the client in the chain, the server on the VPS.

Sources: https://xtls.github.io/config/ and https://www.v2fly.org/config/overview.html.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from ipaddress import IPv4Address

from host_agent.state import Secret

OWN_MARK = 255  # on Xray's own packets, so that no TPROXY rule can ever take them


@dataclass(frozen=True)
class Vless:
    """VLESS over TLS to one server, whose certificate is pinned."""

    server_name: str
    port: int
    user_id: Secret
    certificate: str  # PEM


def client_config(vless: Vless, server: IPv4Address, tproxy_port: int, socks_port: int) -> bytes:
    """What TPROXY delivers and what SOCKS asks for goes to the server; there is no other outbound."""
    return _text(
        {
            "log": {"loglevel": "warning"},
            "inbounds": [
                {
                    "tag": "tproxy",
                    "listen": "0.0.0.0",
                    "port": tproxy_port,
                    "protocol": "dokodemo-door",
                    "settings": {"network": "tcp,udp", "followRedirect": True},
                    "streamSettings": {"sockopt": {"tproxy": "tproxy"}},
                },
                {
                    "tag": "socks",
                    "listen": "127.0.0.1",
                    "port": socks_port,
                    "protocol": "socks",
                    "settings": {"auth": "noauth", "udp": True, "ip": "127.0.0.1"},
                },
            ],
            "outbounds": [
                {
                    "tag": "vps",
                    "protocol": "vless",
                    "settings": {
                        "vnext": [
                            {
                                "address": str(server),
                                "port": vless.port,
                                "users": [{"id": vless.user_id.text, "encryption": "none"}],
                            }
                        ]
                    },
                    "streamSettings": {
                        "network": "tcp",
                        "security": "tls",
                        "tlsSettings": {
                            "serverName": vless.server_name,
                            "disableSystemRoot": True,
                            "certificates": [{"usage": "verify", "certificate": vless.certificate.splitlines()}],
                        },
                        "sockopt": {"mark": OWN_MARK},
                    },
                }
            ],
        }
    )


def server_config(vless: Vless, certificate_key: Secret) -> bytes:
    """One file that holds all the server needs: it is copied to the VPS as it is."""
    return _text(
        {
            "log": {"loglevel": "warning"},
            "inbounds": [
                {
                    "listen": "0.0.0.0",
                    "port": vless.port,
                    "protocol": "vless",
                    "settings": {"clients": [{"id": vless.user_id.text}], "decryption": "none"},
                    "streamSettings": {
                        "network": "tcp",
                        "security": "tls",
                        "tlsSettings": {
                            "certificates": [
                                {
                                    "certificate": vless.certificate.splitlines(),
                                    "key": certificate_key.text.splitlines(),
                                }
                            ]
                        },
                    },
                }
            ],
            "outbounds": [{"protocol": "freedom"}],
        }
    )


def _text(config: dict[str, object]) -> bytes:
    return json.dumps(config, indent=2).encode() + b"\n"
