//! Section 6: sending and receiving messages.

use std::collections::HashSet;
use std::mem::discriminant;

use storm_proto::websocket::handshake::Offer;
use storm_proto::websocket::{Limits, Role};
use storm_proto::{Message, ProtocolError, Random, SendError};

use crate::support::endpoint::{Endpoint, converse, pair, quiet};
use crate::support::wire::{Ear, Frame, Heard, KEY, ROLES, hear, wire};

#[test]
fn w6_1_01_sending_needs_an_open_connection() {
    // Before it is open a message waits, and is lost if it never opens.
    let mut client = Endpoint::client(quiet(), &Offer::new());
    client.written.clear();
    client.send("early");
    assert!(client.written.is_empty());
    client.give(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(client.connection.sender().send("late"), Err(SendError::Closed));
    assert!(client.end().written.is_empty());
    assert_eq!(client.reason().undelivered, "early".len());

    for role in ROLES {
        let ends: [fn(&mut Endpoint); 5] = [
            |end| {
                end.close(1000, "");
            },
            |end| {
                end.give_frames(&[Frame::close(1000, "")]);
            },
            |end| {
                end.give_frames(&[Frame::new(3, "")]);
            },
            |end| {
                end.end();
            },
            |end| end.connection.abort(),
        ];
        for end_it in ends {
            let mut end = Endpoint::open(role);
            end_it(&mut end);
            end.written.clear();
            assert_eq!(end.connection.sender().send("late"), Err(SendError::Closed));
            assert!(end.settle().written.is_empty());
        }
    }
}

#[test]
fn w6_1_02_the_frame_of_a_message_has_its_opcode_and_fin() {
    for role in ROLES {
        let mut end = Endpoint::open(role);
        end.send("text").send(b"binary").send("").send(b"");
        let expected =
            [Frame::text("text"), Frame::binary("binary"), Frame::text(""), Frame::binary("")];
        assert_eq!(end.frames(), expected);
    }
}

#[test]
fn w6_1_03_what_was_accepted_is_written_or_told_as_lost() {
    let mut random = Random::from_seed(61);
    for role in ROLES {
        for round in 0..200 {
            let mut end = Endpoint::open(role);
            let (mut accepted, mut lens) = (0, Vec::new());
            let mask = if role == Role::Client { 4 } else { 0 };
            let header = |len| if len < 126 { 2 + mask } else { 4 + mask };
            for _ in 0..20 {
                let len = usize::from(u16::from_le_bytes(random.bytes())) % 3000;
                end.connection.sender().send(&vec![7; len]).unwrap();
                accepted += len;
                lens.push(len);
                end.write(usize::from(u16::from_le_bytes(random.bytes())) % 3000);
            }
            match round % 3 {
                0 => end.connection.abort(),
                1 => end.connection.transport_failed(storm_proto::TransportError::new(
                    storm_proto::TransportErrorKind::Reset,
                    None,
                )),
                _ => {
                    end.settle();
                }
            }
            // What is written of payloads: each message but the last one stands there whole.
            let (mut written, mut headers) = (end.written.len(), 0);
            for len in lens {
                let header = header(len).min(written);
                headers += header;
                written -= header + len.min(written - header);
            }
            let reason = end.reason();
            let (lost, messages) = (reason.undelivered, reason.undelivered_messages);
            assert_eq!(end.written.len() - headers + lost, accepted);
            assert!(lost == 0 || messages > 0);
            assert!(round % 3 < 2 || (lost, messages) == (0, 0));
        }
    }
}

/// What a receiver must make of `frames`: sections 5 and 6.2 written down over frames
/// instead of bytes.
fn model(frames: &[Frame], limits: Limits) -> Vec<Heard> {
    let mut heard = Vec::new();
    match model_until_fault(frames, limits, &mut heard) {
        Ok(()) => {}
        Err(error) => heard.push(Heard::Failed(error)),
    }
    heard
}

fn model_until_fault(
    frames: &[Frame],
    limits: Limits,
    heard: &mut Vec<Heard>,
) -> Result<(), ProtocolError> {
    // The message under way: its opcode, its bytes, its fragments.
    let mut open: Option<(u8, Vec<u8>, u32)> = None;
    for frame in frames {
        let Frame { fin, rsv, opcode, ref payload } = *frame;
        let control = opcode >= 8;
        if rsv != 0 {
            return Err(ProtocolError::ReservedBits);
        }
        if !matches!(opcode, 0..=2 | 8..=10) {
            return Err(ProtocolError::ReservedOpcode(opcode));
        }
        if control && !fin {
            return Err(ProtocolError::FragmentedControl);
        }
        if control && payload.len() > 125 {
            return Err(ProtocolError::ControlTooLong);
        }
        match opcode {
            8 => {
                heard.push(model_close(payload)?);
                return Ok(());
            }
            9 => heard.push(Heard::Ping(payload.clone())),
            10 => heard.push(Heard::Pong(payload.clone())),
            _ => {
                let (kind, mut bytes, count) = match (opcode, open.take()) {
                    (0, None) => return Err(ProtocolError::UnexpectedContinuation),
                    (0, Some(message)) => message,
                    (_, Some(_)) => return Err(ProtocolError::InterleavedMessage),
                    (_, None) => (opcode, Vec::new(), 0),
                };
                if payload.len() > limits.frame {
                    let (len, limit) = (payload.len() as u64, limits.frame);
                    return Err(ProtocolError::FrameTooLarge { len, limit });
                }
                if bytes.len() + payload.len() > limits.message {
                    return Err(ProtocolError::MessageTooLarge { limit: limits.message });
                }
                if count == limits.fragments {
                    return Err(ProtocolError::TooManyFragments { limit: limits.fragments });
                }
                bytes.extend_from_slice(payload);
                if kind == 1 {
                    match std::str::from_utf8(&bytes) {
                        Ok(_) => {}
                        // Cut inside a character, which may still be completed.
                        Err(error) if error.error_len().is_none() && !fin => {}
                        Err(_) => return Err(ProtocolError::InvalidUtf8),
                    }
                }
                match (fin, kind) {
                    (false, _) => open = Some((kind, bytes, count + 1)),
                    (true, 1) => heard.push(Heard::Text(bytes)),
                    (true, _) => heard.push(Heard::Binary(bytes)),
                }
            }
        }
    }
    Ok(())
}

fn model_close(payload: &[u8]) -> Result<Heard, ProtocolError> {
    let (code, reason) = match payload {
        [] => return Ok(Heard::Close(1005, String::new())),
        [_] => return Err(ProtocolError::TruncatedClose),
        [high, low, reason @ ..] => (u16::from_be_bytes([*high, *low]), reason),
    };
    if !matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999) {
        return Err(ProtocolError::InvalidCloseCode(code));
    }
    let reason = std::str::from_utf8(reason).map_err(|_| ProtocolError::InvalidCloseReason)?;
    Ok(Heard::Close(code, reason.into()))
}

struct Dice(Random);

impl Dice {
    fn below(&mut self, sides: usize) -> usize {
        usize::from(u16::from_le_bytes(self.0.bytes())) % sides
    }

    /// A frame that is mostly right.
    fn frame(&mut self, in_message: bool) -> Frame {
        let bits = b"a\xc3\xbc\xe2\x82\xac\xf0\x9f\x98\x80z";
        let start = self.below(bits.len());
        let end = start + self.below(bits.len() - start + 1);
        let payload = match self.below(40) {
            0..10 => Vec::new(),
            10..30 => bits[start..end].to_vec(),
            30..38 => vec![b'x'; self.below(40)],
            38 => vec![b'y'; 60 + self.below(140)],
            _ => vec![0xff; self.below(3)],
        };
        let opcode = match (self.below(40), in_message) {
            (0..8, _) => 9,
            (8..12, _) => 10,
            (12, _) => return self.close(),
            (13, _) => 3 + self.below(13) as u8,
            (14..38, true) | (38.., false) => 0,
            _ => 1 + self.below(2) as u8,
        };
        let fin = opcode >= 8 && self.below(50) > 0 || self.below(3) == 0;
        let rsv = if self.below(60) == 0 { 1 + self.below(7) as u8 } else { 0 };
        Frame { fin, rsv, opcode, payload }
    }

    fn close(&mut self) -> Frame {
        let body: [&[u8]; 6] =
            [b"", b"\x03", b"\x03\xe8", b"\x03\xe9bye", b"\x03\xed", b"\x0b\xb8\xff"];
        Frame::new(8, body[self.below(6)])
    }
}

#[test]
fn w6_2_01_every_sequence_of_frames_means_what_the_model_says() {
    let mut limits = Limits::new();
    (limits.frame, limits.message, limits.fragments) = (120, 150, 6);
    let mut dice = Dice(Random::from_seed(62));
    let (mut ends, mut faults) = (HashSet::new(), HashSet::new());
    for round in 0..40_000 {
        let mut frames = Vec::new();
        let mut in_message = false;
        for _ in 0..1 + dice.below(12) {
            let frame = dice.frame(in_message);
            if frame.opcode < 8 {
                in_message = !frame.fin;
            }
            frames.push(frame);
        }
        let role = ROLES[round % 2];
        let bytes = wire(role, &frames);
        let expected = model(&frames, limits);
        assert_eq!(Ear::limited(role, limits).give(&bytes).take(), expected, "{frames:?}");
        let mut ear = Ear::limited(role, limits);
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let (piece, behind) = rest.split_at((1 + dice.below(20)).min(rest.len()));
            ear.give(piece);
            rest = behind;
        }
        assert_eq!(ear.take(), expected, "in pieces: {frames:?}");
        ends.extend(expected.last().map(discriminant));
        if let Some(Heard::Failed(error)) = expected.last() {
            faults.insert(discriminant(error));
        }
    }
    assert_eq!((ends.len(), faults.len()), (6, 13), "the dice reached every kind of end");
}

#[test]
fn w6_2_02_the_message_is_the_first_frames_kind_and_all_payloads() {
    for role in ROLES {
        let mut end = Endpoint::open(role);
        let frames = [
            Frame::text("kind of the first, ").more(),
            Frame::continuation("then ").more(),
            Frame::continuation("all payloads"),
        ];
        end.give_frames(&frames);
        let messages = end.messages();
        assert_eq!(messages.len(), 1);
        let expected = Message::text("kind of the first, then all payloads");
        assert_eq!(messages[0].as_message(), expected);
    }
}

#[test]
fn w6_2_03_what_follows_the_last_fragment_is_a_new_message() {
    for role in ROLES {
        let pair = [Frame::binary("a").more(), Frame::continuation("b")];
        let bytes = wire(role, &pair).repeat(3);
        assert_eq!(hear(role, &bytes), vec![Heard::Binary("ab".into()); 3]);
    }
}

#[test]
fn w6_2_04_a_server_removes_the_mask() {
    for key in [KEY, [0; 4], [0xff; 4], [0, 0, 0, 1]] {
        let bytes = Frame::text("masked").masked(key);
        assert_eq!(hear(Role::Server, &bytes), [Heard::Text("masked".into())]);
        let bytes = Frame::close(1000, "bye").masked(key);
        assert_eq!(hear(Role::Server, &bytes), [Heard::Close(1000, "bye".into())]);
    }
    let (mut client, mut server) = pair();
    client.send("through both ends");
    converse(&mut client, &mut server);
    assert_eq!(server.messages()[0].as_text(), Some("through both ends"));
}
