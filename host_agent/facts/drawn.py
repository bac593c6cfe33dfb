"""What a plan cannot know: keys that are not on file are drawn by each run anew, until ``apply`` keeps them. Pure."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from host_agent.facts.identity import Identity
from host_agent.facts.values import public_key
from host_agent.state import File

NEW = "(new)"
DIGEST = re.compile(r"(?<=/client-)[0-9a-f]{12}(?=\.json$)")  # of its content, in the name of Xray's configuration


@dataclass(frozen=True)
class Drawn:
    keys: Mapping[str, str] = field(default_factory=dict)  # public key -> file that will hold the private one
    digests: frozenset[str] = frozenset()  # of files that hold what was drawn

    def words(self, text: str) -> str:
        """As a plan says it: what another run would draw otherwise is but new."""
        for drawn in (*self.keys, *self.digests):
            text = text.replace(drawn, NEW)
        return text

    def command(self, line: str) -> str:
        """As a script does it: by the key that its user has put into the file. A file may have any name."""
        if line.startswith("#"):
            return self.words(line)
        for key, path in self.keys.items():
            line = line.replace(key, f'"$(wg pubkey <{shlex.quote(path)})"')
        return line


def drawn(identity: Identity | None, state_dir: Path, files: Iterable[File]) -> Drawn:
    """Of what this run has drawn, and of the files that are to be."""
    if identity is None:
        return Drawn()
    keys = {
        public_key(gateway.client_key): str(state_dir / name)
        for gateway in identity.gateways.values()
        if (name := f"keys/client{gateway.name}-1.key") in identity.made
    }
    secrets = [it.user_id.text.encode() for it in identity.servers.values() if it.files().keys() & identity.made]
    holding = (it.path for it in files if any(secret in it.content for secret in secrets))
    return Drawn(keys, frozenset(digest[0] for path in holding if (digest := DIGEST.search(path))))
