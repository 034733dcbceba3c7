//! Limits on what peers send, and pauses of reading, in virtual time.
#![allow(clippy::unwrap_used)]

mod sim;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use sim::tools::{Journal, accept, masked, poll, seconds, start, websocket};
use sim::{Peer, Sim};
use storm_proto::framing::Delimiter;
use storm_proto::service::{Client, ErrorContext, Handler, RateLimit, Running, Session, State};
use storm_proto::{
    Cause, DisconnectReason, Error, Heartbeat, Message, Rate, Side, Timer, WebSocket,
};

type Server<H = storm_proto::service::Callbacks> = storm_proto::service::Server<Sim, H>;

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// An echo that keeps the last words; pauses for as many milliseconds as a message says.
#[derive(Clone, Default)]
struct Echo(Journal);

impl Handler for Echo {
    async fn on_message(&self, session: &Session, message: Message<'_>) {
        if let Some(millis) = message.to_text().unwrap().strip_prefix("pause ") {
            session.pause_reading(Duration::from_millis(millis.parse().unwrap()));
        }
        session.send(message).unwrap();
    }

    async fn on_disconnected(&self, _: &Session, reason: &DisconnectReason) {
        self.0.note(format!("{:?} {:?}", reason.side, reason.cause));
    }

    async fn on_error(&self, _: &ErrorContext, error: &Error) {
        self.0.note(error.to_string());
    }
}

/// An echo behind a limit.
fn limited(limit: RateLimit) -> (Journal, Running<Sim>) {
    let echo = Echo::default();
    let running = start(websocket().middleware(limit).handler(echo.clone()));
    (echo.0, running)
}

fn upgraded_from(ip: &str) -> Peer {
    let peer = Sim::dial_from(SocketAddr::new(ip.parse().unwrap(), 50_000).into());
    peer.send(REQUEST);
    assert!(peer.take().starts_with(b"HTTP/1.1 101"));
    peer
}

fn upgraded() -> Peer {
    upgraded_from("10.0.0.1")
}

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// Sends so many messages of one byte at once; returns how many are answered.
fn send(peer: &Peer, messages: usize) -> usize {
    peer.send(&masked(0x81, b"x").repeat(messages));
    answers(peer)
}

/// How many answers of one byte have come.
fn answers(peer: &Peer) -> usize {
    let answers = peer.take();
    assert_eq!(answers, b"\x81\x01x".repeat(answers.len() / 3));
    answers.len() / 3
}

// What is done about it.

#[test]
fn whoever_sends_too_much_is_told_1008_after_what_was_allowed() {
    let (journal, running) = limited(RateLimit::new().messages(Rate::per_second(3)));
    let peer = upgraded();
    peer.send(&masked(0x81, b"x").repeat(10));
    let mut expected = b"\x81\x01x".repeat(3);
    expected.extend(b"\x88\x12\x03\xF0too much at once");
    assert_eq!(peer.take(), expected);
    assert!(peer.is_ended() && !peer.is_reset(), "the peer is not waited for");
    peer.end();
    let error = "the peer sends more than the rate limit allows";
    assert_eq!(journal.take(), [error, "Remote RateLimited"]);
    assert_eq!(running.connections(), 0);
}

#[test]
fn without_options_a_hundred_a_second_pass() {
    let (journal, _running) = limited(RateLimit::new());
    let peer = upgraded();
    assert_eq!(send(&peer, 100), 100);
    Sim::pass(millis(9));
    assert_eq!(journal.take(), [""; 0]);
    Sim::pass(millis(1));
    assert_eq!(send(&peer, 1), 1);
    peer.send(&masked(0x81, b"x"));
    peer.end();
    assert_eq!(journal.take()[1], "Remote RateLimited");
}

#[test]
fn what_is_too_much_may_be_dropped_and_no_edge_of_a_second_lets_twice_as_much_in() {
    let (_, _running) = limited(RateLimit::new().messages(Rate::per_second(10)).drop_excess());
    let peer = upgraded();
    Sim::pass(millis(999));
    assert_eq!(send(&peer, 20), 10);
    Sim::pass(millis(2));
    assert_eq!(send(&peer, 20), 0);
    Sim::pass(millis(98));
    assert_eq!(send(&peer, 20), 1, "100 ms bring one");
    Sim::pass(seconds(60));
    assert_eq!(send(&peer, 20), 10, "and a pause no more than the burst");
}

#[test]
fn a_throttled_peer_is_not_read_and_loses_nothing() {
    let limit = RateLimit::new().messages(Rate::per_second(10).burst(2)).throttle();
    let (_, running) = limited(limit);
    let peer = upgraded();
    assert_eq!(send(&peer, 5), 2);
    peer.send(&masked(0x81, b"x"));
    assert_eq!(peer.unread(), 7, "the rest of what was read waits, and so does the network");
    for _ in 0..4 {
        Sim::pass(millis(99));
        assert_eq!(answers(&peer), 0);
        Sim::pass(millis(1));
        assert_eq!(answers(&peer), 1);
    }
    assert_eq!(running.session(1).unwrap().metrics().messages_received, 6);
    assert_eq!(peer.unread(), 0);
    Sim::pass(seconds(60));
    assert_eq!(send(&peer, 5), 2, "a pause brings no more than the burst");
}

#[test]
fn bytes_are_counted_and_a_throttled_message_may_cost_more_than_the_burst() {
    let limit = RateLimit::new().messages(None).bytes(Rate::per_second(1_000).burst(100));
    let (_, _running) = limited(limit.throttle());
    let peer = upgraded();
    peer.send(&masked(0x81, &[b'y'; 600]));
    assert_eq!(peer.take().len(), 604);
    peer.send(&masked(0x81, b"x"));
    Sim::pass(millis(500));
    assert_eq!(answers(&peer), 0);
    Sim::pass(millis(1));
    assert_eq!(answers(&peer), 1);
}

#[test]
fn a_message_larger_than_the_burst_of_bytes_is_too_much_elsewhere() {
    let limit = RateLimit::new().bytes(Rate::per_second(1_000).burst(100)).drop_excess();
    let (_, _running) = limited(limit);
    let peer = upgraded();
    peer.send(&[masked(0x81, &[b'y'; 101]), masked(0x81, b"x")].concat());
    assert_eq!(answers(&peer), 1);
}

#[test]
fn lines_on_plain_tcp_are_limited_as_messages_are() {
    let limit = RateLimit::new().messages(Rate::per_second(2));
    let server = Server::bind("127.0.0.1:80").framed(Delimiter::lines()).middleware(limit);
    let echo = Echo::default();
    let _running = start(server.handler(echo.clone()));
    let peer = Sim::dial();
    peer.send(b"a\nb\nc\nd\n");
    assert_eq!(peer.take(), b"a\nb\n");
    assert!(peer.is_ended() && !peer.is_reset());
    peer.end();
    assert_eq!(echo.0.take()[1], "Remote RateLimited");
}

#[test]
fn a_client_may_limit_its_server() {
    let limit = RateLimit::new().messages(Rate::per_second(2)).drop_excess();
    let client = Client::<Sim>::new("ws://127.0.0.1/").middleware(limit);
    let mut opening = Box::pin(client.open());
    assert!(poll(&mut opening).is_none());
    let server = Sim::dialled();
    server.send(&accept(&server.take()));
    let mut inbox = poll(&mut opening).unwrap().unwrap();
    server.send(b"\x81\x011\x81\x012\x81\x013");
    for text in ["1", "2"] {
        assert_eq!(Sim::block_on(inbox.next()).unwrap().unwrap().as_text(), Some(text));
    }
    let mut next = Box::pin(inbox.next());
    assert!(poll(&mut next).is_none());
}

// Control frames.

#[test]
fn a_flood_of_control_frames_ends_the_session_also_where_messages_are_dropped() {
    for limit in [RateLimit::new(), RateLimit::new().drop_excess(), RateLimit::new().throttle()] {
        let (journal, running) = limited(limit);
        let peer = upgraded();
        for _ in 0..100 {
            peer.send(&masked(0x89, b""));
        }
        assert_eq!(peer.take(), b"\x8A\x00".repeat(100));
        Sim::pass(millis(100));
        peer.send(&masked(0x8A, b"one more has come").repeat(2));
        assert_eq!(peer.take(), b"\x88\x12\x03\xF0too much at once");
        peer.end();
        assert_eq!(journal.take()[1], "Remote RateLimited");
        drop(running);
        Sim::pass(seconds(1));
    }
}

#[test]
fn messages_and_control_frames_do_not_pay_for_each_other() {
    let limit = RateLimit::new().messages(Rate::per_second(2)).control_frames(Rate::per_second(2));
    let (journal, _running) = limited(limit);
    let peer = upgraded();
    peer.send(&masked(0x89, b"").repeat(2));
    assert_eq!(peer.take(), b"\x8A\x00".repeat(2));
    assert_eq!(send(&peer, 2), 2);
    assert_eq!(journal.take(), [""; 0]);
    let (_, _running) = (peer, limited(RateLimit::new().control_frames(None)));
}

// Who is counted together.

#[test]
fn each_session_has_its_own_buckets_unless_an_address_has_them() {
    let limit = || RateLimit::new().messages(Rate::per_second(3)).drop_excess();
    let (_, running) = limited(limit());
    let (a, b) = (upgraded(), upgraded());
    assert_eq!((send(&a, 5), send(&b, 5)), (3, 3));
    drop(running);
    Sim::pass(seconds(6));

    let (_, _running) = limited(limit().per_ip());
    let [a, b] = ["10.0.0.1", "::ffff:10.0.0.1"].map(upgraded_from);
    assert_eq!((send(&a, 2), send(&b, 5)), (2, 1), "one address in two forms");
    let [c, d, e] = ["2001:db8::1", "2001:db8::ff:1", "2001:db8:0:1::1"].map(upgraded_from);
    assert_eq!((send(&c, 2), send(&d, 5), send(&e, 5)), (2, 1, 3), "a /64 is one");
}

#[test]
fn an_address_wins_nothing_by_coming_back() {
    let limit = RateLimit::new().messages(Rate::per_second(3)).per_ip();
    let (journal, _running) = limited(limit);
    let peer = upgraded();
    assert_eq!(send(&peer, 3), 3);
    peer.send(&masked(0x81, b"x"));
    peer.end();
    assert_eq!(journal.take()[1], "Remote RateLimited");
    let again = upgraded();
    again.send(&masked(0x81, b"x"));
    assert_eq!(again.take()[0], 0x88);
    Sim::pass(millis(334));
    let last = upgraded();
    assert_eq!(send(&last, 1), 1);
}

#[test]
fn several_limits_stand_in_one_chain() {
    let session = RateLimit::new().messages(Rate::per_second(2)).drop_excess();
    let address = RateLimit::new().messages(Rate::per_second(3)).per_ip().drop_excess();
    let _running =
        start(websocket().middleware(session).middleware(address).handler(Echo::default()));
    let (a, b) = (upgraded(), upgraded());
    assert_eq!((send(&a, 5), send(&b, 5)), (2, 1));
}

#[test]
fn a_throttled_address_shares_what_there_is() {
    let limit = RateLimit::new().messages(Rate::per_second(10).burst(1)).per_ip().throttle();
    let (_, _running) = limited(limit);
    let (a, b) = (upgraded(), upgraded());
    assert_eq!((send(&a, 10), send(&b, 10)), (1, 1), "each is one ahead at most");
    Sim::pass(seconds(1));
    let both = answers(&a) + answers(&b);
    assert!((9..=10).contains(&both), "{both}");
}

#[test]
fn a_burst_is_told_of_once() {
    let told = Arc::<AtomicUsize>::default();
    let count = told.clone();
    let limit = RateLimit::new().messages(Rate::per_second(10)).drop_excess();
    let limit = limit.on_exceeded(move |session| {
        assert_eq!(session.state(), State::Open);
        count.fetch_add(1, Ordering::Relaxed);
    });
    let (_, _running) = limited(limit);
    let peer = upgraded();
    assert_eq!(send(&peer, 100), 10);
    Sim::pass(millis(500));
    assert_eq!(send(&peer, 100), 5);
    assert_eq!(told.load(Ordering::Relaxed), 1, "it has not been quiet");
    Sim::pass(millis(1_000));
    assert_eq!(send(&peer, 100), 10);
    assert_eq!(told.load(Ordering::Relaxed), 2);
}

#[test]
fn each_message_over_the_limit_is_reported_where_asked() {
    let [bursts, each] = [Arc::<AtomicUsize>::default(), Arc::default()];
    let [count_bursts, count_each] = [bursts.clone(), each.clone()];
    let limit = RateLimit::new().messages(Rate::per_second(10)).drop_excess();
    let limit = limit
        .on_exceeded(move |_| _ = count_bursts.fetch_add(1, Ordering::Relaxed))
        .on_each_exceeded(move |_| _ = count_each.fetch_add(1, Ordering::Relaxed));
    let (_, _running) = limited(limit);
    let peer = upgraded();
    assert_eq!(send(&peer, 100), 10);
    let reported = [&bursts, &each].map(|count| count.load(Ordering::Relaxed));
    assert_eq!(reported, [1, 90], "and a second hook replaces no first one");
}

#[test]
fn ten_an_hour_return_one_by_one() {
    let limit = RateLimit::new().messages(Rate::per(10, seconds(3600))).drop_excess();
    let heartbeat = Heartbeat::off();
    let server = Server::bind("127.0.0.1:80").websocket(WebSocket::default().heartbeat(heartbeat));
    let _running = start(server.middleware(limit).handler(Echo::default()));
    let peer = upgraded();
    assert_eq!(send(&peer, 20), 10);
    Sim::pass(seconds(359));
    assert_eq!(send(&peer, 1), 0);
    Sim::pass(seconds(1));
    assert_eq!(send(&peer, 2), 1);
}

#[test]
fn a_panic_of_the_hook_ends_that_session_only() {
    let limit =
        RateLimit::new().messages(Rate::per_second(1)).on_exceeded(|_| panic!("on purpose"));
    let (journal, _running) = limited(limit);
    let (peer, other) = (upgraded(), upgraded());
    peer.send(&masked(0x81, b"x").repeat(2));
    assert_eq!(peer.take(), b"\x81\x01x\x88\x10\x03\xF3internal error");
    peer.end();
    assert_eq!(journal.take(), ["a handler panicked", "Local HandlerFailed"]);
    assert_eq!(send(&other, 1), 1);
}

// Pauses.

fn say(peer: &Peer, text: &str) {
    peer.send(&masked(0x81, text.as_bytes()));
}

#[test]
fn a_pause_holds_up_what_comes_and_nothing_else() {
    let (_, running) = limited(RateLimit::new());
    let peer = upgraded();
    let session = running.session(1).unwrap();
    let words = [masked(0x81, b"pause 1000"), masked(0x89, b""), masked(0x81, b"x")].concat();
    peer.send(&words);
    assert_eq!(peer.take(), b"\x81\x0Apause 1000");
    say(&peer, "x");
    assert!(peer.unread() > 0);
    session.send("news").unwrap();
    assert_eq!(peer.take(), b"\x81\x04news");
    // Longer, not shorter.
    session.pause_reading(millis(10));
    session.pause_reading(millis(1_500));
    Sim::pass(millis(1_499));
    assert!(peer.take().is_empty());
    Sim::pass(millis(1));
    assert_eq!(peer.take(), b"\x8A\x00\x81\x01x\x81\x01x");
    assert_eq!(send(&peer, 1), 1, "and that was all");
}

#[test]
fn a_pause_that_others_ask_for_holds_from_then_on() {
    let (_, running) = limited(RateLimit::new());
    let peer = upgraded();
    running.session(1).unwrap().pause_reading(seconds(1));
    Sim::run();
    assert_eq!(send(&peer, 1), 0);
    assert_eq!(peer.unread(), 7);
    Sim::pass(seconds(1));
    assert_eq!(answers(&peer), 1);
}

#[test]
fn a_close_ends_the_pause_so_that_its_answer_is_read() {
    let (journal, running) = limited(RateLimit::new());
    let peer = upgraded();
    say(&peer, "pause 3600000");
    peer.take();
    running.session(1).unwrap().close();
    assert_eq!(peer.take(), b"\x88\x02\x03\xE8");
    peer.send(&masked(0x88, b"\x03\xE8"));
    peer.end();
    assert_eq!(journal.take(), ["Local Closed"]);
}

#[test]
fn an_abort_and_a_stop_do_not_wait_for_the_end_of_a_pause() {
    let (journal, running) = limited(RateLimit::new());
    let (one, other) = (upgraded(), upgraded());
    say(&one, "pause 3600000");
    say(&other, "pause 3600000");
    assert_eq!((one.take().len(), other.take().len()), (15, 15));
    running.session(1).unwrap().abort();
    Sim::run();
    assert!(one.is_reset());
    let mut stop = Box::pin(running.stop(seconds(30)));
    assert!(poll(&mut stop).is_none());
    assert_eq!(other.take(), b"\x88\x02\x03\xE9");
    other.send(&masked(0x88, b"\x03\xE9"));
    other.end();
    assert_eq!(poll(&mut stop).map(|stopped| stopped.aborted), Some(0));
    assert_eq!(journal.take(), ["Local Aborted", "Local GoingAway"]);
}

#[test]
fn neither_heartbeat_nor_idle_deadline_punish_a_peer_that_is_not_read() {
    let heartbeat = Heartbeat::every(seconds(10)).missed(1);
    let echo = Echo::default();
    let server = Server::bind("127.0.0.1:80").websocket(WebSocket::new().heartbeat(heartbeat));
    let running = start(server.idle_timeout(seconds(30)).handler(echo.clone()));
    let peer = upgraded();
    say(&peer, "pause 100000");
    peer.take();
    Sim::pass(seconds(99));
    assert!(echo.0.take().is_empty());
    let pings = peer.take();
    assert!(pings.len() == 9 * 6 && pings[0] == 0x89, "it is asked all the same");
    // From now on its silence is its own.
    Sim::pass(seconds(22));
    assert_eq!(echo.0.take(), ["the heartbeat deadline passed", "Remote HeartbeatTimeout"]);
    drop(running);
}

#[test]
fn a_peer_that_reads_nothing_is_given_up_also_in_a_pause() {
    let echo = Echo::default();
    let running = start(websocket().stall_timeout(seconds(5)).handler(echo.clone()));
    let peer = upgraded();
    say(&peer, "pause 100000");
    peer.take();
    peer.narrow(10);
    running.session(1).unwrap().send(&[0; 100]).unwrap();
    Sim::pass(seconds(5));
    let error = Error::Timer(Timer::Stall).to_string();
    assert_eq!(echo.0.take(), [error, format!("{:?} {:?}", Side::Remote, Cause::StallTimeout)]);
}
