"""The daemon has the clock, the entropy and the memory of the system.

The simulator defines functions of libc and BoringSSL anew, for its own binaries.
This is the test that none of that got into the release binary.
"""

import subprocess

from processes import SPOOKY

INTERPOSED = {
    "clock_gettime",
    "gettimeofday",
    "time",
    "getrandom",
    "getentropy",
    "syscall",
    "pthread_create",
    "nanosleep",
    "clock_nanosleep",
    "socket",
    "OPENSSL_memory_alloc",
    "OPENSSL_memory_free",
    "OPENSSL_memory_get_size",
}


def defined(file) -> set[str]:
    """Names of the functions that `file` defines, weak ones among them."""
    lines = subprocess.run(
        ["nm", "--defined-only", "--format=posix", str(file)],
        check=True,
        capture_output=True,
        text=True,
    ).stdout.splitlines()
    fields = [line.split() for line in lines]
    return {name for name, kind, *_ in fields if kind in "TtWwVv"}


def test_the_daemon_defines_nothing_of_what_the_simulator_interposes():
    names = defined(SPOOKY)
    # It has its symbols, so what is not among them is not there.
    assert {"main", "SSL_new"} <= names
    assert not names & INTERPOSED
