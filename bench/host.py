"""Figures of the host side, each against a script that would start one ip(8) process per step in the same run.

* bring-up: ``privacy-agent apply`` of all five roles on a bare node; the daemons' own start is shown apart
* second apply: nothing to do, all is read and compared
* repair: one ip rule was deleted by hand
* stop: everything is removed

Needs root; runs in namespaces of its own.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "tests" / "integration"), str(ROOT / "tests")]

from host_sandbox import AGENT, EXAMPLE, Node  # noqa: E402

RUNS = 5
DAEMON_STARTS = ("create WireGuard device", ": start xray")
AIM = 3.0  # seconds for the bring-up, without the daemons' own start


def main() -> int:
    seconds: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as directory:
        node = Node(Path(directory), EXAMPLE)
        for name in ("ct200", "ct201"):
            node.run("ip", "netns", "add", name)
        for _ in range(RUNS):
            measure(node, seconds)
        node.close()
    for name, values in seconds.items():
        ratio = statistics.median(values) / statistics.median(seconds["one ip(8) process per step"])
        median = statistics.median(values)
        print(f"{name:38} median {median:6.3f} s  worst {max(values):6.3f} s  ratio to the script {ratio:.2f}")
    return 0 if max(seconds["bring-up without daemons' own start"]) < AIM else 1


def measure(node: Node, seconds: dict[str, list[float]]) -> None:
    took, answer = timed(node, "apply")
    starting = sum(step["ms"] for step in answer["steps"] if any(word in step["step"] for word in DAEMON_STARTS)) / 1e3
    results = {"bring-up, the whole command": took, "bring-up without daemons' own start": took - starting}
    results["second apply"] = timed(node, "apply")[0]
    node.run("ip", "-n", "warp", "rule", "del", "pref", "220")
    results["repair of one ip rule"] = timed(node, "apply")[0]
    results["one ip(8) process per step"] = script(node, len(answer["steps"]))
    results["stop"] = timed(node, "stop")[0]
    for name, value in results.items():
        seconds.setdefault(name, []).append(value)


def timed(node: Node, verb: str) -> tuple[float, dict[str, Any]]:
    where = ("--policy", node.policy, "--state-dir", node.state, "--config-dir", node.config, "--json")
    begin = time.perf_counter()
    answer = node.run(AGENT, verb, *where)
    return time.perf_counter() - begin, json.loads(answer)


def script(node: Node, steps: int) -> float:
    """The time of as many ip(8) processes as the bring-up has steps, each entering a namespace to do next to nothing."""
    begin = time.perf_counter()
    node.run("sh", "-c", f"for step in $(seq {steps}); do ip -n warp link show lo >/dev/null; done")
    return time.perf_counter() - begin


if __name__ == "__main__":
    sys.exit(main())
