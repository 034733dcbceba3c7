//! Section 7.2.3: the examples, to the byte.

use storm_proto::websocket::Role;

use super::party::{agreed, binary, frame_of, hear, sender, text, with_context, without_context};
use crate::support::wire::{Frame, Heard, ROLES};

const HELLO: &[u8] = &[0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00];

#[track_caller]
fn is_hello(frames: &[Frame]) {
    let texts = frames.iter().filter(|frame| frame.opcode == 1).count();
    for role in ROLES {
        let heard = vec![Heard::Text(b"Hello".into()); texts];
        assert_eq!(hear(role, &agreed(&with_context()), frames), heard);
        if texts == 1 {
            assert_eq!(hear(role, &agreed(&without_context()), frames), heard);
        }
    }
}

#[test]
fn d7_2_3_01_one_block_whole_and_in_fragments() {
    assert_eq!(text(HELLO).plain(), b"\xc1\x07\xf2\x48\xcd\xc9\xc9\x07\x00");
    is_hello(&[text(HELLO)]);
    let fragments = [text(&HELLO[..3]).more(), Frame::continuation(&HELLO[3..])];
    assert_eq!(fragments[0].plain(), b"\x41\x03\xf2\x48\xcd");
    assert_eq!(fragments[1].plain(), b"\x80\x04\xc9\xc9\x07\x00");
    is_hello(&fragments);
    for role in ROLES {
        let mut sender = sender(role, &agreed(&with_context().level(6)));
        assert_eq!(frame_of(&mut sender, "Hello"), text(HELLO));
    }
}

#[test]
fn d7_2_3_02_a_shared_window() {
    let again = text([0xf2, 0x00, 0x11, 0x00, 0x00]);
    is_hello(&[text(HELLO), again.clone()]);
    for role in ROLES {
        let mut with = sender(role, &agreed(&with_context().level(6)));
        assert_eq!(frame_of(&mut with, "Hello"), text(HELLO));
        assert_eq!(frame_of(&mut with, "Hello"), again);
    }
}

#[test]
fn d7_2_3_03_a_stored_block() {
    is_hello(&[text(b"\x00\x05\x00\xfa\xffHello\x00")]);
}

#[test]
fn d7_2_3_04_a_final_block() {
    let last = text([0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00]);
    is_hello(std::slice::from_ref(&last));
    // The window survives the end of the stream of blocks.
    is_hello(&[last.clone(), text([0xf2, 0x00, 0x11, 0x00, 0x00]), last]);
}

#[test]
fn d7_2_3_05_two_blocks() {
    is_hello(&[text([
        0xf2, 0x48, 0x05, 0x00, 0x00, 0x00, 0xff, 0xff, 0xca, 0xc9, 0xc9, 0x07, 0x00,
    ])]);
}

#[test]
fn d7_2_3_06_an_empty_message_is_one_byte() {
    for role in ROLES {
        let terms = agreed(&with_context());
        let mut with = sender(role, &terms);
        assert_eq!(frame_of(&mut with, ""), text([0]));
        assert_eq!(frame_of(&mut with, b""), binary([0]));
        let heard = |frame| hear(role, &terms, &[frame]);
        assert_eq!(heard(text([0])), [Heard::Text(vec![])]);
        // One that lacks even that is clear enough.
        assert_eq!(heard(text([])), [Heard::Text(vec![])]);
        let fragments = [text([]).more(), Frame::continuation([0])];
        assert_eq!(hear(role, &terms, &fragments), [Heard::Text(vec![])]);
        // Plain it is a byte shorter.
        let mut without = sender(role, &agreed(&without_context()));
        assert_eq!(frame_of(&mut without, ""), Frame::text(""));
    }
}

#[test]
fn d7_2_3_07_an_empty_message_behind_another() {
    for role in ROLES {
        let terms = agreed(&with_context());
        let mut peer = sender(super::party::OTHER(role), &terms);
        let messages = ["Hello", "", "Hello", "", "", "Hello"];
        let frames = messages.map(|message| frame_of(&mut peer, message));
        let heard = messages.map(|message| Heard::Text(message.into()));
        assert_eq!(hear(role, &terms, &frames), heard);
    }
    assert_eq!(Role::Server, super::party::OTHER(Role::Client));
}
