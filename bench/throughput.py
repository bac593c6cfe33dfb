"""Throughput through the chain, as a ratio to the same hops joined by one NORMAL flow entry.

The same namespaces, devices and daemons carry both downloads; only the flow entries of the switch differ, so the
ratio is what the pipeline costs. Rounds alternate, because the machine is noisy.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "mininet"))

import client  # noqa: E402
import inside  # noqa: E402
from lab import Lab  # noqa: E402
from privacy_chain import WEB  # noqa: E402
from sandbox import sandboxed  # noqa: E402

ROUNDS, MEBIBYTES = 5, 64
AIM = 0.95


def main() -> int:
    with tempfile.TemporaryDirectory() as directory:
        lab = Lab(Path(directory), ROOT / "policies" / "documents" / "privacy-router.json")
        inside.build(lab, report=lambda **_: None)
        lab.wait_for_flows()
        client.web_peer("client", WEB)
        ratio = measure(lab, Path(directory))
        lab.processes.kill_all()
    return 0 if ratio >= AIM else 1


def measure(lab: Lab, directory: Path) -> float:
    """Mbit/s with the pipeline, by those without."""
    ofctl = ("ovs-ofctl", "-O", "OpenFlow13")
    entries = {name: directory / f"{name}.flows" for name in ("pipeline", "normal")}
    entries["pipeline"].write_text(lab.run(*ofctl, "--no-stats", "--no-names", "dump-flows", "ovsbr0"))
    entries["normal"].write_text("priority=0,actions=NORMAL\n")
    lab.processes.kill("ryu-manager")  # or it would mend what this does to the switch
    rates: dict[str, list[float]] = {name: [] for name in entries}
    for _ in range(ROUNDS):
        for name, file in entries.items():
            lab.run(*ofctl, "--bundle", "replace-flows", "ovsbr0", str(file))
            client.download_rate("client", WEB, 4)  # fills the caches of the datapath
            rates[name].append(client.download_rate("client", WEB, MEBIBYTES))
    medians = {name: statistics.median(each) for name, each in rates.items()}
    ratio = medians["pipeline"] / medians["normal"]
    print(
        f"chain throughput, {MEBIBYTES} MiB download, median of {ROUNDS}: "
        f"{medians['pipeline']:.0f} Mbit/s with the pipeline, {medians['normal']:.0f} Mbit/s with NORMAL switching; "
        f"ratio {ratio:.2f} (aim: at least {AIM})"
    )
    return ratio


if __name__ == "__main__":
    if os.getpid() != 1:  # not yet the first process of a sandbox
        command = sandboxed([sys.executable, __file__])
        os.execvp(command[0], command)
    sys.exit(main())
