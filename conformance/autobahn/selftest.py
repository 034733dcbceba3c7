"""Does the driver notice faults? Small peers with one planted fault each.

    python selftest.py

Every row of SERVERS and CLIENTS names a fault, the cases to run, and what the
report has to say about it: the behavior and a piece of the detail. The rows
without a fault have to come out OK, so that a driver which fails everything
does not pass either. Needs what the driver needs, and loopback.
"""

import asyncio
import base64
import hashlib
import json
import os
import pathlib
import sys
import tempfile

DRIVER = pathlib.Path(__file__).with_name("driver.py")
GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
PLAIN = "1.1.1,1.1.3,1.2.7,2.2,5.3,6.2.3,7.3.4,9.1.1,9.4.1"

# fault, cases, behavior, piece of the detail
SERVERS = [
    ("", PLAIN, "OK", ""),
    ("early echo", "9.1.6,9.2.6", "OK", ""),
    ("mask", "1.1.3,9.1.1", "FAILED", "masked frame"),
    ("long length", "1.1.2,9.1.1", "FAILED", "shortest form"),
    ("rsv", "1.1.3", "FAILED", "RSV1"),
    ("accept", "1.1.1", "FAILED", "Sec-WebSocket-Accept"),
    ("fixed accept", "1.1.1", "FAILED", "Sec-WebSocket-Accept"),
    ("extension", "1.1.1", "FAILED", "not offered"),
    ("subprotocol", "1.1.1", "FAILED", "subprotocol"),
    ("status", "1.1.1", "FAILED", "404"),
    ("no handshake", "1.1.1", "FAILED", "no answer to the handshake"),
    ("keep tcp", "1.1.1,7.3.4", "FAILED", "TCP still open"),
    ("one octet close", "1.1.1", "FAILED", "one octet"),
    ("bad reason", "1.1.1", "FAILED", "no UTF-8"),
    ("bad code", "7.3.4", "FAILED", "close code 1006"),
    ("after close", "1.1.1", "FAILED", "after its close"),
    ("bad text", "1.1.3", "FAILED", "no UTF-8"),
    ("other content", "9.1.1,9.7.2", "FAILED", "another content"),
    ("silent", "2.5,3.1,7.3.2", "FAILED", "gave up"),
    ("refuse", "1.1.1", "MISSING", "no connection"),
]
CLIENTS = [
    ("", PLAIN, "OK", ""),
    ("unmasked", "1.1.3,9.1.1", "FAILED", "unmasked frame"),
    ("same mask", "2.10,9.7.2", "FAILED", "one masking key"),
    ("long length", "1.1.2", "FAILED", "shortest form"),
    ("same key", "1.1.1,1.1.2", "FAILED", "Key twice"),
    ("short key", "1.1.1", "FAILED", "16 octets"),
    ("version", "1.1.1", "FAILED", "Version"),
    ("keep tcp", "1.1.1", "FAILED", "TCP still open"),
    ("one octet close", "1.1.1", "FAILED", "one octet"),
    ("after close", "1.1.1", "FAILED", "after its close"),
    ("silent", "2.5,7.3.2", "FAILED", "gave up"),
    ("die", "1.1.1,1.1.2", "MISSING", "did not run"),
]


class Peer:
    """An echo endpoint that does one thing wrong."""

    def __init__(self, fault, reader, writer, is_client):
        self.fault, self.reader, self.writer = fault, reader, writer
        self.is_client = is_client
        self.message = bytearray()
        self.opcode = 0

    async def echo(self):
        """Answer frames until the other side closes or ends."""
        try:
            while not await self._one_frame():
                pass
        except asyncio.IncompleteReadError:
            pass
        if self.fault == "keep tcp":
            await asyncio.sleep(7)

    async def _one_frame(self):
        """Read a frame and react; true after a close frame."""
        first, second = await self.reader.readexactly(2)
        length, wide = second & 0x7F, {126: 2, 127: 8}.get(second & 0x7F)
        if wide:
            length = int.from_bytes(await self.reader.readexactly(wide), "big")
        mask = await self.reader.readexactly(4) if second & 0x80 else bytes(4)
        opcode, fin = first & 0x0F, first & 0x80
        if self.fault == "early echo" and length > 65536:
            await self._echo_early(opcode, length, mask)
            return False
        payload = xor(await self.reader.readexactly(length), mask)
        if self.fault == "silent":
            return False
        if opcode == 8:
            await self._close(payload)
        elif opcode == 9:
            await self.send(10, payload)
        elif opcode < 8:
            self.message += payload
            self.opcode = opcode or self.opcode
            if fin:
                await self.send(self.opcode, bytes(self.message))
                self.message = bytearray()
        return opcode == 8

    async def _echo_early(self, opcode, length, mask):
        """Send the echo while the message still arrives, and read no further
        while the other side does not take it."""
        self.writer.write(bytes([0x80 | opcode, 127]) + length.to_bytes(8, "big"))
        while length:
            part = await self.reader.readexactly(min(length, 4096))
            length -= len(part)
            self.writer.write(xor(part, mask))
            await self.writer.drain()

    async def _close(self, payload):
        answers = {"one octet close": b"x", "bad reason": b"\x03\xe8\xff", "bad code": b"\x03\xee"}
        await self.send(8, answers.get(self.fault, payload[:2]))
        if self.fault == "after close":
            await self.send(1, b"more")

    async def send(self, opcode, payload):
        fault = self.fault
        if opcode in (1, 2) and payload:
            if fault == "bad text":
                payload = b"\xff" + payload[1:]
            elif fault == "other content":
                payload = b"x" + payload[1:]
        masked = self.is_client != (fault in ("mask", "unmasked"))
        rsv = 0x40 if fault == "rsv" else 0
        head = bytes([0x80 | rsv | opcode]) + self._length(len(payload), masked)
        if masked:
            mask = b"abcd" if fault == "same mask" else os.urandom(4)
            head += mask
            payload = xor(payload, mask)
        self.writer.write(head + payload)
        await self.writer.drain()

    def _length(self, length, masked):
        flag = 0x80 if masked else 0
        if self.fault == "long length" or length > 65535:
            return bytes([flag | 127]) + length.to_bytes(8, "big")
        if length > 125:
            return bytes([flag | 126]) + length.to_bytes(2, "big")
        return bytes([flag | length])


def xor(data, mask):
    key = (mask * (len(data) // 4 + 1))[: len(data)]
    number = int.from_bytes(data, "big") ^ int.from_bytes(key, "big")
    return number.to_bytes(len(data), "big")


def answer(fault, head):
    """A server's answer to a handshake."""
    key = head.lower().split(b"sec-websocket-key:")[1].split(b"\r\n")[0]
    start = head.lower().index(key)
    key = head[start : start + len(key)].strip()
    if fault == "accept":
        key = b"another key"
    if fault == "fixed accept":
        key = b"dGhlIHNhbXBsZSBub25jZQ=="
    accept = base64.b64encode(hashlib.sha1(key + GUID).digest())
    more = {
        "extension": b"Sec-WebSocket-Extensions: permessage-deflate\r\n",
        "subprotocol": b"Sec-WebSocket-Protocol: chat\r\n",
    }
    status = b"404 Not Found" if fault == "status" else b"101 Switching Protocols"
    return (
        b"HTTP/1.1 " + status + b"\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: " + accept + b"\r\n" + more.get(fault, b"") + b"\r\n"
    )


async def serve_one(fault, reader, writer):
    try:
        head = await reader.readuntil(b"\r\n\r\n")
        if fault == "no handshake":
            await reader.read()
        else:
            writer.write(answer(fault, head))
            await Peer(fault, reader, writer, is_client=False).echo()
    except (OSError, asyncio.IncompleteReadError):
        pass
    finally:
        writer.close()


async def visit(fault, host, port, path):
    """One connection of the client; gives the first text message."""
    reader, writer = await asyncio.open_connection(host, port)
    key = base64.b64encode(b"x" * (15 if fault == "short key" else 16))
    if fault not in ("same key", "short key"):
        key = base64.b64encode(os.urandom(16))
    version = b"12" if fault == "version" else b"13"
    writer.write(
        b"GET " + path.encode() + b" HTTP/1.1\r\nHost: suite\r\nUpgrade: websocket\r\n"
        b"Connection: Upgrade\r\nSec-WebSocket-Key: " + key + b"\r\n"
        b"Sec-WebSocket-Version: " + version + b"\r\n\r\n"
    )
    text = None
    try:
        await reader.readuntil(b"\r\n\r\n")
        if path == "/getCaseCount":
            text = (await reader.readexactly((await reader.readexactly(2))[1])).decode()
            fault = ""
        await Peer(fault, reader, writer, is_client=True).echo()
    except (OSError, asyncio.IncompleteReadError):
        pass
    finally:
        writer.close()
    return text


async def run_client(fault, host, port):
    count = int(await visit("", host, port, "/getCaseCount"))
    for number in range(1, count + 1):
        if fault == "die":
            return
        await visit(fault, host, port, f"/runCase?case={number}&agent=selftest")
    await visit("", host, port, "/updateReports?agent=selftest")


async def drive(*arguments):
    return await asyncio.create_subprocess_exec(
        sys.executable,
        str(DRIVER),
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )


async def server_row(fault, cases, out):
    async def handle(reader, writer):
        await serve_one(fault, reader, writer)

    server = await asyncio.start_server(handle, "127.0.0.1", 0, limit=1 << 20)
    port = server.sockets[0].getsockname()[1]
    if fault == "refuse":
        server.close()
    driver = await drive(
        "server", "--url", f"ws://127.0.0.1:{port}", "--cases", cases, "--out", out
    )
    await driver.wait()
    server.close()


async def client_row(fault, cases, out):
    driver = await drive(
        "client", "--listen", "127.0.0.1:0", "--cases", cases, "--idle", "4", "--out", out
    )
    line = (await driver.stdout.readline()).decode().split()
    host, port = line[-1].removeprefix("ws://").split(":")
    await run_client(fault, host, int(port))
    await driver.wait()


async def check(run_row, role, row, places):
    fault, cases, behavior, piece = row
    async with places:
        with tempfile.TemporaryDirectory() as folder:
            out = os.path.join(folder, "out.json")
            await run_row(fault, cases, out)
            with open(out, encoding="ascii") as file:
                verdicts = json.load(file)
    # A client can use its key twice only from the second case on.
    judged = verdicts[1:] if fault == "same key" else verdicts
    wrong = [v for v in judged if v["behavior"] != behavior or piece not in v["detail"]]
    if not fault:
        wrong += [v for v in judged if v["behaviorClose"] != "OK"]
    print(f"{'not ok' if wrong or not judged else 'ok'}: {role}, {fault or 'no fault'}")
    for verdict in wrong:
        print(f"    {verdict}")
    return not wrong and len(judged) > 0


async def main():
    # A few at a time: most of a row is waiting.
    places = asyncio.Semaphore(4)
    checks = [check(server_row, "server", row, places) for row in SERVERS]
    checks += [check(client_row, "client", row, places) for row in CLIENTS]
    good = await asyncio.gather(*checks)
    print(f"{sum(good)} of {len(good)} as expected")
    return 0 if all(good) else 1


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
