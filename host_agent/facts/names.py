"""Host names' addresses, of both families, and what is remembered of them for when no name server answers.

An address that is in use stays in use as long as the name still has it, in whatever order and company a name
server gives its answers; and a name server that is silent takes no address away.
"""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path

from host_agent.drivers import files
from host_agent.state import File

FILE = "names.json"
EXACT = 3600  # seconds that the time of an answer on file may lag behind, so that not every answer is written

Addresses = tuple[IPv4Address | IPv6Address, ...]
Ask = Callable[[str, list[str]], Addresses]  # complains in the list


@dataclass(frozen=True)
class Answer:
    addresses: Addresses = ()
    moment: float = 0.0  # when a name server said so, seconds since 1970; 0: it is an address itself, or unknown
    old: bool = False  # nobody answered when it was asked for again

    @property
    def ipv4(self) -> tuple[IPv4Address, ...]:
        return tuple(address for address in self.addresses if isinstance(address, IPv4Address))


Lookup = Callable[[str, list[str]], Answer]


def resolve(name: str, missing: list[str]) -> Addresses:
    """The addresses of a host name, IPv4 first, each family sorted, so that the order of an answer changes nothing."""
    with suppress(ValueError):
        return (ip_address(name),)
    try:
        answers = socket.getaddrinfo(name, None, socket.AF_UNSPEC, socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        missing.append(f"{name}: has no address here ({error.args[-1]}); check this machine's name resolution")
        return ()
    found = {ip_address(str(answer[4][0]).partition("%")[0]) for answer in answers}
    return tuple(sorted(found, key=lambda address: (address.version, int(address))))


def renewed(known: Addresses, answer: Addresses) -> Addresses:
    """What to go on with. Pure. The first address of a family is the one in use."""
    if not answer:
        return known
    stay = [address for address in known if address in answer]
    return (*stay, *(address for address in answer if address not in stay))


def taken(before: Answer, found: Addresses, now: float) -> Answer:
    """What is known after a name server said ``found``, or nothing. Pure."""
    return Answer(renewed(before.addresses, found), now) if found else replace(before, old=True)


def asking(kept: Mapping[str, Answer], ask: Ask = resolve) -> Lookup:
    """For a program that is done soon: each name is asked for; where that fails, the last answer serves."""

    def lookup(name: str, missing: list[str]) -> Answer:
        complaints: list[str] = []
        answer = taken(kept.get(name, Answer()), ask(name, complaints), time.time())
        missing += [] if answer.addresses else complaints
        return answer

    return lookup


def remarks(answers: Mapping[str, Answer], now: float) -> tuple[str, ...]:
    """What is to be said of names that nobody answers for."""
    return tuple(
        f"degraded: no name server answers for {name}, its addresses of {(now - answer.moment) / 3600:.1f} h ago "
        "serve; check this machine's name resolution"
        for name, answer in sorted(answers.items())
        if answer.old and answer.addresses
    )


# --- on file


def kept(state_dir: Path) -> dict[str, Answer]:
    """Empty if nothing is remembered, or what is remembered is damaged."""
    with suppress(OSError, ValueError, TypeError, AttributeError, KeyError):
        known = json.loads((state_dir / FILE).read_text())
        return {
            str(name): Answer(tuple(map(ip_address, entry["addresses"])), float(entry["moment"]))
            for name, entry in known.items()
        }
    return {}


def keep(state_dir: Path, answers: Mapping[str, Answer]) -> None:
    """Remember these and no others. Writes nothing if that is what is remembered already."""
    there = kept(state_dir)
    wanted = {name: answer for name, answer in answers.items() if answer.addresses and not is_address(name)}
    if there.keys() == wanted.keys() and all(_is_as(there[name], answer) for name, answer in wanted.items()):
        return
    entries = {
        name: {"addresses": list(map(str, answer.addresses)), "moment": round(answer.moment)}
        for name, answer in sorted(wanted.items())
    }
    files.write(File(str(state_dir / FILE), f"{json.dumps(entries, indent=2)}\n".encode()))


def _is_as(there: Answer, answer: Answer) -> bool:
    return there.addresses == answer.addresses and abs(answer.moment - there.moment) < EXACT


def is_address(name: str) -> bool:
    with suppress(ValueError):
        ip_address(name)
        return True
    return False
