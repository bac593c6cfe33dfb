"""Figures of the director on a LAN router, each as a ratio to its reference in the same run.

* apply: example 3 of the packet flow document from nothing; reference: the same objects, one command each
* resync: 50 clients, 5 tunnels, 10 countries, and nothing to do; reference: iptables-save, ipset list -t, ip rule
* one client more for Xray; reference: the whole apply of that policy from nothing

The engine is measured as ``run`` uses it, in a process that is up. Needs root; runs in a sandbox of its own.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "mininet"), str(ROOT)]

import lan_router  # noqa: E402
import sandbox  # noqa: E402
from lan_lab import LanLab, changed  # noqa: E402

from host_agent import actual  # noqa: E402
from host_agent.apply import apply  # noqa: E402
from host_agent.drivers.namespaces import Namespaces  # noqa: E402
from host_agent.plan import plan  # noqa: E402
from host_agent.prefixes import Prefixes  # noqa: E402
from host_agent.state import NODE, HostState, NamespaceState, Route  # noqa: E402
from host_agent.steps import Add  # noqa: E402

RUNS = 7
AIMS = {"apply": 0.3, "resync": 3.0, "one client": 0.3}
EXAMPLE = {
    "xray": {"clients": ["192.168.50.0/24"], "exclude_sets": ["ru"]},
    "tunnel_director": {"tunnels": {"wgc1": {"clients": ["192.168.50.10"], "exclude": ["ru"]}}},
}
# Ten countries with as many IPv4 prefixes as each has in Debian's tor-geoipdb 0.4.9.11: 225,165 in all.
PREFIXES = {
    "ua": 4226, "by": 272, "kz": 1107, "de": 50212, "nl": 32109,
    "hu": 1736, "sg": 7406, "lt": 1948, "us": 74917, "fr": 51232,
}  # fmt: skip
COUNTRIES = list(PREFIXES)
LARGE: dict[str, Any] = {
    "xray": {"clients": [f"192.168.51.{n}" for n in range(1, 26)], "exclude_sets": COUNTRIES},
    "tunnel_director": {
        "tunnels": {
            name: {"clients": [f"192.168.{60 + number}.{n}" for n in range(1, 6)], "exclude": COUNTRIES[:4]}
            for number, name in enumerate(("wgc1", "ovpnc3", "wgc2", "wgc3", "wgc4"))
        }
    },
}


def main() -> int:
    if sys.argv[1:2] != ["inside"]:
        with tempfile.TemporaryDirectory() as directory:
            command = sandbox.sandboxed([sys.executable, __file__, "inside", directory])
            return subprocess.run(command, check=False).returncode
    lab = LanLab(Path(sys.argv[2]))
    for name in lan_router.CLIENTS:  # a router has no namespaces of its clients
        lan_router.ip("netns", "del", name)
    write_zones(lab)
    more = changed(LARGE, xray__clients=[*LARGE["xray"]["clients"], "192.168.51.99"])
    with Namespaces({}) as namespaces:
        engine = Engine(lab, namespaces)
        results = {
            "apply": compare(engine.fresh(EXAMPLE), one_by_one(engine)),
            "resync": compare(engine.resync(), listing),
            "one client": compare(engine.client_added(more), engine.fresh(more)),
        }
    failed = 0
    for name, (own, reference) in results.items():
        ratio = own / reference
        aim = AIMS[name]
        failed |= ratio > aim
        took = f"{own * 1e3:8.1f} ms  reference {reference * 1e3:8.1f} ms"
        print(f"director {name:12} {took}  ratio {ratio:.2f} (aim {aim})")
    return int(failed)


def write_zones(lab: LanLab) -> None:
    """The countries' prefixes, none of which can be joined."""
    start = int(IPv4Address("11.0.0.0"))
    for code, count in PREFIXES.items():
        lines = (f"{IPv4Address(start + 256 * n)}/25\n" for n in range(count))
        (lab.directory / "zones" / f"{code}.zone").write_text("".join(lines))
        start += 256 * count


def compare(own: Callable[[], float], reference: Callable[[], float]) -> tuple[float, float]:
    """Medians in seconds, of runs that take turns."""
    pairs = [(own(), reference()) for _ in range(RUNS)]
    return statistics.median(a for a, _ in pairs), statistics.median(b for _, b in pairs)


def timed(work: Callable[[], object]) -> float:
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


class Engine:
    """As ``run`` has it: one process, which keeps its sockets and what it read."""

    def __init__(self, lab: LanLab, namespaces: Namespaces) -> None:
        self.lab, self._namespaces = lab, namespaces

    def put_in_force(self, wanted: HostState) -> None:
        apply(wanted, self._namespaces, self.lab.state, lambda step, milliseconds: None)

    def fresh(self, document: dict[str, Any]) -> Callable[[], float]:
        wanted = self.lab.wanted(document)

        def run() -> float:
            self.put_in_force(HostState())
            return timed(lambda: self.put_in_force(wanted))

        return run

    def client_added(self, more: dict[str, Any]) -> Callable[[], float]:
        before, wanted = self.lab.wanted(LARGE), self.lab.wanted(more)

        def run() -> float:
            self.put_in_force(before)
            return timed(lambda: self.put_in_force(wanted))

        return run

    def resync(self) -> Callable[[], float]:
        wanted = self.lab.wanted(LARGE)
        self.put_in_force(wanted)

        def look() -> None:
            with Namespaces({}) as namespaces:  # not by what was read before
                assert plan(wanted, actual.read(wanted, namespaces)) == ()

        return lambda: timed(look)


def listing() -> float:
    commands = (["iptables-save"], ["ipset", "list", "-t"], ["ip", "rule"])
    return timed(lambda: [subprocess.run(command, capture_output=True, check=True) for command in commands])


def one_by_one(engine: Engine) -> Callable[[], float]:
    """The objects of the example, each by a command of its own, in a shell script."""

    def run() -> float:
        engine.put_in_force(HostState())
        state = engine.lab.wanted(EXAMPLE).namespaces[NODE]
        script = "\n".join(["set -e", *commands(state)])
        took = timed(lambda: subprocess.run(["sh"], input=script, text=True, check=True, capture_output=True))
        engine.put_in_force(HostState())
        return took

    return run


def commands(state: NamespaceState) -> list[str]:
    found = [f"ip route add {route_words(route)}" for route in state.routes]
    for ipset in state.sets:
        assert isinstance(ipset.prefixes, Prefixes)
        found.append(f"ipset create {ipset.name} hash:net maxelem 86098")  # the agent's mark, so that stop removes it
        found += [f"ipset add {ipset.name} {prefix}" for prefix in ipset.prefixes]
    found += [f"{str(rule).replace(' rule ', ' rule add ')} protocol 80" for rule in state.rules]
    found += [line for block in state.blocks for line in Add(NODE, block).commands()]
    tools = {chain.key: f"{chain.tool} -w -t {chain.table}" for chain in state.chains}
    found += [f"{tools[chain.key]} -N {chain.name}" for chain in state.chains if not chain.shared]
    for chain in sorted(state.chains, key=lambda chain: (chain.shared, chain.name)):
        found += [f"{tools[chain.key]} -A {chain.name} {rule.arguments}" for rule in chain.rules]
    return found


def route_words(route: Route) -> str:
    where = f"dev {route.link}" if route.link else ""
    metric = f"metric {route.metric}" if route.metric else ""
    return f"{route.kind} {route.destination} {where} table {route.table} {metric} protocol 80"


if __name__ == "__main__":
    sys.exit(main())
