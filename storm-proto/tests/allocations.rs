//! What a connection costs in memory, counted by the allocator.
//!
//! One test, so that nothing else allocates while it counts.
#![allow(clippy::unwrap_used)]

mod pair;

use std::alloc::System;
use std::io::{self, IoSlice};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use pair::quiet;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use storm_proto::framing::Delimiter;
use storm_proto::service::{Carrier, MessageStream, Transport};
use storm_proto::websocket::{Limits, Role};
use storm_proto::{
    Connection, Event, Instant, Message, Outbox, Random, Receiver, Sender, Spare, WaterMarks,
};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Allocations and reallocations that `run` makes.
fn allocations(run: impl FnOnce()) -> usize {
    let region = Region::new(ALLOCATOR);
    run();
    let change = region.change();
    change.allocations + change.reallocations
}

#[test]
fn memory_is_owned_by_those_who_use_it() {
    let_the_harness_finish();
    an_idle_connection_owns_nothing_beyond_its_fixed_state();
    an_established_echo_allocates_nothing_per_message();
    a_framed_echo_allocates_nothing_per_message();
    a_message_that_is_cut_leaves_nothing_behind();
    an_announced_length_costs_nothing();
    a_large_message_costs_a_fixed_few_allocations();
    an_idle_stream_owns_no_buffer_and_a_message_is_one_allocation();
    #[cfg(feature = "deflate")]
    deflate::a_connection_keeps_what_its_terms_oblige_it_to();
}

/// The thread that started this one still notes down that it did, and allocates for that.
fn let_the_harness_finish() {
    let mut quiet = 0;
    while quiet < 10_000 {
        let noted = allocations(std::thread::yield_now) > 0;
        quiet = if noted { 0 } else { quiet + 1 };
    }
}

fn an_idle_connection_owns_nothing_beyond_its_fixed_state() {
    println!("{} bytes: a connection by hand", size_of::<Connection>());
    println!(
        "{} bytes: a receiver, {} bytes: a sender",
        size_of::<Receiver>(),
        size_of::<Sender>()
    );
    assert!(size_of::<Connection>() <= 640);
    assert!(size_of::<Receiver>() + size_of::<Sender>() <= 256);

    let options = Arc::new(quiet());
    let mut request =
        *b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    let mut frames = batch(10);
    let mut echo = |sender: &mut Sender, message: Message<'_>| sender.send(message).unwrap();
    let now = Instant::ZERO;
    let region = Region::new(ALLOCATOR);
    let mut server = Connection::server(options, now);
    assert_eq!(region.change().allocations, 0, "a new connection");
    for bytes in [&mut request[..], &mut frames[..]] {
        server.receive(&mut &mut *bytes, now, &mut echo);
        let len = server.output().map(<[u8]>::len).sum();
        drop(server.written(len, now));
    }
    assert!(server.is_open());
    let change = region.change();
    assert_eq!(change.bytes_allocated, change.bytes_deallocated, "an idle one");
}

/// A batch of masked frames with 32 bytes each.
fn batch(count: usize) -> Vec<u8> {
    let mut client = Sender::websocket_client(Random::from_seed(3), WaterMarks::default());
    let mut wire = Outbox::new();
    for at in 0..count {
        let payload = [at as u8; 32];
        if at % 2 == 0 {
            client.send(&payload)
        } else {
            client.send("32 bytes of text, to be checked.")
        }
        .unwrap();
    }
    client.take(&mut wire);
    wire.chunks().collect::<Vec<_>>().concat()
}

fn an_established_echo_allocates_nothing_per_message() {
    let bytes = batch(100);
    let mut scratch = bytes.clone();
    let mut receiver = Receiver::websocket(Role::Server, Limits::new());
    let mut sender = Sender::websocket_server(WaterMarks::default());
    let mut wire = Outbox::new();
    let mut echoed = 0;
    let mut turn = |spare: &mut Option<Spare>| {
        scratch.copy_from_slice(&bytes);
        if let Some(spare) = spare.take() {
            sender.outbox().offer(spare);
        }
        let mut input = &mut scratch[..];
        while let Some(event) = receiver.next(&mut input) {
            let Event::Message(message) = event else { panic!("{event:?}") };
            sender.send(message).unwrap();
            echoed += 1;
        }
        sender.take(&mut wire);
        let len = wire.len();
        wire.advance(len);
        sender.wrote(0);
        *spare = wire.take_spare();
    };
    let mut spare = None;
    turn(&mut spare);
    assert_eq!(allocations(|| (0..100).for_each(|_| turn(&mut spare))), 0);
    assert_eq!(echoed, 101 * 100);
}

fn a_framed_echo_allocates_nothing_per_message() {
    let lines = b"a line of 32 bytes with its end.\n".repeat(100);
    let mut scratch = lines.clone();
    let mut connection = Connection::framed(Arc::new(Delimiter::lines()), quiet(), Instant::ZERO);
    let mut echo = |sender: &mut Sender, message: Message<'_>| sender.send(message).unwrap();
    let mut turn = |spare: &mut Option<Spare>| {
        scratch.copy_from_slice(&lines);
        if let Some(spare) = spare.take() {
            connection.offer(spare);
        }
        connection.receive(&mut &mut scratch[..], Instant::ZERO, &mut echo);
        let len = connection.output().map(<[u8]>::len).sum();
        *spare = connection.written(len, Instant::ZERO);
    };
    let mut spare = None;
    turn(&mut spare);
    assert_eq!(allocations(|| (0..100).for_each(|_| turn(&mut spare))), 0);
}

fn a_message_that_is_cut_leaves_nothing_behind() {
    let mut bytes = batch(1);
    let (head, tail) = bytes.split_at_mut(20);
    let region = Region::new(ALLOCATOR);
    let mut receiver = Receiver::websocket(Role::Server, Limits::new());
    assert!(receiver.next(&mut &mut *head).is_none());
    let held = region.change().bytes_allocated;
    assert!((1..=64).contains(&held), "it holds what was received, {held} bytes");
    assert!(receiver.next(&mut &mut *tail).is_some());
    assert!(receiver.next(&mut &mut [][..]).is_none());
    let change = region.change();
    assert_eq!(change.bytes_allocated, change.bytes_deallocated);
}

fn an_announced_length_costs_nothing() {
    let limits = Limits::new();
    let mut receiver = Receiver::websocket(Role::Server, limits);
    let mut header = [0x82, 0xFF, 0, 0, 0, 0, 0, 0x10, 0, 0, 1, 2, 3, 4];
    assert_eq!(allocations(|| assert!(receiver.next(&mut &mut header[..]).is_none())), 0);
    assert!(receiver.direct().is_none());
}

fn a_large_message_costs_a_fixed_few_allocations() {
    const LEN: usize = 100_000;
    let mut client = Sender::websocket_client(Random::from_seed(3), WaterMarks::default());
    let mut wire = Outbox::new();
    client.send(&vec![7; LEN]).unwrap();
    client.take(&mut wire);
    let mut bytes = wire.chunks().collect::<Vec<_>>().concat();
    let (head, tail) = bytes.split_at_mut(81_000);
    let mut receiver = Receiver::websocket(Role::Server, Limits::new());
    let mut sender = Sender::websocket_server(WaterMarks::default());
    let count = allocations(|| {
        assert!(receiver.next(&mut &mut *head).is_none());
        let room = receiver.direct().expect("room for the rest, which is less than a quarter");
        room.copy_from_slice(tail);
        receiver.direct_filled(tail.len());
        let Some(Event::Message(message)) = receiver.next(&mut &mut [][..]) else { panic!() };
        sender.send(message).unwrap();
    });
    assert!(count <= 8, "{count} allocations");
}

/// A transport that takes all and has what it was given to read.
struct Given(&'static [u8]);

impl Transport for Given {
    fn poll_read(&mut self, _: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        if self.0.is_empty() {
            return Poll::Pending;
        }
        let (now, rest) = self.0.split_at(self.0.len().min(buffer.len()));
        buffer[..now.len()].copy_from_slice(now);
        self.0 = rest;
        Poll::Ready(Ok(now.len()))
    }

    fn poll_write(
        &mut self,
        _: &mut Context<'_>,
        chunks: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(chunks.iter().map(|chunk| chunk.len()).sum()))
    }

    fn poll_shutdown(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn arm(&mut self, _: Instant) {}

    fn poll_timer(&mut self, _: &mut Context<'_>) -> Poll<()> {
        Poll::Pending
    }

    fn yield_now(&mut self, cx: &mut Context<'_>) {
        cx.waker().wake_by_ref();
    }

    fn reset(&mut self) {}
}

impl Carrier for Given {
    type Stream = &'static [u8];

    fn carry(stream: &'static [u8]) -> Given {
        Given(stream)
    }

    fn stream(&self) -> &&'static [u8] {
        &self.0
    }

    fn now() -> Instant {
        Instant::ZERO
    }

    fn poll_flush(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

fn an_idle_stream_owns_no_buffer_and_a_message_is_one_allocation() {
    println!("{} bytes: a message stream", size_of::<MessageStream<Given>>());
    let frames: &'static [u8] = batch(1_000).leak();
    let echo = |stream: &mut MessageStream<Given>| {
        let mut cx = Context::from_waker(Waker::noop());
        let mut count = 0;
        while let Poll::Ready(message) = stream.poll_next(&mut cx) {
            stream.start_send(&message.unwrap().unwrap()).unwrap();
            count += 1;
        }
        assert_eq!((count, stream.buffered()), (1_000, 0));
    };
    let stream = || MessageStream::<Given>::from_upgraded(frames, Role::Server, quiet(), b"");
    // The first fills the pool of this thread.
    echo(&mut stream());
    let mut stream = stream();
    let region = Region::new(ALLOCATOR);
    echo(&mut stream);
    let change = region.change();
    assert_eq!(change.bytes_allocated, change.bytes_deallocated, "an idle one");
    println!("{} allocations for 1,000 messages", change.allocations);
    assert!(change.allocations <= 1_010);
}

#[cfg(feature = "deflate")]
mod deflate {
    use storm_proto::websocket::handshake::{HeadLimits, ServerHandshake};
    use storm_proto::websocket::{Agreed, Deflate};

    use super::*;

    const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\
        Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
        Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n\r\n";

    fn agreed(settings: &Deflate) -> Agreed {
        let request = ServerHandshake::new(HeadLimits::new()).receive(&mut &REQUEST[..]);
        request.unwrap().unwrap().deflate(settings).unwrap()
    }

    /// Bytes that a server's halves keep between messages: to send, and to receive.
    fn kept(settings: &Deflate) -> (usize, usize) {
        let agreed = agreed(settings);
        let mut client = Sender::websocket_client(Random::from_seed(3), WaterMarks::default());
        let mut server = Sender::websocket_server(WaterMarks::default());
        let mut receiver = Receiver::websocket(Role::Server, Limits::new());
        client.deflate(&agreed);
        server.deflate(&agreed);
        receiver.deflate(&agreed);
        let text = (0..20_000u32).flat_map(|n| n.wrapping_mul(n).to_le_bytes()).collect::<Vec<_>>();
        let mut wire = Outbox::new();
        client.send(&text).unwrap();
        client.take(&mut wire);
        let mut bytes = wire.chunks().collect::<Vec<_>>().concat();
        drop(wire);

        let region = Region::new(ALLOCATOR);
        let held = || region.change().bytes_allocated - region.change().bytes_deallocated;
        server.send(&text).unwrap();
        let mut wire = Outbox::new();
        server.take(&mut wire);
        drop(wire);
        let to_send = held();
        assert!(receiver.next(&mut &mut bytes[..]).is_some());
        assert!(receiver.next(&mut &mut [][..]).is_none());
        let to_receive = held() - to_send;
        let before = region.change().bytes_deallocated;
        server.end();
        let given_back = region.change().bytes_deallocated - before;
        let takeover = !agreed.server_no_context_takeover();
        assert!(!takeover || given_back >= to_send, "one that is over keeps nothing to send");
        (to_send, to_receive)
    }

    pub(super) fn a_connection_keeps_what_its_terms_oblige_it_to() {
        let settings = Deflate::new().threshold(0);
        // The pool of the thread has what it needs from here on.
        let alone = settings.client_no_context_takeover(true);
        for bits in 9..=15 {
            kept(&alone.server_max_window_bits(bits));
            assert_eq!(kept(&alone.server_max_window_bits(bits)), (0, 0), "without context");
        }
        assert_eq!(kept(&settings), (0, 32 << 10), "by default the peer has a context");
        let context = settings.server_no_context_takeover(false).client_no_context_takeover(false);
        let mut documented = Vec::new();
        for bits in [15, 12, 9] {
            let settings = context.server_max_window_bits(bits).client_max_window_bits(bits);
            let (to_send, to_receive) = kept(&settings);
            println!("{bits} bits: {to_send} bytes to send, {to_receive} to receive");
            assert_eq!(to_receive, 1 << bits);
            documented.push(to_send.div_ceil(1 << 10));
        }
        assert_eq!(documented, [288, 176, 162], "KiB, as the documentation says");
    }
}
