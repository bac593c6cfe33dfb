"""Proof before commit: what is wrong with a policy's flow entries on all its nodes, or nothing.

Pure, exact and sound: it reasons about sets of packets (``ryu_apps.packets.cubes``), and what it accepts holds for
every packet. docs/verification.md says what is proved and what is assumed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from policies.errors import DocumentError
from policies.model import PrivacyRouter
from policies.placement import NodeView, everything
from ryu_apps.flows.flow import FlowEntry
from ryu_apps.verify.alike import Likeness, likeness
from ryu_apps.verify.every_packet import Witnesses, findings
from ryu_apps.verify.finding import Finding, Kind
from ryu_apps.verify.subject import Subject

__all__ = ["Finding", "Kind", "Proof", "prove", "verify"]

MANY = 2000  # entries of which it pays to prove a part that stands for all


@dataclass(frozen=True)
class Proof:
    """What was found, and what the proof of the next version may build on: the part that was proved for all."""

    findings: tuple[Finding, ...]
    alike: Likeness | None = None
    part: Subject | None = None
    witnesses: frozenset[str] = frozenset()  # addresses that the proof of the part relies on


def prove(
    nodes: Mapping[str, Iterable[FlowEntry]],
    policy: PrivacyRouter,
    views: Mapping[str, NodeView] | None = None,
    earlier: Proof | None = None,
) -> Proof:
    """Raises DocumentError with every reason to refuse a policy. The arguments are those of ``verify``.

    ``earlier``: the proof of another version, by which what has not changed need not be proved anew.
    """
    proof = _prove(_subject(nodes, policy, views), earlier)
    if proof.findings:
        raise DocumentError(finding.problem(policy.source) for finding in proof.findings)
    return proof


def verify(
    nodes: Mapping[str, Iterable[FlowEntry]], policy: PrivacyRouter, views: Mapping[str, NodeView] | None = None
) -> tuple[Finding, ...]:
    """The reasons to refuse a policy; none if it may be installed.

    ``nodes``: the entries of each node by its name; ``views``: what each sees of the policy, all of it if left out.
    """
    return _prove(_subject(nodes, policy, views), None).findings


def _subject(
    nodes: Mapping[str, Iterable[FlowEntry]], policy: PrivacyRouter, views: Mapping[str, NodeView] | None
) -> Subject:
    every = {name: tuple(entries) for name, entries in nodes.items()}
    return Subject(every, policy, dict.fromkeys(nodes, everything(policy)) if views is None else views)


def _prove(subject: Subject, earlier: Proof | None) -> Proof:
    proof = _of_part(subject, earlier) if subject.size > MANY else None
    return proof or Proof(tuple(findings(subject)))


def _of_part(subject: Subject, earlier: Proof | None) -> Proof | None:
    """By the part that stands for all. None where that shows nothing: then all must be looked at."""
    alike = likeness(subject, earlier.alike if earlier else None)
    if alike is None:
        return None
    part = alike.part()
    if earlier and part == earlier.part and not any(map(alike.left_out, earlier.witnesses)):
        return Proof((), alike, part, earlier.witnesses)
    witnesses = Witnesses(alike.left_out)
    if 2 * part.size > subject.size or any(findings(part, witnesses)):
        return None
    return Proof((), alike, part, frozenset(witnesses.addresses))
