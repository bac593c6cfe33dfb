"""Match fields of every accepted form -> one normal form: sorted (ovs-fields(7) name, canonical text).

Accepted are a map of fields, ovs-ofctl text, and the map of the document's example whose keys are protocol
words and whose values are ovs-ofctl text: ``{"ip": "nw_dst=100.104.70.10"}``. What ovs-ofctl would quietly
ignore (``nw_dst`` without ``ip`` matches all packets there) is either made true by adding the protocol word
that it needs, or refused.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from policies.kinds import Unfit, described
from policies.match_fields import ALIASES, ANY, IMPLIED, KNOWN, REFUSED, WORDS, canonical, writer
from policies.words import did_you_mean

Match = tuple[tuple[str, str], ...]

_IPV4, _IPV6, _ARP, _RARP, _MPLS = 0x0800, 0x86DD, 0x0806, 0x8035, (0x8847, 0x8848)
_ETHERNET = {_IPV4: "IPv4", _IPV6: "IPv6", _ARP: "ARP", _RARP: "RARP", 0x8847: "MPLS", 0x8848: "MPLS multicast"}
_PROTOCOLS = {1: "ICMP", 6: "TCP", 17: "UDP", 58: "ICMPv6", 132: "SCTP"}
_IN_ARP = {"nw_src": "arp_spa", "nw_dst": "arp_tpa", "nw_proto": "arp_op"}  # as ovs-ofctl reads them after "arp"
_WORD_OF = {meaning: word for word, meaning in WORDS.items()}
_NEEDING_NOTHING = frozenset(("in_port", "nw_src", "nw_dst", *WORDS))  # spares the look at prerequisites
_TELLING = frozenset(("dl_type", "nw_proto", "icmp_type", "icmp_code", "vlan_vid", "vlan_pcp"))  # say more than a value
_NOT_A_MATCH = frozenset(("priority", "table", "cookie", "actions", "action", "idle_timeout", "hard_timeout"))


class MatchError(Unfit):
    """The match cannot be used. ``problems``: (key of the map or "", message)."""

    def __init__(self, problems: Sequence[tuple[str, str]]) -> None:
        super().__init__("; ".join(f"{key}: {message}" if key else message for key, message in problems), problems)


@dataclass
class _Reading:
    """``fields``: canonical name -> text; ``said_by``: canonical name -> (key of the map, name as it was given)."""

    fields: dict[str, str] = field(default_factory=dict)
    said_by: dict[str, tuple[str, str]] = field(default_factory=dict)
    claims: list[tuple[str, str]] = field(default_factory=list)  # (key of the map, name as it was given)
    problems: list[tuple[str, str]] = field(default_factory=list)


def match(value: object) -> Match:
    """The match of a document. Raises Unfit."""
    if not isinstance(value, (dict, str)):
        raise Unfit(f"expected a map of match fields, or ovs-ofctl text, got {described(value)}")
    return normalise(value)


def normalise(given: Mapping[str, object] | str) -> Match:
    """The normal form of a match. Raises MatchError with everything that is wrong with it."""
    found = _by_its_shape(given)
    return _with_care(given) if found is None else found


def _by_its_shape(given: Mapping[str, object] | str) -> Match | None:
    """The normal form, if the names alone tell what becomes of their values. A policy has many matches of one shape."""
    names, texts = _names_and_texts(given)
    shape = _shape(tuple(names))
    if shape is None:
        return None
    try:
        for index, write in shape.fields:
            texts[index] = write(texts[index])
            if texts[index] == ANY:
                return None
    except Unfit:
        return None
    return tuple([(name, texts[index]) if index >= 0 else (name, "") for name, index in shape.form])


def _names_and_texts(given: Mapping[str, object] | str) -> tuple[list[str], list[str]]:
    """What is given. The name "", which no field has, stands for what is not as usual."""
    names: list[str] = []
    texts: list[str] = []
    legacy = given if isinstance(given, str) else ""
    for key, value in given.items() if isinstance(given, dict) else ():
        names.append(key)
        if key not in WORDS and isinstance(value, (str, int)) and not isinstance(value, bool):
            texts.append(str(value))
        elif key in WORDS and isinstance(value, str) and (not value or ("=" in value and not legacy)):
            texts.append("")
            legacy = value or legacy
        else:
            return [""], []
    for part in legacy.split(",") if legacy else ():
        name, equals, text = part.partition("=")
        names.append(name if bool(equals) != (name in WORDS) else "")
        texts.append(text)
    return names, texts


@dataclass(frozen=True)
class _Shape:
    """What all matches of the same names have in common.

    ``fields``: index of a name that has a value, and how the value is written. ``form``: the normal form, each name
    with the index of its value among the texts, or -1 if it is a protocol.
    """

    fields: tuple[tuple[int, Callable[[str], str]], ...]
    form: tuple[tuple[str, int], ...]


@lru_cache(maxsize=1024)
def _shape(names: tuple[str, ...]) -> _Shape | None:
    """None if the names are not all known, are not enough, contradict each other, or if their values matter."""
    reading = _Reading()
    for index, given in enumerate(names):
        name = ALIASES.get(given, given)
        if given not in KNOWN or name in _TELLING or name in reading.fields:
            return None
        reading.fields[name] = "" if name in WORDS else str(index)
        reading.said_by[name] = ("", given)
        reading.claims.append(("", given))
    try:
        form = _with_prerequisites(reading)
    except MatchError:
        return None
    fields = [(index, writer(given)) for index, given in enumerate(names) if given not in WORDS]
    return _Shape(tuple(fields), tuple((name, int(text) if text else -1) for name, text in form))


def _with_care(given: Mapping[str, object] | str) -> Match:
    reading = _Reading()
    if isinstance(given, str):
        _read_text(reading, "", given)
    else:
        for key, value in given.items():
            _read_entry(reading, key, value)
    if reading.problems:
        raise MatchError(reading.problems)
    return _with_prerequisites(reading)


def _read_entry(reading: _Reading, key: str, value: object) -> None:
    """One key of a map. A protocol word may carry more text: the legacy form."""
    if key in WORDS and (value is None or value is True or value == ""):
        _read_field(reading, key, key, None)
    elif key in WORDS and isinstance(value, str) and "=" in value:
        _read_field(reading, key, key, None)
        _read_text(reading, key, value)
    elif key in WORDS:
        message = f'is a protocol: its value may be "", or fields such as "nw_dst=192.0.2.1", not {described(value)}'
        reading.problems.append((key, message))
    elif isinstance(value, bool) or not isinstance(value, (str, int)):
        reading.problems.append((key, f"expected text or a whole number, got {described(value)}"))
    else:
        _read_field(reading, key, key, str(value))


def _read_text(reading: _Reading, key: str, text: str) -> None:
    """ovs-ofctl text: words and name=value, with commas or blanks between them."""
    for part in re.split(r"[,\s]+", text.strip(", \t")) if text.strip(", \t") else ():
        name, equals, value = part.partition("=")
        _read_field(reading, key, name, value if equals else None)


def _read_field(reading: _Reading, key: str, given: str, value: str | None) -> None:
    """``key`` is where it stands in the map, for the error; ``given`` the name as written."""
    name = ALIASES.get(given, given)
    problem = None
    text = ""
    if given in _NOT_A_MATCH:
        problem = f"{given} is no match field: it has a key of its own, or is not the document's to set"
    elif given in REFUSED:
        problem = f"{given} {REFUSED[given]}"
    elif given not in KNOWN:
        near = did_you_mean(given, KNOWN, "docs/policy.md lists all, and ovs-fields(7) explains them")
        problem = f"unknown match field {described(given)}; {near}"
    elif (value is None) != (name in WORDS):
        problem = f"{given} needs a value: {given}=..." if value is None else f"{given} is a protocol and has no value"
    elif name in reading.fields:
        problem = f"{given} is given twice" if given == name else f"{given} is another name of {name}, given before"
    elif value is not None:
        try:
            text = canonical(given, value)
        except Unfit as unfit:
            problem = f"{given}: {unfit}" if given != key else str(unfit)
    if problem:
        reading.problems.append((key, problem))
        return
    reading.fields[name] = text
    reading.said_by[name] = (key, given)
    reading.claims.append((key, given))


def _with_prerequisites(reading: _Reading) -> Match:
    """Find the Ethernet type and IP protocol that all fields agree on, and say them with one protocol word."""
    fields = dict(reading.fields)
    ethernet = _ethernet_type(reading)
    if ethernet == _ARP:
        for name, arp_name in _IN_ARP.items():
            if name in fields and arp_name in fields:
                raise MatchError([(reading.said_by[name][0], f"{name} is another name of {arp_name} in an ARP match")])
        fields = {_IN_ARP.get(name, name): text for name, text in fields.items()}
    protocol = _ip_protocol(reading, ethernet) if ethernet in (None, _IPV4, _IPV6) else None
    if ethernet is None and any(IMPLIED.get(name, (None, None))[1] == protocol for _, name in reading.claims):
        ethernet = _IPV4 if protocol is not None else None  # tcp_dst and the like: IPv4 unless IPv6 is said
    for name, needed in _needs(ethernet, protocol, fields) if not fields.keys() <= _NEEDING_NOTHING else ():
        if name in fields:
            raise MatchError([(reading.said_by[name][0], f"{name} needs {needed} beside it")])
    if "vlan_pcp" in fields:
        fields.setdefault("vlan_vid", "any")
    return _spelled(fields, ethernet, protocol)


def _needs(ethernet: int | None, protocol: int | None, fields: dict[str, str]) -> Iterator[tuple[str, str]]:
    """(field, what it needs beside it) for each field whose prerequisite is not met."""
    if ethernet not in (_IPV4, _IPV6):
        yield from ((name, "ip or ipv6") for name in ("nw_proto", "nw_tos", "nw_ecn", "nw_ttl", "ip_frag"))
    if ethernet not in _MPLS:
        yield from ((name, "mpls") for name in ("mpls_label", "mpls_tc", "mpls_bos", "mpls_ttl"))
    if protocol not in (6, 17, 132):
        yield from ((name, "tcp or udp, or sctp (tcp6 and so on for IPv6),") for name in ("tp_src", "tp_dst"))
    if protocol != 6:
        yield "tcp_flags", "tcp or tcp6"
    if protocol not in (1, 58):
        yield from ((name, "icmp or icmp6") for name in ("icmp_type", "icmp_code"))
    neighbour = {"nd_target": ("135", "136"), "nd_sll": ("135",), "nd_tll": ("136",)}
    for name, types in neighbour.items():
        if protocol != 58 or fields.get("icmp_type") not in types or fields.get("icmp_code") != "0":
            yield name, f"icmp6, icmp_type={' or '.join(types)} and icmp_code=0"
    if fields.get("vlan_vid") == "none":
        yield "vlan_pcp", "a VLAN tag"


def _spelled(fields: dict[str, str], ethernet: int | None, protocol: int | None) -> Match:
    """The fields with the one most telling protocol word in place of dl_type and nw_proto."""
    kept = {name: text for name, text in fields.items() if text != ANY and name not in WORDS}
    if ethernet is not None and (ethernet, None) in _WORD_OF:
        kept.pop("dl_type", None)
        word = _WORD_OF.get((ethernet, protocol))
        if word is None:
            word = _WORD_OF[ethernet, None]
        else:
            kept.pop("nw_proto", None)
        kept[word] = ""
    return tuple(sorted(kept.items()))


def _ethernet_type(reading: _Reading) -> int | None:
    claims = [(IMPLIED[name][0], key, name) for key, name in reading.claims if name in IMPLIED]
    if "dl_type" in reading.fields:
        claims.append((int(reading.fields["dl_type"], 16), *reading.said_by["dl_type"]))
    # nw_src and nw_dst mean IPv4, or ARP's addresses where something else says ARP.
    if not any(value == _ARP for value, _, _ in claims):
        claims += [(_IPV4, key, name) for key, name in reading.claims if name in ("nw_src", "nw_dst")]
    return _agreed(claims, _ETHERNET)


def _ip_protocol(reading: _Reading, ethernet: int | None) -> int | None:
    claims = [(IMPLIED[name][1], key, name) for key, name in reading.claims if name in IMPLIED]
    if "nw_proto" in reading.fields:
        claims.append((int(reading.fields["nw_proto"]), *reading.said_by["nw_proto"]))
    protocol = _agreed(claims, _PROTOCOLS)
    wrong = {_IPV4: 58, _IPV6: 1}.get(ethernet or 0)
    if protocol is not None and protocol == wrong:
        key, name = next((key, name) for value, key, name in claims if value == protocol)
        raise MatchError(
            [(key, f"{name} means {_PROTOCOLS[protocol]}, which {_ETHERNET[ethernet or 0]} does not carry")]
        )
    return protocol


def _agreed(claims: list[tuple[int | None, str, str]], titles: dict[int, str]) -> int | None:
    """The one value that all claims make. Raises MatchError naming two that differ."""
    said = [claim for claim in claims if claim[0] is not None]
    for value, key, name in said[1:]:
        if value != said[0][0]:
            first, other = (titles.get(number or 0, str(number)) for number in (said[0][0], value))
            raise MatchError([(key, f"{name} means {other}, but {said[0][2]} means {first}: no packet is both")])
    return said[0][0] if said else None
