//! What servers and clients count, in virtual time.
#![allow(clippy::unwrap_used)]

mod sim;

use std::net::SocketAddr;
use std::time::Duration;

use sim::tools::{accept, masked, poll, seconds, start};
use sim::{Peer, Sim};
use storm_proto::framing::Delimiter;
use storm_proto::service::{Client, Session, Totals};
use storm_proto::websocket::handshake::{Accept, Decision, Request, Response};
use storm_proto::{Heartbeat, Message, Rate, Reconnect, WebSocket};

type Server<H = storm_proto::service::Callbacks> = storm_proto::service::Server<Sim, H>;

const REQUEST: &str = "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

fn server() -> Server {
    Server::bind("127.0.0.1:80").websocket(WebSocket::new().heartbeat(Heartbeat::off()))
}

fn echo(session: &Session, message: Message<'_>) -> Result<(), storm_proto::SendError> {
    session.send(message)
}

fn open() -> Peer {
    let peer = Sim::dial();
    peer.send(REQUEST.as_bytes());
    assert!(peer.take().starts_with(b"HTTP/1.1 101"));
    peer
}

/// Closes in order, as a browser does.
fn leave(peer: &Peer) {
    peer.send(&masked(0x88, b"\x03\xe8"));
    peer.take();
    peer.end();
}

fn messages(totals: &Totals) -> (u64, u64) {
    (totals.messages_received, totals.messages_sent)
}

#[test]
fn a_session_is_in_the_totals_from_its_first_message_on_and_for_ever() {
    let running = start(server().on_message(echo));
    let (first, second) = (open(), open());
    for _ in 0..3 {
        first.send(&masked(0x81, b"one"));
    }
    second.send(&masked(0x81, b"two"));
    first.take();
    let now = running.metrics();
    assert_eq!((now.connections, now.admitted), (2, 2));
    assert_eq!((now.sessions.open, now.sessions.opened, now.sessions.ended()), (2, 2, 0));
    assert_eq!(messages(&now.sessions), (4, 4), "the open ones");

    Sim::pass(seconds(60));
    leave(&first);
    let later = running.metrics();
    assert_eq!((later.sessions.open, later.sessions.ended(), later.sessions.clean), (1, 1, 1));
    assert_eq!(messages(&later.sessions), (4, 4), "one of them is over");
    assert_eq!(later.sessions.lifetime.max(), seconds(60));
    assert!(later.sessions.bytes_received > now.sessions.bytes_received, "its close");

    second.reset();
    let last = running.hub().metrics();
    assert_eq!((last.connections, last.sessions.open, last.sessions.opened), (0, 0, 2));
    assert_eq!((last.sessions.clean, last.sessions.errors), (1, 1), "a reset is an error");
    assert_eq!(messages(&last.sessions), (4, 4));
    assert_eq!(running.metrics(), last, "nothing counts on");
}

#[test]
fn what_a_session_took_along_is_counted_as_undelivered() {
    let running = start(server().on_connected(|session| session.send(&[7; 900])));
    let peer = Sim::dial();
    peer.narrow(0);
    peer.send(REQUEST.as_bytes());
    running.sessions()[0].abort();
    Sim::run();
    let sessions = running.metrics().sessions;
    let lost = (sessions.undelivered, sessions.undelivered_messages);
    assert_eq!(lost, (900, 1), "the message, and not the answer to the request");
}

#[test]
fn refused_connections_are_counted_by_what_stood_against_them() {
    let dial = |ip: [u8; 4]| {
        let peer = Sim::dial_from(SocketAddr::from((ip, 5_000)).into());
        Sim::run();
        peer
    };
    let limits = server().max_connections(3).max_connections_per_ip(1);
    let running = start(limits.connect_rate(Rate::per_minute(2)));
    let (a, b) = ([10, 0, 0, 1], [10, 0, 0, 2]);
    let first = dial(a);
    dial(a);
    first.reset();
    dial(a).reset();
    dial(a);
    let _places = [dial(b), dial([10, 0, 0, 3]), dial([10, 0, 0, 4])];
    dial([10, 0, 0, 5]);
    let metrics = running.metrics();
    let refused = metrics.refused;
    assert_eq!((refused.per_ip, refused.rate, refused.full, refused.stopping), (1, 1, 1, 0));
    assert_eq!((refused.total(), running.refused(), metrics.admitted), (3, 3, 5));
}

#[test]
fn connections_that_become_no_session_are_counted_by_how_they_end() {
    let running = start(server().on_connecting(|request: &Request| match request.is_upgrade() {
        true => Decision::from(Accept::new()),
        false => Response::html("hello").into(),
    }));
    let page = Sim::dial();
    page.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    page.take();
    page.end();
    let bad = Sim::dial();
    bad.send(b"nonsense\r\n\r\n");
    bad.take();
    bad.end();
    Sim::dial().end();
    let _silent = Sim::dial();
    Sim::pass(seconds(5));
    let metrics = running.metrics();
    let unopened = metrics.unopened;
    assert_eq!((unopened.answered, unopened.failed, unopened.timed_out), (2, 1, 1));
    assert_eq!((metrics.sessions.opened, metrics.connections, metrics.admitted), (0, 0, 4));
}

#[test]
fn the_time_of_the_opening_counts_from_accept_and_not_for_those_that_fail() {
    let running = start(server());
    let (slow, _never) = (Sim::dial(), Sim::dial());
    Sim::pass(Duration::from_millis(1_500));
    slow.send(REQUEST.as_bytes());
    Sim::pass(seconds(60));
    let opening = running.metrics().sessions.opening;
    assert_eq!((opening.count(), opening.sum()), (1, Duration::from_millis(1_500)));
}

#[test]
fn the_round_trips_are_those_of_the_sessions_that_are_open() {
    let websocket = WebSocket::new().heartbeat(Heartbeat::every(seconds(10)));
    let running = start(Server::bind("127.0.0.1:80").websocket(websocket));
    let (near, far, _silent) = (open(), open(), open());
    Sim::pass(seconds(10));
    let pong = |peer: &Peer| {
        let ping = peer.take();
        assert_eq!(ping[..2], *b"\x89\x04");
        peer.send(&masked(0x8a, &ping[2..]));
    };
    Sim::pass(Duration::from_millis(20));
    pong(&near);
    Sim::pass(Duration::from_millis(280));
    pong(&far);
    let round_trip = running.metrics().sessions.round_trip;
    assert_eq!((round_trip.count(), round_trip.max()), (2, Duration::from_millis(300)));
    assert_eq!(round_trip.mean(), Some(Duration::from_millis(160)));
    far.reset();
    assert_eq!(running.metrics().sessions.round_trip.max(), Duration::from_millis(20));
}

#[test]
fn plain_streams_are_counted_in_messages_and_bytes() {
    let lines = Server::bind("127.0.0.1:80").framed(Delimiter::lines());
    let running = start(lines.on_message(echo));
    let peer = Sim::dial();
    peer.send(b"one\ntwo\nthr");
    peer.end();
    assert_eq!(peer.take(), b"one\ntwo\n");
    let sessions = running.metrics().sessions;
    assert_eq!(messages(&sessions), (2, 2));
    assert_eq!((sessions.bytes_received, sessions.bytes_sent), (11, 8));
    assert_eq!((sessions.clean, sessions.opening.sum()), (1, Duration::ZERO));
}

#[test]
fn a_client_that_comes_back_counts_connects_sessions_and_retries() {
    Sim::refuse(true);
    let client = Client::<Sim>::new("ws://example").on_message(echo);
    let client = client.reconnect(Reconnect::new().initial(seconds(2)).factor(1)).unwrap();
    Sim::pass(seconds(1));
    let metrics = client.metrics();
    assert!(metrics.attempts >= 1 && metrics.attempts == metrics.failed, "{metrics:?}");
    assert_eq!((metrics.retries, metrics.sessions.opened), (metrics.failed, 0));

    Sim::refuse(false);
    Sim::pass(seconds(2));
    let server = Sim::dialled();
    server.send(&accept(&server.take()));
    server.send(b"\x81\x02hi");
    let failed = client.metrics().failed;
    let open = client.metrics();
    assert_eq!((open.sessions.open, messages(&open.sessions)), (1, (1, 1)));
    Sim::pass(seconds(30));
    server.take();
    server.reset();
    let lost = client.metrics();
    assert_eq!(
        (lost.sessions.open, lost.sessions.errors, messages(&lost.sessions)),
        (0, 1, (1, 1))
    );
    assert_eq!((lost.failed, lost.retries), (failed, failed + 1), "a loss is no failed connect");
    assert_eq!(lost.sessions.lifetime.sum(), seconds(30));
    client.stop();
    Sim::run();
    assert!(poll(&mut Box::pin(client.stopped())).is_some());
    assert_eq!(client.metrics(), lost);
}
