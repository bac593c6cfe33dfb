"""Memory of ``privacy-agent run`` on a LAN router with 50 clients, 5 tunnels and 10 countries, after a while at rest.

Needs root; runs in a sandbox of its own.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "mininet"), str(ROOT)]

import sandbox  # noqa: E402
from director import LARGE, PREFIXES, write_zones  # noqa: E402
from lan_lab import LanLab  # noqa: E402

AGENT = Path(sys.executable).with_name("privacy-agent")
AIM = 120  # MB, also while all is read for the first time
START_TIME, AT_REST = 60.0, 65.0  # seconds; meanwhile each of the six large sets has been read whole
FIELD = re.compile(r"^(VmHWM|VmRSS):\s+(\d+) kB$", re.MULTILINE)


def main() -> int:
    if sys.argv[1:2] != ["inside"]:
        with tempfile.TemporaryDirectory() as directory:
            command = sandbox.sandboxed([sys.executable, __file__, "inside", directory])
            return subprocess.run(command, check=False).returncode
    lab = LanLab(Path(sys.argv[2]))
    write_zones(lab)
    policy = lab.write(LARGE)
    words = ["run", "--policy", policy, "--state-dir", lab.state, "--config-dir", lab.directory]
    agent = subprocess.Popen([AGENT, *map(str, words)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    deadline = time.monotonic() + START_TIME
    while lab.plan(LARGE):
        assert agent.poll() is None, agent.stderr and agent.stderr.read().decode()
        assert time.monotonic() < deadline, "the policy did not come into force"
        time.sleep(0.5)
    time.sleep(AT_REST)
    assert agent.poll() is None, agent.stderr and agent.stderr.read().decode()
    kilobytes = dict(FIELD.findall(Path(f"/proc/{agent.pid}/status").read_text()))
    agent.terminate()
    peak, resting = (int(kilobytes[name]) / 1e3 for name in ("VmHWM", "VmRSS"))
    size = f"{len(PREFIXES)} countries, {sum(PREFIXES.values())} prefixes"
    print(f"run, {size}    peak {peak:.0f} MB  at rest {resting:.0f} MB  (aim {AIM} MB)")
    return int(peak > AIM)


if __name__ == "__main__":
    sys.exit(main())
