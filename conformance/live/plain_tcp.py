"""TCP without WebSocket: raw bytes, lines, and messages with a length before them."""

import struct
import threading

from checks import check, expect, expect_equal, pattern
from raw import Peer
from stuck import fill_until_stuck, let_it_work

MIB = 1 << 20


def prefixed(payload):
    return struct.pack(">I", len(payload)) + payload


@check()
def raw_bytes_come_back_after_half_close(storm):
    """8 MiB do not fit into any buffer on the way: reading and writing have to go on
    side by side, and the end of one direction must not end the other."""
    data = pattern(8 * MIB)
    with storm.echo("--protocol", "tcp") as server, Peer(server) as peer:

        def send():
            peer.send_quietly(data)
            peer.end_sending()

        threading.Thread(target=send, daemon=True).start()
        echoed = peer.rest()
        expect_equal(len(echoed), len(data), "bytes before the end of the stream")
        expect(echoed == data, "the bytes came back changed")


@check()
def half_close_before_the_first_read(storm):
    data = pattern(512 << 10)
    with storm.echo("--protocol", "tcp") as server, Peer(server) as peer:
        peer.send(data)
        peer.end_sending()
        expect(peer.rest() == data, "not all bytes came back in order")


@check()
def end_without_a_byte(storm):
    with storm.echo("--protocol", "tcp") as server, Peer(server) as peer:
        peer.end_sending()
        expect_equal(peer.rest(), b"", "answer to nothing")


@check()
def lines_come_back(storm):
    lines = [b"first", b"", b"", b"with a return\r", b"\r", b"\0\xff", b"last"]
    with storm.echo("--protocol", "lines") as server, Peer(server) as peer:
        for line in lines:
            peer.send(line, b"\n")
            expect_equal(peer.line(), line + b"\n", "echo of a line")
        together = b"\n".join(lines) + b"\n"
        peer.send(together)
        expect_equal(peer.take(len(together)), together, "echo of many lines in one segment")
        for byte in b"byte by byte\n":
            peer.send(bytes([byte]))
        expect_equal(peer.line(), b"byte by byte\n", "echo of a line in many segments")


@check()
def line_of_one_mib(storm):
    line = b"x" * MIB + b"\n"
    with storm.echo("--protocol", "lines") as server, Peer(server) as peer:
        for _ in range(2):
            peer.send_beside(line)
            expect(peer.take(len(line)) == line, "the longest line came back changed")


@check()
def line_above_the_limit_ends_the_connection(storm):
    with storm.echo("--protocol", "lines") as server, Peer(server) as peer:
        peer.send_beside(b"good\n" + b"x" * (MIB + 1) + b"\nnever\n")
        expect_equal(peer.rest(), b"good\n", "what came before the end")
        with Peer(server) as other:
            other.send(b"next\n")
            expect_equal(other.line(), b"next\n", "echo of the next client")


@check()
def endless_line_costs_no_more_than_the_limit(storm):
    with storm.echo("--protocol", "lines") as server, Peer(server) as peer:
        before = server.memory()
        peer.send_beside(b"x" * (12 * MIB))
        expect_equal(peer.rest(), b"", "answer to a line that never ends")
        growth = server.peak_memory() - before
        expect(growth < 5 * MIB, f"memory grew by {growth >> 10} KiB")
        return f"memory +{growth >> 10} KiB"


@check()
def half_close_inside_a_line(storm):
    with storm.echo("--protocol", "lines") as server, Peer(server) as peer:
        peer.send(b"one\ntwo\nhalf a li")
        peer.end_sending()
        expect_equal(peer.rest(), b"one\ntwo\n", "echo of the whole lines")


@check()
def messages_with_a_length(storm):
    with storm.echo("--protocol", "length") as server, Peer(server) as peer:
        for size in [0, 1, 255, 256, 65_535, 65_536, 0, MIB]:
            message = prefixed(pattern(size))
            peer.send_beside(message)
            expect(peer.take(len(message)) == message, f"echo of {size} bytes")
        many = b"".join(prefixed(b"m" * (number % 7)) for number in range(10_000))
        peer.send_beside(many)
        expect(peer.take(len(many)) == many, "echo of 10,000 messages")
        peer.end_sending()
        expect_equal(peer.rest(), b"", "what follows the last echo")


@check()
def messages_of_16_mib(storm):
    message = prefixed(pattern(16 * MIB))
    with storm.echo("--protocol", "length") as server, Peer(server) as peer:
        for _ in range(3):
            peer.send_beside(message)
            expect(peer.take(len(message)) == message, "16 MiB came back changed")


@check()
def length_above_the_limit_ends_the_connection(storm):
    with storm.echo("--protocol", "length") as server:
        before = server.memory()
        for length in [16 * MIB + 1, 1 << 31, (1 << 32) - 1]:
            with Peer(server) as peer:
                peer.send(prefixed(b"good"), struct.pack(">I", length), b"start")
                expect_equal(peer.rest(), prefixed(b"good"), f"answer to a length of {length}")
        growth = server.peak_memory() - before
        expect(growth < 2 * MIB, f"memory grew by {growth >> 10} KiB")


@check()
def late_reader_gets_every_echo(storm):
    """While a little waits in the server's outbox, a message larger than the outbox
    arrives: its echo has to wait for room, and must not get lost."""
    small, large = prefixed(pattern(16 << 10)), prefixed(pattern(2 * MIB))
    with storm.echo("--protocol", "length") as server:
        with Peer(server, receive_buffer=64 << 10) as peer:
            count = fill_until_stuck(server, peer, small, len(small))
            peer.send_beside(large + prefixed(b"end"))
            let_it_work(server, peer)
            for number in range(count):
                expect(peer.take(len(small)) == small, f"echo {number} came back changed")
            (size,) = struct.unpack(">I", peer.take(4))
            expect_equal(size, 2 * MIB, "size of the echo behind the small ones")
            expect(peer.take(size) == large[4:], "2 MiB came back changed")
            expect_equal(peer.take(7), prefixed(b"end"), "the last echo")
