//! How a row is judged.

use bytes::Bytes;
use storm_proto::websocket::handshake::{
    Accept, ClientHandshake, HandshakeError, HeadLimit, HeadLimits, Offer, ServerHandshake,
};
use storm_proto::{Options, Random};

use crate::support::endpoint::{Did, Endpoint, quiet, uri};
use crate::support::http::{self, ACCEPT, Text};
use crate::support::wire::Frame;

/// What may come of a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Verdict {
    /// A 101 with the right proof.
    Opens,
    /// A refusal with this status.
    Refused(u16),
    /// Nothing, until the deadline of the handshake closes without a word.
    Waits,
}

/// A request and what may come of it.
pub(crate) struct Row {
    id: &'static str,
    wire: Vec<u8>,
    accepted: Vec<Verdict>,
    limits: HeadLimits,
    /// A header line that the refusal must have.
    must: Option<(&'static str, &'static str)>,
}

pub(crate) fn opens(id: &'static str, text: Text) -> Row {
    Row::new(id, text.wire(), [Verdict::Opens])
}

/// A request that is refused with one of these.
pub(crate) fn refused<const N: usize>(id: &'static str, status: [u16; N], text: Text) -> Row {
    Row::new(id, text.wire(), status.map(Verdict::Refused))
}

/// Heads four times as large as the defaults allow.
pub(crate) fn roomy() -> HeadLimits {
    let mut limits = HeadLimits::new();
    (limits.bytes, limits.line) = (64 << 10, 64 << 10);
    limits
}

impl Row {
    pub(crate) fn new(
        id: &'static str,
        wire: impl Into<Vec<u8>>,
        accepted: impl Into<Vec<Verdict>>,
    ) -> Row {
        let (wire, accepted) = (wire.into(), accepted.into());
        Row { id, wire, accepted, limits: HeadLimits::new(), must: None }
    }

    pub(crate) fn limits(self, limits: HeadLimits) -> Row {
        Row { limits, ..self }
    }

    pub(crate) fn must(self, name: &'static str, value: &'static str) -> Row {
        Row { must: Some((name, value)), ..self }
    }

    /// Runs the row through the handshake, however it is cut, and through a connection.
    pub(crate) fn check(&self) {
        let whole = read_request(self.limits, &[&self.wire]);
        assert!(
            self.accepted.contains(&whole.verdict),
            "{}: {:?} is not one of {:?} for {}",
            self.id,
            whole.verdict,
            self.accepted,
            start_of(&self.wire)
        );
        for pieces in cuts(&self.wire) {
            let cut = read_request(self.limits, &pieces);
            assert!(whole == cut, "{}: {whole:?} became {cut:?} by a cut", self.id);
        }
        self.check_connection(&whole);
    }

    fn options(&self) -> Options {
        let mut options = quiet();
        options.websocket.head = self.limits;
        options
    }

    fn check_connection(&self, read: &Read) {
        let mut server = Endpoint::server(self.options());
        server.give(&self.wire);
        match read.verdict {
            Verdict::Opens => {
                let head = http::read(&server.written);
                assert_eq!((head.status(), head.rest.len()), (101, 0), "{}", self.id);
                assert_eq!(head.only("Sec-WebSocket-Accept"), ACCEPT, "{}", self.id);
                server.give_frames(&[Frame::text("open")]);
                assert_eq!(server.messages()[0].as_text(), Some("open"), "{}", self.id);
            }
            Verdict::Waits => {
                server.wait_millis(4_999);
                assert_eq!(server.did, [], "{}: silence before the deadline", self.id);
                server.wait_millis(1);
                assert_eq!(server.did, [Did::Finish { reset: false }], "{}", self.id);
                assert!(server.written.is_empty(), "{}", self.id);
            }
            Verdict::Refused(_) => self.check_refused(server, read),
        }
    }

    /// A refusal says that it closes and what is wrong, and is the last of all.
    fn check_refused(&self, mut server: Endpoint, read: &Read) {
        let id = self.id;
        let refusal = http::read_refusal(&server.written, self.wire.starts_with(b"HEAD "));
        assert_eq!(Verdict::Refused(refusal.status()), read.verdict, "{id}");
        assert!(refusal.rest.is_empty() || refusal.rest.ends_with(b"\n"), "{id}: a line");
        if let Some((name, value)) = self.must {
            assert_eq!(refusal.only(name), value, "{id}");
        }
        assert_eq!(server.did.last(), Some(&Did::Shutdown), "{id}: ends at once");
        let (written, requests) = (std::mem::take(&mut server.written), server.app.requests);

        // What a proxy lets through behind a refusal is never a second request.
        server.give(&Text::request().wire()).give_frames(&[Frame::text("late")]);
        assert!(server.written.is_empty(), "{id}: a second answer");
        assert_eq!((server.app.requests, server.app.opened), (requests, 0), "{id}");
        assert!(server.messages().is_empty(), "{id}");
        server.end();
        assert!(server.finished_in_order(), "{id}");

        let mut together = Endpoint::server(self.options());
        together.give(&[&self.wire[..], &Text::request().wire()].concat());
        assert_eq!(
            together.written, written,
            "{id}: the same in one segment with a second request"
        );
        assert_eq!(together.app.requests, requests, "{id}");
    }
}

/// What a server's handshake made of some bytes.
#[derive(PartialEq, Eq, Debug)]
struct Read {
    verdict: Verdict,
    answer: Vec<u8>,
    /// What stood behind a request that opens.
    left: Vec<u8>,
}

fn read_request(limits: HeadLimits, pieces: &[&[u8]]) -> Read {
    let mut handshake = ServerHandshake::new(limits);
    for (at, piece) in pieces.iter().enumerate() {
        let mut input = *piece;
        let Some(request) = handshake.receive(&mut input) else {
            assert!(input.is_empty(), "a handshake that goes on has consumed all");
            continue;
        };
        let left = [&[input], &pieces[at + 1..]].concat().concat();
        let refusal = match request {
            Ok(request) if request.is_upgrade() => {
                let answer = request.accept(&Accept::new()).unwrap().to_vec();
                return Read { verdict: Verdict::Opens, answer, left };
            }
            Ok(_) => ServerHandshake::upgrade_required(),
            Err(refusal) => refusal,
        };
        let (head, body) = refusal.encode(false).unwrap();
        let answer = [head, body].concat();
        return Read { verdict: Verdict::Refused(refusal.status()), answer, left: Vec::new() };
    }
    Read { verdict: Verdict::Waits, answer: Vec::new(), left: Vec::new() }
}

/// Bytes in pieces: in two at every position (at a few, if there are many), and one by one.
pub(crate) fn cuts(wire: &[u8]) -> impl Iterator<Item = Vec<&[u8]>> {
    let step = if wire.len() <= 600 { 1 } else { wire.len() / 9 };
    let in_two = (0..=wire.len()).step_by(step).map(move |at| {
        let (head, tail) = wire.split_at(at);
        vec![head, tail]
    });
    let one_by_one = std::iter::once(wire.chunks(1).collect());
    in_two.chain(one_by_one)
}

pub(crate) fn start_of(wire: &[u8]) -> String {
    wire[..wire.len().min(200)].escape_ascii().to_string()
}

/// What may come of an answer to a client.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Fate {
    Opens,
    /// No valid answer.
    Invalid,
    /// The first bytes are no status line.
    NotHttp,
    /// They are those of TLS.
    Tls,
    /// Over a limit.
    TooLarge(HeadLimit),
    /// Another version of HTTP.
    Version,
    Upgrade,
    Connection,
    Accept,
    Extension,
    Subprotocol,
    /// An answer with this status.
    Refused(u16),
    /// The answer goes on until the stream or the time ends.
    Unfinished,
}

/// An answer to a client that offers the subprotocols `chat` and `superchat`.
pub(crate) struct Answer {
    id: &'static str,
    wire: Vec<u8>,
    fate: Fate,
}

pub(crate) fn offer() -> Offer {
    Offer::new().subprotocol("chat").subprotocol("superchat")
}

/// The key that every client of these tests sends: they draw from the same seed.
pub(crate) fn key() -> String {
    let client = Endpoint::client(quiet(), &offer());
    http::read(&client.written).only("Sec-WebSocket-Key").into()
}

/// The right answer to that key.
pub(crate) fn right() -> Text {
    Text::answer_to(&key())
}

pub(crate) fn answer(id: &'static str, fate: Fate, text: Text) -> Answer {
    Answer::new(id, fate, text.wire())
}

impl Answer {
    pub(crate) fn new(id: &'static str, fate: Fate, wire: impl Into<Vec<u8>>) -> Answer {
        Answer { id, wire: wire.into(), fate }
    }

    pub(crate) fn check(&self) {
        let whole = read_answer(&[&self.wire]);
        assert_eq!(whole.fate, self.fate, "{}: {}", self.id, start_of(&self.wire));
        for pieces in cuts(&self.wire) {
            assert!(whole == read_answer(&pieces), "{}: another verdict by a cut", self.id);
        }

        let mut client = Endpoint::client(quiet(), &offer());
        client.written.clear();
        if !whole.at_the_end {
            client.connection.sender().send("for an open connection only").unwrap();
        }
        client.give(&self.wire);
        if self.fate == Fate::Opens {
            assert_eq!(client.frames(), [Frame::text("for an open connection only")]);
            assert_eq!(client.app.opened, 1, "{}", self.id);
            return;
        }
        client.end();
        assert_eq!(client.app.opened, 0, "{}", self.id);
        assert!(client.written.is_empty(), "{}: not a byte behind the request", self.id);
        let error = client.connection.handshake_error().unwrap();
        assert_eq!(fate_of(error), self.fate, "{}", self.id);
        assert!(!error.to_string().is_empty(), "{}", self.id);
        assert_eq!(client.did[1..], [Did::Shutdown, Did::Finish { reset: false }], "{}", self.id);
        let reason = client.reason();
        assert_eq!((reason.code().get(), reason.clean), (1006, false), "{}", self.id);
        assert_eq!(reason.undelivered > 20, !whole.at_the_end, "{}: told as lost", self.id);
    }
}

#[derive(PartialEq, Eq, Debug)]
struct ReadAnswer {
    fate: Fate,
    /// It took the end of the stream to know.
    at_the_end: bool,
    body: Bytes,
    left: Vec<u8>,
}

fn read_answer(pieces: &[&[u8]]) -> ReadAnswer {
    let mut random = Random::from_seed(1);
    let limits = HeadLimits::new();
    let (mut handshake, _) = ClientHandshake::new(&uri(), &offer(), limits, &mut random).unwrap();
    for (at, piece) in pieces.iter().enumerate() {
        let mut input = *piece;
        match handshake.receive(&mut input) {
            None => assert!(input.is_empty(), "a handshake that goes on has consumed all"),
            Some(Ok(_)) => {
                let left = [&[input], &pieces[at + 1..]].concat().concat();
                let (fate, body) = (Fate::Opens, Bytes::new());
                return ReadAnswer { fate, at_the_end: false, body, left };
            }
            Some(Err(error)) => return ReadAnswer::of(&error, false),
        }
    }
    ReadAnswer::of(&handshake.end_of_stream(), true)
}

impl ReadAnswer {
    fn of(error: &HandshakeError, at_the_end: bool) -> ReadAnswer {
        let body = match error {
            HandshakeError::Refused(refusal) => refusal.body.clone(),
            _ => Bytes::new(),
        };
        ReadAnswer { fate: fate_of(error), at_the_end, body, left: Vec::new() }
    }
}

pub(crate) fn fate_of(error: &HandshakeError) -> Fate {
    match error {
        HandshakeError::InvalidResponse => Fate::Invalid,
        HandshakeError::NotHttp => Fate::NotHttp,
        HandshakeError::Tls => Fate::Tls,
        HandshakeError::TooLarge(limit) => Fate::TooLarge(*limit),
        HandshakeError::Version => Fate::Version,
        HandshakeError::Upgrade => Fate::Upgrade,
        HandshakeError::Connection => Fate::Connection,
        HandshakeError::AcceptKey => Fate::Accept,
        HandshakeError::UnofferedExtension => Fate::Extension,
        HandshakeError::UnofferedSubprotocol => Fate::Subprotocol,
        HandshakeError::Refused(refusal) => Fate::Refused(refusal.status),
        HandshakeError::EndOfStream => Fate::Unfinished,
        error => panic!("not an answer's fault: {error:?}"),
    }
}
