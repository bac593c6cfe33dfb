"""A real WireGuard tunnel in the LAN router's lab: ``wgc1`` to the exit vpn1, whose far end can die and come back."""

from __future__ import annotations

import subprocess
from pathlib import Path

import lan_router
from lan_router import ip, run
from processes import wait_for

UNDERLAY, FAR_UNDERLAY = "10.181.0.1", "10.181.0.2"
PORT = 51820


class Tunnel:
    """Takes the place of the plain link that the lab has between router and vpn1."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._keys = {end: _key(directory / f"{end}.key") for end in ("near", "far")}
        self.device, number = lan_router.EXITS["vpn1"]
        self._far: subprocess.Popen[bytes] | None = None
        ip("link", "del", self.device)
        ip("link", "add", "under1", "type", "veth", "peer", "name", "under1", "netns", "vpn1")
        ip("address", "add", f"{UNDERLAY}/24", "dev", "under1")
        ip("link", "set", "under1", "up")
        ip("address", "add", f"{FAR_UNDERLAY}/24", "dev", "under1", namespace="vpn1")
        ip("link", "set", "under1", "up", namespace="vpn1")
        self._addresses = {"near": f"10.{number}.0.1/24", "far": f"10.{number}.0.2/24"}
        self._addresses6 = {"near": f"fd{number:02}::1/64", "far": f"fd{number:02}::2/64"}
        self._start("near", "", self.device)
        self.revive()

    def revive(self) -> None:
        """The far end comes up and shakes hands at once."""
        self._far = self._start("far", "vpn1", "wgend")

    def kill(self) -> None:
        """Nothing at the far end answers any more; what is near goes on as it is."""
        assert self._far is not None
        self._far.terminate()  # it takes its device and its socket with it
        self._far.wait()

    def renew(self) -> None:
        """As if it had been time for a new handshake."""
        self.kill()
        self.revive()

    def _start(self, end: str, namespace: str, device: str) -> subprocess.Popen[bytes]:
        inside = ["ip", "netns", "exec", namespace] if namespace else []
        program = subprocess.Popen([*inside, "wireguard-go", "--foreground", device], stderr=subprocess.DEVNULL)
        wait_for(Path(f"/run/wireguard/{device}.sock").exists, f"wireguard-go to make {device}")
        other, address = ("far", FAR_UNDERLAY) if end == "near" else ("near", UNDERLAY)
        run("wg", "set", device, "listen-port", str(PORT), "private-key", str(self._directory / f"{end}.key"))
        allowed = "0.0.0.0/0,::/0"
        peer = ("peer", self._keys[other], "endpoint", f"{address}:{PORT}", "persistent-keepalive", "1")
        ip("address", "add", self._addresses[end], "dev", device, namespace=namespace)
        ip("address", "add", self._addresses6[end], "dev", device, "nodad", namespace=namespace)
        ip("link", "set", device, "up", namespace=namespace)
        run("wg", "set", device, *peer, "allowed-ips", allowed)
        return program


def _key(path: Path) -> str:
    """A new private key in a file; its public one."""
    path.write_text(run("wg", "genkey"))
    path.chmod(0o600)
    done = subprocess.run(["wg", "pubkey"], stdin=path.open(), capture_output=True, text=True, check=True)
    return done.stdout.strip()
