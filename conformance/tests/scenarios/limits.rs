//! What stands between the wire and the handler: middleware, rate limits, pauses of reading.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use storm_proto::framing::Delimiter;
use storm_proto::service::{Middleware, Outcome, RateLimit, Session};
use storm_proto::{
    Cause, DisconnectReason, Heartbeat, Message, OwnedMessage, Rate, SendError, Side,
};

use super::harness::{Harness, PATIENCE, teller, until};
use super::raw::Raw;

/// Puts a letter at the end of every message, and counts its sessions.
#[derive(Clone)]
struct Letter(&'static str, Arc<AtomicUsize>);

impl Letter {
    fn new(letter: &'static str) -> Letter {
        Letter(letter, Arc::default())
    }

    fn add(&self, message: Message<'_>) -> Outcome {
        match message.to_text().unwrap() {
            "drop" => Outcome::Drop,
            text => Outcome::Replace(OwnedMessage::text(format!("{text}{}", self.0))),
        }
    }
}

impl Middleware for Letter {
    fn on_connect(&self, _: &Session) {
        self.1.fetch_add(1, Ordering::Relaxed);
    }

    fn inbound(&self, _: &Session, message: Message<'_>) -> Outcome {
        self.add(message)
    }

    fn outbound(&self, _: &Session, message: Message<'_>) -> Outcome {
        self.add(message)
    }

    fn on_disconnect(&self, _: &Session, _: &DisconnectReason) {
        self.1.fetch_sub(1, Ordering::Relaxed);
    }
}

pub(crate) fn a_chain_changes_what_goes_both_ways<H: Harness>() {
    let (a, b) = (Letter::new("a"), Letter::new("b"));
    let chained = H::websocket().middleware(a.clone()).middleware(b.clone());
    let server = H::start(chained.on_message(|session, message| session.send(message)));
    let mut peer = Raw::websocket(server.address());
    peer.send_frame(0x81, b"drop");
    peer.send_frame(0x81, b"x");
    assert_eq!(peer.frame(), (0x81, b"xabab".to_vec()));
    let hub = server.running().hub();
    let dropped = hub.all().send("drop");
    assert_eq!((dropped.queued, dropped.filtered), (0, 1));
    assert_eq!(hub.all().send_blocking("y").queued, 1);
    assert_eq!(peer.frame(), (0x81, b"yab".to_vec()));

    let c = Letter::new("c");
    let mut inbox = H::wait(H::client(server.url()).middleware(c.clone()).open()).unwrap();
    H::block_on(inbox.session().send_wait("drop")).unwrap();
    H::block_on(inbox.session().send_wait("z")).unwrap();
    let answer = H::wait(inbox.next()).unwrap().unwrap();
    assert_eq!(answer.as_text(), Some("zcababc"));
    let sessions = || [&a, &b, &c].map(|letter| letter.1.load(Ordering::Relaxed));
    assert_eq!(sessions(), [2, 2, 1]);
    H::block_on(async move { drop(inbox) });
    peer.reset();
    until(|| sessions() == [0, 0, 0]);
}

pub(crate) fn lines_go_through_a_chain_as_messages_do<H: Harness>() {
    let lines = H::server().framed(Delimiter::lines()).middleware(Letter::new("a"));
    let server = H::start(lines.on_message(|session, message| session.send(message)));
    let mut peer = Raw::connect(server.address());
    peer.send(b"drop\n\nx\n");
    assert_eq!(peer.exactly(7), b"aa\nxaa\n");
}

/// So many at once, and no other in the time that a test takes.
fn only(n: u32) -> Rate {
    Rate::per_minute(1).burst(n)
}

pub(crate) fn a_flood_of_messages_ends_with_1008<H: Harness>() {
    let (handler, told) = teller();
    let limit = RateLimit::new().messages(only(5)).per_ip();
    let server = H::start(H::websocket().middleware(limit).handler(handler));
    let mut peer = Raw::websocket(server.address());
    for _ in 0..50 {
        peer.send_frame(0x81, b"x");
    }
    for _ in 0..5 {
        assert_eq!(peer.frame(), (0x81, b"x".to_vec()));
    }
    assert_eq!(peer.frame(), (0x88, b"\x03\xF0too much at once".to_vec()));
    assert!(peer.rest().is_empty());
    drop(peer);
    let reason = told.disconnected();
    assert_eq!((reason.side, reason.cause), (Side::Remote, Cause::RateLimited));
    // To come back wins nothing.
    let mut peer = Raw::websocket(server.address());
    peer.send_frame(0x81, b"x");
    assert_eq!(peer.frame().0, 0x88);
}

pub(crate) fn a_flood_of_pings_ends_with_1008<H: Harness>() {
    let (handler, told) = teller();
    let limit = RateLimit::new().control_frames(only(50)).drop_excess();
    let server = H::start(H::websocket().middleware(limit).handler(handler));
    let mut peer = Raw::websocket(server.address());
    for _ in 0..100 {
        peer.send_frame(0x89, b"");
    }
    while peer.frame() != (0x88, b"\x03\xF0too much at once".to_vec()) {}
    drop(peer);
    assert_eq!(told.disconnected().cause, Cause::RateLimited);
}

pub(crate) fn a_throttled_peer_loses_nothing<H: Harness>() {
    const MESSAGES: u32 = 20;
    let limit = RateLimit::new().messages(Rate::per_second(100).burst(1)).throttle();
    let echo = H::websocket().middleware(limit);
    let server = H::start(echo.on_message(|session, message| session.send(message)));
    let mut peer = Raw::websocket(server.address());
    let begun = Instant::now();
    for n in 0..MESSAGES {
        peer.send_frame(0x82, &n.to_be_bytes());
    }
    for n in 0..MESSAGES {
        assert_eq!(peer.frame(), (0x82, n.to_be_bytes().to_vec()));
    }
    assert!(begun.elapsed() >= Duration::from_millis(10) * (MESSAGES - 1));
}

/// Longer than any test lasts.
const AGES: Duration = Duration::from_secs(3600);

pub(crate) fn a_close_ends_a_pause_and_a_paused_session_writes<H: Harness>() {
    let (handler, told) = teller();
    let server = H::start(H::websocket().handler(handler));
    let mut peer = Raw::websocket(server.address());
    let session = told.connected();
    // It may be waiting in a read.
    session.pause_reading(AGES);
    peer.send_frame(0x81, b"never heard");
    session.send("news").unwrap();
    assert_eq!(peer.frame(), (0x81, b"news".to_vec()));
    session.close();
    assert_eq!(peer.frame().0, 0x88);
    peer.send_frame(0x88, b"\x03\xE8");
    assert!(peer.rest().is_empty());
    drop(peer);
    let reason = told.disconnected();
    assert!(reason.clean && reason.cause == Cause::Closed, "{reason:?}");
    assert_eq!(session.metrics().messages_received, 0);
}

pub(crate) fn a_pause_holds_up_what_was_read_and_an_abort_ends_it<H: Harness>() {
    let heard = Arc::<AtomicUsize>::default();
    let count = heard.clone();
    let server = H::start(H::websocket().on_message(move |session, message| {
        count.fetch_add(1, Ordering::Relaxed);
        session.pause_reading(AGES);
        session.send(message)
    }));
    let mut peer = Raw::websocket(server.address());
    let three = super::raw::frame(0x81, 0x80, b"x").repeat(3);
    peer.send(&three);
    assert_eq!(peer.frame(), (0x81, b"x".to_vec()));
    let session = server.running().session(1).unwrap();
    session.abort();
    assert!(peer.is_reset());
    H::block_on(session.closed());
    assert_eq!(heard.load(Ordering::Relaxed), 1);
    assert_eq!(session.send("x"), Err(SendError::Closed));
}

pub(crate) fn a_peer_that_is_not_read_is_not_given_up<H: Harness>() {
    const PAUSE: Duration = Duration::from_millis(600);
    let beating = Heartbeat::every(PAUSE / 5).missed(1);
    let beating = H::server().websocket(H::settings().heartbeat(beating));
    let idle = H::server().websocket(H::settings().heartbeat(Heartbeat::off()));
    let idle = idle.idle_timeout(PAUSE / 3);
    for (server, cause) in [(beating, Cause::HeartbeatTimeout), (idle, Cause::IdleTimeout)] {
        let (sender, sessions) = channel();
        let server = H::start(server.on_connected(move |session| {
            session.pause_reading(PAUSE);
            sender.send(session.clone()).unwrap();
        }));
        let mut peer = Raw::websocket(server.address());
        let session = sessions.recv_timeout(PATIENCE).unwrap();
        match cause {
            Cause::IdleTimeout => assert_eq!(peer.frame().0, 0x88),
            _ => assert!(peer.is_reset()),
        }
        drop(peer);
        assert_eq!(H::block_on(session.closed()).cause, cause);
        assert!(session.metrics().uptime >= PAUSE, "{:?}", session.metrics().uptime);
    }
}
