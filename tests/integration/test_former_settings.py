"""What containers of others had before we changed it, in a network namespace that plays one."""

from __future__ import annotations

from pathlib import Path

import pytest
from sandbox import Sandbox

from host_agent import former_settings
from host_agent.drivers import files, sysctl
from host_agent.drivers.namespaces import Namespaces
from host_agent.state import File, HostState, Sysctl

FORWARD, REDIRECTS = "net/ipv4/ip_forward", "net/ipv4/conf/all/accept_redirects"
OURS = [Sysctl(FORWARD, "1"), Sysctl(REDIRECTS, "1"), Sysctl("net/ipv4/conf/later0/rp_filter", "0")]
THEIRS = frozenset({Sysctl(FORWARD, "0"), Sysctl(REDIRECTS, "0")})  # not what a change of FORWARD sets it to


def test_all_settings_are_remembered_at_once_and_the_first_values_given_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = []

    def write(file: File) -> None:
        written.append(file)
        by_driver(file)

    by_driver = files.write
    monkeypatch.setattr(files, "write", write)
    with Sandbox() as container, Namespaces({"ct100": f"/proc/{container.first}/ns/net"}) as namespaces:

        def put(settings: list[Sysctl]) -> frozenset[Sysctl]:
            with namespaces.inside("ct100"):
                for setting in settings:
                    sysctl.write(setting)
                return sysctl.read(it.key for it in OURS)

        put(sorted(THEIRS, key=lambda it: it.key, reverse=True))
        for _ in range(2):
            former_settings.remember(tmp_path, namespaces, {"": [Sysctl(FORWARD, "1")], "ct100": OURS})
            assert put(OURS) == set(OURS[:2])
        assert len(written) == 1, "once for all, and not again for the same"
        assert former_settings.give_back(tmp_path, HostState(), namespaces) == 2
        assert put([]) == THEIRS
        assert not (tmp_path / former_settings.FILE).exists()
