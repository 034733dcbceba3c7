//! Answers that come slowly or never end, and what a client makes known of them.

use storm_proto::websocket::handshake::HandshakeError;
use storm_proto::{Cause, Message};

use super::verdict::{offer, right};
use crate::support::endpoint::{Did, Endpoint, quiet};
use crate::support::http::Text;
use crate::support::wire::Frame;

fn client() -> Endpoint {
    let mut client = Endpoint::client(quiet(), &offer());
    (client.written, client.did) = (Vec::new(), Vec::new());
    client
}

fn page(status: u16) -> Text {
    Text::answer_to("").start(format!("HTTP/1.1 {status} No"))
}

#[test]
fn hb_c007_a_redirect_is_told_with_its_location_and_not_followed() {
    for status in [301, 302, 303, 307, 308] {
        let mut client = client();
        let redirect =
            page(status).add("Location", "wss://elsewhere.example/").add("Content-Length", "0");
        client.give(&redirect.wire());
        let Some(HandshakeError::Refused(refusal)) = client.connection.handshake_error() else {
            panic!("refused");
        };
        assert_eq!(refusal.status, status);
        assert_eq!(refusal.headers.get_str("location"), Some("wss://elsewhere.example/"));
        assert!(client.written.is_empty());
    }
}

#[test]
fn hb_c010_a_refusal_comes_with_its_headers_and_the_start_of_its_body() {
    let mut client = client();
    let body = "x".repeat(10_000);
    let head = page(503).add("Retry-After", "30").add("Content-Length", body.len().to_string());
    client.give(&head.wire()).give(body.as_bytes());
    let Some(HandshakeError::Refused(refusal)) = client.connection.handshake_error() else {
        panic!("refused");
    };
    assert_eq!(refusal.headers.get("retry-after"), Some(&b"30"[..]));
    assert_eq!(refusal.body, "x".repeat(4096));
    assert_eq!(client.did, [Did::Shutdown]);
}

#[test]
fn hb_c010_a_refusal_without_a_body_is_told_at_once() {
    let rows = [page(204), page(304), page(403).add("Content-Length", "0")];
    for row in rows {
        let mut client = client();
        client.give(&row.wire());
        let error = client.connection.handshake_error();
        assert!(matches!(error, Some(HandshakeError::Refused(_))), "{row:?}");
        assert_eq!(client.did, [Did::Shutdown]);
    }
}

#[test]
fn hb_c011_a_refusal_with_an_endless_body_is_cut_off() {
    let mut client = client();
    client.give(&page(404).add("Transfer-Encoding", "chunked").wire());
    let chunk = [&b"10000\r\n"[..], &[b'x'; 0x10000], b"\r\n"].concat();
    for _ in 0..400 {
        client.give(&chunk);
        let Some(HandshakeError::Refused(refusal)) = client.connection.handshake_error() else {
            panic!("told as soon as the limit of the body is passed");
        };
        assert_eq!((refusal.status, refusal.body.len()), (404, 4096));
    }
    assert_eq!(client.did, [Did::Shutdown, Did::Finish { reset: true }], "not read for ever");
}

#[test]
fn hb_c011_a_refusal_is_told_although_its_body_comes_too_slowly() {
    let mut client = client();
    client.give(&page(403).add("Content-Length", "1000").wire());
    for _ in 0..5 {
        client.give(b"x").wait_millis(1000);
    }
    assert!(client.is_finished(), "the deadline of the handshake holds for the body too");
    let error = client.connection.handshake_error();
    assert_eq!(error.and_then(HandshakeError::status), Some(403));
}

#[test]
fn hb_c010_a_refusal_is_told_half_a_second_after_its_head_at_the_latest() {
    let rows: [(Text, &[u8]); 4] = [
        (page(503).add("Connection", "keep-alive"), b"busy"),
        (page(503).add("Content-Length", "100"), b"busy"),
        (page(503).add("Transfer-Encoding", "chunked"), b"ff\r\nbusy"),
        (page(503), b""),
    ];
    for (head, body) in rows {
        let mut client = client();
        client.give(&head.wire()).give(body).wait_millis(499);
        assert!(client.connection.handshake_error().is_none(), "{head:?}");
        client.wait_millis(1);
        let Some(HandshakeError::Refused(refusal)) = client.connection.handshake_error() else {
            panic!("told: {head:?}");
        };
        assert_eq!(
            (refusal.status, &refusal.body[..]),
            (503, if body.is_empty() { &b""[..] } else { b"busy" })
        );
    }
}

#[test]
fn hb_c029_a_cookie_in_the_101_is_passed_on() {
    let mut client = client();
    client.give(&right().add("Set-Cookie", "id=1").wire());
    let accepted = client.connection.accepted().unwrap();
    assert_eq!(accepted.headers.get_str("set-cookie"), Some("id=1"));
}

#[test]
fn hb_c032_no_byte_extends_the_deadline_of_the_answer() {
    let mut client = client();
    for byte in right().wire() {
        if client.is_finished() {
            break;
        }
        client.give(&[byte]).wait_millis(999);
    }
    assert!(client.is_finished());
    assert_eq!(client.reason().cause, Cause::HandshakeTimeout);
    assert_eq!(client.app.opened, 0);
}

#[test]
fn hb_c034_a_server_that_goes_away_before_its_answer_is_lost() {
    let bytes = right().wire();
    for cut in 0..bytes.len() {
        let mut client = client();
        client.give(&bytes[..cut]).end();
        assert!(matches!(client.connection.handshake_error(), Some(HandshakeError::EndOfStream)));
        assert_eq!(client.did, [Did::Shutdown, Did::Finish { reset: false }]);
        let reason = client.reason();
        assert_eq!((reason.cause, reason.code().get()), (Cause::Lost, 1006), "cut at {cut}");
    }
}

#[test]
fn hb_c034_a_lost_connect_is_over_at_once_whatever_was_queued_for_later() {
    let mut client = client();
    client.connection.sender().send("for an open connection only").unwrap();
    client.end();
    assert_eq!(client.did, [Did::Shutdown, Did::Finish { reset: false }]);
    assert!(client.reason().undelivered > 20, "the message is told as lost");
}

#[test]
fn hb_c035_frames_in_the_segment_of_the_101_are_not_lost() {
    let bytes = [right().wire(), Frame::text("first").plain()].concat();
    for cut in 0..=bytes.len() {
        let (head, tail) = bytes.split_at(cut);
        let mut client = client();
        client.give(head).give(tail);
        assert_eq!(client.messages()[0].as_message(), Message::text("first"), "cut at {cut}");
    }
}

#[test]
fn hb_c037_bytes_behind_a_101_with_a_length_are_frames() {
    for (name, value) in [("Content-Length", "10"), ("Transfer-Encoding", "chunked")] {
        let mut client = client();
        client.give(&right().add(name, value).wire()).give(&Frame::text("frame").plain());
        assert_eq!(client.messages()[0].as_message(), Message::text("frame"));
    }
}
