//! Sections 7.2.1 and 7.2.2: compressing and inflating.

use storm_proto::websocket::{Deflate, Role};
use storm_proto::{Prepared, ProtocolError, Random};

use super::party::{
    OTHER, agreed, binary, ear, frame_of, hear, json, noise, sender, text, with_context,
    without_context, written,
};
use crate::support::inflate::inflate;
use crate::support::wire::{Frame, Heard, ROLES, read};

const CORRUPT: Heard = Heard::Failed(ProtocolError::InvalidDeflate);

/// Messages of many sizes and kinds.
fn messages() -> Vec<Vec<u8>> {
    let mut all = vec![b"".to_vec(), b"a".to_vec(), noise(40_000, 1), vec![0; 70_000]];
    all.extend((0..40).map(|n| json(1 << (n % 17), n).into_bytes()));
    all.extend((0..20).map(|n| [noise(50 * n, n as u64), vec![7; 90 * n]].concat()));
    all
}

#[test]
fn d7_2_1_01_the_tail_of_the_last_empty_block_is_not_sent() {
    for level in 1..=9 {
        let mut sender = sender(Role::Server, &agreed(&with_context().level(level)));
        let mut history = Vec::new();
        for message in messages() {
            let frame = frame_of(&mut sender, &message);
            if frame.rsv == 0 {
                history.clear();
                continue;
            }
            assert!(!frame.payload.ends_with(&[0, 0, 0xff, 0xff]) && !frame.payload.is_empty());
            // With it the blocks are whole: a decoder of its own says so.
            let inflated = inflate(&frame.payload, &history).unwrap();
            assert!(inflated.bytes == message, "the same message");
            history.extend(message);
        }
    }
}

#[test]
fn d7_2_1_02_all_kinds_of_blocks_are_taken() {
    // Stored, fixed and dynamic ones in one message, from a compressor that stops in between.
    let mut peer = sender(Role::Client, &agreed(&with_context()));
    let (large, small) = (json(5000, 1), json(20, 2));
    let pieces = [
        frame_of(&mut peer, &large).payload,
        vec![0, 0, 0xff, 0xff],
        frame_of(&mut peer, &small).payload,
        vec![0, 0, 0xff, 0xff],
        b"\x00\x03\x00\xfc\xffabc\x00\x00\x00\xff\xff\x00".to_vec(),
    ];
    let heard = hear(Role::Server, &agreed(&with_context()), &[binary(pieces.concat())]);
    let expected = [large.as_bytes(), small.as_bytes(), b"abc"].concat();
    assert!(heard == [Heard::Binary(expected)]);
}

#[test]
fn d7_2_1_03_a_final_block_is_padded_and_blocks_may_follow() {
    let last = [0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00];
    for role in ROLES {
        let hello = |times| [Heard::Text("Hello".repeat(times).into())];
        for settings in [with_context(), without_context()] {
            let terms = agreed(&settings);
            let hear = |payload: &[u8]| hear(role, &terms, &[text(payload)]);
            assert_eq!(hear(&[&last[..], &[0]].concat()), hello(1));
            // Without the byte behind it nothing is in doubt either.
            assert_eq!(hear(&last), hello(1));
            assert_eq!(hear(&[last, last].concat()), hello(2));
            // What follows may refer to what came before, as within any message.
            let refers = [0xf2, 0x00, 0x11, 0x00, 0x00];
            assert_eq!(hear(&[&last[..], &refers].concat()), hello(2));
            // But a chain of them is no message, it is work.
            assert_eq!(hear(&last.repeat(17)), hello(17));
            let limit = ProtocolError::TooManyFinalBlocks { limit: 16 };
            assert_eq!(hear(&last.repeat(18)), [Heard::Failed(limit)]);
        }
    }
}

/// Sends the same text twice; true if the second refers to the first.
fn refers_back(role: Role, settings: &Deflate) -> bool {
    let mut sender = sender(role, &agreed(settings));
    let message = json(600, 3);
    frame_of(&mut sender, &message);
    inflate(&frame_of(&mut sender, &message).payload, &[]).is_err()
}

#[test]
fn d7_2_1_04_without_client_context_each_message_of_a_client_starts_empty() {
    let settings = with_context().client_no_context_takeover(true);
    assert!(!refers_back(Role::Client, &settings));
    assert!(refers_back(Role::Server, &settings), "and only that");
    assert!(refers_back(Role::Client, &with_context()));
}

#[test]
fn d7_2_1_05_without_server_context_each_message_of_a_server_starts_empty() {
    let settings = with_context().server_no_context_takeover(true);
    assert!(!refers_back(Role::Server, &settings));
    assert!(refers_back(Role::Client, &settings), "and only that");
    assert!(refers_back(Role::Server, &with_context()));
}

#[test]
fn d7_2_2_01_what_was_compressed_is_inflated_with_all_windows_and_contexts() {
    let all = messages();
    for bits in 9..=15 {
        for (server, client) in [(false, false), (false, true), (true, false), (true, true)] {
            let terms = agreed(
                &Deflate::new()
                    .threshold(0)
                    .server_no_context_takeover(server)
                    .client_no_context_takeover(client)
                    .server_max_window_bits(bits)
                    .client_max_window_bits(bits),
            );
            for role in ROLES {
                let (mut from, mut to) = (sender(OTHER(role), &terms), ear(role, &terms));
                for message in &all {
                    from.send(message).unwrap();
                    assert!(
                        to.give(&written(&mut from)).take() == [Heard::Binary(message.clone())]
                    );
                }
            }
        }
    }
}

#[test]
fn d7_2_2_01_what_grew_leaves_nothing_in_the_engine_for_others() {
    for settings in [with_context(), without_context(), without_context().level(6)] {
        let terms = agreed(&settings);
        let (mut from, mut to) = (sender(Role::Client, &terms), ear(Role::Server, &terms));
        for round in 0..600u64 {
            // Again and again what cannot be compressed, now and then what can.
            let len = 997 * (1 + round as usize % 20);
            let message = match round % 100 {
                99 => json(len, round).into_bytes(),
                _ => noise(len, round),
            };
            from.send(&message).unwrap();
            assert!(to.give(&written(&mut from)).take() == [Heard::Binary(message)]);
        }
    }
}

#[test]
fn d7_2_2_01_a_prepared_message_is_inflated_like_any_other() {
    let all = messages().into_iter().map(|message| Prepared::new(&message)).collect::<Vec<_>>();
    for settings in [with_context(), without_context(), without_context().server_max_window_bits(9)]
    {
        let terms = agreed(&settings);
        for role in ROLES {
            let (mut from, mut to) = (sender(OTHER(role), &terms), ear(role, &terms));
            for prepared in &all {
                from.send_prepared(prepared).unwrap();
                let heard = to.give(&written(&mut from)).take();
                assert!(heard == [Heard::Binary(prepared.payload().into())]);
            }
        }
    }
}

#[test]
fn d7_2_2_02_the_context_lives_from_message_to_message_if_it_was_agreed() {
    let hello = text([0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00]);
    let again = text([0xf2, 0x00, 0x11, 0x00, 0x00]);
    for role in ROLES {
        let with = agreed(&with_context());
        let without = agreed(&without_context());
        let good = Heard::Text(b"Hello".into());
        let twice = [hello.clone(), again.clone()];
        assert_eq!(hear(role, &with, &twice), [good.clone(), good.clone()]);
        assert_eq!(hear(role, &without, &twice), [good, CORRUPT]);
        assert_eq!(hear(role, &with, &twice[1..]), [CORRUPT], "nothing came before");
    }
}

#[test]
fn d7_2_2_04_corrupt_data_fails_the_connection_and_nothing_panics() {
    let mut random = Random::from_seed(72);
    let terms = agreed(&with_context());
    let mut peer = sender(Role::Client, &terms);
    let samples: Vec<_> = [json(300, 1).into_bytes(), noise(60, 2), vec![9; 500]]
        .iter()
        .map(|message| frame_of(&mut peer, message).payload)
        .collect();
    let (mut failed, mut passed) = (0, 0);
    for round in 0..20_000 {
        let mut payload = samples[round % samples.len()].clone();
        let [at, bit, cut, extra] = random.bytes::<4>();
        let at = usize::from(at) % payload.len();
        payload[at] ^= 1 << (bit % 8);
        match cut % 4 {
            0 => payload.truncate(at),
            1 => payload.push(extra),
            _ => {}
        }
        let mut ear = ear(Role::Server, &terms);
        match &ear.give(&binary(payload).to(Role::Server)).take()[..] {
            [Heard::Binary(_)] => passed += 1,
            [heard] if *heard == CORRUPT => failed += 1,
            other => panic!("{other:?}"),
        }
    }
    assert!(failed > 5000 && passed > 500, "{failed} failed, {passed} are other messages");
}

#[test]
fn d7_2_2_04_a_payload_that_ends_inside_of_a_block_is_corrupt() {
    let terms = agreed(&with_context());
    let mut peer = sender(Role::Client, &terms);
    for message in [json(3, 1), json(50, 1), json(900, 1)] {
        let payload = frame_of(&mut peer, &message).payload;
        // All but a cut at the very start, which is an empty message.
        for cut in 1..payload.len() - 1 {
            let heard = hear(Role::Server, &terms, &[binary(&payload[..cut])]);
            assert_eq!(heard, [CORRUPT], "{} bytes cut at {cut}", payload.len());
        }
    }
    // Blocks of no kind, lengths that differ, garbage behind the end.
    for payload in [&[0x07][..], &[0, 5, 0, 5, 0, 1], &[0xf3, 0x48, 0xcd, 0xc9, 0xc9, 7, 0, 0xff]] {
        assert_eq!(hear(Role::Server, &terms, &[binary(payload)]), [CORRUPT]);
    }
}

#[test]
fn d7_2_2_05_nothing_of_one_message_reaches_the_next() {
    // The first ends with bytes that begin a block: they fail it, and are not kept for the
    // message behind it.
    let first = [&[0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00][..], &[0, 5, 0]].concat();
    for role in ROLES {
        for settings in [with_context(), without_context()] {
            let frames = [text(&first), text([0xfa, 0xff, b'E', b'v', b'i', b'l', b'!', 0])];
            assert_eq!(hear(role, &agreed(&settings), &frames), [CORRUPT]);
        }
    }
    // Nor does a message that was begun and ended in the middle of a byte.
    let terms = agreed(&without_context());
    let mut peer = sender(Role::Client, &terms);
    let frames: Vec<Frame> =
        (0..50).map(|n| frame_of(&mut peer, &json(n * 40, n as u64))).collect();
    let heard = hear(Role::Server, &terms, &frames[..4]);
    assert_eq!(heard.len(), 4);
    assert_eq!(read(&frames[9].plain())[0].frame, frames[9]);
}
