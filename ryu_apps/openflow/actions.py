"""Actions on the wire (OpenFlow 1.3.5, 7.2.5): what entries do, in octets and back."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence

from ryu_apps.flows.flow import Action, DecTtl, Foreign, GotoTable, Match, Output, PushVlan, SetField, StripVlan
from ryu_apps.openflow.oxm import decode_match, encode_value, field_of

_OUTPUT, _PUSH_VLAN, _POP_VLAN, _DEC_NW_TTL, SET_FIELD = 0, 17, 18, 24, 25
_VLAN_TAG = 0x8100
_RESERVED_PORTS = {
    0xFFFFFFF8: "in_port", 0xFFFFFFF9: "table", 0xFFFFFFFA: "normal", 0xFFFFFFFB: "flood", 0xFFFFFFFC: "all",
    0xFFFFFFFD: "controller",
}  # fmt: skip


def encode_actions(actions: Sequence[Action], ports: Mapping[str, int], match: Match) -> bytes:
    """The action list of an entry with this match; GotoTable is an instruction and not part of it.

    Raises KeyError for a port or a field that has no number, ValueError for a value that is none of its field.
    """
    return b"".join(_encode(action, ports, match) for action in actions if not isinstance(action, GotoTable))


def _encode(action: Action, ports: Mapping[str, int], match: Match) -> bytes:
    match action:
        case Output(port):
            return struct.pack("!HHIH6x", _OUTPUT, 16, ports[port], 0)
        case SetField(field, value):
            tlv = encode_value(field, value, match).encode()
            padding = -(4 + len(tlv)) % 8
            return struct.pack("!HH", SET_FIELD, 4 + len(tlv) + padding) + tlv + bytes(padding)
        case DecTtl():
            return struct.pack("!HH4x", _DEC_NW_TTL, 8)
        case PushVlan():
            return struct.pack("!HHH2x", _PUSH_VLAN, 8, _VLAN_TAG)
        case StripVlan():
            return struct.pack("!HH4x", _POP_VLAN, 8)
        case GotoTable() | Foreign():
            raise TypeError(f"{action} stands in no action list of ours")


def decode_action(kind: int, body: bytes, ports: Mapping[int, str]) -> Action:
    """An action of a switch, from its type and what stands behind its length. A port that has a number only is none."""
    if kind == _OUTPUT:
        (port,) = struct.unpack_from("!I", body)
        name = ports.get(port) or _RESERVED_PORTS.get(port)
        return Output(name) if name else Foreign(f"output:{port}")
    if kind == SET_FIELD:
        return SetField(*field_of(decode_match(body[: 4 + body[3]])[0], ports))
    if kind == _PUSH_VLAN:
        return PushVlan() if body[:2] == _VLAN_TAG.to_bytes(2, "big") else Foreign(f"push_vlan:0x{body[:2].hex()}")
    simple: dict[int, Action] = {_DEC_NW_TTL: DecTtl(), _POP_VLAN: StripVlan()}
    return simple.get(kind) or Foreign(f"action_{kind}")
