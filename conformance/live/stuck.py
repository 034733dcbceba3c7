"""Brings a server into the state in which a part of an answer is stuck in it."""

import socket
import time

from checks import PATIENCE, Failed, expect

# More than this in its outbox makes a server stop reading.
MOST = 64 << 10


def fill_until_stuck(server, peer, message, echo_size):
    """Sends `message` again and again, without reading, until the kernel takes no more of
    the echoes and less than MOST of them waits in the server. Returns how many were sent."""
    batch = (MOST - 1) // echo_size
    count = 0
    while count * echo_size < 32 << 20:
        peer.send(message * batch)
        count += batch
        waiting = count * echo_size - let_it_work(server, peer)
        if waiting > 0:
            expect(waiting < MOST, f"{waiting} bytes wait in the server, less was meant")
            return count
    raise Failed("the kernel took every echo: this check needs another way")


def let_it_work(server, peer):
    """Waits until the server sleeps and nothing moves any more. Returns how many bytes of
    its answers are in the kernel."""
    here = peer.socket.getsockname()
    deadline = time.monotonic() + PATIENCE
    seen, same = None, 0
    while same < 2:
        if time.monotonic() > deadline:
            raise Failed(f"the server does not come to rest within {PATIENCE:.0f} s")
        # What is received and not yet acknowledged would be counted twice.
        peer.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
        now = queues(here, server.address)
        settled = server.is_asleep() and now == seen
        same = same + 1 if settled else 0
        seen = now
    (_, unread), (unacknowledged, _) = seen
    return unacknowledged + unread


def queues(one, other):
    """What the kernel has of a connection within this machine: for each of its two
    sockets, the bytes that the other end has not acknowledged and those not read."""
    names = [
        f"{int.from_bytes(bytes(map(int, host.split('.'))), 'little'):08X}:{port:04X}"
        for host, port in (one, other)
    ]
    found = {}
    with open("/proc/net/tcp") as table:
        for line in table:
            _, local, remote, _, bytes_of, *_ = line.split()
            if {local, remote} == set(names):
                found[local] = tuple(int(number, 16) for number in bytes_of.split(":"))
    if len(found) != 2:
        raise Failed("the connection is gone")
    return found[names[0]], found[names[1]]
