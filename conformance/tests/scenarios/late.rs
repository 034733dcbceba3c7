//! Times that are taken late. What is suspended beyond a deadline has a test of its own,
//! `tests/late.rs`: that takes a process.

use std::time::{Duration, Instant};

use storm_proto::Heartbeat;

use super::harness::{Harness, teller, until};
use super::raw::Raw;

pub(crate) fn a_round_trip_ends_when_the_pong_arrives<H: Harness>() {
    const DISTANCE: Duration = Duration::from_millis(30);
    let (teller, told) = teller();
    let beat = Heartbeat::every(Duration::from_millis(100)).missed(100);
    let server = H::server().websocket(H::settings().heartbeat(beat)).handler(teller);
    let server = H::start(server);
    let mut peer = Raw::websocket(server.address());
    let session = told.connected();
    let (first, payload) = peer.frame();
    let begun = Instant::now();
    assert_eq!(first, 0x89);
    until(|| begun.elapsed() >= DISTANCE);
    // Another ping may have been sent meanwhile: only the last one measures.
    peer.send_frame(0x8A, &payload);
    while session.round_trip().is_none() {
        let (_, payload) = peer.frame();
        let begun = Instant::now();
        until(|| begun.elapsed() >= DISTANCE);
        peer.send_frame(0x8A, &payload);
    }
    assert!(session.round_trip().unwrap() >= DISTANCE, "{:?}", session.round_trip());
}
