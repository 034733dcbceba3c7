//! The life of a connection as scripts: inputs at times, and what comes of them.
#![allow(clippy::unwrap_used)]

mod pair;

use std::sync::Arc;
use std::time::Duration;

use pair::{End, Pair, quiet, seconds};
use storm_proto::framing::{Delimiter, LengthPrefix};
use storm_proto::{
    Cause, CloseCode, CloseFrame, Connection, Heartbeat, Instant, Message, Options, ProtocolError,
    SendError, Sender, Side, Step, Timer, WaterMarks, WebSocket,
};

fn bye() -> CloseFrame {
    CloseFrame::new(CloseCode::new(4000).unwrap(), "bye").unwrap()
}

/// A frame of a client with the mask key 0, so that the payload stays readable.
fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    assert!(payload.len() < 126);
    [&[first, 0x80 | payload.len() as u8, 0, 0, 0, 0], payload].concat()
}

// Opening.

#[test]
fn two_ends_open_and_agree_on_a_subprotocol() {
    let mut client = quiet();
    client.websocket = client.websocket.subprotocol("chat").subprotocol("superchat");
    let mut pair = Pair::unopened(client, quiet());
    pair.server.notes.subprotocol = Some("superchat");
    pair.settle();
    assert!(pair.client.notes.opened && pair.server.notes.opened);
    let accepted = pair.client.connection.accepted().unwrap();
    assert_eq!(accepted.subprotocol.as_deref(), Some("superchat"));
}

#[test]
fn what_is_sent_before_the_opening_leaves_after_it() {
    let mut pair = Pair::unopened(quiet(), quiet());
    pair.client.connection.sender().send("early").unwrap();
    let request = pair.client.take_output(pair.now);
    assert!(request.ends_with(b"\r\n\r\n"), "only the request is on the wire");
    pair.server.receive(&request, pair.now);
    pair.settle();
    assert_eq!(pair.server.texts(), ["early"]);
}

#[test]
fn a_refused_client_learns_status_and_body_and_the_stream_ends_in_order() {
    let mut pair = Pair::unopened(quiet(), quiet());
    pair.server.notes.refuse_with = Some(403);
    pair.settle();
    assert_eq!(pair.client.connection.handshake_error().unwrap().status(), Some(403));
    assert!(!pair.client.notes.opened && !pair.server.notes.opened);
    assert!(!pair.client.reset && !pair.server.reset);
    assert!(pair.client.reason.is_some() && pair.server.reason.is_some());
}

#[test]
fn the_handshake_deadline_is_absolute_and_bytes_do_not_extend_it() {
    let start = Instant::from_secs(7);
    let mut server = End::new(Connection::server(quiet(), start));
    for second in 0..5 {
        assert_eq!(server.connection.poll_timeout(), Some((start + seconds(5), Timer::Handshake)));
        server.receive(b"G", start + seconds(second));
    }
    server.connection.handle_timeout(start + seconds(5));
    assert_eq!(server.connection.step(), Step::Finished { reset: false });
    assert_eq!(server.connection.finish().cause, Cause::HandshakeTimeout);
}

// Messages.

#[test]
fn messages_arrive_in_order_with_their_kinds_also_empty_ones() {
    let mut pair = Pair::open(quiet(), quiet());
    pair.server.notes.echo = true;
    let sender = pair.client.connection.sender();
    sender.send("text").unwrap();
    sender.send(b"bytes").unwrap();
    sender.send("").unwrap();
    sender.send(b"").unwrap();
    sender.send(&vec![7; 70_000]).unwrap();
    pair.settle();
    assert_eq!(pair.client.notes.messages, pair.server.notes.messages);
    let kinds: Vec<_> = pair
        .client
        .notes
        .messages
        .iter()
        .map(|m| (m.as_message().is_text(), m.as_bytes().len()))
        .collect();
    assert_eq!(kinds, [(true, 4), (false, 5), (true, 0), (false, 0), (false, 70_000)]);
}

#[test]
fn a_receiver_stops_between_messages_while_its_answers_wait() {
    let mut options = quiet();
    options.marks = WaterMarks::new(100);
    let now = Instant::ZERO;
    let framer = Arc::new(Delimiter::lines());
    let mut connection = Connection::framed(framer, options, now);
    let mut lines = b"0123456789\n".repeat(20);
    let mut input = &mut lines[..];
    let mut echo = |sender: &mut Sender, message: Message<'_>| sender.send(message).unwrap();
    let mut output = Vec::new();
    while !input.is_empty() {
        connection.receive(&mut input, now, &mut echo);
        assert!(connection.sender().queued() <= 100, "the limit is a limit");
        let bytes = connection.output().collect::<Vec<_>>().concat();
        connection.written(bytes.len(), now);
        output.extend(bytes);
    }
    assert_eq!(output, b"0123456789\n".repeat(20), "and nothing was lost");
}

// Closing.

#[test]
fn a_client_closes_and_both_ends_are_clean() {
    let mut pair = Pair::open(quiet(), quiet());
    pair.client.connection.sender().send("last").unwrap();
    pair.client.connection.close(bye(), pair.now);
    pair.settle();
    assert_eq!(pair.server.texts(), ["last"], "what was queued goes first");
    let (client, server) = (pair.client.reason(), pair.server.reason());
    assert_eq!((client.side, client.cause, client.clean), (Side::Local, Cause::Closed, true));
    assert_eq!((server.side, server.cause, server.clean), (Side::Remote, Cause::Closed, true));
    assert_eq!(client.received, Some(bye()), "the code is echoed");
    assert_eq!(server.received, Some(bye()));
    assert_eq!(server.code().get(), 4000);
    assert!(!pair.client.reset && !pair.server.reset);
}

#[test]
fn a_server_closes_and_both_ends_are_clean() {
    let mut pair = Pair::open(quiet(), quiet());
    pair.server.connection.close(bye(), pair.now);
    pair.settle();
    assert!(pair.client.reason().clean && pair.server.reason().clean);
    assert_eq!(pair.client.reason().received, Some(bye()));
}

#[test]
fn both_ends_close_at_once_with_one_close_each() {
    let mut pair = Pair::open(quiet(), quiet());
    let other = CloseFrame::new(CloseCode::GOING_AWAY, "").unwrap();
    pair.client.connection.close(bye(), pair.now);
    pair.server.connection.close(other.clone(), pair.now);
    let from_client = pair.client.take_output(pair.now);
    let from_server = pair.server.take_output(pair.now);
    assert_eq!(from_server, b"\x88\x02\x03\xe9");
    pair.client.receive(&from_server, pair.now);
    pair.server.receive(&from_client, pair.now);
    assert!(pair.client.take_output(pair.now).is_empty(), "no second close");
    assert!(pair.server.take_output(pair.now).is_empty(), "no second close");
    pair.settle();
    assert_eq!(pair.client.reason().received, Some(other));
    assert_eq!(pair.server.reason().received, Some(bye()));
    assert!(pair.client.reason().clean && pair.server.reason().clean);
}

#[test]
fn the_first_reason_wins() {
    let mut pair = Pair::open(quiet(), quiet());
    pair.client.connection.close(bye(), pair.now);
    pair.client.connection.close(CloseFrame::new(CloseCode::NORMAL, "").unwrap(), pair.now);
    pair.settle();
    assert_eq!(pair.server.reason().received, Some(bye()));
    assert_eq!(pair.client.reason().sent, Some(bye()));
}

#[test]
fn nothing_is_accepted_or_delivered_after_a_close() {
    let mut pair = Pair::open(quiet(), quiet());
    pair.client.connection.close(bye(), pair.now);
    assert_eq!(pair.client.connection.sender().send("late"), Err(SendError::Closed));
    pair.server.connection.sender().send("crossing").unwrap();
    let crossing = pair.server.take_output(pair.now);
    pair.client.receive(&crossing, pair.now);
    assert!(pair.client.notes.messages.is_empty());
}

#[test]
fn a_peer_that_never_answers_a_close_is_cut_off_whatever_it_sends() {
    let mut pair = Pair::open(quiet(), quiet());
    pair.server.connection.close(bye(), pair.now);
    pair.server.take_output(pair.now);
    let end = pair.now + seconds(5);
    for tick in 1..50 {
        let now = pair.now + Duration::from_millis(100 * tick);
        pair.server.receive(&masked(0x89, b"ping"), now);
        pair.server.connection.handle_timeout(now);
        assert_eq!(pair.server.connection.poll_timeout(), Some((end, Timer::Close)));
        assert_eq!(pair.server.connection.step(), Step::Continue);
    }
    pair.server.connection.handle_timeout(end);
    assert!(matches!(pair.server.connection.step(), Step::Finished { .. }));
    let reason = pair.server.connection.finish();
    assert_eq!((reason.side, reason.cause, reason.clean), (Side::Local, Cause::Closed, false));
    assert_eq!(reason.code(), CloseCode::ABNORMAL);
}

#[test]
fn a_client_waits_for_the_server_to_end_the_stream_but_not_for_ever() {
    let mut pair = Pair::open(quiet(), quiet());
    pair.client.connection.close(bye(), pair.now);
    let close = pair.client.take_output(pair.now);
    pair.server.receive(&close, pair.now);
    let answer = pair.server.take_output(pair.now);
    pair.client.receive(&answer, pair.now);
    assert_eq!(pair.client.connection.step(), Step::Continue, "the server goes first");
    assert_eq!(pair.server.connection.step(), Step::Shutdown);
    pair.client.connection.handle_timeout(pair.now + seconds(5));
    assert_eq!(pair.client.connection.step(), Step::Finished { reset: false });
    assert!(pair.client.connection.finish().clean, "the handshake was complete");
}

#[test]
fn a_broken_rule_is_answered_once_and_ends_everything() {
    let mut pair = Pair::open(quiet(), quiet());
    let frames = [masked(0x81, b"fine"), b"\x81\x05Hello".to_vec(), masked(0x81, b"late")].concat();
    pair.server.receive(&frames, pair.now);
    assert_eq!(pair.server.texts(), ["fine"]);
    assert_eq!(pair.server.take_output(pair.now), b"\x88\x1e\x03\xeaa client frame is not masked");
    pair.settle();
    let reason = pair.server.reason();
    assert_eq!((reason.side, reason.cause), (Side::Remote, Cause::ProtocolError));
    assert_eq!(reason.error, Some(storm_proto::Error::Peer(ProtocolError::Unmasked)));
}

#[test]
fn a_stream_that_ends_without_a_close_is_lost_but_its_answers_are_written() {
    let mut pair = Pair::open(quiet(), quiet());
    pair.server.notes.echo = true;
    pair.server.receive(&masked(0x81, b"hi"), pair.now);
    pair.server.connection.end_of_stream(pair.now);
    assert_eq!(pair.server.take_output(pair.now), b"\x81\x02hi");
    assert_eq!(pair.server.connection.step(), Step::Shutdown);
    pair.server.connection.shut_down();
    assert_eq!(pair.server.connection.step(), Step::Finished { reset: false });
    let reason = pair.server.connection.finish();
    assert_eq!((reason.side, reason.cause, reason.clean), (Side::Remote, Cause::Lost, false));
    assert_eq!(reason.code(), CloseCode::ABNORMAL);
}

#[test]
fn an_abort_tells_what_was_not_delivered() {
    let mut pair = Pair::open(quiet(), quiet());
    pair.server.connection.sender().send("0123456789").unwrap();
    pair.server.connection.abort();
    assert_eq!(pair.server.connection.step(), Step::Finished { reset: true });
    let reason = pair.server.connection.finish();
    assert_eq!((reason.side, reason.cause, reason.undelivered), (Side::Local, Cause::Aborted, 10));
}

#[test]
fn a_peer_that_goes_on_for_ever_after_our_last_word_is_reset() {
    let mut pair = Pair::open(quiet(), quiet());
    pair.server.receive(b"\x81\x00", pair.now);
    pair.server.take_output(pair.now);
    pair.server.connection.shut_down();
    let junk = vec![0; 1 << 20];
    for _ in 0..16 {
        assert_eq!(pair.server.connection.step(), Step::Continue);
        pair.server.receive(&junk, pair.now);
    }
    pair.server.receive(&junk, pair.now);
    assert_eq!(pair.server.connection.step(), Step::Finished { reset: true });
}

// Plain TCP.

#[test]
fn a_half_closed_peer_still_gets_its_answers() {
    let now = Instant::ZERO;
    let mut server = End::new(Connection::framed(Arc::new(Delimiter::lines()), quiet(), now));
    server.notes.echo = true;
    server.receive(b"one\ntwo\nrest", now);
    server.connection.end_of_stream(now);
    assert_eq!(server.connection.step(), Step::Continue, "answers are waiting");
    assert_eq!(server.take_output(now), b"one\ntwo\n");
    assert_eq!(server.connection.step(), Step::Shutdown);
    server.connection.shut_down();
    assert_eq!(server.connection.step(), Step::Finished { reset: false });
    let reason = server.connection.finish();
    assert_eq!((reason.side, reason.cause, reason.clean), (Side::Remote, Cause::Closed, true));
    assert_eq!(reason.unfinished, b"rest"[..], "what stands behind the last delimiter is told");
}

#[test]
fn a_local_close_of_a_stream_writes_first_and_waits_for_the_peer() {
    let now = Instant::ZERO;
    let mut server = End::new(Connection::framed(Arc::new(LengthPrefix::new()), quiet(), now));
    server.connection.sender().send("bye").unwrap();
    server.connection.close(bye(), now);
    assert_eq!(server.take_output(now), b"\0\0\0\x03bye", "and no close frame");
    assert_eq!(server.connection.step(), Step::Shutdown);
    server.connection.shut_down();
    assert_eq!(server.connection.step(), Step::Continue);
    server.connection.end_of_stream(now);
    assert_eq!(server.connection.step(), Step::Finished { reset: false });
    let reason = server.connection.finish();
    assert_eq!((reason.side, reason.clean, reason.sent), (Side::Local, true, None));
}

// Heartbeat, idle, stall.

fn beating(interval: Duration, missed: u32) -> Options {
    let mut options = quiet();
    options.websocket = WebSocket::new().heartbeat(Heartbeat::every(interval).missed(missed));
    options
}

#[test]
fn a_peer_that_answers_pings_lives_for_ever_and_its_distance_is_known() {
    let mut pair = Pair::open(quiet(), beating(seconds(30), 3));
    pair.pass(seconds(24 * 3600));
    assert!(pair.server.connection.is_open() && pair.client.connection.is_open());
}

#[test]
fn a_silent_peer_is_dead_after_one_interval_more_than_is_forgiven() {
    let mut pair = Pair::open(quiet(), beating(seconds(30), 3));
    pair.client.unplugged = true;
    pair.pass(Duration::from_millis(119_999));
    assert!(pair.server.connection.is_open());
    pair.pass(Duration::from_millis(1));
    let reason = pair.server.reason();
    assert_eq!((reason.side, reason.cause), (Side::Remote, Cause::HeartbeatTimeout));
    assert!(pair.server.reset, "no use in a goodbye");
}

#[test]
fn a_dead_peer_is_found_although_the_outbox_is_full() {
    let mut options = beating(seconds(10), 2);
    options.timeouts.stall = seconds(3600);
    let mut pair = Pair::open(quiet(), options);
    pair.server.connection.sender().send(&vec![0; 500_000]).unwrap();
    assert!(pair.server.connection.output().next().is_some());
    pair.server.connection.written(0, pair.now);
    for at in [10, 20] {
        pair.server.connection.handle_timeout(pair.now + seconds(at));
        assert!(pair.server.connection.is_open());
    }
    pair.server.connection.handle_timeout(pair.now + seconds(30));
    assert_eq!(pair.server.connection.finish().cause, Cause::HeartbeatTimeout);
}

#[test]
fn a_slow_reader_that_makes_progress_is_not_dead() {
    let mut pair = Pair::open(quiet(), beating(seconds(10), 1));
    pair.server.connection.sender().send(&vec![0; 500_000]).unwrap();
    assert!(pair.server.connection.output().next().is_some());
    for tick in 1..20 {
        let now = pair.now + seconds(5 * tick);
        pair.server.connection.written(1000, now);
        pair.server.connection.handle_timeout(now);
        assert!(pair.server.connection.is_open());
    }
}

#[test]
fn an_idle_session_ends_exactly_at_its_deadline_and_pongs_are_not_messages() {
    let mut options = beating(seconds(1), 3);
    options.timeouts.idle = Some(seconds(10));
    let mut pair = Pair::open(quiet(), options);
    pair.pass(seconds(9));
    pair.client.connection.sender().send("still here").unwrap();
    pair.pass(Duration::from_millis(9_999));
    assert!(pair.server.connection.is_open());
    pair.pass(Duration::from_millis(1));
    let (client, server) = (pair.client.reason(), pair.server.reason());
    assert_eq!((server.side, server.cause, server.clean), (Side::Remote, Cause::IdleTimeout, true));
    assert_eq!(client.code(), CloseCode::NORMAL, "with a goodbye");
}

#[test]
fn a_peer_that_reads_nothing_is_cut_off_at_the_stall_deadline() {
    let mut pair = Pair::open(quiet(), quiet());
    pair.server.connection.sender().send(&vec![0; 100_000]).unwrap();
    assert!(pair.server.connection.output().next().is_some());
    pair.server.connection.written(10_000, pair.now);
    let due = pair.now + seconds(30);
    assert_eq!(pair.server.connection.poll_timeout(), Some((due, Timer::Stall)));
    pair.server.connection.written(0, pair.now + seconds(20));
    assert_eq!(pair.server.connection.poll_timeout(), Some((due, Timer::Stall)), "no progress");
    pair.server.connection.written(1, pair.now + seconds(29));
    let due = pair.now + seconds(59);
    assert_eq!(pair.server.connection.poll_timeout(), Some((due, Timer::Stall)), "progress");
    pair.server.connection.handle_timeout(due);
    assert_eq!(pair.server.connection.step(), Step::Finished { reset: true });
    let reason = pair.server.connection.finish();
    assert_eq!((reason.cause, reason.undelivered), (Cause::StallTimeout, 100_010 - 10_001));
}

#[test]
fn nothing_stalls_while_everything_is_written() {
    let mut pair = Pair::open(quiet(), quiet());
    pair.server.connection.sender().send("x").unwrap();
    pair.settle();
    assert_eq!(pair.server.connection.poll_timeout(), None);
    pair.pass(seconds(3600));
    assert!(pair.server.connection.is_open());
}
