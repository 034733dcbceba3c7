//! Code of the application that panics, fails, waits for ever or is slow, in every place where
//! it is called: its own session ends once, others go on, accepting goes on, a stop returns.
//!
//! In virtual time; `conformance/tests/scenarios/contained.rs` plays the same on real runtimes.
#![allow(clippy::unwrap_used)]

mod saboteur;
mod sim;

use std::io;

use saboteur::{Failing, Hook, Saboteur, quiet_panics};
use sim::tools::{Journal, masked, poll, seconds, start, websocket};
use sim::{Peer, Sim};
use storm_proto::SlowConsumer;
use storm_proto::service::{ErrorContext, Running, Runtime, Stopped};

/// What the victim does so that the hook is called.
fn trigger(hook: Hook, victim: &Peer) {
    match hook {
        Hook::Control => victim.send(&masked(0x89, b"ping")),
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
