//! Code of the application that panics, waits for ever or is slow, on real runtimes: the matrix
//! of `storm-proto/tests/contained.rs`, all rows at once.

use std::future::{Future, poll_fn};
use std::io::Write;
use std::net::TcpStream;
use std::pin::Pin;
use std::task::Poll;
use std::thread;
use std::time::Duration;

use storm_proto::SlowConsumer;
use storm_proto::framing::{Decoded, Framer, FramingError};

use super::harness::{Harness, until};
use super::raw::{Raw, frame};
use super::saboteur::{Failing, Hook, Saboteur, quiet_panics};

const REQUEST: &[u8] = b"GET /victim HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

pub(crate) fn whatever_a_hook_does_ends_its_own_session_once<H: Harness>() {
    quiet_panics();
    thread::scope(|scope| {
        for hook in Hook::ALL {
            for failing in Failing::ALL.into_iter().filter(|failing| hook.can(*failing)) {
                scope.spawn(move || play::<H>(hook, failing));
            }
        }
    });
}

/// Plays one row of the matrix.
fn play<H: Harness>(hook: Hook, failing: Failing) {
    let row = format!("{hook:?} x {failing:?}");
    let saboteur = Saboteur::new(hook, failing, nap);
    let server = H::websocket()
        .handshake_timeout(Duration::from_secs(2))
        .close_timeout(Duration::from_millis(500))
        .slow_consumer(SlowConsumer::Drop)
        .max_pending_send(1_000)
        .middleware(saboteur.clone())
        .handler(saboteur.clone());
    let started = H::start(server);
    let mut victim = TcpStream::connect(started.address()).unwrap();
    victim.write_all(REQUEST).unwrap();
    until(|| saboteur.victim().is_some() || saboteur.failed() > 0);
    let mut other = Raw::websocket(started.address());
    if let Some(bytes) = trigger(hook) {
        victim.write_all(&bytes).unwrap();
    }
    if !matches!(hook, Hook::Disconnected | Hook::MiddlewareDisconnect) {
        until(|| saboteur.failed() > 0);
    }
    assert_echo(&mut other);
    // A call that never returns keeps its session from closing by itself, and from nothing else.
    saboteur.victim().inspect(|session| session.close());
    drop(victim);
    // Where it is about a request, the victim may never have had a session.
    let is_over = || hook == Hook::Connecting || saboteur.is_over(1);
    until(|| saboteur.failed() > 0 && is_over());
    assert_echo(&mut other);
    let mut newcomer = Raw::websocket(started.address());
    assert_echo(&mut newcomer);
    drop((other, newcomer));
    let stopped = H::wait(started.running().stop(Duration::from_secs(10)));
    let stuck = (hook, failing) == (Hook::Disconnected, Failing::Never);
    assert_eq!(stopped.stuck, usize::from(stuck), "{row}");
    saboteur.assert_every_session_ended_once(&row);
}

/// What the victim sends so that the hook is called, where being there is not enough.
fn trigger(hook: Hook) -> Option<Vec<u8>> {
    match hook {
        Hook::Message | Hook::Inbound | Hook::Outbound => Some(frame(0x81, 0x80, b"hi")),
        Hook::Control => Some(frame(0x89, 0x80, b"ping")),
        // A frame without a mask.
        Hook::Error | Hook::MiddlewareError => Some(frame(0x81, 0, b"hi")),
        Hook::Lag => Some(frame(0x81, 0x80, b"flood")),
        _ => None,
    }
}

fn assert_echo(peer: &mut Raw) {
    peer.send_frame(0x81, b"echo");
    assert_eq!(peer.frame(), (0x81, b"echo".to_vec()));
}

/// Waits once.
fn nap() -> Pin<Box<dyn Future<Output = ()> + Send>> {
    let mut waited = false;
    Box::pin(poll_fn(move |cx| {
        if std::mem::replace(&mut waited, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }))
}

/// Lines; panics at some of them.
#[derive(Debug)]
struct Lines;

impl Framer for Lines {
    fn decode(&self, buffered: &[u8], _: &mut usize) -> Result<Decoded, FramingError> {
        Ok(match buffered.iter().position(|byte| *byte == b'\n') {
            Some(end) if buffered[..end] == *b"decode" => panic!("on purpose"),
            Some(end) => Decoded::Message { payload: 0..end, consumed: end + 1 },
            None => Decoded::More { at_least: 1 },
        })
    }

    fn encode_head(&self, payload: &[u8], out: &mut Vec<u8>) -> Result<(), FramingError> {
        if payload == b"head" {
            out.extend_from_slice(b"half");
            panic!("on purpose");
        }
        Ok(())
    }

    fn encode_tail(&self, payload: &[u8], out: &mut Vec<u8>) {
        out.push(b'\n');
        assert!(payload != b"tail", "on purpose");
    }
}

pub(crate) fn a_framer_that_panics_ends_its_session_once<H: Harness>() {
    quiet_panics();
    let (sender, ends) = std::sync::mpsc::channel();
    let server = H::server()
        .framed(Lines)
        .on_message(|session, message| session.send(message).is_ok())
        .on_disconnected(move |_, reason| drop(sender.send(reason.to_string())));
    let started = H::start(server);
    let mut other = Raw::connect(started.address());
    for bad in ["decode", "head", "tail"] {
        let mut victim = Raw::connect(started.address());
        victim.send(format!("one\n{bad}\ntwo\n").as_bytes());
        assert_eq!(victim.rest(), b"one\n", "{bad}");
        victim.end();
        assert_eq!(ends.recv().unwrap(), "the framer panicked");
        other.send(b"still\n");
        assert_eq!(other.exactly(6), b"still\n");
    }
    drop(other);
    let stopped = H::wait(started.running().stop(Duration::from_secs(10)));
    assert_eq!(stopped.stuck, 0);
    assert_eq!(ends.iter().count(), 1, "one end each");
}
