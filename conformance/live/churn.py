"""What the server's memory comes to after rounds of peers that begin much and end nothing.

The first rounds fill the pools of its threads and the allocator's free lists; from then on
nothing may grow.
"""

import zlib

from checks import PATIENCE, check, expect, wait_until
from raw import BINARY, Peer, frame, request

MIB = 1 << 20
ROUNDS = 6

# What a server of one thread may keep: its pools, see the table of limits in the readme, and what
# the allocator does not give back. Generous; it was 11 MiB.
KEPT = 64 * MIB

# How much a round may add to what the round before has left.
PER_ROUND = 4 * MIB


def bomb():
    """The start of a compressed message that comes to almost 4 MiB and never ends."""
    packer = zlib.compressobj(9, wbits=-15)
    payload = packer.compress(bytes(4 * MIB - 4096)) + packer.flush(zlib.Z_SYNC_FLUSH)
    return frame(BINARY, payload, fin=False, rsv=4)


def open_peer(server, *headers):
    peer = Peer(server)
    peer.send(request(*headers))
    status, _ = peer.head()
    expect(status == 101, f"status {status}")
    return peer


def churn(server, one_round):
    """Runs rounds, and says what the memory came to after each."""
    sizes = []
    idle = server.descriptors()
    for _ in range(ROUNDS):
        peers = one_round(server)
        wait_until(server.is_asleep, "all that was sent is read")
        for peer in peers:
            peer.socket.close()
        wait_until(lambda: server.descriptors() <= idle, "all connections are gone", PATIENCE)
        sizes.append(server.memory())
    text = ", ".join(f"{size / MIB:.0f}" for size in sizes) + " MiB"
    expect(max(sizes) < KEPT, f"the server keeps too much: {text}")
    # The second round may still fill what the first has left.
    grown = sizes[-1] - sizes[1]
    expect(grown < PER_ROUND * (ROUNDS - 2), f"memory goes on growing: {text}")
    return text


@check()
def abandoned_bombs(storm):
    """60 of them take 240 MiB while they are there."""
    wire = bomb()

    def one_round(server):
        peers = []
        for _ in range(60):
            peer = open_peer(server, "Sec-WebSocket-Extensions: permessage-deflate")
            peer.send(wire)
            peers.append(peer)
        return peers

    with storm.echo("--deflate") as server:
        return churn(server, one_round)


@check()
def abandoned_messages(storm):
    """40 messages of 4 MiB, of which 3 MiB arrive."""
    wire = frame(BINARY, bytes(4 * MIB - 1))[: 3 * MIB]

    def one_round(server):
        peers = [open_peer(server) for _ in range(40)]
        for peer in peers:
            peer.send(wire)
        return peers

    with storm.echo() as server:
        return churn(server, one_round)


@check()
def abandoned_heads(storm):
    """1,000 requests of 15 KiB without their end, 250 at once."""
    wire = request(*(f"X-{number}: {'x' * 180}" for number in range(75)))[:-2]

    def one_round(server):
        for _ in range(3):
            peers = [Peer(server) for _ in range(250)]
            for peer in peers:
                peer.send(wire)
            for peer in peers:
                peer.socket.close()
        return []

    with storm.echo() as server:
        return churn(server, one_round)
