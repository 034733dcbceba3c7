//! Sections 5.1 and 5.3: who masks, and with what.

use std::sync::atomic::{AtomicU32, Ordering};

use storm_proto::websocket::{Limits, Role};
use storm_proto::{Event, ProtocolError, Random, Receiver, SendError};

use crate::support::endpoint::{Endpoint, quiet};
use crate::support::wire::{Frame, Heard, KEY, ROLES, Seen, hear, hear_at_every_cut, read};

/// Sends frames of every kind: messages, Pings of the heartbeat, Pongs, a Close.
fn all_kinds(role: Role) -> Vec<Seen> {
    let mut options = quiet();
    options.websocket.heartbeat = storm_proto::Heartbeat::every(std::time::Duration::from_secs(1));
    let mut end = Endpoint::open_with(role, options);
    let mut random = Random::from_seed(51);
    for round in 0..3000 {
        let payload = random.bytes::<200>();
        let len = usize::from(payload[0]) % 200;
        end.send(&payload[..len]).send("text");
        end.give_frames(&[Frame::ping(&payload[..len.min(125)])]);
        if round % 10 == 0 {
            end.wait_millis(1000);
        }
    }
    end.close(1000, "bye");
    let seen = read(&end.written);
    let mut opcodes: Vec<_> = seen.iter().map(|seen| seen.frame.opcode).collect();
    opcodes.sort_unstable();
    opcodes.dedup();
    assert_eq!(opcodes, [1, 2, 8, 9, 10], "every kind was sent");
    assert_eq!(seen.len(), 3 * 3000 + 300 + 1);
    seen
}

#[test]
fn w5_1_01_a_client_masks_every_frame() {
    assert!(all_kinds(Role::Client).iter().all(|seen| seen.key.is_some()));
}

#[test]
fn w5_1_02_a_server_ends_the_connection_on_a_frame_without_a_mask() {
    let mut server = Endpoint::open(Role::Server);
    server.give(&[0x81, 0x05, 0x48, 0x65, 0x6c, 0x6c, 0x6f]);
    assert_eq!(server.frames(), [Frame::fault(ProtocolError::Unmasked)]);
    assert!(server.messages().is_empty() && server.is_shut_down());
    // The mask bit alone decides, not the payload.
    for opcode in [0x81, 0x82, 0x88, 0x89, 0x8a, 0x01] {
        let heard = hear(Role::Server, &[opcode, 0x00]);
        assert_eq!(heard, [Heard::Failed(ProtocolError::Unmasked)]);
    }
}

#[test]
fn w5_1_03_a_server_masks_no_frame() {
    assert!(all_kinds(Role::Server).iter().all(|seen| seen.key.is_none()));
}

#[test]
fn w5_1_04_a_client_ends_the_connection_on_a_frame_with_a_mask() {
    let mut client = Endpoint::open(Role::Client);
    client.give(&[0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58]);
    assert_eq!(client.frames(), [Frame::fault(ProtocolError::Masked)]);
    assert!(client.messages().is_empty() && client.is_shut_down());
    for opcode in [0x81, 0x82, 0x88, 0x89, 0x8a, 0x01] {
        let heard = hear(Role::Client, &[opcode, 0x80, 0, 0, 0, 0]);
        assert_eq!(heard, [Heard::Failed(ProtocolError::Masked)], "even with a key of zeros");
    }
}

#[test]
fn w5_1_05_data_may_be_sent_from_the_opening_to_our_close() {
    for role in ROLES {
        let mut end = Endpoint::open(role);
        end.send("open");
        assert_eq!(end.frames(), [Frame::text("open")]);
        end.close(1000, "");
        assert_eq!(end.connection.sender().send("late"), Err(SendError::Closed));
        assert_eq!(end.frames(), [Frame::close(1000, "")]);
    }
}

#[test]
fn w5_3_01_every_frame_has_a_key_of_its_own() {
    // The same source, drawn from beside the client: sixteen bytes for the handshake, then
    // four for each frame in order, control frames included.
    let mut expected = Random::from_seed(53);
    let _ = expected.bytes::<16>();
    let mut client = Endpoint::open_client(Random::from_seed(53));
    for _ in 0..5000 {
        client.send("message").give_frames(&[Frame::ping("p")]);
    }
    client.close(1000, "");
    let keys: Vec<_> = read(&client.written).into_iter().map(|seen| seen.key.unwrap()).collect();
    assert_eq!(keys.len(), 10_001);
    for key in &keys {
        assert_eq!(*key, expected.key());
    }
    assert!(keys.windows(2).all(|pair| pair[0] != pair[1]), "no key twice in a row");
}

#[cfg(feature = "std")]
#[test]
fn w5_3_02_the_systems_generator_gives_evenly_spread_keys() {
    const COUNT: usize = 1 << 16;
    assert_eq!(format!("{:?}", Random::os()), "Random(system)");
    let mut client = Endpoint::open_client(Random::os());
    for _ in 0..COUNT {
        client.send("");
    }
    let mut keys: Vec<_> =
        read(&client.written).into_iter().map(|seen| seen.key.unwrap()).collect();
    for position in 0..4 {
        let mut counts = [0i64; 256];
        keys.iter().for_each(|key| counts[usize::from(key[position])] += 1);
        let mean = COUNT as i64 / 256;
        let chi_square: i64 = counts.iter().map(|n| (n - mean) * (n - mean)).sum::<i64>() / mean;
        // 255 degrees of freedom: seven standard deviations above and below.
        assert!((97..414).contains(&chi_square), "{chi_square} at position {position}");
    }
    keys.sort_unstable();
    keys.dedup();
    // Half a pair is expected to collide; sixteen are a broken generator.
    assert!(keys.len() > COUNT - 16);
}

#[test]
fn w5_3_03_keys_are_the_bytes_of_the_source_each_used_once() {
    static DRAWN: AtomicU32 = AtomicU32::new(0);
    // A source that counts: whatever a generator in between did would show.
    let random = Random::new(|bytes| {
        for word in bytes.chunks_mut(4) {
            word.copy_from_slice(&DRAWN.fetch_add(1, Ordering::Relaxed).to_be_bytes());
        }
    });
    let mut client = Endpoint::open_client(random);
    for _ in 0..1000 {
        client.send("x");
    }
    let keys = read(&client.written).into_iter().map(|seen| seen.key.unwrap());
    // The first four went into the handshake.
    assert!(keys.eq((4..1004u32).map(u32::to_be_bytes)));
}

#[test]
fn w5_3_04_each_octet_is_xored_with_its_octet_of_the_key() {
    let data: Vec<u8> = (0..512u32).map(|i| (i * 11) as u8).collect();
    for len in 0..512 {
        for shift in 0..16 {
            let key = [1u8, 2, 4, 8].map(|byte| byte.rotate_left(shift as u32 % 8));
            // Alignment: the frame starts anywhere in the buffer.
            let mut buffer = vec![0; shift];
            buffer.extend(Frame::binary(&data[..len]).masked(key));
            let mut receiver = Receiver::websocket(Role::Server, Limits::new());
            let mut input = &mut buffer[shift..];
            let Some(Event::Message(message)) = receiver.next(&mut input) else { panic!() };
            assert_eq!(message.as_bytes(), &data[..len]);
        }
    }
}

#[test]
fn w5_3_05_masking_does_not_change_the_length() {
    for len in (0..300).chain([65_535, 65_536]) {
        let mut client = Endpoint::open(Role::Client);
        client.send(&vec![7; len]);
        let seen = read(&client.written);
        assert_eq!((seen.len(), seen[0].frame.payload.len()), (1, len));
        let mut server = Endpoint::open(Role::Server);
        server.send(&vec![7; len]);
        assert_eq!(client.written.len(), server.written.len() + 4, "a key longer, no more");
    }
}

#[test]
fn w5_3_06_the_mask_goes_on_where_a_payload_was_cut() {
    let payload: Vec<u8> = (0..200).collect();
    let bytes = Frame::binary(&payload).masked(KEY);
    assert_eq!(hear_at_every_cut(Role::Server, &bytes), [Heard::Binary(payload)]);
}
