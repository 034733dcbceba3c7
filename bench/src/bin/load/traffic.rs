//! The messages of a scenario and the check of their echoes. Both sides of the conversation are
//! made once, as rings of messages: sending is a write from one ring, checking is a comparison with
//! the other.

use crate::Result;
use crate::cli::{Protocol, Scenario};
use crate::websocket::{Frame, HeaderReader, push_client_frame, push_server_frame};

/// What is sent, and what must come back.
pub struct Traffic {
    pub protocol: Protocol,
    /// Messages in each ring.
    pub ring: usize,
    /// The ring as the client writes it; all messages are of one length here.
    pub requests: Vec<u8>,
    pub request_len: usize,
    /// The ring as a plain server answers it.
    answers: Vec<u8>,
    answer_len: usize,
    message_bytes: usize,
}

impl Traffic {
    pub fn new(protocol: Protocol, scenario: &Scenario) -> Self {
        // Longer than the window, so that an answer that is lost, doubled or sent to another
        // connection is compared with another message and found out.
        let at_least = if scenario.message_bytes > 1024 { 0 } else { 126 };
        let ring = scenario.window.max(at_least) + 1;
        let (mut requests, mut answers) = (Vec::new(), Vec::new());
        let mut random = 0x9e37_79b9_7f4a_7c15_u64;
        for _ in 0..ring {
            let payload: Vec<u8> =
                (0..scenario.message_bytes).map(|_| next_byte(&mut random)).collect();
            match protocol {
                Protocol::Tcp => {
                    requests.extend_from_slice(&payload);
                    answers.extend_from_slice(&payload);
                }
                Protocol::WebSocket => {
                    push_client_frame(&payload, &mut requests);
                    push_server_frame(&payload, &mut answers);
                }
            }
        }
        let (request_len, answer_len) = (requests.len() / ring, answers.len() / ring);
        Self {
            protocol,
            ring,
            requests,
            request_len,
            answers,
            answer_len,
            message_bytes: scenario.message_bytes,
        }
    }

    /// `count` whole answers from `message` on; the caller stays within the ring.
    fn answers(&self, message: usize, count: usize) -> &[u8] {
        &self.answers[message * self.answer_len..][..count * self.answer_len]
    }

    fn payload(&self, message: usize) -> &[u8] {
        let answer = self.answers(message, 1);
        &answer[answer.len() - self.message_bytes..]
    }
}

/// The top byte of a linear congruential generator: varied, and the same in every run.
fn next_byte(state: &mut u64) -> u8 {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    (*state >> 56) as u8
}

/// Compares what one connection receives with what it must receive, wherever the reads cut it.
pub struct Checker {
    /// Position in the ring.
    message: usize,
    /// Payload bytes of that message that were already there.
    offset: usize,
    headers: HeaderReader,
    /// What is being read, its header having been read. On raw TCP every message is such a frame.
    frame: Option<Frame>,
}

impl Checker {
    pub fn new(first_message: usize) -> Self {
        Self { message: first_message, offset: 0, headers: HeaderReader::default(), frame: None }
    }

    /// Whether a part of a message has been received.
    pub fn is_inside_message(&self) -> bool {
        self.offset > 0
    }

    /// Checks every byte; answers with the number of messages that are now complete.
    pub fn check(&mut self, traffic: &Traffic, mut input: &[u8]) -> Result<usize> {
        let mut complete = 0;
        while !input.is_empty() {
            let whole = self.whole_answers(traffic, input);
            if whole > 0 {
                self.message = (self.message + whole) % traffic.ring;
                complete += whole;
                input = &input[whole * traffic.answer_len..];
                continue;
            }
            if self.frame.is_none() && traffic.protocol == Protocol::WebSocket {
                self.frame = self.headers.push(input[0])?;
                input = &input[1..];
            }
            if self.frame.is_none() && traffic.protocol == Protocol::Tcp {
                let remaining = traffic.message_bytes;
                self.frame = Some(Frame { remaining, last: true, control: false });
            }
            if let Some(frame) = self.frame {
                let part = &input[..input.len().min(frame.remaining)];
                complete += usize::from(self.part(traffic, part, frame)?);
                input = &input[part.len()..];
            }
        }
        Ok(complete)
    }

    /// The fast path, nearly always taken for small messages: as many whole answers as were
    /// received and as are left in the ring, in one comparison. All else (a rest, a control frame,
    /// a fragment, a fault) counts as none here and is looked at piece by piece.
    fn whole_answers(&self, traffic: &Traffic, input: &[u8]) -> usize {
        if self.offset > 0 || self.frame.is_some() || !self.headers.at_boundary() {
            return 0;
        }
        let count = (input.len() / traffic.answer_len).min(traffic.ring - self.message);
        if input.starts_with(traffic.answers(self.message, count)) { count } else { 0 }
    }

    /// Takes a part (all, perhaps) of a frame; answers whether a message is complete.
    fn part(&mut self, traffic: &Traffic, part: &[u8], frame: Frame) -> Result<bool> {
        let remaining = frame.remaining - part.len();
        self.frame = (remaining > 0).then_some(Frame { remaining, ..frame });
        if frame.control {
            return Ok(false);
        }
        let expected = &traffic.payload(self.message)[self.offset..];
        if !expected.starts_with(part) {
            let wrong = part.iter().zip(expected).position(|(byte, wanted)| byte != wanted);
            return Err(match wrong {
                Some(at) => format!("corrupt echo: byte {} of a message", self.offset + at),
                None => "an answer is longer than its message".to_owned(),
            }
            .into());
        }
        self.offset += part.len();
        if remaining > 0 || !frame.last {
            return Ok(false);
        }
        if self.offset < traffic.message_bytes {
            return Err("an answer is shorter than its message".into());
        }
        self.offset = 0;
        self.message = (self.message + 1) % traffic.ring;
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Kind;

    /// The answers to two rounds of the ring, and what checks them.
    fn conversation(protocol: Protocol, kind: Kind) -> (Traffic, Vec<u8>, Checker) {
        let traffic = Traffic::new(protocol, &Scenario::new(kind, None));
        let answers = traffic.answers.repeat(2);
        (traffic, answers, Checker::new(0))
    }

    #[test]
    fn echoes_are_counted_wherever_they_are_cut() {
        for protocol in [Protocol::Tcp, Protocol::WebSocket] {
            for kind in [Kind::Pingpong, Kind::Large] {
                for cut in [1, 2, 33, 34, 35, 1000, 65_546, 1 << 20] {
                    let (traffic, answers, mut checker) = conversation(protocol, kind);
                    let complete: usize = answers
                        .chunks(cut)
                        .map(|part| checker.check(&traffic, part).expect("an honest echo"))
                        .sum();
                    assert_eq!(complete, 2 * traffic.ring);
                    assert!(!checker.is_inside_message());
                }
            }
        }
    }

    #[test]
    fn every_single_corrupt_byte_is_found() {
        for protocol in [Protocol::Tcp, Protocol::WebSocket] {
            let (traffic, answers, _) = conversation(protocol, Kind::Pingpong);
            let one_message_and_a_half = traffic.answer_len * 3 / 2;
            for at in 0..one_message_and_a_half {
                let mut answers = answers.clone();
                answers[at] ^= 0x04;
                assert!(Checker::new(0).check(&traffic, &answers).is_err(), "byte {at}");
            }
        }
    }

    #[test]
    fn a_lost_message_is_found() {
        let (traffic, answers, mut checker) = conversation(Protocol::WebSocket, Kind::Pingpong);
        assert!(checker.check(&traffic, &answers[traffic.answer_len..]).is_err());
    }

    #[test]
    fn pings_and_fragments_are_understood_but_a_wrong_length_is_not() {
        let (traffic, _, mut checker) = conversation(Protocol::WebSocket, Kind::Pingpong);
        let payload = traffic.payload(0);
        let mut stream = vec![0x89, 2, b'h', b'i'];
        stream.extend_from_slice(&[0x02, 10]);
        stream.extend_from_slice(&payload[..10]);
        stream.extend_from_slice(&[0x8a, 0, 0x00, 0, 0x80, 126, 0, 22]);
        stream.extend_from_slice(&payload[10..]);
        assert_eq!(checker.check(&traffic, &stream).expect("legal, if unusual"), 1);
        let first = |header: [u8; 2]| [&header[..], payload, &[0]].concat();
        assert!(Checker::new(0).check(&traffic, &first([0x82, 33])).is_err());
        assert!(Checker::new(0).check(&traffic, &first([0x82, 31])).is_err());
        assert!(Checker::new(0).check(&traffic, &first([0x88, 32])).is_err());
    }
}
