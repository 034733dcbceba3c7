//! A connection with a transport that never blocks, a clock that stands still until it is
//! moved, and a record of all that happened.

use std::time::Duration;

use storm_proto::websocket::Role;
use storm_proto::websocket::handshake::{Accept, Decision, Offer, Request};
use storm_proto::{
    Application, CloseCode, CloseFrame, Connection, DisconnectReason, Instant, Message, Options,
    OwnedMessage, Random, Sender, Step, Uri,
};

use super::http::{self, Text};
use super::wire::{Frame, frames_from, wire};

/// An application that records.
pub(crate) struct App {
    pub(crate) requests: u32,
    pub(crate) opened: u32,
    pub(crate) messages: Vec<OwnedMessage>,
    /// Sends each message back.
    pub(crate) echo: bool,
    pub(crate) decide: Box<dyn FnMut(&Request) -> Decision>,
    pub(crate) greet: Box<dyn FnMut(&mut Sender)>,
}

impl App {
    pub(crate) fn new() -> App {
        App {
            requests: 0,
            opened: 0,
            messages: Vec::new(),
            echo: false,
            decide: Box::new(|_| Accept::new().into()),
            greet: Box::new(|_| {}),
        }
    }
}

impl Application for App {
    fn request(&mut self, request: &Request) -> Decision {
        self.requests += 1;
        (self.decide)(request)
    }

    fn opened(&mut self, sender: &mut Sender) {
        self.opened += 1;
        (self.greet)(sender);
    }

    fn message(&mut self, sender: &mut Sender, message: Message<'_>) {
        if self.echo {
            sender.send(message).expect("an echo is never refused");
        }
        self.messages.push(message.to_owned());
    }
}

/// What the connection asked of its transport, in order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Did {
    /// Wrote so many bytes.
    Write(usize),
    /// Ended its direction of the stream.
    Shutdown,
    /// Is over.
    Finish { reset: bool },
}

pub(crate) struct Endpoint {
    pub(crate) role: Role,
    pub(crate) connection: Connection,
    pub(crate) app: App,
    pub(crate) now: Instant,
    /// Written and not looked at yet.
    pub(crate) written: Vec<u8>,
    pub(crate) did: Vec<Did>,
}

/// Options without a heartbeat, so that time passes in silence.
pub(crate) fn quiet() -> Options {
    let mut options = Options::default();
    options.websocket.heartbeat = storm_proto::Heartbeat::off();
    options
}

pub(crate) fn uri() -> Uri {
    "ws://example.org/chat".parse().unwrap()
}

impl Endpoint {
    /// A server that waits for a request.
    pub(crate) fn server(options: Options) -> Endpoint {
        let now = Instant::from_millis(0);
        Endpoint::of(Role::Server, Connection::server(options, now), now)
    }

    /// A client that has written its request.
    pub(crate) fn client(options: Options, offer: &Offer) -> Endpoint {
        Endpoint::client_with(options, offer, Random::from_seed(1))
    }

    pub(crate) fn client_with(options: Options, offer: &Offer, random: Random) -> Endpoint {
        let now = Instant::from_millis(0);
        let connection = Connection::client(&uri(), offer, options, random, now).unwrap();
        let mut endpoint = Endpoint::of(Role::Client, connection, now);
        endpoint.settle();
        endpoint
    }

    fn of(role: Role, connection: Connection, now: Instant) -> Endpoint {
        let (written, did) = (Vec::new(), Vec::new());
        Endpoint { role, connection, app: App::new(), now, written, did }
    }

    /// Either end of an open connection, with its handshake already forgotten.
    pub(crate) fn open(role: Role) -> Endpoint {
        Endpoint::open_with(role, quiet())
    }

    pub(crate) fn open_with(role: Role, options: Options) -> Endpoint {
        match role {
            Role::Server => Endpoint::server(options).shake_hands(),
            Role::Client => Endpoint::client(options, &Offer::new()).shake_hands(),
        }
    }

    /// An open client that draws its keys from `random`.
    pub(crate) fn open_client(random: Random) -> Endpoint {
        Endpoint::client_with(quiet(), &Offer::new(), random).shake_hands()
    }

    fn shake_hands(mut self) -> Endpoint {
        let hello = match self.role {
            Role::Server => Text::request().wire(),
            Role::Client => self.answer().wire(),
        };
        self.give(&hello);
        assert!(self.connection.is_open(), "the handshake opens the connection");
        self.written.clear();
        self.did.clear();
        self
    }

    /// The right answer to the request that a client wrote.
    pub(crate) fn answer(&self) -> Text {
        Text::answer_to(http::read(&self.written).only("Sec-WebSocket-Key"))
    }

    /// The peer sends bytes; what they cause is written at once.
    pub(crate) fn give(&mut self, bytes: &[u8]) -> &mut Endpoint {
        self.give_some(bytes, true)
    }

    /// The peer sends bytes and reads nothing. Returns what was left of them.
    pub(crate) fn give_to_a_blocked_writer(&mut self, bytes: &[u8]) -> usize {
        let mut bytes = bytes.to_vec();
        let mut input = &mut bytes[..];
        self.connection.receive(&mut input, self.now, &mut self.app);
        input.len()
    }

    fn give_some(&mut self, bytes: &[u8], write: bool) -> &mut Endpoint {
        let mut bytes = bytes.to_vec();
        let mut input = &mut bytes[..];
        loop {
            let before = input.len();
            self.connection.receive(&mut input, self.now, &mut self.app);
            let written = self.written.len();
            if write {
                self.settle();
            }
            if input.is_empty() {
                return self;
            }
            let moved = input.len() < before || self.written.len() > written;
            assert!(moved, "neither input nor output moves");
        }
    }

    /// The peer sends frames, masked as they must be.
    pub(crate) fn give_frames(&mut self, frames: &[Frame]) -> &mut Endpoint {
        self.give(&wire(self.role, frames))
    }

    /// The peer ends its direction of the stream.
    pub(crate) fn end(&mut self) -> &mut Endpoint {
        self.connection.end_of_stream(self.now);
        self.settle();
        self
    }

    /// Writes all there is, and does what the connection asks for.
    pub(crate) fn settle(&mut self) -> &mut Endpoint {
        while self.write(usize::MAX) > 0 {}
        match self.connection.step() {
            Step::Continue => {}
            Step::Shutdown => {
                self.did.push(Did::Shutdown);
                self.connection.shut_down();
                self.settle();
            }
            Step::Finished { reset } => {
                if !self.is_finished() {
                    self.did.push(Did::Finish { reset });
                }
            }
        }
        self
    }

    /// The transport takes at most `most` bytes.
    pub(crate) fn write(&mut self, most: usize) -> usize {
        let waiting: Vec<u8> = self.connection.output().collect::<Vec<_>>().concat();
        let n = most.min(waiting.len());
        if !waiting.is_empty() {
            self.written.extend_from_slice(&waiting[..n]);
            self.connection.written(n, self.now);
            self.did.push(Did::Write(n));
        }
        n
    }

    /// Bytes that wait to be written.
    pub(crate) fn waiting(&mut self) -> usize {
        self.connection.output().map(<[u8]>::len).sum()
    }

    /// Time passes; each deadline on the way is met to the nanosecond.
    pub(crate) fn wait(&mut self, duration: Duration) -> &mut Endpoint {
        let until = self.now + duration;
        while let Some((at, _)) = self.connection.poll_timeout().filter(|(at, _)| *at <= until) {
            assert!(at >= self.now, "no deadline is missed");
            self.now = at;
            self.connection.handle_timeout(at);
            self.settle();
        }
        self.now = until;
        self
    }

    pub(crate) fn wait_millis(&mut self, millis: u64) -> &mut Endpoint {
        self.wait(Duration::from_millis(millis))
    }

    pub(crate) fn send<'a>(&mut self, message: impl Into<Message<'a>>) -> &mut Endpoint {
        self.connection.sender().send(message).unwrap();
        self.settle();
        self
    }

    pub(crate) fn close(&mut self, code: u16, reason: &str) -> &mut Endpoint {
        let frame = CloseFrame::new(CloseCode::new(code).unwrap(), reason).unwrap();
        self.connection.close(frame, self.now);
        self.settle();
        self
    }

    /// The frames written since the last look.
    #[track_caller]
    pub(crate) fn frames(&mut self) -> Vec<Frame> {
        let written = std::mem::take(&mut self.written);
        frames_from(self.role, &written)
    }

    /// The messages delivered since the last look.
    pub(crate) fn messages(&mut self) -> Vec<OwnedMessage> {
        std::mem::take(&mut self.app.messages)
    }

    pub(crate) fn is_shut_down(&self) -> bool {
        self.did.contains(&Did::Shutdown)
    }

    pub(crate) fn is_finished(&self) -> bool {
        self.did.iter().any(|did| matches!(did, Did::Finish { .. }))
    }

    pub(crate) fn finished_in_order(&self) -> bool {
        self.did.contains(&Did::Finish { reset: false })
    }

    /// The last word; ends the connection if it is not over.
    pub(crate) fn reason(&mut self) -> DisconnectReason {
        self.connection.finish()
    }
}

/// Carries bytes and ends of streams between two endpoints until both are quiet.
pub(crate) fn converse(a: &mut Endpoint, b: &mut Endpoint) {
    let (mut a_ended, mut b_ended) = (false, false);
    while carry(a, b, &mut a_ended) | carry(b, a, &mut b_ended) {}
}

/// One way of it; true if anything moved.
fn carry(from: &mut Endpoint, to: &mut Endpoint, ended: &mut bool) -> bool {
    let bytes = std::mem::take(&mut from.written);
    if !bytes.is_empty() {
        to.give(&bytes);
    }
    let ends = from.is_shut_down() && !std::mem::replace(ended, from.is_shut_down());
    if ends {
        to.end();
    }
    !bytes.is_empty() || ends
}

/// A client and a server, open towards each other.
pub(crate) fn pair() -> (Endpoint, Endpoint) {
    pair_with(quiet())
}

pub(crate) fn pair_with(options: Options) -> (Endpoint, Endpoint) {
    let mut client = Endpoint::client(options.clone(), &Offer::new());
    let mut server = Endpoint::server(options);
    converse(&mut client, &mut server);
    assert!(client.connection.is_open() && server.connection.is_open());
    client.did.clear();
    server.did.clear();
    (client, server)
}
