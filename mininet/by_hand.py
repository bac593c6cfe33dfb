"""``make mininet``: Mininet's prompt with the switch and its sockets, beside a controller, in a sandbox.

The ``mn`` command would use the machine's own Open vSwitch and tune the machine's sysctls; and when anything fails, its
clean-up kills every controller on the machine.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

from daemons import start_open_vswitch
from lab import Lab
from mininet.cli import CLI
from mininet.log import setLogLevel
from mininet.net import Mininet
from mininet.node import RemoteController
from privacy_chain import PrivacyChain
from sandbox import FURNISH, dying_with_parent, sandboxed

LAB = Path("/run/lab")


def main() -> int:
    """Arguments: the policy; a second one if this is the first process of the sandbox."""
    policy = Path(sys.argv[1]).resolve()
    if len(sys.argv) == 2:
        command = dying_with_parent(sandboxed([sys.executable, __file__, str(policy), "inside"]))
        os.execvp(command[0], command)  # so that an interrupt is the prompt's alone
    subprocess.run(["sh", "-c", FURNISH], check=True)
    lab = Lab(LAB, LAB / policy.name)
    lab.policy.write_bytes(policy.read_bytes())
    start_open_vswitch(lab.processes, LAB / "ovs.db")
    lab.start_controller()
    lab.processes.wait("ryu-manager", _listens)
    _prompt(lab)
    return 0


def _listens() -> bool:
    with socket.socket() as asking:
        return asking.connect_ex(("127.0.0.1", 6653)) == 0


def _prompt(lab: Lab) -> None:
    os.environ["HOME"] = str(LAB)  # where the prompt keeps its history
    setLogLevel("output")
    Mininet.inited = True  # skips Mininet's tuning of machine-wide sysctls
    network = Mininet(topo=PrivacyChain(), controller=RemoteController)
    network.start()
    lab.wait_for_flows()
    CLI(network)
    network.stop()


if __name__ == "__main__":
    sys.exit(main())
