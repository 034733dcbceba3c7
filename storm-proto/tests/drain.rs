//! How a server is shut down, in virtual time.
#![allow(clippy::unwrap_used)]

mod sim;

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};
use std::time::Duration;

use sim::tools::{Journal, masked, poll, seconds, start};
use sim::{Peer, Sim};
use storm_proto::framing::Delimiter;
use storm_proto::service::{Handler, Running, Session, State, Stopped};
use storm_proto::websocket::handshake::{Accept, Decision, Request, Response};
use storm_proto::{CloseCode, DisconnectReason, Drain, Heartbeat, Message, WebSocket};

type Server<H = storm_proto::service::Callbacks> = storm_proto::service::Server<Sim, H>;

const UPGRADE: &str = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

/// Ten seconds of waves, thirty in all.
const DRAIN: Drain = Drain::new().retry_after(Duration::from_millis(14_200));

/// Tells who came and went; decides on `/slow` when the test says so.
#[derive(Clone, Default)]
struct Scribe {
    journal: Journal,
    gate: Gate,
}

impl Handler for Scribe {
    async fn on_connecting(&self, request: &Request) -> Decision {
        match request.path() {
            "/health" => Response::new(200).body("well").into(),
            "/slow" => {
                self.gate.pass().await;
                Accept::new().into()
            }
            _ => Accept::new().into(),
        }
    }

    async fn on_message(&self, session: &Session, message: Message<'_>) {
        match message.as_text() {
            Some("hang") => std::future::pending().await,
            _ => session.send(message).unwrap(),
        }
    }

    async fn on_disconnected(&self, session: &Session, reason: &DisconnectReason) {
        if session.get::<Hanging>().is_some() {
            std::future::pending().await
        }
        self.journal.note(format!("{} {:?} {}", session.id(), reason.cause, reason.clean));
    }
}

/// Marks a session whose last event never ends.
#[derive(Clone)]
struct Hanging;

/// Shut until it is opened.
#[derive(Clone, Default)]
struct Gate(Arc<Mutex<(bool, Option<Waker>)>>);

impl Gate {
    fn open(&self) {
        let mut gate = self.0.lock().unwrap();
        gate.0 = true;
        gate.1.take().into_iter().for_each(Waker::wake);
    }

    async fn pass(&self) {
        poll_fn(|cx| {
            let mut gate = self.0.lock().unwrap();
            gate.1 = Some(cx.waker().clone());
            if gate.0 { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }
}

fn scribe() -> (Scribe, Running<Sim>) {
    let scribe = Scribe::default();
    let websocket = WebSocket::new().heartbeat(Heartbeat::off());
    let server = Server::bind("127.0.0.1:80").websocket(websocket).close_timeout(seconds(60));
    (scribe.clone(), start(server.handler(scribe)))
}

fn ask(path: &str, lines: &str) -> Peer {
    let peer = Sim::dial();
    peer.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\n{lines}\r\n").as_bytes());
    peer
}

fn open() -> Peer {
    let peer = ask("/", UPGRADE);
    assert!(peer.take().starts_with(b"HTTP/1.1 101 "));
    peer
}

/// Answers the Close frame, as a browser does.
fn answer(peer: &Peer, code: &[u8]) {
    let said = peer.take();
    assert!(said.ends_with(&[b"\x88\x02", code].concat()), "{}", said.escape_ascii());
    peer.send(&masked(0x88, code));
    assert!(peer.is_ended(), "the server ends the stream first");
    peer.end();
}

/// Lets time pass, and the shutdown with it; true once it is over.
fn pass<F: Future<Output = Stopped>>(
    shutdown: &mut Pin<Box<F>>,
    duration: Duration,
) -> Option<Stopped> {
    Sim::pass(duration);
    poll(shutdown)
}

#[test]
fn sessions_are_told_to_go_one_after_the_other_and_all_go_in_order() {
    let (scribe, running) = scribe();
    let peers = [open(), open(), open()];
    running.session(3).unwrap().send("last words").unwrap();
    Sim::run();
    let drain = DRAIN.code(CloseCode::SERVICE_RESTART);
    let mut shutdown = Box::pin(running.shutdown(drain));
    assert!(poll(&mut shutdown).is_none());
    answer(&peers[0], b"\x03\xf4");
    peers[1].send(&masked(0x81, b"still here"));
    assert_eq!(peers[1].take(), b"\x81\x0astill here", "the others go on");

    assert!(pass(&mut shutdown, Duration::from_millis(4_999)).is_none());
    assert!(peers[1].take().is_empty());
    assert!(pass(&mut shutdown, Duration::from_millis(2)).is_none());
    answer(&peers[1], b"\x03\xf4");
    assert!(pass(&mut shutdown, seconds(5)).is_none());
    answer(&peers[2], b"\x03\xf4");
    let stopped = Sim::block_on(shutdown);
    assert_eq!((stopped.connections, stopped.clean, stopped.aborted), (3, 3, 0));
    assert_eq!((stopped.undelivered, stopped.stuck), (0, 0));
    assert_eq!(stopped.took, Duration::from_millis(10_001));
    assert_eq!(scribe.journal.take(), ["1 GoingAway true", "2 GoingAway true", "3 GoingAway true"]);
}

#[test]
fn newcomers_are_told_when_to_come_back_and_others_are_served_until_the_last_is_gone() {
    let (_, running) = scribe();
    let peer = open();
    let mut shutdown = Box::pin(running.shutdown(DRAIN));
    assert!(poll(&mut shutdown).is_none());
    assert!(running.hub().is_stopping());

    let late = ask("/", UPGRADE);
    let refusal = String::from_utf8(late.take()).unwrap();
    assert!(refusal.starts_with("HTTP/1.1 503 "), "{refusal}");
    assert!(refusal.contains("\r\nRetry-After: 15\r\n"), "{refusal}");
    assert!(refusal.contains("\r\nConnection: close\r\n"), "{refusal}");
    assert!(late.is_ended() && !late.is_reset(), "and it arrives");
    late.end();
    let health = ask("/health", "");
    assert!(health.take().ends_with(b"\r\n\r\nwell"));
    health.end();

    answer(&peer, b"\x03\xe9");
    let stopped = Sim::block_on(shutdown);
    assert_eq!((stopped.clean, stopped.aborted, stopped.took), (1, 0, Duration::ZERO));
    assert_eq!((running.metrics().unopened.answered, running.metrics().sessions.opened), (2, 1));
    let after = ask("/", UPGRADE);
    assert!(after.take().is_empty(), "nobody listens any more");
}

#[test]
fn a_request_that_was_being_decided_on_is_refused_as_well() {
    let (scribe, running) = scribe();
    let (slow, _open) = (ask("/slow", UPGRADE), open());
    let mut shutdown = Box::pin(running.shutdown(DRAIN));
    assert!(poll(&mut shutdown).is_none());
    assert!(slow.take().is_empty() && !slow.is_ended(), "it may still get its answer");
    scribe.gate.open();
    assert!(slow.take().starts_with(b"HTTP/1.1 503 "));
}

#[test]
fn what_is_left_when_the_time_is_over_is_cut_off_and_told_of() {
    let (scribe, running) = scribe();
    let (deaf, busy, lost, silent) = (open(), open(), open(), Sim::dial());
    busy.send(&masked(0x81, b"hang"));
    lost.narrow(0);
    running.session(3).unwrap().send(&[7; 900]).unwrap();
    running.session(1).unwrap().insert(Hanging);
    let mut shutdown = Box::pin(running.shutdown(Drain::new().within(seconds(4)).over(seconds(1))));
    assert!(poll(&mut shutdown).is_none());
    assert!(pass(&mut shutdown, Duration::from_millis(3_999)).is_none());
    assert!(!deaf.is_reset() && !silent.is_ended());
    assert!(pass(&mut shutdown, Duration::from_millis(1)).is_none(), "the drivers have their turn");
    assert!(deaf.is_reset() && busy.is_reset() && lost.is_reset() && silent.is_reset());
    assert!(poll(&mut shutdown).is_none(), "one handler does not return");
    let stopped = pass(&mut shutdown, seconds(1)).expect("it is not waited for any longer");
    assert_eq!((stopped.connections, stopped.aborted), (4, 4));
    assert_eq!((stopped.clean, stopped.stuck), (0, 1));
    assert_eq!(
        (stopped.undelivered, stopped.took),
        (900, seconds(5)),
        "the close frame does not count"
    );
    assert_eq!(scribe.journal.take(), ["2 GoingAway false", "3 GoingAway false"]);
}

#[test]
fn a_shutdown_that_is_given_up_leaves_the_rest_to_a_stop() {
    let (_, running) = scribe();
    let (first, second) = (open(), open());
    let mut shutdown = Box::pin(running.shutdown(DRAIN));
    assert!(poll(&mut shutdown).is_none());
    drop(shutdown);
    Sim::pass(seconds(100));
    answer(&first, b"\x03\xe9");
    second.send(&masked(0x81, b"still here"));
    assert_eq!(second.take(), b"\x81\x0astill here", "nobody else is told");
    assert!(ask("/", UPGRADE).take().starts_with(b"HTTP/1.1 503 "), "nobody comes in");
    let mut stop = Box::pin(running.stop(seconds(1)));
    assert!(poll(&mut stop).is_none());
    answer(&second, b"\x03\xe9");
    let stopped = Sim::block_on(stop);
    assert_eq!((stopped.connections, stopped.clean, stopped.took), (1, 1, Duration::ZERO));
}

#[test]
fn plain_tcp_has_no_such_answer_and_accepts_nothing_from_the_start() {
    let lines = Server::bind("127.0.0.1:80").framed(Delimiter::lines());
    let running = start(lines.on_message(|session, message| session.send(message)));
    let (first, second) = (Sim::dial(), Sim::dial());
    Sim::run();
    let mut shutdown = Box::pin(running.shutdown(DRAIN));
    assert!(poll(&mut shutdown).is_none());
    let late = Sim::dial();
    late.send(b"hello\n");
    assert!(late.take().is_empty());
    assert!(first.is_ended() && !second.is_ended(), "in waves as well");
    second.send(b"hello\n");
    assert_eq!(second.take(), b"hello\n");
    first.end();
    second.end();
    let stopped = Sim::block_on(shutdown);
    assert_eq!((stopped.connections, stopped.clean, stopped.aborted), (2, 2, 0));
}

#[test]
fn a_server_without_sessions_is_gone_at_once() {
    let (_, running) = scribe();
    let mut shutdown = Box::pin(running.shutdown(DRAIN));
    assert!(poll(&mut shutdown).is_none(), "the listener has its turn");
    assert_eq!(Sim::block_on(shutdown).took, Duration::ZERO);
}

#[test]
fn a_dropped_server_says_goodbye_also_when_its_shutdown_was_given_up() {
    let lines = Server::bind("127.0.0.1:80").framed(Delimiter::lines());
    let running = start(lines);
    let (first, second) = (Sim::dial(), Sim::dial());
    Sim::run();
    let mut shutdown = Box::pin(running.shutdown(DRAIN));
    assert!(poll(&mut shutdown).is_none());
    drop(shutdown);
    assert!(first.is_ended() && !second.is_ended());
    drop(running);
    Sim::run();
    assert!(second.is_ended());
}

#[test]
fn a_thousand_sessions_are_spread_evenly() {
    let (_, running) = scribe();
    let peers: Vec<_> = (0..1_000).map(|_| open()).collect();
    let mut shutdown = Box::pin(running.shutdown(DRAIN));
    let mut told = Vec::new();
    for _ in 0..=10 {
        assert!(pass(&mut shutdown, Duration::from_millis(1)).is_none());
        told.push(peers.iter().filter(|peer| peer.waiting() > 0).count());
        for _ in 0..10 {
            assert!(pass(&mut shutdown, Duration::from_millis(100)).is_none());
        }
    }
    assert_eq!(told, [10, 109, 208, 307, 406, 505, 604, 703, 802, 901, 1_000]);
}

// Reports.

fn sum(stopped: &Stopped) -> u64 {
    let ended = stopped.clean + stopped.timed_out + stopped.failed;
    ended + stopped.unopened + stopped.aborted
}

#[test]
fn a_report_has_every_connection_once_however_it_ended() {
    let scribe = Scribe::default();
    let websocket = WebSocket::new().heartbeat(Heartbeat::off());
    let server = Server::bind("127.0.0.1:80").websocket(websocket).close_timeout(seconds(5));
    let running = start(server.handler(scribe.clone()));
    let (polite, mute, vanishes, deaf) = (open(), open(), open(), open());
    let (deciding, silent) = (ask("/slow", UPGRADE), Sim::dial());
    deaf.narrow(0);
    running.session(4).unwrap().send(&[7; 900]).unwrap();
    let mut shutdown = Box::pin(running.shutdown(DRAIN.over(Duration::ZERO)));
    assert!(poll(&mut shutdown).is_none());
    answer(&polite, b"\x03\xe9");
    vanishes.reset();
    assert!(ask("/", UPGRADE).take().starts_with(b"HTTP/1.1 503 "));
    assert!(pass(&mut shutdown, seconds(5)).is_none(), "deaf has 30 s to read");
    assert!(!mute.is_reset() && !silent.is_reset() && !deciding.is_reset());
    let stopped = pass(&mut shutdown, seconds(25)).or_else(|| pass(&mut shutdown, seconds(1)));
    let stopped = stopped.expect("it is over");
    assert_eq!((stopped.clean, stopped.timed_out, stopped.failed), (1, 2, 1), "{stopped:?}");
    assert_eq!((stopped.connections, stopped.aborted, stopped.stuck), (sum(&stopped), 0, 0));
    assert_eq!(stopped.connections, 7);
}

#[test]
fn a_report_of_many_deaf_sessions_names_the_close_timeout() {
    let server = Server::bind("127.0.0.1:80").websocket(WebSocket::new());
    let running = start(server.close_timeout(seconds(5)));
    let peers: Vec<_> = (0..1_000).map(|_| open()).collect();
    let mut shutdown = Box::pin(running.shutdown(DRAIN.over(Duration::ZERO)));
    assert!(poll(&mut shutdown).is_none());
    peers[..400].iter().for_each(|peer| answer(peer, b"\x03\xe9"));
    assert!(pass(&mut shutdown, seconds(5)).is_none(), "the listener has its turn");
    let stopped = poll(&mut shutdown).expect("all deadlines have passed");
    assert_eq!((stopped.connections, stopped.clean, stopped.timed_out), (1_000, 400, 600));
    assert_eq!((stopped.failed, stopped.unopened, stopped.aborted), (0, 0, 0));
}

#[test]
fn a_stuck_handler_is_one_of_those_that_were_aborted() {
    let (_, running) = scribe();
    let (stuck, mute, _silent) = (open(), open(), Sim::dial());
    Sim::run();
    running.session(1).unwrap().insert(Hanging);
    let mut stop = Box::pin(running.stop(seconds(1)));
    assert!(poll(&mut stop).is_none());
    assert!(pass(&mut stop, seconds(1)).is_none());
    let stopped = pass(&mut stop, seconds(1)).expect("it is not waited for any longer");
    assert!(stuck.is_reset() && mute.is_reset());
    assert_eq!((stopped.aborted, stopped.unopened, stopped.stuck), (2, 1, 1));
    assert_eq!(stopped.connections, sum(&stopped));
}

// Lingering.

#[test]
fn a_finished_closing_handshake_ends_a_session_before_the_fin() {
    let (scribe, running) = scribe();
    let (peer, other) = (open(), open());
    let session = running.session(1).unwrap();
    session.join("room").unwrap();
    session.close();
    assert_eq!(peer.take(), b"\x88\x02\x03\xe8");
    assert_eq!((running.count(), session.state()), (2, State::Closing));
    peer.send(&masked(0x88, b"\x03\xe8"));
    Sim::run();
    assert_eq!(scribe.journal.take(), ["1 Closed true"], "without a FIN of the peer");
    assert_eq!((running.count(), running.connections()), (1, 1));
    assert_eq!((running.hub().member_count("room"), session.state()), (0, State::Closed));
    assert!(peer.is_ended() && !peer.is_reset(), "and it gets ours");

    // The peer's own close ends as soon.
    other.send(&masked(0x88, b"\x03\xe8"));
    assert_eq!(other.take(), b"\x88\x02\x03\xe8");
    assert_eq!(scribe.journal.take(), ["2 Closed true"]);
    assert_eq!(running.metrics().lingering, 2);
    let mut stop = Box::pin(running.stop(seconds(8)));
    assert!(poll(&mut stop).is_none(), "the listener has its turn");
    let stopped = poll(&mut stop).expect("nobody waits for them");
    assert_eq!((stopped.connections, stopped.took), (0, Duration::ZERO));

    // They discard what still comes, for a while.
    peer.send(&[0; 1 << 20]);
    assert_eq!((peer.unread(), running.metrics().lingering), (0, 2));
    other.end();
    assert_eq!(running.metrics().lingering, 1);
    Sim::pass(seconds(5));
    assert_eq!(running.metrics().lingering, 0);
    peer.send(b"x");
    assert_eq!(peer.unread(), 1, "nobody reads any more");
}

#[test]
fn a_lingering_connection_keeps_its_place_and_no_more_than_1024_do() {
    let websocket = WebSocket::new().heartbeat(Heartbeat::off());
    let server = Server::bind("127.0.0.1:80").websocket(websocket);
    let running = start(server.max_connections(1_030));
    let close = |peer: &Peer| peer.send(&masked(0x88, b"\x03\xe8"));
    let peers: Vec<_> = (0..1_030).map(|_| open()).collect();
    peers[..1_000].iter().for_each(close);
    Sim::run();
    assert_eq!((running.connections(), running.metrics().lingering), (30, 1_000));
    assert!(ask("/", UPGRADE).take().is_empty(), "the server is full");
    peers[1_000..].iter().for_each(close);
    Sim::run();
    assert_eq!((running.connections(), running.metrics().lingering), (0, 1_024));
    assert_eq!(running.metrics().sessions.clean, 1_030);
    peers[0].end();
    drop(open());
    Sim::pass(seconds(5));
    assert_eq!(running.metrics().lingering, 0);
}

#[test]
fn a_fault_or_a_refusal_ends_as_soon_as_it_is_written() {
    let (scribe, running) = scribe();
    let (rude, refused) = (open(), ask("/health", UPGRADE));
    rude.send(b"\xff\xff");
    assert!(rude.take().starts_with(b"\x88"), "it is told why");
    assert_eq!(scribe.journal.take(), ["1 ProtocolError false"]);
    assert!(refused.take().starts_with(b"HTTP/1.1 200 "));
    assert_eq!((running.connections(), running.metrics().unopened.answered), (0, 1));
    assert_eq!(running.metrics().lingering, 2);
    for peer in [rude, refused] {
        peer.send(&[0; 100_000]);
        assert!(peer.is_ended() && !peer.is_reset() && peer.unread() == 0);
    }
}

#[test]
fn a_peer_that_breaks_a_rule_while_closing_is_not_waited_for() {
    let (scribe, running) = scribe();
    let peer = open();
    running.session(1).unwrap().close();
    assert_eq!(peer.take(), b"\x88\x02\x03\xe8");
    peer.send(b"\xff\xff");
    assert_eq!((scribe.journal.take(), running.connections()), (vec!["1 Closed false".into()], 0));
    assert!(peer.is_ended() && !peer.is_reset());
}
