"""Storm's echo against `websockets`, the Python library, asyncio and threaded."""

import asyncio
import http

import websockets.asyncio.client
import websockets.asyncio.server
import websockets.sync.client
from websockets.exceptions import ConnectionClosed
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory
from websockets.frames import Close

from checks import PATIENCE, check, expect, expect_between, expect_equal, pattern, wait_until

MIB = 1 << 20
# Where the length of a frame takes more bytes, and the largest frame.
SIZES = [0, 1, 125, 126, 127, 65_535, 65_536, MIB]


def connect(server, **options):
    """An asyncio client, which takes echoes as large as Storm takes messages."""
    options = {"proxy": None, "max_size": 8 * MIB, "open_timeout": PATIENCE, **options}
    return websockets.asyncio.client.connect(server.url, **options)


def connect_in_thread(server):
    return websockets.sync.client.connect(
        server.url, proxy=None, max_size=8 * MIB, open_timeout=PATIENCE
    )


async def soon(awaitable):
    return await asyncio.wait_for(awaitable, PATIENCE)


async def expect_closed(client, code, what):
    """The server closes with `code`."""
    try:
        message = await soon(client.recv())
        expect(False, f"{what}: got a message of {len(message)}")
    except ConnectionClosed:
        close = client.protocol.close_rcvd
        expect_equal(close and close.code, code, what)


@check()
async def echo_of_every_size(storm):
    with storm.echo() as server:
        async with connect(server) as client:
            for size in SIZES:
                for message in [pattern(size), "\u00fc" * (size // 2) + "-" * (size % 2)]:
                    await soon(client.send(message))
                    echo = await soon(client.recv())
                    expect_equal(echo, message, f"echo of {size} bytes")


@check()
def echo_in_a_thread(storm):
    with storm.echo() as server, connect_in_thread(server) as client:
        for size in SIZES:
            for message in [pattern(size), "t" * size]:
                client.send(message)
                expect_equal(client.recv(PATIENCE), message, f"echo of {size} bytes")
        expect(client.ping(b"payload").wait(PATIENCE), "no Pong came")
        client.close(4000, "thread")
        expect_equal(client.protocol.close_rcvd, Close(4000, "thread"), "the server's Close")


@check()
async def fragments_become_one_message(storm):
    with storm.echo() as server:
        async with connect(server) as client:
            for pieces in [["Gr", "\u00fc", "", "\u00dfe"], [b"\xff", b"", b"\xfe"], [""], [b""]]:
                await soon(client.send(pieces))
                whole = type(pieces[0])().join(pieces)
                expect_equal(await soon(client.recv()), whole, f"echo of {pieces}")


@check()
async def largest_message(storm):
    """4 MiB in frames of 1 MiB and in one frame; the limit is met exactly."""
    with storm.echo() as server:
        async with connect(server) as client:
            message = pattern(4 * MIB)
            for _ in range(2):
                await soon(client.send([message[at:at + MIB] for at in range(0, 4 * MIB, MIB)]))
                expect(await soon(client.recv()) == message, "4 MiB came back changed")
            await soon(client.send(message))
            expect(await soon(client.recv()) == message, "4 MiB in one frame came back changed")


@check()
async def too_large_frame_closes_with_1009(storm):
    with storm.echo() as server:
        async with connect(server) as client:
            try:
                await soon(client.send(bytes(4 * MIB + 1)))
            except ConnectionClosed:
                # The answer may be here before all of it has left.
                pass
            await expect_closed(client, 1009, "answer to a frame of 4 MiB + 1")


@check()
async def too_large_message_closes_with_1009(storm):
    with storm.echo() as server:
        async with connect(server) as client:
            try:
                await soon(client.send([bytes(MIB)] * 4 + [b"x"]))
            except ConnectionClosed:
                # The answer may be here before the last fragment has left.
                pass
            await expect_closed(client, 1009, "answer to a message of 4 MiB + 1")


@check()
async def pings_are_answered(storm):
    with storm.echo() as server:
        async with connect(server) as client:
            answer = await client.ping(b"payload")
            latency = await soon(answer)
            expect_between(latency, 0, PATIENCE, "latency in seconds")
            expect_equal(client.latency, latency, "latency of the connection")
            answers = [await client.ping(bytes([number])) for number in range(10)]
            await soon(asyncio.gather(*answers))
            return f"latency {latency * 1e6:.0f} us"


@check()
async def close_comes_back(storm):
    with storm.echo() as server:
        for close in [Close(1000, ""), Close(1001, "away"), Close(4999, "Gr\u00fc\u00dfe")]:
            async with connect(server) as client:
                await soon(client.close(close.code, close.reason))
                expect_equal(client.protocol.close_rcvd, close, "the server's Close")


@check()
async def echo_goes_out_before_the_close(storm):
    with storm.echo() as server:
        async with connect(server) as client:
            await client.send(pattern(MIB))
            closing = asyncio.create_task(client.close())
            expect(await soon(client.recv()) == pattern(MIB), "1 MiB came back changed")
            await soon(closing)
            expect_equal(client.protocol.close_rcvd, Close(1000, ""), "the server's Close")


@check()
async def stopping_server_says_1001(storm):
    with storm.echo() as server:
        clients = [await connect(server) for _ in range(3)]
        for client in clients:
            await client.send("here")
            expect_equal(await soon(client.recv()), "here", "echo before the stop")
        server.ask_to_stop()
        for client in clients:
            await expect_closed(client, 1001, "farewell")
            await soon(client.wait_closed())
        expect_equal(server.wait(PATIENCE), 0, "exit status")


@check()
async def compression_in_the_librarys_own_terms(storm):
    """Both ways, at every size, in both modes of the echo."""
    for mode, context in [("context", True), ("no-context", False)]:
        with storm.echo("--deflate", mode) as server:
            async with connect(server, compression="deflate") as client:
                answer = client.response.headers["Sec-WebSocket-Extensions"]
                expect("permessage-deflate" in answer, f"answer {answer}")
                expect(("no_context_takeover" in answer) != context, f"answer {answer}")
                for size in SIZES:
                    for message in [pattern(size), "\u00fc" * (size // 2) + "-" * (size % 2)]:
                        await soon(client.send(message))
                        echo = await soon(client.recv())
                        expect_equal(echo, message, f"echo of {size} bytes, {mode}")
                pieces = ["Gr\u00fc\u00dfe " * 1000, "", "an alle"]
                await soon(client.send(pieces))
                expect_equal(await soon(client.recv()), "".join(pieces), "echo of fragments")


@check()
async def compression_in_all_terms(storm):
    """Every window and context that the library can ask for."""
    texts = [f"{number} " * number for number in range(60)] * 2
    terms = [
        {"server_max_window_bits": bits, "client_max_window_bits": bits,
         "server_no_context_takeover": server, "client_no_context_takeover": client}
        for bits in range(9, 16) for server in [False, True] for client in [False, True]
    ]
    with storm.echo("--deflate", "context") as server:
        for each in terms:
            factory = ClientPerMessageDeflateFactory(**each)
            async with connect(server, compression=None, extensions=[factory]) as client:
                agreed = client.protocol.extensions
                expect_equal([each.name for each in agreed], ["permessage-deflate"], "agreed")
                for text in texts:
                    await client.send(text)
                for text in texts:
                    expect_equal(await soon(client.recv()), text, f"echo with {each}")
    return f"{len(terms)} sets of terms"


@check()
async def compression_as_a_client(storm):
    """The library is the server, and says what was agreed on."""
    text = "compress this, and this; " * 1000

    async def echo(client):
        agreed = client.response.headers.get("Sec-WebSocket-Extensions", "nothing")
        expect_equal(await client.recv(), text, "what came")
        await client.send(f"{agreed}: {text}")
        await client.wait_closed()

    async with websockets.asyncio.server.serve(echo, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        for mode, alone in [("context", False), ("no-context", True)]:
            said = await soon(talk(storm, "--url", f"ws://127.0.0.1:{port}", "--deflate", mode,
                                   "--send", text))
            expect("answer permessage-deflate" in said, f"no compression: {said[:200]}")
            expect_equal("server_no_context_takeover" in said, alone, f"terms of {mode}")
            expect(f": {text}" in said and "clean: true" in said, f"another answer: {said[:200]}")


async def talk(storm, *options):
    """A client of Storm's that sends one message; what it says."""
    command = [storm.folder / "conformance", "talk", "--runtime", storm.runtime, *options]
    client = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    said, _ = await client.communicate()
    return said.decode()


@check()
async def compressed_bomb_closes_with_1009(storm):
    """64 MiB in 64 KiB; the server's memory does not notice."""
    with storm.echo("--deflate") as server:
        async with connect(server, compression="deflate") as client:
            await client.send("x")
            await soon(client.recv())
            before = server.peak_memory()
            await soon(client.send(bytes(64 * MIB)))
            await expect_closed(client, 1009, "answer to a bomb")
            grown = (server.peak_memory() - before) / MIB
            expect_between(grown, 0, 12, "MiB that the server grew by")
            return f"grew by {grown:.1f} MiB"


@check()
async def compression_is_declined(storm):
    """The library's own offer to an echo that was not told to compress."""
    with storm.echo() as server:
        async with connect(server, compression="deflate") as client:
            offered = client.request.headers["Sec-WebSocket-Extensions"]
            expect("permessage-deflate" in offered, "nothing was offered")
            answer = client.response.headers.get("Sec-WebSocket-Extensions")
            expect_equal(answer, None, "Sec-WebSocket-Extensions of the answer")
            await client.send("plain " * 1000)
            expect_equal(await soon(client.recv()), "plain " * 1000, "echo")


@check()
async def request_of_any_shape(storm):
    with storm.echo() as server:
        headers = {"Authorization": "Bearer token", "X-Long": "x" * 4000}
        options = {"additional_headers": headers, "origin": "https://example.com"}
        client = await websockets.asyncio.client.connect(
            server.url + "/a/b%20c?d=e&f=%C3%BC", proxy=None, subprotocols=["chat"], **options
        )
        async with client:
            expect_equal(client.response.status_code, http.HTTPStatus.SWITCHING_PROTOCOLS, "status")
            expect_equal(client.subprotocol, None, "subprotocol, of which the echo has none")
            await client.send("hello")
            expect_equal(await soon(client.recv()), "hello", "echo")


@check()
async def many_clients(storm):
    """200 at once, each with 20 messages of its own in flight."""
    with storm.echo() as server:
        before = server.descriptors()

        async def talk(number):
            async with connect(server, compression=None, ping_interval=None) as client:
                messages = [f"{number}/{turn} " * (turn + 1) for turn in range(20)]
                for message in messages:
                    await client.send(message)
                for message in messages:
                    expect_equal(await soon(client.recv()), message, f"echo of client {number}")

        await asyncio.gather(*(talk(number) for number in range(200)))
        wait_until(lambda: server.descriptors() <= before, "all descriptors are closed")
