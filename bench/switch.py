"""Figures of the switch side, each against Open vSwitch's own tool doing the same in the same run.

    switch.py [ROUTES ...]      sizes in function routes; default 10000 and 100000. Each has about four flow entries.

* edit: the example's file is renamed into place -> the change is committed and read back
* first programming: the file of so many routes is renamed into place, with the switch holding the example -> read,
  compiled, proved, committed in one bundle, read back; "switch part": from the first question to the read-back.
  Reference: ``ovs-ofctl --bundle add-flows`` of the same entries into an empty table
* one route changed: the same from an edit of one route; reference: ``ovs-ofctl --bundle replace-flows`` of all entries
  with that one changed
* re-adoption: a controller starts on a switch that holds all entries: read and compared, nothing sent; reference:
  ``ovs-ofctl dump-flows``
* memory: resident, of the whole ryu-manager, a second after the first programming and after the re-adoption

Needs root; runs in namespaces of its own.
"""

from __future__ import annotations

import argparse
import re
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / folder) for folder in ("mininet", "tests/integration", "tests")]

from large_policies import FIRST, large_document  # noqa: E402
from switch_sandbox import EXAMPLE, PORTS, Controller, Sandbox, Switch  # noqa: E402

from policies.load import parse  # noqa: E402
from ryu_apps.flows.pipeline import compile_pipeline  # noqa: E402
from ryu_apps.openflow.ofctl import entry_text  # noqa: E402

EDITS = 30
PROGRAMMINGS = 3  # of which the median counts, each with a reference of its own just before it
PATIENCE = 300  # seconds
_COMMITTED = re.compile(r"(\d+) flow entr(?:y|ies) committed in one bundle and read back in ([\d.]+) ms")
_IN_PLACE = re.compile(r"(\d+) flow entr(?:y|ies) in place, nothing sent, in ([\d.]+) ms")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sizes", metavar="ROUTES", type=int, nargs="*", default=[10_000, 100_000])
    sizes = parser.parse_args().sizes
    print(f"{'':42} {'ours':>9} {'switch part':>12} {'reference':>10} {'ratio':>6}  aim")
    held = True
    for measure in (edits, *map(routes, sizes)):
        with tempfile.TemporaryDirectory() as directory, Sandbox(Path(directory)) as sandbox:
            held &= measure(sandbox)
    return 0 if held else 1


class Bench:
    """A switch and a controller that follows a policy file, watched by its log."""

    def __init__(self, sandbox: Sandbox, ports: Iterable[str]) -> None:
        self.sandbox = sandbox
        self.switch = Switch(sandbox)
        self.policy = sandbox.directory / "policy.json"
        self.controller = Controller(sandbox, self.policy)
        self.switch.add_ports(*ports)
        shutil.copy(EXAMPLE, self.policy)

    def rename(self, text: str) -> None:
        written = self.policy.with_suffix(".new")
        written.write_text(text)
        written.rename(self.policy)

    def change(self, text: str) -> tuple[float, float]:
        """(milliseconds from the rename to the confirmation, the switch's part of it)."""
        before = len(_COMMITTED.findall(self.controller.log.read_text()))
        started = time.perf_counter()
        self.rename(text)
        found = self.wait(lambda log: len(_COMMITTED.findall(log)) > before and _COMMITTED.findall(log)[-1])
        return (time.perf_counter() - started) * 1000, float(found[1])

    def wait(self, condition: Callable[[str], object]) -> tuple[str, str]:
        deadline = time.monotonic() + PATIENCE
        while not (found := condition(self.controller.log.read_text() if self.controller.log.exists() else "")):
            assert time.monotonic() < deadline, self.controller.log.read_text()
            time.sleep(0.0005)
        assert isinstance(found, tuple)
        return found

    def timed(self, *command: str | Path) -> float:
        """Milliseconds, without the cost of entering the sandbox."""
        started = time.perf_counter()
        self.sandbox.run("true")
        entering = time.perf_counter() - started
        started = time.perf_counter()
        self.sandbox.run("ovs-ofctl", "-O", "OpenFlow13", *command)
        return (time.perf_counter() - started - entering) * 1000

    def memory(self) -> float:
        """Resident MB when all is quiet."""
        time.sleep(1)
        status = Path(f"/proc/{self.controller.pid}/status").read_text()
        return int(status.split("VmRSS:")[1].split()[0]) / 1024


def edits(sandbox: Sandbox) -> bool:
    text = EXAMPLE.read_text()
    bench = Bench(sandbox, PORTS)
    bench.controller.start()
    bench.wait(lambda log: (_COMMITTED.findall(log) or [()])[-1])
    figures = [
        bench.change(text.replace("nw_dst=100.104.70.1", f"nw_dst=100.104.70.{number % 9 + 2}"))
        for number in range(EDITS)
    ]
    median = statistics.median(whole for whole, _ in figures)
    part = statistics.median(part for _, part in figures)
    return line(f"example: edit to confirmed, median of {EDITS}", median, part, None, median < 20, "< 20 ms")


def routes(size: int) -> Callable[[Sandbox], bool]:
    def measure(sandbox: Sandbox) -> bool:
        text, ports = large_document(size)
        bench = Bench(sandbox, ports)
        flows = [sandbox.directory / "first.flows", sandbox.directory / "changed.flows"]
        changed = text.replace(f'nw_dst={FIRST + 5}"', f'nw_dst={FIRST + size + 5}"')
        for file, document in zip(flows, (text, changed), strict=True):
            entries = compile_pipeline(parse(document, "bench"))
            file.write_text("\n".join(map(entry_text, entries)))
        title = f"{size} routes ({len(entries)} entries): "
        bridge = bench.switch.bridge
        del entries
        programmings = [first_programming(bench, text, flows[0]) for _ in range(PROGRAMMINGS)]
        whole, part, add, first = sorted(programmings, key=lambda it: it[0] / it[2])[PROGRAMMINGS // 2]
        held = line(title + "first programming", whole, part, add, whole <= 2 * add, "<= 2x")

        replace = min(bench.timed("--bundle", "replace-flows", bridge, flow) for flow in (flows[1], flows[0]))
        dump = min(bench.timed("dump-flows", bridge) for _ in range(2))
        bench.controller.start()
        _, took = bench.wait(lambda log: (_IN_PLACE.findall(log) or [()])[-1])
        assert "committed" not in bench.controller.log.read_text()
        held &= line(title + "re-adoption", float(took), float(took), dump, float(took) <= 5 * dump, "<= 5x")
        for when, memory in (("first programming", first), ("re-adoption", bench.memory())):
            print(f"{title + 'memory after ' + when:42} {memory:6.0f} MB {'':30}  < 400 MB: {verdict(memory < 400)}")
            held &= memory < 400
        whole, part = bench.change(changed)
        held &= line(title + "one route changed", whole, part, replace, whole < replace, "faster")
        return held

    return measure


def first_programming(bench: Bench, text: str, flows: Path) -> tuple[float, float, float, float]:
    """(milliseconds, the switch's part of them, the reference's, memory after it). Leaves the entries on the switch."""
    bridge = bench.switch.bridge
    bench.timed("del-flows", bridge)
    add = bench.timed("--bundle", "add-flows", bridge, flows)
    bench.timed("del-flows", bridge)
    shutil.copy(EXAMPLE, bench.policy)
    bench.controller.start()
    bench.wait(lambda log: (_COMMITTED.findall(log) or [()])[-1])
    whole, part = bench.change(text)
    memory = bench.memory()
    bench.controller.kill()
    bench.controller.log.unlink()
    return whole, part, add, memory


def line(what: str, ours: float, part: float, reference: float | None, held: bool, aim: str) -> bool:
    against = f"{reference:7.0f} ms {ours / reference:6.2f}" if reference else f"{'':17}"
    print(f"{what:42} {ours:6.1f} ms {part:9.1f} ms {against}  {aim}: {verdict(held)}", flush=True)
    return held


def verdict(held: bool) -> str:
    return "held" if held else "MISSED"


if __name__ == "__main__":
    sys.exit(main())
