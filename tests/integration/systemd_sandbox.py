"""A real systemd as first process of a sandbox: on an overlay of this machine's own files, with the units installed.

Everything it writes is in memory and dies with it; of the machine's services it starts Open vSwitch and no other.
"""

from __future__ import annotations

import sys
from pathlib import Path

from host_sandbox import ROOT
from processes import wait_for
from sandbox import Sandbox

SYSTEMD = Path("/lib/systemd/systemd")
PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
MASKED = (
    *("systemd-udevd", "systemd-udev-trigger", "systemd-udevd-control.socket", "systemd-udevd-kernel.socket"),
    *("systemd-modules-load", "systemd-logind", "systemd-networkd", "systemd-resolved", "systemd-timesyncd"),
    *("systemd-random-seed", "systemd-remount-fs", "keyboard-setup", "console-setup", "apparmor", "networking"),
)
TARGET = """
[Unit]
Requires=basic.target
Wants=privacy-agent-boot.service privacy-agent.service network-pre.target network.target
After=basic.target
AllowIsolate=yes
"""
_INIT = """
home=$1 system=$2
exec 3>>"$home/console.log"
mount --make-rprivate /
mount -t tmpfs upper "$home/upper"
mkdir "$home/upper/files" "$home/upper/work"
mount -t overlay root -o "lowerdir=/,upperdir=$home/upper/files,workdir=$home/upper/work" "$home/root"
cd "$home/root"
mount -t proc proc proc
mount -t sysfs sys sys
mount -t cgroup2 cgroup sys/fs/cgroup
mount -t tmpfs run run
mount -t tmpfs tmp tmp
mount -t tmpfs -o mode=755 dev dev
mkdir dev/net dev/shm
for node in null zero full random urandom tty net/tun; do
    touch "dev/$node"
    mount --bind "/dev/$node" "dev/$node"
done
ln -s /proc/self/fd dev/fd
ip link add br0 type bridge
ip address add 192.168.50.1/24 dev br0
ip link set br0 up
cp -r "$home/etc/." etc/
mkdir -p var/lib/privacy-router
cp -r "$home/state/." var/lib/privacy-router/
rm -rf var/lib/openvswitch var/log/journal etc/fstab
mkdir -p var/lib/openvswitch
mkdir -p ".$3"
mount --bind -o ro "$3" ".$3"
ln -sfn "$3" opt/privacy-router
mkdir old
pivot_root . old
umount --lazy old
echo ready
exec env -i container=lab "PATH=$4" "$system" --system --log-target=console --show-status=0 >&3 2>&3
"""


class Machine(Sandbox):
    """``etc`` and ``state`` in the directory become /etc and /var/lib/privacy-router of the machine."""

    def __init__(self, directory: Path) -> None:
        for name in ("upper", "root", "etc/systemd/system", "state"):
            (directory / name).mkdir(parents=True, exist_ok=True)
        units = directory / "etc" / "systemd" / "system"
        for unit in (ROOT / "packaging" / "systemd").glob("*.service"):
            (units / unit.name).write_bytes(unit.read_bytes())
        for name in MASKED:
            (units / (name if "." in name else f"{name}.service")).symlink_to("/dev/null")
        (units / "default.target").write_text(TARGET)
        super().__init__(_INIT, directory, SYSTEMD, Path(sys.prefix).parent, PATH)
        self.enter[-1:] = ["--root", "--wd", "--"]
        self.environment = {"PATH": PATH}

    def shown(self, unit: str, name: str) -> str:
        return self.run("systemctl", "show", f"--property={name}", "--value", unit).strip()

    def wait_for(self, unit: str, name: str, value: str, seconds: float) -> None:
        def become() -> bool:
            return self.attempt("systemctl", "show", f"--property={name}", "--value", unit).stdout.strip() == value

        wait_for(become, f"{unit}: {name}={value}", seconds)
