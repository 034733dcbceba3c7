//! Servers, clients and sessions as an application sees them, in virtual time.
#![allow(clippy::unwrap_used)]

mod sim;

use std::future::pending;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sim::tools::{Journal, masked, poll, seconds, start};
use sim::{Peer, Sim};
use storm_proto::framing::Delimiter;
use storm_proto::service::{ErrorContext, Handler, Running, Session, State};
use storm_proto::websocket::handshake::{Accept, Decision, Request, Response};
use storm_proto::{
    Cause, CloseCode, DisconnectReason, Error, Heartbeat, LocalError, Message, OwnedMessage,
    SendError, Timer, WebSocket,
};

type Server<H = storm_proto::service::Callbacks> = storm_proto::service::Server<Sim, H>;

const REQUEST: &[u8] = b"GET /chat?room=1 HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: chat\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

const GRACE: Duration = Duration::from_secs(30);

/// An echo that writes a journal, and does what messages tell it to.
#[derive(Clone, Default)]
struct Scribe {
    journal: Journal,
    sessions: Arc<Mutex<Vec<Session>>>,
}

impl Scribe {
    fn session(&self, at: usize) -> Session {
        self.sessions.lock().unwrap()[at].clone()
    }
}

impl Handler for Scribe {
    async fn on_connecting(&self, request: &Request) -> Decision {
        self.journal.note(format!("connecting {}", request.path()));
        match request.path() {
            "/slow" => pending().await,
            "/panic" => panic!("on purpose"),
            "/page" => Response::html("<p>hello").into(),
            "/chat" => Accept::new().subprotocol("chat").attach(42u32).header("X-A", "b").into(),
            "/bad" => Accept::new().subprotocol("never offered").into(),
            _ => Accept::new().into(),
        }
    }

    async fn on_connected(&self, session: &Session) {
        self.journal.note(format!("connected {}", session.id()));
        self.sessions.lock().unwrap().push(session.clone());
    }

    async fn on_message(&self, session: &Session, message: Message<'_>) {
        self.journal.note(format!("message {}", session.id()));
        match message.as_bytes() {
            b"panic" => panic!("on purpose"),
            b"wait" => pending().await,
            b"close" => session.close_with(CloseCode::new(4001).unwrap(), "asked").unwrap(),
            b"abort" => session.abort(),
            b"threads" => {
                session.send("1").unwrap();
                let other = session.clone();
                std::thread::spawn(move || other.send("2").unwrap()).join().unwrap();
                session.send("3").unwrap();
            }
            b"last" => {
                session.send("before").unwrap();
                let other = session.clone();
                std::thread::spawn(move || other.close()).join().unwrap();
                assert_eq!(session.send("after"), Err(SendError::Closed));
            }
            _ => session.send(message).unwrap(),
        }
    }

    async fn on_disconnected(&self, session: &Session, reason: &DisconnectReason) {
        let DisconnectReason { side, cause, .. } = reason;
        assert_eq!(session.state(), State::Closed);
        self.journal.note(format!("disconnected {} {side:?} {cause:?}", session.id()));
    }

    async fn on_error(&self, context: &ErrorContext, error: &Error) {
        self.journal.note(format!("error {:?} {error:?}", context.session().map(Session::id)));
    }
}

fn quiet() -> WebSocket {
    WebSocket::new().heartbeat(Heartbeat::off())
}

fn scribe(websocket: WebSocket) -> (Scribe, Running<Sim>) {
    let scribe = Scribe::default();
    let running = start(Server::bind("127.0.0.1:80").websocket(websocket).handler(scribe.clone()));
    (scribe, running)
}

/// A client whose handshake is over.
fn open(path: &str) -> Peer {
    let peer = Sim::dial();
    let request = String::from_utf8_lossy(REQUEST).replace("/chat?room=1", path);
    peer.send(request.as_bytes());
    let answer = peer.take();
    assert!(answer.starts_with(b"HTTP/1.1 101"), "{}", answer.escape_ascii());
    peer
}

/// A client's frame with the mask key 0.
fn text(payload: &str) -> Vec<u8> {
    masked(0x81, payload.as_bytes())
}

// The life of a session.

#[test]
fn events_come_in_order_and_ids_count_from_one() {
    let (scribe, running) = scribe(quiet());
    let (first, second) = (open("/a"), open("/b"));
    first.send(&text("hi"));
    assert_eq!(first.take(), b"\x81\x02hi");
    first.send(&masked(0x88, b"\x03\xe8"));
    assert_eq!(first.take(), b"\x88\x02\x03\xe8");
    assert!(first.is_ended(), "the server ends the stream first");
    first.end();
    assert_eq!(
        scribe.journal.take(),
        [
            "connecting /a",
            "connected 1",
            "connecting /b",
            "connected 2",
            "message 1",
            "disconnected 1 Remote Closed"
        ]
    );
    assert_eq!(running.connections(), 1);
    second.reset();
    assert!(scribe.journal.take()[1].starts_with("disconnected 2 Remote TransportError"));
    assert_eq!(running.connections(), 0);
}

#[test]
fn frames_behind_the_request_are_not_lost() {
    let (_, _running) = scribe(quiet());
    let peer = Sim::dial();
    peer.send(&[REQUEST, &text("early"), &masked(0x89, b"p")].concat());
    let answer = peer.take();
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n").unwrap() + 4;
    assert_eq!(answer[end..], *b"\x8a\x01p\x81\x05early");
}

#[test]
fn what_was_decided_at_the_handshake_is_on_the_session() {
    let (scribe, _running) = scribe(quiet());
    let peer = Sim::dial();
    peer.send(REQUEST);
    let answer = String::from_utf8(peer.take()).unwrap();
    assert!(answer.contains("Sec-WebSocket-Protocol: chat\r\n") && answer.contains("X-A: b\r\n"));
    let session = scribe.session(0);
    assert_eq!(session.subprotocol(), Some("chat"));
    assert_eq!(session.get::<u32>(), Some(42));
    assert_eq!(session.insert("other"), None);
    assert_eq!(session.remove::<u32>(), Some(42.into()));
    assert_eq!((session.get::<u32>(), session.get::<&str>()), (None, Some("other")));
    assert_eq!(session.peer().to_string(), "127.0.0.1:50000");
}

#[test]
fn a_clone_of_an_attached_value_may_use_its_session() {
    struct Reentrant(Session);
    impl Clone for Reentrant {
        fn clone(&self) -> Reentrant {
            self.0.send("from a clone").unwrap();
            assert_eq!(self.0.get::<u32>(), Some(42));
            Reentrant(self.0.clone())
        }
    }
    let (scribe, _running) = scribe(quiet());
    let peer = Sim::dial();
    peer.send(REQUEST);
    peer.take();
    let session = scribe.session(0);
    session.insert(Reentrant(session.clone()));
    assert!(session.get::<Reentrant>().is_some());
    assert_eq!(peer.take(), b"\x81\x0cfrom a clone");
    session.remove::<Reentrant>();
}

#[test]
fn what_is_kept_on_a_session_is_there_in_every_later_event() {
    struct Visits(Mutex<Vec<String>>);
    let (shared, journal) = (Arc::new(Visits(Mutex::default())), Journal::default());
    let (kept, seen, note) = (shared.clone(), shared.clone(), journal.clone());
    let server = Server::bind("127.0.0.1:80").websocket(quiet());
    let _running = start(
        server
            .on_connected(move |session| {
                session.insert(kept.clone());
                session.insert(1u32);
            })
            .on_message(move |session, message| {
                let visits = session.get::<Arc<Visits>>().unwrap();
                assert!(Arc::ptr_eq(&visits, &seen), "the same value, not a copy of it");
                visits.0.lock().unwrap().push(message.as_text().unwrap().into());
                session.insert(session.get::<u32>().unwrap() + 1);
            })
            .on_disconnected(move |session, _| {
                note.note(format!("{} {:?}", session.id(), session.get::<u32>()));
            }),
    );
    let (first, second) = (open("/"), open("/"));
    first.send(&[text("one"), text("two")].concat());
    second.send(&text("three"));
    first.reset();
    second.reset();
    assert_eq!(*shared.0.lock().unwrap(), ["one", "two", "three"]);
    assert_eq!(journal.take(), ["1 Some(3)", "2 Some(2)"], "each has its own");
}

#[test]
fn counters_count_and_the_uptime_stands_still_at_the_end() {
    let (scribe, _running) = scribe(quiet());
    let peer = open("/");
    let session = scribe.session(0);
    peer.send(&[text("one"), text("three")].concat());
    peer.take();
    Sim::pass(seconds(3));
    let metrics = session.metrics();
    assert_eq!((metrics.messages_received, metrics.messages_sent), (2, 2));
    assert_eq!(metrics.bytes_received as usize, REQUEST.len() - 11 + 20);
    assert_eq!(metrics.uptime, seconds(3));
    peer.reset();
    Sim::pass(seconds(100));
    assert_eq!(session.metrics().uptime, seconds(3));
    assert_eq!(session.send("late"), Err(SendError::Closed));
    assert_eq!(session.reason().unwrap().cause, Cause::TransportError);
}

#[test]
fn plain_tcp_lines_come_and_go_and_a_half_closed_peer_gets_its_answers() {
    let scribe = Scribe::default();
    let _running =
        start(Server::bind("127.0.0.1:80").framed(Delimiter::lines()).handler(scribe.clone()));
    let peer = Sim::dial();
    peer.send(b"one\n\ntw");
    peer.end();
    assert_eq!(peer.take(), b"one\n\n");
    assert!(peer.is_ended());
    assert_eq!(scribe.session(0).reason().unwrap().unfinished, b"tw"[..]);
    assert_eq!(scribe.journal.take().last().unwrap(), "disconnected 1 Remote Closed");
}

// Opening.

#[test]
fn a_request_that_is_no_upgrade_may_be_answered_on_the_same_port() {
    let (scribe, running) = scribe(quiet());
    let ask = |request: &str| {
        let peer = Sim::dial();
        peer.send(format!("{request} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes());
        let answer = String::from_utf8(peer.take()).unwrap();
        assert!(peer.is_ended() && !peer.is_reset());
        peer.end();
        answer
    };
    assert!(ask("GET /page").ends_with("\r\n\r\n<p>hello"));
    let head = ask("HEAD /page");
    assert!(head.contains("Content-Length: 8\r\n") && head.ends_with("\r\n\r\n"));
    assert!(ask("GET /").starts_with("HTTP/1.1 426 "));
    assert!(ask("POST /page").starts_with("HTTP/1.1 405 "));
    assert_eq!(scribe.journal.take().len(), 3, "no session, no event but connecting");
    assert_eq!(running.connections(), 0);
}

#[test]
fn one_deadline_covers_the_request_and_the_decision() {
    let (scribe, running) = scribe(quiet());
    let (silent, slow) = (Sim::dial(), Sim::dial());
    Sim::pass(seconds(3));
    slow.send(String::from_utf8_lossy(REQUEST).replace("/chat", "/slow").as_bytes());
    Sim::pass(Duration::from_millis(1_999));
    assert_eq!(running.connections(), 2);
    Sim::pass(Duration::from_millis(1));
    assert!(silent.is_ended() && slow.is_ended());
    assert_eq!(running.connections(), 0);
    let error = format!("error None {:?}", Error::Timer(Timer::Handshake));
    assert_eq!(scribe.journal.take(), ["connecting /slow", &error, &error]);
}

#[test]
fn a_decision_that_cannot_be_carried_out_is_a_500_and_told() {
    let (scribe, _running) = scribe(quiet());
    for path in ["/bad", "/panic"] {
        let peer = Sim::dial();
        peer.send(String::from_utf8_lossy(REQUEST).replace("/chat", path).as_bytes());
        assert!(peer.take().starts_with(b"HTTP/1.1 500 "), "{path}");
        assert!(peer.is_ended());
    }
    let journal = scribe.journal.take();
    assert!(journal.iter().any(|line| line.contains("SubprotocolNotOffered")), "{journal:?}");
    assert!(journal.iter().any(|line| line.contains("HandlerPanicked")), "{journal:?}");
}

#[test]
fn the_limit_counts_connections_from_their_accept() {
    let scribe = Scribe::default();
    let server = Server::bind("127.0.0.1:80").websocket(quiet()).max_connections(2);
    let running = start(server.handler(scribe.clone()));
    let (first, second, third) = (Sim::dial(), Sim::dial(), Sim::dial());
    Sim::run();
    assert!(!first.is_ended() && !second.is_ended() && third.is_ended());
    assert_eq!((running.connections(), running.refused()), (2, 1));
    first.reset();
    let fourth = Sim::dial();
    Sim::run();
    assert!(!fourth.is_ended());
}

#[test]
fn no_accept_error_ends_a_server() {
    let (scribe, _running) = scribe(quiet());
    let exhausted = || io::Error::from_raw_os_error(24);
    for _ in 0..3 {
        Sim::fail_accept(exhausted());
    }
    Sim::fail_accept(io::ErrorKind::ConnectionAborted.into());
    let peer = Sim::dial();
    peer.send(REQUEST);
    assert!(peer.take().is_empty(), "the server waits for descriptors");
    Sim::pass(Duration::from_millis(10 + 20 + 40));
    assert!(peer.take().starts_with(b"HTTP/1.1 101"));
    let errors = scribe.journal.take().iter().filter(|line| line.starts_with("error None")).count();
    assert_eq!(errors, 3, "a peer that was gone before it was accepted is none");
}

// Handlers.

#[test]
fn a_waiting_handler_stops_reading_while_pings_and_writes_go_on() {
    let websocket = WebSocket::new().heartbeat(Heartbeat::every(seconds(10)).missed(1));
    let (scribe, _running) = scribe(websocket);
    let peer = open("/");
    peer.send(&text("wait"));
    peer.send(&text("unread"));
    assert_eq!(peer.take(), b"");
    Sim::pass(seconds(100));
    let pings = peer.take();
    assert_eq!(pings.len(), 10 * 6, "ten pings, and no verdict: we do not read ourselves");
    scribe.session(0).send("meanwhile").unwrap();
    assert_eq!(peer.take(), b"\x81\x09meanwhile");
    assert_eq!(scribe.journal.take().last().unwrap(), "message 1");
}

#[test]
fn a_panic_ends_its_session_and_no_other() {
    let (scribe, _running) = scribe(quiet());
    let (bad, good) = (open("/"), open("/"));
    scribe.journal.take();
    bad.send(&[text("panic"), text("late")].concat());
    assert_eq!(bad.take(), b"\x88\x10\x03\xf3internal error");
    bad.send(&masked(0x88, b"\x03\xf3"));
    bad.end();
    good.send(&text("still here"));
    assert_eq!(good.take(), b"\x81\x0astill here");
    let error = Error::Local(LocalError::HandlerPanicked);
    assert_eq!(
        scribe.journal.take(),
        [
            "message 1",
            &format!("error Some(1) {error:?}"),
            "disconnected 1 Local HandlerFailed",
            "message 2"
        ]
    );
}

#[test]
fn a_handler_may_close_or_abort_its_own_session() {
    let (scribe, _running) = scribe(quiet());
    let (closing, aborting) = (open("/"), open("/"));
    closing.send(&[text("first"), text("close"), text("late")].concat());
    assert_eq!(closing.take(), b"\x81\x05first\x88\x07\x0f\xa1asked");
    aborting.send(&text("abort"));
    assert!(aborting.is_reset());
    let journal = scribe.journal.take();
    assert!(journal.contains(&"disconnected 2 Local Aborted".to_owned()), "{journal:?}");
}

#[test]
fn sends_keep_their_order_across_threads_also_within_a_batch() {
    let (_, _running) = scribe(quiet());
    let peer = open("/");
    peer.send(&[text("a"), text("threads"), text("b")].concat());
    assert_eq!(peer.take(), b"\x81\x01a\x81\x011\x81\x012\x81\x013\x81\x01b");
}

#[test]
fn a_close_from_another_thread_comes_behind_the_batch_and_ends_it() {
    let (_, _running) = scribe(quiet());
    let peer = open("/");
    peer.send(&[text("a"), text("last"), text("b")].concat());
    assert_eq!(peer.take(), b"\x81\x01a\x81\x06before\x88\x02\x03\xe8");
}

// Back-pressure.

#[test]
fn a_peer_that_does_not_read_bounds_the_echo_and_loses_nothing() {
    let scribe = Scribe::default();
    let server = Server::bind("127.0.0.1:80").websocket(quiet()).max_pending_send(10_000);
    let _running = start(server.handler(scribe.clone()));
    let peer = open("/");
    peer.narrow(1_000);
    let frame = masked(0x82, &[7; 500]);
    peer.send(&frame.repeat(1_000));
    let session = scribe.session(0);
    assert!(session.buffered() <= 10_000, "{} bytes are queued", session.buffered());
    assert_eq!(peer.waiting(), 1_000);
    let echoed = peer.take();
    assert_eq!(echoed.len(), 1_000 * 504);
    assert_eq!(session.metrics().messages_sent, 1_000);
    assert_eq!(session.buffered(), 0);
}

#[test]
fn a_send_that_does_not_fit_is_refused_and_one_that_waits_gets_its_turn() {
    let scribe = Scribe::default();
    let server = Server::bind("127.0.0.1:80").websocket(quiet()).max_pending_send(1_000);
    let _running = start(server.handler(scribe.clone()));
    let peer = open("/");
    peer.narrow(100);
    let session = scribe.session(0);
    let message = [7; 600];
    session.send(&message).unwrap();
    Sim::run();
    assert_eq!(session.send(&message), Err(SendError::Full));
    assert!(session.is_backpressured());
    let waiting = session.clone();
    let journal = scribe.journal.clone();
    let spawned = storm_proto::service::Runtime::spawn(&Sim, async move {
        let sent = waiting.send_wait(&[8; 600]).await;
        journal.note(format!("waited {sent:?}"));
    });
    spawned.unwrap();
    drop(session.send_wait(&[9; 600]));
    Sim::run();
    assert!(!scribe.journal.take().iter().any(|line| line.starts_with("waited")));
    let echoed = peer.take();
    assert_eq!(echoed.len(), 2 * 604, "the one that was dropped left nothing");
    assert_eq!(scribe.journal.take(), ["waited Ok(())"]);
    assert!(!session.is_backpressured());
}

#[test]
fn two_sides_that_both_send_much_do_not_wait_for_each_other() {
    let scribe = Scribe::default();
    let server = Server::bind("127.0.0.1:80").websocket(quiet()).max_pending_send(1_000);
    let _running = start(server.handler(Silent(scribe.clone())));
    let peer = open("/");
    peer.narrow(0);
    let session = scribe.session(0);
    // The peer does not read before all it sends is read.
    while session.send(&[7; 100]).is_ok() {}
    for _ in 0..100 {
        peer.send(&masked(0x82, &[8; 100]));
    }
    assert_eq!(scribe.journal.take().len(), 1 + 100, "every message was handed over");
    assert_eq!(peer.unread(), 0);
}

/// Answers nothing.
struct Silent(Scribe);

impl Handler for Silent {
    async fn on_connected(&self, session: &Session) {
        self.0.on_connected(session).await;
    }

    async fn on_message(&self, session: &Session, _: Message<'_>) {
        self.0.journal.note(format!("message {}", session.id()));
    }
}

#[test]
fn a_panic_in_a_closure_ends_its_session_in_order() {
    let running = start(
        Server::bind("127.0.0.1:80")
            .websocket(quiet())
            .on_message(|_, _| panic!("on purpose"))
            .on_disconnected(|_, _| panic!("on purpose")),
    );
    let peer = open("/");
    peer.send(&text("x"));
    assert_eq!(peer.take(), b"\x88\x10\x03\xf3internal error");
    peer.end();
    assert_eq!(running.connections(), 0);
}

#[test]
fn a_peer_that_reads_nothing_is_cut_off_and_those_who_wait_learn_it() {
    let scribe = Scribe::default();
    let server = Server::bind("127.0.0.1:80").websocket(quiet()).max_pending_send(1_000);
    let _running = start(server.handler(scribe.clone()));
    let peer = open("/");
    peer.narrow(0);
    let session = scribe.session(0);
    session.send(&[7; 900]).unwrap();
    let (waiting, journal) = (session.clone(), scribe.journal.clone());
    let spawned = storm_proto::service::Runtime::spawn(&Sim, async move {
        let sent = waiting.send_wait(&[8; 600]).await;
        journal.note(format!("waited {sent:?}"));
    });
    spawned.unwrap();
    Sim::pass(seconds(29));
    assert_eq!(session.state(), State::Open);
    Sim::pass(seconds(1));
    assert!(peer.is_reset());
    let reason = session.reason().unwrap();
    assert_eq!((reason.cause, reason.undelivered), (Cause::StallTimeout, 900));
    assert!(scribe.journal.take().contains(&"waited Err(Closed)".to_owned()));
}

// Stopping.

#[test]
fn a_stop_says_goodbye_writes_what_is_queued_and_waits_for_the_handlers() {
    let (scribe, running) = scribe(quiet());
    let peer = open("/");
    scribe.session(0).send("last words").unwrap();
    let mut stop = Box::pin(running.stop(GRACE));
    assert!(poll(&mut stop).is_none());
    assert_eq!(peer.take(), b"\x81\x0alast words\x88\x02\x03\xe9");
    let late = Sim::dial();
    Sim::run();
    assert!(poll(&mut stop).is_none(), "the peer has not answered");
    peer.send(&masked(0x88, b"\x03\xe9"));
    peer.end();
    let stopped = poll(&mut stop).expect("all is over");
    assert_eq!((stopped.connections, stopped.aborted, stopped.stuck), (1, 0, 0));
    assert_eq!(scribe.journal.take().last().unwrap(), "disconnected 1 Local GoingAway");
    assert!(late.take().is_empty());
}

#[test]
fn a_stop_cuts_off_what_is_left_after_the_grace() {
    let (scribe, running) = scribe(quiet());
    let (deaf, busy, opening) = (open("/"), open("/"), Sim::dial());
    busy.send(&text("wait"));
    let mut stop = Box::pin(running.stop(seconds(2)));
    assert!(poll(&mut stop).is_none());
    assert!(opening.is_ended(), "whoever is still opening is not kept");
    Sim::pass(seconds(2));
    assert!(poll(&mut stop).is_none(), "the drivers have their turn");
    let stopped = poll(&mut stop).expect("all is over");
    assert_eq!((stopped.aborted, stopped.unopened, stopped.stuck), (2, 1, 0));
    assert!(deaf.is_reset() && busy.is_reset());
    let journal = scribe.journal.take();
    assert_eq!(journal.iter().filter(|line| line.starts_with("disconnected")).count(), 2);
}

#[test]
fn dropping_a_running_server_stops_it() {
    let (_, running) = scribe(quiet());
    let peer = open("/");
    drop(running);
    assert_eq!(peer.take(), b"\x88\x02\x03\xe9");
    let late = Sim::dial();
    late.send(REQUEST);
    assert!(late.take().is_empty());
}

#[test]
fn owned_messages_and_closures_do_what_handlers_do() {
    let kept = Arc::new(Mutex::new(Vec::<OwnedMessage>::new()));
    let keep = kept.clone();
    let _running = start(
        Server::bind("127.0.0.1:80")
            .websocket(quiet())
            .on_connecting(|request: &Request| match request.query() {
                Some("room=1") => Decision::from(Accept::new()),
                _ => Response::new(403).into(),
            })
            .on_connected(|session| session.send("welcome"))
            .on_message(move |session, message| {
                keep.lock().unwrap().push(message.to_owned());
                session.send(message)
            }),
    );
    let peer = Sim::dial();
    peer.send(&[REQUEST, &text("kept")].concat());
    assert!(peer.take().ends_with(b"\x81\x07welcome\x81\x04kept"));
    assert_eq!(*kept.lock().unwrap(), [OwnedMessage::text("kept")]);
    let refused = Sim::dial();
    refused.send(String::from_utf8_lossy(REQUEST).replace("room=1", "room=2").as_bytes());
    assert!(refused.take().starts_with(b"HTTP/1.1 403 "));
}
