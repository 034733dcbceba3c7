//! Groups, presence and broadcasts as an application sees them, in virtual time.
#![allow(clippy::unwrap_used)]

mod sim;

use std::sync::{Arc, Mutex};

use sim::tools::{Journal, accept, masked, poll, seconds, start, websocket};
use sim::{Peer, Sim};
use storm_proto::framing::Delimiter;
use storm_proto::service::{
    Client, Delivery, GroupChange, Handler, Hub, JoinError, Running, Runtime, Session, State,
};
use storm_proto::{Cause, DisconnectReason, Message, Prepared, Side};

type Server<H = storm_proto::service::Callbacks> = storm_proto::service::Server<Sim, H>;

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// Does as messages say: `+room`, `-room`, or text for all rooms of the session; writes a
/// journal of who comes and goes.
#[derive(Clone, Default)]
struct Rooms {
    journal: Journal,
    sessions: Arc<Mutex<Vec<Session>>>,
}

impl Rooms {
    fn session(&self, at: usize) -> Session {
        self.sessions.lock().unwrap()[at].clone()
    }
}

impl Handler for Rooms {
    async fn on_connected(&self, session: &Session) {
        self.sessions.lock().unwrap().push(session.clone());
    }

    async fn on_message(&self, session: &Session, message: Message<'_>) {
        let text = message.as_text().unwrap();
        if let Some(room) = text.strip_prefix('+') {
            session.join(room).unwrap();
        } else if let Some(room) = text.strip_prefix('-') {
            session.leave(room);
        } else {
            for room in session.groups() {
                let _ = session.others_in(&room).send(message);
            }
        }
    }

    async fn on_disconnected(&self, session: &Session, _: &DisconnectReason) {
        assert_eq!(session.join("a"), Err(JoinError::Closed));
        let groups = session.groups();
        assert!(groups.iter().all(|group| !session.is_in(group)), "it has left them");
        let groups = groups.join(" ");
        self.journal.note(format!("disconnected {} of [{groups}]", session.id()));
    }

    fn on_group(&self, change: &GroupChange) {
        let sign = if change.joined { '+' } else { '-' };
        let (id, state) = (change.session.id(), change.session.state());
        let members = change.members;
        self.journal.note(format!("{sign}{id} {} of {members} {state:?}", change.group));
    }
}

/// A WebSocket server with so many peers.
fn rooms<const N: usize>(server: Server) -> (Rooms, Running<Sim>, [Peer; N]) {
    let rooms = Rooms::default();
    let running = start(server.handler(rooms.clone()));
    let peers = std::array::from_fn(|_| {
        let peer = Sim::dial();
        peer.send(REQUEST);
        assert!(peer.take().starts_with(b"HTTP/1.1 101"));
        peer
    });
    (rooms, running, peers)
}

fn say(peer: &Peer, text: &str) {
    peer.send(&masked(0x81, text.as_bytes()));
}

fn delivery(queued: usize, full: usize, closed: usize) -> Delivery {
    let mut delivery = Delivery::default();
    (delivery.queued, delivery.full, delivery.closed) = (queued, full, closed);
    delivery
}

// Groups.

#[test]
fn a_room_hears_its_members_and_nobody_else() {
    let (rooms, running, [a, b, c]) = rooms::<3>(websocket());
    say(&a, "+tea");
    say(&b, "+tea");
    say(&c, "+coffee");
    say(&a, "hi");
    assert_eq!((a.take(), b.take(), c.take()), (vec![], b"\x81\x02hi".to_vec(), vec![]));
    let hub = running.hub();
    assert_eq!((hub.member_count("tea"), hub.member_count("water")), (2, 0));
    assert_eq!(hub.group("tea").sessions(), [rooms.session(0), rooms.session(1)]);
    // The server may do it as well.
    assert!(hub.session(2).unwrap().leave("tea"));
    rooms.session(0).leave_all();
    assert_eq!(hub.groups(), [Arc::from("coffee")]);
    say(&a, "anybody?");
    assert_eq!((b.take(), c.take()), (vec![], vec![]));
}

#[test]
fn the_end_of_a_session_leaves_its_rooms_before_its_last_event() {
    let (rooms, running, [a, b]) = rooms::<2>(websocket());
    say(&a, "+tea");
    say(&a, "+coffee");
    say(&b, "+tea");
    a.reset();
    assert_eq!(
        rooms.journal.take(),
        [
            "+1 tea of 1 Open",
            "+1 coffee of 1 Open",
            "+2 tea of 2 Open",
            "-1 tea of 1 Closed",
            "-1 coffee of 0 Closed",
            "disconnected 1 of [tea coffee]",
        ]
    );
    assert_eq!(running.hub().groups(), [Arc::from("tea")]);
    assert_eq!(running.hub().group("tea").sessions(), [rooms.session(1)]);
    drop(b);
}

#[test]
fn closures_are_told_of_groups_as_well_and_may_speak_to_them() {
    let server = websocket()
        .on_connected(|session| session.join("hall"))
        .on_group(|change| change.session.others_in("hall").send("somebody came or went"))
        .on_message(|session, message| session.send(message));
    let _running = start(server);
    let peers = [(); 2].map(|()| {
        let peer = Sim::dial();
        peer.send(REQUEST);
        peer.take();
        peer
    });
    let heard = b"\x81\x15somebody came or went";
    assert_eq!(peers[0].take(), heard);
    peers[1].reset();
    assert_eq!(peers[0].take(), heard);
    say(&peers[0], "x");
    assert_eq!(peers[0].take(), b"\x81\x01x");
}

#[test]
fn a_clients_session_has_no_groups() {
    let mut connect = Box::pin(Client::<Sim>::new("ws://server").connect());
    assert!(poll(&mut connect).is_none());
    let server = Sim::dialled();
    server.send(&accept(&server.take()));
    let session = poll(&mut connect).unwrap().unwrap();
    assert_eq!(session.join("tea"), Err(JoinError::NotServer));
    assert!(session.hub().is_none() && session.groups().is_empty());
    assert!(!session.leave("tea") && session.leave_all() == 0);
    assert_eq!(session.others_in("tea").group("coffee").send("x"), Delivery::default());
}

// The hub.

#[test]
fn a_hub_is_there_before_its_server_and_after_it() {
    let server = websocket().max_groups(1);
    let hub: Hub = server.hub();
    assert_eq!((hub.count(), hub.all().send("x")), (0, Delivery::default()));
    let (rooms, running, [a, b]) = rooms::<2>(server);
    assert_eq!(hub.sessions(), [rooms.session(0), rooms.session(1)]);
    assert_eq!(running.sessions(), hub.sessions());
    assert_eq!((hub.count(), running.count()), (2, 2));
    rooms.session(0).join("tea").unwrap();
    assert_eq!(rooms.session(0).join("coffee"), Err(JoinError::TooMany { limit: 1 }));
    drop(running);
    a.end();
    b.end();
    Sim::run();
    assert_eq!((hub.count(), hub.groups().len(), hub.sessions().len()), (0, 0, 0));
    assert_eq!(hub.all().send("x"), Delivery::default());
}

#[test]
fn all_may_be_closed_and_the_server_goes_on() {
    let (rooms, running, [a, b]) = rooms::<2>(websocket());
    assert_eq!(running.close_all(), 2);
    assert_eq!(a.take(), b"\x88\x02\x03\xe8");
    assert_eq!(rooms.session(1).state(), State::Closing);
    let closing = |session: &Session| session.state() == State::Closing;
    assert!(running.sessions().iter().all(closing) && running.session(1).is_some());
    assert_eq!(running.hub().all().send("x"), delivery(0, 0, 2));
    b.reset();
    a.send(&masked(0x88, b"\x03\xe8"));
    a.end();
    let reason = rooms.session(0).reason().unwrap();
    assert_eq!((reason.side, reason.cause, reason.clean), (Side::Local, Cause::Closed, true));
    assert_eq!(running.count(), 0);
    let next = Sim::dial();
    next.send(REQUEST);
    next.take();
    assert_eq!(running.session(3).unwrap(), rooms.session(2));
}

/// A handler that holds on to its own server.
struct Owner {
    _hub: Hub,
    _token: Arc<()>,
}

impl Handler for Owner {
    async fn on_connected(&self, session: &Session) {
        session.join("hall").unwrap();
    }
}

#[test]
fn a_handler_with_a_hub_is_dropped_when_all_is_over() {
    let (server, token) = (websocket(), Arc::new(()));
    let owner = Owner { _hub: server.hub(), _token: token.clone() };
    let running = start(server.handler(owner));
    let peer = Sim::dial();
    peer.send(REQUEST);
    let session = running.session(1).unwrap();
    drop(running);
    assert_eq!(Arc::strong_count(&token), 2);
    peer.reset();
    assert_eq!(session.hub().unwrap().groups().len(), 0);
    assert_eq!(Arc::strong_count(&token), 1, "though a session is still held");
}

// Broadcasts.

#[test]
fn several_groups_hear_it_once_and_some_are_left_out() {
    let (rooms, running, peers) = rooms::<5>(websocket());
    let hub = running.hub();
    for (at, groups) in ["ab", "abc", "b", "c", ""].iter().enumerate() {
        for at_name in 0..groups.len() {
            rooms.session(at).join(&groups[at_name..=at_name]).unwrap();
        }
    }
    let heard = |delivery: Delivery| {
        let heard = peers.each_ref().map(|peer| peer.take().len() / 3);
        assert_eq!(heard.iter().sum::<usize>(), delivery.queued);
        heard
    };
    assert_eq!(heard(hub.all().send("x")), [1, 1, 1, 1, 1]);
    assert_eq!(heard(hub.group("a").group("b").send("x")), [1, 1, 1, 0, 0]);
    assert_eq!(heard(hub.group("b").group("c").group("a").group("b").send("x")), [1, 1, 1, 1, 0]);
    assert_eq!(heard(hub.all().except_group("b").send("x")), [0, 0, 0, 1, 1]);
    let (two, five) = (rooms.session(1), rooms.session(4));
    assert_eq!(heard(hub.all().except(&two).except(&five).send("x")), [1, 0, 1, 1, 0]);
    assert_eq!(heard(two.others_in("a").group("c").send("x")), [1, 0, 0, 1, 0]);
    assert_eq!(heard(hub.group("nothing").send("x")), [0; 5]);
}

#[test]
fn text_and_binary_arrive_as_what_they_are_and_large_ones_too() {
    let (_, running, [a, b]) = rooms::<2>(websocket());
    let all = running.hub().all();
    let large = Prepared::new(&vec![7; 70_000]);
    let sent = [all.send("text"), all.send(b"bin"), all.send(""), all.send_prepared(&large)];
    assert!(sent.iter().all(|delivery| delivery.queued == 2));
    for peer in [a, b] {
        let taken = peer.take();
        assert_eq!(taken[..13], *b"\x81\x04text\x82\x03bin\x81\0");
        assert_eq!(taken[13..23], *b"\x82\x7f\0\0\0\0\0\x01\x11\x70");
        assert_eq!(taken.len(), 23 + 70_000);
    }
}

#[test]
fn framed_sessions_get_it_in_their_framing_or_are_counted() {
    let rooms = Rooms::default();
    let running =
        start(Server::bind("127.0.0.1:80").framed(Delimiter::lines()).handler(rooms.clone()));
    let peers = [Sim::dial(), Sim::dial()];
    Sim::run();
    assert_eq!(running.hub().all().send("to all"), delivery(2, 0, 0));
    let two_lines = running.hub().all().send("one\ntwo");
    assert_eq!((two_lines.queued, two_lines.unframed), (0, 2));
    assert_eq!(peers.map(|peer| peer.take()), [b"to all\n", b"to all\n"]);
}

#[test]
fn a_stuck_member_costs_the_others_nothing() {
    let (rooms, running, [stuck, healthy, gone]) = rooms::<3>(websocket().max_pending_send(1_000));
    let all = running.hub().all();
    stuck.narrow(0);
    gone.reset();
    assert_eq!(all.send(&[7; 600]), delivery(2, 0, 1));
    for _ in 0..100 {
        assert_eq!(healthy.take().len(), 604);
        assert_eq!(all.send(&[7; 600]), delivery(1, 1, 1));
    }
    assert_eq!(healthy.take().len(), 604);
    assert_eq!(rooms.session(0).buffered(), 604, "it keeps the one that fitted");
    Sim::pass(seconds(30));
    assert_eq!(rooms.session(0).reason().unwrap().cause, Cause::StallTimeout);
    assert_eq!(running.hub().all().send("x"), delivery(1, 0, 0));
}

#[test]
fn a_broadcast_may_wait_for_the_slow_and_gives_up_only_the_stuck() {
    let (rooms, running, [slow, stuck, healthy]) = rooms::<3>(websocket().max_pending_send(1_000));
    let all = || running.hub().all();
    slow.narrow(100);
    stuck.narrow(0);
    assert_eq!(all().send(&[7; 600]).queued, 3);
    healthy.take();
    let mut waits = Box::pin(all().send_wait(&[8; 600]));
    assert_eq!(healthy.take().len(), 0, "nothing happens before it is polled");
    assert!(poll(&mut waits).is_none());
    assert_eq!(healthy.take().len(), 604, "at once");
    let mut dropped = Box::pin(all().except(&rooms.session(2)).send_wait(&[9; 600]));
    assert!(poll(&mut dropped).is_none());
    drop(dropped);
    assert_eq!(slow.take().len(), 604);
    assert!(poll(&mut waits).is_none(), "one is stuck");
    assert_eq!(slow.take(), [&[0x82, 126, 2, 88], &[8; 600][..]].concat());
    Sim::pass(seconds(29));
    assert!(poll(&mut waits).is_none());
    Sim::pass(seconds(1));
    assert_eq!(poll(&mut waits), Some(delivery(2, 0, 1)));
    assert_eq!(rooms.session(1).reason().unwrap().cause, Cause::StallTimeout);
}

#[test]
fn a_broadcast_that_waits_is_woken_by_the_room_that_it_waits_for() {
    let (_, running, peers) = rooms::<2>(websocket().max_pending_send(1_000));
    let hub = running.hub();
    peers.each_ref().iter().for_each(|peer| peer.narrow(100));
    let journal = Journal::default();
    let notes = journal.clone();
    let broadcasts = async move {
        for _ in 0..10 {
            let delivery = hub.all().send_wait(&[7; 600]).await;
            notes.note(format!("{delivery:?}"));
        }
    };
    Sim.spawn(broadcasts).unwrap();
    Sim::run();
    assert_eq!(journal.take().len(), 1);
    let mut read = [0; 2];
    while read != [10 * 604; 2] {
        let taken = peers.each_ref().map(|peer| peer.take().len());
        assert_ne!(taken, [0; 2], "it goes on when both have read");
        read = [read[0] + taken[0], read[1] + taken[1]];
        assert!(read[0].abs_diff(read[1]) <= 2 * 604, "the faster waits for the slower");
    }
    assert_eq!(journal.take(), vec![format!("{:?}", delivery(2, 0, 0)); 9]);
}

// Calls that wait for nobody.

/// Answers each change with the next, for a while.
#[derive(Default)]
struct Restless {
    told: Mutex<Vec<usize>>,
}

const CHANGES: usize = 5_000;

impl Handler for Restless {
    fn on_group(&self, change: &GroupChange) {
        let mut told = self.told.lock().unwrap();
        told.push(change.members);
        let goes_on = told.len() < CHANGES;
        drop(told);
        match change.joined {
            _ if !goes_on => {}
            true => drop(change.session.leave("x")),
            false => drop(change.session.join("x")),
        }
    }
}

#[test]
fn a_join_tells_a_share_and_a_task_the_rest_in_order() {
    let handler = Arc::new(Restless::default());
    let running = start(Server::bind("127.0.0.1:80").handler(handler.clone()));
    let _peer = Sim::dial();
    Sim::run();
    let session = running.session(1).unwrap();
    assert_eq!(session.join("x"), Ok(true));
    assert_eq!(handler.told.lock().unwrap().len(), 65, "its own change, and 64 more");
    Sim::pass(seconds(1));
    let told = handler.told.lock().unwrap();
    assert!(told.iter().copied().eq((0..CHANGES).map(|at| (at + 1) % 2)), "in order, all of them");
    drop(told);
    assert_eq!(session.join("x"), Ok(true));
    assert_eq!(handler.told.lock().unwrap().len(), CHANGES + 1, "nobody else tells now");
}

#[test]
fn a_closing_session_is_in_every_view_until_it_has_ended() {
    let (_, running, [a, _b]) = rooms::<2>(websocket());
    say(&a, "+tea");
    let (hub, session) = (running.hub(), running.session(1).unwrap());
    session.close();
    Sim::run();
    assert_eq!(session.state(), State::Closing);
    assert_eq!((hub.count(), running.count(), hub.member_count("tea")), (2, 2, 1));
    assert_eq!(
        (hub.session(1), running.session(1)),
        (Some(session.clone()), Some(session.clone()))
    );
    assert_eq!(
        (hub.sessions().len(), running.sessions().len(), hub.all().sessions().len()),
        (2, 2, 2)
    );
    assert_eq!(hub.group("tea").sessions(), std::slice::from_ref(&session));
    assert_eq!(hub.all().send("x"), delivery(1, 0, 1), "and is told of where it is sent to");
    a.send(&masked(0x88, b"\x03\xe8"));
    assert_eq!(session.state(), State::Closed);
    assert_eq!((hub.count(), hub.member_count("tea"), hub.session(1)), (1, 0, None));
    assert_eq!((hub.sessions().len(), hub.all().sessions().len()), (1, 1));
    assert!(session.groups().is_empty(), "after its last event");
}
