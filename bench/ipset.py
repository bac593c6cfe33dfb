"""Figures of sets and prefixes, each as a ratio to its reference in the same run.

* load: 100,000 prefixes, aggregated before, into a set that is in use; reference: ``ipset restore`` of the same
* aggregate: 100,000 prefixes that overlap and touch; reference: ``netaddr.cidr_merge``
* short reading: ten sets of 10,000 as a reconciler reads them; reference: ``ipset list -t``
* memory: what 100,000 prefixes take, and what it takes to read them from a zone

Needs root; runs in a network namespace of its own.
"""

from __future__ import annotations

import random
import statistics
import subprocess
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Callable, Iterable
from pathlib import Path

import netaddr

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from host_agent.countries import store
from host_agent.drivers import ipset
from host_agent.drivers.memory import Memory
from host_agent.prefixes import Prefixes, aggregated, from_keys, parse
from host_agent.state import IpSet

RUNS = 7
COUNT = 100_000
AIMS = {"load": 0.6, "aggregate": 0.4, "short reading": 1.0}
RENEW = ["unshare", "--net", "--kill-child", "--fork", sys.executable, __file__, "inside"]


def main() -> int:
    if sys.argv[1:] != ["inside"]:
        return subprocess.run(RENEW, check=False).returncode
    with tempfile.TemporaryDirectory() as directory:
        ratios = {"load": load(Path(directory)), "aggregate": aggregate(), "short reading": short_reading()}
    memory()
    return 0 if all(ratio <= AIMS[name] for name, ratio in ratios.items()) else 1


def load(directory: Path) -> float:
    """From the copy in the state directory to the set in force, and from the restore file to the same."""
    prefixes = separate(COUNT)
    path = directory / "copy"
    path.write_bytes(store.encode(store.Copy(prefixes, "", "", "", 0.0)))
    ipset.replace({IpSet("ru", "ipv4", Prefixes("ipv4"))}, ())
    there = ipset.read()

    def ours() -> None:
        copy = store.load(path, ("ru", "ipv4"))
        assert copy is not None
        ipset.replace({IpSet("ru", "ipv4", copy.prefixes)}, there)

    def reference() -> None:
        with lines.open("rb") as stream:
            subprocess.run(["ipset", "restore"], stdin=stream, check=True)

    ours()
    saved = subprocess.run(["ipset", "save", "ru"], capture_output=True, text=True, check=True).stdout
    lines = directory / "lines"
    lines.write_text(saved.replace(" ru ", " aside ") + "swap aside ru\ndestroy aside\n")
    ratio = compare("load", ours, reference)
    assert next(iter(by_every_entry())).seal == prefixes.seal
    return ratio


def aggregate() -> float:
    chance = random.Random(4)
    networks = []
    for _ in range(COUNT):
        length = chance.choice((16, 18, 19, 20, 21, 22, 22, 23, 24, 24, 24))
        networks.append(netaddr.IPNetwork((chance.getrandbits(length) << 32 - length, length)))
    keys = [network.first << 8 | network.prefixlen for network in networks]
    merged = netaddr.cidr_merge(networks)
    assert [str(network) for network in merged] == list(from_keys("ipv4", keys))
    text = "".join(f"{network}\n" for network in networks).encode()
    took(lambda: parse(text, "ipv4"), "  reading the zone's text, too")
    return compare("aggregate", lambda: aggregated(keys, 32), lambda: netaddr.cidr_merge(networks))


def short_reading() -> float:
    ipset.remove(ipset.read())
    wanted = {IpSet(f"c{number}", "ipv4", separate(10_000, number)) for number in range(10)}
    ipset.replace(wanted, ())

    def ours() -> None:
        assert ipset.read() == wanted

    def reference() -> None:
        subprocess.run(["ipset", "list", "-t"], capture_output=True, check=True)

    ratio = compare("short reading", ours, reference)
    took(by_every_entry, "  by every entry")
    took(lambda: by_every_entry(wanted), "  by every entry, as wanted")
    return ratio


def by_every_entry(wanted: Iterable[IpSet] = ()) -> frozenset[IpSet]:
    return ipset.look(wanted, Memory(doubted={it.name for it in ipset.read()})).ours


def memory() -> None:
    text = "".join(f"{prefix}\n" for prefix in separate(COUNT)).encode()
    tracemalloc.start()
    prefixes = parse(text, "ipv4")
    kept, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(prefixes) == COUNT
    print(f"{'memory of 100,000 prefixes':38} {kept / 2**20:6.1f} MiB  while they are read {most / 2**20:.1f} MiB")


def separate(count: int, seed: int = 0) -> Prefixes:
    """So many prefixes of lengths as country zones have them, none of which can be joined."""
    chance = random.Random(seed)
    packed, start = [], 1 << 24
    for _ in range(count):
        length = chance.choice((20, 21, 22, 22, 23, 24, 24, 24))
        size = 1 << 32 - length
        start = (start + 2 * size - 1) // (2 * size) * 2 * size  # a lower half, whose upper half is never there
        packed.append(start.to_bytes(4) + bytes([length]))
        start += 2 * size
    assert start < 1 << 32
    return Prefixes("ipv4", b"".join(packed))


def compare(name: str, ours: Callable[[], object], reference: Callable[[], object]) -> float:
    pairs = [(seconds(ours), seconds(reference)) for _ in range(RUNS)]
    mine, theirs = (statistics.median(values) for values in zip(*pairs, strict=True))
    ratio = mine / theirs
    print(f"{name:38} {mine * 1e3:6.1f} ms  reference {theirs * 1e3:7.1f} ms  ratio {ratio:.2f} (aim {AIMS[name]})")
    return ratio


def took(work: Callable[[], object], name: str) -> None:
    print(f"{name:38} {statistics.median(seconds(work) for _ in range(RUNS)) * 1e3:6.1f} ms")


def seconds(work: Callable[[], object]) -> float:
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


if __name__ == "__main__":
    sys.exit(main())
