"""What the document says as a whole must be possible and free of contradiction. All problems come at once."""

from __future__ import annotations

from collections.abc import Callable

from policies import rules_addresses, rules_flows, rules_functions, rules_ports
from policies.errors import Problem
from policies.model import NOWHERE, Place, PrivacyRouter
from policies.rules import ROOT, Case, Rule

RULES: tuple[Rule, ...] = (*rules_ports.RULES, *rules_addresses.RULES, *rules_flows.RULES, *rules_functions.RULES)


def check(
    policy: PrivacyRouter,
    place: Callable[[str], Place] = lambda path: NOWHERE,
    unread: frozenset[str] = frozenset(),
    earlier: PrivacyRouter | None = None,
) -> tuple[Problem, ...]:
    """The problems of a policy.

    ``place`` tells where a dotted path stands. ``unread`` are the paths of values that could not be read: what depends
    on one of them is not judged, or it would blame what is right. ``earlier`` is a version of the policy that had no
    problems: what it has as well is not judged again.
    """
    case = Case(policy, place, earlier, unread)
    problems = []
    for rule in RULES:
        if case.knows(*(f"{ROOT}.{needed}" for needed in rule.reads)):
            problems += [Problem(place(path), message) for path, message in rule.judge(case)]
    return tuple(problems)
