//! What ends a session and what does not, told to an application in virtual time: rules that
//! are broken, limits that are passed, silence, slowness.
#![allow(clippy::unwrap_used)]

mod sim;

use std::time::Duration;

use sim::tools::{Journal, masked, seconds};
use sim::{Peer, Sim};
use storm_proto::framing::{Delimiter, FramingError, LengthPrefix};
use storm_proto::service::{ErrorContext, Handler, Running, Session, State};
use storm_proto::websocket::Limits;
use storm_proto::{
    DisconnectReason, Error, Heartbeat, Message, ProtocolError, SendError, SlowConsumer, WebSocket,
};

type Server<H = storm_proto::service::Callbacks> = storm_proto::service::Server<Sim, H>;

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// Writes a journal of messages, errors and ends.
#[derive(Clone, Default)]
struct Scribe(Journal);

impl Handler for Scribe {
    async fn on_message(&self, session: &Session, message: Message<'_>) {
        self.0.note(format!("message {}: {} bytes", session.id(), message.len()));
    }

    async fn on_disconnected(&self, session: &Session, reason: &DisconnectReason) {
        self.0.note(format!("end {}: {:?} {:?}", session.id(), reason.side, reason.cause));
    }

    async fn on_error(&self, context: &ErrorContext, error: &Error) {
        self.0.note(format!("error {}: {error:?}", context.session().unwrap().id()));
    }
}

fn quiet() -> WebSocket {
    WebSocket::new().heartbeat(Heartbeat::off())
}

fn server() -> Server {
    Server::bind("127.0.0.1:80")
}

fn start(server: Server) -> (Journal, Running<Sim>) {
    let scribe = Scribe::default();
    let running = Sim::block_on(server.handler(scribe.clone()).start()).unwrap();
    Sim::run();
    (scribe.0, running)
}

fn upgraded() -> Peer {
    let peer = Sim::dial();
    peer.send(REQUEST);
    assert!(peer.take().starts_with(b"HTTP/1.1 101"));
    peer
}

/// What is told of a fault of session 1.
fn told(error: ProtocolError, cause: &str) -> [String; 2] {
    [format!("error 1: {:?}", Error::Peer(error)), format!("end 1: Remote {cause}")]
}

// Rules and limits.

/// The Close frame that a server sends for a broken rule.
fn goodbye(code: u16, error: ProtocolError) -> Vec<u8> {
    let text = error.to_string();
    [&[0x88, 2 + text.len() as u8], &code.to_be_bytes()[..], text.as_bytes()].concat()
}

#[test]
fn a_broken_rule_is_told_with_its_code_to_both_sides() {
    let too_much = [masked(0x01, &[b'x'; 80]), masked(0x80, &[b'x'; 80])].concat();
    for (bytes, code, error, cause) in [
        (masked(0x80, b"x"), 1002u16, ProtocolError::UnexpectedContinuation, "ProtocolError"),
        (masked(0x09, b"x"), 1002, ProtocolError::FragmentedControl, "ProtocolError"),
        (masked(0x83, b"x"), 1002, ProtocolError::ReservedOpcode(3), "ProtocolError"),
        (too_much, 1009, ProtocolError::MessageTooLarge { limit: 100 }, "MessageTooBig"),
    ] {
        let mut websocket = quiet();
        websocket.limits = Limits::new();
        websocket.limits.message = 100;
        let (journal, running) = start(server().websocket(websocket));
        let peer = upgraded();
        peer.send(&bytes);
        assert_eq!(peer.take(), goodbye(code, error));
        peer.end();
        assert_eq!(journal.take(), told(error, cause));
        assert_eq!(running.connections(), 0);
        Sim::block_on(running.stop(seconds(1)));
    }
}

#[test]
fn a_stream_that_breaks_its_framing_is_ended_after_what_came_before() {
    let error = ProtocolError::from(FramingError::TooLong { limit: 10 });
    let lines = || server().framed(Delimiter::lines().limit(10));
    let lengths = || server().framed(LengthPrefix::new().limit(10));
    for (server, bytes) in
        [(lines(), &b"fits\nbut this does not"[..]), (lengths(), b"\0\0\0\x04fits\0\0\0\x0b")]
    {
        let (journal, running) = start(server);
        let peer = Sim::dial();
        peer.send(bytes);
        assert!(peer.is_ended() && peer.take().is_empty());
        peer.end();
        let expected = [&["message 1: 4 bytes".to_owned()][..], &told(error, "ProtocolError")];
        assert_eq!(journal.take(), expected.concat());
        Sim::block_on(running.stop(seconds(1)));
    }
}

// Silence.

#[test]
fn a_websocket_without_messages_ends_at_the_idle_deadline_whatever_it_pings() {
    let (journal, running) = start(server().websocket(quiet()).idle_timeout(seconds(10)));
    let (talking, pinging) = (upgraded(), upgraded());
    for second in 1..10 {
        Sim::pass(seconds(1));
        pinging.send(&[masked(0x89, b""), masked(0x8a, b"")].concat());
        assert_eq!(pinging.take(), b"\x8a\x00");
        if second == 5 {
            talking.send(&masked(0x81, b"hi"));
        }
    }
    Sim::pass(Duration::from_millis(999));
    assert_eq!(running.count(), 2);
    Sim::pass(Duration::from_millis(1));
    assert_eq!(pinging.take(), b"\x88\x06\x03\xe8idle");
    pinging.send(&masked(0x88, b"\x03\xe8"));
    pinging.end();
    let told = ["message 1: 2 bytes", "error 2: Timer(Idle)", "end 2: Remote IdleTimeout"];
    assert_eq!(journal.take(), told);
    assert!(talking.take().is_empty() && !talking.is_ended());
    Sim::pass(seconds(5));
    assert_eq!(talking.take(), b"\x88\x06\x03\xe8idle", "ten seconds after its message");
    talking.send(&masked(0x88, b"\x03\xe8"));
    talking.end();
    assert_eq!(running.connections(), 0);
}

#[test]
fn a_stream_without_messages_ends_at_the_idle_deadline() {
    let (journal, running) = start(server().framed(Delimiter::lines()).idle_timeout(seconds(10)));
    let (talking, silent) = (Sim::dial(), Sim::dial());
    Sim::pass(seconds(5));
    talking.send(b"hi\n");
    Sim::pass(seconds(5));
    assert!(silent.is_ended() && !talking.is_ended());
    silent.end();
    let told = ["message 1: 2 bytes", "error 2: Timer(Idle)", "end 2: Remote IdleTimeout"];
    assert_eq!(journal.take(), told);
    Sim::pass(seconds(5));
    assert!(talking.is_ended());
    talking.end();
    assert_eq!(running.connections(), 0);
}

// Too many.

#[test]
fn plain_connections_over_the_limit_are_closed_and_become_no_sessions() {
    let (journal, running) = start(server().framed(Delimiter::lines()).max_connections(1));
    let (first, second) = (Sim::dial(), Sim::dial());
    second.send(b"let me in\n");
    assert!(second.is_ended() && !first.is_ended());
    assert_eq!((running.connections(), running.count(), running.refused()), (1, 1, 1));
    assert!(journal.take().is_empty());
    first.end();
    assert_eq!(journal.take(), ["end 1: Remote Closed"]);
    let third = Sim::dial();
    third.send(b"hi\n");
    assert_eq!(journal.take(), ["message 2: 2 bytes"], "the place was given back");
}

// Too slow.

#[test]
fn a_slow_reader_of_lines_loses_some_or_is_cut_off_as_the_policy_says() {
    for policy in [SlowConsumer::Drop, SlowConsumer::Disconnect] {
        let lines = server().framed(Delimiter::lines());
        let (journal, running) = start(lines.slow_consumer(policy).max_pending_send(1_000));
        let peer = Sim::dial();
        peer.narrow(0);
        Sim::run();
        let session = running.session(1).unwrap();
        session.send(&[b'x'; 899]).unwrap();
        let refused = session.send(&[b'y'; 899]).unwrap_err();
        Sim::run();
        if policy == SlowConsumer::Disconnect {
            assert_eq!(refused, SendError::Closed);
            assert!(peer.is_reset() && running.count() == 0);
            assert_eq!(journal.take(), ["error 1: SlowConsumer", "end 1: Remote SlowConsumer"]);
            continue;
        }
        assert_eq!(refused, SendError::Dropped);
        assert_eq!((session.state(), session.metrics().messages_dropped), (State::Open, 1));
        assert!(session.is_backpressured());
        peer.narrow(10_000);
        assert_eq!(peer.take(), [&[b'x'; 899][..], b"\n"].concat());
        assert!(journal.take().is_empty() && !session.is_backpressured());
        drop(running);
        Sim::pass(seconds(6));
    }
}
