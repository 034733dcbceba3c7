//! Many sessions at once: groups, presence, broadcasts.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use storm_proto::Message;
use storm_proto::framing::Delimiter;
use storm_proto::service::{GroupChange, Handler, JoinError, Session};

use super::harness::{Harness, until};
use super::raw::Raw;

/// Joins the room that a message names; tells those who are there of who comes and goes.
#[derive(Clone, Default)]
struct Rooms {
    changes: Arc<AtomicUsize>,
}

impl Handler for Rooms {
    async fn on_message(&self, session: &Session, message: Message<'_>) {
        let room = message.to_text().unwrap();
        let answer = session.join(room).map_or_else(|error| error.to_string(), |_| "in".into());
        let _ = session.send(&answer);
    }

    fn on_group(&self, change: &GroupChange) {
        let news = format!("{}{}", if change.joined { "+" } else { "-" }, change.session.id());
        let _ = change.session.others_in(&change.group).send(&news);
        self.changes.fetch_add(1, Ordering::Relaxed);
    }
}

fn join(peer: &mut Raw, room: &str) {
    peer.send_frame(0x81, room.as_bytes());
    assert_eq!(peer.frame(), (0x81, b"in".to_vec()));
}

pub(crate) fn a_room_hears_who_comes_speaks_and_goes<H: Harness>() {
    let server = H::start(H::websocket().max_groups(1).handler(Rooms::default()));
    let hub = server.running().hub();
    let [mut a, mut b, mut c] = [1, 2, 3].map(|count| {
        let peer = Raw::websocket(server.address());
        until(|| hub.count() == count);
        peer
    });
    join(&mut a, "tea");
    join(&mut b, "tea");
    join(&mut c, "coffee");
    assert_eq!(a.frame(), (0x81, b"+2".to_vec()));
    assert_eq!((hub.count(), hub.member_count("tea"), hub.groups().len()), (3, 2, 2));
    assert_eq!(hub.group("coffee").group("tea").send(b"hi").queued, 3);
    for peer in [&mut a, &mut b, &mut c] {
        assert_eq!(peer.frame(), (0x82, b"hi".to_vec()));
    }
    b.send_frame(0x81, b"coffee");
    let limit = JoinError::TooMany { limit: 1 };
    assert_eq!(b.frame(), (0x81, limit.to_string().into_bytes()));
    b.reset();
    assert_eq!(a.frame(), (0x81, b"-2".to_vec()));
    assert_eq!(server.running().close_all(), 2);
    assert_eq!((a.frame().0, c.frame().0), (0x88, 0x88));
    drop((a, c));
    until(|| hub.count() == 0);
    assert!(hub.groups().is_empty());
}

pub(crate) fn threads_broadcast_to_a_room_that_comes_and_goes<H: Harness>() {
    const THREADS: usize = 4;
    const EACH: usize = 1_000;
    let rooms = Rooms::default();
    let server = H::start(H::server().framed(Delimiter::lines()).handler(rooms.clone()));
    let mut staying = Raw::connect(server.address());
    staying.send(b"room\n");
    assert_eq!(staying.exactly(3), b"in\n");
    let hub = server.running().hub();
    let speakers: Vec<_> = (0..THREADS)
        .map(|_| {
            let hub = hub.clone();
            std::thread::spawn(move || {
                (0..EACH).map(|_| hub.group("room").send_blocking("*").queued).min()
            })
        })
        .collect();
    for _ in 0..20 {
        let mut passing = Raw::connect(server.address());
        passing.send(b"room\n");
        passing.exactly(3);
        passing.reset();
    }
    let fewest = speakers.into_iter().map(|speaker| speaker.join().unwrap()).min();
    assert!(fewest.unwrap() >= Some(1), "the one that stays hears all");
    until(|| hub.member_count("room") == 1);
    until(|| rooms.changes.load(Ordering::Relaxed) == 1 + 2 * 20);
    let mut heard = 0;
    let (mut came, mut went) = (0, 0);
    while (heard, came, went) != (THREADS * EACH, 20, 20) {
        match staying.exactly(1)[0] {
            b'*' => heard += 1,
            b'+' => came += 1,
            b'-' => went += 1,
            byte => assert!(byte == b'\n' || byte.is_ascii_digit()),
        }
    }
}
