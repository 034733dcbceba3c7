"""Storm and tornado, both ways: a peer that keeps its context whatever it is asked."""

import asyncio

import tornado.httpserver
import tornado.netutil
import tornado.web
import tornado.websocket

from checks import PATIENCE, check, expect, expect_equal
from with_websockets import soon, talk

# Compressed in the context of the first, the others are a few bytes each.
TEXT = "compress this, and this; " * 1000
TIMES = 5


@check()
async def compression_with_a_tornado_client(storm):
    for mode in ["default", "context"]:
        with storm.echo("--deflate", mode) as server:
            client = await soon(tornado.websocket.websocket_connect(
                server.url, compression_options={}, max_message_size=8 << 20
            ))
            answer = client.headers.get("Sec-WebSocket-Extensions", "nothing")
            expect("permessage-deflate" in answer, f"answer {answer}")
            for turn in range(TIMES):
                await soon(client.write_message(TEXT))
                expect_equal(await soon(client.read_message()), TEXT, f"echo {turn}, {mode}")
            client.close()


class Echo(tornado.websocket.WebSocketHandler):
    """Compresses, and says how it was asked to."""

    def get_compression_options(self):
        return {}

    def on_message(self, message):
        offer = self.request.headers.get("Sec-WebSocket-Extensions", "nothing")
        self.write_message(f"{offer}: {message}")


@check()
async def compression_with_a_tornado_server(storm):
    [socket] = tornado.netutil.bind_sockets(0, "127.0.0.1")
    server = tornado.httpserver.HTTPServer(tornado.web.Application([("/", Echo)]))
    server.add_socket(socket)
    url = f"ws://127.0.0.1:{socket.getsockname()[1]}"
    for mode in ["default", "context"]:
        said = await asyncio.wait_for(
            talk(storm, "--url", url, "--deflate", mode, "--send", TEXT, "--times", str(TIMES)),
            PATIENCE,
        )
        expect_equal(said.count(f": {TEXT}\n"), TIMES, f"answers, {mode}: {said[:200]}")
        expect("answer permessage-deflate" in said, f"nothing was offered: {said[:200]}")
        expect("clean: true" in said, f"the end, {mode}: {said[-200:]}")
    server.stop()
