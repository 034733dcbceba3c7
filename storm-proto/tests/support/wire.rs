//! Frames as RFC 6455 section 5.2 draws them: a writer that can break every rule, and a
//! reader that forgives nothing.

use storm_proto::websocket::{Limits, Role};
use storm_proto::{Error, Event, Kind, ProtocolError, Receiver};

pub(crate) const ROLES: [Role; 2] = [Role::Server, Role::Client];

/// The mask key of the examples in section 5.7.
pub(crate) const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Frame {
    pub(crate) fin: bool,
    /// RSV1 to RSV3 as a number from 0 to 7.
    pub(crate) rsv: u8,
    pub(crate) opcode: u8,
    pub(crate) payload: Vec<u8>,
}

impl Frame {
    pub(crate) fn new(opcode: u8, payload: impl AsRef<[u8]>) -> Frame {
        Frame { fin: true, rsv: 0, opcode, payload: payload.as_ref().to_vec() }
    }

    pub(crate) fn text(payload: impl AsRef<[u8]>) -> Frame {
        Frame::new(1, payload)
    }

    pub(crate) fn binary(payload: impl AsRef<[u8]>) -> Frame {
        Frame::new(2, payload)
    }

    pub(crate) fn continuation(payload: impl AsRef<[u8]>) -> Frame {
        Frame::new(0, payload)
    }

    pub(crate) fn ping(payload: impl AsRef<[u8]>) -> Frame {
        Frame::new(9, payload)
    }

    pub(crate) fn pong(payload: impl AsRef<[u8]>) -> Frame {
        Frame::new(10, payload)
    }

    pub(crate) fn close(code: u16, reason: impl AsRef<[u8]>) -> Frame {
        Frame::new(8, [&code.to_be_bytes()[..], reason.as_ref()].concat())
    }

    /// The Close frame that an end sends when the peer breaks this rule.
    pub(crate) fn fault(error: ProtocolError) -> Frame {
        let code = Error::Peer(error).close_code().expect("a code that can be sent");
        Frame::close(code.get(), error.to_string())
    }

    /// With FIN = 0.
    pub(crate) fn more(self) -> Frame {
        Frame { fin: false, ..self }
    }

    pub(crate) fn rsv(self, rsv: u8) -> Frame {
        Frame { rsv, ..self }
    }

    pub(crate) fn plain(&self) -> Vec<u8> {
        self.encode(None)
    }

    pub(crate) fn masked(&self, key: [u8; 4]) -> Vec<u8> {
        self.encode(Some(key))
    }

    /// As an endpoint with this role may receive it.
    pub(crate) fn to(&self, role: Role) -> Vec<u8> {
        self.encode((role == Role::Server).then_some(KEY))
    }

    fn encode(&self, key: Option<[u8; 4]>) -> Vec<u8> {
        let mut bytes = header(self.first_byte(), key.is_some(), self.payload.len() as u64);
        bytes.extend(key.unwrap_or_default().iter().take(if key.is_some() { 4 } else { 0 }));
        let key = key.unwrap_or_default();
        bytes.extend(self.payload.iter().enumerate().map(|(i, byte)| byte ^ key[i % 4]));
        bytes
    }

    fn first_byte(&self) -> u8 {
        u8::from(self.fin) << 7 | self.rsv << 4 | self.opcode
    }
}

/// The bytes of several frames, one behind the other.
pub(crate) fn wire(role: Role, frames: &[Frame]) -> Vec<u8> {
    frames.iter().flat_map(|frame| frame.to(role)).collect()
}

/// A header in the shortest form, up to the mask key.
pub(crate) fn header(first: u8, masked: bool, len: u64) -> Vec<u8> {
    let form = match len {
        0..=125 => 0,
        126..=0xFFFF => 2,
        _ => 8,
    };
    header_in_form(first, masked, len, form)
}

/// A header whose length takes `form` bytes more: 0, 2 or 8.
pub(crate) fn header_in_form(first: u8, masked: bool, len: u64, form: usize) -> Vec<u8> {
    let short = match form {
        0 => len as u8,
        2 => 126,
        _ => 127,
    };
    let mut bytes = vec![first, u8::from(masked) << 7 | short];
    bytes.extend_from_slice(&len.to_be_bytes()[8 - form..]);
    bytes
}

/// A header with a length and, where `role` receives masked frames, a mask key.
pub(crate) fn header_to(role: Role, first: u8, len: u64, form: usize) -> Vec<u8> {
    let masked = role == Role::Server;
    let mut bytes = header_in_form(first, masked, len, form);
    if masked {
        bytes.extend_from_slice(&KEY);
    }
    bytes
}

/// A frame as it was found on the wire.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Seen {
    pub(crate) frame: Frame,
    pub(crate) key: Option<[u8; 4]>,
}

/// Reads whole frames in their shortest form.
#[track_caller]
pub(crate) fn read(mut bytes: &[u8]) -> Vec<Seen> {
    let mut seen = Vec::new();
    while !bytes.is_empty() {
        let (first, second) = (bytes[0], bytes[1]);
        let (len, mut at) = match second & 0x7F {
            126 => (u64::from(u16::from_be_bytes([bytes[2], bytes[3]])), 4),
            127 => (u64::from_be_bytes(bytes[2..10].try_into().unwrap()), 10),
            short => (u64::from(short), 2),
        };
        let shortest = header(first, second & 0x80 != 0, len);
        assert_eq!(bytes[..at], shortest[..], "a header in its shortest form");
        let key = (second & 0x80 != 0).then(|| bytes[at..at + 4].try_into().unwrap());
        at += if key.is_some() { 4 } else { 0 };
        let end = at + usize::try_from(len).unwrap();
        let mask: [u8; 4] = key.unwrap_or_default();
        let payload =
            bytes[at..end].iter().enumerate().map(|(i, byte)| byte ^ mask[i % 4]).collect();
        let frame = Frame { fin: first >= 0x80, rsv: first >> 4 & 7, opcode: first & 0xF, payload };
        seen.push(Seen { frame, key });
        bytes = &bytes[end..];
    }
    seen
}

/// Reads the frames that an endpoint with this role wrote, and checks who masks.
#[track_caller]
pub(crate) fn frames_from(role: Role, bytes: &[u8]) -> Vec<Frame> {
    let seen = read(bytes);
    for Seen { key, frame } in &seen {
        assert_eq!(key.is_some(), role == Role::Client, "a client masks all frames, a server none");
        assert_eq!(frame.rsv, 0, "no extension is spoken here");
    }
    seen.into_iter().map(|seen| seen.frame).collect()
}

/// What a receiver said, kept.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Heard {
    Text(Vec<u8>),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(u16, String),
    Failed(ProtocolError),
}

impl Heard {
    pub(crate) fn of(event: &Event<'_>) -> Heard {
        match event {
            Event::Message(message) if message.kind() == Kind::Text => {
                assert!(message.as_text().is_some(), "text reads as text");
                Heard::Text(message.as_bytes().to_vec())
            }
            Event::Message(message) => Heard::Binary(message.as_bytes().to_vec()),
            Event::Ping(payload) => Heard::Ping(payload.to_vec()),
            Event::Pong(payload) => Heard::Pong(payload.to_vec()),
            Event::Close { code, reason } => Heard::Close(code.get(), (*reason).into()),
            Event::Failed(error) => Heard::Failed(*error),
            event => panic!("an unknown event: {event:?}"),
        }
    }
}

/// A receiver and all that it said.
#[derive(Debug)]
pub(crate) struct Ear {
    pub(crate) receiver: Receiver,
    pub(crate) heard: Vec<Heard>,
}

impl Ear {
    pub(crate) fn new(role: Role) -> Ear {
        Ear::limited(role, Limits::new())
    }

    pub(crate) fn limited(role: Role, limits: Limits) -> Ear {
        Ear { receiver: Receiver::websocket(role, limits), heard: Vec::new() }
    }

    pub(crate) fn give(&mut self, bytes: &[u8]) -> &mut Ear {
        let mut bytes = bytes.to_vec();
        let mut input = &mut bytes[..];
        while let Some(event) = self.receiver.next(&mut input) {
            self.heard.push(Heard::of(&event));
        }
        assert!(input.is_empty(), "no more events means that all is consumed");
        self
    }

    /// As [`Ear::give`], through the room that the receiver lends for large messages.
    pub(crate) fn give_directly(&mut self, mut bytes: &[u8]) -> &mut Ear {
        while !bytes.is_empty() {
            match self.receiver.direct() {
                Some(room) => {
                    let n = room.len().min(bytes.len());
                    room[..n].copy_from_slice(&bytes[..n]);
                    self.receiver.direct_filled(n);
                    bytes = &bytes[n..];
                    self.give(&[]);
                }
                None => {
                    let (piece, rest) = bytes.split_at(bytes.len().min(20_000));
                    self.give(piece);
                    bytes = rest;
                }
            }
        }
        self
    }

    pub(crate) fn take(&mut self) -> Vec<Heard> {
        std::mem::take(&mut self.heard)
    }
}

/// What a receiver makes of `bytes` given at once.
pub(crate) fn hear(role: Role, bytes: &[u8]) -> Vec<Heard> {
    Ear::new(role).give(bytes).take()
}

/// What a receiver makes of `bytes`; the same wherever they are cut.
#[track_caller]
pub(crate) fn hear_at_every_cut(role: Role, bytes: &[u8]) -> Vec<Heard> {
    let whole = hear(role, bytes);
    for cut in 0..=bytes.len() {
        let (head, tail) = bytes.split_at(cut);
        assert_eq!(Ear::new(role).give(head).give(tail).take(), whole, "cut at {cut}");
    }
    let mut ear = Ear::new(role);
    for byte in bytes {
        ear.give(&[*byte]);
    }
    assert_eq!(ear.take(), whole, "byte by byte");
    whole
}
