"""An HTTP/3 backend on aioquic, which we did not write.

A process of its own, so that it can be killed:

    python origin.py --name web1 --cert FILE --key FILE --log FILE

It prints its UDP port on one line once it listens. What happened to it (a
request, a reset, a connection lost) goes to the log, a JSON object a line.
"""

import argparse
import asyncio
import hashlib
import json
import socket
import sys
from pathlib import Path

from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.asyncio.server import serve
from aioquic.buffer import encode_uint_var
from aioquic.h3.connection import ErrorCode, FrameType, H3Connection, encode_frame
from aioquic.h3.events import DataReceived, HeadersReceived
from aioquic.quic import events
from aioquic.quic.configuration import QuicConfiguration

import wsproto
import wsproto.events

import pattern

# Bytes that may wait in aioquic's send buffer of one stream.
SEND_BUFFER = 1 << 20
CHUNK = 60_000


class Gone(Exception):
    """The peer gave up this request."""


class Request:
    """One request, and the way to answer it."""

    def __init__(self, connection: "Connection", stream_id: int, headers):
        self.connection = connection
        self.stream_id = stream_id
        self.headers = [(k.decode(), v.decode()) for k, v in headers]
        pseudo = dict(self.headers)
        self.method = pseudo[":method"]
        self.path = pseudo[":path"].partition("?")[0]
        self.trailers: list[tuple[str, str]] = []
        self.chunks: asyncio.Queue[bytes | None] = asyncio.Queue()
        self.gone = False

    async def body(self):
        """The body's pieces as they come; raises Gone if it is cut off."""
        while (chunk := await self.chunks.get()) is not None:
            yield chunk
        if self.gone:
            raise Gone

    def start(self, status: int = 200, *headers: tuple[str, str], end: bool = False):
        name = self.connection.origin.name
        fields = [(":status", str(status)), ("x-backend", name), *headers]
        self._send_headers(fields, end)

    async def write(self, data: bytes):
        for at in range(0, len(data), CHUNK):
            while self._unsent() > SEND_BUFFER:
                await self.connection.progress()
            self._check()
            self.connection.http.send_data(
                self.stream_id, data[at : at + CHUNK], end_stream=False
            )
            self.connection.transmit()

    def finish(self, trailers: list[tuple[str, str]] | None = None):
        if trailers:
            self._send_headers(trailers, True)
        else:
            self._check()
            self.connection.http.send_data(self.stream_id, b"", end_stream=True)
            self.connection.transmit()

    def reset(self, code: int):
        self._check()
        self.connection._quic.reset_stream(self.stream_id, code)
        self.connection.transmit()

    async def sent(self):
        """Waits until the peer has acknowledged what was written."""
        while self._unsent():
            await self.connection.progress()

    def _send_headers(self, fields, end: bool):
        self._check()
        encoded = [(k.encode(), v.encode()) for k, v in fields]
        self.connection.http.send_headers(self.stream_id, encoded, end_stream=end)
        self.connection.transmit()

    def _unsent(self) -> int:
        stream = self.connection._quic._streams.get(self.stream_id)
        return len(stream.sender._buffer) if stream else 0

    def _check(self):
        if self.gone:
            raise Gone


# ---- what it serves: /name/argument/argument ------------------------------


async def bytes_(request: Request, size: str):
    """A body of known content and length."""
    if request.method == "HEAD":
        # No content-length: aioquic's client misses the body that it announces.
        return request.start(200, end=True)
    request.start(200, ("content-length", size))
    await request.write(pattern.body(int(size)))
    request.finish()


async def stream(request: Request, size: str):
    """The same without a content-length."""
    request.start()
    await request.write(pattern.body(int(size)))
    request.finish()


async def echo(request: Request):
    """The request's body as it comes, then its trailers."""
    request.start()
    async for chunk in request.body():
        await request.write(chunk)
    request.finish(request.trailers)


PAGE = """<!doctype html>
<title>waiting</title>
<script>const loaded = [];</script>
<script src="/script/1"></script><script src="/script/2"></script>
<script src="/script/3"></script><script src="/script/4"></script>
<p id="said">nothing</p>
<script>
async function all() {
  const bodies = await Promise.all(
    [1, 2, 3, 4].map(async n => (await (await fetch(`/bytes/${n}0000`)).arrayBuffer()).byteLength));
  const echoed = await (await fetch("/echo", { method: "POST", body: "tell-tale" })).text();
  const protocols = performance.getEntriesByType("resource").map(entry => entry.nextHopProtocol);
  const page = performance.getEntriesByType("navigation")[0].nextHopProtocol;
  document.getElementById("said").textContent =
    JSON.stringify({ loaded, bodies, echoed, page, protocols: [...new Set(protocols)] });
}
all().catch(error => { document.getElementById("said").textContent = String(error); });
</script>
"""


async def page(request: Request):
    """A page for a browser, which asks for more and says what it got."""
    await answer(request, "text/html", PAGE.encode())


async def script(request: Request, number: str):
    """One of its scripts."""
    await answer(request, "text/javascript", f"loaded.push({int(number)});".encode())


async def answer(request: Request, kind: str, body: bytes):
    request.start(200, ("content-type", kind), ("content-length", str(len(body))))
    await request.write(body)
    request.finish()


async def sink(request: Request, *_):
    """What arrived: length, checksum, headers, trailers."""
    sha256, size = hashlib.sha256(), 0
    async for chunk in request.body():
        sha256.update(chunk)
        size += len(chunk)
    await answer_json(
        request,
        {
            "bytes": size,
            "sha256": sha256.hexdigest(),
            "headers": request.headers,
            "trailers": request.trailers,
        },
    )


async def trailers(request: Request, size: str):
    """A body, and its checksum after it."""
    data = pattern.body(int(size))
    request.start()
    await request.write(data)
    request.finish([("x-sha256", pattern.digest(data)), ("x-last", "yes")])


async def status(request: Request, code: str):
    text = f"status {code}\n".encode()
    request.start(int(code), ("content-length", str(len(text))))
    await request.write(text)
    request.finish()


async def head(request: Request, size: str):
    """A response whose fields carry `size` bytes of values."""
    fields = [(f"x-fill-{i:02}", "v" * 1024) for i in range(int(size) // 1024)]
    request.start(200, *fields)
    request.finish()


async def slow(request: Request, milliseconds: str):
    """An answer that takes its time."""
    await asyncio.sleep(int(milliseconds) / 1000)
    request.start(200, ("content-length", "5"))
    await request.write(b"slow\n")
    request.finish()


async def drip(request: Request, count: str, milliseconds: str):
    """`count` pieces of 1000 bytes, `milliseconds` apart."""
    data = pattern.body(int(count) * 1000)
    request.start(200, ("content-length", str(len(data))))
    for at in range(0, len(data), 1000):
        await request.write(data[at : at + 1000])
        await asyncio.sleep(int(milliseconds) / 1000)
        request._check()
    request.finish()


async def reset(request: Request, size: str):
    """Half of a body, then a reset."""
    request.start(200, ("content-length", str(2 * int(size))))
    await request.write(pattern.body(int(size)))
    await request.sent()
    request.reset(ErrorCode.H3_INTERNAL_ERROR)


async def refuse(request: Request):
    """A reset and nothing else."""
    request.reset(ErrorCode.H3_INTERNAL_ERROR)


async def short(request: Request, size: str):
    """Half of a body, then a clean end, which is a lie."""
    request.start(200, ("content-length", str(2 * int(size))))
    await request.write(pattern.body(int(size)))
    request.finish()


async def hang_up(request: Request, size: str):
    """Half of a body, then the whole connection ends."""
    request.start(200, ("content-length", str(2 * int(size))))
    await request.write(pattern.body(int(size)))
    await request.sent()
    request.connection.close(ErrorCode.H3_INTERNAL_ERROR, "as asked")


async def goaway(request: Request):
    """An answer, and word that this connection takes no request after it."""
    request.start(200, ("content-length", "4"))
    await request.write(b"bye\n")
    request.finish()
    # aioquic has no call for it.
    frame = encode_frame(FrameType.GOAWAY, encode_uint_var(request.stream_id + 4))
    control = request.connection.http._local_control_stream_id
    request.connection._quic.send_stream_data(control, frame)
    request.connection.transmit()


async def raw(request: Request, hexadecimal: str, how: str, *_):
    """These bytes on the stream, past aioquic's HTTP/3; then its end, if `how` says so."""
    async for _chunk in request.body():
        pass
    quic = request.connection._quic
    quic.send_stream_data(request.stream_id, bytes.fromhex(hexadecimal), how == "end")
    request.connection.transmit()
    if how != "end":
        await asyncio.sleep(3600)


async def never(request: Request):
    """No answer at all."""
    await asyncio.sleep(3600)


async def chat(request: Request):
    """A WebSocket over HTTP/3 (RFC 9220) that says again what it hears."""
    if ("websocket" != dict(request.headers).get(":protocol")):
        return await status(request, "400")
    request.start()
    socket_ = wsproto.Connection(wsproto.ConnectionType.SERVER)
    async for chunk in request.body():
        socket_.receive_data(chunk)
        for event in socket_.events():
            if isinstance(event, wsproto.events.Message):
                await request.write(socket_.send(event))
            elif isinstance(event, wsproto.events.Ping | wsproto.events.CloseConnection):
                await request.write(socket_.send(event.response()))
    # The client has ended its direction.
    request.connection.origin.note("ended", path=request.path)
    request.finish()


async def tell(request: Request, size: str):
    """Accepts a tunnel, says `size` bytes and ends its direction; then it listens."""
    request.start()
    await request.write(pattern.body(int(size)))
    request.finish()
    heard = b"".join([chunk async for chunk in request.body()])
    request.connection.origin.note("heard", path=request.path, text=heard.decode())


async def answer_json(request: Request, value):
    text = json.dumps(value).encode()
    request.start(
        200,
        ("content-type", "application/json"),
        ("content-length", str(len(text))),
    )
    await request.write(text)
    request.finish()


ROUTES = {
    "bytes": bytes_,
    "stream": stream,
    "echo": echo,
    "sink": sink,
    "trailers": trailers,
    "status": status,
    "head": head,
    "slow": slow,
    "drip": drip,
    "reset": reset,
    "refuse": refuse,
    "short": short,
    "hang-up": hang_up,
    "goaway": goaway,
    "never": never,
    "raw": raw,
    "chat": chat,
    "tell": tell,
    "page": page,
    "script": script,
}


class Origin:
    """The server: a name, and a log of what happened to it."""

    def __init__(self, name: str, log: Path):
        self.name = name
        self._log = log.open("a", buffering=1)

    def note(self, event: str, **fields):
        self._log.write(json.dumps({"event": event, **fields}) + "\n")


class Connection(QuicConnectionProtocol):
    """One QUIC connection: hands requests to their routes."""

    def __init__(self, *args, origin: Origin, **kwargs):
        super().__init__(*args, **kwargs)
        self.origin = origin
        self.http: H3Connection | None = None
        self.requests: dict[int, Request] = {}
        # Also those that are over: a reset may follow the stop that ended one.
        self.paths: dict[int, str] = {}
        self._tasks: set[asyncio.Task] = set()
        self._progress = asyncio.Event()

    async def progress(self):
        """Waits for the next datagram, which may be an acknowledgement."""
        self._progress.clear()
        await self._progress.wait()

    def datagram_received(self, data, addr):
        super().datagram_received(data, addr)
        self._progress.set()

    def quic_event_received(self, event: events.QuicEvent):
        if isinstance(event, events.ProtocolNegotiated):
            self.http = H3Connection(self._quic)
            self.origin.note("connection")
        elif isinstance(event, events.StreamReset):
            self._abandon(event.stream_id, "reset", event.error_code)
        elif isinstance(event, events.StopSendingReceived):
            self._abandon(event.stream_id, "stop", event.error_code)
        elif isinstance(event, events.ConnectionTerminated):
            self.origin.note("closed", code=event.error_code)
            for stream_id in list(self.requests):
                self._abandon(stream_id, "lost", event.error_code)
        for http_event in self.http.handle_event(event) if self.http else []:
            self._http_event(http_event)

    def _http_event(self, event):
        if isinstance(event, HeadersReceived):
            request = self.requests.get(event.stream_id)
            if request is None:
                request = Request(self, event.stream_id, event.headers)
                self.requests[event.stream_id] = request
                self.paths[event.stream_id] = request.path
                self.origin.note("request", method=request.method, path=request.path)
                task = asyncio.ensure_future(self._serve(request))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
            else:
                request.trailers = [(k.decode(), v.decode()) for k, v in event.headers]
            if event.stream_ended:
                request.chunks.put_nowait(None)
        elif isinstance(event, DataReceived):
            request = self.requests.get(event.stream_id)
            if request is not None:
                if event.data:
                    request.chunks.put_nowait(event.data)
                if event.stream_ended:
                    request.chunks.put_nowait(None)

    async def _serve(self, request: Request):
        name, *arguments = request.path.strip("/").split("/")
        route = ROUTES.get(name)
        try:
            if route is None:
                await status(request, "404")
            else:
                await route(request, *arguments)
        except Gone:
            pass
        except Exception as error:  # a bug here must show in the test's output
            print(f"{request.path}: {error!r}", file=sys.stderr, flush=True)
            request.reset(ErrorCode.H3_GENERAL_PROTOCOL_ERROR)
        finally:
            self.requests.pop(request.stream_id, None)

    def _abandon(self, stream_id: int, how: str, code: int):
        request = self.requests.get(stream_id)
        if request is not None or (how == "reset" and stream_id in self.paths):
            self.origin.note(how, path=self.paths[stream_id], code=code)
        if request is not None:
            request.gone = True
            request.chunks.put_nowait(None)
            self._progress.set()


async def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--name", required=True)
    parser.add_argument("--cert", required=True)
    parser.add_argument("--key", required=True)
    parser.add_argument("--log", type=Path, required=True)
    parser.add_argument("--port", type=int, default=0)
    arguments = parser.parse_args()

    configuration = QuicConfiguration(is_client=False, alpn_protocols=["h3"])
    configuration.load_cert_chain(arguments.cert, arguments.key)
    origin = Origin(arguments.name, arguments.log)
    server = await serve(
        "127.0.0.1",
        arguments.port,
        configuration=configuration,
        create_protocol=lambda *a, **k: Connection(*a, origin=origin, **k),
    )
    sock = server._transport.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
    print(sock.getsockname()[1], flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
