"""Running cases: as fuzzing client of a server, or as fuzzing server of a client.

In both roles every case is a run of kosoku of its own, with one relay (tap.py)
between it and the peer. So a case that hangs or crashes costs no other case.
"""

import asyncio
import base64
import json
import os
import socket
import ssl
import sys
import time
from urllib.parse import parse_qs, urlsplit

from kosoku import FailureError, run_fuzzingclient, run_fuzzingserver

import wire
from mend import CHOPS
from tap import Link, Relay, TlsLink
from verdict import entry, judge, missing

CONNECT_SECONDS = 10.0
# The suite waits without end for the answer to a handshake.
HANDSHAKE_SECONDS = 10.0
# What a case may take beyond its own limit before it is cut off.
GRACE_SECONDS = 15.0
# Once its connection is closed, kosoku ends within a moment.
SUITE_END_SECONDS = 20.0


class Run:
    """One case under way and what is known about it."""

    def __init__(self, case):
        self.case = case
        self.findings = wire.Findings()
        self.started = time.monotonic()
        self.request = None
        self.response = None

    def relay(self, suite, peer, peer_is_server):
        watch = wire.Watch(
            self.findings,
            masked=not peer_is_server,
            deflate=wire.agreed_deflate(self.response),
            # 7.13.* send codes that nobody may send and accept them back.
            any_code=self.case.id.startswith("7.13."),
        )
        chop = CHOPS.get(self.case.id)
        return Relay(suite, peer, watch, peer_is_server=peer_is_server, chop=chop)

    async def within_limit(self, work):
        """Let the case run, but not longer than it may take."""
        limit = self.case.limit + GRACE_SECONDS
        try:
            async with asyncio.timeout(limit):
                await work
        except TimeoutError:
            self.findings.note(f"cut off after {limit:.0f} s")
        except OSError as error:
            self.findings.note(f"connection broke: {error}")

    async def guarded(self, work):
        """A verdict in any event: a fault of the driver is no reason to lose
        the run, and none to let the case pass."""
        try:
            return await work
        except Exception as error:
            text = f"the driver failed: {error!r}"
            print(f"{self.case.id}: {text}", file=sys.stderr)
            return entry(self.case, "FAILED", "FAILED", [text])

    def verdict(self, result):
        ms = round((time.monotonic() - self.started) * 1000)
        return judge(self.case, result, self.findings, ms, self.request, self.response)


async def suite_result(work):
    """The one result of a kosoku run; kosoku raises if a case failed."""
    try:
        results = await asyncio.wait_for(work, SUITE_END_SECONDS)
    except FailureError as failure:
        results = failure.results
    except TimeoutError:
        return None
    return results[0] if results else None


async def connect(host, port):
    """A connected socket, set to the first address that answers."""
    loop = asyncio.get_running_loop()
    error = OSError("no address")
    for family, kind, proto, _, address in await loop.getaddrinfo(
        host, port, type=socket.SOCK_STREAM
    ):
        sock = socket.socket(family, kind, proto)
        sock.setblocking(False)
        try:
            await loop.sock_connect(sock, address)
            return sock
        except OSError as failed:
            sock.close()
            error = failed
    raise error


# --- the peer is a server ----------------------------------------------------


class ServerUnderTest:
    """Runs cases against the server at `url`, ws or wss."""

    def __init__(self, url, board, parallel, ca=None):
        self.url = urlsplit(url)
        if self.url.scheme not in ("ws", "wss") or not self.url.hostname:
            raise ValueError(f"not a ws or wss URL: {url!r}")
        secure = self.url.scheme == "wss"
        self.port = self.url.port or (443 if secure else 80)
        self.tls = ssl.create_default_context(cafile=ca) if secure else None
        self.board = board
        self.places = asyncio.Semaphore(parallel)

    async def run(self):
        await asyncio.gather(*(self._run_one(case) for case in self.board.cases))

    async def _run_one(self, case):
        async with self.places:
            try:
                async with asyncio.timeout(CONNECT_SECONDS):
                    peer = await self._dial()
            except (OSError, TimeoutError) as error:
                self.board.put(missing(case, f"no connection: {error or 'timeout'}"))
                return
            self.board.begin(case)
            run = Run(case)
            self.board.put(await run.guarded(self._run_connected(run, peer)))

    async def _dial(self):
        sock = await connect(self.url.hostname, self.port)
        if self.tls is None:
            return Link(sock)
        link = TlsLink(sock, self.tls, name=self.url.hostname)
        await link.handshake()
        return link

    async def _run_connected(self, run, peer):
        with socket.create_server(("127.0.0.1", 0)) as listener:
            listener.setblocking(False)
            work = asyncio.create_task(self._suite(run.case, listener.getsockname()[1]))
            # Look at its exception in any event, or asyncio complains when the
            # whole run is stopped.
            work.add_done_callback(lambda task: task.cancelled() or task.exception())
            accepting = asyncio.get_running_loop().sock_accept(listener)
            sock, _ = await asyncio.wait_for(accepting, CONNECT_SECONDS)
        suite = Link(sock)
        try:
            await run.within_limit(self._carry(run, suite, peer))
        finally:
            # Closing the suite's side is also what ends a run that was cut off.
            suite.close()
            peer.close()
        return run.verdict(await suite_result(work))

    async def _suite(self, case, port):
        # A coroutine of our own: kosoku's awaitable is none that asyncio can
        # turn into a task.
        return await run_fuzzingclient(f"ws://127.0.0.1:{port}{self._target()}", [case.id])

    def _target(self):
        query = f"?{self.url.query}" if self.url.query else ""
        return (self.url.path or "/") + query

    async def _carry(self, run, suite, peer):
        request = await suite.recv_head()
        if request is None:
            return  # kosoku's result says why
        run.request = wire.Head(self._own_request(request))
        await peer.send(run.request.raw)
        try:
            answer = await asyncio.wait_for(peer.recv_head(), HANDSHAKE_SECONDS)
        except TimeoutError:
            answer = None
        if answer is None:
            run.findings.note("no answer to the handshake")
            return
        run.response = wire.Head(answer)
        await suite.send(answer)
        if run.response.start.startswith("HTTP/1.1 101"):
            wire.judge_response(run.request, run.response, run.findings)
            await run.relay(suite, peer, peer_is_server=True).run()
        else:
            # Not a WebSocket stream: there is nothing else to judge.
            run.findings.note(f"answered the handshake with {run.response.start[:60]!r}")

    def _own_request(self, raw):
        """The suite's request with the true host, and with a fresh key: the
        suite always sends the same one, which a server could answer blindly."""
        host = self.url.netloc.rpartition("@")[2]
        key = base64.b64encode(os.urandom(16)).decode()
        lines = []
        for line in raw.decode("latin-1").split("\r\n"):
            name = line.partition(":")[0].lower()
            if name == "host":
                line = f"Host: {host}"
            elif name == "sec-websocket-key":
                line = f"Sec-WebSocket-Key: {key}"
            lines.append(line)
        return "\r\n".join(lines).encode("latin-1")


# --- the peer is a client ----------------------------------------------------


class ClientUnderTest:
    """Serves cases to a client that speaks the suite's client protocol:
    /getCaseCount, /runCase?case=I, /updateReports, and besides the original's
    /getCaseInfo?case=I and /getCaseStatus?case=I."""

    def __init__(self, board, idle, cert=None, key=None):
        self.board = board
        self.idle = idle
        self.tls = None
        if cert:
            self.tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            self.tls.load_cert_chain(cert, key)
        self.keys_seen = set()
        self.at_work = set()  # connections
        self.running = []  # cases, one as often as it is under way
        self.last_seen = None
        self.reported = asyncio.Event()

    def listen(self, host, port):
        self.listener = socket.create_server((host, port), backlog=128)
        self.listener.setblocking(False)
        return self.listener.getsockname()[1]

    async def run(self):
        """Serve until the client asks for the report, or has fallen silent."""
        accepting = asyncio.create_task(self._accept())
        try:
            while not self.reported.is_set() and not self._fallen_silent():
                try:
                    await asyncio.wait_for(self.reported.wait(), 0.5)
                except TimeoutError:
                    pass
        finally:
            # Close the socket only when nothing waits on it any more: the
            # event loop would take the next socket of that number for it.
            accepting.cancel()
            await asyncio.gather(accepting, return_exceptions=True)
            self.listener.close()
        # Cases still under way have limits of their own.
        await asyncio.gather(*self.at_work, return_exceptions=True)

    def _fallen_silent(self):
        if self.at_work or self.last_seen is None:
            return False
        return time.monotonic() - self.last_seen > self.idle

    async def _accept(self):
        loop = asyncio.get_running_loop()
        while True:
            sock, _ = await loop.sock_accept(self.listener)
            task = asyncio.create_task(self._serve(sock))
            self.at_work.add(task)
            task.add_done_callback(self._done)

    def _done(self, task):
        self.at_work.discard(task)
        self.last_seen = time.monotonic()

    async def _serve(self, sock):
        try:
            request = await self._request(sock)
            if request:
                await self._route(*request)
        except (OSError, TimeoutError) as error:
            # Where this belongs to a case, the case stays MISSING.
            print(f"a connection came to nothing: {error!r}", file=sys.stderr)
        finally:
            sock.close()

    async def _request(self, sock):
        """The link of a new connection and its request, None if none comes."""
        peer = Link(sock)
        if self.tls:
            peer = TlsLink(sock, self.tls, server_side=True)
            await asyncio.wait_for(peer.handshake(), HANDSHAKE_SECONDS)
        raw = await asyncio.wait_for(peer.recv_head(), HANDSHAKE_SECONDS)
        return raw and (peer, wire.Head(raw))

    async def _route(self, peer, request):
        target = urlsplit((request.start.split(" ") + [""])[1])
        case = self._case_of(target.query)
        if target.path == "/getCaseCount":
            await self._tell(peer, request, str(len(self.board.cases)))
        elif target.path == "/updateReports":
            await self._tell(peer, request, None)
            self.reported.set()
        elif case is None:
            await peer.send(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
        elif target.path == "/getCaseInfo":
            info = {"id": case.id, "description": case.description}
            await self._tell(peer, request, json.dumps(info))
        elif target.path == "/getCaseStatus":
            while case in self.running:
                await asyncio.sleep(0.05)
            status = {"behavior": self.board.entries[case.id]["behavior"]}
            await self._tell(peer, request, json.dumps(status))
        else:
            self.board.begin(case)
            self.running.append(case)
            try:
                run = Run(case)
                self.board.put(await run.guarded(self._run_case(run, peer, request)))
            finally:
                self.running.remove(case)

    def _case_of(self, query):
        number = parse_qs(query).get("case", [""])[0]
        if number.isdecimal() and 1 <= int(number) <= len(self.board.cases):
            return self.board.cases[int(number) - 1]
        return None

    async def _tell(self, peer, request, text):
        """Answer one of the side channels: a text if there is one, and close."""
        accept = wire.accept_for(request.one("sec-websocket-key") or "")
        await peer.send(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
            b"Connection: Upgrade\r\nSec-WebSocket-Accept: " + accept.encode() + b"\r\n\r\n"
        )
        octets = (text or "").encode()
        head = b"\x81" + (
            bytes([len(octets)])
            if len(octets) < 126
            else b"\x7e" + len(octets).to_bytes(2, "big")
        )
        await peer.send((head + octets if text else b"") + b"\x88\x02\x03\xe8")
        await self._await_close(peer)

    async def _await_close(self, peer):
        """Wait for the client's close frame, so that closing TCP with octets
        unread does not turn into a reset that takes our text with it."""
        watch = wire.Watch(wire.Findings(), masked=True, deflate=False)
        try:
            async with asyncio.timeout(2):
                while not watch.closed and (data := await peer.recv()):
                    watch.feed(data)
        except TimeoutError:
            pass

    async def _run_case(self, run, peer, request):
        run.request = request
        wire.judge_request(request, self.keys_seen, run.findings)
        server = run_fuzzingserver([run.case.id], host="127.0.0.1", port=0)
        async with server:
            suite = Link(await connect("127.0.0.1", server.port))
            try:
                await run.within_limit(self._carry(run, suite, peer))
            finally:
                suite.close()
                peer.close()
            await asyncio.wait_for(self._end_suite(server.port), SUITE_END_SECONDS)
            return run.verdict(await suite_result(self._suite(server)))

    async def _suite(self, server):
        return await server.get_result()

    async def _end_suite(self, port):
        """Tell kosoku that its client is done; it gives no result before."""
        link = Link(await connect("127.0.0.1", port))
        await link.send(
            b"GET /updateReports HTTP/1.1\r\nHost: suite\r\nSec-WebSocket-Key: eA==\r\n\r\n"
        )
        await link.recv()
        link.close()

    async def _carry(self, run, suite, peer):
        # The one case of this kosoku run is its number 1.
        lines = run.request.raw.split(b"\r\n")
        lines[0] = b"GET /runCase?case=1&agent=peer HTTP/1.1"
        await suite.send(b"\r\n".join(lines))
        answer = await suite.recv_head()
        if answer is None:
            run.findings.note("the suite refused the handshake")
            return
        run.response = wire.Head(answer)
        await peer.send(answer)
        await run.relay(suite, peer, peer_is_server=False).run()
