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
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "mininet"), str(ROOT)]

import lan_router  # noqa: E402
import sandbox  # noqa: E402
from lan_lab import LanLab, changed  # noqa: E402

from host_agent import actual  # noqa: E402
from host_agent.drivers.namespaces import Namespaces  # noqa: E402
from host_agent.plan import plan  # noqa: E402
from host_agent.prefixes import Prefixes  # noqa: E402
from host_agent.state import NODE, NamespaceState, Route  # noqa: E402

RUNS = 7
AIMS = {"apply": 0.3, "resync": 3.0, "one client": 0.3}
EXAMPLE = {
    "xray": {"clients": ["192.168.50.0/24"], "exclude_sets": ["ru"]},
    "tunnel_director": {"tunnels": {"wgc1": {"clients": ["192.168.50.10"], "exclude": ["ru"]}}},
}
COUNTRIES = ["ua", "by", "kz", "de", "nl", "hu", "sg", "lt", "us", "fr"]
PREFIXES = 2000  # per country
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
    for number, code in enumerate(COUNTRIES):
        lines = (f"{11 + number}.{n >> 8}.{n & 255}.0/25\n" for n in range(PREFIXES))
        (lab.directory / "zones" / f"{code}.zone").write_text("".join(lines))
    more = changed(LARGE, xray__clients=[*LARGE["xray"]["clients"], "192.168.51.99"])
    results = {
        "apply": compare(fresh(lab, EXAMPLE), one_by_one(lab)),
        "resync": compare(resync(lab), listing),
        "one client": compare(client_added(lab, more), fresh(lab, more)),
    }
    failed = 0
    for name, (own, reference) in results.items():
        ratio = own / reference
        aim = AIMS[name]
        failed |= ratio > aim
        took = f"{own * 1e3:8.1f} ms  reference {reference * 1e3:8.1f} ms"
        print(f"director {name:12} {took}  ratio {ratio:.2f} (aim {aim})")
    return int(failed)


def compare(own: Callable[[], float], reference: Callable[[], float]) -> tuple[float, float]:
    """Medians in seconds, of runs that take turns."""
    pairs = [(own(), reference()) for _ in range(RUNS)]
    return statistics.median(a for a, _ in pairs), statistics.median(b for _, b in pairs)


def timed(work: Callable[[], object]) -> float:
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def fresh(lab: LanLab, document: dict[str, Any]) -> Callable[[], float]:
    def run() -> float:
        lab.stop()
        wanted = lab.wanted(document)
        return timed(lambda: lab.put_in_force(wanted))

    return run


def client_added(lab: LanLab, more: dict[str, Any]) -> Callable[[], float]:
    def run() -> float:
        lab.apply(LARGE)
        wanted = lab.wanted(more)
        return timed(lambda: lab.put_in_force(wanted))

    return run


def resync(lab: LanLab) -> Callable[[], float]:
    lab.apply(LARGE)
    namespaces = Namespaces({})
    wanted = lab.wanted(LARGE)

    def look() -> None:
        assert plan(wanted, actual.read(wanted, namespaces)) == ()

    return lambda: timed(look)


def listing() -> float:
    commands = (["iptables-save"], ["ipset", "list", "-t"], ["ip", "rule"])
    return timed(lambda: [subprocess.run(command, capture_output=True, check=True) for command in commands])


def one_by_one(lab: LanLab) -> Callable[[], float]:
    """The objects of the example, each by a command of its own, in a shell script."""

    def run() -> float:
        lab.stop()
        state = lab.wanted(EXAMPLE).namespaces[NODE]
        script = "\n".join(["set -e", *commands(state)])
        took = timed(lambda: subprocess.run(["sh"], input=script, text=True, check=True, capture_output=True))
        lab.stop()
        return took

    return run


def commands(state: NamespaceState) -> list[str]:
    found = [f"ip route add {route_words(route)}" for route in state.routes]
    for ipset in state.sets:
        assert isinstance(ipset.prefixes, Prefixes)
        found.append(f"ipset create {ipset.name} hash:net maxelem 86098")  # the agent's mark, so that stop removes it
        found += [f"ipset add {ipset.name} {prefix}" for prefix in ipset.prefixes]
    found += [f"{str(rule).replace(' rule ', ' rule add ')} protocol 80" for rule in state.rules]
    for chain in sorted(state.chains, key=lambda chain: (chain.shared, chain.name)):
        tool = f"{'iptables' if chain.family == 'ipv4' else 'ip6tables'} -w -t {chain.table}"
        found += [] if chain.shared else [f"{tool} -N {chain.name}"]
        found += [f"{tool} -A {chain.name} {rule.arguments}" for rule in chain.rules]
    return found


def route_words(route: Route) -> str:
    where = f"dev {route.link}" if route.link else ""
    metric = f"metric {route.metric}" if route.metric else ""
    return f"{route.kind} {route.destination} {where} table {route.table} {metric} protocol 80"


if __name__ == "__main__":
    sys.exit(main())
