"""Storm's own processes: starting, watching and ending them.

What is read from /proc makes these checks Linux only.
"""

import os
import select
import signal
import subprocess
import tempfile
import threading
import time
from pathlib import Path

from checks import PATIENCE, Failed, expect

TICKS = os.sysconf("SC_CLK_TCK")


class Storm:
    """The binaries, and every process that was started from them."""

    def __init__(self, folder, runtime):
        self.folder = Path(folder)
        self.runtime = runtime
        self.lock = threading.Lock()
        self.started = []

    def echo(self, *options, listen="127.0.0.1:0"):
        """An echo server, by default on a port of the system's choice."""
        command = [self.folder / "conformance", "echo", "--runtime", self.runtime]
        return self.start([*command, "--listen", listen, *options])

    def chat(self, address="127.0.0.1:0"):
        """The chat example with its page."""
        return self.start([self.folder / "examples" / "chat", address])

    def start(self, command):
        server = Server([str(part) for part in command])
        with self.lock:
            self.started.append(server)
        return server

    def kill_all(self):
        with self.lock:
            for server in self.started:
                server.kill()


class Server:
    """A running server."""

    def __init__(self, command):
        self.errors = tempfile.TemporaryFile()
        self.process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=self.errors
        )
        self.pid = self.process.pid
        self.url = self.read_url()
        host, port = self.url.split("://")[1].rsplit(":", 1)
        # What a socket of Python's connects to: the path of a Unix socket is all.
        self.address = port if host == "unix" else (host, int(port))
        self.asked_to_stop = False

    def read_url(self):
        """`listening on ws://ADDRESS`, or `open http://ADDRESS in two tabs`."""
        line = b""
        deadline = time.monotonic() + PATIENCE
        while not line.endswith(b"\n"):
            left = deadline - time.monotonic()
            ready, _, _ = select.select([self.process.stdout], [], [], max(left, 0))
            byte = os.read(self.process.stdout.fileno(), 1) if ready else b""
            if not byte:
                self.kill()
                raise Failed(f"the server did not start: {self.complaints()}")
            line += byte
        words = line.decode().split()
        return next(word for word in words if "://" in word)

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        try:
            self.end()
        except Failed:
            # What failed first says more.
            if kind is None:
                raise

    def end(self):
        """Ends it, and sees to it that it lived until now and did not panic."""
        died = self.process.poll()
        self.kill()
        complaints = self.complaints()
        expect(died is None or self.asked_to_stop, f"the server died: {died}, {complaints}")
        expect("panicked" not in complaints, f"the server panicked: {complaints}")

    def complaints(self):
        self.errors.seek(0)
        return self.errors.read().decode(errors="replace").strip()

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(PATIENCE)
        if self.process.stdout:
            self.process.stdout.close()

    def ask_to_stop(self):
        self.asked_to_stop = True
        self.process.send_signal(signal.SIGTERM)

    def wait(self, limit):
        """The exit status, once it has ended."""
        try:
            return self.process.wait(limit)
        except subprocess.TimeoutExpired:
            raise Failed(f"the server did not end within {limit:.0f} s") from None

    # What the system knows of the process.

    def memory(self):
        """Resident bytes."""
        return self.status("VmRSS")

    def peak_memory(self):
        """The most resident bytes that it ever had."""
        return self.status("VmHWM")

    def status(self, key):
        with open(f"/proc/{self.pid}/status") as status:
            for line in status:
                name, value = line.split(":", 1)
                if name == key:
                    return int(value.split()[0]) * 1024
        raise Failed("the server is gone")

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def stat(self):
        """The fields of /proc/PID/stat from the state on."""
        with open(f"/proc/{self.pid}/stat") as stat:
            return stat.read().rpartition(")")[2].split()

    def processor_time(self):
        """Seconds of processor time used so far."""
        fields = self.stat()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def is_asleep(self):
        return self.stat()[0] == "S"
