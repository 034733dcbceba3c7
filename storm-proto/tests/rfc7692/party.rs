//! What these tests share: terms made by a handshake, and both halves of an end that keeps
//! to them.

use storm_proto::websocket::handshake::{
    Accept, Accepted, ClientHandshake, HandshakeError, HeadLimits, Offer, Request, ServerHandshake,
};
use storm_proto::websocket::{Agreed, Deflate, Limits, Role};
use storm_proto::{Message, Outbox, Random, Receiver, Sender, WaterMarks};

use crate::support::endpoint::uri;
use crate::support::http::{self, Text};
use crate::support::wire::{Ear, Frame, Heard, read};

pub(crate) const OFFERED: &str = "permessage-deflate; client_max_window_bits";

/// Settings that compress all there is, with context.
pub(crate) fn with_context() -> Deflate {
    Deflate::new().server_no_context_takeover(false).client_no_context_takeover(false).threshold(0)
}

/// Settings that compress all there is, without context.
pub(crate) fn without_context() -> Deflate {
    Deflate::new().server_no_context_takeover(true).client_no_context_takeover(true).threshold(0)
}

/// What a server with these settings answers to lines of offers, and what it takes as agreed.
#[track_caller]
pub(crate) fn answer(settings: &Deflate, offers: &[&str]) -> Option<(String, Agreed)> {
    let text = offers
        .iter()
        .fold(Text::request(), |text, offer| text.add("Sec-WebSocket-Extensions", offer));
    let bytes = text.wire();
    let request: Request = ServerHandshake::new(HeadLimits::new())
        .receive(&mut &bytes[..])
        .unwrap()
        .expect("a request to decide on");
    let head = request.accept(&Accept::new().deflate(*settings)).unwrap();
    let head = http::read(&head);
    let agreed = request.deflate(settings);
    match head.all("Sec-WebSocket-Extensions")[..] {
        [] => {
            assert_eq!(agreed, None, "nothing is used that was not answered");
            None
        }
        [answer] => Some((answer.into(), agreed.expect("what is answered is agreed on"))),
        _ => panic!("one line: {head:?}"),
    }
}

/// The text of an answer; empty if the offers are declined.
#[track_caller]
pub(crate) fn answered(settings: &Deflate, offer: &str) -> String {
    answer(settings, &[offer]).map(|(text, _)| text).unwrap_or_default()
}

/// What a client with these settings offers.
pub(crate) fn offered(settings: &Deflate) -> String {
    let (_, request) = client(settings);
    http::read(&request).only("Sec-WebSocket-Extensions").into()
}

fn client(settings: &Deflate) -> (ClientHandshake, Vec<u8>) {
    let offer = Offer::new().deflate(*settings);
    let mut random = Random::from_seed(1);
    let (handshake, request) =
        ClientHandshake::new(&uri(), &offer, HeadLimits::new(), &mut random).unwrap();
    (handshake, request.to_vec())
}

/// What a client with these settings makes of lines of an answer.
pub(crate) fn accepted(
    settings: &Deflate,
    answers: &[&str],
) -> Result<Option<Agreed>, HandshakeError> {
    let (mut handshake, request) = client(settings);
    let text = Text::answer_to(http::read(&request).only("Sec-WebSocket-Key"));
    let text =
        answers.iter().fold(text, |text, answer| text.add("Sec-WebSocket-Extensions", answer));
    let bytes = text.wire();
    let accepted: Result<Accepted, HandshakeError> =
        handshake.receive(&mut &bytes[..]).expect("a whole answer");
    accepted.map(|accepted| accepted.deflate().copied())
}

/// The terms of these settings, agreed on by a client that can do everything.
pub(crate) fn agreed(settings: &Deflate) -> Agreed {
    answer(settings, &[OFFERED]).expect("an offer of everything fits").1
}

/// A receiver that speaks these terms.
pub(crate) fn ear(role: Role, agreed: &Agreed) -> Ear {
    limited_ear(role, agreed, Limits::new())
}

pub(crate) fn limited_ear(role: Role, agreed: &Agreed, limits: Limits) -> Ear {
    let mut ear = Ear::limited(role, limits);
    ear.receiver.deflate(agreed);
    ear
}

pub(crate) fn receiver(role: Role, agreed: &Agreed) -> Receiver {
    ear(role, agreed).receiver
}

/// A sender that speaks these terms.
pub(crate) fn sender(role: Role, agreed: &Agreed) -> Sender {
    let marks = WaterMarks::new(64 << 20);
    let mut sender = match role {
        Role::Server => Sender::websocket_server(marks),
        Role::Client => Sender::websocket_client(Random::from_seed(3), marks),
    };
    sender.deflate(agreed);
    sender
}

/// What it writes, as bytes.
pub(crate) fn written(sender: &mut Sender) -> Vec<u8> {
    let mut wire = Outbox::new();
    sender.take(&mut wire);
    let bytes = wire.chunks().collect::<Vec<_>>().concat();
    sender.wrote(0);
    bytes
}

/// The one frame of a message that it sends.
#[track_caller]
pub(crate) fn frame_of<'a>(sender: &mut Sender, message: impl Into<Message<'a>>) -> Frame {
    sender.send(message).unwrap();
    let mut seen = read(&written(sender));
    assert_eq!(seen.len(), 1, "one frame for one message");
    seen.remove(0).frame
}

/// The first frame of a compressed text message.
pub(crate) fn text(payload: impl AsRef<[u8]>) -> Frame {
    Frame::text(payload).rsv(4)
}

/// The first frame of a compressed binary message.
pub(crate) fn binary(payload: impl AsRef<[u8]>) -> Frame {
    Frame::binary(payload).rsv(4)
}

/// What a fresh receiver with these terms makes of frames: the same at every cut.
#[track_caller]
pub(crate) fn hear(role: Role, agreed: &Agreed, frames: &[Frame]) -> Vec<Heard> {
    let bytes = crate::support::wire::wire(role, frames);
    let whole = ear(role, agreed).give(&bytes).take();
    for cut in 0..=bytes.len() {
        let (head, tail) = bytes.split_at(cut);
        assert_eq!(ear(role, agreed).give(head).give(tail).take(), whole, "cut at {cut}");
    }
    let mut slow = ear(role, agreed);
    for byte in bytes {
        slow.give(&[byte]);
    }
    assert_eq!(slow.take(), whole, "byte by byte");
    whole
}

pub(crate) const OTHER: fn(Role) -> Role = |role| match role {
    Role::Server => Role::Client,
    Role::Client => Role::Server,
};

/// Text that looks like what servers send.
pub(crate) fn json(len: usize, seed: u64) -> String {
    let mut random = Random::from_seed(seed);
    let mut text = String::new();
    while text.len() < len {
        let [a, b, c, _] = random.bytes::<4>();
        text += &format!("{{\"id\":{a},\"name\":\"user{b}\",\"active\":{}}},", c % 2 == 0);
    }
    text.truncate(len);
    text
}

/// Bytes in which nothing repeats.
pub(crate) fn noise(len: usize, seed: u64) -> Vec<u8> {
    let mut random = Random::from_seed(seed);
    (0..len.div_ceil(64)).flat_map(|_| random.bytes::<64>()).take(len).collect()
}
