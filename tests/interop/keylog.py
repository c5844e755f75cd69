"""Reads datagrams with the secrets of an NSS key log, on aioquic's cryptography."""

from pathlib import Path

from aioquic._crypto import CryptoError
from aioquic.quic.crypto import CryptoContext
from aioquic.quic.packet import QuicProtocolVersion
from aioquic.tls import CipherSuite


def read(path: Path) -> list[tuple[str, bytes, bytes]]:
    """The label, client random and secret of each line."""
    lines = [line.split(" ") for line in path.read_text().splitlines()]
    return [(label, bytes.fromhex(r), bytes.fromhex(s)) for label, r, s in lines]


def decrypt(datagrams: list[bytes], secret: bytes, id_length: int) -> list[bytes]:
    """Payloads of those 1-RTT packets that `secret` opens.

    They are sent to connection ids of `id_length` bytes. The cipher is one that has
    secrets of this length.
    """
    suites = {
        32: [CipherSuite.AES_128_GCM_SHA256, CipherSuite.CHACHA20_POLY1305_SHA256],
        48: [CipherSuite.AES_256_GCM_SHA384],
    }
    opened = []
    for suite in suites[len(secret)]:
        context = CryptoContext()
        version = QuicProtocolVersion.VERSION_1
        context.setup(cipher_suite=suite, secret=secret, version=version)
        expected = 0
        for datagram in datagrams:
            # Long headers are of other packets, and have other keys.
            if datagram[0] & 0x80 or len(datagram) < 1 + id_length + 20:
                continue
            try:
                _, payload, number, _ = context.decrypt_packet(
                    datagram, 1 + id_length, expected
                )
            except CryptoError:
                continue
            expected = max(expected, number + 1)
            opened.append(payload)
    return opened
