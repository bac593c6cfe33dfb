"""A service that answers datagrams, and a client that keeps asking it: which questions were answered, when, by whom.

asking.py serve ADDRESS PORT NAME
asking.py ask ADDRESS PORT INTERVAL    (says "asking"; when its input ends, prints one JSON object)
"""

from __future__ import annotations

import json
import select
import socket
import struct
import sys
import time
from collections import Counter
from contextlib import suppress

PATIENCE = 1.0  # seconds that an answer may take after the last question


def serve(address: str, port: int, name: str) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as service:
        service.setsockopt(socket.SOL_IP, 15, 1)  # IP_FREEBIND: the address may come later than the service
        service.bind((address, port))
        print("ready", flush=True)
        while True:
            question, asker = service.recvfrom(2048)
            service.sendto(question + name.encode(), asker)


def ask(address: str, port: int, interval: float) -> None:
    """Asks at even intervals (seconds). A question that cannot be sent counts as lost."""
    sent: list[float] = []
    answers: dict[int, str] = {}
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.setblocking(False)
        print("asking", flush=True)
        begin = time.monotonic()
        ending: float | None = None
        while ending is None or time.monotonic() < ending:
            due = begin + len(sent) * interval
            if ending is None and time.monotonic() >= due:
                with suppress(OSError):
                    client.sendto(struct.pack("!I", len(sent)), (address, port))
                sent.append(time.monotonic())
                continue
            wait = (due if ending is None else ending) - time.monotonic()
            readable, _, _ = select.select([client, *([sys.stdin] if ending is None else [])], [], [], max(wait, 0))
            if sys.stdin in readable:
                ending = time.monotonic() + PATIENCE
            if client in readable:
                answers |= _answers(client)
    lost = [number for number in range(len(sent)) if number not in answers]
    gap = max((_gap(run, sent) for run in _runs(lost)), default=0.0)
    by = Counter(answers.values())
    print(json.dumps({"asked": len(sent), "lost": len(lost), "longest_gap": round(gap, 4), "answered_by": by}))


def _answers(client: socket.socket) -> dict[int, str]:
    found = {}
    while True:
        try:
            answer = client.recv(2048)
            found[struct.unpack_from("!I", answer)[0]] = answer[4:].decode()
        except BlockingIOError:
            return found
        except OSError:  # an ICMP error for an earlier question
            continue


def _runs(lost: list[int]) -> list[tuple[int, int]]:
    runs: list[tuple[int, int]] = []
    for number in lost:
        if runs and runs[-1][1] == number - 1:
            runs[-1] = runs[-1][0], number
        else:
            runs.append((number, number))
    return runs


def _gap(run: tuple[int, int], sent: list[float]) -> float:
    """Seconds from the last question before the run that was answered to the first one after it."""
    return sent[min(run[1] + 1, len(sent) - 1)] - sent[max(run[0] - 1, 0)]


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve(sys.argv[2], int(sys.argv[3]), sys.argv[4])
    else:
        ask(sys.argv[2], int(sys.argv[3]), float(sys.argv[4]))
