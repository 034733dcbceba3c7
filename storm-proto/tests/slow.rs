//! Peers that read too slowly, and settings of one session, in virtual time.
#![allow(clippy::unwrap_used)]

mod sim;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use sim::tools::{Journal, POLICIES, accept, masked, poll, seconds, start, websocket};
use sim::{Peer, Sim};
use storm_proto::framing::Delimiter;
use storm_proto::service::{Client, Delivery, ErrorContext, Handler, Running, Session, State};
use storm_proto::websocket::Limits;
use storm_proto::websocket::handshake::{Accept, Decision, Request};
use storm_proto::{
    Cause, Connection, DisconnectReason, Error, Heartbeat, Instant, Lag, Options, Overrides,
    SendError, Side, SlowConsumer, Step, WaterMarks,
};

type Server<H = storm_proto::service::Callbacks> = storm_proto::service::Server<Sim, H>;

/// Keeps the sessions, and a journal of lags, errors and ends. `/oldest`, `/short` and `/small`
/// get settings of their own.
#[derive(Clone, Default)]
struct Watch {
    journal: Journal,
    sessions: Arc<Mutex<Vec<Session>>>,
}

impl Watch {
    fn session(&self, at: usize) -> Session {
        self.sessions.lock().unwrap()[at].clone()
    }
}

impl Handler for Watch {
    async fn on_connecting(&self, request: &Request) -> Decision {
        let overrides = Overrides::new();
        let mut limits = Limits::new();
        limits.message = 10;
        match request.path() {
            "/oldest" => Accept::new()
                .overrides(overrides.slow_consumer(SlowConsumer::DropOldest).max_pending_send(200)),
            "/short" => Accept::new().overrides(
                overrides.idle_timeout(seconds(7)).heartbeat(Heartbeat::every(seconds(3))),
            ),
            "/small" => Accept::new().limits(limits),
            _ => Accept::new(),
        }
        .into()
    }

    async fn on_connected(&self, session: &Session) {
        self.sessions.lock().unwrap().push(session.clone());
    }

    async fn on_error(&self, context: &ErrorContext, error: &Error) {
        self.journal.note(format!("error of {}: {error}", context.session().unwrap().id()));
    }

    async fn on_disconnected(&self, session: &Session, reason: &DisconnectReason) {
        self.journal.note(format!("end of {}: {:?}", session.id(), reason.cause));
    }

    fn on_lag(&self, session: &Session, lag: &Lag) {
        self.journal.note(format!("{} lags: {} of {}", session.id(), lag.messages(), lag.bytes()));
    }
}

fn dial(path: &str) -> Peer {
    let peer = Sim::dial();
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    peer.send(request.as_bytes());
    assert!(peer.take().starts_with(b"HTTP/1.1 101"));
    peer
}

/// A server with this policy, a limit of 1,000 bytes and one peer.
fn one(policy: SlowConsumer) -> (Watch, Running<Sim>, Session, Peer) {
    let watch = Watch::default();
    let server = websocket().slow_consumer(policy).max_pending_send(1_000);
    let running = start(server.handler(watch.clone()));
    let peer = dial("/");
    let session = watch.session(0);
    (watch, running, session, peer)
}

/// The payloads of a server's frames as text.
fn texts(mut bytes: &[u8]) -> Vec<String> {
    let mut texts = Vec::new();
    while !bytes.is_empty() {
        let (start, len) = match bytes[1] {
            126 => (4, usize::from(u16::from_be_bytes([bytes[2], bytes[3]]))),
            len => (2, usize::from(len)),
        };
        let (frame, rest) = bytes.split_at(start + len);
        texts.push(String::from_utf8_lossy(&frame[start..]).into_owned());
        bytes = rest;
    }
    texts
}

fn numbered(number: usize) -> String {
    format!("{number:0>100}")
}

// Policies.

#[test]
fn a_session_that_drops_says_so_and_goes_on() {
    let (watch, _running, session, peer) = one(SlowConsumer::Drop);
    peer.narrow(0);
    let sent: Vec<_> = (0..20).filter(|n| session.send(&numbered(*n)).is_ok()).collect();
    assert_eq!(session.send(&numbered(99)), Err(SendError::Dropped));
    assert_eq!((sent.len(), session.state()), (9, State::Open));
    assert!(session.is_backpressured());
    let metrics = session.metrics();
    assert_eq!((metrics.messages_sent, metrics.messages_dropped), (9, 12));
    assert_eq!(metrics.bytes_dropped, 1_200);
    assert_eq!(watch.journal.take(), ["1 lags: 1 of 100"], "one notice for the burst");
    peer.narrow(10_000);
    assert_eq!(texts(&peer.take()), sent.iter().map(|n| numbered(*n)).collect::<Vec<_>>());
    assert!(!session.is_backpressured());
    peer.narrow(0);
    assert_eq!((0..20).filter(|n| session.send(&numbered(*n)).is_ok()).count(), 9);
    assert_eq!(watch.journal.take(), ["1 lags: 12 of 1200"], "the next, with what was not told");
}

#[test]
fn a_session_whose_oldest_give_way_gets_the_newest() {
    let (watch, _running, session, peer) = one(SlowConsumer::DropOldest);
    peer.narrow(1);
    (0..100).for_each(|n| session.send(&numbered(n)).unwrap());
    assert!(session.buffered() <= 1_000);
    Sim::run();
    (100..200).for_each(|n| session.send(&numbered(n)).unwrap());
    let got: Vec<usize> = texts(&peer.take()).iter().map(|text| text.parse().unwrap()).collect();
    assert!(got.is_sorted() && got.ends_with(&[196, 197, 198, 199]), "{got:?}");
    let metrics = session.metrics();
    assert_eq!(metrics.messages_sent, 200);
    assert_eq!(metrics.messages_dropped as usize, 200 - got.len());
    assert_eq!(metrics.bytes_dropped, metrics.messages_dropped * 100);
    assert_eq!(watch.journal.take(), ["1 lags: 1 of 100"]);
}

#[test]
fn a_ticker_tells_its_last_values() {
    let (watch, running, session, peer) = one(SlowConsumer::KeepLatest);
    peer.narrow(0);
    session.send("stuck").unwrap();
    Sim::run();
    for price in 0..50 {
        for name in ["EUR", "USD"] {
            let delivery = running.hub().all().send_latest(name, &format!("{name} {price}"));
            assert_eq!(delivery.queued, 1);
        }
        session.send_latest(7, &format!("seven {price}")).unwrap();
    }
    peer.narrow(1_000);
    assert_eq!(texts(&peer.take()), ["stuck", "EUR 49", "USD 49", "seven 49"]);
    let metrics = session.metrics();
    assert_eq!((metrics.messages_dropped, metrics.messages_superseded), (0, 3 * 49));
    assert!(watch.journal.take().is_empty(), "the last value is what was asked for");
}

#[test]
fn a_session_that_is_to_end_ends_with_the_first_message_that_does_not_fit() {
    let (watch, running, session, peer) = one(SlowConsumer::Disconnect);
    peer.narrow(0);
    (0..9).for_each(|n| session.send(&numbered(n)).unwrap());
    assert_eq!(session.send(&numbered(9)), Err(SendError::Closed));
    assert_eq!(session.state(), State::Closing);
    Sim::run();
    assert!(peer.is_reset());
    let reason = session.reason().unwrap();
    assert_eq!(
        (reason.side, reason.cause, reason.undelivered),
        (Side::Remote, Cause::SlowConsumer, 900)
    );
    assert_eq!((reason.error.clone(), reason.sent.clone()), (Some(Error::SlowConsumer), None));
    assert_eq!(
        watch.journal.take(),
        ["error of 1: the peer reads too slowly", "end of 1: SlowConsumer"]
    );
    assert_eq!(running.count(), 0);
}

#[test]
fn control_frames_pass_whatever_the_policy() {
    for policy in POLICIES {
        let (_, _running, session, peer) = one(policy);
        peer.narrow(0);
        session.send(&numbered(0)).unwrap();
        Sim::run();
        (1..9).for_each(|n| session.send(&numbered(n)).unwrap());
        if policy != SlowConsumer::Disconnect {
            let _ = session.send(&numbered(9));
        }
        peer.send(&masked(0x89, b"ping"));
        session.close();
        peer.narrow(10_000);
        let got = texts(&peer.take());
        assert!(got.contains(&"ping".to_string()), "{policy:?}: {got:?}");
        assert_eq!(got.last().unwrap(), "\u{3}\u{fffd}", "{policy:?} ends with the close");
        assert!(got.len() >= 11, "{policy:?}: what was queued goes before: {got:?}");
        peer.send(&masked(0x88, b"\x03\xe8"));
        peer.end();
        assert!(session.reason().unwrap().clean);
    }
}

#[test]
fn nothing_waits_where_messages_are_dropped() {
    for policy in [SlowConsumer::Drop, SlowConsumer::DropOldest] {
        let (_, running, session, peer) = one(policy);
        peer.narrow(0);
        (0..9).for_each(|n| session.send(&numbered(n)).unwrap());
        Sim::run();
        let (text, accepted) = (numbered(10), policy != SlowConsumer::Drop);
        let mut waits = Box::pin(session.send_wait(&text));
        let sent = poll(&mut waits).unwrap();
        assert_eq!(sent, if accepted { Ok(()) } else { Err(SendError::Dropped) });
        let mut waits = Box::pin(running.hub().all().send_wait(&text));
        let mut expected = Delivery::default();
        (expected.queued, expected.dropped) = (accepted.into(), (!accepted).into());
        assert_eq!(poll(&mut waits), Some(expected));
        assert_eq!(running.hub().all().send(&text), expected);
    }
}

#[test]
fn lines_and_clients_have_the_same_policies() {
    let watch = Watch::default();
    let server = Server::bind("127.0.0.1:80").framed(Delimiter::lines());
    let server = server.slow_consumer(SlowConsumer::DropOldest).max_pending_send(1_000);
    let _running = start(server.handler(watch.clone()));
    let peer = Sim::dial();
    Sim::run();
    peer.narrow(0);
    (0..100).for_each(|n| watch.session(0).send(&numbered(n)).unwrap());
    peer.narrow(10_000);
    let lines = String::from_utf8(peer.take()).unwrap();
    assert!(lines.lines().count() >= 4 && lines.ends_with(&(numbered(99) + "\n")));

    let journal = Journal::default();
    let notes = journal.clone();
    let client = Client::<Sim>::new("ws://server")
        .slow_consumer(SlowConsumer::Drop)
        .max_pending_send(1_000)
        .on_lag(move |session, lag| {
            let state = session.state();
            notes.note(format!("{state:?}: {} of {}", lag.dropped.messages, lag.dropped.bytes));
        });
    let mut connect = Box::pin(client.connect());
    assert!(poll(&mut connect).is_none());
    let server = Sim::dialled();
    server.send(&accept(&server.take()));
    let session = poll(&mut connect).unwrap().unwrap();
    server.narrow(0);
    while session.send(&numbered(0)).is_ok() {}
    assert_eq!(journal.take(), ["Open: 1 of 100"]);
}

#[test]
fn a_connection_by_hand_is_over_with_the_send_that_does_not_fit() {
    let mut options = Options::default();
    (options.marks, options.slow_consumer) = (WaterMarks::new(10), SlowConsumer::Disconnect);
    let now = Instant::from_secs(1);
    let mut connection = Connection::framed(Arc::new(Delimiter::lines()), options, now);
    connection.sender().send("123456789").unwrap();
    assert_eq!(connection.step(), Step::Continue);
    assert_eq!(connection.sender().send(""), Err(SendError::Closed));
    assert_eq!(connection.step(), Step::Finished { reset: true });
    let reason = connection.finish();
    assert_eq!((reason.cause, reason.undelivered), (Cause::SlowConsumer, 9));
}

#[test]
fn an_echo_loses_nothing_whatever_the_policy() {
    for policy in POLICIES {
        let server = websocket().slow_consumer(policy).max_pending_send(10_000);
        let running = start(server.on_message(|session, message| session.send(message)));
        let peer = dial("/");
        peer.narrow(1_000);
        let frames: Vec<u8> =
            (0..1_000).flat_map(|n| masked(0x81, numbered(n).as_bytes())).collect();
        peer.send(&frames);
        let session = running.session(1).unwrap();
        assert!(session.buffered() <= 10_000, "{} bytes are queued", session.buffered());
        let got = texts(&peer.take());
        assert_eq!(got, (0..1_000).map(numbered).collect::<Vec<_>>(), "{policy:?}");
        assert_eq!(session.metrics().messages_dropped, 0);
    }
}

// Notices.

/// Sends to all whenever one lags.
struct Chatty(Journal);

impl Handler for Chatty {
    fn on_lag(&self, session: &Session, lag: &Lag) {
        self.0.note(format!("{} begins with {}", session.id(), lag.messages()));
        let _ = session.hub().unwrap().all().send(&[0; 1_000]);
        self.0.note(format!("{} is told", session.id()));
        assert_ne!(session.id(), 2, "on purpose");
    }
}

#[test]
fn bursts_that_a_notice_begins_are_told_after_it() {
    let journal = Journal::default();
    let server = websocket().slow_consumer(SlowConsumer::Drop).max_pending_send(1_000);
    let running = start(server.handler(Chatty(journal.clone())));
    let peers = [(); 3].map(|()| dial("/"));
    peers.iter().for_each(|peer| peer.narrow(0));
    assert_eq!(running.hub().all().send(&[0; 500]).queued, 3);
    assert_eq!(running.session(1).unwrap().send(&[0; 600]), Err(SendError::Dropped));
    let told = ["1 begins with 1", "1 is told", "2 begins with 1", "2 is told"];
    let told = [&told[..], &["3 begins with 1", "3 is told"]].concat();
    assert_eq!(journal.take(), told, "one after the other, and a panic ends nothing");
    assert_eq!(running.session(1).unwrap().metrics().messages_dropped, 4);
}

#[test]
fn a_handler_may_close_the_session_that_lags() {
    let server = websocket().slow_consumer(SlowConsumer::DropOldest).max_pending_send(1_000);
    let running = start(server.on_lag(|session, _| session.abort()));
    let peer = dial("/");
    let session = running.session(1).unwrap();
    peer.narrow(0);
    while session.send(&[0; 100]).is_ok() {}
    Sim::run();
    assert_eq!(session.reason().unwrap().cause, Cause::Aborted);
    assert!(peer.is_reset());
}

// Settings of one session.

#[test]
fn sessions_of_one_server_differ_in_what_they_were_accepted_with() {
    let watch = Watch::default();
    let running = start(websocket().max_pending_send(1_000).handler(watch.clone()));
    let (oldest, other) = (dial("/oldest"), dial("/"));
    [&oldest, &other].iter().for_each(|peer| peer.narrow(0));
    let deliveries: Vec<Delivery> = (0..20).map(|_| running.hub().all().send(&[7; 90])).collect();
    assert!(deliveries[..10].iter().all(|delivery| delivery.queued == 2));
    assert!(deliveries[11..].iter().all(|delivery| (delivery.queued, delivery.full) == (1, 1)));
    assert!(watch.session(0).buffered() <= 200);
    assert!(watch.session(1).buffered() >= 900);
    assert_eq!(watch.journal.take(), ["1 lags: 1 of 90", "2 lags: 1 of 90"], "each once");

    let small = dial("/small");
    small.send(&masked(0x82, &[0; 11]));
    assert_eq!(small.take(), b"\x88\x29\x03\xf1a message is over the limit of 10 bytes");
    oldest.send(&masked(0x82, &[0; 11]));
    assert_eq!(watch.session(0).state(), State::Open);
}

#[test]
fn deadlines_of_one_session_are_its_own() {
    let watch = Watch::default();
    let _running = start(websocket().handler(watch.clone()));
    let (short, other) = (dial("/short"), dial("/"));
    Sim::pass(seconds(3));
    assert_eq!((short.take(), other.take()), (b"\x89\x04\0\0\0\x01".to_vec(), vec![]));
    short.send(&masked(0x8A, b"\0\0\0\x01"));
    Sim::pass(seconds(4));
    assert_eq!(short.take(), b"\x89\x04\0\0\0\x02\x88\x06\x03\xe8idle");
    Sim::pass(seconds(1_000));
    assert_eq!(watch.session(1).state(), State::Open);
    assert!(watch.journal.take().contains(&"end of 1: IdleTimeout".to_string()));
}

#[test]
fn deadlines_of_an_open_session_change_from_now_on() {
    let (_, _running, session, peer) = one(SlowConsumer::Wait);
    let set = |overrides: Overrides| {
        session.set(overrides);
        Sim::run();
    };
    Sim::pass(seconds(100));
    set(Overrides::new().heartbeat(Heartbeat::every(seconds(10))).idle_timeout(seconds(25)));
    Sim::pass(seconds(10));
    assert_eq!(peer.take(), b"\x89\x04\0\0\0\x01");
    peer.send(&masked(0x8A, b"\0\0\0\x01"));
    set(Overrides::new().heartbeat(Heartbeat::off()));
    Sim::pass(seconds(14));
    assert!(peer.take().is_empty() && session.state() == State::Open);
    set(Overrides::new().idle_timeout(None));
    Sim::pass(seconds(1_000));
    assert_eq!(session.state(), State::Open);
    peer.narrow(0);
    session.send("stuck").unwrap();
    Sim::pass(seconds(20));
    set(Overrides::new().stall_timeout(seconds(4)));
    Sim::pass(seconds(4) - Duration::from_nanos(1));
    assert_eq!(session.state(), State::Open);
    Sim::pass(seconds(1));
    assert_eq!(session.reason().unwrap().cause, Cause::StallTimeout);
}

#[test]
fn those_who_wait_go_on_when_the_settings_let_them() {
    let (_, _running, session, peer) = one(SlowConsumer::Wait);
    peer.narrow(0);
    session.send(&[0; 990]).unwrap();
    let message = [1; 100];
    let wait = || {
        let mut waits = Box::pin(session.send_wait(&message));
        assert!(poll(&mut waits).is_none());
        waits
    };
    let (mut first, mut second) = (wait(), wait());
    session.set(Overrides::new().max_pending_send(1_100));
    assert_eq!(poll(&mut first), Some(Ok(())));
    assert!(poll(&mut second).is_none(), "there is room for one");
    session.set(Overrides::new().slow_consumer(SlowConsumer::Drop));
    assert_eq!(poll(&mut second), Some(Err(SendError::Dropped)));
    session.set(Overrides::new().slow_consumer(SlowConsumer::DropOldest).max_pending_send(1_300));
    (0..5).for_each(|_| session.send(&[2; 100]).unwrap());
    session.set(Overrides::new().slow_consumer(SlowConsumer::Wait));
    assert_eq!(session.send(&message), Err(SendError::Full));
    let mut third = wait();
    peer.narrow(10_000);
    let len = peer.take().len();
    assert_eq!(len, 994 + 3 * 102, "three of the five have given way");
    assert_eq!(poll(&mut third), Some(Ok(())));
    assert_eq!((peer.take().len(), session.metrics().messages_dropped), (102, 4));
}

#[test]
fn a_handler_may_change_the_settings_between_its_answers() {
    let server = websocket().on_message(|session, message| {
        let _ = session.send(message);
        if message.as_text() == Some("3") {
            session.set(Overrides::new().slow_consumer(SlowConsumer::DropOldest));
        } else if message.as_text() == Some("6") {
            session.set(Overrides::new().slow_consumer(SlowConsumer::Wait));
        }
    });
    let _running = start(server);
    let peer = dial("/");
    let words = ["1", "2", "3", "4", "5", "6", "7", "8"];
    peer.send(&words.map(|word| masked(0x81, word.as_bytes())).concat());
    assert_eq!(texts(&peer.take()), words, "and they stay in order");
}

// Isolation.

#[test]
fn ten_stuck_members_of_a_thousand_cost_the_others_no_message() {
    const MEMBERS: usize = 1_000;
    const STUCK: usize = 10;
    const BROADCASTS: usize = 40;
    for policy in POLICIES {
        let watch = Watch::default();
        let server = websocket().slow_consumer(policy).max_pending_send(2_000);
        let running = start(server.handler(watch.clone()));
        let peers: Vec<Peer> = (0..MEMBERS).map(|_| dial("/")).collect();
        // Every hundredth.
        let stuck = |at: usize| at.is_multiple_of(MEMBERS / STUCK);
        peers.iter().enumerate().filter(|(at, _)| stuck(*at)).for_each(|(_, peer)| peer.narrow(0));
        let all = running.hub().all();
        for number in 0..BROADCASTS {
            let text = numbered(number);
            let delivery = all.send_latest(number as u64, &text);
            let healthy = delivery.queued - delivery.queued.saturating_sub(MEMBERS - STUCK);
            assert_eq!(healthy, MEMBERS - STUCK, "{policy:?}: {delivery:?}");
            Sim::run();
            let frame = [&[0x81, 100], text.as_bytes()].concat();
            let at_once = |(at, peer): (usize, &Peer)| stuck(at) || peer.take_once() == frame;
            assert!(peers.iter().enumerate().all(at_once), "{policy:?}");
        }
        let told = watch.journal.take();
        for at in (0..MEMBERS).filter(|at| stuck(*at)) {
            let session = watch.session(at);
            let (dropped, lags) =
                (session.metrics().messages_dropped, format!("{} lags: 1 of 100", at + 1));
            let ended = session.reason().map(|reason| reason.cause);
            match policy {
                SlowConsumer::Wait => {
                    assert_eq!((dropped, ended, told.contains(&lags)), (0, None, true));
                    assert!(session.metrics().messages_refused > 20);
                }
                SlowConsumer::Disconnect => {
                    assert_eq!((dropped, ended), (0, Some(Cause::SlowConsumer)));
                }
                _ => {
                    assert!(dropped > 20 && ended.is_none() && told.contains(&lags));
                    assert!(session.buffered() <= 2_000);
                }
            }
        }
        assert!(peers.iter().all(|peer| peer.waiting() == 0), "a stuck one has got nothing");
    }
}
