"""Bodies that show at once where they went wrong.

Every eight bytes count up, so a piece that is lost, doubled or moved changes
what follows, and two ends agree on a body by its length alone.
"""

import array
import hashlib
import sys

_words = array.array("Q")


def body(size: int) -> bytes:
    """The first `size` bytes of the pattern."""
    missing = (size + 7) // 8 - len(_words)
    if missing > 0:
        more = array.array("Q", range(len(_words), len(_words) + missing))
        if sys.byteorder == "little":
            more.byteswap()
        _words.extend(more)
    return bytes(memoryview(_words).cast("B")[:size])


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
