//! Sections 4 to 6: what is compressed, and how frames tell.

use storm_proto::websocket::Role;
use storm_proto::{CloseCode, CloseFrame, Message, Prepared, ProtocolError};

use super::party::{
    agreed, binary, ear, frame_of, hear, json, noise, sender, text, with_context, without_context,
    written,
};
use crate::support::endpoint::{Endpoint, quiet};
use crate::support::http::Text;
use crate::support::inflate::inflate;
use crate::support::wire::{Frame, Heard, ROLES, read};

/// Section 7.2.3.1.
const HELLO: &[u8] = &[0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00];

#[test]
fn d4_01_a_message_is_compressed_as_a_whole_and_control_frames_never() {
    for role in ROLES {
        let mut sender = sender(role, &agreed(&without_context()));
        let message = json(200_000, 4);
        sender.send(&message).unwrap();
        sender.close(&CloseFrame::new(CloseCode::NORMAL, &"a".repeat(100)).unwrap());
        let seen = read(&written(&mut sender));
        let [data, close] = &seen[..] else { panic!("two frames") };
        assert_eq!((data.frame.fin, data.frame.rsv, data.frame.opcode), (true, 4, 1));
        assert_eq!(inflate(&data.frame.payload, &[]).unwrap().bytes, message.as_bytes());
        assert_eq!((close.frame.rsv, close.frame.payload.len()), (0, 102));
    }
}

#[test]
fn d4_01_a_pong_overtakes_compressed_messages_at_the_next_border() {
    let mut options = quiet();
    options.websocket = options.websocket.deflate(without_context());
    let mut server = Endpoint::server(options);
    server.give(&Text::request().add("Sec-WebSocket-Extensions", super::party::OFFERED).wire());
    server.written.clear();
    // A small frame, and one whose payload is queued by reference.
    let messages = [json(2000, 1), json(400_000, 2), json(2000, 3)];
    for message in &messages {
        server.connection.sender().send(message).unwrap();
    }
    server.write(5);
    server.give_to_a_blocked_writer(&Frame::ping("now").to(Role::Server));
    server.settle();
    let frames: Vec<_> = read(&server.written).into_iter().map(|seen| seen.frame).collect();
    assert_eq!(frames.iter().map(|frame| frame.opcode).collect::<Vec<_>>(), [1, 10, 1, 1]);
    assert!(frames[2].payload.len() > 16 << 10);
    let texts = frames.iter().filter(|frame| frame.opcode == 1);
    for (frame, message) in texts.zip(&messages) {
        assert_eq!(frame.rsv, 4);
        assert!(inflate(&frame.payload, &[]).unwrap().bytes == message.as_bytes());
    }
}

#[test]
fn d6_01_only_the_first_frame_of_a_data_message_may_have_rsv1() {
    let (head, tail) = HELLO.split_at(3);
    for role in ROLES {
        let terms = agreed(&with_context());
        let frames = [text(head).more(), Frame::ping("!"), Frame::continuation(tail)];
        let heard = [Heard::Ping(b"!".into()), Heard::Text(b"Hello".into())];
        assert_eq!(hear(role, &terms, &frames), heard);
        for wrong in
            [Frame::continuation(tail), Frame::ping("!"), Frame::pong(""), Frame::close(1000, "")]
        {
            let frames = [text(head).more(), wrong.rsv(4)];
            assert_eq!(hear(role, &terms, &frames), [Heard::Failed(ProtocolError::ReservedBits)]);
        }
    }
}

#[test]
fn d6_02_without_an_agreement_rsv1_is_an_error() {
    for role in ROLES {
        let heard = crate::support::wire::hear(role, &text(HELLO).to(role));
        assert_eq!(heard, [Heard::Failed(ProtocolError::ReservedBits)]);
    }
}

#[test]
fn d6_03_a_message_may_stay_plain() {
    for role in ROLES {
        // What comes plain is taken plain, and stays out of the context.
        let frames = [text(HELLO), Frame::text("plain"), text([0xf2, 0x00, 0x11, 0x00, 0x00])];
        let heard = ["Hello", "plain", "Hello"].map(|text| Heard::Text(text.into()));
        assert_eq!(hear(role, &agreed(&with_context()), &frames), heard);

        // What is short, asked for, or would only grow goes plain.
        let mut sender = sender(role, &agreed(&without_context().threshold(300)));
        let long = json(300, 1);
        assert_eq!(frame_of(&mut sender, &long).rsv, 4);
        assert_eq!(frame_of(&mut sender, &long[..299]), Frame::text(&long[..299]));
        let asked = Message::text(&long).uncompressed();
        assert_eq!(frame_of(&mut sender, asked), Frame::text(&long));
        assert_eq!(frame_of(&mut sender, &noise(5000, 1)), Frame::binary(noise(5000, 1)));
        let prepared = Prepared::new(asked);
        sender.send_prepared(&prepared).unwrap();
        assert_eq!(read(&written(&mut sender))[0].frame, Frame::text(&long));
    }
}

#[test]
fn d6_03_a_message_that_stays_plain_leaves_the_context_as_it_is() {
    for role in ROLES {
        let mut sender = sender(role, &agreed(&with_context().threshold(100)));
        let message = json(400, 2);
        let mut history = Vec::new();
        let compressed = |sender: &mut storm_proto::Sender, history: &mut Vec<u8>| {
            let frame = frame_of(sender, &message);
            let inflated = inflate(&frame.payload, history).unwrap();
            assert_eq!(inflated.bytes, message.as_bytes());
            history.extend(inflated.bytes);
            frame.payload.len()
        };
        let alone = compressed(&mut sender, &mut history);
        for _ in 0..3 {
            frame_of(&mut sender, "short");
            frame_of(&mut sender, Message::text(&message).uncompressed());
            assert!(compressed(&mut sender, &mut history) < alone / 3, "it refers to the first");
        }
        // What only grows goes plain; the context has seen it and starts anew.
        assert_eq!(frame_of(&mut sender, &noise(100_000, 3)).rsv, 0);
        assert_eq!(compressed(&mut sender, &mut Vec::new()), alone);
    }
}

#[test]
fn d6_04_the_opcode_is_that_of_the_message() {
    for role in ROLES {
        let terms = agreed(&with_context());
        let mut sender = sender(role, &terms);
        assert_eq!(frame_of(&mut sender, "Hello").opcode, 1);
        assert_eq!(frame_of(&mut sender, b"Hello").opcode, 2);
        assert_eq!(hear(role, &terms, &[binary(HELLO)]), [Heard::Binary(b"Hello".into())]);
    }
}

#[test]
fn d6_05_rsv2_and_rsv3_stay_errors() {
    for role in ROLES {
        for rsv in [1, 2, 3, 5, 6, 7] {
            let heard = hear(role, &agreed(&with_context()), &[Frame::text(HELLO).rsv(rsv)]);
            assert_eq!(heard, [Heard::Failed(ProtocolError::ReservedBits)], "{rsv}");
        }
    }
}

#[test]
fn d6_1_01_a_message_is_compressed_first_and_then_cut() {
    // Cut by somebody on the way, in as many frames as it has bytes.
    let mut sender = sender(Role::Server, &agreed(&with_context()));
    let message = json(2000, 7);
    let payload = frame_of(&mut sender, &message).payload;
    let last = payload.len() - 1;
    let mut ear = ear(Role::Client, &agreed(&with_context()));
    for (at, byte) in payload.iter().enumerate() {
        let frame = if at == 0 { text([*byte]) } else { Frame::continuation([*byte]) };
        let frame = if at == last { frame } else { frame.more() };
        ear.give(&frame.to(Role::Client));
    }
    assert_eq!(ear.take(), [Heard::Text(message.into())]);
}

#[test]
fn d6_2_01_fragments_are_joined_before_they_are_inflated() {
    for role in ROLES {
        for cut in 0..=HELLO.len() {
            let (head, tail) = HELLO.split_at(cut);
            let frames = [
                text(head).more(),
                Frame::continuation("").more(),
                Frame::continuation(tail),
                Frame::text("next"),
            ];
            let heard = [Heard::Text(b"Hello".into()), Heard::Text(b"next".into())];
            assert_eq!(hear(role, &agreed(&with_context()), &frames), heard, "cut at {cut}");
        }
    }
}

#[test]
fn d6_2_02_utf_8_is_checked_in_what_was_inflated_as_it_arrives() {
    for role in ROLES {
        let terms = agreed(&with_context());
        // Compressed bytes are no text, and need not be.
        let mut peer = sender(super::party::OTHER(role), &terms);
        let euro = frame_of(&mut peer, "\u{20ac}".repeat(100).as_str());
        assert!(std::str::from_utf8(&euro.payload).is_err());
        assert_eq!(hear(role, &terms, &[euro]).len(), 1);

        let invalid = [&b"valid so far "[..], b"\xed\xa0\x80", &noise(3000, 8)].concat();
        let frame = frame_of(&mut peer_of(role), &invalid[..]);
        // Text by its opcode: fails with what was inflated of the first bytes.
        let wrong = Frame { opcode: 1, fin: false, ..frame };
        let bytes = wrong.to(role);
        let mut ear = ear(role, &terms);
        ear.give(&bytes[..200]);
        assert_eq!(ear.take(), [Heard::Failed(ProtocolError::InvalidUtf8)]);

        // Cut inside of a character by the end of the message.
        let cut = frame_of(&mut peer_of(role), &b"\xe2\x82"[..]);
        let cut = Frame { opcode: 1, ..cut };
        assert_eq!(hear(role, &terms, &[cut]), [Heard::Failed(ProtocolError::InvalidUtf8)]);
    }
}

fn peer_of(role: Role) -> storm_proto::Sender {
    sender(super::party::OTHER(role), &agreed(&with_context()))
}
