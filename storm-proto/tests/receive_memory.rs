//! The memory that the unfinished messages of all sessions may take together, in virtual time.
#![allow(clippy::unwrap_used)]

mod sim;

use sim::tools::{Journal, masked, upgraded};
use sim::{Peer, Sim};
use storm_proto::framing::LengthPrefix;
use storm_proto::service::{Handler, Running, Session};
use storm_proto::{DisconnectReason, Heartbeat, Message, WebSocket};

type Server<H = storm_proto::service::Callbacks> = storm_proto::service::Server<Sim, H>;

/// More than a message of the settings below takes.
const MEMORY: usize = 300_000;

#[derive(Clone, Default)]
struct Scribe(Journal);

impl Handler for Scribe {
    async fn on_message(&self, session: &Session, message: Message<'_>) {
        self.0.note(format!("message {}: {} bytes", session.id(), message.len()));
    }

    async fn on_disconnected(&self, session: &Session, reason: &DisconnectReason) {
        self.0.note(format!("end {}: {:?}, {reason}", session.id(), reason.side));
    }
}

fn start(server: Server) -> (Journal, Running<Sim>) {
    let scribe = Scribe::default();
    let server = server.max_receive_memory(MEMORY).handler(scribe.clone());
    let running = Sim::block_on(server.start()).unwrap();
    Sim::run();
    (scribe.0, running)
}

fn websocket() -> Server {
    let websocket = WebSocket::new().heartbeat(Heartbeat::off()).max_message(150_000);
    Server::bind("127.0.0.1:80").websocket(websocket)
}

/// A masked frame of any length.
fn large(len: usize) -> Vec<u8> {
    let len = len as u64;
    [&[0x82, 0xFF][..], &len.to_be_bytes(), &[0; 4], &vec![7; len as usize]].concat()
}

/// Ends the stream of a peer, so that a session that is over is over at once.
fn hang_up(peer: &Peer) {
    peer.take();
    peer.end();
}

const REFUSED: &str = "unfinished messages of all sessions take the 300000 bytes they may";

#[test]
fn a_message_beyond_the_memory_of_all_closes_its_own_session() {
    let (journal, _running) = start(websocket());
    let large = large(150_000);
    let (begun, rest) = large.split_at(110_000);
    let peers = [upgraded(), upgraded(), upgraded()];
    peers.iter().for_each(|peer| peer.send(begun));
    let close = b"\x88\x25\x03\xf5too busy for a message of this size";
    assert_eq!(peers[2].take(), close);
    assert_eq!(peers.each_ref().map(Peer::unread), [0; 3], "what follows is thrown away");
    peers[2].end();
    assert_eq!(journal.take(), [format!("end 3: Local, {REFUSED}")]);
    // Small ones need none of it, and large ones have it again when others are done.
    let fourth = upgraded();
    fourth.send(&masked(0x82, &[7; 10_000])[..9_000]);
    fourth.send(&masked(0x82, &[7; 10_000])[9_000..]);
    peers[0].send(rest);
    fourth.send(begun);
    fourth.send(rest);
    let expected = ["message 4: 10000 bytes", "message 1: 150000 bytes", "message 4: 150000 bytes"];
    assert_eq!(journal.take(), expected);
    // So is that of a session which ends in the middle.
    peers[1].reset();
    journal.take();
    let others = [upgraded(), upgraded()];
    others.iter().for_each(|peer| peer.send(begun));
    assert_eq!(journal.take(), [""; 0]);
}

#[test]
fn streams_of_plain_tcp_share_the_memory_as_well() {
    let framed = Server::bind("127.0.0.1:80").framed(LengthPrefix::new().limit(150_000));
    let (journal, _running) = start(framed);
    let begun = [&150_000u32.to_be_bytes()[..], &[7; 110_000]].concat();
    let peers = [Sim::dial(), Sim::dial(), Sim::dial()];
    peers.iter().for_each(|peer| peer.send(&begun));
    hang_up(&peers[2]);
    assert_eq!(journal.take(), [format!("end 3: Local, {REFUSED}")]);
}

#[cfg(feature = "deflate")]
#[test]
fn engines_of_unfinished_compressed_messages_count() {
    use storm_proto::websocket::Deflate;

    let deflating = WebSocket::new().heartbeat(Heartbeat::off()).max_message(100_000);
    let server = Server::bind("127.0.0.1:80").websocket(deflating.deflate(Deflate::new()));
    let (journal, _running) = start(server);
    let request = b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Extensions: permessage-deflate\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    let peers: Vec<Peer> = (0..7).map(|_| Sim::dial()).collect();
    for peer in &peers {
        peer.send(request);
        assert!(peer.take().starts_with(b"HTTP/1.1 101"));
        // The first byte of a block, in a fragment that is not the last.
        peer.send(&masked(0x41, &[0xf2]));
    }
    hang_up(&peers[6]);
    assert_eq!(journal.take(), [format!("end 7: Local, {REFUSED}")]);
    peers[0].reset();
    journal.take();
    let peer = Sim::dial();
    peer.send(request);
    peer.send(&masked(0x41, &[0xf2]));
    assert!(peer.take().starts_with(b"HTTP/1.1 101"));
    peer.send(&masked(0x89, b""));
    assert_eq!(peer.take(), b"\x8a\x00", "an engine was given back");
}
