"""The relay that stands between the suite and the peer under test.

    suite (kosoku)  <-- loopback -->  Relay  <-- the real connection -->  peer

It hands octets on unchanged and reads the peer's side along the way. Being in
the middle it sees what the suite's own log does not hold (sections 9, 12 and
13, octets after the close frame) and what the suite does not wait for: whether
the peer really closes TCP. It also

- always takes what the peer sends, even while the suite is busy writing, so
  that a peer which echoes early cannot lock up with the suite;
- cuts the suite's octets into the pieces of the case again (`chop`), which
  would otherwise run together on the extra hop;
- speaks TLS to the peer where that is asked for, which the suite cannot.

The sockets are used directly rather than through asyncio's streams: a stream
drops what it has not handed out yet when the peer resets the connection, and
that is just when the last frames matter.
"""

import asyncio
import collections
import socket
import ssl

CHUNK = 65536
# How long a peer may take to close TCP. The original suite waits one second;
# a working peer needs milliseconds, the rest is for a busy machine.
CLOSE_SECONDS = 5.0
# A peer that floods is cut off. The largest case echoes 16 MiB.
MOST_BACKLOG = 256 * 1024 * 1024
MOST_HEAD = 65536


class Link:
    """A connected TCP socket."""

    def __init__(self, sock):
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock = sock
        self.pushed_back = b""

    async def recv(self, limit=CHUNK):
        """Some octets; none at the end, and a reset is an end as well."""
        if self.pushed_back:
            data, self.pushed_back = self.pushed_back[:limit], self.pushed_back[limit:]
            return data
        try:
            return await self._recv(limit)
        except OSError:
            return b""

    async def _recv(self, limit):
        return await asyncio.get_running_loop().sock_recv(self.sock, limit)

    async def send(self, data):
        await asyncio.get_running_loop().sock_sendall(self.sock, data)

    async def finish(self):
        """Say that nothing more will be sent; the other way stays open."""
        try:
            self.sock.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # it is gone already

    def close(self):
        self.sock.close()

    async def recv_head(self):
        """An HTTP head with its empty line, None if none comes. What follows
        it is kept for the next `recv`."""
        data = b""
        while b"\r\n\r\n" not in data:
            part = await self.recv()
            data += part
            if not part or len(data) > MOST_HEAD:
                return None
        head, _, rest = data.partition(b"\r\n\r\n")
        self.pushed_back = rest
        return head + b"\r\n\r\n"


class TlsLink(Link):
    """A TCP socket with TLS on top, kept in memory buffers.

    An SSL socket cannot be awaited for reading and for writing at once; an
    SSLObject between two buffers can.
    """

    def __init__(self, sock, context, server_side=False, name=None):
        super().__init__(sock)
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(
            self._in, self._out, server_side=server_side, server_hostname=name
        )
        self._sending = asyncio.Lock()

    async def handshake(self):
        while True:
            try:
                self._tls.do_handshake()
                return await self._flush()
            except ssl.SSLWantReadError:
                await self._flush()
                await self._fill()

    async def _recv(self, limit):
        while True:
            try:
                data = self._tls.read(limit)
                await self._flush()
                return data
            except ssl.SSLWantReadError:
                await self._flush()
                await self._fill()

    async def send(self, data):
        # Writing takes all of it: the outgoing buffer has no limit.
        self._tls.write(data)
        await self._flush()

    async def finish(self):
        try:
            self._tls.unwrap()
        except ssl.SSLError:
            pass  # the peer's own close notice is still to come
        try:
            await self._flush()
        except OSError:
            pass
        await super().finish()

    async def _fill(self):
        data = await super()._recv(CHUNK)
        if data:
            self._in.write(data)
        else:
            self._in.write_eof()

    async def _flush(self):
        # One writer at a time, or records would mix.
        async with self._sending:
            data = self._out.read()
            if data:
                await super().send(data)


class Relay:
    """Carries one case after its handshake, until both sides are done."""

    def __init__(self, suite, peer, watch, *, peer_is_server, chop=None):
        self.suite, self.peer, self.watch = suite, peer, watch
        self.peer_is_server = peer_is_server
        self.chop = chop or CHUNK
        self.findings = watch.findings
        self._backlog = collections.deque()
        self._backlog_size = 0
        self._news = asyncio.Event()
        self._peer_ended = False

    async def run(self):
        """Return when the suite has let go and the peer has closed TCP, or
        has been given up for not doing so."""
        pull = asyncio.create_task(self._pull())
        drain = asyncio.create_task(self._drain())
        try:
            await self._push()
            await self._wait_for_end(pull)
        finally:
            pull.cancel()
            drain.cancel()
            await asyncio.gather(pull, drain, return_exceptions=True)
            self.watch.finish()

    async def _push(self):
        """From the suite to the peer, until the suite lets go."""
        while data := await self.suite.recv(self.chop):
            try:
                await self.peer.send(data)
            except OSError:
                pass  # the peer takes nothing more; the suite learns by _drain

    async def _pull(self):
        """From the peer into the backlog, at once and always."""
        while data := await self.peer.recv():
            self.watch.feed(data)
            self._backlog.append(data)
            self._backlog_size += len(data)
            self._news.set()
            if self._backlog_size > MOST_BACKLOG:
                self.findings.note(f"sent more than {MOST_BACKLOG} octets unasked")
                break
        self._peer_ended = True
        self._news.set()

    async def _drain(self):
        """From the backlog to the suite, at the suite's pace."""
        while True:
            await self._news.wait()
            self._news.clear()
            while self._backlog:
                data = self._backlog.popleft()
                self._backlog_size -= len(data)
                try:
                    await self.suite.send(data)
                except OSError:
                    pass  # the suite has let go; _pull still wants to be read
            if self._peer_ended:
                await self.suite.finish()
                return

    async def _wait_for_end(self, pull):
        """The suite has let go. See that the peer closes TCP as it must."""
        done = self.watch.closed
        if not (self.peer_is_server and done):
            # A server has to close first once the close frames are exchanged,
            # so it must not be helped by an end of stream. Everybody else has
            # to close when the other side has.
            await self.peer.finish()
        try:
            await asyncio.wait_for(asyncio.shield(pull), CLOSE_SECONDS)
        except TimeoutError:
            after = "after the closing handshake" if done else "after the other side closed"
            self.findings.note(f"TCP still open {CLOSE_SECONDS:.0f} s {after}")
