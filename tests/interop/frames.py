"""HTTP/3 by the byte, for what aioquic would not send."""

import itertools

DATA, HEADERS, SETTINGS, GOAWAY = 0x0, 0x1, 0x4, 0x7
GREASE = 0x1F * 7 + 0x21

_numbers = itertools.count()


def varint(value: int) -> bytes:
    """RFC 9000 section 16."""
    for width, tag in ((1, 0x00), (2, 0x40), (4, 0x80), (8, 0xC0)):
        if value < 1 << (8 * width - 2):
            coded = bytearray(value.to_bytes(width, "big"))
            coded[0] |= tag
            return bytes(coded)
    raise ValueError(value)


def frame(kind: int, payload: bytes, claimed: int | None = None) -> bytes:
    """A frame, of the length that it claims or of its own."""
    length = len(payload) if claimed is None else claimed
    return varint(kind) + varint(length) + payload


def data(payload: bytes) -> bytes:
    return frame(DATA, payload)


def section(fields) -> bytes:
    """Fields as literals with literal names (RFC 9204 section 4.5.6)."""
    coded = b"\0\0"
    for name, value in fields:
        name, value = name.encode("latin-1"), value.encode("latin-1")
        coded += _integer(len(name), 3, 0x20) + name
        coded += _integer(len(value), 7, 0) + value
    return coded


def headers(*fields) -> bytes:
    return frame(HEADERS, section(fields))


def request(method: str, path: str, *fields) -> list[tuple[str, str]]:
    plain = [
        (":method", method),
        (":scheme", "https"),
        (":authority", "spooky.test"),
        (":path", path),
    ]
    return [*plain, *fields]


def response(status, *fields) -> bytes:
    return headers((":status", str(status)), *fields)


def told(coded: bytes, *, end: bool = True) -> str:
    """A path of its own, on which the origin answers with these bytes."""
    return f"/raw/{coded.hex()}/{'end' if end else 'open'}/{fresh()}"


def fresh() -> int:
    """A number that no other path has."""
    return next(_numbers)


def _integer(value: int, bits: int, flags: int) -> bytes:
    """RFC 7541 section 5.1."""
    most = (1 << bits) - 1
    if value < most:
        return bytes([flags | value])
    coded, rest = bytearray([flags | most]), value - most
    while rest >= 128:
        coded.append(rest & 0x7F | 0x80)
        rest >>= 7
    coded.append(rest)
    return bytes(coded)
