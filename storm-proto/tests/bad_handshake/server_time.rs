//! Requests that come slowly, stop half-way, or are followed by something.

use storm_proto::websocket::Role;
use storm_proto::{Cause, Message, ProtocolError, TransportError, TransportErrorKind};

use crate::support::endpoint::{Did, Endpoint, quiet};
use crate::support::http::{self, ACCEPT, Text};
use crate::support::wire::{Frame, wire};

fn server() -> Endpoint {
    Endpoint::server(quiet())
}

fn valid() -> Vec<u8> {
    Text::request().wire()
}

#[test]
fn hb_s007_a_peer_that_sends_an_empty_line_and_leaves_is_forgotten_quietly() {
    let mut server = server();
    server.give(b"\r\n").end();
    assert_eq!(server.did, [Did::Shutdown, Did::Finish { reset: false }]);
    assert!(server.written.is_empty());
}

#[test]
fn hb_s049_a_request_in_500_packets_opens() {
    let text = Text::request();
    let padding = "x".repeat(500 - text.wire().len() - "X: \r\n".len());
    let bytes = text.add("X", padding).wire();
    assert_eq!(bytes.len(), 500);
    let mut server = server();
    for byte in bytes {
        assert!(server.written.is_empty());
        server.give(&[byte]).wait_millis(9);
    }
    assert_eq!(http::read(&server.written).only("Sec-WebSocket-Accept"), ACCEPT);
    assert!(server.connection.is_open());
}

#[test]
fn hb_s050_no_byte_extends_the_deadline_of_the_request() {
    let mut server = server();
    for byte in valid() {
        if server.is_finished() {
            break;
        }
        server.give(&[byte]).wait_millis(999);
    }
    assert_eq!(server.did, [Did::Finish { reset: false }], "closes without a word");
    let reason = server.reason();
    assert_eq!((reason.cause, reason.code().get()), (Cause::HandshakeTimeout, 1006));
    assert_eq!(server.app.opened, 0);
}

#[test]
fn hb_s052_a_request_without_its_last_byte_is_closed_at_the_deadline() {
    let bytes = valid();
    let mut server = server();
    server.give(&bytes[..bytes.len() - 1]).wait_millis(4_999);
    assert_eq!(server.did, []);
    server.wait_millis(1);
    assert_eq!(server.did, [Did::Finish { reset: false }]);
}

#[test]
fn hb_s053_a_stream_that_ends_in_the_request_closes_quietly_at_every_byte() {
    let bytes = valid();
    for cut in 0..bytes.len() {
        let mut server = server();
        server.give(&bytes[..cut]).end();
        assert_eq!(server.did, [Did::Shutdown, Did::Finish { reset: false }], "cut at {cut}");
        assert!(server.written.is_empty());
        let reason = server.reason();
        assert_eq!((reason.cause, reason.code().get()), (Cause::Lost, 1006));
    }
}

#[test]
fn hb_s064_a_second_request_in_the_same_segment_is_no_request() {
    let mut server = server();
    server.give(&valid().repeat(2));
    expect_101_then_1002(server);
}

#[test]
fn hb_s065_a_request_behind_the_upgrade_is_no_request() {
    let smuggled = b"GET /admin HTTP/1.1\r\nHost: internal.example\r\n\r\n";
    let mut server = server();
    server.give(&[&valid()[..], smuggled].concat());
    expect_101_then_1002(server);

    let mut server = self::server();
    let refused = Text::request().set("Sec-WebSocket-Version", "8").wire();
    server.give(&[&refused[..], smuggled].concat());
    let head = http::read_refusal(&server.written, false);
    assert_eq!(head.status(), 426);
    assert_eq!(server.did.last(), Some(&Did::Shutdown), "the second is never answered");
}

fn expect_101_then_1002(mut server: Endpoint) {
    assert_eq!(server.app.requests, 1);
    let head = http::read(&server.written);
    assert_eq!(head.status(), 101);
    server.written = head.rest;
    assert_eq!(server.frames(), [Frame::fault(ProtocolError::ReservedBits)]);
    assert!(server.is_shut_down() && server.messages().is_empty());
}

#[test]
fn hb_s131_frames_in_the_segment_of_the_request_are_not_lost() {
    let frames = wire(Role::Server, &[Frame::text("first"), Frame::ping("p")]);
    let bytes = [&valid()[..], &frames].concat();
    for cut in 0..=bytes.len() {
        let (head, tail) = bytes.split_at(cut);
        let mut server = server();
        server.give(head).give(tail);
        let answer = http::read(&server.written);
        assert_eq!(answer.status(), 101);
        assert_eq!(server.messages()[0].as_message(), Message::text("first"), "cut at {cut}");
        server.written = answer.rest;
        assert_eq!(server.frames(), [Frame::pong("p")], "cut at {cut}");
    }
}

#[test]
fn hb_s133_megabytes_before_the_101_is_read_are_held_back_and_kept_in_order() {
    const COUNT: usize = 640;
    let options = quiet();
    let limit = options.marks.limit();
    let mut server = Endpoint::server(options);
    server.app.echo = true;
    let numbered = |number: usize| {
        let mut payload = vec![0; 16 << 10];
        payload[..8].copy_from_slice(&number.to_be_bytes());
        Frame::binary(payload)
    };
    let mut all = valid();
    (0..COUNT).for_each(|number| all.extend(numbered(number).to(Role::Server)));
    assert!(all.len() > 10 << 20);

    let mut at = 0;
    while at < all.len() {
        // Nothing is written as long as the connection takes input.
        let piece = &all[at..all.len().min(at + (64 << 10))];
        let left = server.give_to_a_blocked_writer(piece);
        at += piece.len() - left;
        assert!(server.waiting() <= limit, "{} bytes wait", server.waiting());
        if left > 0 {
            while server.write(100_000) > 0 {}
        }
    }
    server.settle();
    let messages = server.messages();
    assert_eq!(messages.len(), COUNT);
    let in_order = |(number, message): (usize, &storm_proto::OwnedMessage)| {
        message.as_bytes()[..8] == number.to_be_bytes()
    };
    assert!(messages.iter().enumerate().all(in_order));
    server.written = http::split(&server.written).1.to_vec();
    assert_eq!(server.frames().len(), COUNT, "and every echo leaves");
}

#[test]
fn hb_s137_a_peer_that_goes_away_while_the_101_is_written_is_forgotten_quietly() {
    for written in 0..100 {
        let mut server = server();
        server.give_to_a_blocked_writer(&valid());
        server.write(written);
        let error = TransportError::new(TransportErrorKind::BrokenPipe, Some(32));
        server.connection.transport_failed(error.clone());
        server.settle();
        assert_eq!(server.did.last(), Some(&Did::Finish { reset: false }));
        let reason = server.reason();
        assert_eq!(reason.error, Some(storm_proto::Error::Transport(error)));
        assert_eq!((reason.code().get(), reason.clean), (1006, false));
    }
}
