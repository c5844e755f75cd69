"""What the tests start: Spooky's front ends, and backends that we did not write."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
SPOOKY = Path(os.environ.get("SPOOKY_BIN", TARGET / "release/spooky"))

# The same core under three drivers: how each is started on a configuration. The
# daemon drains on a signal, the two examples when their input ends.
FRONT_ENDS = {
    "daemon": [str(SPOOKY), "--config"],
    "tokio": [str(SPOOKY.parent / "examples/embed")],
    "blocking": [str(SPOOKY.parent / "examples/blocking")],
}


class Process:
    """A child whose output goes to files, and which ends with the test."""

    def __init__(self, folder: Path, name: str, command: list[str]):
        if not Path(command[0]).exists():
            raise FileNotFoundError(f"{command[0]}: build it with ./x test interop")
        self.name = name
        self.stdout_file = folder / f"{name}.out"
        self.stderr_file = folder / f"{name}.err"
        with self.stdout_file.open("wb") as out, self.stderr_file.open("wb") as err:
            self.child = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=out, stderr=err, cwd=folder
            )

    @property
    def stdout(self) -> str:
        return self.stdout_file.read_text(errors="replace")

    @property
    def stderr(self) -> str:
        return self.stderr_file.read_text(errors="replace")

    def running(self) -> bool:
        return self.child.poll() is None

    def signal(self, number: int):
        self.child.send_signal(number)

    def wait(self, timeout: float = 15) -> int:
        return self.child.wait(timeout)

    def kill(self):
        """SIGKILL, at once, and no word to anybody."""
        if self.running():
            self.child.kill()
        self.child.wait()

    def wait_for(self, condition, what: str, timeout: float = 20):
        deadline = time.monotonic() + timeout
        while not (value := condition()):
            if not self.running() or time.monotonic() > deadline:
                raise RuntimeError(
                    f"{self.name}: no {what} (exit code {self.child.poll()})\n"
                    f"{self.stdout[-2000:]}{self.stderr[-4000:]}"
                )
            time.sleep(0.02)
        return value


class FrontEnd(Process):
    """Spooky, as one of `FRONT_ENDS`."""

    def __init__(self, folder: Path, kind: str, config: dict):
        self.kind = kind
        self.expected_code = 0
        self.port = config["listen"]["port"]
        self.config_file = folder / "spooky.yaml"
        self.config_file.write_text(yaml(config))
        command = FRONT_ENDS[kind] + [str(self.config_file)]
        super().__init__(folder, kind, command)
        self.wait_for(lambda: udp_port_bound(self.port), f"listener on {self.port}")

    def stop(self) -> int:
        """Asks it to stop, and gives its exit code."""
        if self.kind != "daemon":
            self.child.stdin.close()
        elif self.running():
            self.signal(signal.SIGTERM)
        try:
            return self.wait(20)
        except subprocess.TimeoutExpired:
            self.kill()
            raise

    def resident(self) -> int:
        """Bytes of memory it occupies now (VmRSS)."""
        status = Path(f"/proc/{self.child.pid}/status").read_text()
        line = next(line for line in status.splitlines() if line.startswith("VmRSS:"))
        return int(line.split()[1]) * 1024


class Origin(Process):
    """`origin.py`: an HTTP/3 server on aioquic."""

    def __init__(self, folder: Path, name: str, identity, port: int = 0):
        self.log_file = folder / f"{name}.events"
        self.log_file.touch()
        command = [sys.executable, str(HERE / "origin.py"), "--name", name]
        command += ["--cert", str(identity.cert), "--key", str(identity.key)]
        command += ["--log", str(self.log_file), "--port", str(port)]
        super().__init__(folder, name, command)
        self.port = int(self.wait_for(lambda: self.stdout.strip(), "port"))

    def events(self, **fields) -> list[dict]:
        """What happened to it so far, where all of `fields` match."""
        lines = self.log_file.read_text().splitlines()
        found = [json.loads(line) for line in lines]
        return [e for e in found if all(e.get(k) == v for k, v in fields.items())]


class Caddy(Process):
    """Caddy, serving the files of a folder over HTTP/3."""

    def __init__(self, folder: Path, files: Path, identity):
        self.port = free_port()
        caddyfile = folder / "Caddyfile"
        caddyfile.write_text(
            f"""{{
    admin off
    auto_https off
    persist_config off
}}
https://:{self.port} {{
    tls {identity.cert} {identity.key}
    root * {files}
    file_server
}}
"""
        )
        caddy = str(Path(sys.executable).parent / "caddy")
        command = [caddy, "run", "--adapter", "caddyfile", "--config", str(caddyfile)]
        super().__init__(folder, "caddy", command)
        self.wait_for(lambda: udp_port_bound(self.port), f"listener on {self.port}")


@dataclass
class Silence:
    """A UDP port that takes everything and answers nothing."""

    def __post_init__(self):
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]

    def close(self):
        self._socket.close()


def free_port() -> int:
    """A UDP port where nobody listens."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def udp_port_bound(port: int) -> bool:
    """Asks the kernel's tables: to try to bind would disturb Spooky's own probe."""
    wanted = f":{port:04X}"
    for table in ("/proc/net/udp", "/proc/net/udp6"):
        for line in Path(table).read_text().splitlines()[1:]:
            if line.split()[1].endswith(wanted):
                return True
    return False


def yaml(value, indent: int = 0) -> str:
    """Mappings, lists and scalars as block YAML, the way people write it."""
    pad = "  " * indent
    if isinstance(value, dict):
        return "".join(
            f"{pad}{key}:\n{yaml(item, indent + 1)}"
            if isinstance(item, (dict, list))
            else f"{pad}{key}: {json.dumps(item)}\n"
            for key, item in value.items()
        )
    return "".join(
        f"{pad}- {yaml(item, indent + 1).lstrip()}"
        if isinstance(item, dict)
        else f"{pad}- {json.dumps(item)}\n"
        for item in value
    )
