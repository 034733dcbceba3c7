"""What a byte of a hostile peer costs the server, beside one of an honest peer.

    cargo build --release -p conformance
    python3 bench/byte_cost.py [target/release/conformance]

Counts instructions of the server (user mode) with callgrind, so that the figures do not depend
on the machine or on what else it does. Each kind of input is sent twice, in two amounts; the
difference is what the bytes cost without start, handshake and end.
"""

import re
import socket
import subprocess
import sys
import tempfile
import threading

REQUEST = (
    b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
CLOSE = b"\x88\x82\0\0\0\0\x03\xe8"


def frame(first, payload):
    return bytes([first, 0x80 | len(payload)]) + b"\0\0\0\0" + payload


# Name, protocol, what is sent, how many bytes of it at once, and how often in the larger amount.
KINDS = [
    ("messages of 32 B", "ws", frame(0x82, b"x" * 32), None, 20_000),
    ("messages of 1 B", "ws", frame(0x82, b"x"), None, 100_000),
    ("empty messages", "ws", frame(0x82, b""), None, 100_000),
    ("empty pings", "ws", frame(0x89, b""), None, 100_000),
    ("pings of 4 B", "ws", frame(0x89, b"ping"), None, 100_000),
    ("pings of 125 B", "ws", frame(0x89, b"x" * 125), None, 10_000),
    ("empty pongs", "ws", frame(0x8A, b""), None, 100_000),
    ("fragments of 1 B", "ws", frame(0x02, b"x") + frame(0x00, b"x") * 998 + frame(0x80, b"x"),
     None, 100),
    ("lines of 32 B", "lines", b"x" * 31 + b"\n", None, 20_000),
    ("empty lines", "lines", b"\n", None, 200_000),
    ("empty messages with a length", "length", b"\0\0\0\0", None, 100_000),
    ("a line, byte by byte", "lines", b"x", 1, 20_000),
]


def drain(peer):
    while peer.recv(1 << 16):
        pass


def instructions(binary, protocol, wire, at_once):
    """How many instructions the server executes until it has handled all of it."""
    with tempfile.NamedTemporaryFile() as out:
        command = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={out.name}", binary,
                   "echo", "--threads", "1", "--listen", "127.0.0.1:0", "--protocol", protocol]
        server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        port = int(re.search(rb":(\d+)\s*$", server.stdout.readline())[1])
        with socket.create_connection(("127.0.0.1", port)) as peer:
            peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if protocol == "ws":
                peer.sendall(REQUEST)
                peer.recv(1 << 16)
            reader = threading.Thread(target=drain, args=(peer,))
            reader.start()
            step = at_once or len(wire) or 1
            for at in range(0, len(wire), step):
                peer.sendall(wire[at:at + step])
            peer.sendall(CLOSE if protocol == "ws" else b"")
            if protocol != "ws":
                peer.shutdown(socket.SHUT_WR)
            reader.join()
        server.terminate()
        _, said = server.communicate()
        return int(re.search(rb"Collected : (\d+)", said)[1])


def main():
    binary = sys.argv[1] if len(sys.argv) > 1 else "target/release/conformance"
    honest = {}
    print(f"{'':32} {'instructions':>12} {'per byte':>9} {'x honest':>9}")
    for name, protocol, unit, at_once, times in KINDS:
        few = instructions(binary, protocol, unit * (times // 10), at_once)
        many = instructions(binary, protocol, unit * times, at_once)
        units = times - times // 10
        each = (many - few) / units
        per_byte = each / len(unit)
        base = honest.setdefault("ws" if protocol == "ws" else "tcp", per_byte)
        print(f"{name:32} {each:12.1f} {per_byte:9.2f} {per_byte / base:9.2f}", flush=True)


if __name__ == "__main__":
    main()
