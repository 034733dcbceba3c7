// Storm's echo against `ws`, the library for Node.

import { check, expect, expectEqual, load, main, within } from "./script.mjs";

const { WebSocket } = load("ws");
const MIB = 1 << 20;

// A client whose messages wait until they are asked for.
class Client {
  constructor(server, protocols = [], options = {}) {
    this.socket = new WebSocket(server.url, protocols, { maxPayload: 8 * MIB, ...options });
    this.messages = [];
    this.readers = [];
    this.answer = new Promise((resolve) => this.socket.once("upgrade", resolve));
    this.open = new Promise((resolve, reject) => {
      this.socket.once("open", resolve);
      this.socket.once("error", reject);
    });
    this.closed = new Promise((resolve) => {
      this.socket.once("close", (code, reason) => resolve({ code, reason: reason.toString() }));
    });
    this.socket.on("error", () => {});
    this.socket.on("message", (data, isBinary) => {
      const message = isBinary ? data : data.toString();
      const reader = this.readers.shift();
      if (reader) reader(message);
      else this.messages.push(message);
    });
  }

  static async connect(...parameters) {
    const client = new Client(...parameters);
    await within(client.open, "the opening handshake");
    return client;
  }

  send(...parameters) {
    this.socket.send(...parameters);
  }

  next(what = "the next message") {
    if (this.messages.length > 0) return Promise.resolve(this.messages.shift());
    return within(new Promise((resolve) => this.readers.push(resolve)), what);
  }

  once(event, seconds) {
    return within(new Promise((resolve) => this.socket.once(event, resolve)), event, seconds);
  }

  async end(code = 1000, reason = "") {
    this.socket.close(code, reason);
    return within(this.closed, "the end of the connection");
  }
}

function pattern(size) {
  const bytes = Buffer.alloc(size + 4);
  for (let at = 0; at < size; at += 4) bytes.writeUInt32BE(at / 4, at);
  return bytes.subarray(0, size);
}

check("echo_of_every_size", async (storm) => {
  const client = await Client.connect(await storm.echo());
  for (const size of [0, 1, 125, 126, 127, 65_535, 65_536, MIB]) {
    for (const message of [pattern(size), "t".repeat(size)]) {
      client.send(message);
      expectEqual(await client.next(), message, `echo of ${size} bytes`);
    }
  }
  expectEqual(await client.end(), { code: 1000, reason: "" }, "end");
});

check("fragments_with_a_ping_between", async (storm) => {
  const client = await Client.connect(await storm.echo());
  client.send("Gr\u00fc", { fin: false });
  const pong = client.once("pong");
  client.socket.ping("between");
  expectEqual((await pong).toString(), "between", "payload of the Pong");
  client.send("", { fin: false });
  client.send("\u00dfe", { fin: true });
  expectEqual(await client.next(), "Gr\u00fc\u00dfe", "echo");
  await client.end();
});

check("largest_message", async (storm) => {
  const client = await Client.connect(await storm.echo());
  const message = pattern(4 * MIB);
  for (let at = 0; at < 4 * MIB; at += MIB) {
    client.send(message.subarray(at, at + MIB), { binary: true, fin: at === 3 * MIB });
  }
  expect((await client.next()).equals(message), "4 MiB came back changed");
  await client.end();
});

check("too_large_closes_with_1009", async (storm) => {
  const server = await storm.echo();
  const frame = await Client.connect(server);
  frame.send(Buffer.alloc(4 * MIB + 1));
  expectEqual((await within(frame.closed, "the close")).code, 1009, "answer to 4 MiB + 1");
  const message = await Client.connect(server);
  for (let count = 0; count < 4; count++) message.send(Buffer.alloc(MIB), { fin: false });
  message.send("x", { binary: true, fin: true });
  expectEqual((await within(message.closed, "the close")).code, 1009, "answer to 4 MiB + 1");
});

check("pings_are_answered", async (storm) => {
  const client = await Client.connect(await storm.echo());
  for (const payload of ["", "payload", "p".repeat(125)]) {
    const pong = client.once("pong");
    client.socket.ping(payload);
    expectEqual((await pong).toString(), payload, "payload of the Pong");
  }
  await client.end();
});

// Storm pings after 30 s; `ws` answers by itself.
check("heartbeat_keeps_an_idle_client", async (storm) => {
  const client = await Client.connect(await storm.echo());
  const start = performance.now();
  const payload = await client.once("ping", 35);
  const seconds = (performance.now() - start) / 1000;
  expect(seconds > 29, `a Ping after ${seconds.toFixed(1)} s already`);
  expectEqual(payload.length, 4, "size of the Ping");
  client.send("still here");
  expectEqual(await client.next(), "still here", "echo after the Ping");
  await client.end();
  return `Ping after ${seconds.toFixed(1)} s`;
}, { limit: 60, beside: true });

check("close_comes_back", async (storm) => {
  const server = await storm.echo();
  for (const [code, reason] of [[1000, ""], [1001, "away"], [4999, "Gr\u00fc\u00dfe"]]) {
    const client = await Client.connect(server);
    expectEqual(await client.end(code, reason), { code, reason }, "the server's Close");
  }
  const client = await Client.connect(server);
  client.socket.close();
  expectEqual((await within(client.closed, "the end")).code, 1005, "answer to a bare Close");
});

check("stopping_server_says_1001", async (storm) => {
  const server = await storm.echo();
  const clients = await Promise.all([1, 2, 3].map(() => Client.connect(server)));
  const stopped = storm.stop(server);
  for (const client of clients) {
    expectEqual((await within(client.closed, "the close")).code, 1001, "farewell");
  }
  expectEqual((await stopped).code, 0, "exit status");
});

check("compression_in_all_terms", async (storm) => {
  const server = await storm.echo("--deflate", "context");
  const texts = Array.from({ length: 50 }, (_, number) => `${number} `.repeat(number * number));
  for (const bits of [9, 11, 15]) {
    for (const alone of [false, true]) {
      const terms = {
        threshold: 0,
        serverMaxWindowBits: bits,
        clientMaxWindowBits: bits,
        serverNoContextTakeover: alone,
        clientNoContextTakeover: alone,
      };
      const client = await Client.connect(server, [], { perMessageDeflate: terms });
      const answer = (await client.answer).headers["sec-websocket-extensions"];
      expect(answer.startsWith("permessage-deflate"), `answer ${answer}`);
      texts.forEach((text) => client.send(text));
      for (const text of texts) expectEqual(await client.next(), text, `echo with ${answer}`);
      for (const size of [0, 1, 125, 126, 65_536, MIB]) {
        client.send(pattern(size));
        expectEqual(await client.next(), pattern(size), `echo of ${size} bytes`);
      }
      client.send("Gr\u00fc".repeat(1000), { fin: false });
      client.send("\u00dfe", { fin: true });
      expectEqual(await client.next(), `${"Gr\u00fc".repeat(1000)}\u00dfe`, "echo of fragments");
      await client.end();
    }
  }
});

check("compression_is_declined", async (storm) => {
  const client = await Client.connect(await storm.echo(), [], { perMessageDeflate: true });
  const { headers } = await client.answer;
  expectEqual(headers["sec-websocket-extensions"], undefined, "extensions of the answer");
  client.send("plain ".repeat(1000));
  expectEqual(await client.next(), "plain ".repeat(1000), "echo");
  await client.end();
});

check("over_tls", async (storm) => {
  // A certificate of the server's own making, for which nobody vouches.
  const server = await storm.echo("--tls");
  const strict = new Client(server);
  const problem = await within(strict.open.catch((error) => error.code), "an error");
  expectEqual(problem, "DEPTH_ZERO_SELF_SIGNED_CERT", "what Node says");
  for (const each of [server, await storm.echo("--tls", "--deflate", "context")]) {
    const perMessageDeflate = { threshold: 0 };
    const client = await Client.connect(each, [], { rejectUnauthorized: false, perMessageDeflate });
    for (const size of [0, 125, 16_384, 65_536, MIB]) {
      client.send(pattern(size));
      expectEqual(await client.next(), pattern(size), `echo of ${size} bytes`);
    }
    expectEqual((await client.end(4000, "bye")).code, 4000, "code of the server's Close");
  }
});

check("headers_of_ones_own", async (storm) => {
  const headers = { Authorization: "Bearer token", Cookie: "a=b; c=d", "X-Long": "x".repeat(4000) };
  const client = await Client.connect(await storm.echo(), [], { headers, origin: "null" });
  client.send("hello");
  expectEqual(await client.next(), "hello", "echo");
  await client.end();
});

// The echo has no subprotocols, so it names none; `ws` takes that for a failure.
check("no_subprotocol_is_agreed_on", async (storm) => {
  const server = await storm.echo();
  const client = new Client(server, ["chat", "superchat"]);
  const problem = await within(client.open.catch((error) => error.message), "an error");
  expectEqual(problem, "Server sent no subprotocol", "what `ws` says");
  expectEqual((await client.answer).headers["sec-websocket-protocol"], undefined, "subprotocol");
  const next = await Client.connect(server);
  await next.end();
});

check("thousand_quick_messages_in_order", async (storm) => {
  const client = await Client.connect(await storm.echo());
  const messages = Array.from({ length: 1000 }, (_, number) => `${number} `.repeat(number % 50));
  messages.forEach((message) => client.send(message));
  for (const message of messages) expectEqual(await client.next(), message, "echo");
  await client.end();
});

check("many_clients", async (storm) => {
  const server = await storm.echo();
  const talks = Array.from({ length: 200 }, async (_, number) => {
    const client = await Client.connect(server);
    for (let turn = 0; turn < 10; turn++) {
      client.send(`${number}/${turn}`);
      expectEqual(await client.next(), `${number}/${turn}`, "echo");
    }
    await client.end();
  });
  await Promise.all(talks);
});

check("terminated_clients_leave_nothing", async (storm) => {
  const server = await storm.echo();
  const before = await storm.descriptors(server);
  for (let round = 0; round < 50; round++) {
    const client = await Client.connect(server);
    client.send(Buffer.alloc(100_000));
    client.socket.terminate();
    expectEqual((await within(client.closed, "the end")).code, 1006, "code of an abrupt end");
  }
  const client = await Client.connect(server);
  client.send("next");
  expectEqual(await client.next(), "next", "echo of the next client");
  await client.end();
  const deadline = performance.now() + 15_000;
  while ((await storm.descriptors(server)) > before) {
    expect(performance.now() < deadline, "descriptors are left");
  }
});

await main();
