"""What can be put in force before there is a network, a switch or a link: everything that decides about packets.

The boot unit does it from the last good policy, with the addresses its names had, so that the first packet of a
client already meets the rules; ``run`` does the rest when the system is up.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from ipaddress import ip_address
from pathlib import Path

from host_agent import actual, last_good
from host_agent.apply import Progress, carry_out
from host_agent.confirm import file as confirm_file
from host_agent.desired import desired
from host_agent.drivers import ovs
from host_agent.drivers.namespaces import Namespaces
from host_agent.facts import names, survey
from host_agent.plan import plan
from host_agent.state import Block, HostState, Route, Rule
from host_agent.steps import Add, CreateNamespace, ReplaceChains, ReplaceRoute, ReplaceSets, SetSysctl, Step


def protective(steps: Iterable[Step], wanted: HostState) -> tuple[Step, ...]:
    """Those that need no link and no program, in their order. Pure."""
    links = {link.name for state in wanted.namespaces.values() for link in state.links}

    def needs_nothing(step: Step) -> bool:
        match step:
            case CreateNamespace() | ReplaceSets() | ReplaceChains():
                return True
            case SetSysctl():
                return not links & set(step.sysctl.key.split("/"))
            case Add(item=Rule() | Block()):
                return True
            case Add(item=Route(link=None)) | ReplaceRoute(route=Route(link=None)):
                return True
        return False

    return tuple(step for step in steps if needs_nothing(step))


def put_in_force(state_dir: Path, config_dir: Path, node: str, done: Progress) -> int | None:
    """The number of steps; None if there is no last good policy yet. Raises AgentError, DocumentError."""
    confirm_file.forget(state_dir)  # what was never confirmed ended with the boot
    policy = last_good.load(state_dir, node)
    if policy is None:
        return None
    facts = survey.survey(policy, state_dir, config_dir, names.asking(names.kept(state_dir), _nobody_answers))
    wanted = desired(policy, facts)
    with Namespaces(facts.namespaces) as namespaces:
        found = actual.read(wanted, namespaces, lambda: ovs.Reading(wanted.bridges, frozenset()))
        steps = protective(plan(wanted, found), wanted)
        carry_out(steps, namespaces, state_dir, done)
    return len(steps)


def _nobody_answers(name: str, missing: list[str]) -> names.Addresses:
    with suppress(ValueError):
        return (ip_address(name),)
    missing.append(f"{name}: its address is not known from the last good state")
    return ()
