"""``make mininet``: Mininet's prompt with the switch and its sockets, beside a controller, in a sandbox.

The ``mn`` command would use the machine's own Open vSwitch and tune the machine's sysctls; and when anything fails, its
clean-up kills every controller on the machine.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from daemons import start_open_vswitch
from lab import REST, Lab
from mininet.cli import CLI
from mininet.log import setLogLevel
from mininet.net import Mininet
from mininet.node import RemoteController
from privacy_chain import PrivacyChain
from processes import LabError
from sandbox import FURNISH, dying_with_parent, sandboxed

from policies.errors import DocumentError
from policies.load import load

LAB = Path("/run/lab")
LOGS = LAB / "logs"
LAST_LINES = 10  # of each log, when the prompt cannot come
PING_SECONDS = "0.5"  # that an answer may take; within the sandbox it takes a few milliseconds
GREETING = f"""
The bridge ovsbr0 with its sockets and a controller; nothing else of the node. Hosts:
  ct100, warp, ct101                           the chain: WireGuard gateway, WARP hop, Xray client
  ct200, ct201                                 containers of the mesh
  client, node, isp, warpend, vps, internet    what is around them
Type, for instance:
  ct201 ping -c 1 ct200                        # answered: both are of the mesh
  ct100 ping -c 1 -W 1 ct101                   # unanswered: the gateway reaches Xray by the WARP hop only
  pingall                                      # most pairs are an X, by design: no entry or no route leads there
  dpctl dump-flows                             # the flow entries
  sh curl -s {REST}/v1/chain    # REST, which only this sandbox reaches
  sh tail {LOGS}/ryu-manager.log        # the controller's log, which goes with the sandbox
  exit                                         # nothing is left then

"""


def main() -> int:
    """Arguments: the policy; a second one if this is the first process of the sandbox."""
    policy = Path(sys.argv[1])
    if len(sys.argv) > 2:
        return _inside(policy)
    try:
        load(policy)
    except DocumentError as error:
        print(error, file=sys.stderr)
        return 2
    command = dying_with_parent(sandboxed([sys.executable, __file__, str(policy.resolve()), "inside"]))
    os.execvp(command[0], command)  # so that an interrupt is the prompt's alone


def _inside(policy: Path) -> int:
    subprocess.run(["sh", "-c", FURNISH], check=True)
    lab = Lab(LAB, LAB / policy.name)
    lab.policy.write_bytes(policy.read_bytes())
    try:
        start_open_vswitch(lab.processes, LAB / "ovs.db")
        lab.start_controller()
        lab.processes.wait("ryu-manager", _listens)
        _prompt(lab)
    except LabError as error:
        print(f"mininet: {error}", *_last_words(), sep="\n", file=sys.stderr)
        return 1
    return 0


def _last_words() -> Iterator[str]:
    """The ends of all logs, which go with the sandbox."""
    for log in sorted(LOGS.iterdir()):
        yield f"\n{log}:"
        yield from log.read_text(errors="replace").splitlines()[-LAST_LINES:]


def _listens() -> bool:
    with socket.socket() as asking:
        return asking.connect_ex(("127.0.0.1", 6653)) == 0


class Listening(RemoteController):  # type: ignore[misc]
    def isListening(self, ip: str, port: int) -> bool:
        """So it has been waited for. Mininet asks telnet(1), and fails if a random number in the answer is no UTF-8."""
        return True


class Prompt(CLI):  # type: ignore[misc]
    def do_pingall(self, line: str) -> None:
        """Ping between all hosts. Usage: pingall [seconds to wait for each answer]"""
        super().do_pingall(line or PING_SECONDS)  # of itself ping(8) waits ten seconds, and most are in vain


def _prompt(lab: Lab) -> None:
    os.environ["HOME"] = str(LAB)  # where the prompt keeps its history
    setLogLevel("error")  # that containers have no interfaces is so until the switch has started
    Mininet.inited = True  # skips Mininet's tuning of machine-wide sysctls
    network = Mininet(topo=PrivacyChain(), controller=Listening)
    network.start()
    lab.wait_for_flows()
    setLogLevel("output")
    print(GREETING, end="", flush=True)
    Prompt(network)
    network.stop()


if __name__ == "__main__":
    sys.exit(main())
