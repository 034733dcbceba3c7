//! A connection: a receiver, a sender, and the rules of its life.
//!
//! [`Connection`] wires them together for those who bring their own event loop; it
//! parses nothing itself. The services of this crate drive the same parts.

pub(crate) mod assembly;
pub(crate) mod flow;
pub(crate) mod heartbeat;
pub(crate) mod link;
pub(crate) mod options;
pub(crate) mod outbox;
pub(crate) mod reason;
pub(crate) mod receiver;
pub(crate) mod sender;

use alloc::sync::Arc;

use self::link::{Link, Step};
use self::options::Options;
use self::outbox::{Outbox, Spare};
use self::reason::{Cause, DisconnectReason};
use self::receiver::{Event, Receiver};
use self::sender::Sender;
use crate::client::uri::Uri;
use crate::error::TransportError;
use crate::framing::Framer;
use crate::message::Message;
use crate::websocket::Role;
use crate::websocket::frame::close::CloseFrame;
use crate::websocket::frame::header;
use crate::websocket::handshake::request::Answer;
use crate::websocket::handshake::{
    Accept, Accepted, ClientHandshake, Decision, HandshakeError, Offer, Request, ServerHandshake,
};
use crate::{Instant, Random, Timer};

/// What the owner of a [`Connection`] does with what it brings.
///
/// A closure that takes a sender and a message is one.
pub trait Application {
    /// A server's decision on a request; accepts every upgrade by default.
    fn request(&mut self, request: &Request) -> Decision {
        let _ = request;
        Accept::new().into()
    }

    /// The connection is open.
    fn opened(&mut self, sender: &mut Sender) {
        let _ = sender;
    }

    /// A message arrived. It is lent for the time of the call.
    fn message(&mut self, sender: &mut Sender, message: Message<'_>);
}

impl<F: FnMut(&mut Sender, Message<'_>)> Application for F {
    fn message(&mut self, sender: &mut Sender, message: Message<'_>) {
        self(sender, message);
    }
}

/// A connection driven by hand: bytes and time in, bytes and deadlines out.
///
/// # The contract
/// 1. Write what [`Connection::output`] shows and say how much of it with
///    [`Connection::written`].
/// 2. Do what [`Connection::step`] says.
/// 3. Give what was read to [`Connection::receive`]. If it leaves input, output is
///    waiting: go to 1 and give the rest later. A read of nothing is
///    [`Connection::end_of_stream`].
/// 4. Sleep until one of these, or until [`Connection::poll_timeout`]; then call
///    [`Connection::handle_timeout`] and go to 1.
///
/// Faults of the peer are not errors of these calls: they queue the right goodbye and
/// end in [`Step::Finished`], after which [`Connection::reason`] says why.
#[derive(Debug)]
pub struct Connection {
    opening: Opening,
    receiver: Receiver,
    link: Link,
    wire: Outbox,
    failure: Option<HandshakeError>,
}

#[derive(Debug)]
enum Opening {
    Server(ServerHandshake),
    Client(ClientHandshake),
    Done(Option<Accepted>),
}

impl Connection {
    /// A WebSocket server's end of a stream accepted at `now`.
    #[must_use]
    pub fn server(options: impl Into<Arc<Options>>, now: Instant) -> Connection {
        let options = options.into();
        let sender = Sender::websocket_server(options.marks);
        let opening = Opening::Server(ServerHandshake::new(options.websocket.head));
        Connection::websocket(Role::Server, opening, sender, options, now)
    }

    /// A WebSocket client's end of a stream connected at `now`; the request is queued.
    ///
    /// # Errors
    /// If the offer cannot be sent.
    pub fn client(
        uri: &Uri,
        offer: &Offer,
        options: impl Into<Arc<Options>>,
        mut random: Random,
        now: Instant,
    ) -> Result<Connection, HandshakeError> {
        let options = options.into();
        let limits = options.websocket.head;
        let (handshake, request) = ClientHandshake::new(uri, offer, limits, &mut random)?;
        let sender = Sender::websocket_client(random, options.marks);
        let opening = Opening::Client(handshake);
        let mut connection = Connection::websocket(Role::Client, opening, sender, options, now);
        connection.link.queue_opening([request], &mut connection.wire);
        Ok(connection)
    }

    /// Either end of a stream whose messages `framer` finds. It is open at once.
    #[must_use]
    pub fn framed(
        framer: Arc<dyn Framer>,
        options: impl Into<Arc<Options>>,
        now: Instant,
    ) -> Connection {
        let options = options.into();
        let sender = Sender::framed(framer.clone(), options.marks);
        let mut link = Link::new(sender, None, options, now);
        link.opened(now);
        Connection {
            opening: Opening::Done(None),
            receiver: Receiver::framed(framer),
            link,
            wire: Outbox::new(),
            failure: None,
        }
    }

    fn websocket(
        role: Role,
        opening: Opening,
        sender: Sender,
        options: Arc<Options>,
        now: Instant,
    ) -> Connection {
        Connection {
            opening,
            receiver: Receiver::websocket(role, options.websocket.limits),
            link: Link::new(sender, Some(role), options, now),
            wire: Outbox::new(),
            failure: None,
        }
    }

    /// Bytes arrived. Consumes `input`, or stops between two messages while more answers
    /// wait than the low mark: an application that answers each message with one of at most
    /// half the limit, and sends nothing else, is never refused.
    pub fn receive(&mut self, input: &mut &mut [u8], now: Instant, app: &mut impl Application) {
        self.link.received(input.len());
        if !self.is_opened() {
            if self.link.reason().is_none() {
                self.open(input, now, app);
            }
            if self.link.reason().is_some() {
                // Refused, or closed before it was open: what follows is not looked at.
                *input = &mut [];
            }
        }
        let half = self.link.options().marks.low().saturating_sub(header::MAX_HEADER);
        while self.is_opened() && self.link.sender.has_room_to_answer(half) {
            let Some(event) = self.receiver.next(input) else { break };
            match event {
                Event::Message(message) if self.link.is_open() => {
                    self.link.message(now);
                    let queued = self.link.sender.queued();
                    app.message(&mut self.link.sender, message);
                    self.link.sender.answered(self.link.sender.queued().saturating_sub(queued));
                }
                event => self.link.event(event, now),
            }
        }
    }

    /// Takes the bytes of the opening from the input and acts on them.
    fn open(&mut self, input: &mut &mut [u8], now: Instant, app: &mut impl Application) {
        let mut rest: &[u8] = input;
        let accepted = match &mut self.opening {
            Opening::Done(_) => return,
            Opening::Server(handshake) => handshake.receive(&mut rest).and_then(|request| {
                let answer = match request {
                    Ok(request) => request.answer(app.request(&request)),
                    Err(refusal) => Answer::closing(&refusal, ""),
                };
                self.link.queue_opening([answer.head, answer.body], &mut self.wire);
                answer.accepted.map(|_| None).ok_or_else(|| self.link.refuse(now)).ok()
            }),
            Opening::Client(handshake) => handshake.receive(&mut rest).and_then(|answer| {
                let failed = |error| {
                    self.failure = Some(error);
                    self.link.refuse(now);
                };
                answer.map(Some).map_err(failed).ok()
            }),
        };
        let consumed = input.len() - rest.len();
        *input = &mut core::mem::take(input)[consumed..];
        if let Some(accepted) = accepted {
            self.opening = Opening::Done(accepted);
            self.link.opened(now);
            app.opened(&mut self.link.sender);
        }
    }

    fn is_opened(&self) -> bool {
        matches!(self.opening, Opening::Done(_))
    }

    /// The peer's stream ended.
    pub fn end_of_stream(&mut self, now: Instant) {
        if let Opening::Client(handshake) = &mut self.opening {
            self.failure.get_or_insert_with(|| handshake.end_of_stream());
        }
        let unfinished = self.receiver.unfinished();
        self.link.end_of_stream(unfinished, now);
    }

    /// Reading or writing failed.
    pub fn transport_failed(&mut self, error: TransportError) {
        self.link.transport_failed(error);
    }

    /// Takes the queued messages over and shows the bytes to write, for one vectored write.
    pub fn output(&mut self) -> impl Iterator<Item = &[u8]> {
        // RFC 6455 section 4.1: nothing of what is queued leaves before the opening is done.
        if self.is_opened() {
            self.link.sender.take(&mut self.wire);
        }
        self.wire.chunks()
    }

    /// The first `n` bytes of [`Connection::output`] are written; 0 if the transport took
    /// none, which starts the stall deadline.
    ///
    /// Returns the emptied memory once all is written, so that the connection holds none
    /// while it is idle. Hand it back with [`Connection::offer`] to save an allocation.
    pub fn written(&mut self, n: usize, now: Instant) -> Option<Spare> {
        self.wire.advance(n);
        self.link.wrote(n, &self.wire, now);
        self.wire.take_spare()
    }

    /// Memory for the messages to come.
    pub fn offer(&mut self, spare: Spare) {
        self.link.sender.outbox().offer(spare);
    }

    /// The sending half.
    pub fn sender(&mut self) -> &mut Sender {
        &mut self.link.sender
    }

    /// Closes in order; see [`Link::close`].
    pub fn close(&mut self, frame: CloseFrame, now: Instant) {
        self.link.close(frame, Cause::Closed, now);
    }

    /// Ends at once, with a reset.
    pub fn abort(&mut self) {
        self.link.abort();
    }

    /// What the transport owes now.
    #[must_use]
    pub fn step(&self) -> Step {
        self.link.step()
    }

    /// Our direction is shut down, as [`Step::Shutdown`] asked.
    pub fn shut_down(&mut self) {
        self.link.shut_down();
    }

    /// When to call [`Connection::handle_timeout`], and why.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<(Instant, Timer)> {
        self.link.poll_timeout()
    }

    /// Time has come to `now`.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.link.handle_timeout(now);
        if let (true, Opening::Client(handshake)) = (self.link.is_finished(), &mut self.opening)
            && handshake.is_refused()
        {
            // The status is known, although its body did not come in time.
            self.failure.get_or_insert_with(|| handshake.end_of_stream());
        }
    }

    /// True while messages are delivered and accepted.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.link.is_open()
    }

    /// A client's view of the answer that opened it.
    #[must_use]
    pub fn accepted(&self) -> Option<&Accepted> {
        match &self.opening {
            Opening::Done(accepted) => accepted.as_ref(),
            _ => None,
        }
    }

    /// Why a client's opening handshake failed.
    #[must_use]
    pub fn handshake_error(&self) -> Option<&HandshakeError> {
        self.failure.as_ref()
    }

    /// The last word, once [`Step::Finished`] is reached.
    #[must_use]
    pub fn reason(&mut self) -> DisconnectReason {
        self.link.take_reason(&self.wire)
    }
}
