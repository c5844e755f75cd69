"""What goes over the wire is encrypted, on both sides of the daemon.

quiche's `fuzzing` feature, made for fuzz targets, turns encryption into a copy,
and Cargo unifies features. This is the test that the release binary was built
without it.
"""

import asyncio
import zlib

import pylsqpack

from client import End, connect
from tap import Tap, tap

PATH = "/echo/tell-tale-path"
FIELD = "tell-tale-field-value"
BODY = b"tell-tale-body " * 4000


def needles() -> list[bytes]:
    """Our plain texts, as letters and as QPACK's Huffman code has them."""
    plain = [PATH.encode(), FIELD.encode(), BODY[:15], b":status", b"content-length", b"HTTP"]
    return plain + [huffman(b":path", PATH.encode()), huffman(b"x-field", FIELD.encode())]


def huffman(name: bytes, value: bytes) -> bytes:
    """The value's code, which begins and ends on whole bytes."""
    _, encoded = pylsqpack.Encoder().encode(0, [(name, value)])
    code = encoded[-(len(value) * 5 // 8) :]
    # Letters take five bits or more each, so these bytes are the value's alone.
    assert value not in encoded
    return code


def unencrypted() -> bytes:
    """What a request would look like without encryption."""
    fields = [(b":path", PATH.encode()), (b"x-field", FIELD.encode())]
    _, encoded = pylsqpack.Encoder().encode(0, fields)
    return encoded + BODY


def assert_private(recorder: Tap):
    wire = b"".join(recorder.datagrams)
    # It did go through here, there and back.
    assert len(wire) > 2 * len(BODY)
    assert [n for n in needles() if n in wire] == []
    # Whatever we did not think to look for: ciphertext does not shrink. (The
    # padding of the first packets is encrypted as well.)
    assert len(zlib.compress(wire)) > 0.97 * len(wire)


def test_the_needles_would_be_found_in_plain_traffic():
    plain = unencrypted()
    found = [n for n in needles() if n in plain]
    assert len(found) == 3  # both Huffman codes, and the body
    assert len(zlib.compress(plain)) < 0.5 * len(plain)


async def test_no_plaintext_on_the_wire(house, certificates):
    origin = house.origin()
    async with tap(origin.port) as behind:
        spooky = house.spooky("daemon", [behind.port])
        async with tap(spooky.port) as before:
            async with connect(before.port, certificates.ca) as client:
                fields = {"x-field": FIELD, "content-length": str(len(BODY))}
                response = await client.post("/echo", BODY, headers=fields)
                assert (response.end, response.body) == (End.COMPLETE, BODY)
                await client.get(PATH, headers={"x-field": FIELD})
            # The taps stay while both sides say goodbye.
            await asyncio.sleep(0.3)
        assert_private(before)
        assert_private(behind)
