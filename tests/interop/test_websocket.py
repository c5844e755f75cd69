"""WebSocket over HTTP/3 (RFC 9220) passes through, between ends that we did not write."""

import asyncio

import pytest
import wsproto
from aioquic.h3.connection import ErrorCode
from wsproto.events import BytesMessage, CloseConnection, Ping, Pong, TextMessage

import pattern
from client import End
from test_endings import until

UPGRADE = {":protocol": "websocket", "sec-websocket-version": "13"}


@pytest.fixture(scope="module")
def origin(shared_house):
    return shared_house.origin()


@pytest.fixture(scope="module", params=["daemon", "tokio"])
def spooky(request, shared_house, origin):
    return shared_house.spooky(request.param, [origin.port])


class WebSocket:
    """The client's end: frames by wsproto, over one exchange."""

    def __init__(self, exchange):
        self.exchange = exchange
        self.frames = wsproto.Connection(wsproto.ConnectionType.CLIENT)
        self.events = []
        self.read = 0

    def send(self, event):
        self.exchange.send(self.frames.send(event))

    async def receive(self):
        """The next event, messages put together."""
        while True:
            new = bytes(self.exchange.body[self.read :])
            self.read += len(new)
            if new:
                self.frames.receive_data(new)
                self.events += self.frames.events()
            if self.events and getattr(self.events[0], "message_finished", True):
                return self.events.pop(0)
            if len(self.events) > 1:
                first, second, *rest = self.events
                joined = type(first)(
                    data=first.data + second.data,
                    message_finished=second.message_finished,
                )
                self.events = [joined, *rest]
                continue
            await self.exchange.until(lambda e: len(e.body) > self.read)
            assert len(self.exchange.body) > self.read, "it has ended"


async def open_socket(client) -> WebSocket:
    exchange = client.request("CONNECT", "/chat", headers=UPGRADE, end=False)
    await exchange.until(lambda e: e.status is not None)
    assert exchange.status == 200
    assert client.http.received_settings[8] == 1  # SETTINGS_ENABLE_CONNECT_PROTOCOL
    return WebSocket(exchange)


async def test_messages_come_back_and_the_socket_closes_in_good_order(
    shared_house, origin, spooky
):
    async with shared_house.connect(spooky) as client:
        ws = await open_socket(client)
        for text in ["hello", "", "\N{SNOWMAN}" * 1000]:
            ws.send(TextMessage(data=text))
            assert (await ws.receive()).data == text
        large = pattern.body(1_000_000)
        ws.send(BytesMessage(data=large))
        assert (await ws.receive()).data == large
        ws.send(Ping(payload=b"?"))
        assert await ws.receive() == Pong(payload=b"?")
        # Other requests go on beside it.
        assert (await client.get("/bytes/10")).body == pattern.body(10)
        ws.send(CloseConnection(code=1000, reason="done"))
        assert await ws.receive() == CloseConnection(code=1000, reason="done")
        ws.exchange.send(b"", end=True)
        assert (await ws.exchange.ended()).end == End.COMPLETE
        assert origin.events(event="ended", path="/chat")


async def test_many_sockets_at_once_keep_their_messages_apart(shared_house, spooky):
    async with shared_house.connect(spooky) as client:
        sockets = [await open_socket(client) for _ in range(20)]
        for n, ws in enumerate(sockets):
            for part in range(10):
                ws.send(TextMessage(data=f"{n}/{part}"))
        for n, ws in enumerate(sockets):
            for part in range(10):
                assert (await ws.receive()).data == f"{n}/{part}"


async def test_a_socket_that_is_idle_and_then_not(shared_house, spooky):
    async with shared_house.connect(spooky) as client:
        ws = await open_socket(client)
        await asyncio.sleep(2)
        ws.send(TextMessage(data="still here"))
        assert (await ws.receive()).data == "still here"


async def test_the_backend_may_end_first(shared_house, origin, spooky):
    path = f"/tell/{100_000 + len(spooky.kind)}"
    size = int(path.split("/")[-1])
    async with shared_house.connect(spooky) as client:
        exchange = client.request("CONNECT", path, headers=UPGRADE, end=False)
        # `end` is the response's; the request is still open.
        assert (await exchange.ended()).end == End.COMPLETE
        assert exchange.body == pattern.body(size)
        exchange.send(b"and yet", end=True)
        await until(lambda: origin.events(event="heard", path=path))
        assert origin.events(event="heard", path=path)[0]["text"] == "and yet"


async def test_an_abrupt_end_reaches_the_other_side(shared_house, origin, spooky):
    resets = len(origin.events(event="reset", path="/chat"))
    async with shared_house.connect(spooky) as client:
        ws = await open_socket(client)
        ws.send(TextMessage(data="hello"))
        await ws.receive()
        ws.exchange.cancel()
        await until(lambda: len(origin.events(event="reset", path="/chat")) > resets)
        code = origin.events(event="reset", path="/chat")[-1]["code"]
        assert code == ErrorCode.H3_REQUEST_CANCELLED
        exchange = client.request("CONNECT", "/reset/1000", headers=UPGRADE, end=False)
        await exchange.ended()
        assert (exchange.end, exchange.code) == (
            End.RESET,
            ErrorCode.H3_REQUEST_CANCELLED,
        )
        assert (await client.get("/bytes/10")).body == pattern.body(10)


async def test_what_is_refused_says_why(shared_house, spooky):
    async with shared_house.connect(spooky) as client:
        refused = client.request("CONNECT", "/status/403", headers=UPGRADE, end=False)
        await refused.ended()
        assert (refused.status, refused.body) == (403, b"status 403\n")
        other = {":protocol": "connect-udp"}
        other = client.request("CONNECT", "/chat", headers=other, end=False)
        await other.ended()
        assert other.status == 501
        assert "connect-udp" in other.headers["proxy-status"]


async def test_off_is_off(house, origin):
    spooky = house.spooky("daemon", [origin.port], websocket=False)
    async with house.connect(spooky) as client:
        exchange = client.request("CONNECT", "/chat", headers=UPGRADE, end=False)
        await exchange.ended()
        assert exchange.status == 501
        assert "websocket is off" in exchange.headers["proxy-status"]
        assert client.http.received_settings.get(8, 0) == 0
