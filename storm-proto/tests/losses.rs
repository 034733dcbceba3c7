//! Every message that does not reach the peer is counted and reported, in virtual time.
#![allow(clippy::unwrap_used)]

mod sim;

use std::sync::Arc;

use sim::tools::{Journal, POLICIES, masked, poll, seconds, start, upgraded, websocket};
use sim::{Peer, Sim};
use storm_proto::framing::{Delimiter, LengthPrefix, Raw};
use storm_proto::service::{Handler, Outcome, Running, Session, Totals, middleware};
use storm_proto::websocket::Role;
use storm_proto::{
    Connection, DisconnectReason, Instant, Lag, Options, SendError, SlowConsumer, Step, WaterMarks,
};

type Server<H = storm_proto::service::Callbacks> = storm_proto::service::Server<Sim, H>;

/// Notes the lags; puts everybody into the lobby.
struct Lobby(Journal);

impl Handler for Lobby {
    async fn on_connected(&self, session: &Session) {
        session.join("lobby").unwrap();
    }

    async fn on_disconnected(&self, session: &Session, reason: &DisconnectReason) {
        let state = (session.buffered(), session.is_backpressured());
        assert_eq!(state, (0, false), "nothing is queued after the end: {reason}");
    }

    fn on_lag(&self, session: &Session, lag: &Lag) {
        let Lag { refused, dropped, superseded, .. } = *lag;
        let counts = (refused.messages, dropped.messages, superseded.messages);
        self.0.note(format!("{} lags: {counts:?}", session.id()));
    }
}

/// A server with this policy, a limit of 1,000 bytes, a session that sends and one that lags.
fn two(policy: SlowConsumer) -> (Journal, Running<Sim>, [Session; 2], [Peer; 2]) {
    let journal = Journal::default();
    let server = websocket().slow_consumer(policy).max_pending_send(1_000);
    let running = start(server.handler(Lobby(journal.clone())));
    let peers = [upgraded(), upgraded()];
    let sessions = [1, 2].map(|id| running.session(id).unwrap());
    peers[1].narrow(0);
    (journal, running, sessions, peers)
}

/// Messages that did not reach the outbox, or left it otherwise than to the peer.
fn lost(totals: &Totals) -> u64 {
    totals.messages_refused
        + totals.messages_dropped
        + totals.messages_superseded
        + totals.messages_closed
        + totals.messages_unframed
        + totals.messages_filtered_out
        + totals.undelivered_messages
}

#[test]
fn refusals_of_a_broadcast_are_counted_and_begin_a_lag() {
    let (journal, running, [sender, slow], [_, peer]) = two(SlowConsumer::Wait);
    let mut full = 0;
    for _ in 0..2_000 {
        full += sender.others_in("lobby").send(&[7; 100]).full;
    }
    assert_eq!(full, 1_991);
    let metrics = slow.metrics();
    assert_eq!((metrics.messages_sent, metrics.messages_refused), (9, 1_991));
    assert_eq!((metrics.bytes_refused, metrics.messages_dropped), (199_100, 0));
    assert_eq!(running.metrics().sessions.messages_refused, 1_991);
    assert_eq!(journal.take(), ["2 lags: (1, 0, 0)"], "one notice for the burst");
    peer.narrow(10_000);
    peer.take();
    peer.narrow(0);
    while slow.send(&[7; 100]).is_ok() {}
    assert_eq!(journal.take(), ["2 lags: (1991, 0, 0)"], "the next, with what was not told");
}

#[test]
fn every_message_to_a_slow_peer_is_delivered_or_counted() {
    for policy in POLICIES {
        let (_, running, [sender, slow], [_, peer]) = two(policy);
        let mut sends = 0;
        for number in 0..100_u64 {
            let message = [7; 100];
            let _ = slow.send(&message);
            let _ = slow.send_latest(number % 3, &message);
            let _ = sender.others_in("lobby").send(&message);
            let _ = sender.others_in("lobby").send_latest(number % 5, &message);
            sends += 4;
        }
        Sim::run();
        slow.abort();
        Sim::run();
        assert_eq!(slow.send("late"), Err(SendError::Closed));
        assert_eq!(slow.metrics().messages_closed, running.metrics().sessions.messages_closed + 1);
        assert_eq!(lost(&running.metrics().sessions), sends, "{policy:?}");
        assert!(peer.waiting() == 0 && slow.buffered() == 0 && !slow.is_backpressured());
    }
}

#[test]
fn a_wait_is_no_loss_until_it_is_given_up() {
    let (journal, _running, [_, slow], [_, peer]) = two(SlowConsumer::Wait);
    while slow.send(&[7; 100]).is_ok() {}
    journal.take();
    let refused = slow.metrics().messages_refused;
    let message = [8; 100];
    let mut waits = Box::pin(slow.send_wait(&message));
    assert!(poll(&mut waits).is_none());
    assert_eq!((slow.metrics().messages_refused, refused), (1, 1));
    let mut others: Vec<_> = (0..1_023).map(|_| Box::pin(slow.send_wait(&message))).collect();
    assert!(others.iter_mut().all(|wait| poll(wait).is_none()));
    let mut one_more = Box::pin(slow.send_wait(&message));
    assert_eq!(poll(&mut one_more), Some(Err(SendError::Full)));
    assert_eq!(slow.metrics().messages_refused, 2);
    peer.narrow(10_000);
    peer.take();
    assert_eq!(poll(&mut waits), Some(Ok(())));
}

#[test]
fn what_middleware_and_framings_take_away_is_counted() {
    let filter = |message: &storm_proto::Message<'_>| match message.as_bytes() {
        b"secret" => Outcome::Drop,
        _ => Outcome::Pass,
    };
    let server = Server::bind("127.0.0.1:80")
        .framed(Delimiter::lines())
        .middleware(middleware::outbound(move |_, message| filter(&message)))
        .middleware(middleware::inbound(move |_, message| filter(&message)));
    let running = start(server);
    let peer = Sim::dial();
    Sim::run();
    peer.send(b"secret\nopen\nsecret\n");
    let session = running.session(1).unwrap();
    assert!(session.send("secret").is_ok() && session.send("a\nb").is_err());
    let delivery = running.hub().all().send("secret");
    assert_eq!((delivery.queued, delivery.filtered), (0, 1));
    assert_eq!(running.hub().all().send("a\nb").unframed, 1);
    let metrics = session.metrics();
    assert_eq!((metrics.messages_received, metrics.messages_filtered_in), (3, 2));
    assert_eq!((metrics.messages_filtered_out, metrics.messages_unframed), (2, 2));
    let sessions = running.metrics().sessions;
    assert_eq!((sessions.messages_filtered_in, sessions.messages_filtered_out), (2, 2));
}

#[test]
fn undelivered_counts_neither_control_frames_nor_framing() {
    let now = Instant::from_secs(1);
    for role in [Role::Server, Role::Client] {
        let random = storm_proto::Random::from_seed(7);
        let mut connection = Connection::upgraded(role, Options::default(), random, now);
        connection
            .close(storm_proto::CloseFrame::new(storm_proto::CloseCode::NORMAL, "").unwrap(), now);
        let reason = connection.finish();
        assert_eq!((reason.undelivered, reason.undelivered_messages), (0, 0), "a Close frame");
        assert!(!reason.clean);
    }
    let framers: [Arc<dyn storm_proto::framing::Framer>; 3] =
        [Arc::new(Raw), Arc::new(LengthPrefix::new()), Arc::new(Delimiter::lines())];
    for framer in framers {
        let mut connection = Connection::framed(framer, Options::default(), now);
        let large = bytes::Bytes::from(vec![7; 100_000]);
        connection.sender().send(b"0123456789").unwrap();
        connection.sender().send(&large).unwrap();
        connection.abort();
        let reason = connection.finish();
        assert_eq!((reason.undelivered, reason.undelivered_messages), (100_010, 2));
    }
}

#[test]
fn asking_for_the_reason_ends_nothing() {
    let now = Instant::from_secs(1);
    let mut options = Options::default();
    options.marks = WaterMarks::new(100);
    let mut connection = Connection::framed(Arc::new(Raw), options, now);
    connection.sender().send("kept").unwrap();
    assert_eq!(connection.reason(), None);
    assert_eq!((connection.step(), connection.queued()), (Step::Continue, 4));
    connection.sender().send("still open").unwrap();
    connection.abort();
    let reason = connection.reason().unwrap();
    assert_eq!((reason.undelivered, reason.undelivered_messages), (14, 2));
    assert_eq!(connection.queued(), 14, "nor does it drop anything");
    assert_eq!(connection.finish(), reason);
    assert_eq!(
        (connection.queued(), connection.finish(), connection.reason()),
        (0, reason.clone(), Some(reason))
    );
}

#[test]
fn nothing_is_queued_after_any_end() {
    let ends: [fn(&Session, &Peer); 4] = [
        |session, _| session.abort(),
        |_, peer| peer.reset(),
        |session, _| session.close(),
        |_, peer| peer.send(&masked(0x83, b"")),
    ];
    for end in ends {
        let (_, _running, [_, slow], [_, peer]) = two(SlowConsumer::Wait);
        while slow.send(&[7; 100]).is_ok() {}
        assert!(slow.buffered() > 900 && slow.is_backpressured());
        Sim::run();
        end(&slow, &peer);
        Sim::pass(seconds(60));
        assert!(slow.reason().is_some());
        assert_eq!((slow.buffered(), slow.is_backpressured()), (0, false));
        assert_eq!(slow.send("late"), Err(SendError::Closed));
        assert_eq!((slow.buffered(), slow.is_backpressured()), (0, false));
    }
}
