"""A door from the machine's loopback into a lab that was kept: one listening socket, opened before the sandbox was.

A socket belongs to the network namespace it was made in, so the lab's first process can accept connections on the
machine's loopback and pass them on to the REST server inside.
"""

from __future__ import annotations

import asyncio
import socket


def open_door() -> socket.socket:
    """Listen on a free port of the machine's loopback. The socket is inheritable."""
    door = socket.create_server(("127.0.0.1", 0))
    door.set_inheritable(True)
    return door


def keep_open(door: socket.socket, port: int) -> None:
    """Pass every connection on to 127.0.0.1:port of this namespace, for ever."""
    asyncio.run(_serve(door, port))


async def _serve(door: socket.socket, port: int) -> None:
    async def passes(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there, back = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            writer.close()
            return
        await asyncio.gather(_pump(reader, back), _pump(there, writer))

    server = await asyncio.start_server(passes, sock=door)
    await server.serve_forever()


async def _pump(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    try:
        while data := await source.read(65536):
            target.write(data)
            await target.drain()
    except ConnectionError:
        pass
    finally:
        target.close()
