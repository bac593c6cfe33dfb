"""How long a policy takes to be read, compiled and proved, by the number of its function routes. In processor seconds.

"edit": to compile and prove it again when one route's target has changed; "new kind": when its priority has, which no
other route has. The growth says whether it is linear: the time per route must not rise. Needs neither root nor a
switch.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))

from large_policies import large_document  # noqa: E402

SIZES = (1_000, 10_000, 100_000)
SOCKETS = 1_000
AIM = 5.0  # seconds for the largest


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("size", metavar="ROUTES", type=int, nargs="?", help="measure this one only, in this process")
    size = parser.parse_args().size
    if size is not None:
        measure(size)
        return 0
    heads = ("routes", "entries", "read", "compile", "prove", "whole", "us/route", "edit", "new kind")
    print("{:>8} {:>8} {:>7} {:>8} {:>7} {:>7} {:>9} {:>6} {:>9}".format(*heads))
    whole = 0.0
    for size in SIZES:
        # A process of its own each time: what one size leaves in memory is not the next one's burden.
        command = [sys.executable, __file__, str(size)]
        figures = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        whole = figures["whole"]
        print(
            f"{size:8} {figures['entries']:8} {figures['read']:7.2f} {figures['compile']:8.2f} {figures['prove']:7.2f} "
            f"{whole:7.2f} {whole / size * 1e6:9.1f} {figures['edit']:6.3f} {figures['new kind']:9.3f}"
        )
    print(f"aim: {SIZES[-1]} routes under {AIM:.0f} s: {'held' if whole < AIM else 'MISSED'}")
    return 0 if whole < AIM else 1


def measure(size: int) -> None:
    """One size, part by part, and then the whole as the controller does it."""
    from policies.load import parse
    from policies.placement import everything
    from ryu_apps.flows.pipeline import compile_view
    from ryu_apps.policy.file import compile_document, without_collection
    from ryu_apps.verify import prove

    text, _ = large_document(size, SOCKETS)
    with without_collection():
        started = time.process_time()
        policy = parse(text, "bench.json")
        read = time.process_time()
        view = everything(policy)
        made = compile_view(view)
        compiled = time.process_time()
        proof = prove({"": made.entries}, policy, {"": view})
        proved = time.process_time()
        parts = {"read": read - started, "compile": compiled - read, "prove": proved - compiled}
        routes = policy.openflow.function_routing
        middle = routes[size // 2]
        for name, value in (
            ("edit", replace(middle, target_socket=routes[0].target_socket)),
            ("new kind", replace(middle, priority=middle.priority + 1)),
        ):
            changed = (*routes[: size // 2], value, *routes[size // 2 + 1 :])
            edited = replace(policy, openflow=replace(policy.openflow, function_routing=changed))
            started = time.process_time()
            later = everything(edited, view)
            prove({"": compile_view(later, made).entries}, edited, {"": later}, proof)
            parts[name] = time.process_time() - started
    count = len(made.entries)
    del policy, view, made, proof, routes, middle, changed, edited, later
    started = time.process_time()
    compile_document(text, "bench.json")
    print(json.dumps({"entries": count, **parts, "whole": time.process_time() - started}))


if __name__ == "__main__":
    sys.exit(main())
