"""TLS against what is not rustls: OpenSSL by itself, in Python and in curl."""

import asyncio
import http
import socket
import ssl
import subprocess
import tempfile
import threading
from pathlib import Path

import websockets.asyncio.client
import websockets.asyncio.server

from checks import PATIENCE, Failed, check, expect, expect_equal, pattern, wait_until

MIB = 1 << 20

EXTENSIONS = """basicConstraints = CA:FALSE
subjectAltName = DNS:localhost, IP:127.0.0.1
extendedKeyUsage = serverAuth, clientAuth
"""


def run(*command, say=None, code=0):
    """Runs a tool to its end; returns what it printed."""
    done = subprocess.run(
        [str(part) for part in command], input=say, capture_output=True, text=True,
        timeout=PATIENCE,
    )
    said = done.stdout + done.stderr
    expect(code is None or done.returncode == code, f"{command[0]}: {done.returncode}, {said}")
    return done.stdout


class Certificates:
    """An authority, and what it vouches for."""

    def __init__(self):
        self.folder = tempfile.TemporaryDirectory()
        self.roots, self.chain, self.key = (self.path(name) for name in ["ca", "chain", "key"])
        new = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
        run("openssl", "req", "-x509", *new, "-subj", "/CN=authority", "-days", 2,
            "-keyout", self.path("ca-key"), "-out", self.roots)
        run("openssl", "req", *new, "-subj", "/CN=localhost",
            "-keyout", self.key, "-out", self.path("request"))
        self.path("extensions").write_text(EXTENSIONS)
        run("openssl", "x509", "-req", "-in", self.path("request"), "-days", 2,
            "-CA", self.roots, "-CAkey", self.path("ca-key"), "-CAcreateserial",
            "-extfile", self.path("extensions"), "-out", self.chain)

    def path(self, name):
        return Path(self.folder.name) / f"{name}.pem"

    def shown(self):
        """Options for a server of Storm's."""
        return ["--tls", "--certificate", self.chain, "--key", self.key]

    def client(self):
        return ssl.create_default_context(cafile=self.roots)

    def server(self):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.chain, self.key)
        return context


MADE = []
LOCK = threading.Lock()


def certificates():
    with LOCK:
        if not MADE:
            MADE.append(Certificates())
        return MADE[0]


def connect(server, context):
    if isinstance(server.address, str):
        plain = socket.socket(socket.AF_UNIX)
        plain.settimeout(PATIENCE)
        plain.connect(server.address)
    else:
        plain = socket.create_connection(server.address, PATIENCE)
    return context.wrap_socket(
        plain, server_hostname="localhost", suppress_ragged_eofs=False
    )


def take(stream, size):
    taken = bytearray()
    while len(taken) < size:
        piece = stream.recv(size - len(taken))
        expect(piece, f"the stream ended after {len(taken)} bytes")
        taken += piece
    return bytes(taken)


@check()
def python_talks_both_versions(storm):
    pems = certificates()
    with storm.echo("--protocol", "tcp", *pems.shown()) as server:
        for version in [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]:
            context = pems.client()
            context.minimum_version = context.maximum_version = version
            with connect(server, context) as stream:
                # As much as fits into the server's outbox: a stream of Python's is for one
                # thread.
                for round in range(16):
                    data = pattern((256 << 10) + round)
                    stream.sendall(data)
                    expect(take(stream, len(data)) == data, f"round {round} came back changed")
                # Returns only if the server says close_notify as well.
                stream.unwrap().close()


@check()
def python_sees_both_ends_of_a_stream(storm):
    """Without close_notify `recv` would raise."""
    pems = certificates()
    with storm.echo("--protocol", "lines", *pems.shown()) as server:
        with connect(server, pems.client()) as stream:
            stream.sendall(b"line\n" + b"x" * (MIB + 2) + b"\n")
            expect_equal(take(stream, 5), b"line\n", "echo")
            expect_equal(stream.recv(1), b"", "the end of an ended stream")
        with connect(server, pems.client()) as stream:
            stream.sendall(b"cut")
        with connect(server, pems.client()) as stream:
            stream.sendall(b"next\n")
            expect_equal(take(stream, 5), b"next\n", "echo of the next client")


@check()
def python_talks_over_unix_sockets(storm):
    pems = certificates()
    messages = {"tcp": b"bytes", "lines": b"a line\n", "length": b"\0\0\0\x03abc"}
    with tempfile.TemporaryDirectory() as folder:
        for protocol, message in messages.items():
            options = ["--protocol", protocol, *pems.shown()]
            with storm.echo(*options, listen=f"unix:{folder}/{protocol}") as server:
                with connect(server, pems.client()) as stream:
                    for part in [message, 1000 * message]:
                        stream.sendall(part)
                        expect_equal(take(stream, len(part)), part, f"echo of {protocol}")
                    stream.unwrap().close()


@check()
async def websockets_over_tls(storm):
    """Plain messages, and compressed ones."""
    pems = certificates()
    for deflate in [[], ["--deflate", "no-context"], ["--deflate", "context"]]:
        with storm.echo(*pems.shown(), *deflate) as server:
            expect(server.url.startswith("wss://"), server.url)
            options = {"ssl": pems.client(), "proxy": None, "max_size": 8 * MIB}
            async with websockets.asyncio.client.connect(server.url, **options) as client:
                expect_equal(bool(client.protocol.extensions), bool(deflate), "is compressed")
                for size in [0, 1, 125, 126, 16_000, 16_384, 16_385, 65_536, MIB]:
                    await client.send(pattern(size))
                    echo = await asyncio.wait_for(client.recv(), PATIENCE)
                    expect_equal(echo, pattern(size), f"echo of {size} bytes")
                await client.close(4000, "done")
                expect_equal(client.protocol.close_rcvd.code, 4000, "code of the server's Close")


@check()
def clients_without_a_certificate_are_refused(storm):
    pems = certificates()
    options = ["--protocol", "lines", *pems.shown(), "--client-roots", pems.roots]
    with storm.echo(*options) as server:
        context = pems.client()
        for _ in range(2):
            try:
                with connect(server, context) as stream:
                    stream.recv(1)
                expect(False, "it was let in")
            except ssl.SSLError as error:
                expect("required" in str(error).lower(), f"the alert is another: {error}")
        context.load_cert_chain(pems.chain, pems.key)
        with connect(server, context) as stream:
            stream.sendall(b"known\n")
            expect_equal(take(stream, 6), b"known\n", "echo")


def echo_of_lines(storm, runtime):
    command = [storm.folder / "conformance", "echo", "--runtime", runtime]
    options = ["--listen", "127.0.0.1:0", "--protocol", "lines", *certificates().shown()]
    return storm.start([*command, *options])


class Client:
    """openssl s_client, spoken to line by line."""

    def __init__(self, server, *options):
        command = ["openssl", "s_client", "-connect", "%s:%d" % server.address,
                   "-CAfile", str(certificates().roots), "-verify_return_error", *options]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        self.late = threading.Timer(PATIENCE, self.process.kill)
        self.late.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.late.cancel()
        self.process.kill()
        self.process.communicate()

    def say(self, line):
        self.process.stdin.write(line + b"\n")
        self.process.stdin.flush()

    def hear(self, wanted):
        """Reads up to a line that has it."""
        for line in self.process.stdout:
            if wanted in line:
                return line.strip()
        raise Failed(f"openssl ended before it said {wanted}")


@check()
def openssl_talks_lines_and_changes_keys(storm):
    pems = certificates()
    with storm.echo("--protocol", "lines", *pems.shown()) as server:
        for version in ["-tls1_2", "-tls1_3"]:
            with Client(server, version) as client:
                client.hear(b"Verify return code: 0")
                client.say(b"hello")
                expect_equal(client.hear(b"hello"), b"hello", "echo")
                if version == "-tls1_3":
                    # A word of s_client's: new keys, please, in both directions.
                    client.say(b"K")
                    client.hear(b"KEYUPDATE")
                    client.say(b"again")
                    expect_equal(client.hear(b"again"), b"again", "echo with new keys")


@check()
def renegotiation_is_refused(storm):
    """The refusal is a word of TLS itself, for which no message waits: where one thread
    reads and another writes, it has to get from the one to the other."""
    for runtime in ["tokio", "smol", "std"]:
        with echo_of_lines(storm, runtime) as server:
            with Client(server, "-tls1_2") as client:
                client.hear(b"Verify return code: 0")
                client.say(b"R")
                client.hear(b"RENEGOTIATING")
                client.hear(b"no renegotiation")
            wait_until(server.is_asleep, "the server rests")
            with Client(server) as client:
                client.say(b"next")
                client.hear(b"next")


@check()
def openssl_is_the_server(storm):
    pems = certificates()
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = ["openssl", "s_server", "-accept", f"127.0.0.1:{port}", "-cert", pems.chain,
               "-key", pems.key, "-CAfile", pems.roots, "-Verify", 1, "-rev", "-quiet"]
    serving = subprocess.Popen([str(part) for part in command], stdout=subprocess.DEVNULL,
                               stderr=subprocess.DEVNULL)
    try:
        wait_until(lambda: answers(port), "openssl listens")
        for runtime in ["tokio", "smol", "std"]:
            said = run(storm.folder / "conformance", "talk", "--runtime", runtime,
                       "--url", f"tls://localhost:{port}", "--send", "hello",
                       "--roots", pems.roots, "--certificate", pems.chain, "--key", pems.key)
            expect("answer olleh" in said, said)
            expect("tls Tls13" in said, said)
    finally:
        serving.kill()
        serving.wait()


def answers(port):
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


@check()
async def python_is_the_server(storm):
    pems = certificates()

    async def echo(client):
        async for message in client:
            await client.send(message)

    serving = websockets.asyncio.server.serve(echo, "127.0.0.1", 0, ssl=pems.server())
    async with serving as server:
        port = server.sockets[0].getsockname()[1]
        talk = [storm.folder / "conformance", "talk", "--url", f"wss://localhost:{port}"]
        said = await asyncio.to_thread(run, *talk, "--roots", pems.roots)
        expect("answer hello" in said and "clean: true" in said, said)
        # Nobody on this machine vouches for it, and nobody asks who.
        await asyncio.to_thread(run, *talk, code=2)


@check()
def curl_gets_answers_over_tls_and_a_hint_without(storm):
    pems = certificates()
    with storm.echo(*pems.shown()) as server:
        host, port = server.address
        said = run("curl", "-sS", "-i", "--noproxy", "*", "--cacert", pems.roots,
                   f"https://{host}:{port}/")
        expect(f" {http.HTTPStatus.UPGRADE_REQUIRED.value} " in said, said)
        said = run("curl", "-sS", "-i", "--noproxy", "*", f"http://{host}:{port}/")
        expect(" 400 " in said and "this port speaks https and wss" in said, said)
