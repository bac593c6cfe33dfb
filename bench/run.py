"""``make bench``: every figure of README.md, where there is one as a ratio to a reference of the same run."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
BENCHES = ("switch.py", "verify.py", "host.py", "director.py", "memory.py", "throughput.py", "ipset.py")


def main() -> int:
    failed = 0
    for name in BENCHES:
        print(f"--- {name}", flush=True)
        failed |= subprocess.run([sys.executable, str(HERE / name)], check=False).returncode
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
