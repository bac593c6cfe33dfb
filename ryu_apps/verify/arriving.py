"""What is so of every packet that comes in, before an entry has met it.

A packet brings no registers and no metadata. Nor does it bring a tracked connection or a tunnel's header out of another
network namespace: the kernel takes both off on the way (skb_scrub_packet). From a port in the node's own namespace it
may: the datapath takes over what the node's connection tracking knows of it. A packet's mark (pkt_mark) stays with it
everywhere, so nothing is said of that.
"""

from __future__ import annotations

from ryu_apps.openflow.oxm_fields import BY_NAME
from ryu_apps.packets.cubes import Cube
from ryu_apps.packets.headers import Space
from ryu_apps.verify.tables import Bridge

_REGISTERS = ("metadata", *(f"reg{number}" for number in range(16)))
_TRACKED = ("ct_state", "ct_zone", "ct_mark", "ct_label")
_TUNNEL = ("tun_id", "tun_src", "tun_dst", "tun_ipv6_src", "tun_ipv6_dst")
BROUGHT_BY_NONE = frozenset((*_REGISTERS, *_TRACKED, *_TUNNEL))  # that comes in from a container
_OF_THE_SWITCH = frozenset(BY_NAME[name].key for name in _REGISTERS)
_ALL = frozenset(BY_NAME[name].key for name in BROUGHT_BY_NONE)


def arriving(bridge: Bridge, port: str) -> Cube:
    """Everything that can come in by a port, but for ``Space.impossible``."""
    cube = bridge.space.port(port)
    bits = bridge.space.bits_among(_OF_THE_SWITCH) if port in bridge.node_ports else brought_by_none(bridge.space)
    return Cube(cube.mask | bits, cube.value)


def brought_by_none(space: Space) -> int:
    """The bits of ``BROUGHT_BY_NONE``, as far as any match is about them."""
    return space.bits_among(_ALL)
