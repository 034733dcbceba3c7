//! From a connected stream to an open WebSocket: both handshakes, or one that is done.

use core::future::poll_fn;
use core::task::{Context, Poll, ready};
use std::sync::Arc;

use super::turn::Input;
use super::wakers::Half;
use super::{Carrier, MessageStream, OpenError};
use crate::client::uri::Uri;
use crate::connection::options::Options;
use crate::connection::sender::Sender;
use crate::message::Message;
use crate::service::pool::Scratch;
use crate::websocket::Role;
use crate::websocket::handshake::{Accept, Decision, HandshakeError, IntoDecision, Offer, Request};
use crate::{Application, Connection, Random};

impl<T: Carrier> MessageStream<T> {
    /// Goes through a server's opening handshake. Accepts every upgrade, with the first of the
    /// client's subprotocols that is among those of the options.
    ///
    /// # Errors
    /// See [`OpenError`]. A request that breaks a rule is refused in order: this returns when
    /// the answer is written and the stream ended. All of it has the handshake's deadline, and
    /// a refusal the close timeout behind it.
    ///
    /// # Cancel safety
    /// The future owns the stream: dropping it closes that.
    pub async fn accept(
        stream: T::Stream,
        options: impl Into<Arc<Options>>,
    ) -> Result<MessageStream<T>, OpenError> {
        Self::accept_with(stream, options, |_| Accept::new()).await
    }

    /// As [`MessageStream::accept`], with a decision on the request: an
    /// [`Accept`](crate::websocket::handshake::Accept), or a
    /// [`Response`](crate::websocket::handshake::Response), which is written before this fails
    /// with [`OpenError::Refused`]; or a `Result` of these.
    ///
    /// # Errors
    /// As [`MessageStream::accept`].
    ///
    /// # Cancel safety
    /// The future owns the stream: dropping it closes that.
    pub async fn accept_with<D: IntoDecision>(
        stream: T::Stream,
        options: impl Into<Arc<Options>>,
        decide: impl FnOnce(&Request) -> D,
    ) -> Result<MessageStream<T>, OpenError> {
        let decide = |request: &Request| decide(request).into_decision();
        let options = Options::checked_shared(options.into()).map_err(OpenError::Option)?;
        let connection = Connection::server(options, T::now());
        MessageStream::new(stream, connection).opened(Door { decide: Some(decide) }).await
    }

    /// Goes through a client's opening handshake. The subprotocols of the options are offered
    /// behind those of `offer`. Of `uri` only the host and the resource count: whether a
    /// stream is encrypted is its own affair.
    ///
    /// # Errors
    /// See [`OpenError`]. All of it has the handshake's deadline.
    ///
    /// # Cancel safety
    /// The future owns the stream: dropping it closes that.
    pub async fn connect(
        stream: T::Stream,
        uri: &Uri,
        offer: &Offer,
        options: impl Into<Arc<Options>>,
    ) -> Result<MessageStream<T>, OpenError> {
        let options = Options::checked_shared(options.into()).map_err(OpenError::Option)?;
        let names = options.websocket.subprotocols.iter();
        let offer = names.fold(offer.clone(), |offer, name| offer.subprotocol(name));
        let connection = Connection::client(uri, &offer, options, Random::os(), T::now());
        let connection = connection.map_err(OpenError::Handshake)?;
        let door = Door { decide: None::<fn(&Request) -> Decision> };
        MessageStream::new(stream, connection).opened(door).await
    }

    /// Takes over a stream whose opening handshake somebody else went through, such as a web
    /// framework. `leftover` is what that has read behind the handshake.
    #[must_use]
    pub fn from_upgraded(
        stream: T::Stream,
        role: Role,
        options: impl Into<Arc<Options>>,
        leftover: &[u8],
    ) -> MessageStream<T> {
        let connection = Connection::upgraded(role, options, Random::os(), T::now());
        let mut stream = MessageStream::new(stream, connection);
        if !leftover.is_empty() {
            stream.connection.received(leftover.len());
            stream.input = Some(Input::new(Scratch::kept(leftover), leftover.len()));
        }
        stream
    }

    async fn opened<D>(mut self, mut door: Door<D>) -> Result<MessageStream<T>, OpenError>
    where
        D: FnOnce(&Request) -> Decision,
    {
        poll_fn(|cx| self.turn(Half::Reader, cx, |stream, cx| stream.poll_open(cx, &mut door)))
            .await?;
        Ok(self)
    }

    /// Waits until the handshake is done and its last byte is written.
    fn poll_open(
        &mut self,
        cx: &mut Context<'_>,
        app: &mut impl Application,
    ) -> Poll<Result<(), OpenError>> {
        loop {
            // A client owes nothing to a server that has refused it.
            let failed = self.connection.handshake_error().is_some();
            if failed || self.poll_output(cx).is_ready() {
                return Poll::Ready(Err(self.open_error()));
            }
            if self.is_used_up() {
                return Poll::Pending;
            }
            if !self.connection.is_opened() && self.poll_read(cx).is_ready() {
                self.take(|connection, bytes, now| connection.receive_opening(bytes, now, app));
                self.judge();
            } else if self.connection.is_opened() && self.is_flushed() {
                return Poll::Ready(Ok(()));
            } else {
                ready!(self.poll_time(cx));
            }
        }
    }

    fn open_error(&self) -> OpenError {
        if let Some(error) = self.connection.handshake_error() {
            return OpenError::Handshake(error.clone());
        }
        match (self.connection.answered(), &self.reason) {
            (Some((_, Some(error))), _) => OpenError::Answer(error.clone()),
            (Some((status, None)), _) => OpenError::Refused(status),
            (None, Some(reason)) => OpenError::Ended(reason.clone()),
            (None, None) => OpenError::Handshake(HandshakeError::EndOfStream),
        }
    }
}

/// What decides on the one request of a server's stream.
struct Door<D> {
    decide: Option<D>,
}

impl<D: FnOnce(&Request) -> Decision> Application for Door<D> {
    fn request(&mut self, request: &Request) -> Decision {
        match self.decide.take() {
            Some(decide) => decide(request),
            None => Accept::new().into(),
        }
    }

    /// None comes before the handshake is done, and then they are asked for one by one.
    fn message(&mut self, _: &mut Sender, _: Message<'_>) {}
}
