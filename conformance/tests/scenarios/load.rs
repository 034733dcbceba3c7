//! More than fits: back-pressure, in both directions and at once; peers that do nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use storm_proto::framing::LengthPrefix;
use storm_proto::service::{Handler, Session};
use storm_proto::{Cause, Heartbeat, Message, Random, SendError, Side};

use super::harness::{Gate, Harness, teller, until};
use super::raw::Raw;

/// Bytes that no compression makes fewer, if more than a window of them comes before any is
/// repeated.
fn noise(len: usize) -> Vec<u8> {
    let mut random = Random::from_seed(7);
    (0..len.div_ceil(4)).flat_map(|_| random.key()).take(len).collect()
}

pub(crate) fn a_peer_that_does_not_read_bounds_the_memory<H: Harness>() {
    const MESSAGES: usize = 3_000;
    let (handler, told) = teller();
    let server = H::start(H::websocket().max_pending_send(100_000).handler(handler));
    let mut peer = Raw::websocket(server.address());
    let session = told.connected();
    let mut writer = peer.try_clone();
    let writing = std::thread::spawn(move || {
        let noise = noise(100_000);
        noise.chunks(10_000).cycle().take(MESSAGES).for_each(|part| writer.send_frame(0x82, part));
    });
    // 30 MB do not fit into the buffers of the system: the echo comes to a stop, at the latest
    // when answers to one more read, which is half the limit and a message begun before, do
    // not fit beside what waits.
    until(|| session.buffered() >= 100_000 - 50_000 - 10_100);
    for _ in 0..MESSAGES {
        assert!(session.buffered() <= 100_000, "{} bytes are queued", session.buffered());
        assert_eq!(peer.frame().1.len(), 10_000);
    }
    writing.join().unwrap();
    assert_eq!(session.metrics().messages_sent as usize, MESSAGES, "and nothing was lost");
}

pub(crate) fn eight_threads_send_to_one_session_and_nothing_mixes<H: Harness>() {
    const THREADS: usize = 8;
    const EACH: u32 = 10_000;
    let (handler, told) = teller();
    let server = H::start(H::websocket().handler(handler));
    let mut peer = Raw::websocket(server.address());
    let session = told.connected();
    let senders: Vec<_> = (0..THREADS)
        .map(|thread| {
            let session = session.clone();
            std::thread::spawn(move || {
                for number in 0..EACH {
                    let text = format!("{thread} {number} {}", "x".repeat(number as usize % 50));
                    H::block_on(session.send_wait(&text)).unwrap();
                }
            })
        })
        .collect();
    let mut next = [0; THREADS];
    for _ in 0..THREADS as u32 * EACH {
        let (first, payload) = peer.frame();
        assert_eq!(first, 0x81);
        let text = String::from_utf8(payload).unwrap();
        let mut words = text.split(' ');
        let thread: usize = words.next().unwrap().parse().unwrap();
        let number: u32 = words.next().unwrap().parse().unwrap();
        assert_eq!(number, next[thread], "the order of each thread is kept");
        assert_eq!(words.next().unwrap().len(), number as usize % 50);
        next[thread] += 1;
    }
    senders.into_iter().for_each(|sender| sender.join().unwrap());
}

pub(crate) fn threads_send_to_one_plain_session_and_no_message_is_torn<H: Harness>() {
    const THREADS: usize = 4;
    const EACH: usize = 2_000;
    let (handler, told) = teller();
    let server = H::start(H::server().framed(LengthPrefix::new()).handler(handler));
    let mut peer = Raw::connect(server.address());
    let session = told.connected();
    let senders: Vec<_> = (0..THREADS)
        .map(|thread| {
            let session = session.clone();
            std::thread::spawn(move || {
                for number in 0..EACH {
                    // Small ones, and some that are queued by reference.
                    let len = if number % 100 == 99 { 70_000 } else { number % 500 };
                    let mut payload = vec![thread as u8; len + 8];
                    payload[..8].copy_from_slice(&(number as u64).to_be_bytes());
                    session.send_blocking(&payload).unwrap();
                }
            })
        })
        .collect();
    let mut next = [0; THREADS];
    for _ in 0..THREADS * EACH {
        let len = u32::from_be_bytes(peer.exactly(4).try_into().unwrap()) as usize;
        let payload = peer.exactly(len);
        let number = u64::from_be_bytes(payload[..8].try_into().unwrap()) as usize;
        let expected = if number % 100 == 99 { 70_000 } else { number % 500 };
        assert_eq!(len, 8 + expected);
        let Some(thread) = payload.get(8).copied() else { continue };
        assert!(payload[8..].iter().all(|byte| *byte == thread), "of one thread alone");
        assert!(number >= next[usize::from(thread)], "in its order");
        next[usize::from(thread)] = number + 1;
    }
    assert_eq!(next, [EACH; THREADS]);
    senders.into_iter().for_each(|sender| sender.join().unwrap());
}

/// Waits at a gate with every message, then counts it.
struct Waiting {
    gate: Gate,
    messages: Arc<AtomicUsize>,
}

impl Handler for Waiting {
    async fn on_message(&self, _: &Session, _: Message<'_>) {
        self.gate.pass().await;
        self.messages.fetch_add(1, Ordering::Relaxed);
    }
}

pub(crate) fn a_handler_that_waits_stops_its_peer<H: Harness>() {
    const MESSAGES: usize = 3_000;
    let (gate, messages) = (Gate::default(), Arc::<AtomicUsize>::default());
    let server = H::start(
        H::websocket().handler(Waiting { gate: gate.clone(), messages: messages.clone() }),
    );
    let peer = Raw::websocket(server.address());
    let mut writer = peer.try_clone();
    let written = Arc::<AtomicUsize>::default();
    let progress = written.clone();
    let writing = std::thread::spawn(move || {
        for part in noise(100_000).chunks(10_000).cycle().take(MESSAGES) {
            writer.send_frame(0x82, part);
            progress.fetch_add(1, Ordering::Relaxed);
        }
    });
    until(|| server.running().session(1).is_some());
    let session = server.running().session(1).unwrap();
    until(|| session.metrics().messages_received > 0);
    // What was read is less than one read and a message; the rest waits with the peer.
    until(|| written.load(Ordering::Relaxed) > 100);
    assert!(session.metrics().bytes_received < 1 << 20);
    assert_eq!(messages.load(Ordering::Relaxed), 0);
    assert!(!writing.is_finished(), "30 MB do not fit into the buffers of the system");
    gate.open();
    writing.join().unwrap();
    until(|| messages.load(Ordering::Relaxed) == MESSAGES);
}

pub(crate) fn sixty_megabytes_go_both_ways_at_once<H: Harness>() {
    const MESSAGE: usize = 60_000;
    const MESSAGES: usize = 1_000;
    let server = H::start(H::websocket().on_message(|session, message| session.send(message)));
    let returned = Arc::<AtomicUsize>::default();
    let count = returned.clone();
    let client = H::client(server.url()).on_message(move |_, message| {
        assert_eq!(message.len(), MESSAGE);
        count.fetch_add(1, Ordering::Relaxed);
    });
    let session = H::connect(client).unwrap();
    let payload = noise(MESSAGE);
    // Nobody waits for the first answer before the last message is sent.
    for _ in 0..MESSAGES {
        H::block_on(session.send_wait(&payload)).unwrap();
    }
    until(|| returned.load(Ordering::Relaxed) == MESSAGES);
    session.close();
    assert!(H::block_on(session.closed()).clean);
}

pub(crate) fn a_peer_that_answers_no_ping_is_given_up<H: Harness>() {
    let (handler, told) = teller();
    let heartbeat = Heartbeat::every(Duration::from_millis(50)).missed(1);
    let server = H::server().websocket(H::settings().heartbeat(heartbeat));
    let server = H::start(server.handler(handler));
    let mut silent = Raw::websocket(server.address());
    let reason = told.disconnected();
    assert_eq!((reason.side, reason.cause), (Side::Remote, Cause::HeartbeatTimeout));
    assert_eq!(silent.frame().0, 0x89, "it was asked");
    assert!(silent.is_reset());
}

pub(crate) fn a_dead_peer_is_found_behind_a_full_send_buffer<H: Harness>() {
    let (handler, told) = teller();
    let heartbeat = Heartbeat::every(Duration::from_millis(100)).missed(2);
    let server = H::server().websocket(H::settings().heartbeat(heartbeat));
    let server = H::start(server.handler(handler));
    let deaf = Raw::websocket(server.address());
    let session = told.connected();
    // Until the buffers of the system and the session's own are full, or it is over.
    while session.send(&[7; 100_000]) != Err(SendError::Closed) {
        std::thread::yield_now();
    }
    let reason = told.disconnected();
    assert_eq!((reason.side, reason.cause), (Side::Remote, Cause::HeartbeatTimeout));
    assert!(reason.undelivered > 500_000, "{reason:?}");
    drop(deaf);
}
