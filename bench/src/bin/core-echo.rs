//! What TLS and compression add to an echo, in the core alone: one connection, one thread, no
//! sockets. README.md tells the method and its limits.

#![forbid(unsafe_code)]

use std::io::IoSlice;
use std::time::{Duration, Instant};

use clap::Parser;
use storm_proto::tls::{TlsClient, TlsError, TlsIdentity, TlsServer, TlsStage};
use storm_proto::websocket::handshake::ServerHandshake;
use storm_proto::websocket::{Agreed, Deflate, Limits, Role};
use storm_proto::{Event, Message, Outbox, Random, Receiver, Sender, WaterMarks};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
    Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n\r\n";

/// Echoes in memory, and prints what a message costs with and without TLS and compression.
#[derive(Parser)]
struct Options {
    /// How often each kind of connection has its turn; the best one counts.
    #[arg(long, default_value_t = 50)]
    rounds: usize,
}

/// How long a turn is, the client's part left out.
const TURN: Duration = Duration::from_millis(20);

/// Bytes of a message, and how many of them the server finds at once.
const SCENARIOS: [(usize, usize); 4] = [(32, 1000), (1 << 10, 64), (16 << 10, 8), (64 << 10, 4)];

/// What stands around the messages.
#[derive(Clone, Copy)]
struct Kind {
    name: &'static str,
    tls: bool,
    deflate: Option<Deflate>,
}

const ALONE: Deflate = Deflate::new().threshold(0);
const CONTEXT: Deflate = ALONE.server_no_context_takeover(false).client_no_context_takeover(false);

const KINDS: [Kind; 5] = [
    Kind { name: "plain", tls: false, deflate: None },
    Kind { name: "TLS", tls: true, deflate: None },
    Kind { name: "deflate, each alone", tls: false, deflate: Some(ALONE) },
    Kind { name: "deflate, in context", tls: false, deflate: Some(CONTEXT) },
    Kind { name: "TLS, deflate, each alone", tls: true, deflate: Some(ALONE) },
];

fn main() -> Result<()> {
    let Options { rounds } = Options::parse();
    for (bytes, count) in SCENARIOS {
        println!("### {count} x {bytes} B of JSON\n");
        println!("| | ns/msg | x plain | MiB/s | wire bytes/msg |\n|---|---:|---:|---:|---:|");
        let mut best = [f64::INFINITY; KINDS.len()];
        let mut wire = [0; KINDS.len()];
        for _ in 0..rounds {
            for (at, kind) in KINDS.iter().enumerate() {
                let (ns, bytes) = turn(*kind, bytes, count)?;
                best[at] = best[at].min(ns);
                wire[at] = bytes;
            }
        }
        for (at, kind) in KINDS.iter().enumerate() {
            let (ns, ratio) = (best[at], best[at] / best[0]);
            let rate = bytes as f64 / ns * 1e9 / f64::from(1 << 20);
            println!("| {} | {ns:.0} | {ratio:.2} | {rate:.0} | {} |", kind.name, wire[at]);
        }
        println!();
    }
    Ok(())
}

/// One connection for a while: nanoseconds of the server for a message, and bytes of its answer.
fn turn(kind: Kind, bytes: usize, count: usize) -> Result<(f64, usize)> {
    let mut ends = Ends::new(kind)?;
    let messages = messages(bytes, 4 * count);
    let (mut time, mut echoed, mut answered) = (Duration::ZERO, 0, 0);
    // Buffers grow to their size, and contexts fill, before it counts.
    let mut warm = 3;
    for part in messages.chunks(count).cycle() {
        let mut input = ends.client.say(part)?;
        let start = Instant::now();
        let answer = ends.server.echo(&mut input)?;
        if warm > 0 {
            warm -= 1;
            continue;
        }
        time += start.elapsed();
        echoed += part.len();
        answered += answer;
        if time > TURN {
            break;
        }
    }
    Ok((time.as_nanos() as f64 / echoed as f64, answered / echoed))
}

/// JSON as services speak it: mostly alike, and no two the same.
fn messages(bytes: usize, count: usize) -> Vec<String> {
    let mut random = Random::from_seed(1);
    let mut number = || u32::from_le_bytes(random.bytes());
    let mut message = || {
        let mut text = String::new();
        while text.len() < bytes {
            text += &format!(
                "{{\"id\":{},\"price\":{}.{:02},\"side\":\"{}\",\"open\":{}}},",
                number(),
                number() % 10_000,
                number() % 100,
                ["buy", "sell"][number() as usize % 2],
                number() % 2 == 0,
            );
        }
        text.truncate(bytes);
        text
    };
    (0..count).map(|_| message()).collect()
}

struct Ends {
    client: Client,
    server: Server,
}

struct Client {
    sender: Sender,
    tls: Option<TlsStage>,
}

struct Server {
    receiver: Receiver,
    sender: Sender,
    tls: Option<TlsStage>,
    scratch: Vec<u8>,
    wire: Outbox,
    records: Vec<u8>,
}

impl Ends {
    fn new(kind: Kind) -> Result<Ends> {
        let marks = WaterMarks::new(64 << 20);
        let mut client = Sender::websocket_client(Random::from_seed(2), marks);
        let mut sender = Sender::websocket_server(marks);
        let mut receiver = Receiver::websocket(Role::Server, Limits::new());
        if let Some(deflate) = &kind.deflate {
            let agreed = agree(deflate)?;
            client.deflate(&agreed);
            sender.deflate(&agreed);
            receiver.deflate(&agreed);
        }
        let (ours, theirs) = if kind.tls { secured()? } else { (None, None) };
        Ok(Ends {
            client: Client { sender: client, tls: theirs },
            server: Server {
                receiver,
                sender,
                tls: ours,
                scratch: vec![0; 256 << 10],
                wire: Outbox::new(),
                records: Vec::new(),
            },
        })
    }
}

fn agree(deflate: &Deflate) -> Result<Agreed> {
    let request = ServerHandshake::new(Default::default()).receive(&mut &REQUEST[..]);
    let request = request.and_then(std::result::Result::ok).ok_or("a request")?;
    Ok(request.deflate(deflate).ok_or("an offer that fits")?)
}

/// A server's machine and a client's, with the handshake behind them.
fn secured() -> Result<(Option<TlsStage>, Option<TlsStage>)> {
    let server = TlsServer::new(TlsIdentity::self_signed(["a"])?)?;
    let client = TlsClient::options().dangerous_accept_any_certificate().build()?;
    let mut server = TlsStage::server(&server, true)?;
    let mut client = TlsStage::client(&client, "a", true)?;
    for _ in 0..3 {
        shake(&mut client, &mut server)?;
        shake(&mut server, &mut client)?;
    }
    Ok((Some(server), Some(client)))
}

fn shake(from: &mut TlsStage, to: &mut TlsStage) -> std::result::Result<(), TlsError> {
    let mut records = Vec::new();
    from.answers(&mut records);
    let mut rest = &records[..];
    to.handshake(&mut rest)?;
    to.open(&mut rest, &mut [0]).map(drop)
}

impl Client {
    /// What the socket of the server has.
    fn say(&mut self, messages: &[String]) -> Result<Vec<u8>> {
        for message in messages {
            self.sender.send(Message::text(message))?;
        }
        let mut wire = Outbox::new();
        self.sender.take(&mut wire);
        self.sender.wrote(0);
        let plain = wire.chunks().collect::<Vec<_>>().concat();
        let Some(tls) = &mut self.tls else { return Ok(plain) };
        let (mut rest, mut records) = (&plain[..], Vec::new());
        while !rest.is_empty() {
            let sealed = tls.seal(&[IoSlice::new(rest)], &mut records)?;
            rest = &rest[sealed..];
        }
        Ok(records)
    }
}

impl Server {
    /// Answers all of it; returns how much goes to the socket.
    fn echo(&mut self, input: &mut [u8]) -> Result<usize> {
        let Server { receiver, sender, tls, scratch, wire, records } = self;
        match tls {
            None => answer(receiver, sender, input)?,
            Some(tls) => {
                let mut rest = &*input;
                loop {
                    let opened = tls.open(&mut rest, scratch)?;
                    if opened == 0 {
                        break;
                    }
                    answer(receiver, sender, &mut scratch[..opened])?;
                }
            }
        }
        sender.take(wire);
        let mut written = wire.len();
        if let Some(tls) = tls {
            records.clear();
            while !wire.is_empty() {
                let chunks = wire.chunks().take(64).map(IoSlice::new).collect::<Vec<_>>();
                let sealed = tls.seal(&chunks, records)?;
                drop(chunks);
                wire.advance(sealed);
            }
            written = records.len();
        } else {
            wire.advance(written);
        }
        sender.wrote(0);
        if let Some(spare) = wire.take_spare() {
            sender.outbox().offer(spare);
        }
        Ok(written)
    }
}

fn answer(receiver: &mut Receiver, sender: &mut Sender, mut input: &mut [u8]) -> Result<()> {
    while let Some(event) = receiver.next(&mut input) {
        let Event::Message(message) = event else { return Err("no message".into()) };
        sender.send(message)?;
    }
    Ok(())
}
