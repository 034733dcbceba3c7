//! Section 5.4: fragments.

use storm_proto::websocket::{Limits, Role};
use storm_proto::{Message, ProtocolError, Random};

use crate::support::endpoint::Endpoint;
use crate::support::wire::{Ear, Frame, Heard, ROLES, hear, hear_at_every_cut, wire};

fn failed(error: ProtocolError) -> Vec<Heard> {
    vec![Heard::Failed(error)]
}

/// A binary message cut into fragments of these sizes.
fn fragments(payload: &[u8], sizes: &[usize]) -> Vec<Frame> {
    let mut frames = Vec::new();
    let mut rest = payload;
    for (at, size) in sizes.iter().enumerate() {
        let (piece, behind) = rest.split_at(*size);
        frames.push(Frame::new(if at == 0 { 2 } else { 0 }, piece).more());
        rest = behind;
    }
    assert!(rest.is_empty());
    frames.last_mut().unwrap().fin = true;
    frames
}

#[test]
fn w5_4_01_a_message_in_one_frame_is_that_frame() {
    for role in ROLES {
        assert_eq!(hear(role, &Frame::text("one").to(role)), [Heard::Text("one".into())]);
        let mut end = Endpoint::open(role);
        end.send("one").send(b"two");
        assert_eq!(end.frames(), [Frame::text("one"), Frame::binary("two")]);
    }
}

#[test]
fn w5_4_02_a_message_comes_together_from_any_number_of_fragments() {
    for role in ROLES {
        for count in 1..=100 {
            for size in [0, 1, 7, 130] {
                let payload: Vec<u8> = (0..count * size).map(|i| i as u8).collect();
                let frames = fragments(&payload, &vec![size; count]);
                assert_eq!(hear(role, &wire(role, &frames)), [Heard::Binary(payload)]);
            }
        }
    }
}

#[test]
fn w5_4_03_fragmented_and_whole_messages_may_follow_each_other() {
    for role in ROLES {
        let frames = [
            Frame::text("a"),
            Frame::text("b").more(),
            Frame::continuation("c"),
            Frame::binary("d"),
            Frame::binary("e").more(),
            Frame::continuation("f").more(),
            Frame::continuation("g"),
            Frame::text("h"),
        ];
        let expected = [
            Heard::Text("a".into()),
            Heard::Text("bc".into()),
            Heard::Binary("d".into()),
            Heard::Binary("efg".into()),
            Heard::Text("h".into()),
        ];
        assert_eq!(hear_at_every_cut(role, &wire(role, &frames)), expected);
    }
}

#[test]
fn w5_4_04_control_frames_may_stand_between_fragments() {
    for role in ROLES {
        let parts = fragments(b"abcdef", &[1, 2, 0, 3]);
        for at in 1..parts.len() {
            for (control, heard) in [
                (Frame::ping("p"), Heard::Ping("p".into())),
                (Frame::pong([7; 125]), Heard::Pong(vec![7; 125])),
                (Frame::ping(""), Heard::Ping(vec![])),
            ] {
                let mut frames = parts.clone();
                frames.insert(at, control);
                let expected = [heard, Heard::Binary(b"abcdef".to_vec())];
                assert_eq!(hear_at_every_cut(role, &wire(role, &frames)), expected);
            }
        }
    }
}

#[test]
fn w5_4_05_a_ping_in_the_middle_of_a_message_is_answered_at_once() {
    for role in ROLES {
        let mut end = Endpoint::open(role);
        end.give_frames(&[Frame::text("begin").more(), Frame::ping("now")]);
        assert_eq!(end.frames(), [Frame::pong("now")]);
        assert!(end.messages().is_empty(), "the message is not complete");
        // A Close in the middle ends the connection, and the message never comes.
        end.give_frames(&[Frame::close(1001, ""), Frame::continuation("end")]);
        assert_eq!(end.frames(), [Frame::close(1001, "")]);
        assert!(end.messages().is_empty());
    }
}

#[test]
fn w5_4_06_a_control_frame_is_never_fragmented() {
    for role in ROLES {
        for opcode in [8, 9, 10] {
            for frame in [Frame::new(opcode, ""), Frame::new(opcode, b"\x03\xe8")] {
                let expected = failed(ProtocolError::FragmentedControl);
                assert_eq!(hear(role, &frame.more().to(role)), expected);
            }
            assert_eq!(hear(role, &[opcode]), failed(ProtocolError::FragmentedControl));
        }
    }
}

#[test]
fn w5_4_07_fragments_join_in_their_order() {
    let mut random = Random::from_seed(54);
    for role in ROLES {
        for _ in 0..200 {
            let sizes: Vec<_> = random.bytes::<20>().map(usize::from).into();
            let payload: Vec<u8> = (0..sizes.iter().sum()).map(|i: usize| (i * 7) as u8).collect();
            let frames = fragments(&payload, &sizes);
            assert_eq!(hear(role, &wire(role, &frames)), [Heard::Binary(payload)]);
        }
    }
}

#[test]
fn w5_4_08_messages_do_not_interleave() {
    for role in ROLES {
        for first in [1, 2] {
            for second in [Frame::text("b"), Frame::binary("b"), Frame::text("").more()] {
                let frames = [Frame::new(first, "a").more(), second.clone()];
                let expected = failed(ProtocolError::InterleavedMessage);
                assert_eq!(hear(role, &wire(role, &frames)), expected);
                let frames =
                    [Frame::new(first, "a").more(), Frame::continuation("").more(), second.clone()];
                assert_eq!(hear(role, &wire(role, &frames)), expected);
            }
        }
    }
}

#[test]
fn w5_4_09_a_continuation_needs_something_to_continue() {
    for role in ROLES {
        for orphan in [Frame::continuation(""), Frame::continuation("x").more()] {
            let expected = ProtocolError::UnexpectedContinuation;
            assert_eq!(hear(role, &orphan.to(role)), failed(expected));
            let behind = [Frame::text("a").more(), Frame::continuation("b"), orphan.clone()];
            let heard = hear(role, &wire(role, &behind));
            assert_eq!(heard, [Heard::Text("ab".into()), Heard::Failed(expected)]);
            let behind = [Frame::text("a"), orphan];
            let heard = hear(role, &wire(role, &behind));
            assert_eq!(heard, [Heard::Text("a".into()), Heard::Failed(expected)]);
        }
    }
}

#[test]
fn w5_4_10_a_message_has_the_kind_of_its_first_fragment() {
    for role in ROLES {
        let parts = [Frame::continuation("b").more(), Frame::continuation("c")];
        let text = [&[Frame::text("a").more()][..], &parts].concat();
        assert_eq!(hear(role, &wire(role, &text)), [Heard::Text("abc".into())]);
        let binary = [&[Frame::binary("a").more()][..], &parts].concat();
        assert_eq!(hear(role, &wire(role, &binary)), [Heard::Binary("abc".into())]);
    }
}

#[test]
fn w5_4_11_a_message_of_any_size_is_sent_as_one_frame() {
    for role in ROLES {
        for len in [0, 1, 125, 126, 65_535, 65_536, 1 << 20] {
            let mut end = Endpoint::open(role);
            end.send(&vec![7; len]);
            assert!(end.frames() == [Frame::binary(vec![7; len])], "{len} bytes");
        }
    }
}

#[test]
fn w5_4_12_the_borders_of_frames_mean_nothing() {
    let payload = b"the same message";
    for role in ROLES {
        for first in 0..=payload.len() {
            for second in first..=payload.len() {
                let sizes = [first, second - first, payload.len() - second];
                let mut end = Endpoint::open(role);
                end.give_frames(&fragments(payload, &sizes));
                assert_eq!(end.messages()[0].as_message(), Message::binary(payload));
            }
        }
    }
}

#[test]
fn w5_4_13_the_fragments_of_a_message_are_bounded_empty_ones_too() {
    let mut limits = Limits::new();
    limits.fragments = 10;
    for role in ROLES {
        let mut ear = Ear::limited(role, limits);
        ear.give(&wire(role, &[&[Frame::text("").more()][..], &parts(9)].concat()));
        assert_eq!((ear.receiver.assembled(), ear.take()), (0, vec![]), "ten are allowed");
        ear.give(&Frame::continuation("").to(role));
        let expected = ProtocolError::TooManyFragments { limit: 10 };
        assert_eq!(ear.take(), failed(expected), "even the last");

        // The count starts anew with each message.
        let message = [&[Frame::text("").more()][..], &parts(8), &[Frame::continuation("")]];
        let bytes = wire(role, &message.concat()).repeat(5);
        let heard = Ear::limited(role, limits).give(&bytes).take();
        assert_eq!(heard, vec![Heard::Text(vec![]); 5]);
    }

    // By default it takes 131,072 of them, which pin nothing.
    let mut server = Endpoint::open(Role::Server);
    server.give_frames(&[Frame::binary("").more()]);
    let block = wire(Role::Server, &parts(1 << 12));
    for _ in 0..(1 << 17) / (1 << 12) {
        assert!(server.connection.is_open());
        server.give(&block);
    }
    assert_eq!(server.frames(), [Frame::fault(ProtocolError::TooManyFragments { limit: 1 << 17 })]);
    assert!(server.messages().is_empty() && server.is_shut_down());
}

fn parts(count: usize) -> Vec<Frame> {
    vec![Frame::continuation("").more(); count]
}
