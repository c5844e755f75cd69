"""A wire between two ends that writes down every datagram."""

import asyncio
from contextlib import asynccontextmanager


class Tap(asyncio.DatagramProtocol):
    """Listens on a port of its own and passes everything on to `target`."""

    def __init__(self, target: int):
        self.target = ("127.0.0.1", target)
        self.datagrams: list[bytes] = []
        # The same, each with whether it went to the target.
        self.flow: list[tuple[bool, bytes]] = []
        self.port = 0
        self._transport = None
        self._outward: dict[tuple, asyncio.DatagramTransport] = {}
        self._waiting: dict[tuple, list[bytes]] = {}

    def connection_made(self, transport):
        self._transport = transport
        self.port = transport.get_extra_info("sockname")[1]

    def datagram_received(self, data, addr):
        """From the near end: each of its addresses gets an outward socket."""
        self.datagrams.append(data)
        self.flow.append((True, data))
        if outward := self._outward.get(addr):
            outward.sendto(data)
        elif addr in self._waiting:
            self._waiting[addr].append(data)
        else:
            self._waiting[addr] = [data]
            asyncio.ensure_future(self._open(addr))

    async def _open(self, addr):
        loop = asyncio.get_running_loop()
        outward, _ = await loop.create_datagram_endpoint(
            lambda: _Return(self, addr), remote_addr=self.target
        )
        self._outward[addr] = outward
        for data in self._waiting.pop(addr):
            outward.sendto(data)

    def close(self):
        for transport in [self._transport, *self._outward.values()]:
            transport.close()


class _Return(asyncio.DatagramProtocol):
    """From the far end, back to one address of the near end."""

    def __init__(self, tap: Tap, addr):
        self.tap, self.addr = tap, addr

    def datagram_received(self, data, addr):
        self.tap.datagrams.append(data)
        self.tap.flow.append((False, data))
        self.tap._transport.sendto(data, self.addr)


@asynccontextmanager
async def tap(target: int):
    loop = asyncio.get_running_loop()
    _, recorder = await loop.create_datagram_endpoint(
        lambda: Tap(target), local_addr=("127.0.0.1", 0)
    )
    try:
        yield recorder
    finally:
        recorder.close()
