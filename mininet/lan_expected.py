"""Which answer each packet of the LAN's clients must get, under the lab's base policy and variations of it."""

from __future__ import annotations

import lan_router
from lan_probes import KINDS

Answers = dict[tuple[str, int, str, str], str]  # client, IP version, kind of packet, where -> answer
QUERIES = ("dns", "dns tcp", "dns router")


def of_client(client: str, version: int, way: str, icmp: str, router: str, queries: str = "") -> Answers:
    """All kinds abroad give ``way``, but ``icmp`` and queries; exempt destinations are reached by the uplink."""
    found = {(client, version, kind, "abroad"): way for kind in KINDS}
    found |= {(client, version, kind, "abroad"): queries or way for kind in QUERIES}
    found[client, version, "icmp", "abroad"] = icmp
    found[client, version, "dns router", "abroad"] = router
    found |= {(client, version, kind, "exempt"): "wan" for kind in ("tcp", "udp", "quic")}
    found |= {(client, version, kind, "exempt"): queries or way for kind in ("dns", "dns tcp")}
    found[client, version, "icmp", "exempt"] = "answered"
    return found


def free(client: str, version: int) -> Answers:
    return of_client(client, version, "wan", "answered", "router")


def cut_off(client: str, version: int, answer: str = "refused") -> Answers:
    """Everything is refused, exempt destinations too."""
    return dict.fromkeys(of_client(client, version, "", "", ""), answer)


def all_free() -> Answers:
    return {key: value for client in lan_router.CLIENTS for v in (4, 6) for key, value in free(client, v).items()}


def base() -> Answers:
    found: Answers = {}
    for version in (4, 6):
        found |= of_client("lan10", version, "xray", "refused", "xray")
        found |= of_client("lan20", version, "vpn1", "answered", "vpn1")
        found |= of_client("lan30", version, "vpn2", "answered", "vpn2")
    return found | free("lan99", 4) | cut_off("lan99", 6)


def dead(client: str) -> Answers:
    """A tunnel that is dead: refused, but for what is exempt anyway."""
    return {
        key: value
        for version in (4, 6)
        for key, value in of_client(client, version, "refused", "refused", "refused").items()
    }


def no_exemption() -> Answers:
    """The country's ranges are unknown: its destinations stay in the tunnel."""
    return {
        key: value if key[3] == "abroad" or key[0] == "lan99" else base()[(*key[:3], "abroad")]
        for key, value in base().items()
    }


def with_queries(way10: str, router10: str, way20: str, router20: str) -> Answers:
    found = base()
    for version in (4, 6):
        for where in ("abroad", "exempt"):
            for kind in ("dns", "dns tcp"):
                found["lan10", version, kind, where], found["lan20", version, kind, where] = way10, way20
        found["lan10", version, "dns router", "abroad"], found["lan20", version, "dns router", "abroad"] = (
            router10,
            router20,
        )
    return found


def without_quic() -> Answers:
    found = base()
    return (
        found
        | {("lan10", v, "quic", "abroad"): "refused" for v in (4, 6)}
        | {("lan20", v, "quic", "abroad"): "refused" for v in (4, 6)}
    )
