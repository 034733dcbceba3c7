"""A TCP client that does as it is told, and WebSocket frames of any kind."""

import select
import socket
import struct
import threading
import time

from checks import PATIENCE, Failed, brief, expect, expect_equal

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10

# The key of RFC 6455 section 1.3, and what has to be answered to it.
KEY = "dGhlIHNhbXBsZSBub25jZQ=="
ACCEPT = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
MASK = b"\x37\xfa\x21\x3d"


def request(*headers, target="/", version=13):
    """An upgrade request with some more header lines."""
    lines = [
        f"GET {target} HTTP/1.1",
        "Host: localhost",
        "Upgrade: websocket",
        "Connection: Upgrade",
        f"Sec-WebSocket-Key: {KEY}",
        f"Sec-WebSocket-Version: {version}",
        *headers,
    ]
    return "\r\n".join([*lines, "", ""]).encode()


def frame(opcode, payload=b"", fin=True, rsv=0, masked=True):
    """A frame as a client sends it, or one that only looks like it."""
    size = len(payload)
    if size < 126:
        length = bytes([size])
    elif size < 1 << 16:
        length = struct.pack(">BH", 126, size)
    else:
        length = struct.pack(">BQ", 127, size)
    head = bytes([fin << 7 | rsv << 4 | opcode, length[0] | masked << 7]) + length[1:]
    return head + (MASK + mask(payload) if masked else payload)


def mask(payload):
    size = len(payload)
    keys = (MASK * (size // 4 + 1))[:size]
    return (int.from_bytes(payload, "big") ^ int.from_bytes(keys, "big")).to_bytes(size, "big")


def close_frame(code, reason=b""):
    return frame(CLOSE, struct.pack(">H", code) + reason)


class Peer:
    """A connection to a server. No call waits longer than PATIENCE for a byte."""

    def __init__(self, server, receive_buffer=None):
        self.socket = socket.socket()
        if receive_buffer is not None:
            # Before connecting, so that the window never was larger.
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.settimeout(PATIENCE)
        self.socket.connect(server.address)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffered = bytearray()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    # Out.

    def send(self, *pieces):
        self.socket.sendall(b"".join(pieces))

    def send_beside(self, data):
        """Sends while the caller does something else, such as reading."""
        thread = threading.Thread(target=self.send_quietly, args=(data,), daemon=True)
        thread.start()
        return thread

    def send_quietly(self, data):
        try:
            self.socket.sendall(data)
        except OSError:
            # Whoever reads the answers notices.
            pass

    def push(self, data, patience):
        """Sends until nothing was taken for `patience` seconds; returns how much was."""
        view, sent = memoryview(data), 0
        while sent < len(data):
            _, ready, _ = select.select([], [self.socket], [], patience)
            if not ready:
                break
            sent += self.socket.send(view[sent:sent + (64 << 10)], socket.MSG_DONTWAIT)
        return sent

    def end_sending(self):
        self.socket.shutdown(socket.SHUT_WR)

    def reset(self):
        """Ends with a reset in place of an orderly end."""
        linger = struct.pack("ii", 1, 0)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.socket.close()

    # In.

    def take(self, size):
        """The next `size` bytes."""
        while len(self.buffered) < size:
            self.fill(f"{size} bytes, of which {brief(bytes(self.buffered))} came")
        taken = bytes(self.buffered[:size])
        del self.buffered[:size]
        return taken

    def line(self):
        return self.until(b"\n")

    def until(self, delimiter):
        searched = 0
        while (end := self.buffered.find(delimiter, searched)) < 0:
            searched = max(len(self.buffered) - len(delimiter), 0)
            self.fill(f"{delimiter!r} behind {brief(bytes(self.buffered))}")
        return self.take(end + len(delimiter))

    def fill(self, what):
        try:
            received = self.socket.recv(1 << 18)
        except TimeoutError:
            raise Failed(f"nothing came within {PATIENCE:.0f} s; expected {what}") from None
        except ConnectionError as error:
            raise Failed(f"{error}; expected {what}") from None
        if not received:
            raise Failed(f"the connection ended; expected {what}")
        self.buffered += received

    def head(self):
        """The status of an HTTP answer, and its headers in lower case."""
        lines = self.until(b"\r\n\r\n").decode().split("\r\n")
        headers = [line.split(":", 1) for line in lines[1:] if line]
        status = int(lines[0].split()[1])
        return status, {name.lower(): value.strip() for name, value in headers}

    def frame(self):
        """The opcode and payload of the next frame, which has to be one that a server
        may send."""
        first, second = self.take(2)
        expect(first & 0x70 == 0, f"reserved bits in {first:#x}")
        expect(first & 0x80, "a server that echoes has no reason to fragment")
        expect(second & 0x80 == 0, "a server must not mask (section 5.1)")
        size = second
        if second == 126:
            (size,) = struct.unpack(">H", self.take(2))
        elif second == 127:
            (size,) = struct.unpack(">Q", self.take(8))
        return first & 0x0F, self.take(size)

    def rest(self):
        """Everything up to the orderly end of the stream."""
        while True:
            try:
                received = self.socket.recv(1 << 18)
            except TimeoutError:
                raise Failed(f"the connection is open after {PATIENCE:.0f} s") from None
            except ConnectionError as error:
                raise Failed(f"no orderly end: {error}") from None
            if not received:
                break
            self.buffered += received
        rest = bytes(self.buffered)
        self.buffered.clear()
        return rest

    def ends(self, limit):
        """Waits for the end of the connection, orderly or not; reads nothing before."""
        poll = select.poll()
        poll.register(self.socket, select.POLLRDHUP)
        if not poll.poll(limit * 1000):
            raise Failed(f"the connection is open after {limit:.0f} s")

    # WebSocket.

    def upgrade(self, *headers):
        """Goes through the opening handshake; returns the answer's headers."""
        self.send(request(*headers))
        return self.accepted()

    def accepted(self):
        status, headers = self.head()
        expect_equal(status, 101, "status of the answer")
        expect_equal(headers.get("sec-websocket-accept"), ACCEPT, "Sec-WebSocket-Accept")
        return headers

    def expect_frame(self, opcode, payload, what):
        expect_equal(self.frame(), (opcode, payload), what)

    def expect_closed(self, code, what):
        """A Close frame with `code` is the next and last thing that comes."""
        opcode, payload = self.frame()
        expect_equal((opcode, payload[:2]), (CLOSE, struct.pack(">H", code)), what)
        expect_equal(self.rest(), b"", f"{what}: what follows the Close frame")


def websocket(server, **options):
    """A connection on which the opening handshake is done."""
    peer = Peer(server, **options)
    peer.upgrade()
    return peer


def expect_service(server, limit=PATIENCE):
    """A new client is served, within `limit` seconds."""
    start = time.monotonic()
    with websocket(server) as peer:
        peer.send(frame(TEXT, b"still there?"))
        peer.expect_frame(TEXT, b"still there?", "echo of a new client")
    took = time.monotonic() - start
    expect(took <= limit, f"a new client waited {took:.1f} s")
    return took
