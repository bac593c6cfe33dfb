"""The lab's services: a web server, a UDP echo and a name server; the first two say whom they see.

Started as ``python servers.py WEB_ADDRESS DNS_ADDRESS`` in the namespace that has both addresses; prints "ready".
"""

from __future__ import annotations

import asyncio
import json
import struct
import sys

BLOB = bytes(1 << 20)
ANSWER = "198.51.100.99"  # what the name server says for every name


async def serve_http(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """``GET /`` tells the peer's address; ``GET /blob/N`` sends N MiB."""
    request = (await reader.readline()).split()
    while (await reader.readline()).strip():
        pass
    path = request[1].decode() if len(request) > 1 else "/"
    mebibytes = int(path.removeprefix("/blob/")) if path.startswith("/blob/") else 0
    body = json.dumps({"peer": writer.get_extra_info("peername")[0]}).encode()
    length = mebibytes * len(BLOB) or len(body)
    writer.write(f"HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n".encode())
    try:
        if mebibytes:
            for _ in range(mebibytes):
                writer.write(BLOB)
                await writer.drain()
        else:
            writer.write(body)
        await writer.drain()
    except ConnectionError:
        pass  # the client had enough
    writer.close()


class Echo(asyncio.DatagramProtocol):
    """Answers with the peer's address and what it sent."""

    def connection_made(self, transport: asyncio.DatagramTransport) -> None:  # type: ignore[override]
        self._transport = transport

    def datagram_received(self, data: bytes, peer: tuple[str, int]) -> None:
        self._transport.sendto(f"{peer[0]} ".encode() + data, peer)


class Resolver(Echo):
    """A name server that knows one answer (RFC 1035): ANSWER for every A query."""

    def datagram_received(self, data: bytes, peer: tuple[str, int]) -> None:
        end = data.index(b"\0", 12) + 5
        record = b"\xc0\x0c" + struct.pack("!HHIH4s", 1, 1, 60, 4, bytes(map(int, ANSWER.split("."))))
        header = data[:2] + struct.pack("!HHHHH", 0x8180, 1, 1, 0, 0)
        self._transport.sendto(header + data[12:end] + record, peer)


async def serve(web: str, dns: str) -> None:
    loop = asyncio.get_running_loop()
    server = await asyncio.start_server(serve_http, web, 80)
    await loop.create_datagram_endpoint(Echo, (web, 7))
    await loop.create_datagram_endpoint(Resolver, (dns, 53))
    print("ready", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(*sys.argv[1:3]))
