"""Clients that break the rules, stall, flood or vanish. Section numbers are those of
RFC 6455."""

import http.client
import resource
import socket
import ssl
import struct
import time

from checks import (
    PATIENCE,
    Failed,
    check,
    expect,
    expect_between,
    expect_equal,
    pattern,
    wait_until,
)
from raw import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    Peer,
    close_frame,
    expect_service,
    frame,
    request,
    websocket,
)
from stuck import fill_until_stuck, let_it_work

MIB = 1 << 20

# Storm's deadlines, as its documentation gives them.
HANDSHAKE = 5
STALL = 30
CLOSING = 5
GRACE = 5
# What a busy machine may add to a deadline.
LATE = 2.5


class Memory:
    """How much a server's memory grows while something is done to it."""

    def __init__(self, server):
        self.server = server
        # One client first: what every server needs is not what is measured.
        expect_service(server)
        self.before = server.memory()

    def expect_growth_below(self, limit):
        growth = self.server.peak_memory() - self.before
        expect(growth < limit, f"memory grew by {growth >> 10} KiB, allowed {limit >> 10}")
        return f"memory +{max(growth, 0) >> 10} KiB"


# The opening handshake.


def expect_says_close(headers):
    connection = headers.get("connection", "")
    expect("close" in connection.replace(" ", "").split(","), f"Connection: {connection}")


@check(beside=True)
def silent_client_meets_the_handshake_deadline(storm):
    with storm.echo() as server, Peer(server) as peer:
        start = time.monotonic()
        peer.ends(HANDSHAKE + LATE)
        took = time.monotonic() - start
        expect_between(took, HANDSHAKE - 0.5, HANDSHAKE + LATE, "seconds until the end")
        expect_service(server)
        return f"ended after {took:.2f} s"


@check(beside=True)
def dripping_header_does_not_extend_the_deadline(storm):
    """A byte each half second: a deadline that bytes extend would never pass."""
    with storm.echo() as server, Peer(server) as peer:
        start = time.monotonic()
        for byte in request("X-Filler: " + "x" * 100):
            try:
                peer.send(bytes([byte]))
                peer.ends(0.5)
                break
            except (Failed, ConnectionError):
                expect(time.monotonic() - start < HANDSHAKE + LATE, "the deadline has passed")
        took = time.monotonic() - start
        expect_between(took, HANDSHAKE - 0.5, HANDSHAKE + LATE, "seconds until the end")
        expect_service(server)
        return f"ended after {took:.2f} s"


@check()
def ten_megabytes_of_header(storm):
    line = b"GET / HTTP/1.1\r\nHost: localhost\r\n"
    floods = {
        "one header line": (line + b"X: " + b"x" * (10 * MIB), 431),
        "many header lines": (line + b"X-Y: z\r\n" * (10 * MIB // 8), 431),
        "the request line": (b"GET /" + b"x" * (10 * MIB), 414),
    }
    with storm.echo() as server:
        memory = Memory(server)
        for name, (flood, expected) in floods.items():
            with Peer(server) as peer:
                peer.send_beside(flood)
                status, headers = peer.head()
                expect_equal(status, expected, f"status for 10 MB in {name}")
                expect_says_close(headers)
                peer.rest()
        expect_service(server)
        return memory.expect_growth_below(2 * MIB)


@check()
def tls_hello_on_the_plain_port(storm):
    """Answered at once: who gets the scheme wrong should not have to wait for a deadline."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    context = ssl.create_default_context()
    try:
        context.wrap_bio(incoming, outgoing, server_hostname="localhost").do_handshake()
    except ssl.SSLWantReadError:
        pass
    with storm.echo() as server, Peer(server) as peer:
        start = time.monotonic()
        peer.send(outgoing.read())
        status, _ = peer.head()
        peer.rest()
        took = time.monotonic() - start
        expect_equal(status, 400, "status of the answer")
        expect(took < HANDSHAKE / 2, f"the answer took {took:.1f} s")
        with socket.create_connection(server.address, PATIENCE) as plain:
            try:
                context.wrap_socket(plain, server_hostname="localhost")
            except ssl.SSLError as error:
                return error.reason
        raise Failed("a TLS handshake succeeded on a plain port")


@check()
def plain_http_is_told_to_upgrade(storm):
    with storm.echo() as server:
        connection = http.client.HTTPConnection(*server.address, timeout=PATIENCE)
        connection.request("GET", "/")
        answer = connection.getresponse()
        expect_equal(answer.status, 426, "status of the answer")
        expect_equal(answer.getheader("upgrade"), "websocket", "Upgrade header")
        expect(answer.read(), "the answer has a body")
        connection.close()


@check()
def nothing_is_served_behind_a_refusal(storm):
    """A proxy that took the upgrade for granted would tunnel the second request."""
    refused = {
        "version 12": (request(version=12), 426),
        "a body": (request("Content-Length: 5") + b"Hello", 400),
        "no key": (b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: upgrade\r\n"
                   b"Sec-WebSocket-Version: 13\r\n\r\n", 400),
        "no host": (b"GET / HTTP/1.1\r\n\r\n", 400),
        "the method POST": (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", 405),
    }
    with storm.echo() as server:
        for name, (head, expected) in refused.items():
            with Peer(server) as peer:
                peer.send(head, request())
                status, headers = peer.head()
                expect_equal(status, expected, f"status for {name}")
                expect_says_close(headers)
                expect(b"HTTP/1.1" not in peer.rest(), f"a second answer after {name}")


@check()
def second_request_is_read_as_frames(storm):
    """G is FIN 0, RSV1, opcode 7."""
    with storm.echo() as server, Peer(server) as peer:
        peer.send(request(), request())
        peer.accepted()
        peer.expect_closed(1002, "answer to a second request")


@check()
def frames_in_the_segment_of_the_request(storm):
    with storm.echo() as server, Peer(server) as peer:
        peer.send(request(), frame(TEXT, b"early"), frame(PING, b"bird"))
        peer.accepted()
        answers = sorted([peer.frame(), peer.frame()])
        expect_equal(answers, [(TEXT, b"early"), (PONG, b"bird")], "answers to both frames")


@check()
def every_cut_of_request_and_frames(storm):
    """One stream of bytes, cut at each place: the answers must not depend on it."""
    sent = request() + frame(TEXT, b"cut") + frame(PING, b"?") + close_frame(1000)
    with storm.echo() as server:
        for at in range(1, len(sent)):
            with Peer(server) as peer:
                peer.send(sent[:at])
                peer.send(sent[at:])
                peer.accepted()
                answers = sorted([peer.frame(), peer.frame()])
                expect_equal(answers, [(TEXT, b"cut"), (PONG, b"?")], f"answers, cut at {at}")
                peer.expect_closed(1000, f"answer to the Close frame, cut at {at}")
        return f"{len(sent) - 1} cuts"


# Frames.


@check()
def unmasked_frames_close_with_1002(storm):
    """Section 5.1. What such a frame says must not reach the application."""
    with storm.echo() as server:
        for opcode in [TEXT, BINARY, PING, CLOSE]:
            with websocket(server) as peer:
                peer.send(frame(opcode, b"\x03\xe8", masked=False))
                peer.expect_closed(1002, f"answer to an unmasked frame, opcode {opcode}")


@check()
def broken_frames_close_with_their_code(storm):
    huge = b"\x82\xff" + (2**63 - 1).to_bytes(8, "big")
    broken = [
        (1002, "a length with the top bit set", b"\x82\xff\x80" + bytes(11)),
        (1002, "a 16-bit length of 5", b"\x81\xfe\x00\x05" + bytes(9)),
        (1002, "a 64-bit length of 5", b"\x81\xff" + bytes(7) + b"\x05" + bytes(9)),
        (1002, "RSV1 without an extension", frame(TEXT, b"Hi", rsv=4)),
        (1002, "RSV3", frame(TEXT, b"Hi", rsv=1)),
        (1002, "opcode 3", frame(3)),
        (1002, "opcode 11", frame(11)),
        (1002, "a Ping of 126 bytes", frame(PING, bytes(126))),
        (1002, "a fragment of a Ping", frame(PING, fin=False)),
        (1002, "a fragment of nothing", frame(CONTINUATION, b"Hi")),
        (1002, "a message inside of a message", frame(TEXT, b"H", fin=False) + frame(TEXT)),
        (1009, "a length of 2^63 - 1", huge + bytes(4)),
        (1009, "a frame of 4 MiB + 1, announced", frame(BINARY, bytes(4 * MIB + 1))[:14]),
        (1007, "a byte that UTF-8 does not know", frame(TEXT, b"H\xff")),
        (1007, "a surrogate in UTF-8", frame(TEXT, b"\xed\xa0\x80")),
        (1007, "a character that is cut", frame(TEXT, b"\xce")),
        (1007, "a bad byte in a message that goes on", frame(TEXT, b"H\xff", fin=False)),
    ]
    with storm.echo() as server:
        memory = Memory(server)
        for code, name, sent in broken:
            with websocket(server) as peer:
                peer.send(frame(TEXT, b"before"), sent, frame(TEXT, b"behind"))
                peer.expect_frame(TEXT, b"before", f"echo before {name}")
                peer.expect_closed(code, f"answer to {name}")
        return memory.expect_growth_below(MIB)


@check()
def close_frames_of_all_kinds(storm):
    """Sections 5.5.1 and 7.4: what may be sent comes back, all else is 1002."""
    with storm.echo() as server:
        for code in [1000, 1001, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 4999]:
            with websocket(server) as peer:
                peer.send(close_frame(code, "Gr\u00fc\u00dfe".encode()))
                peer.expect_closed(code, f"answer to {code}")
        for code in [0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65535]:
            with websocket(server) as peer:
                peer.send(close_frame(code))
                peer.expect_closed(1002, f"answer to {code}")
        with websocket(server) as peer:
            peer.send(frame(CLOSE))
            peer.expect_frame(CLOSE, b"", "answer to a Close frame without a code")
            expect_equal(peer.rest(), b"", "what follows the Close frame")
        with websocket(server) as peer:
            peer.send(frame(CLOSE, b"\x03"))
            peer.expect_closed(1002, "answer to a Close frame of one byte")
        with websocket(server) as peer:
            peer.send(close_frame(1000, b"\xff\xfe"))
            peer.expect_closed(1007, "answer to a reason that is no UTF-8")


@check()
def nothing_counts_behind_a_close(storm):
    with storm.echo() as server, websocket(server) as peer:
        behind = frame(TEXT, b"behind") + frame(PING) + close_frame(1001)
        peer.send(frame(TEXT, b"before"), close_frame(1000), behind)
        peer.expect_frame(TEXT, b"before", "echo before the Close frame")
        # Section 7.1.1: the server ends the stream, without waiting for the client.
        peer.expect_closed(1000, "answer to the Close frame")


@check()
def stream_that_ends_without_a_close(storm):
    """What was said before is still answered."""
    with storm.echo() as server, websocket(server) as peer:
        peer.send(frame(TEXT, b"last words"))
        peer.end_sending()
        peer.expect_frame(TEXT, b"last words", "echo")
        expect(peer.rest() in (b"", b"\x88\x00"), "nothing but an end follows")


@check(beside=True)
def pings_do_not_extend_the_closing(storm):
    """A peer that was told 1002 and goes on as if nothing was is cut off."""
    with storm.echo() as server, websocket(server) as peer:
        peer.send(frame(TEXT, b"unmasked", masked=False))
        peer.expect_closed(1002, "answer to an unmasked frame")
        start = time.monotonic()
        try:
            while time.monotonic() - start < CLOSING + LATE:
                peer.send(frame(PING, b"still here"))
                time.sleep(0.1)
        except ConnectionError:
            took = time.monotonic() - start
            expect_between(took, 0, CLOSING + LATE, "seconds until the end")
            return f"cut off after {took:.2f} s"
        raise Failed(f"the connection is open {CLOSING + LATE} s after the Close frame")


@check()
def one_byte_fragments(storm):
    """131,072 fragments are allowed; memory is that of the bytes, not of the frames."""
    most = 131_072
    piece = frame(CONTINUATION, b"y", fin=False)
    with storm.echo() as server:
        memory = Memory(server)
        with websocket(server) as peer:
            fragments = frame(TEXT, b"y", fin=False) + piece * (most - 2)
            peer.send_beside(fragments + frame(CONTINUATION, b"y"))
            peer.expect_frame(TEXT, b"y" * most, "echo of the most fragments")
        for name, more in {"": piece, "empty ": frame(CONTINUATION, fin=False)}.items():
            with websocket(server) as peer:
                peer.send_beside(frame(TEXT, b"y", fin=False) + more * (most + 1000))
                peer.expect_closed(1008, f"answer to too many {name}fragments")
        return memory.expect_growth_below(2 * MIB)


# Floods.


@check()
def ping_flood_without_reading(storm):
    """A server that queues an answer to each would grow; section 5.5.3 only wants the
    last one answered."""
    with storm.echo() as server:
        memory = Memory(server)
        with websocket(server, receive_buffer=4096) as peer:
            flood = frame(PING, b"p" * 125) * 200_000
            sent = peer.push(flood, patience=2.0)
            remark = memory.expect_growth_below(MIB)
            expect_service(server)
            peer.send_beside(flood[sent:] + frame(PING, b"last") + frame(TEXT, b"and now?"))
            pongs = 0
            while (answer := peer.frame()) != (PONG, b"last"):
                expect_equal(answer, (PONG, b"p" * 125), "a Pong of the flood")
                pongs += 1
            peer.expect_frame(TEXT, b"and now?", "echo after the flood")
            return f"{sent >> 20} MiB of Pings, {pongs} Pongs, {remark}"


@check()
def pongs_that_nobody_asked_for(storm):
    with storm.echo() as server:
        memory = Memory(server)
        with websocket(server) as peer:
            peer.send(frame(PONG, b"p" * 125) * 100_000)
            peer.send(frame(TEXT, b"heard?"))
            peer.expect_frame(TEXT, b"heard?", "echo after the Pongs")
        return memory.expect_growth_below(MIB)


@check(limit=60, beside=True)
def client_that_never_reads(storm):
    """Its echoes may fill the outbox and no more; then the stall deadline ends it."""
    with storm.echo() as server:
        memory = Memory(server)
        with websocket(server, receive_buffer=64 << 10) as peer:
            flood = frame(BINARY, bytes(16 << 10)) * 4096
            sent = peer.push(flood, patience=1.0)
            expect(sent < len(flood), "the server took 64 MiB from a client that reads nothing")
            start = time.monotonic()
            expect_service(server, limit=5.0)
            used = server.processor_time()
            peer.ends(STALL + 5)
            took = time.monotonic() - start
            used = server.processor_time() - used
            expect(used < 0.5, f"{used:.2f} s of processor time while nothing moves")
            expect_between(took, STALL - 5, STALL + 5, "seconds until the end")
        remark = memory.expect_growth_below(4 * MIB)
        expect_service(server)
        return f"{sent >> 20} MiB taken, ended after {took:.1f} s, {remark}"


@check()
def late_reader_gets_every_echo(storm):
    """While a little waits in the server's outbox, the largest frame arrives: its echo
    has to wait for room, and must not get lost."""
    small, large = pattern(16 << 10), pattern(MIB)
    with storm.echo() as server, websocket(server, receive_buffer=64 << 10) as peer:
        echo_size = 4 + len(small)
        count = fill_until_stuck(server, peer, frame(BINARY, small), echo_size)
        peer.send_beside(frame(BINARY, large) + frame(TEXT, b"end"))
        let_it_work(server, peer)
        for number in range(count):
            peer.expect_frame(BINARY, small, f"echo {number}")
        peer.expect_frame(BINARY, large, "echo of 1 MiB behind the small ones")
        peer.expect_frame(TEXT, b"end", "the last echo")


# Peers that vanish.


@check()
def resets_at_every_stage(storm):
    whole = frame(BINARY, pattern(100_000))
    stages = {
        "before a byte": b"",
        "inside of the request": request()[:40],
        "behind the request": request(),
        "inside of a frame header": request() + whole[:5],
        "inside of a frame": request() + whole[:50_000],
        "behind a frame": request() + whole,
        "behind a Close frame": request() + close_frame(1000),
        "behind a fault": request() + frame(TEXT, masked=False),
    }
    with storm.echo() as server:
        expect_service(server)
        before = server.descriptors()
        for stage, sent in stages.items():
            for _ in range(25):
                peer = Peer(server)
                peer.send(sent)
                peer.reset()
            try:
                expect_service(server)
            except Failed as failure:
                raise Failed(f"after resets {stage}: {failure}") from None
        wait_until(lambda: server.descriptors() <= before, "all descriptors are closed")
        return f"{25 * len(stages)} resets"


@check()
def failed_openings_leave_nothing(storm):
    with storm.echo() as server:
        memory = Memory(server)
        before = server.descriptors()
        for number in range(2000):
            with Peer(server) as peer:
                if number % 2:
                    peer.send(b"BREW / HTTP/1.1\r\n\r\n")
                    peer.rest()
        wait_until(lambda: server.descriptors() <= before, "all descriptors are closed")
        expect_service(server)
        return memory.expect_growth_below(MIB)


# The process.


@check(beside=True)
def no_descriptors_left(storm):
    """The accept loop has to survive, without burning the processor, and go on by itself."""
    most = 64
    with storm.echo() as server:
        expect_service(server)
        resource.prlimit(server.pid, resource.RLIMIT_NOFILE, (most, most))
        peers = [Peer(server) for _ in range(200)]
        wait_until(lambda: server.descriptors() >= most, "the descriptors are used up")
        # The stretch in which nothing changes: the deadline of the openings is later.
        used = server.processor_time()
        time.sleep(2.0)
        used = server.processor_time() - used
        expect(used < 0.2, f"{used:.2f} s of processor time in 2 s of waiting")
        for peer in peers:
            peer.socket.close()
        took = expect_service(server, limit=2.0)
        return f"served again after {took:.2f} s, {used:.2f} s of processor time in 2 s"


@check(beside=True)
def termination_with_stuck_clients(storm):
    """SIGTERM ends the process within its grace, whatever the clients do not do."""
    with storm.echo() as server:
        silent = Peer(server)
        half = Peer(server)
        half.send(request()[:50])
        refused = Peer(server)
        refused.send(b"BREW / HTTP/1.1\r\n\r\n")
        # It answers no Close frame, as its client knows none.
        deaf = websocket(server)
        cut = websocket(server)
        cut.send(frame(BINARY, bytes(100_000))[:50_000])
        unread = websocket(server, receive_buffer=4096)
        unread.push(frame(BINARY, bytes(16 << 10)) * 4096, patience=1.0)
        start = time.monotonic()
        server.ask_to_stop()
        deaf.expect_frame(CLOSE, struct.pack(">H", 1001), "farewell to an idle client")
        code = server.wait(GRACE + 2 + LATE)
        took = time.monotonic() - start
        expect_equal(code, 0, "exit status")
        expect_between(took, 0, GRACE + 2, "seconds until the end")
        for peer in [silent, half, refused, deaf, cut, unread]:
            peer.socket.close()
        return f"ended after {took:.2f} s"


@check()
def termination_without_clients(storm):
    with storm.echo() as server:
        expect_service(server)
        start = time.monotonic()
        server.ask_to_stop()
        expect_equal(server.wait(PATIENCE), 0, "exit status")
        took = time.monotonic() - start
        expect(took < GRACE / 2, f"it took {took:.1f} s with nobody to wait for")
