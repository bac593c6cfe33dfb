"""Text -> a valid policy, or everything that is wrong with it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from policies.check import check
from policies.document import parse_document, read_text
from policies.errors import DocumentError
from policies.kinds import kernel_name
from policies.model import Chain, Netmaker, OpenFlow, PrivacyRouter, SocketNetworking, Vps, Warp, WireGuard, Xray
from policies.read_chain import read_chain, read_warp, read_wireguard, read_xray_and_vps
from policies.read_switch import read_containers, read_netmaker, read_openflow, read_socket_networking
from policies.reader import Findings, Section


@dataclass(frozen=True)
class _TopLevel:
    privacy_router: PrivacyRouter


def load(path: Path) -> PrivacyRouter:
    """The policy in a JSON or YAML file. Raises DocumentError, also when the file cannot be read."""
    return parse(read_text(path), str(path))


def parse(text: str, file: str) -> PrivacyRouter:
    """The policy in a text; ``file`` is the name for errors, and its suffix tells JSON from YAML.

    Raises DocumentError with every problem of the document.
    """
    document = parse_document(text, file)
    findings = Findings(document)
    policy = _read(findings)
    problems = [*findings.problems, *check(policy, document.place, frozenset(findings.unread))]
    if problems:
        raise DocumentError(problems)
    return policy


def _read(findings: Findings) -> PrivacyRouter:
    top = Section(findings, findings.document.root, "", _TopLevel)
    top.needs("privacy_router")
    root = top.section("privacy_router", PrivacyRouter)
    xray, vps = read_xray_and_vps(root.section("xray", Xray), root.section("vps", Vps))
    return PrivacyRouter(
        bridge_name=root.read("bridge_name", kernel_name, PrivacyRouter.bridge_name),
        wireguard=read_wireguard(root.section("wireguard", WireGuard)),
        warp=read_warp(root.section("warp", Warp)),
        xray=xray,
        vps=vps,
        socket_networking=read_socket_networking(root.section("socket_networking", SocketNetworking)),
        openflow=read_openflow(root.section("openflow", OpenFlow)),
        netmaker=read_netmaker(root.section("netmaker", Netmaker)),
        containers=read_containers(root),
        chain=read_chain(root.section("chain", Chain)),
        source=findings.document.file,
    )
