#!/bin/sh
# Make the virtual environment: pinned dependencies, Ryu built with a setuptools it can be built with, this clone.
set -eu
venv=$1
here=$(dirname "$0")

"${PYTHON:-python3}" - <<'END' || exit 3
import sys
if not (3, 11) <= sys.version_info[:2] <= (3, 13):
    sys.exit(f"make setup: needs Python 3.11 to 3.13, this is {sys.version.split()[0]}; set PYTHON=/path/to/python3")
END
echo "Making $venv"
"${PYTHON:-python3}" -m venv --clear "$venv"
pip() { "$venv/bin/python" -m pip --quiet --disable-pip-version-check "$@"; }
constraints=$(cd "$here" && pwd)/ryu-build-constraints.txt
# Two names for one thing: older and newer pip.
PIP_CONSTRAINT=$constraints PIP_BUILD_CONSTRAINT=$constraints pip install --no-deps 'ryu==4.34'
pip install -r "$here/requirements.txt"
pip install --no-deps --editable "$here/.."
# Mininet is a system package and plain Python: let the labs import it from here.
packages=$("$venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
ln -sfn /usr/lib/python3/dist-packages/mininet "$packages/mininet"
