//! Sections 5.6 to 5.8: data, the examples, extensions.

use storm_proto::websocket::Role;
use storm_proto::{ProtocolError, Random};

use crate::support::endpoint::Endpoint;
use crate::support::wire::{Frame, Heard, ROLES, hear, hear_at_every_cut, wire};

#[test]
fn w5_6_01_a_text_may_be_cut_inside_a_character() {
    // One to four bytes, and characters beyond the first plane.
    let text = "a\u{fc}\u{20ac}\u{1f600}\u{2f800}\u{10ffff}z";
    for role in ROLES {
        for cut in 0..=text.len() {
            let (head, tail) = text.as_bytes().split_at(cut);
            let frames = [Frame::text(head).more(), Frame::continuation(tail)];
            let heard = hear_at_every_cut(role, &wire(role, &frames));
            assert_eq!(heard, [Heard::Text(text.into())], "cut at {cut}");
        }
        let mut frames: Vec<_> =
            text.bytes().map(|byte| Frame::continuation([byte]).more()).collect();
        frames[0].opcode = 1;
        frames.push(Frame::continuation(""));
        assert_eq!(hear_at_every_cut(role, &wire(role, &frames)), [Heard::Text(text.into())]);
        for text in [Frame::text(b"\xff"), Frame::text(b"a\xc0\xaf")] {
            let heard = hear(role, &text.to(role));
            assert_eq!(heard, [Heard::Failed(ProtocolError::InvalidUtf8)]);
        }
    }
}

#[test]
fn w5_6_02_binary_data_is_opaque() {
    let mut random = Random::from_seed(56);
    for role in ROLES {
        let mut end = Endpoint::open(role);
        for _ in 0..200 {
            let payload = random.bytes::<256>();
            let (head, tail) = payload.split_at(usize::from(payload[0]));
            let frames = [Frame::binary(head).more(), Frame::continuation(tail)];
            end.give_frames(&[Frame::binary(payload)]).give_frames(&frames);
            let messages = end.messages();
            assert!(messages.iter().all(|message| message.as_bytes() == payload));
            assert_eq!((messages.len(), messages[0].as_text()), (2, None));
        }
        assert_eq!(hear(role, &Frame::binary(b"\xff\xfe").to(role)).len(), 1);
    }
}

#[test]
fn w5_7_01_the_examples_read_and_write_as_printed() {
    const MASKED: [u8; 11] = [0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58];
    const PONG: [u8; 11] = [0x8a, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58];
    let hello = [Heard::Text("Hello".into())];
    assert_eq!(hear(Role::Client, b"\x81\x05\x48\x65\x6c\x6c\x6f"), hello);
    assert_eq!(hear(Role::Server, &MASKED), hello);
    assert_eq!(hear(Role::Client, b"\x01\x03\x48\x65\x6c\x80\x02\x6c\x6f"), hello);
    let ping = hear(Role::Client, b"\x89\x05\x48\x65\x6c\x6c\x6f");
    assert_eq!(ping, [Heard::Ping("Hello".into())]);
    assert_eq!(hear(Role::Server, &PONG), [Heard::Pong("Hello".into())]);
    let data = [7; 65_536];
    let short = [&b"\x82\x7e\x01\x00"[..], &data[..256]].concat();
    assert_eq!(hear(Role::Client, &short), [Heard::Binary(vec![7; 256])]);
    let long = [&b"\x82\x7f\0\0\0\0\0\x01\0\0"[..], &data].concat();
    assert!(hear(Role::Client, &long) == [Heard::Binary(data.to_vec())]);

    let mut server = Endpoint::open(Role::Server);
    server.send("Hello").send(&data[..256]).send(&data);
    assert!(server.written == [b"\x81\x05Hello", &short[..], &long].concat());

    // A source that always gives the key of the examples.
    let source = Random::new(|bytes| {
        bytes.chunks_mut(4).for_each(|key| key.copy_from_slice(&[0x37, 0xfa, 0x21, 0x3d]));
    });
    let mut client = Endpoint::open_client(source);
    client.send("Hello").give(b"\x89\x05Hello");
    assert_eq!(client.written, [MASKED, PONG].concat());
}

#[test]
fn w5_8_01_an_extension_that_was_not_negotiated_does_not_exist() {
    // The compressed "Hello" of RFC 7692 section 7.2.3.1.
    let compressed = Frame::text(b"\xf2\x48\xcd\xc9\xc9\x07\x00").rsv(4);
    for role in ROLES {
        let mut end = Endpoint::open(role);
        end.give_frames(std::slice::from_ref(&compressed));
        assert_eq!(end.frames(), [Frame::fault(ProtocolError::ReservedBits)]);
        assert!(end.messages().is_empty());
    }
}
