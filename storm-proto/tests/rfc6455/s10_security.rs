//! Section 10: limits and other duties of care.

use storm_proto::websocket::handshake::{Accept, Response};
use storm_proto::websocket::{Limits, Role};
use storm_proto::{Message, Options, OwnedMessage, ProtocolError};

use crate::support::endpoint::{Endpoint, quiet};
use crate::support::http::{self, Text};
use crate::support::wire::{Ear, Frame, Heard, ROLES, header_to, wire};

#[test]
fn w10_3_02_a_payload_cannot_be_changed_once_it_was_accepted() {
    for role in ROLES {
        let mut end = Endpoint::open(role);
        let mut payload = vec![7; 1000];
        end.connection.sender().send(&payload).unwrap();
        payload.fill(9);
        let kept = OwnedMessage::binary(vec![7; 100_000]);
        end.connection.sender().send(&kept).unwrap();
        drop(kept);
        let frames = end.settle().frames();
        assert!(frames == [Frame::binary(vec![7; 1000]), Frame::binary(vec![7; 100_000])]);
    }
}

fn limited(frame: usize, message: usize) -> Options {
    let mut options = quiet();
    (options.websocket.limits.frame, options.websocket.limits.message) = (frame, message);
    options
}

#[test]
fn w10_4_01_frames_and_messages_have_limits_exact_to_the_byte() {
    for role in ROLES {
        for len in [999, 1000, 1001] {
            let limit = 1000;
            let frame = ProtocolError::FrameTooLarge { len: len as u64, limit };
            let message = ProtocolError::MessageTooLarge { limit };
            let expected = |end: &mut Endpoint, fault| {
                let messages = end.messages();
                if len > limit {
                    assert_eq!((end.frames(), messages.len()), (vec![Frame::fault(fault)], 0));
                } else {
                    assert_eq!((end.frames(), messages.len()), (vec![], 1));
                    assert_eq!(messages[0].as_bytes().len(), len);
                }
            };
            // One frame over the limit of frames.
            let mut end = Endpoint::open_with(role, limited(1000, 100_000));
            end.give_frames(&[Frame::binary(vec![7; len])]);
            expected(&mut end, frame);
            // One frame over the limit of messages.
            let mut end = Endpoint::open_with(role, limited(100_000, 1000));
            end.give_frames(&[Frame::binary(vec![7; len])]);
            expected(&mut end, message);
            // A sum over the limit of messages, cut anywhere.
            for cut in [0, 1, 500, 999] {
                let mut end = Endpoint::open_with(role, limited(100_000, 1000));
                end.give_frames(&[
                    Frame::binary(vec![7; cut]).more(),
                    Frame::continuation(""),
                    Frame::binary(vec![7; cut]).more(),
                    Frame::continuation(vec![7; len - cut]),
                ]);
                end.app.messages.drain(..1);
                expected(&mut end, message);
            }
        }
        // Refused at the header, before a byte of the payload.
        let mut end = Endpoint::open_with(role, limited(1000, 1000));
        end.give(&header_to(role, 0x82, 1001, 2));
        assert_eq!(
            end.frames(),
            [Frame::fault(ProtocolError::FrameTooLarge { len: 1001, limit: 1000 })]
        );
    }
    // The defaults are finite.
    let Limits { frame, message, fragments, .. } = Limits::default();
    assert_eq!((frame, message, fragments), (usize::MAX, 4 << 20, 1 << 17));
    for role in ROLES {
        let parts = [
            &[Frame::binary(vec![7; 1 << 20]).more()][..],
            &vec![Frame::continuation(vec![7; 1 << 20]).more(); 3],
        ];
        let mut ear = Ear::new(role);
        ear.give(&wire(role, &parts.concat()));
        assert_eq!((ear.take(), ear.receiver.assembled()), (vec![], 4 << 20));
        ear.give(&Frame::continuation("x").to(role));
        assert!(matches!(ear.take()[..], [Heard::Failed(_)]));
    }
}

#[test]
fn w10_5_01_a_server_may_decide_by_any_header() {
    for (cookie, token, expected) in
        [("id=7", "Bearer good", 101), ("id=7", "Bearer bad", 401), ("", "", 401)]
    {
        let mut server = Endpoint::server(quiet());
        server.app.decide =
            Box::new(|request| match (request.header("cookie"), request.header("authorization")) {
                (Some("id=7"), Some("Bearer good")) => Accept::new().into(),
                _ => Response::new(401).header("WWW-Authenticate", "Bearer").into(),
            });
        let text = Text::request().add("Cookie", cookie).add("Authorization", token);
        server.give(&text.wire());
        assert_eq!(http::read(&server.written).status(), expected);
    }
}

#[test]
fn w10_7_01_whatever_bytes_come_they_are_checked_and_nothing_panics() {
    let mut random = storm_proto::Random::from_seed(107);
    let mut opened = 0;
    for round in 0..6000 {
        let role = ROLES[round % 2];
        let mut end = match round % 4 {
            0 | 1 => Endpoint::open(role),
            _ if role == storm_proto::websocket::Role::Server => Endpoint::server(quiet()),
            _ => Endpoint::client(quiet(), &storm_proto::websocket::handshake::Offer::new()),
        };
        end.app.echo = true;
        // Valid bytes with a few changed.
        let mut bytes = match (end.connection.is_open(), role) {
            (true, _) => {
                wire(role, &[Frame::text("abc"), Frame::ping("p"), Frame::close(1000, "")])
            }
            (false, storm_proto::websocket::Role::Server) => Text::request().wire(),
            (false, storm_proto::websocket::Role::Client) => end.answer().wire(),
        };
        for _ in 0..1 + round % 3 {
            let [at, value] = random.bytes::<2>().map(usize::from);
            let len = bytes.len();
            bytes[at % len] = value as u8;
        }
        let messages = end.give(&bytes).end().messages();
        assert!(end.is_finished(), "every end is reached");
        opened += end.app.opened;
        for message in messages {
            assert!(message.as_text().is_some() || message.as_message() != Message::text("abc"));
        }
    }
    assert!(opened > 3000);
}

#[test]
fn w10_4_01_default_limits_take_what_default_senders_send() {
    for role in ROLES {
        let peer = if role == Role::Server { Role::Client } else { Role::Server };
        let (mut from, mut to) = (Endpoint::open(role), Endpoint::open(peer));
        for len in [(1 << 20) + 1, 2 << 20, 4 << 20] {
            from.send(&vec![7; len]).settle();
            to.give(&std::mem::take(&mut from.written));
            assert_eq!(to.messages()[0].as_bytes().len(), len);
        }
    }
}

#[test]
fn w10_4_01_one_limit_alone_contradicts_no_other() {
    // Only the limit of messages, above and below its default: one frame may have it all.
    for message in [1000, 8 << 20] {
        for role in ROLES {
            let mut options = quiet();
            options.websocket = options.websocket.max_message(message);
            let mut end = Endpoint::open_with(role, options);
            end.give_frames(&[Frame::binary(vec![7; message])]);
            assert_eq!(end.messages()[0].as_bytes().len(), message);
            end.give(&header_to(
                role,
                0x82,
                message as u64 + 1,
                if message > 65_535 { 8 } else { 2 },
            ));
            let fault = ProtocolError::MessageTooLarge { limit: message };
            assert_eq!(end.frames(), [Frame::fault(fault)], "the limit that was set is named");
        }
    }
}
