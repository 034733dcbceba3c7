//! A stream in two tasks: whoever waits is woken, whichever of them the event comes to.

use std::future::{Future, poll_fn};
use std::sync::{Arc, Mutex};

use storm_proto::service::StreamError;
use storm_proto::{Cause, CloseCode, OwnedMessage, SendError, WaterMarks};

use crate::sim::Sim;
use crate::{Received, SECOND, Stream, Task, echo, masked, opened, options, server, spawn, text};

type Split = Arc<Mutex<Stream>>;

fn split(stream: Stream) -> (Split, Split) {
    let shared = Arc::new(Mutex::new(stream));
    (shared.clone(), shared)
}

async fn next(stream: &Split) -> Received {
    poll_fn(|cx| stream.lock().unwrap().poll_next(cx)).await
}

async fn feed(stream: &Split, message: &OwnedMessage) -> Result<(), StreamError> {
    poll_fn(|cx| stream.lock().unwrap().poll_ready(cx)).await?;
    stream.lock().unwrap().start_send(message)
}

async fn flush(stream: &Split) -> Result<(), StreamError> {
    poll_fn(|cx| stream.lock().unwrap().poll_flush(cx)).await
}

#[test]
fn a_reader_and_a_writer_task_at_both_ends_lose_no_wake_up() {
    for room in [1, 3, 50, 5_000] {
        let mut small = options();
        small.marks = WaterMarks::new(64);
        let (client, server) = opened(room, &small);
        let messages = |from: u8| -> Vec<OwnedMessage> {
            (0..200).map(|at| OwnedMessage::binary(vec![from; at * 7 % 150])).collect()
        };
        let mut tasks = Vec::new();
        for (stream, from, to) in [(client, 1, 2), (server, 2, 1)] {
            let (reader, writer) = split(stream);
            let writing = spawn(async move {
                for message in messages(from) {
                    feed(&writer, &message).await.unwrap();
                }
                flush(&writer).await.unwrap();
            });
            let reading = spawn(async move {
                let mut all = Vec::new();
                while all.len() < 200 {
                    all.push(next(&reader).await.unwrap().unwrap());
                }
                all
            });
            tasks.push((writing, reading, messages(to)));
        }
        for (writing, reading, expected) in tasks {
            assert!(writing.is_done() && reading.end() == expected, "room for {room} bytes");
        }
    }
}

#[test]
fn a_pong_that_the_reader_could_not_write_leaves_beside_a_writer_that_waits() {
    let (stream, peer) = server(4, options());
    let (reader, writer) = split(stream);
    let reading = spawn(async move { next(&reader).await });
    let writing = spawn(async move {
        feed(&writer, &OwnedMessage::text("0123456789")).await?;
        flush(&writer).await
    });
    peer.send(&masked(0x89, b"p"));
    peer.send(&masked(0x81, b"hi"));
    assert_eq!(text(&reading.end()), "hi");
    assert!(!writing.is_done(), "the network is full");
    assert_eq!(peer.take(), b"\x81\x0a0123456789\x8a\x01p");
    writing.end().unwrap();
}

#[test]
fn the_timer_still_wakes_a_reader_beside_whom_a_writer_came_and_went() {
    let (stream, peer) = server(1 << 10, options());
    let (reader, writer) = split(stream);
    let reading = spawn(async move { next(&reader).await });
    spawn(async move {
        feed(&writer, &OwnedMessage::text("x")).await?;
        flush(&writer).await
    })
    .end()
    .unwrap();
    assert_eq!(peer.take(), b"\x81\x01x");
    Sim::pass(30 * SECOND);
    assert_eq!(peer.take(), b"\x89\x04\0\0\0\x01", "the reader's heartbeat");
    assert!(!reading.is_done());
}

/// Spawns a reader and a writer in either order: who comes second knows of the first.
fn spawn_both<A: Send + 'static, B: Send + 'static>(
    reader_first: bool,
    reading: impl Future<Output = A> + Send + 'static,
    writing: impl Future<Output = B> + Send + 'static,
) -> (Task<A>, Task<B>) {
    if reader_first {
        let reading = spawn(reading);
        return (reading, spawn(writing));
    }
    let writing = spawn(writing);
    (spawn(reading), writing)
}

#[test]
fn a_fault_that_the_writer_finds_is_told_to_the_reader() {
    for reader_first in [true, false] {
        let (stream, peer) = server(4, options());
        let (reader, writer) = split(stream);
        let read = async move { [next(&reader).await, next(&reader).await] };
        let write = async move {
            feed(&writer, &OwnedMessage::text("0123456789")).await?;
            flush(&writer).await
        };
        let (reading, writing) = spawn_both(reader_first, read, write);
        assert!(!writing.is_done());
        peer.break_writes();
        let Err(StreamError::Ended(reason)) = writing.end() else { panic!("no error") };
        assert_eq!(reason.cause, Cause::TransportError);
        assert!(matches!(reading.end(), [Some(Err(_)), None]));
    }
}

#[test]
fn a_fault_that_the_reader_finds_during_a_close_is_told_to_the_writer() {
    for reader_first in [true, false] {
        let (mut stream, peer) = server(2, options());
        stream.close_with(CloseCode::NORMAL, "").unwrap();
        let (reader, writer) = split(stream);
        let (read, write) =
            (async move { next(&reader).await }, async move { flush(&writer).await });
        let (reading, writing) = spawn_both(reader_first, read, write);
        assert!(!writing.is_done(), "the close frame does not fit");
        peer.break_reads();
        assert!(matches!(writing.end(), Err(StreamError::Ended(_))), "two bytes did not leave");
        assert_eq!(reading.end(), None, "this side had closed");
    }
}

#[test]
fn a_close_that_the_reader_finds_is_told_to_a_writer_that_waits_for_room() {
    for reader_first in [true, false] {
        let mut small = options();
        small.marks = WaterMarks::new(8);
        let (stream, peer) = server(4, small);
        let (reader, writer) = split(stream);
        let read = async move { next(&reader).await };
        let write = async move {
            feed(&writer, &OwnedMessage::text("0123456789")).await?;
            feed(&writer, &OwnedMessage::text("0123456789")).await
        };
        let (reading, writing) = spawn_both(reader_first, read, write);
        assert!(!writing.is_done());
        peer.send(&masked(0x88, b"\x03\xe8"));
        assert_eq!(writing.end(), Err(SendError::Closed.into()));
        assert!(!reading.is_done(), "the close waits behind what was accepted");
        assert_eq!(peer.take(), b"\x81\x0a0123456789\x88\x02\x03\xe8");
        peer.end();
        assert_eq!(reading.end(), None);
    }
}

#[test]
fn a_writer_that_closes_ends_the_reader() {
    let (client, server) = opened(1 << 10, &options());
    let (reader, writer) = split(client);
    let reading = spawn(async move { next(&reader).await });
    let closing = spawn(async move { poll_fn(|cx| writer.lock().unwrap().poll_close(cx)).await });
    assert!(!closing.is_done());
    let serving = spawn(echo(server));
    assert_eq!((closing.end(), reading.end()), (Ok(()), None));
    assert!(serving.end().reason().unwrap().clean);
}
