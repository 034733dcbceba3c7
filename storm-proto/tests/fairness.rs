//! No peer keeps a worker: turns are counted in events, in virtual time.
#![allow(clippy::unwrap_used)]

mod pipe;
mod sim;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use pipe::{Carried, pipe};
use sim::tools::{masked, start, upgraded, websocket};
use sim::{Peer, Sim};
use storm_proto::framing::{Delimiter, LengthPrefix};
use storm_proto::service::{Handler, MessageStream, Running, Runtime, Server, Session};
use storm_proto::websocket::Role;
use storm_proto::{Message, Options};

/// Events of a turn, as the readme says.
const EVENTS: usize = 1024;

/// Events of a flood.
const FLOOD: usize = 10 * EVENTS;

/// Notes how many turns had been used up when the honest message came.
#[derive(Clone, Default)]
struct Clock(Arc<AtomicUsize>);

impl Handler for Clock {
    async fn on_message(&self, _: &Session, message: Message<'_>) {
        if message.as_bytes() == b"honest" {
            self.0.store(1 + Sim::yields(), Ordering::Relaxed);
        }
    }
}

/// Floods a server, and has it answer another peer meanwhile.
fn is_fair(flooder: &Peer, honest: &Peer, clock: &Clock, flood: &[u8], message: &[u8]) {
    let before = Sim::yields();
    flooder.queue(flood);
    honest.queue(message);
    Sim::run();
    let turns = Sim::yields() - before;
    assert!(turns + 1 >= FLOOD / EVENTS, "{turns} turns were used up");
    let answered = clock.0.load(Ordering::Relaxed);
    assert!((1..=before + 2).contains(&answered), "after {answered} turns, of {turns}");
}

fn websocket_server() -> (Clock, Running<Sim>) {
    let clock = Clock::default();
    (clock.clone(), start(websocket().handler(clock)))
}

#[test]
fn a_turn_of_a_session_has_1024_frames_of_any_kind() {
    let mut fragments = masked(0x02, b"f");
    fragments.extend(masked(0x00, b"f").repeat(FLOOD));
    let floods = [
        masked(0x89, b"").repeat(FLOOD),
        masked(0x8A, b"").repeat(FLOOD),
        masked(0x82, b"f").repeat(FLOOD),
        masked(0x81, b"").repeat(FLOOD),
        fragments,
    ];
    for flood in floods {
        let (clock, _running) = websocket_server();
        is_fair(&upgraded(), &upgraded(), &clock, &flood, &masked(0x82, b"honest"));
    }
}

#[test]
fn a_turn_of_a_session_has_1024_empty_framed_messages() {
    let server = || Server::<Sim>::bind("127.0.0.1:80");
    let clock = Clock::default();
    let _lines = start(server().framed(Delimiter::lines()).handler(clock.clone()));
    is_fair(&Sim::dial(), &Sim::dial(), &clock, &b"\n".repeat(FLOOD), b"honest\n");

    let clock = Clock::default();
    let _length = start(server().framed(LengthPrefix::new()).handler(clock.clone()));
    let flood = [0; 4].repeat(FLOOD);
    is_fair(&Sim::dial(), &Sim::dial(), &clock, &flood, b"\0\0\0\x06honest");
}

#[test]
fn a_stream_whose_messages_are_always_ready_yields() {
    for flood in [masked(0x89, b""), masked(0x82, b"f"), masked(0x00, b"f")] {
        let (near, far) = pipe(1 << 20);
        let mut stream: MessageStream<Carried> =
            MessageStream::from_upgraded(near, Role::Server, Options::default(), b"");
        far.send(&[masked(0x02, b"first"), masked(0x80, b"")].concat());
        let start = if flood[0] == 0 { masked(0x02, b"f") } else { Vec::new() };
        far.send(&[start, flood.repeat(FLOOD)].concat());
        let before = Sim::yields();
        let spawned = Sim.spawn(async move { while let Some(Ok(_)) = stream.next().await {} });
        spawned.unwrap();
        Sim::run();
        let turns = Sim::yields() - before;
        assert!(turns + 1 >= FLOOD / EVENTS, "{turns} turns were used up");
    }
}
