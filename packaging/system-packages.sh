#!/bin/sh
# Install the system packages that are missing, and only those. Debian 12 and 13, Ubuntu 24.04.
set -eu

# What must be on the machine, as "command package".
needed="
ovs-vsctl openvswitch-switch
mnexec mininet
iptables iptables
ipset ipset
wg wireguard-tools
ip iproute2
tcpdump tcpdump
ping iputils-ping
nsenter util-linux
curl curl
modprobe kmod
systemd-analyze systemd
"
missing=""
while read -r command package; do
    [ -z "$command" ] || command -v "$command" >/dev/null || missing="$missing $package"
done <<END
$needed
END
command -v xray >/dev/null || command -v v2ray >/dev/null || missing="$missing v2ray"
# A kernel without WireGuard gets it from wireguard-go.
if ! command -v wireguard-go >/dev/null && ! modprobe -q wireguard 2>/dev/null; then
    missing="$missing wireguard-go"
fi
python=${PYTHON:-python3}
command -v "$python" >/dev/null || missing="$missing python3"
"$python" -c 'import ensurepip, venv' 2>/dev/null || missing="$missing python3-venv"

[ -n "$missing" ] || exit 0
if [ "$(id -u)" -ne 0 ]; then
    echo "make setup: these packages are missing, and only root can install them:$missing" >&2
    exit 3
fi
echo "Installing:$missing"
log=$(mktemp)
export DEBIAN_FRONTEND=noninteractive
# shellcheck disable=SC2086  # a list of words
if ! { apt-get update && apt-get install -y --no-install-recommends $missing; } >"$log" 2>&1; then
    tail -n 20 "$log" >&2
    echo "make setup: apt-get failed; all its output is in $log" >&2
    exit 3
fi
rm -f "$log"
