//! Middleware as servers and clients have it, in virtual time.
#![allow(clippy::unwrap_used)]

mod sim;

use std::sync::Arc;

use sim::tools::{Journal, accept, masked, poll, seconds, start, websocket};
use sim::{Peer, Sim};
use storm_proto::framing::Delimiter;
use storm_proto::service::{
    Client, ControlFrame, Delivery, ErrorContext, Handler, Middleware, Outcome, Running, Session,
    State, middleware,
};
use storm_proto::{
    Cause, CloseCode, DisconnectReason, Error, LocalError, Message, OwnedMessage, ProtocolError,
    SendError, Side,
};

type Server<H = storm_proto::service::Callbacks> = storm_proto::service::Server<Sim, H>;

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// Writes all that it sees into a journal, under its name, and adds the name to each message;
/// does as messages that begin with the name say.
#[derive(Clone)]
struct Scribe(&'static str, Journal);

impl Scribe {
    fn note(&self, line: impl AsRef<str>) {
        self.1.note(format!("{} {}", self.0, line.as_ref()));
    }

    fn see(&self, way: &str, session: &Session, message: Message<'_>) -> Outcome {
        let text = message.to_text().unwrap();
        self.note(format!("{way} {text:?}"));
        match text.strip_prefix(self.0) {
            Some(" drops") => Outcome::Drop,
            Some(" empties") => Outcome::Replace(OwnedMessage::binary("")),
            Some(" panics") => panic!("on purpose"),
            Some(" closes") => {
                session.close();
                Outcome::Pass
            }
            Some(" passes") => Outcome::Pass,
            _ => Outcome::Replace(OwnedMessage::text(format!("{text}{}", self.0))),
        }
    }
}

impl Middleware for Scribe {
    fn on_connect(&self, session: &Session) {
        self.note(format!("connect {:?}", session.state()));
    }

    fn inbound(&self, session: &Session, message: Message<'_>) -> Outcome {
        self.see("in", session, message)
    }

    fn outbound(&self, session: &Session, message: Message<'_>) -> Outcome {
        self.see("out", session, message)
    }

    fn control(&self, _: &Session, frame: ControlFrame<'_>) {
        self.note(format!("{frame:?}"));
    }

    fn on_disconnect(&self, session: &Session, reason: &DisconnectReason) {
        self.note(format!("disconnect {:?} {:?}", session.state(), reason.cause));
    }

    fn on_error(&self, context: &ErrorContext, error: &Error) {
        self.note(format!("error {:?} {error}", context.session().map(Session::id)));
    }
}

/// An echo, with the same journal.
struct Echo(Journal);

impl Handler for Echo {
    async fn on_connected(&self, _: &Session) {
        self.0.note("connected");
    }

    async fn on_message(&self, session: &Session, message: Message<'_>) {
        self.0.note(format!("message {:?}", message.to_text().unwrap()));
        let _ = session.send_wait(message).await;
    }

    async fn on_disconnected(&self, _: &Session, reason: &DisconnectReason) {
        self.0.note(format!("disconnected {:?}", reason.cause));
    }

    async fn on_error(&self, _: &ErrorContext, error: &Error) {
        self.0.note(format!("error {error}"));
    }
}

fn lines() -> Server {
    Server::bind("127.0.0.1:80").framed(Delimiter::lines())
}

fn upgraded() -> Peer {
    let peer = Sim::dial();
    peer.send(REQUEST);
    assert!(peer.take().starts_with(b"HTTP/1.1 101"));
    peer
}

fn say(peer: &Peer, text: &str) {
    peer.send(&masked(0x81, text.as_bytes()));
}

/// A server of `server` with the scribes A and B.
fn with_scribes(server: Server) -> (Journal, Running<Sim>) {
    let journal = Journal::default();
    let server = server.middleware(Scribe("A", journal.clone()));
    let server = server.middleware(Scribe("B", journal.clone())).handler(Echo(journal.clone()));
    (journal, start(server))
}

// The order.

#[test]
fn a_message_goes_through_all_in_order_both_ways_and_the_end_in_reverse() {
    let (journal, _running) = with_scribes(websocket());
    let peer = upgraded();
    assert_eq!(journal.take(), ["A connect Open", "B connect Open", "connected"]);
    say(&peer, "x");
    assert_eq!(peer.take(), b"\x81\x05xABAB");
    assert_eq!(
        journal.take(),
        [r#"A in "x""#, r#"B in "xA""#, r#"message "xAB""#, r#"A out "xAB""#, r#"B out "xABA""#]
    );
    peer.send(&masked(0x88, b""));
    assert_eq!(peer.take(), b"\x88\x00");
    peer.end();
    assert_eq!(
        journal.take(),
        ["B disconnect Closed Closed", "A disconnect Closed Closed", "disconnected Closed"]
    );
}

#[test]
fn lines_on_plain_tcp_go_through_it_as_messages_do() {
    let (journal, _running) = with_scribes(lines());
    let peer = Sim::dial();
    peer.send(b"x\nA drops\ny\n");
    assert_eq!(peer.take(), b"xABAB\nyABAB\n");
    journal.take();
    peer.send(b"A drops\n\n");
    assert_eq!(peer.take(), b"ABAB\n", "an empty line is a message");
    let lines = journal.take();
    assert_eq!(lines[..2], [r#"A in "A drops""#, r#"A in """#], "and nobody behind saw the first");
}

#[test]
fn a_drop_ends_a_message_and_nobody_behind_sees_it() {
    let (journal, running) = with_scribes(websocket());
    let peer = upgraded();
    journal.take();
    say(&peer, "A drops");
    assert_eq!(journal.take(), [r#"A in "A drops""#]);
    let session = running.session(1).unwrap();
    assert_eq!(session.send("A drops"), Ok(()), "as the application wished");
    assert_eq!(journal.take(), [r#"A out "A drops""#]);
    assert_eq!(Sim::block_on(session.send_wait("A drops")), Ok(()));
    assert!(peer.take().is_empty());
    let metrics = session.metrics();
    assert_eq!((metrics.messages_received, metrics.messages_sent), (1, 0));
}

#[test]
fn an_empty_message_is_a_message() {
    let (journal, running) = with_scribes(websocket());
    let peer = upgraded();
    journal.take();
    say(&peer, "A empties");
    assert_eq!(journal.take()[..3], [r#"A in "A empties""#, r#"B in """#, r#"message "B""#]);
    assert_eq!(peer.take(), b"\x81\x03BAB");
    drop(running);
    Sim::pass(seconds(6));
    let running = start(websocket().middleware(Scribe("A", journal.clone())));
    let peer = upgraded();
    running.session(1).unwrap().send("A empties").unwrap();
    assert_eq!(peer.take(), b"\x82\x00", "the kind is that of what was put in its place");
}

#[test]
fn control_frames_are_shown_and_answered() {
    let (journal, _running) = with_scribes(websocket());
    let peer = upgraded();
    journal.take();
    peer.send(&[masked(0x89, b"hi"), masked(0x8A, b"")].concat());
    assert_eq!(peer.take(), b"\x8A\x02hi");
    let ping = format!("{:?}", ControlFrame::Ping(b"hi"));
    let pong = format!("{:?}", ControlFrame::Pong(b""));
    assert_eq!(
        journal.take(),
        [format!("A {ping}"), format!("B {ping}"), format!("A {pong}"), format!("B {pong}")]
    );
}

// All ways to send.

#[test]
fn every_way_to_send_goes_through_it_once() {
    let journal = Journal::default();
    let server = websocket().max_pending_send(1_000);
    let running = start(server.middleware(Scribe("A", journal.clone())));
    let peer = upgraded();
    let session = running.session(1).unwrap();
    session.send("1").unwrap();
    session.send_prepared(&storm_proto::Prepared::new("2")).unwrap();
    Sim::block_on(session.send_wait("3")).unwrap();
    assert_eq!(running.hub().all().send("4").queued, 1);
    assert_eq!(Sim::block_on(running.hub().all().send_wait("5")).queued, 1);
    assert_eq!(peer.take(), b"\x81\x021A\x81\x022A\x81\x023A\x81\x024A\x81\x025A");
    journal.take();

    // Those that wait have been through when they get their room.
    peer.narrow(10);
    let filling = "f".repeat(900);
    session.send(&filling).unwrap();
    let mut one = Box::pin(session.send_wait(&filling));
    let mut all = Box::pin(running.hub().all().send_wait(&filling));
    assert!(poll(&mut one).is_none() && poll(&mut all).is_none());
    assert_eq!(journal.take().len(), 3);
    peer.narrow(1 << 20);
    let mut frames = peer.take();
    assert_eq!(poll(&mut one), Some(Ok(())));
    frames.extend(peer.take());
    assert_eq!(poll(&mut all).unwrap().queued, 1);
    frames.extend(peer.take());
    assert_eq!(frames.len(), 3 * (4 + 901));
    assert!(journal.take().is_empty());
}

#[test]
fn a_broadcast_is_changed_for_one_and_shared_by_the_others() {
    let to_second = middleware::outbound(|session, message| match (session.id(), message) {
        (2, _) => Outcome::Replace(OwnedMessage::text("for you")),
        (3, _) => Outcome::Drop,
        _ => Outcome::Pass,
    });
    let running = start(websocket().middleware(to_second));
    let peers = [upgraded(), upgraded(), upgraded()];
    let expected: [&[u8]; 3] = [b"\x81\x02hi", b"\x81\x07for you", b""];
    let counted = |delivery: Delivery| (delivery.queued, delivery.filtered);
    assert_eq!(counted(running.hub().all().send("hi")), (2, 1));
    assert_eq!(peers.each_ref().map(Peer::take), expected);
    assert_eq!(counted(running.hub().all().send_latest(1, "hi")), (2, 1));
    assert_eq!(peers.each_ref().map(Peer::take), expected);
    assert_eq!(counted(Sim::block_on(running.hub().all().send_wait("hi"))), (2, 1));
    assert_eq!(peers.each_ref().map(Peer::take), expected);
    assert_eq!(running.session(3).unwrap().metrics().messages_filtered_out, 3);
    assert_eq!(running.metrics().sessions.messages_filtered_out, 3);
}

#[test]
fn the_answers_of_a_batch_go_through_it_in_their_order() {
    let count = middleware::outbound(|session, message| {
        let sent = session.metrics().messages_sent;
        match message.as_text() {
            Some(text) if text.starts_with('x') => {
                Outcome::Replace(OwnedMessage::text(text.to_uppercase()))
            }
            _ => {
                assert!(sent < 1000);
                Outcome::Pass
            }
        }
    });
    let server = websocket().middleware(count);
    let _running = start(server.on_message(|session, message| session.send(message)));
    let peer = upgraded();
    let all: Vec<u8> = ["x1", "y2", "x3"].iter().flat_map(|t| masked(0x81, t.as_bytes())).collect();
    peer.send(&all);
    assert_eq!(peer.take(), b"\x81\x02X1\x81\x02y2\x81\x02X3");
}

#[test]
fn what_an_outbound_sends_is_shown_to_no_outbound() {
    let journal = Journal::default();
    let twice = middleware::outbound(|session, message| {
        session.send("first").unwrap();
        // Over another session as well.
        session.send_prepared(&storm_proto::Prepared::new(message)).unwrap();
        Outcome::Pass
    });
    let server = websocket().middleware(twice).middleware(Scribe("A", journal.clone()));
    let _running = start(server.on_message(|session, message| session.send(message)));
    let peer = upgraded();
    say(&peer, "x");
    assert_eq!(peer.take(), b"\x81\x05first\x81\x02xA\x81\x03xAA");
    assert_eq!(journal.take().len(), 3, "connect, in, and one out");
}

// Clients.

#[test]
fn clients_have_it_too_and_those_that_ask_for_their_messages() {
    let journal = Journal::default();
    let client = Client::<Sim>::new("ws://127.0.0.1/").middleware(Scribe("A", journal.clone()));
    let mut opening = Box::pin(client.open());
    assert!(poll(&mut opening).is_none());
    let server = Sim::dialled();
    server.send(&accept(&server.take()));
    let mut inbox = poll(&mut opening).unwrap().unwrap();
    Sim::run();
    server.send(b"\x81\x07A drops\x81\x02hi");
    let got = Sim::block_on(inbox.next()).unwrap().unwrap();
    assert_eq!(got.as_text(), Some("hiA"));
    inbox.session().send("A passes").unwrap();
    inbox.session().send("A passes").unwrap();
    assert_eq!(server.take().len(), 2 * (2 + 4 + 8), "masked");
    assert_eq!(
        journal.take(),
        [
            "A connect Open",
            r#"A in "A drops""#,
            r#"A in "hi""#,
            r#"A out "A passes""#,
            r#"A out "A passes""#
        ]
    );
    server.reset();
    let reason = Sim::block_on(inbox.next()).unwrap_err();
    assert_eq!(reason.cause, Cause::TransportError);
    let lines = journal.take();
    assert!(lines[0].starts_with("A error Some(1)") && lines.len() == 2, "{lines:?}");
    assert_eq!(lines[1], "A disconnect Closed TransportError");
}

// Refusals, panics.

/// Closes or panics as it is told to.
struct Guard(fn(&Session));

impl Middleware for Guard {
    fn on_connect(&self, session: &Session) {
        (self.0)(session);
    }
}

#[test]
fn a_session_that_is_refused_is_told_to_nobody_behind() {
    let journal = Journal::default();
    let refuse = |session: &Session| {
        session.send("no").unwrap();
        session.close_with(CloseCode::POLICY_VIOLATION, "full").unwrap();
    };
    let server = websocket().middleware(Scribe("A", journal.clone())).middleware(Guard(refuse));
    let server = server.middleware(Scribe("B", journal.clone())).handler(Echo(journal.clone()));
    let running = start(server);
    let peer = upgraded_with(b"\x81\x04noAB\x88\x06\x03\xF0full");
    peer.send(&[masked(0x81, b"ignored"), masked(0x88, b"\x03\xF0")].concat());
    peer.end();
    assert_eq!(
        journal.take(),
        ["A connect Open", r#"A out "no""#, r#"B out "noA""#, "A disconnect Closed Closed"]
    );
    assert_eq!(running.connections(), 0);
}

/// A peer that gets these frames at once.
fn upgraded_with(frames: &[u8]) -> Peer {
    let peer = Sim::dial();
    peer.send(REQUEST);
    let answer = peer.take();
    assert!(answer.ends_with(frames), "{}", answer.escape_ascii());
    peer
}

#[test]
fn an_inbox_whose_session_is_refused_comes_to_its_end() {
    let client = Client::<Sim>::new("ws://127.0.0.1/").middleware(Guard(Session::close));
    let mut opening = Box::pin(client.open());
    assert!(poll(&mut opening).is_none());
    let server = Sim::dialled();
    server.send(&accept(&server.take()));
    let mut inbox = poll(&mut opening).unwrap().unwrap();
    assert_eq!(server.take()[0], 0x88);
    server.send(b"\x88\x02\x03\xE8");
    server.end();
    assert_eq!(Sim::block_on(inbox.next()).unwrap(), None);
}

#[test]
fn a_panic_in_a_hook_ends_its_session_only() {
    for (hook, from_peer) in [("in", true), ("out", false)] {
        let journal = Journal::default();
        let server = websocket().middleware(Scribe("A", journal.clone()));
        let running = start(server.handler(Echo(journal.clone())));
        let (hit, other) = (upgraded(), upgraded());
        journal.take();
        let session = running.session(1).unwrap();
        if from_peer {
            say(&hit, "A panics");
        } else {
            assert_eq!(session.send("A panics"), Err(SendError::Closed));
        }
        assert_eq!(hit.take(), b"\x88\x10\x03\xF3internal error", "{hook}");
        hit.end();
        let reason = session.reason().unwrap();
        assert_eq!((reason.side, reason.cause), (Side::Local, Cause::HandlerFailed));
        assert_eq!(reason.error, Some(Error::Local(LocalError::HandlerPanicked)));
        assert_eq!(
            journal.take(),
            [
                &*format!(r#"A {hook} "A panics""#),
                "A error Some(1) a handler panicked",
                "error a handler panicked",
                "A disconnect Closed HandlerFailed",
                "disconnected HandlerFailed",
            ]
        );
        say(&other, "x");
        assert_eq!(other.take(), b"\x81\x03xAA");
        let last = running.session(2).unwrap();
        last.send("A passes").unwrap();
        assert_eq!(other.take(), b"\x81\x08A passes", "the chain is whole after a panic");
    }
}

#[test]
fn a_panic_at_the_beginning_refuses_and_one_at_the_end_keeps_nobody_from_being_told() {
    struct Careless;
    impl Middleware for Careless {
        fn on_disconnect(&self, _: &Session, _: &DisconnectReason) {
            panic!("on purpose");
        }
        fn on_error(&self, _: &ErrorContext, _: &Error) {
            panic!("on purpose");
        }
    }
    let journal = Journal::default();
    let server = websocket().middleware(Scribe("A", journal.clone())).middleware(Careless);
    let server = server.middleware(Guard(|session| assert_ne!(session.id(), 1, "on purpose")));
    let _running = start(server.handler(Echo(journal.clone())));
    let peer = upgraded_with(b"\x88\x10\x03\xF3internal error");
    peer.end();
    let told = [
        "A connect Open",
        "A error Some(1) a handler panicked",
        "error a handler panicked",
        "A disconnect Closed HandlerFailed",
    ];
    assert_eq!(journal.take(), told);
    let peer = upgraded();
    peer.reset();
    assert_eq!(journal.take().last().unwrap(), "disconnected TransportError");
}

#[test]
fn nothing_is_delivered_to_a_session_that_a_hook_has_closed() {
    let (journal, running) = with_scribes(websocket());
    let peer = upgraded();
    journal.take();
    say(&peer, "A closes");
    assert_eq!(journal.take(), [r#"A in "A closes""#, r#"B in "A closes""#]);
    assert_eq!(peer.take(), b"\x88\x02\x03\xE8");
    assert_eq!(running.sessions().len(), 1);
    assert_eq!(running.hub().all().sessions()[0].state(), State::Closing);
    assert_eq!(running.hub().all().sessions()[0].send("x"), Err(SendError::Closed));
    assert!(journal.take().is_empty(), "what cannot be sent is not shown");
    Sim::pass(seconds(6));
}

#[test]
fn errors_without_a_session_are_told_too() {
    let journal = Journal::default();
    let _running = start(websocket().middleware(Scribe("A", journal.clone())));
    Sim::fail_accept(std::io::ErrorKind::OutOfMemory.into());
    Sim::pass(seconds(2));
    assert_eq!(journal.take().len(), 1);
    let _silent = Sim::dial();
    Sim::pass(seconds(11));
    assert_eq!(journal.take(), ["A error None the handshake deadline passed"]);
}

#[test]
fn every_middleware_is_told_of_the_same_error_before_the_handler() {
    let (journal, _running) = with_scribes(websocket());
    let peer = upgraded();
    journal.take();
    peer.send(&masked(0x80, b"x"));
    peer.end();
    let error = Error::Peer(ProtocolError::UnexpectedContinuation);
    let told = [
        format!("A error Some(1) {error}"),
        format!("B error Some(1) {error}"),
        format!("error {error}"),
    ];
    assert_eq!(journal.take()[..3], told);
}

#[test]
fn one_middleware_may_serve_several_servers() {
    let journal = Journal::default();
    let shared = Arc::new(Scribe("A", journal.clone()));
    let _one = start(websocket().middleware(shared.clone()));
    let _peer = upgraded();
    assert_eq!(journal.take(), ["A connect Open"]);
    assert_eq!(Arc::strong_count(&shared), 2);
}

#[test]
fn a_message_that_grows_is_handed_over_when_its_answer_fits() {
    let grow = middleware::inbound(|_, message| {
        Outcome::Replace(OwnedMessage::binary(message.as_bytes().repeat(100)))
    });
    let server = websocket().max_pending_send(10_000).middleware(grow);
    let _running = start(server.on_message(|session, message| {
        assert_eq!(message.len(), 1_000);
        assert_eq!(session.send(message), Ok(()), "there is room");
    }));
    let peer = upgraded();
    peer.narrow(1_500);
    let all: Vec<u8> = (0..50).flat_map(|n| masked(0x82, &[n; 10])).collect();
    peer.send(&all);
    assert_eq!(peer.take().len(), 50 * 1_004);
}
