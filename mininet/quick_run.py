"""``privacy-agent run`` that judges tunnels by shorter times than WireGuard's own, so that a lab need not wait minutes.

Arguments: policy, state directory, configuration directory, then what is to differ, as NAME=SECONDS: ``look`` or a name
of ``host_agent.run.health.Thresholds``.
"""

from __future__ import annotations

import sys
from pathlib import Path

from host_agent.run.health import Thresholds
from host_agent.run.log import Log
from host_agent.run.policy import Places
from host_agent.run.service import Timing, run


def main() -> int:
    policy, state, config, *settings = sys.argv[1:]
    seconds = {name: float(value) for name, _, value in (setting.partition("=") for setting in settings)}
    look = seconds.pop("look", Timing.health)
    places = Places(Path(policy), Path(state), Path(config))
    return run(places, Log(as_json=True), Timing(health=look, tunnels=Thresholds(**seconds)))  # type: ignore[arg-type]


if __name__ == "__main__":
    sys.exit(main())
