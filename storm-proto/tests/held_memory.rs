//! What a peer can make a connection hold, in proportion to what it has sent: at most a
//! quarter more than what was received and is not handled yet, and 4 KiB.
//!
//! One test, so that nothing else allocates while it counts.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::alloc::System;
use std::sync::Arc;

use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use storm_proto::framing::{Decoded, Delimiter, Framer, FramingError, LengthPrefix, Raw};
use storm_proto::websocket::handshake::Offer;
use storm_proto::websocket::{Limits, Role};
use storm_proto::{
    Connection, Event, Heartbeat, Instant, Message, Options, Random, Receiver, Sender,
};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// What may be held beside what was received.
const FIXED: usize = 4 << 10;

/// How the network cuts what it brings.
const CUTS: [usize; 8] = [1, 7, 125, 1_460, 4_096, 16_384, 65_536, 262_144];

/// Bytes that were sent and are not followed by what would end them.
const SIZES: [usize; 9] = [1, 100, 1_000, 5_000, 16_385, 40_000, 100_000, 340_000, 1_000_000];

#[test]
fn a_connection_holds_a_quarter_more_than_it_received() {
    request_heads();
    response_heads_and_bodies_of_refusals();
    frame_headers();
    messages_in_one_frame();
    messages_in_fragments();
    control_frames();
    pings_that_are_answered_to_nobody();
    input_after_the_close_frame();
    framed_streams();
    #[cfg(feature = "deflate")]
    inflating::messages_that_are_inflated();
    #[cfg(feature = "tls")]
    secured::handshakes();
}

/// Everything that a peer sends in one state, held against what is kept of it.
struct Held<'a> {
    what: &'a str,
    region: Region<'a, System>,
    received: usize,
    /// What the state costs whoever is there, whatever it sends.
    fixed: usize,
    /// The bytes that count: those received, or what they were inflated to.
    counted: Option<usize>,
}

impl<'a> Held<'a> {
    fn new(what: &'a str) -> Held<'a> {
        let region = Region::new(ALLOCATOR);
        Held { what, region, received: 0, fixed: FIXED, counted: None }
    }

    fn check(&self) {
        let change = self.region.change();
        let held = change.bytes_allocated.saturating_sub(change.bytes_deallocated);
        let counted = self.counted.unwrap_or(self.received);
        let most = counted + counted / 4 + self.fixed;
        assert!(held <= most, "{}: {held} held for {counted}, at most {most}", self.what);
    }
}

fn options() -> Arc<Options> {
    let mut options = Options::default();
    options.websocket = options.websocket.heartbeat(Heartbeat::off());
    Arc::new(options)
}

/// Gives `wire` to a receiver, through the room it lends where it lends some.
fn receive(what: &str, mut receiver: Receiver, wire: &[u8], cut: usize, fixed: usize) {
    let mut piece = Vec::with_capacity(cut);
    let mut held = Held::new(what);
    held.fixed += fixed;
    let mut rest = wire;
    while !rest.is_empty() {
        let n;
        if let Some(room) = receiver.direct() {
            n = rest.len().min(room.len());
            room[..n].copy_from_slice(&rest[..n]);
            receiver.direct_filled(n);
            piece.clear();
        } else {
            n = rest.len().min(cut);
            piece.clear();
            piece.extend_from_slice(&rest[..n]);
        }
        let mut input = &mut piece[..];
        while let Some(event) = receiver.next(&mut input) {
            assert!(!matches!(event, Event::Failed(_) | Event::Message(_)), "{what}: {event:?}");
        }
        rest = &rest[n..];
        held.received += n;
        if fixed > 0 {
            held.counted = Some(receiver.assembled());
        }
        held.check();
    }
}

/// Gives `wire` to a connection whose output goes nowhere.
fn converse(what: &str, mut connection: Connection, wire: &[u8], cut: usize) {
    let mut piece = Vec::with_capacity(cut);
    let mut nobody = |_: &mut Sender, _: Message<'_>| {};
    let mut held = Held::new(what);
    for bytes in wire.chunks(cut) {
        piece.clear();
        piece.extend_from_slice(bytes);
        let mut input = &mut piece[..];
        connection.receive(&mut input, Instant::ZERO, &mut nobody);
        held.received += bytes.len();
        held.check();
    }
}

fn request_heads() {
    let line = format!("X-Header: {}\r\n", "x".repeat(180));
    let head = format!("GET /{} HTTP/1.1\r\nHost: a\r\n{}", "p".repeat(500), line.repeat(70));
    for cut in CUTS {
        let options = options();
        for size in [1, 20, 600, 5_000, head.len()] {
            let connection = Connection::server(options.clone(), Instant::ZERO);
            converse("a request", connection, &head.as_bytes()[..size], cut);
        }
    }
}

fn response_heads_and_bodies_of_refusals() {
    let line = format!("X-Header: {}\r\n", "x".repeat(180));
    let head = format!("HTTP/1.1 503 Busy\r\nContent-Length: 1000000\r\n{}\r\n", line.repeat(70));
    let body = [head.as_bytes(), &[b'x'; 500_000]].concat();
    let uri = "ws://example.org/".parse().unwrap();
    for cut in CUTS {
        let options = options();
        for size in [1, 600, 5_000, head.len() - 1, head.len() + 2_000, body.len()] {
            let random = Random::from_seed(1);
            let connection =
                Connection::client(&uri, &Offer::new(), options.clone(), random, Instant::ZERO);
            converse("a refusal", connection.unwrap(), &body[..size], cut);
        }
    }
}

/// The header of a frame of a client, with a key that changes nothing.
fn header(first: u8, len: usize) -> Vec<u8> {
    let mut header = vec![first];
    match len {
        0..=125 => header.push(0x80 | len as u8),
        126..=65_535 => {
            header.push(0x80 | 126);
            header.extend_from_slice(&(len as u16).to_be_bytes());
        }
        _ => {
            header.push(0x80 | 127);
            header.extend_from_slice(&(len as u64).to_be_bytes());
        }
    }
    header.extend_from_slice(&[0; 4]);
    header
}

fn websocket() -> Receiver {
    Receiver::websocket(Role::Server, Limits::new())
}

fn frame_headers() {
    let header = header(0x82, 4 << 20);
    for len in 1..=header.len() {
        receive("a header", websocket(), &header[..len], 1, 0);
    }
}

fn messages_in_one_frame() {
    for announced in [100, 60_000, 1_000_000, 4 << 20] {
        for size in SIZES.into_iter().filter(|&size| size < announced) {
            for cut in CUTS.into_iter().filter(|cut| size / cut < 50_000) {
                for first in [0x81, 0x82] {
                    let wire = [header(first, announced), vec![b'x'; size]].concat();
                    receive("one frame", websocket(), &wire, cut, 0);
                }
            }
        }
    }
}

fn messages_in_fragments() {
    for (size, count) in [(0, 10_000), (1, 10_000), (100, 5_000), (5_000, 200), (200_000, 10)] {
        let fragment = [header(0x00, size), vec![b'x'; size]].concat();
        let wire = [header(0x01, 0), fragment.repeat(count)].concat();
        for cut in CUTS.into_iter().filter(|cut| wire.len() / cut < 50_000) {
            receive("fragments", websocket(), &wire, cut, 0);
        }
    }
}

fn control_frames() {
    for first in [0x88, 0x89, 0x8A] {
        let wire = [header(first, 125), vec![b'x'; 124]].concat();
        for cut in CUTS {
            receive("a control frame", websocket(), &wire, cut, 0);
        }
    }
}

/// An open server whose peer reads nothing.
fn open_server() -> Connection {
    let mut request =
        *b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    let mut server = Connection::server(options(), Instant::ZERO);
    let mut nobody = |_: &mut Sender, _: Message<'_>| {};
    server.receive(&mut &mut request[..], Instant::ZERO, &mut nobody);
    let len = server.output().map(<[u8]>::len).sum();
    drop(server.written(len, Instant::ZERO));
    assert!(server.is_open());
    server
}

fn pings_that_are_answered_to_nobody() {
    for len in [0, 1, 125] {
        let wire = [header(0x89, len), vec![b'x'; len]].concat().repeat(1_000);
        for cut in CUTS {
            converse("pings", open_server(), &wire, cut);
        }
    }
}

fn input_after_the_close_frame() {
    let close = [header(0x88, 2), vec![3, 232]].concat();
    let broken = vec![0x81, 0x01, b'x'];
    for end in [close, broken] {
        let rest = [end, vec![0x82; 1_000_000]].concat();
        let begun = [header(0x02, 100_000), vec![7; 100_000]].concat();
        for cut in CUTS.into_iter().filter(|cut| *cut > 7) {
            let mut server = open_server();
            let mut nobody = |_: &mut Sender, _: Message<'_>| {};
            let mut piece = Vec::with_capacity(cut);
            let mut begun = begun.clone();
            let held = Held::new("after the end");
            server.receive(&mut &mut begun[..], Instant::ZERO, &mut nobody);
            for bytes in rest.chunks(cut) {
                piece.clear();
                piece.extend_from_slice(bytes);
                server.receive(&mut &mut piece[..], Instant::ZERO, &mut nobody);
                // All of it is thrown away: nothing was received that counts.
                held.check();
            }
        }
    }
}

/// Ends messages at `00 00 01`, and looks three bytes ahead for that.
#[derive(Debug)]
struct StartCodes;

impl Framer for StartCodes {
    fn decode(&self, buffered: &[u8], scanned: &mut usize) -> Result<Decoded, FramingError> {
        let from = scanned.saturating_sub(2);
        match buffered[from..].windows(3).position(|three| three == [0, 0, 1]) {
            Some(at) if from + at > 0 => {
                Ok(Decoded::Message { payload: 0..from + at, consumed: from + at })
            }
            _ => {
                *scanned = buffered.len();
                Ok(Decoded::More { at_least: 1 })
            }
        }
    }

    fn encode_head(&self, _: &[u8], _: &mut Vec<u8>) -> Result<(), FramingError> {
        Ok(())
    }
}

fn framed_streams() {
    let framers: [(&str, Arc<dyn Framer>, &[u8]); 3] = [
        ("a line", Arc::new(Delimiter::lines()), b""),
        ("a prefixed message", Arc::new(LengthPrefix::new()), &[0, 0x20, 0, 0]),
        ("a framer of the application", Arc::new(StartCodes), b""),
    ];
    for (what, framer, head) in framers {
        for size in SIZES {
            for cut in CUTS.into_iter().filter(|cut| size / cut < 50_000) {
                let wire = [head, &vec![b'x'; size]].concat();
                receive(what, Receiver::framed(framer.clone()), &wire, cut, 0);
            }
        }
    }
    let held = Held::new("raw bytes");
    let mut raw = Receiver::framed(Arc::new(Raw));
    for _ in 0..10 {
        assert!(raw.next(&mut &mut [7; 1_000][..]).is_some());
        held.check();
    }
}

#[cfg(feature = "deflate")]
mod inflating {
    use storm_proto::websocket::handshake::{HeadLimits, ServerHandshake};
    use storm_proto::websocket::{Agreed, Deflate};
    use storm_proto::{Outbox, WaterMarks};

    use super::*;

    /// The engine that inflates a message, beside what it has come to.
    const ENGINE: usize = 48 << 10;

    fn agreed() -> Agreed {
        let request = b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\
            Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
            Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
            Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n\r\n";
        let request = ServerHandshake::new(HeadLimits::new()).receive(&mut &request[..]);
        let alone = Deflate::new().client_no_context_takeover(true).threshold(0);
        request.unwrap().unwrap().deflate(&alone).unwrap()
    }

    /// What `send` makes of a message, as bytes.
    fn written(sender: &mut Sender) -> Vec<u8> {
        let mut wire = Outbox::new();
        sender.take(&mut wire);
        wire.chunks().collect::<Vec<_>>().concat()
    }

    pub(super) fn messages_that_are_inflated() {
        let agreed = agreed();
        let mut client = Sender::websocket_client(Random::from_seed(3), WaterMarks::new(64 << 20));
        client.deflate(&agreed);
        let noise = (0..100_000u32).flat_map(|n| n.wrapping_mul(n * 31).to_le_bytes());
        for message in [vec![0; 4 << 20], noise.collect(), b"ab".repeat(500), vec![7; 100]] {
            client.send(&message).unwrap();
            let wire = written(&mut client);
            // All but its last byte, so that it is not finished.
            let wire = &wire[..wire.len() - 1];
            for cut in CUTS.into_iter().filter(|cut| wire.len() / cut < 20_000) {
                let mut receiver = websocket();
                receiver.deflate(&agreed);
                receive("inflating", receiver, wire, cut, ENGINE);
            }
        }
    }
}

#[cfg(feature = "tls")]
mod secured {
    use storm_proto::tls::{TlsClient, TlsIdentity, TlsServer, TlsStage};

    use super::*;

    /// What rustls takes for a handshake, keys and buffers to read into, beside what came.
    const MACHINE: usize = 12 << 10;

    pub(super) fn handshakes() {
        let server = TlsServer::new(TlsIdentity::self_signed(["a"]).unwrap()).unwrap();
        let options = TlsClient::options().dangerous_accept_any_certificate();
        let client = options.build().unwrap();
        // A hello as clients send it, and one that goes on and on.
        let mut hello = Vec::new();
        TlsStage::client(&client, "a", false).unwrap().answers(&mut hello);
        let mut endless = Vec::new();
        for _ in 0..3 {
            endless.extend_from_slice(&[22, 3, 1, 0x40, 0]);
            endless.extend(if endless.len() == 5 { vec![1, 0, 0xBF, 0xFC] } else { vec![7; 4] });
            endless.extend(vec![7; (16 << 10) - 4]);
        }
        for wire in [hello, endless] {
            for cut in CUTS {
                let mut stage = TlsStage::server(&server, false).unwrap();
                let mut held = Held::new("a handshake of TLS");
                let mut failed = false;
                for bytes in wire.chunks(cut) {
                    failed |= stage.handshake(&mut &bytes[..]).is_err();
                    held.received += bytes.len();
                    // rustls doubles its buffer, and puts 64 KiB of a handshake into it at most.
                    held.fixed = FIXED + MACHINE + held.received * 3 / 4;
                    if !failed {
                        held.check();
                    }
                }
            }
        }
    }
}
