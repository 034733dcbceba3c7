//! Peers that do not read, beside one that does, under each policy.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};

use storm_proto::service::{Handler, Session, State};
use storm_proto::websocket::handshake::{Accept, Decision, Request};
use storm_proto::{
    Cause, DisconnectReason, Error, Lag, Overrides, Random, SendError, Side, SlowConsumer,
};

use super::harness::{Harness, PATIENCE, until};
use super::raw::Raw;

/// What the outbox of a session holds.
const LIMIT: usize = 100_000;

/// Counts the notices of lags, and what was dropped up to them.
#[derive(Clone, Default)]
struct Lags {
    notices: Arc<AtomicU64>,
    messages: Arc<AtomicU64>,
}

impl Handler for Lags {
    fn on_lag(&self, _: &Session, lag: &Lag) {
        self.notices.fetch_add(1, Ordering::Relaxed);
        self.messages.fetch_add(lag.messages(), Ordering::Relaxed);
    }
}

/// 10 kB with a number in front, which no compression makes smaller.
fn message(number: usize) -> Vec<u8> {
    let mut random = Random::from_seed(number as u64);
    let noise = (0..2_500).flat_map(|_| random.key());
    (number as u64).to_be_bytes().into_iter().chain(noise).collect()
}

fn number((first, payload): (u8, Vec<u8>)) -> usize {
    assert_eq!((first, payload.len()), (0x82, 10_008));
    u64::from_be_bytes(payload[..8].try_into().unwrap()) as usize
}

/// Everything that the peer of a session did not get.
fn lost(session: &Session) -> (u64, u64) {
    let metrics = session.metrics();
    let messages = metrics.messages_refused + metrics.messages_dropped;
    let bytes = metrics.bytes_refused + metrics.bytes_dropped;
    (messages + metrics.messages_superseded, bytes + metrics.bytes_superseded)
}

/// Broadcasts to a peer that reads and one that does not, until more was lost for that
/// than can be by chance.
fn a_deaf_peer<H: Harness>(policy: SlowConsumer) {
    let lags = Lags::default();
    let server = H::websocket().max_pending_send(LIMIT).slow_consumer(policy);
    let server = H::start(server.handler(lags.clone()));
    let hub = server.running().hub();
    let mut deaf = Raw::websocket(server.address());
    until(|| hub.count() == 1);
    let mut healthy = Raw::websocket(server.address());
    until(|| hub.count() == 2);
    let session = hub.session(1).unwrap();
    let (mut sent, mut refused) = (0, 0);
    while lost(&session).0 < 100 {
        let delivery = match policy {
            SlowConsumer::KeepLatest => hub.all().send_latest(sent as u64 % 5, &message(sent)),
            _ => hub.all().send(&message(sent)),
        };
        refused += delivery.dropped + delivery.full;
        assert_eq!(delivery.queued + delivery.dropped + delivery.full, 2, "{delivery:?}");
        assert_eq!(number(healthy.frame()), sent, "whoever reads gets all of it, at once");
        assert!(session.buffered() <= LIMIT);
        sent += 1;
    }
    assert_eq!((session.state(), lost(&session)), (State::Open, (100, 1_000_800)));
    let sessions = server.running().metrics().sessions;
    let all = sessions.messages_refused + sessions.messages_dropped + sessions.messages_superseded;
    assert_eq!(all, 100, "the server counts the same");
    // The system's buffers grow now and then, which ends a burst.
    let (waits, notices) =
        (policy == SlowConsumer::KeepLatest, lags.notices.load(Ordering::Relaxed));
    assert!(if waits { notices == 0 } else { (1..20).contains(&notices) }, "{notices} notices");
    assert!(lags.messages.load(Ordering::Relaxed) <= 100);
    let refuses = matches!(policy, SlowConsumer::Wait | SlowConsumer::Drop);
    assert_eq!(refused, if refuses { 100 } else { 0 });
    assert_eq!(lost(&hub.session(2).unwrap()), (0, 0));
    // Whatever was dropped, the rest arrives in order, and a ping is answered among it.
    deaf.send_frame(0x89, b"there?");
    let (mut got, mut answered) = (Vec::new(), false);
    while got.len() + 100 < sent || !answered {
        match deaf.frame() {
            (0x8A, pong) => answered = pong == b"there?",
            frame => got.push(number(frame)),
        }
    }
    assert!(got.is_sorted() || waits);
    if !refuses {
        assert!((sent - 5..sent).all(|last| got.contains(&last)), "the newest are there");
    }
}

pub(crate) fn refusals_for_a_deaf_peer_are_counted<H: Harness>() {
    a_deaf_peer::<H>(SlowConsumer::Wait);
}

pub(crate) fn a_deaf_peer_is_sent_what_fits<H: Harness>() {
    a_deaf_peer::<H>(SlowConsumer::Drop);
}

pub(crate) fn a_deaf_peer_is_sent_the_newest<H: Harness>() {
    a_deaf_peer::<H>(SlowConsumer::DropOldest);
}

pub(crate) fn a_deaf_peer_is_sent_the_latest_of_each_key<H: Harness>() {
    a_deaf_peer::<H>(SlowConsumer::KeepLatest);
}

/// Cuts those off who do not read.
struct Feed {
    ends: Mutex<Sender<(Cause, Option<Error>)>>,
}

impl Handler for Feed {
    async fn on_connecting(&self, _: &Request) -> Decision {
        let overrides = Overrides::new().slow_consumer(SlowConsumer::Disconnect);
        Accept::new().overrides(overrides.max_pending_send(LIMIT)).into()
    }

    async fn on_disconnected(&self, _: &Session, reason: &DisconnectReason) {
        assert_eq!(reason.side, Side::Remote);
        let _ = self.ends.lock().unwrap().send((reason.cause, reason.error.clone()));
    }
}

pub(crate) fn a_deaf_peer_is_cut_off_where_that_is_the_policy<H: Harness>() {
    let (ends, ended) = channel();
    let server = H::start(H::websocket().handler(Feed { ends: ends.into() }));
    let hub = server.running().hub();
    let mut deaf = Raw::websocket(server.address());
    until(|| hub.count() == 1);
    let session = hub.session(1).unwrap();
    let sent = (0..).take_while(|number| session.send(&message(*number)).is_ok()).count();
    assert!(sent * 10_008 >= LIMIT - 10_100, "no sooner than it must");
    assert_eq!(session.send(b"more"), Err(SendError::Closed));
    let end = ended.recv_timeout(PATIENCE).unwrap();
    assert_eq!(end, (Cause::SlowConsumer, Some(Error::SlowConsumer)));
    assert!(deaf.is_reset());
    until(|| hub.count() == 0);
}
