//! A connection: a receiver, a sender, and the rules of its life.
//!
//! [`Connection`] wires them together for those who bring their own event loop; it
//! parses nothing itself. The services of this crate drive the same parts.

pub(crate) mod assembly;
pub(crate) mod budget;
pub(crate) mod flow;
pub(crate) mod heartbeat;
pub(crate) mod link;
pub(crate) mod options;
pub(crate) mod outbox;
pub(crate) mod reason;
pub(crate) mod receiver;
pub(crate) mod sender;
pub(crate) mod slow;

use alloc::sync::Arc;
use core::time::Duration;

use self::link::{Link, Step};
use self::options::{Options, Overrides};
use self::outbox::{Outbox, Spare};
use self::reason::{Cause, DisconnectReason};
use self::receiver::{Event, Receiver};
use self::sender::Sender;
use self::slow::Lag;
use crate::client::uri::Uri;
use crate::error::TransportError;
use crate::extensions::Extensions;
use crate::framing::Framer;
use crate::message::{Message, OwnedMessage};
use crate::websocket::Role;
use crate::websocket::frame::close::CloseFrame;
use crate::websocket::frame::header;
use crate::websocket::handshake::request::Answer;
use crate::websocket::handshake::{
    Accept, AcceptError, Accepted, ClientHandshake, Decision, HandshakeError, Offer, Request,
    ServerHandshake,
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

    /// A Ping arrived. It is answered after this call, unless
    /// [`Heartbeat::auto_pong`](crate::Heartbeat::auto_pong) is off: then [`Sender::send_pong`] is
    /// up to the application.
    fn ping(&mut self, sender: &mut Sender, payload: &[u8]) {
        let _ = (sender, payload);
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
    /// A server's answer was something other than a 101.
    Answered {
        status: u16,
        error: Option<AcceptError>,
    },
    Done(Opened),
}

/// How a connection was opened.
#[derive(Debug)]
enum Opened {
    /// Without a handshake, or with one that somebody else went through.
    Elsewhere,
    Server(Accept),
    Client(Accepted),
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
        let offer = offer.clone().extended(&options.websocket);
        let (handshake, request) = ClientHandshake::new(uri, &offer, limits, &mut random)?;
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
            opening: Opening::Done(Opened::Elsewhere),
            receiver: Receiver::framed(framer),
            link,
            wire: Outbox::new(),
            failure: None,
        }
    }

    /// Either end of a WebSocket whose opening handshake somebody else went through. It is
    /// open at once. `random` is for the mask keys of a client; a server has none.
    #[must_use]
    pub fn upgraded(
        role: Role,
        options: impl Into<Arc<Options>>,
        random: Random,
        now: Instant,
    ) -> Connection {
        let options = options.into();
        let sender = match role {
            Role::Server => Sender::websocket_server(options.marks),
            Role::Client => Sender::websocket_client(random, options.marks),
        };
        let opening = Opening::Done(Opened::Elsewhere);
        let mut connection = Connection::websocket(role, opening, sender, options, now);
        connection.link.opened(now);
        connection
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
        self.received(input.len());
        self.receive_opening(input, now, app);
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
                event => {
                    if let Event::Ping(payload) = event
                        && self.link.is_open()
                    {
                        app.ping(&mut self.link.sender, payload);
                    }
                    self.link.event(event, now);
                }
            }
        }
        self.link.note_framer(now);
    }

    /// `n` bytes arrived; they are handed over with the calls that follow.
    pub(crate) fn received(&mut self, n: usize) {
        self.link.received(n);
    }

    /// Takes the bytes of the opening from the input, and none behind it.
    pub(crate) fn receive_opening(
        &mut self,
        input: &mut &mut [u8],
        now: Instant,
        app: &mut impl Application,
    ) {
        if self.is_opened() {
            return;
        }
        if self.link.reason().is_none() {
            self.open(input, now, app);
        }
        if self.link.reason().is_some() {
            // Refused, or closed before it was open: what follows is not looked at.
            *input = &mut [];
        }
    }

    /// Takes the next message from the input, whatever waits in the outbox; `None` once all
    /// input is consumed, or `events` has counted that many down to 0 that were no message.
    pub(crate) fn next_message(
        &mut self,
        input: &mut &mut [u8],
        now: Instant,
        events: &mut u16,
    ) -> Option<OwnedMessage> {
        while *events > 0
            && let Some(event) = self.receiver.next_within(input, Some(events))
        {
            *events = events.saturating_sub(1);
            match event {
                Event::Message(message) if self.link.is_open() => {
                    self.link.message(now);
                    return Some(message.to_owned());
                }
                event => self.link.event(event, now),
            }
        }
        None
    }

    /// As [`Receiver::assembled`].
    pub(crate) fn assembled(&self) -> usize {
        self.receiver.assembled()
    }

    /// The most that is read before what was read is handled.
    pub(crate) fn max_read(&self) -> usize {
        self.link.options().max_read()
    }

    /// As [`Receiver::direct`].
    pub(crate) fn direct(&mut self) -> Option<&mut [u8]> {
        self.receiver.direct()
    }

    /// As [`Receiver::direct_filled`].
    pub(crate) fn direct_filled(&mut self, n: usize) {
        self.receiver.direct_filled(n);
    }

    /// Acts on the bytes of the opening.
    fn open(&mut self, input: &mut &mut [u8], now: Instant, app: &mut impl Application) {
        let mut rest: &[u8] = input;
        let mut deflate = None;
        let next = match &mut self.opening {
            Opening::Answered { .. } | Opening::Done(_) => return,
            Opening::Server(handshake) => handshake.receive(&mut rest).map(|request| {
                let answer = match request {
                    Ok(request) => {
                        let decision = app.request(&request);
                        request.answer(decision, &self.link.options().websocket)
                    }
                    Err(refusal) => Answer::closing(&refusal, ""),
                };
                let Answer { head, body, status, accepted, error, deflate: terms } = answer;
                self.link.queue_opening([head, body], &mut self.wire);
                let Some(accept) = accepted else {
                    self.link.refuse(now);
                    return Opening::Answered { status, error };
                };
                deflate = terms;
                if let Some(overrides) = &accept.overrides {
                    self.link.set(overrides, now);
                }
                if let Some(limits) = &accept.limits {
                    self.receiver.set_limits(**limits);
                }
                Opening::Done(Opened::Server(accept))
            }),
            Opening::Client(handshake) => handshake.receive(&mut rest).and_then(|answer| {
                let failed = |error| {
                    self.failure = Some(error);
                    self.link.refuse(now);
                };
                answer.map(|accepted| Opening::Done(Opened::Client(accepted))).map_err(failed).ok()
            }),
        };
        let consumed = input.len() - rest.len();
        *input = &mut core::mem::take(input)[consumed..];
        if let Opening::Client(handshake) = &self.opening
            && handshake.is_refused()
        {
            self.link.refused_by_peer(now);
        }
        if let Some(next) = next {
            self.opening = next;
            if self.is_opened() {
                let deflate = deflate.or(self.accepted().and_then(|accepted| accepted.deflate));
                self.receiver.agreed(deflate.as_ref());
                self.link.sender.agreed(deflate.as_ref());
                self.link.opened(now);
                app.opened(&mut self.link.sender);
            }
        }
    }

    /// True once the opening handshake is done.
    pub(crate) fn is_opened(&self) -> bool {
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
        self.link.settle();
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
    /// while it is idle; or roomy memory in which little waited for a slow peer. Hand it back
    /// with [`Connection::offer`] to save an allocation.
    pub fn written(&mut self, n: usize, now: Instant) -> Option<Spare> {
        self.wire.advance(n);
        self.link.note_framer(now);
        self.link.wrote(n, &self.wire, now);
        if n == 0 && !self.wire.is_empty() { self.wire.shrink() } else { self.wire.take_spare() }
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

    /// Sets what differs for this connection, from now on.
    pub fn set(&mut self, overrides: &Overrides, now: Instant) {
        self.link.set(overrides, now);
    }

    /// This side stops reading, or goes on. While it does not read, neither the heartbeat nor
    /// the idle deadline hold silence against the peer.
    pub fn pause(&mut self, paused: bool) {
        self.link.pause(paused);
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
        self.link.note_framer(now);
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
            Opening::Done(Opened::Client(accepted)) => Some(accepted),
            _ => None,
        }
    }

    /// The subprotocol that the handshake agreed on.
    #[must_use]
    pub fn subprotocol(&self) -> Option<&str> {
        match &self.opening {
            Opening::Done(Opened::Client(accepted)) => accepted.subprotocol.as_deref(),
            Opening::Done(Opened::Server(accept)) => accept.subprotocol.as_deref(),
            _ => None,
        }
    }

    /// What a server's [`Accept`] attached.
    #[must_use]
    pub fn attached(&self) -> Option<&Extensions> {
        match &self.opening {
            Opening::Done(Opened::Server(accept)) => Some(&accept.attached),
            _ => None,
        }
    }

    /// The status that a server answered, where it was no 101; and why, if the decision of
    /// the application could not be sent.
    #[must_use]
    pub fn answered(&self) -> Option<(u16, Option<&AcceptError>)> {
        match &self.opening {
            Opening::Answered { status, error } => Some((*status, error.as_ref())),
            _ => None,
        }
    }

    /// The last measured time from a Ping to its Pong.
    #[must_use]
    pub fn round_trip(&self) -> Option<Duration> {
        self.link.round_trip()
    }

    /// Bytes accepted and not yet written.
    #[must_use]
    pub fn queued(&self) -> usize {
        self.link.sender.queued()
    }

    /// Everything that was refused, dropped or superseded because the peer reads too slowly.
    #[must_use]
    pub fn lost(&self) -> Lag {
        self.link.sender.lost()
    }

    /// Why a client's opening handshake failed.
    #[must_use]
    pub fn handshake_error(&self) -> Option<&HandshakeError> {
        self.failure.as_ref()
    }

    /// Why the connection ended, once [`Step::Finished`] is reached; `None` before.
    #[must_use]
    pub fn reason(&self) -> Option<DisconnectReason> {
        let is_over = matches!(self.step(), Step::Finished { .. });
        is_over.then(|| self.link.final_reason(&self.wire))
    }

    /// Ends the connection, with a reset if it is not over, drops what is queued, and returns
    /// the final reason: the same on each call.
    pub fn finish(&mut self) -> DisconnectReason {
        let reason = self.link.finalize(&self.wire);
        self.wire = Outbox::new();
        reason
    }
}
