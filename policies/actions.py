"""Actions of a privacy flow, as ovs-ofctl(8) writes them."""

from __future__ import annotations

import re

from policies.kinds import Unfit, described

_OUTPUT = re.compile(r"output:([A-Za-z][A-Za-z0-9_.-]{0,14})")
_ACCEPTED = "accepted are output:PORT and drop"
_OUT_OF_THE_CHAIN = {
    "normal": "would switch the packet by its Ethernet address, past the chain",
    "flood": "would copy the packet to ports outside the chain",
    "all": "would copy the packet to ports outside the chain",
    "controller": "would send the clients' packets to the controller",
    "local": "would hand the packet to the host itself, outside the chain",
    "in_port": "would send the packet back to where it came from",
}


def action(value: object) -> str:
    """One action, checked. Raises Unfit."""
    if not isinstance(value, str):
        raise Unfit(f"expected an action as text, got {described(value)}; {_ACCEPTED}")
    word = value.strip().lower().removeprefix("output:").partition(":")[0]
    if word in _OUT_OF_THE_CHAIN:
        raise Unfit(f"{described(value)} {_OUT_OF_THE_CHAIN[word]}; {_ACCEPTED}")
    if value != "drop" and not _OUTPUT.fullmatch(value):
        raise Unfit(f"unknown action {described(value)}; {_ACCEPTED}")
    return value


def output_port(text: str) -> str | None:
    """The port of an ``output:PORT`` action, None for other actions."""
    found = _OUTPUT.fullmatch(text)
    return found.group(1) if found else None
