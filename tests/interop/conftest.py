"""The fixture of every test: certificates, backends, and a Spooky in front.

A test is a coroutine; it has a minute unless `@pytest.mark.timeout(SECONDS)`
says otherwise.
"""

import asyncio
import inspect

import pytest

from certificates import Authority
from client import connect
from processes import Caddy, FrontEnd, Origin, free_port


def pytest_configure(config):
    config.addinivalue_line("markers", "timeout(seconds): how long a test may take")


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem):
    function = pyfuncitem.obj
    if not inspect.iscoroutinefunction(function):
        return None
    names = pyfuncitem._fixtureinfo.argnames
    arguments = {name: pyfuncitem.funcargs[name] for name in names}
    marker = pyfuncitem.get_closest_marker("timeout")
    seconds = marker.args[0] if marker else 60
    asyncio.run(asyncio.wait_for(function(**arguments), seconds))
    return True


class Certificates:
    """Who everybody is, and an authority nobody trusts."""

    def __init__(self, folder):
        self.authority = Authority(folder, "authority")
        self.front = self.authority.issue("front")
        self.backend = self.authority.issue("backend")
        self.ca = self.authority.file
        self.stranger = Authority(folder, "stranger").issue("stranger-backend")


class House:
    """Starts things in one folder, and ends them all."""

    def __init__(self, folder, certificates: Certificates):
        self.folder = folder
        self.certificates = certificates
        self.front_ends: list[FrontEnd] = []
        self.others = []

    def origin(self, name: str = "web1", identity=None, port: int = 0) -> Origin:
        identity = identity or self.certificates.backend
        return self._keep(Origin(self.folder, name, identity, port))

    def caddy(self, files) -> Caddy:
        return self._keep(Caddy(self.folder, files, self.certificates.backend))

    def config(self, backends: list[int], **overrides) -> dict:
        """A configuration for backends on these ports of 127.0.0.1."""
        front = self.certificates.front
        listed = [
            {"id": f"web{n}", "address": f"127.0.0.1:{port}", "weight": 100}
            for n, port in enumerate(backends, 1)
        ]
        return {
            "listen": {"address": "127.0.0.1", "port": free_port()},
            "workers": 2,
            "tls": {"cert": str(front.cert), "key": str(front.key)},
            "load_balancing": {"lb_type": "random"},
            "backends": listed,
            "backend_tls": {"ca": str(self.certificates.ca)},
            "drain_timeout": "5s",
            **overrides,
        }

    def spooky(self, kind: str, backends: list[int], **overrides) -> FrontEnd:
        front_end = FrontEnd(self.folder, kind, self.config(backends, **overrides))
        self.front_ends.append(front_end)
        return front_end

    def connect(self, server, **settings):
        return connect(server.port, self.certificates.ca, **settings)

    def close(self):
        """Ends everything; a Spooky that does not end well fails the test."""
        complaints = []
        for front_end in self.front_ends:
            try:
                code = front_end.stop()
            except Exception as error:
                code = repr(error)
            if code != front_end.expected_code or "panicked" in front_end.stderr:
                complaints.append(
                    f"{front_end.kind} ended with {code}:\n{front_end.stderr[-4000:]}"
                )
        for other in self.others:
            other.kill()
        assert not complaints, "\n".join(complaints)

    def _keep(self, process):
        self.others.append(process)
        return process


@pytest.fixture(scope="session")
def certificates(tmp_path_factory):
    return Certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def house(tmp_path, certificates):
    house = House(tmp_path, certificates)
    yield house
    house.close()


@pytest.fixture(scope="module")
def shared_house(tmp_path_factory, certificates):
    """A house for all tests of a module: what they start is started once."""
    house = House(tmp_path_factory.mktemp("shared"), certificates)
    yield house
    house.close()
