//! Code of the application that panics, fails, waits for ever or is slow, in every place where
//! it is called: its own session ends once, others go on, accepting goes on, a stop returns.
//!
//! In virtual time; `conformance/tests/scenarios/contained.rs` plays the same on real runtimes.
#![allow(clippy::unwrap_used)]

mod saboteur;
mod sim;

use std::io;
use std::ops::Range;

use saboteur::{Failing, Hook, Saboteur, quiet_panics};
use sim::tools::{Journal, masked, poll, seconds, start, websocket};
use sim::{Peer, Sim};
use storm_proto::framing::{Decoded, Framer, FramingError};
use storm_proto::service::{ErrorContext, Running, Runtime, Server, Stopped};
use storm_proto::{SendError, SlowConsumer};

/// What the victim does so that the hook is called.
fn trigger(hook: Hook, victim: &Peer) {
    match hook {
        Hook::Control => victim.send(&masked(0x89, b"ping").repeat(3)),
        // A frame without a mask.
        Hook::Error | Hook::MiddlewareError => victim.send(b"\x81\x02hi"),
        Hook::Lag => victim.send(&masked(0x81, b"flood")),
        _ => victim.send(&masked(0x81, b"hi")),
    }
}

fn open(path: &str) -> Peer {
    let peer = Sim::dial();
    peer.send(
        format!(
            "GET {path} HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
        .as_bytes(),
    );
    peer
}

/// A session that works.
fn healthy() -> Peer {
    let peer = open("/");
    let answer = peer.take();
    assert!(answer.starts_with(b"HTTP/1.1 101"), "{}", answer.escape_ascii());
    peer
}

fn assert_echo(peer: &Peer) {
    peer.send(&masked(0x81, b"echo"));
    assert_eq!(peer.take(), b"\x81\x04echo");
}

fn stop(running: Running<Sim>) -> Stopped {
    let mut stopping = Box::pin(async move { running.stop(seconds(30)).await });
    for _ in 0..60 {
        if let Some(stopped) = poll(&mut stopping) {
            return stopped;
        }
        Sim::pass(seconds(1));
    }
    panic!("a stop returns");
}

/// Plays one row of the matrix.
fn play(hook: Hook, failing: Failing) {
    let row = format!("{hook:?} x {failing:?}");
    let saboteur = Saboteur::new(hook, failing, || Box::pin(nap()));
    let server = websocket().slow_consumer(SlowConsumer::Drop).max_pending_send(1_000);
    let running = start(server.middleware(saboteur.clone()).handler(saboteur.clone()));
    let victim = open("/victim");
    let other = healthy();
    trigger(hook, &victim);
    assert_echo(&other);
    // A call that never returns keeps its session from closing by itself, and from nothing else.
    saboteur.victim().inspect(|session| session.close());
    victim.end();
    Sim::pass(seconds(20));
    assert!(victim.is_ended(), "{row}: the connection of the victim is over");
    assert_echo(&other);
    assert_echo(&healthy());
    assert!(saboteur.failed() > 0, "{row}: it was called");
    if hook == Hook::Control {
        assert_eq!(saboteur.failed(), 1, "{row}: and not again");
    }
    let stopped = stop(running);
    let stuck = (hook, failing) == (Hook::Disconnected, Failing::Never);
    assert_eq!(stopped.stuck, usize::from(stuck), "{row}");
    saboteur.assert_every_session_ended_once(&row);
}

async fn nap() {
    Sim.sleep_until(Sim::now() + seconds(1)).await;
}

#[test]
fn whatever_a_hook_does_ends_its_own_session_once() {
    quiet_panics();
    for hook in Hook::ALL {
        for failing in Failing::ALL.into_iter().filter(|failing| hook.can(*failing)) {
            // A network, a clock and tasks of its own for each.
            std::thread::spawn(move || play(hook, failing)).join().unwrap();
        }
    }
}

// Framers.

/// Makes something of a line, which ends at the number, and all behind it.
type Decode = fn(&[u8], usize) -> Decoded;

/// Lines, but for some that the framer cannot take.
#[derive(Debug)]
struct Lines {
    decoded: Decode,
    /// What it does where it is to encode "bad".
    bad: Bad,
}

#[derive(Clone, Copy, PartialEq, Debug)]
enum Bad {
    Nothing,
    Head,
    HalfHead,
    Tail,
    EmptyTail,
    Error,
}

impl Framer for Lines {
    fn decode(&self, buffered: &[u8], _: &mut usize) -> Result<Decoded, FramingError> {
        Ok(match buffered.iter().position(|byte| *byte == b'\n') {
            Some(end) if buffered[..end] == *b"break" => (self.decoded)(buffered, end),
            Some(end) => Decoded::Message { payload: 0..end, consumed: end + 1 },
            None => Decoded::More { at_least: 1 },
        })
    }

    fn encode_head(&self, payload: &[u8], out: &mut Vec<u8>) -> Result<(), FramingError> {
        assert!(out.is_empty(), "what others have queued is not shown");
        match self.bad {
            _ if payload != b"bad" => Ok(()),
            Bad::Head => panic!("on purpose"),
            Bad::HalfHead => {
                out.extend_from_slice(b"half");
                panic!("on purpose")
            }
            Bad::Error => {
                out.extend_from_slice(b"half");
                Err(FramingError::Custom("not this one"))
            }
            _ => Ok(()),
        }
    }

    fn encode_tail(&self, payload: &[u8], out: &mut Vec<u8>) {
        out.push(b'\n');
        if payload == b"bad" && self.bad == Bad::Tail {
            panic!("on purpose");
        }
        if payload == b"bad" && self.bad == Bad::EmptyTail {
            out.clear();
        }
    }
}

/// Starts an echo that notes how its sessions end.
fn lines(framer: Lines, policy: SlowConsumer) -> (Journal, Running<Sim>) {
    let (journal, server) = (Journal::default(), Server::<Sim>::bind("127.0.0.1:80"));
    let note = journal.clone();
    let server = server
        .framed(framer)
        .slow_consumer(policy)
        .on_message(|session, message| session.send(message).is_ok())
        .on_disconnected(move |session, reason| {
            note.note(format!("{} {:?} {reason}", session.id(), reason.side));
        });
    (journal, start(server))
}

#[test]
fn a_framer_that_fails_to_decode_ends_its_session_once() {
    quiet_panics();
    let rows: [(Decode, &str); 6] = [
        (|_, _| panic!("on purpose"), "the framer panicked"),
        (
            |all, _| Decoded::Message { payload: 0..1, consumed: all.len() + 1 },
            "the framer broke its contract: it consumed more than it was shown",
        ),
        (
            |_, _| Decoded::Message { payload: 0..0, consumed: 0 },
            "the framer broke its contract: it found a message and consumed nothing",
        ),
        (
            |_, end| Decoded::Message { payload: 0..end + 1, consumed: end },
            "the framer broke its contract: the payload lies outside of what it consumed",
        ),
        (
            |_, end| Decoded::Message { payload: Range { start: 2, end: 1 }, consumed: end },
            "the framer broke its contract: the payload lies outside of what it consumed",
        ),
        (
            |_, _| Decoded::More { at_least: usize::MAX },
            "the peer broke the protocol: a message is over the limit of 16842752 bytes",
        ),
    ];
    for (decoded, why) in rows {
        std::thread::spawn(move || {
            let framer = Lines { decoded, bad: Bad::Nothing };
            let (journal, running) = lines(framer, SlowConsumer::Wait);
            let (victim, other) = (Sim::dial(), Sim::dial());
            victim.send(b"one\nbreak\ntwo\n");
            victim.send(b"break\n");
            assert_eq!(victim.take(), b"one\n");
            assert!(victim.is_ended(), "{why}");
            victim.end();
            let side = if why.starts_with("the peer") { "Remote" } else { "Local" };
            assert_eq!(journal.take(), [format!("1 {side} {why}")]);
            other.send(b"still\n");
            assert_eq!(other.take(), b"still\n");
            assert_eq!(stop(running).stuck, 0);
        })
        .join()
        .unwrap();
    }
}

#[test]
fn a_framer_that_fails_to_encode_leaves_no_half_frame() {
    quiet_panics();
    let policies = [SlowConsumer::Wait, SlowConsumer::Drop, SlowConsumer::DropOldest];
    let panics = [Bad::Head, Bad::HalfHead, Bad::Tail];
    for bad in panics.into_iter().chain([Bad::EmptyTail, Bad::Error]) {
        for policy in policies {
            std::thread::spawn(move || {
                let decoded = |_: &[u8], _| Decoded::More { at_least: 1 };
                let (journal, running) = lines(Lines { decoded, bad }, policy);
                let (victim, other) = (Sim::dial(), Sim::dial());
                victim.send(b"one\ntwo\nbad\nthree\n");
                let (sent, ends) = match bad {
                    _ if !panics.contains(&bad) => (&b"one\ntwo\nthree\n"[..], vec![]),
                    _ => (&b"one\ntwo\n"[..], vec!["1 Local the framer panicked".to_owned()]),
                };
                assert_eq!(victim.take(), sent, "{bad:?} {policy:?}");
                victim.end();
                Sim::run();
                if panics.contains(&bad) {
                    assert_eq!(journal.take(), ends, "{bad:?} {policy:?}");
                }
                let session = running.session(2).unwrap();
                let everybody = running.hub().all();
                let sending = std::thread::spawn(move || (session.send("bad"), session.send("x")));
                let (refused, after) = sending.join().unwrap();
                assert!(matches!(refused, Err(SendError::Framing(_))), "{refused:?}");
                assert_eq!(after.is_ok(), !panics.contains(&bad), "the panic has ended it");
                let third = Sim::dial();
                third.send(b"hello\n");
                assert_eq!(third.take(), b"hello\n");
                assert_eq!(running.hub().all().send("bad").queued, 0);
                assert_eq!(everybody.send("bad").queued, 0);
                drop(other.take());
                assert!(third.take().is_empty());
                other.end();
                third.end();
                assert_eq!(stop(running).stuck, 0);
            })
            .join()
            .unwrap();
        }
    }
}

// Where there is no session.

#[test]
fn on_error_that_panics_or_hangs_does_not_stop_accepting() {
    quiet_panics();
    for failing in [Failing::Panic, Failing::PanicAtOnce, Failing::Never, Failing::Slow] {
        std::thread::spawn(move || {
            let saboteur = Saboteur::new(Hook::Accepting, failing, || Box::pin(nap()));
            let server = websocket().middleware(saboteur.clone());
            let running = start(server.handler(saboteur.clone()));
            for _ in 0..100 {
                Sim::fail_accept(io::ErrorKind::OutOfMemory.into());
                Sim::pass(seconds(1));
                assert_echo(&healthy());
            }
            assert!(saboteur.failed() >= 16, "{failing:?}: told, one after the other");
            assert_eq!(stop(running).stuck, 0);
        })
        .join()
        .unwrap();
    }
}

#[test]
fn a_stranger_that_goes_away_is_no_error() {
    let journal = Journal::default();
    let note = journal.clone();
    let on_error =
        move |context: &ErrorContext, error: &_| note.note(format!("{context}: {error}"));
    let running = start(websocket().on_error(on_error));
    Sim::dial().reset();
    Sim::dial().end();
    let scanner = Sim::dial();
    scanner.send(b"GET / HT");
    scanner.reset();
    Sim::fail_accept(io::ErrorKind::ConnectionAborted.into());
    Sim::pass(seconds(20));
    assert!(journal.take().is_empty());
    assert_eq!(running.metrics().unopened.failed, 3, "but counted");
}

#[test]
fn on_error_names_the_peer_where_there_is_no_session() {
    let journal = Journal::default();
    let note = journal.clone();
    let on_error =
        move |context: &ErrorContext, error: &_| note.note(format!("{context}: {error}"));
    let _running = start(websocket().on_error(on_error));
    let _silent = Sim::dial();
    Sim::pass(seconds(20));
    Sim::fail_accept(io::ErrorKind::OutOfMemory.into());
    Sim::pass(seconds(1));
    healthy().send(b"\x81\x02hi");
    Sim::pass(seconds(20));
    let told = [
        "127.0.0.1:50000: the handshake deadline passed",
        "accepting: out of memory",
        "session 1 (127.0.0.1:50000): the peer broke the protocol: a client frame is not masked",
    ];
    assert_eq!(journal.take(), told);
}
