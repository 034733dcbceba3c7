//! What had arrived in time counts, however late this side looks: scripts in which the clock
//! jumps, with input that is there, partly there or missing.
#![allow(clippy::unwrap_used)]

mod sim;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use sim::tools::{Journal, accept, masked, poll, seconds, start, websocket};
use sim::{Peer, Sim};
use storm_proto::framing::LengthPrefix;
use storm_proto::service::{ConnectError, Handler, Running, Session, State};
use storm_proto::websocket::handshake::{Accept, Decision, Request};
use storm_proto::{DisconnectReason, Heartbeat, Message, Proxy, WebSocket};

type Server<H = storm_proto::service::Callbacks> = storm_proto::service::Server<Sim, H>;
type Client<H = storm_proto::service::Callbacks> = storm_proto::service::Client<Sim, H>;

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// Keeps the sessions and a journal. `/later` is decided on when the test lets time pass.
/// Messages hold the thread up, never end, or close.
#[derive(Clone, Default)]
struct Watch {
    journal: Journal,
    sessions: Arc<Mutex<Vec<Session>>>,
}

impl Watch {
    fn session(&self) -> Session {
        self.sessions.lock().unwrap()[0].clone()
    }

    fn took(&self) -> Vec<String> {
        self.journal.take()
    }
}

impl Handler for Watch {
    async fn on_connecting(&self, request: &Request) -> Decision {
        if request.path() == "/later" {
            storm_proto::service::Runtime::sleep_until(&Sim, sim_now() + seconds(3)).await;
        }
        Accept::new().into()
    }

    async fn on_connected(&self, session: &Session) {
        self.sessions.lock().unwrap().push(session.clone());
    }

    async fn on_message(&self, session: &Session, message: Message<'_>) {
        match message.as_bytes() {
            b"hold up" => Sim::hold_up(seconds(30)),
            b"hang" => std::future::pending().await,
            b"close" => session.close(),
            _ => {}
        }
        self.journal.note(format!("{} bytes", message.len()));
    }

    async fn on_disconnected(&self, _: &Session, reason: &DisconnectReason) {
        self.journal.note(format!("{:?} {} {}", reason.cause, reason.clean, reason.undelivered));
    }
}

fn sim_now() -> storm_proto::Instant {
    <Sim as storm_proto::service::Runtime>::now()
}

/// A server and a peer whose opening is done.
fn open(server: Server) -> (Watch, Running<Sim>, Peer) {
    let watch = Watch::default();
    let running = start(server.handler(watch.clone()));
    let peer = Sim::dial();
    peer.send(REQUEST);
    assert!(peer.take().starts_with(b"HTTP/1.1 101"));
    (watch, running, peer)
}

/// A server, and a peer that has said nothing.
fn unopened() -> (Watch, Running<Sim>, Peer) {
    let watch = Watch::default();
    let running = start(websocket().handshake_timeout(seconds(5)).handler(watch.clone()));
    let peer = Sim::dial();
    Sim::run();
    (watch, running, peer)
}

// The handshake.

#[test]
fn a_request_that_had_arrived_in_time_is_answered() {
    let (_, running, peer) = unopened();
    peer.send_unseen(REQUEST);
    Sim::suspend(seconds(60));
    assert!(peer.take().starts_with(b"HTTP/1.1 101"));
    assert_eq!(running.count(), 1);
}

#[test]
fn half_a_request_does_not_count() {
    let (_, running, peer) = unopened();
    peer.send_unseen(&REQUEST[..REQUEST.len() - 1]);
    Sim::suspend(seconds(60));
    assert!(peer.is_ended() && peer.take().is_empty());
    assert_eq!(running.connections(), 0);
}

#[test]
fn silence_is_a_timeout_however_late_it_is_noticed() {
    let (_, running, peer) = unopened();
    Sim::suspend(seconds(60));
    assert!(peer.is_ended());
    assert_eq!(running.connections(), 0);
}

#[test]
fn a_trickle_does_not_postpone_the_handshake_deadline() {
    let (_, running, peer) = unopened();
    for byte in &REQUEST[..5] {
        peer.send_unseen(&[*byte]);
        Sim::pass(Duration::from_millis(999));
    }
    peer.send_unseen(b"x");
    assert_eq!(running.connections(), 1);
    Sim::pass(Duration::from_millis(5));
    assert_eq!(running.connections(), 0);
}

#[test]
fn an_application_that_decides_late_gets_the_lost_time_again() {
    let (watch, _running, peer) = unopened();
    let request = String::from_utf8(REQUEST.to_vec()).unwrap().replace("GET /", "GET /later");
    peer.send_unseen(request.as_bytes());
    Sim::suspend(seconds(60));
    assert!(!peer.is_ended(), "the peer has done its part");
    Sim::pass(seconds(3));
    assert!(peer.take().starts_with(b"HTTP/1.1 101"));
    assert_eq!(watch.session().state(), State::Open);
}

#[test]
fn a_101_that_had_arrived_is_no_timeout() {
    let mut connect = Box::pin(Client::new("ws://example").connect());
    assert!(poll(&mut connect).is_none());
    let server = Sim::dialled();
    let request = server.take();
    server.send_unseen(&accept(&request));
    Sim::suspend(seconds(60));
    assert_eq!(poll(&mut connect).unwrap().unwrap().state(), State::Open);
}

#[test]
fn a_slow_on_connected_after_a_late_101_gets_the_lost_time_again() {
    struct Slow;
    impl Handler for Slow {
        async fn on_connected(&self, _: &Session) {
            storm_proto::service::Runtime::sleep_until(&Sim, sim_now() + seconds(3)).await;
        }
        async fn on_message(&self, _: &Session, _: Message<'_>) {}
    }
    let mut connect = Box::pin(Client::new("ws://example").handler(Slow).connect());
    assert!(poll(&mut connect).is_none());
    let server = Sim::dialled();
    let request = server.take();
    server.send_unseen(&accept(&request));
    Sim::suspend(seconds(60));
    assert!(poll(&mut connect).is_none());
    Sim::pass(seconds(3));
    assert_eq!(poll(&mut connect).unwrap().unwrap().state(), State::Open);
}

#[test]
fn a_server_that_had_said_nothing_is_a_timeout() {
    for said in [&b""[..], b"HTTP/1.1 101 Switching Protocols\r\n"] {
        let mut connect = Box::pin(Client::new("ws://example").connect());
        assert!(poll(&mut connect).is_none());
        let server = Sim::dialled();
        server.take();
        server.send_unseen(said);
        Sim::suspend(seconds(60));
        assert!(matches!(poll(&mut connect), Some(Err(ConnectError::Timeout(_)))));
    }
}

#[test]
fn an_answer_of_a_proxy_that_had_arrived_is_gone_on_with() {
    let proxy: Proxy = "socks5://127.0.0.1:1080".parse().unwrap();
    let mut connect = Box::pin(Client::new("ws://nowhere:81").proxy(proxy).connect());
    assert!(poll(&mut connect).is_none());
    let server = Sim::dialled();
    server.take();
    server.send_unseen(b"\x05\x00");
    Sim::suspend(seconds(60));
    assert!(poll(&mut connect).is_none(), "a whole step: the rest gets the lost time again");
    assert_eq!(server.take(), b"\x05\x01\x00\x03\x07nowhere\x00\x51");
    server.send(b"\x05\x00\x00\x01\x7f\x00\x00\x01\x00\x51");
    assert!(poll(&mut connect).is_none());
    server.send(&accept(&server.take()));
    assert_eq!(poll(&mut connect).unwrap().unwrap().state(), State::Open);
}

#[test]
fn a_connect_after_an_answer_that_came_late_has_a_deadline_still() {
    let proxy: Proxy = "socks5://127.0.0.1:1080".parse().unwrap();
    let mut connect = Box::pin(Client::new("ws://nowhere:81").proxy(proxy).connect());
    assert!(poll(&mut connect).is_none());
    let server = Sim::dialled();
    server.take();
    server.send_unseen(b"\x05\x00");
    Sim::suspend(seconds(60));
    assert!(poll(&mut connect).is_none());
    Sim::pass(seconds(10));
    assert!(matches!(poll(&mut connect), Some(Err(ConnectError::Timeout(_)))));
}

// Open.

#[test]
fn a_peer_that_had_sent_is_not_idle() {
    let (watch, _running, peer) = open(websocket().idle_timeout(seconds(5)));
    peer.send_unseen(&masked(0x81, b"here"));
    Sim::suspend(seconds(60));
    assert_eq!(watch.took(), ["4 bytes"]);
    Sim::pass(seconds(5));
    assert_eq!(peer.take()[..4], *b"\x88\x06\x03\xe8", "it had nothing to add");
}

#[test]
fn a_peer_that_had_sent_nothing_is_idle() {
    let (watch, running, peer) = open(websocket().idle_timeout(seconds(5)));
    Sim::suspend(seconds(60));
    assert_eq!(peer.take()[..4], *b"\x88\x06\x03\xe8");
    let state = running.session(1).map(|session| session.state());
    assert_eq!(state, Some(storm_proto::service::State::Closing));
    peer.send(&masked(0x88, b"\x03\xe8"));
    peer.end();
    assert_eq!(watch.took(), ["IdleTimeout true 0"]);
}

#[test]
fn a_part_of_a_message_is_no_silence() {
    let server = Server::bind("127.0.0.1:80").framed(LengthPrefix::new()).idle_timeout(seconds(5));
    let watch = Watch::default();
    let _running = start(server.handler(watch.clone()));
    let peer = Sim::dial();
    Sim::run();
    peer.send_unseen(b"\0\0\x10\0and so on");
    Sim::suspend(seconds(60));
    assert!(watch.took().is_empty());
    Sim::pass(seconds(4));
    peer.send(&[7; 4096 - b"and so on".len()]);
    assert_eq!(watch.took(), ["4096 bytes"]);
    // On time it does not count.
    Sim::pass(seconds(4));
    peer.send(b"\0\0\x10\0and so on");
    Sim::pass(seconds(1));
    assert!(peer.is_ended());
}

#[test]
fn input_without_end_does_not_postpone_a_judgement() {
    let (watch, _running, peer) = open(websocket().idle_timeout(seconds(5)));
    // Pongs are no messages.
    peer.send_endlessly(&masked(0x8A, &[7; 125]).repeat(500));
    Sim::hold_up(seconds(5));
    watch.session().send("look").unwrap();
    Sim::run_for(10_000);
    assert!(watch.took()[0].starts_with("IdleTimeout false"));
}

#[test]
fn a_pong_that_had_arrived_proves_life() {
    let beat = Heartbeat::every(seconds(5)).missed(1);
    let server = Server::bind("127.0.0.1:80").websocket(WebSocket::new().heartbeat(beat));
    let (watch, running, peer) = open(server);
    Sim::pass(seconds(5));
    let ping = peer.take();
    assert_eq!(ping[..2], *b"\x89\x04");
    peer.send_unseen(&masked(0x8A, &ping[2..]));
    Sim::suspend(seconds(60));
    assert_eq!(running.count(), 1);
    assert_eq!(watch.session().round_trip(), Some(seconds(60)), "as far as can be told");
    assert_eq!(peer.take()[..2], *b"\x89\x04", "the next ping");
    Sim::suspend(seconds(60));
    assert_eq!(watch.took(), ["HeartbeatTimeout false 0"]);
}

#[test]
fn a_peer_that_had_read_all_is_not_stalled() {
    let (watch, running, peer) = open(websocket().stall_timeout(seconds(5)));
    peer.narrow(1000);
    watch.session().send(&[7; 5000]).unwrap();
    Sim::run();
    assert_eq!(peer.take_unseen().len(), 1000);
    Sim::suspend(seconds(60));
    assert_eq!((running.count(), peer.waiting()), (1, 1000), "one attempt to write came first");
    Sim::suspend(seconds(60));
    assert_eq!(watch.took(), ["StallTimeout false 3004"]);
}

#[test]
fn a_stall_is_noticed_while_a_handler_waits() {
    let (watch, running, peer) = open(websocket().stall_timeout(seconds(5)));
    peer.narrow(1000);
    peer.send(&masked(0x81, b"hang"));
    watch.session().send(&[7; 5000]).unwrap();
    Sim::run();
    peer.take_unseen();
    Sim::suspend(seconds(60));
    assert_eq!((running.count(), peer.waiting()), (1, 1000));
    Sim::suspend(seconds(60));
    assert_eq!(watch.took(), ["StallTimeout false 3004"]);
}

#[test]
fn a_handler_that_holds_up_the_thread_makes_nobody_idle() {
    let (watch, _running, peer) = open(websocket().idle_timeout(seconds(5)));
    peer.send_unseen(&masked(0x81, b"hold up"));
    watch.session().send("look").unwrap();
    peer.send(&[]);
    assert_eq!(watch.took(), ["7 bytes"]);
    peer.send_unseen(&masked(0x81, b"hold up"));
    peer.send(&masked(0x81, b"here"));
    Sim::pass(seconds(4));
    assert_eq!(watch.took(), ["7 bytes", "4 bytes"]);
}

// Closing.

#[test]
fn a_close_that_had_arrived_is_clean() {
    let (watch, _running, peer) = open(websocket().close_timeout(seconds(5)));
    watch.session().close();
    Sim::run();
    peer.send_unseen(&masked(0x88, b"\x03\xe8"));
    Sim::suspend(seconds(60));
    assert_eq!(watch.took(), ["Closed true 0"]);
}

#[test]
fn a_close_behind_megabytes_that_had_arrived_is_clean() {
    let (watch, _running, peer) = open(websocket().close_timeout(seconds(5)));
    watch.session().close();
    Sim::run();
    let many = masked(0x82, &[7; 60_000]).repeat(50);
    peer.send_unseen(&[many, masked(0x88, b"\x03\xe8")].concat());
    Sim::suspend(seconds(60));
    assert_eq!(watch.took(), ["Closed true 0"]);
}

#[test]
fn a_close_that_nobody_had_answered_is_not_clean() {
    let (watch, _running, peer) = open(websocket().close_timeout(seconds(5)));
    watch.session().close();
    Sim::run();
    peer.send_unseen(&masked(0x82, b"something else"));
    Sim::suspend(seconds(60));
    assert_eq!(watch.took(), ["Closed false 0"]);
}

#[test]
fn a_close_that_had_arrived_during_a_call_is_clean() {
    let (watch, _running, peer) = open(websocket().close_timeout(seconds(5)));
    peer.send(&masked(0x81, b"hang"));
    watch.session().close();
    Sim::run();
    peer.send(&masked(0x88, b"\x03\xe8"));
    assert!(watch.took().is_empty(), "nobody reads");
    Sim::pass(seconds(5));
    assert_eq!(watch.took(), ["Closed true 0"]);
}

#[test]
fn an_end_that_had_arrived_is_a_clean_close_of_plain_tcp() {
    let server = Server::bind("127.0.0.1:80").framed(LengthPrefix::new()).close_timeout(seconds(5));
    let watch = Watch::default();
    let _running = start(server.handler(watch.clone()));
    let peer = Sim::dial();
    Sim::run();
    watch.session().close();
    Sim::run();
    peer.end_unseen();
    Sim::suspend(seconds(60));
    assert_eq!(watch.took(), ["Closed true 0"]);
}

#[test]
fn a_close_behind_a_slow_handler_has_its_whole_time() {
    let server = websocket().close_timeout(seconds(5)).stall_timeout(seconds(100));
    let (watch, _running, peer) = open(server);
    peer.narrow(1000);
    watch.session().send(&[7; 5000]).unwrap();
    Sim::run();
    peer.send(&[masked(0x81, b"hold up"), masked(0x88, b"\x03\xe8")].concat());
    for _ in 0..6 {
        peer.take_once();
        Sim::pass(seconds(4));
    }
    peer.end();
    assert_eq!(watch.took(), ["7 bytes", "Closed true 0"], "as long as bytes move");
}

#[test]
fn a_stop_counts_a_close_that_had_arrived() {
    let (watch, running, peer) = open(websocket().close_timeout(seconds(100)));
    let silent = Sim::dial();
    silent.send(REQUEST);
    let mut stop = Box::pin(running.stop(seconds(5)));
    assert!(poll(&mut stop).is_none());
    peer.send_unseen(&masked(0x88, b"\x03\xe9"));
    Sim::suspend(seconds(60));
    assert!(poll(&mut stop).is_none(), "the drivers have their turn");
    let stopped = poll(&mut stop).unwrap();
    assert_eq!((stopped.connections, stopped.clean, stopped.aborted), (2, 1, 1));
    assert_eq!(watch.took(), ["GoingAway true 0", "GoingAway false 0"]);
    assert!(silent.is_reset());
}
