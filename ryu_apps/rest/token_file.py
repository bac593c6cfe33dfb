"""The token that a change over REST needs: a line in a file that only its owner may read."""

from __future__ import annotations

import os
import secrets
import stat
from pathlib import Path

SHORTEST = 32  # characters; what is made here has 43, which are 256 random bits


class TokenUnusable(Exception):
    """The file cannot be made or read, or others may read it."""


def read_or_make_token(path: Path) -> str:
    """The token in the file, which is made, once, if it is not there. Raises TokenUnusable."""
    try:
        return _make(path)
    except FileExistsError:
        return _read(path)
    except OSError as error:
        raise TokenUnusable(f"{path}: cannot be made: {error.strerror}") from None


def _make(path: Path) -> str:
    """Raises FileExistsError when it is there. Readers find a whole token: it is linked when written."""
    if path.exists():
        raise FileExistsError
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    token = secrets.token_urlsafe(32)
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    try:
        with os.fdopen(descriptor, "w") as stream:
            stream.write(token + "\n")
        os.link(aside, path)
    finally:
        aside.unlink()
    return token


def _read(path: Path) -> str:
    try:
        with path.open() as stream:
            mode = os.fstat(stream.fileno()).st_mode
            token = stream.read(4096).strip()
    except (OSError, UnicodeDecodeError) as error:
        raise TokenUnusable(f"{path}: cannot be read: {error}") from None
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise TokenUnusable(f"{path}: others may read it (mode {stat.S_IMODE(mode):04o}): chmod 600 it, or remove it")
    if len(token) < SHORTEST or not token.isascii() or not token.isprintable() or " " in token:
        raise TokenUnusable(f"{path}: holds no token of at least {SHORTEST} characters: remove it and start again")
    return token
