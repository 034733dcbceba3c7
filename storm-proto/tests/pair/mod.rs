//! Two connections in virtual time: bytes move at once, time moves when nothing else does.
#![allow(dead_code)]

use std::time::Duration;

use storm_proto::websocket::handshake::{Accept, Decision, Offer, Request, Response};
use storm_proto::{
    Application, Connection, DisconnectReason, Instant, Message, Options, OwnedMessage, Random,
    Sender, Step, WebSocket,
};

/// An application that notes what it sees.
#[derive(Default)]
pub(crate) struct Notes {
    pub(crate) opened: bool,
    pub(crate) messages: Vec<OwnedMessage>,
    /// Answers every message with itself.
    pub(crate) echo: bool,
    /// What a server chooses of the client's offer, or how it refuses.
    pub(crate) subprotocol: Option<&'static str>,
    pub(crate) refuse_with: Option<u16>,
}

impl Application for Notes {
    fn request(&mut self, _: &Request) -> Decision {
        match (self.refuse_with, self.subprotocol) {
            (Some(status), _) => Response::new(status).body("no").into(),
            (None, Some(name)) => Accept::new().subprotocol(name).into(),
            (None, None) => Accept::new().into(),
        }
    }

    fn opened(&mut self, _: &mut Sender) {
        assert!(!self.opened, "a connection opens once");
        self.opened = true;
    }

    fn message(&mut self, sender: &mut Sender, message: Message<'_>) {
        self.messages.push(message.to_owned());
        if self.echo {
            sender.send(message).unwrap();
        }
    }
}

/// One end, with what it noted.
pub(crate) struct End {
    pub(crate) connection: Connection,
    pub(crate) notes: Notes,
    /// Set when the end is over.
    pub(crate) reason: Option<DisconnectReason>,
    pub(crate) reset: bool,
    /// The other end hears nothing of this one any more.
    pub(crate) unplugged: bool,
}

impl End {
    pub(crate) fn new(connection: Connection) -> End {
        let notes = Notes::default();
        End { connection, notes, reason: None, reset: false, unplugged: false }
    }

    pub(crate) fn texts(&self) -> Vec<&str> {
        self.notes.messages.iter().map(|message| message.as_text().unwrap_or("(binary)")).collect()
    }

    /// The last word of an end that must be over.
    pub(crate) fn reason(&self) -> &DisconnectReason {
        self.reason.as_ref().expect("the connection is over")
    }

    /// What this end has to write.
    pub(crate) fn take_output(&mut self, now: Instant) -> Vec<u8> {
        let mut bytes = Vec::new();
        loop {
            let more = self.connection.output().collect::<Vec<_>>().concat();
            if more.is_empty() {
                return bytes;
            }
            self.connection.written(more.len(), now);
            bytes.extend(more);
        }
    }

    pub(crate) fn receive(&mut self, bytes: &[u8], now: Instant) {
        let mut bytes = bytes.to_vec();
        let mut input = &mut bytes[..];
        self.connection.receive(&mut input, now, &mut self.notes);
        assert!(input.is_empty(), "nothing holds up the receiver in these tests");
    }

    /// Does what the connection owes its transport; true if the stream ended with it.
    fn owe(&mut self) -> bool {
        match self.connection.step() {
            Step::Continue => false,
            Step::Shutdown => {
                self.connection.shut_down();
                true
            }
            Step::Finished { reset } => {
                if self.reason.is_none() {
                    self.reason = Some(self.connection.finish());
                    self.reset = reset;
                    return true;
                }
                false
            }
        }
    }
}

pub(crate) struct Pair {
    pub(crate) client: End,
    pub(crate) server: End,
    pub(crate) now: Instant,
}

pub(crate) fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

pub(crate) fn websocket_client(options: Options, now: Instant) -> Connection {
    let mut offer = Offer::new();
    for name in &options.websocket.subprotocols {
        offer = offer.subprotocol(name);
    }
    let uri = "ws://server.example/chat".parse().unwrap();
    Connection::client(&uri, &offer, options, Random::from_seed(1), now).unwrap()
}

impl Pair {
    /// A WebSocket pair whose handshake is still to come.
    pub(crate) fn unopened(client: Options, server: Options) -> Pair {
        let now = Instant::from_secs(100);
        Pair {
            client: End::new(websocket_client(client, now)),
            server: End::new(Connection::server(server, now)),
            now,
        }
    }

    /// An open WebSocket pair.
    pub(crate) fn open(client: Options, server: Options) -> Pair {
        let mut pair = Pair::unopened(client, server);
        pair.settle();
        assert!(pair.client.connection.is_open() && pair.server.connection.is_open());
        pair
    }

    /// Moves bytes and stream ends until nothing moves any more.
    pub(crate) fn settle(&mut self) {
        for _ in 0..1000 {
            let moved = carry(&mut self.client, &mut self.server, self.now)
                | carry(&mut self.server, &mut self.client, self.now);
            if !moved {
                return;
            }
        }
        panic!("the pair never comes to rest");
    }

    /// Lets time pass: each deadline on the way is kept, and what comes of it is carried.
    pub(crate) fn pass(&mut self, duration: Duration) {
        let end = self.now + duration;
        loop {
            self.settle();
            let deadlines =
                [self.client.connection.poll_timeout(), self.server.connection.poll_timeout()];
            match deadlines.into_iter().flatten().map(|(at, _)| at).min() {
                Some(at) if at <= end => self.now = self.now.max(at),
                _ => break,
            }
            self.client.connection.handle_timeout(self.now);
            self.server.connection.handle_timeout(self.now);
        }
        self.now = end;
        self.settle();
    }
}

/// Options with a heartbeat that no other test trips over.
pub(crate) fn quiet() -> Options {
    let mut options = Options::default();
    options.websocket = WebSocket::new().heartbeat(storm_proto::Heartbeat::off());
    options
}

fn carry(from: &mut End, to: &mut End, now: Instant) -> bool {
    let bytes = from.take_output(now);
    let ended = from.owe();
    if from.unplugged {
        return false;
    }
    if !bytes.is_empty() && to.reason.is_none() {
        to.receive(&bytes, now);
    }
    if ended && to.reason.is_none() {
        if from.reset {
            let kind = storm_proto::TransportErrorKind::Reset;
            to.connection.transport_failed(storm_proto::TransportError::new(kind, None));
        } else {
            to.connection.end_of_stream(now);
        }
    }
    ended || !bytes.is_empty()
}
