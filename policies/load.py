"""Text -> a valid policy, or everything that is wrong with it."""

from __future__ import annotations

from dataclasses import dataclass, field, make_dataclass
from pathlib import Path

from policies.check import check
from policies.document import Document, parse_document, read_text
from policies.errors import DocumentError, Problem
from policies.host_model import Policy
from policies.kinds import datapath_id, kernel_name, or_null
from policies.layout import JsonText
from policies.model import Chain, Netmaker, OpenFlow, PrivacyRouter, SocketNetworking, Vps, Warp, WireGuard, Xray
from policies.read_chain import read_chain, read_warp, read_wireguard, read_xray_and_vps
from policies.read_host import FOREIGN_KEYS, KEYS, is_host_document, read_director
from policies.read_switch import read_containers, read_netmaker, read_openflow, read_socket_networking
from policies.reader import Findings, Section
from policies.rules_host import check_host

ONLY_LAN = "this document is for clients of a LAN (xray, tunnel_director), and asks nothing of a switch"

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
    return read(text, file).chain


@dataclass(frozen=True)
class Reading:
    """A document that was read: what it asks for, and what helps to read its next version."""

    file: str
    text: str = field(repr=False)
    policy: Policy
    json: JsonText | None = field(repr=False, compare=False)

    @property
    def chain(self) -> PrivacyRouter:
        assert self.policy.privacy_router is not None
        return self.policy.privacy_router


def read(text: str, file: str, earlier: Reading | None = None) -> Reading:
    """A document that has a chain's policy. Raises DocumentError with every problem of the document.

    ``earlier``, what an earlier text of the same file meant, makes it quick: the result is the same, but the values of
    list items that have not changed, nor moved, are the earlier objects.
    """
    before = earlier if earlier is not None and earlier.file == file else None
    if before is not None and before.text == text:
        return before
    document = parse_document(text, file, before.json if before else None)
    policy = _read(document, chain_needed=True, earlier=before.chain if before else None)
    return Reading(file, text, policy, document.json)


def parse_policy(text: str, file: str) -> Policy:
    """All that a text asks for. Raises DocumentError with every problem of the document."""
    return read_policy(text, file).policy


def read_policy(text: str, file: str) -> Reading:
    """A document, be it of a chain's policy or not. Raises DocumentError with every problem of the document."""
    document = parse_document(text, file)
    return Reading(file, text, _read(document, chain_needed=False), document.json)


def _read(document: Document, chain_needed: bool, earlier: PrivacyRouter | None = None) -> Policy:
    findings = Findings(document)
    top = Section(findings, document.root, "", _TopLevel)
    chain = director = None
    problems: list[Problem] = []
    if is_host_document(document):
        director = read_director(findings, top)
        problems += check_host(director, document.place, frozenset(findings.unread))
    if top.has("privacy_router") or chain_needed or director is None:
        top.needs("privacy_router", ONLY_LAN if director else "this key must be given")
        chain = _read_chain(findings, top, earlier or PrivacyRouter())
        problems += check(chain, document.place, frozenset(findings.unread), earlier)
    if findings.problems or problems:
        raise DocumentError([*findings.problems, *problems])
    return Policy(chain, director)


def _read_chain(findings: Findings, top: Section, earlier: PrivacyRouter) -> PrivacyRouter:
    root = top.section("privacy_router", PrivacyRouter)
    xray, vps = read_xray_and_vps(root.section("xray", Xray), root.section("vps", Vps))
    return PrivacyRouter(
        bridge_name=root.read("bridge_name", kernel_name, PrivacyRouter.bridge_name),
        wireguard=read_wireguard(root.section("wireguard", WireGuard)),
        warp=read_warp(root.section("warp", Warp)),
        xray=xray,
        vps=vps,
        socket_networking=read_socket_networking(
            root.section("socket_networking", SocketNetworking), earlier.socket_networking
        ),
        openflow=read_openflow(root.section("openflow", OpenFlow), earlier.openflow),
        netmaker=read_netmaker(root.section("netmaker", Netmaker)),
        containers=read_containers(root, earlier.containers),
        chain=read_chain(root.section("chain", Chain)),
        datapath_id=root.read("datapath_id", or_null(datapath_id), PrivacyRouter.datapath_id),
        source=findings.document.file,
    )
