"""Take over a wgcf profile, or have wgcf make one: only what describes a tunnel, readable by root only."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from host_agent.drivers import files
from host_agent.errors import AgentError, Missing, Refused
from host_agent.facts.profile import Profile, read_profile
from host_agent.roles.warp_hop import MTU
from host_agent.state import File

NAME = "wgcf-profile.conf"
TERMS = "https://www.cloudflare.com/application/terms/"
REGISTER_TIME = 120.0  # seconds


def import_profile(source: Path, config_dir: Path) -> tuple[Path, Path | None]:
    """The profile, rendered anew from what was understood of it, in the configuration directory; and where another that
    was there, which may be the only copy of an account's key, is now. Raises Refused."""
    try:
        text = source.read_text()
    except UnicodeDecodeError:
        raise Refused(f"{source}:1: not text, no WireGuard profile") from None
    except OSError as error:
        raise Refused(f"{source}: cannot be read: {error.strerror}") from None
    profile = read_profile(text, str(source))
    check(profile, str(source))
    target, new, former = config_dir / NAME, rendered(profile).encode(), None
    if target.exists() and target.read_bytes() != new:
        former = target.with_name(f"{NAME}.before-import")
        files.write(File(str(former), target.read_bytes()))
    files.write(File(str(target), new))
    return target, former


def check(profile: Profile, file: str) -> None:
    """Raises Refused if this is a profile, but none of a WARP tunnel."""
    problems = []
    if len(profile.peers) != 1:
        problems.append(f"{file}: expected one [Peer], found {len(profile.peers)}")
    elif profile.peers[0].endpoint is None:
        problems.append(f"{file}: its [Peer] has no Endpoint")
    if not any(address.version == 4 for address in profile.addresses):
        problems.append(f"{file}: it has no IPv4 Address")
    if problems:
        raise Refused(*problems)


def rendered(profile: Profile) -> str:
    """A WireGuard configuration file with nothing in it that executes or routes. Pure."""
    lines = ["[Interface]", f"PrivateKey = {profile.private_key.text}"]
    lines += [f"Address = {address}" for address in profile.addresses]
    lines += [f"MTU = {profile.mtu or MTU}"]
    for peer in profile.peers:
        lines += ["", "[Peer]", f"PublicKey = {peer.public_key}"]
        lines += [f"PresharedKey = {peer.preshared_key.text}"] if peer.preshared_key else []
        lines += [f"AllowedIPs = {network}" for network in sorted(peer.allowed_ips, key=str)]
        if peer.endpoint is not None:
            host, port = peer.endpoint
            lines += [f"Endpoint = {f'[{host}]' if ':' in host else host}:{port}"]
    return "\n".join([*lines, ""])


def register(config_dir: Path, accepts_terms: bool) -> tuple[Path, Path | None]:
    """A new WARP account by wgcf, in a directory of root's own that goes afterwards. Raises Refused, Missing."""
    if not accepts_terms:
        raise Refused(f"wgcf makes an account with Cloudflare: read {TERMS} and add --accept-tos if you agree")
    if (config_dir / NAME).exists():
        raise Refused(f"{config_dir / NAME} is there already; move it away to register anew")
    program = shutil.which("wgcf")
    if program is None:
        raise Missing("wgcf: not installed; get it from https://github.com/ViRb3/wgcf, Debian has no package of it")
    with tempfile.TemporaryDirectory(prefix="wgcf-") as directory:
        for words in (["register", "--accept-tos"], ["generate"]):
            _run([program, *words], directory)
        account = Path(directory, "wgcf-account.toml")
        if account.exists():  # it holds the licence and the token of the account
            files.write(File(str(config_dir / account.name), account.read_bytes()))
        return import_profile(Path(directory, NAME), config_dir)


def _run(command: list[str], directory: str) -> None:
    """What wgcf prints is not shown when it fails: it may hold keys."""
    environment = {"PATH": os.environ.get("PATH", os.defpath), "HOME": directory}
    try:
        subprocess.run(command, cwd=directory, env=environment, capture_output=True, timeout=REGISTER_TIME, check=True)
    except (subprocess.SubprocessError, OSError) as error:
        code = getattr(error, "returncode", None)
        raise AgentError(f"{' '.join(command)} failed{'' if code is None else f' with exit code {code}'}") from None
