//! Section 8, and what others learned: limits, bombs, memory.

use storm_proto::websocket::{Limits, Role};
use storm_proto::{Event, ProtocolError};

use super::party::{
    agreed, binary, frame_of, hear, json, limited_ear, noise, receiver, sender, text, with_context,
    without_context,
};
use crate::support::wire::{Frame, Heard, ROLES};

fn limited(message: usize) -> Limits {
    let mut limits = Limits::new();
    limits.message = message;
    limits
}

#[test]
fn d8_02_the_limit_holds_for_inflated_bytes_exactly() {
    let terms = agreed(&with_context());
    for role in ROLES {
        for limit in [1, 5, 100, 511, 512, 513, 5000, 70_000] {
            for filled in [vec![7; limit + 1], noise(limit + 1, 9), json(limit + 1, 9).into()] {
                let mut peer = sender(super::party::OTHER(role), &terms);
                let fits = frame_of(&mut peer, &filled[..limit]);
                let mut peer = sender(super::party::OTHER(role), &terms);
                let over = frame_of(&mut peer, &filled[..]);
                let hear = |frame: &Frame| {
                    limited_ear(role, &terms, limited(limit)).give(&frame.to(role)).take()
                };
                assert!(hear(&fits) == [Heard::Binary(filled[..limit].into())]);
                let failed = Heard::Failed(ProtocolError::MessageTooLarge { limit });
                // What went plain is refused at its header, by the same limit.
                assert!(hear(&over) == [failed]);
            }
        }
    }
}

#[test]
fn d8_02_fragments_count_together() {
    let terms = agreed(&with_context());
    let mut peer = sender(Role::Client, &terms);
    let payload = frame_of(&mut peer, &[7; 101]).payload;
    let frames: Vec<Frame> = payload
        .iter()
        .enumerate()
        .map(|(at, byte)| if at == 0 { binary([*byte]) } else { Frame::continuation([*byte]) })
        .map(Frame::more)
        .collect();
    let mut ear = limited_ear(Role::Server, &terms, limited(100));
    for frame in frames {
        ear.give(&frame.to(Role::Server));
    }
    assert_eq!(ear.take(), [Heard::Failed(ProtocolError::MessageTooLarge { limit: 100 })]);
}

/// 64 MiB of zeros, as nobody compresses them: about 1000 to 1.
fn bomb() -> Vec<u8> {
    let mut peer = sender(Role::Client, &agreed(&without_context().level(9)));
    let payload = frame_of(&mut peer, &vec![0; 64 << 20]).payload;
    assert!((64 << 20) / payload.len() > 900, "{} bytes", payload.len());
    payload
}

#[test]
fn d8_03_a_bomb_costs_no_more_than_the_limit() {
    let limit = 100_000;
    let mut limits = limited(limit);
    limits.frame = 1 << 20;
    let mut receiver = receiver(Role::Server, &agreed(&with_context()));
    assert_eq!(receiver.assembled(), 0);
    let mut limited = limited_ear(Role::Server, &agreed(&with_context()), limits);
    let bytes = binary(bomb()).to(Role::Server);
    for piece in bytes.chunks(100) {
        limited.give(piece);
        assert!(limited.receiver.assembled() <= limit);
    }
    assert_eq!(limited.take(), [Heard::Failed(ProtocolError::MessageTooLarge { limit })]);
    // An innocent default is no help to it either.
    let mut bytes = bytes;
    let event = receiver.next(&mut &mut bytes[..]);
    let limit = Limits::new().message;
    assert_eq!(event, Some(Event::Failed(ProtocolError::MessageTooLarge { limit })));
}

#[test]
fn d8_03_faults_come_in_the_order_of_the_bytes_wherever_they_are_cut() {
    // Invalid text before the limit is crossed, or the data corrupt; and the other way round.
    let terms = agreed(&with_context());
    let heard = |payload: &[u8], limit: usize| {
        let bytes = text(payload).to(Role::Server);
        let give = |cut: usize| {
            let mut ear = limited_ear(Role::Server, &terms, limited(limit));
            ear.give(&bytes[..cut]).give(&bytes[cut..]).take()
        };
        let whole = give(0);
        (0..bytes.len()).for_each(|cut| assert_eq!(give(cut), whole, "cut at {cut}"));
        whole
    };
    let invalid = [&[b'a'; 50][..], b"\xff", &[b'b'; 60]].concat();
    let payload = |message: &[u8]| frame_of(&mut sender(Role::Client, &terms), message).payload;
    let too_large = |limit| [Heard::Failed(ProtocolError::MessageTooLarge { limit })];
    let not_text = [Heard::Failed(ProtocolError::InvalidUtf8)];
    assert_eq!(heard(&payload(&invalid), 100), not_text);
    assert_eq!(heard(&payload(&invalid), 40), too_large(40));
    assert_eq!(heard(&payload(&invalid), 50), too_large(50));
    assert_eq!(heard(&payload(&invalid), 51), not_text);
    let corrupt = |message: &[u8]| {
        let mut peer = sender(Role::Client, &terms);
        [&frame_of(&mut peer, message).payload[..], &[0, 0, 0, 0xff, 0xff, 7, 7]].concat()
    };
    assert_eq!(heard(&corrupt(&invalid), 1000), not_text);
    assert_eq!(heard(&corrupt(&[b'a'; 100]), 99), too_large(99));
    assert_eq!(heard(&corrupt(&[b'a'; 99]), 99), [Heard::Failed(ProtocolError::InvalidDeflate)]);
    assert_eq!(hear(Role::Server, &terms, &[text(payload(&invalid))]), not_text);
}
