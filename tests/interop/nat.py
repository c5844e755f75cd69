"""A NAT between a client and Spooky, which may forget its binding at any time."""

import asyncio
import socket
from contextlib import asynccontextmanager

# For what arrives while Python is at something else; the kernel may allow less.
BUFFER = 4 << 20


class Nat(asyncio.DatagramProtocol):
    """Has one client on its near side, and `target` on the far side."""

    def __init__(self, target: int):
        self.target = ("127.0.0.1", target)
        self.port = 0
        # Datagrams for the client since it was bound anew.
        self.heard = 0
        self._client = None
        self._near = None
        self._far = None

    def connection_made(self, transport):
        self._near = transport
        self.port = transport.get_extra_info("sockname")[1]

    def datagram_received(self, data, addr):
        self._client = addr
        self._far.sendto(data)

    async def rebind(self, address: str = "127.0.0.1"):
        """From now on the client comes from another port of `address`; whatever is on
        its way to the old one is lost."""
        loop = asyncio.get_running_loop()
        far, _ = await loop.create_datagram_endpoint(
            lambda: _Far(self), local_addr=(address, 0), remote_addr=self.target
        )
        enlarge(far)
        # After the new one is bound, so that the port is another one.
        if self._far:
            self._far.close()
        self._far, self.heard = far, 0

    def close(self):
        for transport in (self._near, self._far):
            transport.close()


class _Far(asyncio.DatagramProtocol):
    """From Spooky, back to the client."""

    def __init__(self, nat: Nat):
        self.nat = nat

    def datagram_received(self, data, addr):
        self.nat.heard += 1
        self.nat._near.sendto(data, self.nat._client)


def enlarge(transport):
    sock = transport.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)


@asynccontextmanager
async def nat(target: int):
    loop = asyncio.get_running_loop()
    _, box = await loop.create_datagram_endpoint(
        lambda: Nat(target), local_addr=("127.0.0.1", 0)
    )
    await box.rebind()
    try:
        yield box
        await asyncio.sleep(0.05)  # the client's goodbye passes
    finally:
        box.close()
