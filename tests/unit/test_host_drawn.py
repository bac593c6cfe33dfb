"""A plan from nothing shows no key that apply will not use."""

from __future__ import annotations

from dataclasses import replace

from host_examples import IDENTITY, KEYS, STATE, wanted

from host_agent.facts.drawn import Drawn, drawn
from host_agent.facts.values import public_key

PEER = public_key(KEYS.client_key)


def test_what_is_drawn_anew_is_said_to_be_new() -> None:
    identity = replace(IDENTITY, made=frozenset({"keys/client-1.key", "xray/user-id"}))
    found = drawn(identity, STATE, wanted().files)
    (digest,) = found.digests
    assert found.words(f"wg100: peer {PEER}; write file /state/xray/client-{digest}.json") == (
        "wg100: peer (new); write file /state/xray/client-(new).json"
    )
    assert found.command(f"wg set wg100 peer {PEER} remove") == (
        'wg set wg100 peer "$(wg pubkey </state/keys/client-1.key)" remove'
    )
    assert found.command(f"rm -f client-{digest}.json") == f"rm -f client-{digest}.json", "a file may have any name"
    assert found.command(f"# peer {PEER}, client-{digest}.json") == "# peer (new), client-(new).json"


def test_what_is_on_file_is_shown() -> None:
    assert drawn(IDENTITY, STATE, wanted().files) == Drawn() == drawn(None, STATE, ())
    only_psk = replace(IDENTITY, made=frozenset({"keys/client-1.psk"}))
    assert drawn(only_psk, STATE, wanted().files) == Drawn()
