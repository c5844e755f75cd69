"""An HTTP/3 client on aioquic, which we did not write."""

import asyncio
import socket
from contextlib import asynccontextmanager
from enum import Enum
from pathlib import Path

from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.h3.connection import ErrorCode, H3Connection
from aioquic.h3.events import DataReceived, HeadersReceived
from aioquic.quic import events
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection
from aioquic.quic.packet import QuicFrameType

CHUNK = 60_000


class End(Enum):
    """How a response ended."""

    COMPLETE = "complete"
    RESET = "reset"
    LOST = "connection lost"


class Exchange:
    """One request, and what came back so far."""

    def __init__(self, client: "Client", stream_id: int):
        self.client = client
        self.stream_id = stream_id
        self.status: int | None = None
        self.headers: dict[str, str] = {}
        self.body = bytearray()
        self.trailers: dict[str, str] | None = None
        self.end: End | None = None
        self.code: int | None = None
        self._sent = False  # the request, to its end
        self._changed = asyncio.Event()

    # The request's side.

    def send(self, data: bytes, *, end: bool = False):
        for at in range(0, len(data), CHUNK):
            piece = data[at : at + CHUNK]
            self.client.http.send_data(self.stream_id, piece, end_stream=False)
        if end:
            self.client.http.send_data(self.stream_id, b"", end_stream=True)
            self._sent = True
        self.client.transmit()

    def send_trailers(self, trailers: dict[str, str]):
        self.client.http.send_headers(self.stream_id, _encode(trailers), True)
        self._sent = True
        self.client.transmit()

    def cancel(self, code: int = ErrorCode.H3_REQUEST_CANCELLED):
        """Gives up both directions, as a browser does when its tab is closed."""
        quic = self.client._quic
        if not self._sent:
            quic.reset_stream(self.stream_id, code)
        quic.stop_stream(self.stream_id, code)
        self.client.transmit()

    # The response's side.

    async def until(self, condition, timeout: float = 20):
        """Waits until `condition(self)` holds or the response has ended."""

        async def wait():
            while not condition(self) and self.end is None:
                self._changed.clear()
                await self._changed.wait()

        await asyncio.wait_for(wait(), timeout)
        return self

    async def ended(self, timeout: float = 20) -> "Exchange":
        return await self.until(lambda _: False, timeout)

    def _event(self, event):
        if isinstance(event, HeadersReceived):
            fields = {k.decode(): v.decode() for k, v in event.headers}
            if self.status is None:
                self.status = int(fields.pop(":status"))
                self.headers = fields
            else:
                self.trailers = fields
        elif isinstance(event, DataReceived):
            self.body += event.data
        if event.stream_ended:
            self._finish(End.COMPLETE)
        self._changed.set()

    def _finish(self, end: End, code: int | None = None):
        if self.end is None:
            self.end, self.code = end, code
            self.client._exchanges.pop(self.stream_id, None)
        self._changed.set()


class Client(QuicConnectionProtocol):
    """One connection."""

    def __init__(self, quic, stream_handler=None):
        super().__init__(quic, stream_handler)
        self.http = H3Connection(quic)
        self.authority = "spooky.test"
        self.terminated: events.ConnectionTerminated | None = None
        self._exchanges: dict[int, Exchange] = {}

    def request(
        self,
        method: str,
        path: str,
        *,
        headers: dict[str, str] | None = None,
        body: bytes | None = None,
        trailers: dict[str, str] | None = None,
        end: bool = True,
    ) -> Exchange:
        """Sends a request, whole unless `end` is false."""
        stream_id = self._quic.get_next_available_stream_id()
        exchange = Exchange(self, stream_id)
        self._exchanges[stream_id] = exchange
        fields = {
            ":method": method,
            ":scheme": "https",
            ":authority": self.authority,
            ":path": path,
            "user-agent": "aioquic",
            **(headers or {}),
        }
        # Stable: pseudo-header fields first, the rest as it came.
        fields = dict(sorted(fields.items(), key=lambda f: not f[0].startswith(":")))
        bare = body is None and trailers is None
        self.http.send_headers(stream_id, _encode(fields), end_stream=bare and end)
        exchange._sent = bare and end
        if not bare:
            exchange.send(body or b"", end=end and trailers is None)
        if trailers is not None:
            exchange.send_trailers(trailers)
        self.transmit()
        return exchange

    def raw(self, data: bytes, *, end: bool = True) -> Exchange:
        """Puts bytes on a request stream of their own, past aioquic's HTTP/3."""
        stream_id = self._quic.get_next_available_stream_id()
        exchange = Exchange(self, stream_id)
        exchange._sent = end
        self._exchanges[stream_id] = exchange
        self._quic.send_stream_data(stream_id, data, end)
        self.transmit()
        return exchange

    async def get(self, path: str, *, timeout: float = 20, **kwargs) -> Exchange:
        return await self.request("GET", path, **kwargs).ended(timeout)

    async def post(
        self, path: str, body: bytes, *, timeout: float = 20, **kwargs
    ) -> Exchange:
        kwargs.setdefault("headers", {"content-length": str(len(body))})
        return await self.request("POST", path, body=body, **kwargs).ended(timeout)

    def quic_event_received(self, event):
        if isinstance(event, events.ConnectionTerminated):
            self.terminated = event
            for exchange in list(self._exchanges.values()):
                exchange._finish(End.LOST, event.error_code)
        elif isinstance(event, events.StreamReset):
            if exchange := self._exchanges.get(event.stream_id):
                exchange._finish(End.RESET, event.error_code)
        for http_event in self.http.handle_event(event):
            if exchange := self._exchanges.get(http_event.stream_id):
                exchange._event(http_event)

    def connection_lost(self, exc):
        for exchange in list(self._exchanges.values()):
            exchange._finish(End.LOST)


class PacedConnection(QuicConnection):
    """A connection whose streams get credit only when a test gives it.

    aioquic doubles a stream's window as soon as half of it has arrived, read or
    not; this one announces exactly what `grant` says.
    """

    def grant(self, stream_id: int, offset: int):
        """Lets the peer send up to `offset` on a stream."""
        self._streams[stream_id].max_stream_data_local = offset

    def _write_stream_limits(self, builder, space, stream):
        if stream.max_stream_data_local_sent == stream.max_stream_data_local:
            return
        buf = builder.start_frame(
            QuicFrameType.MAX_STREAM_DATA,
            capacity=1 + 8 + 8,
            handler=self._on_max_stream_data_delivery,
            handler_args=(stream,),
        )
        buf.push_uint_var(stream.stream_id)
        buf.push_uint_var(stream.max_stream_data_local)
        stream.max_stream_data_local_sent = stream.max_stream_data_local


@asynccontextmanager
async def connect(
    port: int,
    ca: Path,
    *,
    kind=QuicConnection,
    protocol=Client,
    identity=None,
    **settings,
):
    """A connection to 127.0.0.1:`port`, with the certificate of `identity`, if there is
    one; `settings` go to aioquic's configuration."""
    # Large enough that only the test or the network holds a transfer back.
    settings = {
        "max_data": 16 << 20,
        "max_stream_data": 4 << 20,
        "server_name": "127.0.0.1",
        **settings,
    }
    configuration = QuicConfiguration(
        is_client=True, alpn_protocols=["h3"], **settings
    )
    configuration.load_verify_locations(str(ca))
    if identity is not None:
        configuration.load_cert_chain(str(identity.cert), str(identity.key))
    quic = kind(configuration=configuration)
    transport, client = await asyncio.get_running_loop().create_datagram_endpoint(
        lambda: protocol(quic), local_addr=("127.0.0.1", 0)
    )
    sock = transport.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
    try:
        client.connect(("127.0.0.1", port))
        await asyncio.wait_for(client.wait_connected(), 15)
        yield client
    finally:
        client.close()
        transport.close()


def _encode(fields: dict[str, str]):
    return [(k.encode(), v.encode()) for k, v in fields.items()]
