//! Section 5.2: the base framing.

use storm_proto::websocket::{Limits, Role};
use storm_proto::{ProtocolError, Random};

use crate::support::endpoint::{Endpoint, pair};
use crate::support::faults;
use crate::support::wire::{
    Ear, Frame, Heard, ROLES, frames_from, header_to, hear, hear_at_every_cut, wire,
};

const OPCODES: [u8; 6] = [0, 1, 2, 8, 9, 10];

fn failed(error: ProtocolError) -> Vec<Heard> {
    vec![Heard::Failed(error)]
}

/// Limits that only memory bounds.
fn unlimited() -> Limits {
    let mut limits = Limits::new();
    (limits.frame, limits.message) = (usize::MAX, usize::MAX);
    limits
}

#[test]
fn w5_2_01_reserved_bits_fail_without_an_extension() {
    for role in ROLES {
        for rsv in 1..8 {
            for opcode in OPCODES {
                for frame in [Frame::new(opcode, ""), Frame::new(opcode, "abc").more()] {
                    let bytes = frame.rsv(rsv).to(role);
                    assert_eq!(hear(role, &bytes), failed(ProtocolError::ReservedBits));
                    // In the middle of a message too.
                    let bytes = [Frame::text("a").more().to(role), bytes].concat();
                    assert_eq!(hear(role, &bytes), failed(ProtocolError::ReservedBits));
                }
            }
        }
        let mut end = Endpoint::open(role);
        end.give(&Frame::text("").rsv(4).to(role));
        assert_eq!(end.frames(), [Frame::fault(ProtocolError::ReservedBits)]);
    }
}

#[test]
fn w5_2_02_reserved_bits_are_sent_as_zero() {
    for role in ROLES {
        let mut end = Endpoint::open(role);
        for len in [0, 1, 125, 126, 65_535, 65_536] {
            end.send(&vec![b'x'; len]).send(&"x".repeat(len));
            end.give_frames(&[Frame::ping("p")]);
        }
        end.close(1000, "bye");
        // Checks that all reserved bits are zero.
        assert_eq!(frames_from(role, &end.written).len(), 19);
    }
}

#[test]
fn w5_2_03_reserved_opcodes_fail() {
    for role in ROLES {
        for opcode in (3..8).chain(11..16) {
            for len in [0, 5, 125] {
                for frame in [Frame::new(opcode, vec![7; len]), Frame::new(opcode, "").more()] {
                    let expected = failed(ProtocolError::ReservedOpcode(opcode));
                    assert_eq!(hear(role, &frame.to(role)), expected);
                    let behind = [Frame::text("x").more().to(role), frame.to(role)].concat();
                    assert_eq!(hear(role, &behind), expected);
                }
            }
            // The first byte is enough.
            let expected = failed(ProtocolError::ReservedOpcode(opcode));
            assert_eq!(hear(role, &[0x80 | opcode]), expected);
        }
    }
}

#[test]
fn w5_2_04_lengths_to_125_stand_in_the_second_byte() {
    for role in ROLES {
        for len in 0..=125 {
            let payload = vec![b'x'; len];
            let bytes = Frame::text(&payload).to(role);
            assert_eq!(usize::from(bytes[1] & 0x7F), len);
            assert_eq!(hear(role, &bytes), [Heard::Text(payload)]);
        }
    }
}

#[test]
fn w5_2_05_the_length_126_announces_sixteen_bits() {
    for role in ROLES {
        for len in [126, 127, 255, 256, 65_534, 65_535] {
            let payload = vec![7; len];
            let bytes = Frame::binary(&payload).to(role);
            assert_eq!(bytes[1] & 0x7F, 126);
            assert_eq!(hear(role, &bytes), [Heard::Binary(payload)]);
        }
    }
}

#[test]
fn w5_2_06_the_length_127_announces_sixty_four_bits() {
    for role in ROLES {
        for len in [65_536, 65_537, 1 << 20] {
            let payload = vec![7; len];
            let bytes = Frame::binary(&payload).to(role);
            assert_eq!(bytes[1] & 0x7F, 127);
            assert_eq!(hear(role, &bytes), [Heard::Binary(payload)]);
        }
        // What does not fit into memory here is read too, and refused by its number.
        for len in [1 << 32, (1 << 32) + 5, 1 << 62, i64::MAX as u64] {
            let bytes = header_to(role, 0x82, len, 8);
            let limit = Limits::new().message;
            assert_eq!(hear(role, &bytes), failed(ProtocolError::MessageTooLarge { limit }));
            let mut ear = Ear::limited(role, unlimited());
            assert_eq!(ear.give(&bytes).take(), []);
            assert_eq!(ear.receiver.assembled(), 0);
        }
    }
}

#[test]
fn w5_2_07_a_length_with_its_top_bit_set_is_refused() {
    for role in ROLES {
        for len in [1 << 63, (1 << 63) + 1, u64::MAX, u64::MAX - 3] {
            for first in [0x82, 0x81, 0x02, 0x01] {
                let bytes = header_to(role, first, len, 8);
                let mut ear = Ear::limited(role, unlimited());
                assert_eq!(ear.give(&bytes).take(), failed(ProtocolError::LengthOverflow));
                assert_eq!(ear.receiver.assembled(), 0);
                assert!(ear.receiver.direct().is_none());
                assert_eq!(ear.give(&[0; 1000]).take(), [], "and nothing goes on");
                // The byte with the bit is enough.
                assert_eq!(hear(role, &bytes[..3]), failed(ProtocolError::LengthOverflow));
            }
        }
        let mut end = Endpoint::open(role);
        end.give(&header_to(role, 0x82, 1 << 63, 8));
        assert_eq!(end.frames(), [Frame::fault(ProtocolError::LengthOverflow)]);
    }
}

#[test]
fn w5_2_08_lengths_are_sent_in_their_shortest_form() {
    for role in ROLES {
        let key = if role == Role::Client { 4 } else { 0 };
        for (len, header) in
            [(0, 2), (125, 2), (126, 4), (127, 4), (65_535, 4), (65_536, 10), (65_537, 10)]
        {
            let mut end = Endpoint::open(role);
            end.send(&vec![7; len]);
            assert_eq!(end.written.len(), header + key + len, "{len} bytes");
            assert_eq!(end.frames(), [Frame::binary(vec![7; len])]);
        }
    }
}

#[test]
fn w5_2_09_a_length_in_a_longer_form_is_refused() {
    let refused = |role, len, form| {
        for first in [0x82, 0x81, 0x01] {
            let bytes = header_to(role, first, len, form);
            assert_eq!(hear(role, &bytes), failed(ProtocolError::LengthNotMinimal), "{len}");
        }
    };
    for role in ROLES {
        for len in 0..=125 {
            refused(role, len, 2);
            refused(role, len, 8);
        }
        for len in [126, 127, 255, 256, 1000, 65_534, 65_535] {
            refused(role, len, 8);
        }
        // A control frame has no longer form at all.
        for form in [2, 8] {
            let bytes = header_to(role, 0x89, 5, form);
            assert_eq!(hear(role, &bytes), failed(ProtocolError::ControlTooLong));
        }
    }
}

#[test]
fn w5_2_10_a_length_counts_the_payload_and_nothing_else() {
    let (mut client, mut server) = pair();
    server.app.echo = true;
    for len in (0..300).chain(65_530..65_540) {
        let payload = vec![len as u8; len];
        client.send(&payload);
        let request = std::mem::take(&mut client.written);
        server.give(&request);
        let answer = std::mem::take(&mut server.written);
        client.give(&answer);
        for end in [&mut client, &mut server] {
            let messages = end.messages();
            assert_eq!(messages.len(), 1);
            assert_eq!(messages[0].as_bytes(), payload);
        }
    }
}

#[test]
fn w5_2_11_an_announced_length_alone_costs_nothing() {
    for role in ROLES {
        for len in [126, 65_535, 65_536, 1 << 20] {
            let mut ear = Ear::new(role);
            ear.give(&header_to(role, 0x82, len, if len < 65_536 { 2 } else { 8 }));
            assert_eq!((ear.receiver.assembled(), ear.take()), (0, vec![]));
            assert!(ear.receiver.direct().is_none());
            ear.give(&[7; 20]);
            assert_eq!(ear.receiver.assembled(), 20, "only what was received");
        }
        let mut end = Endpoint::open(role);
        end.give(&header_to(role, 0x82, i64::MAX as u64, 8));
        let fault = ProtocolError::MessageTooLarge { limit: 4 << 20 };
        assert_eq!(end.frames(), [Frame::fault(fault)]);
        // The sum of a message is not fooled by two halves of the number range.
        let mut ear = Ear::limited(role, unlimited());
        ear.give(&Frame::binary("x").more().to(role));
        ear.give(&header_to(role, 0x80, i64::MAX as u64, 8)).give(&[7; 100]);
        assert_eq!((ear.receiver.assembled(), ear.take()), (101, vec![]));
    }
}

#[test]
fn w5_2_12_the_same_events_come_from_every_cut() {
    for role in ROLES {
        let talk = [
            Frame::text("hello"),
            Frame::ping("p"),
            Frame::text("\u{20ac}\u{1f600}".as_bytes()).more(),
            Frame::pong([7; 125]),
            Frame::continuation("").more(),
            Frame::continuation("end"),
            Frame::binary([9; 130]),
            Frame::binary(""),
            Frame::close(3000, "bye"),
        ];
        let heard = hear_at_every_cut(role, &wire(role, &talk));
        assert_eq!(heard.len(), 7);
        assert_eq!(heard[6], Heard::Close(3000, "bye".into()));
        for fault in faults::all(role) {
            let good = Frame::text("before").to(role);
            let bytes = [&good[..], &fault.wire, &good].concat();
            let whole = Ear::limited(role, faults::limits()).give(&bytes).take();
            assert_eq!(whole, [Heard::Text("before".into()), Heard::Failed(fault.error)]);
            for cut in 0..=bytes.len() {
                let (head, tail) = bytes.split_at(cut);
                let mut ear = Ear::limited(role, faults::limits());
                assert_eq!(ear.give(head).give(tail).take(), whole, "cut at {cut}");
            }
        }
    }
}

#[test]
fn w5_2_12_a_large_message_is_the_same_by_every_way_in() {
    let mut random = Random::from_seed(52);
    for role in ROLES {
        for len in [16_383, 16_384, 16_385, 40_000, 65_536, 300_000] {
            let payload: Vec<u8> = (0..len).map(|i| (i % 251) as u8).collect();
            let frames = [Frame::binary(&payload).more(), Frame::continuation(&payload)];
            let bytes = [wire(role, &frames), Frame::text("behind").to(role)].concat();
            let expected = [Heard::Binary(payload.repeat(2)), Heard::Text("behind".into())];
            assert!(hear(role, &bytes) == expected);
            assert!(Ear::new(role).give_directly(&bytes).take() == expected, "{len} directly");
            let mut ear = Ear::new(role);
            let mut rest = &bytes[..];
            while !rest.is_empty() {
                let size = usize::from(u16::from_le_bytes(random.bytes())) % 9000;
                let (piece, behind) = rest.split_at(size.min(rest.len()));
                ear.give(piece);
                rest = behind;
            }
            assert!(ear.take() == expected, "{len} in random pieces");
        }
    }
}

#[test]
fn w5_2_13_all_of_a_payload_is_application_data() {
    for role in ROLES {
        for len in [0, 1, 2, 125, 126, 1000] {
            let payload: Vec<u8> = (0..len).map(|i| i as u8).collect();
            assert_eq!(hear(role, &Frame::binary(&payload).to(role)), [Heard::Binary(payload)]);
        }
    }
}
