"""Text -> a valid policy, or everything that is wrong with it."""

from __future__ import annotations

from dataclasses import make_dataclass
from pathlib import Path

from policies.check import check
from policies.document import parse_document, read_text
from policies.errors import DocumentError, Problem
from policies.host_model import Policy
from policies.kinds import datapath_id, kernel_name, or_null
from policies.model import Chain, Netmaker, OpenFlow, PrivacyRouter, SocketNetworking, Vps, Warp, WireGuard, Xray
from policies.read_chain import read_chain, read_warp, read_wireguard, read_xray_and_vps
from policies.read_host import FOREIGN_KEYS, KEYS, is_host_document, read_director
from policies.read_switch import read_containers, read_netmaker, read_openflow, read_socket_networking
from policies.reader import Findings, Section
from policies.rules_host import check_host

_TopLevel = make_dataclass("_TopLevel", ["privacy_router", *KEYS, *FOREIGN_KEYS])


def load(path: Path) -> PrivacyRouter:
    """The chain's policy in a JSON or YAML file. Raises DocumentError, also when the file cannot be read."""
    return parse(read_text(path), str(path))


def load_policy(path: Path) -> Policy:
    """All that a file asks for: a chain, a director for the LAN, or both. Raises DocumentError."""
    return parse_policy(read_text(path), str(path))


def parse(text: str, file: str) -> PrivacyRouter:
    """The chain's policy in a text; ``file`` is the name for errors, and its suffix tells JSON from YAML.

    Raises DocumentError with every problem of the document.
    """
    chain = _parse(text, file, chain_needed=True).privacy_router
    assert chain is not None
    return chain


def parse_policy(text: str, file: str) -> Policy:
    """All that a text asks for. Raises DocumentError with every problem of the document."""
    return _parse(text, file, chain_needed=False)


def _parse(text: str, file: str, chain_needed: bool) -> Policy:
    document = parse_document(text, file)
    findings = Findings(document)
    top = Section(findings, document.root, "", _TopLevel)
    chain = director = None
    problems: list[Problem] = []
    if is_host_document(document):
        director = read_director(findings, top)
        problems += check_host(director, document.place, frozenset(findings.unread))
    if top.has("privacy_router") or chain_needed or director is None:
        top.needs("privacy_router")
        chain = _read_chain(findings, top)
        problems += check(chain, document.place, frozenset(findings.unread))
    if findings.problems or problems:
        raise DocumentError([*findings.problems, *problems])
    return Policy(chain, director)


def _read_chain(findings: Findings, top: Section) -> PrivacyRouter:
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
        datapath_id=root.read("datapath_id", or_null(datapath_id), PrivacyRouter.datapath_id),
        source=findings.document.file,
    )
