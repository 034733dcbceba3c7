//! The second door: a WebSocket over a stream that the caller has, as a stream and a sink of
//! messages.
//!
//! ```text
//!   caller's stream --carry--> Carrier --accept, connect, from_upgraded--> MessageStream
//!                                                                           |       ^
//!                                                       messages: poll_next v       | start_send
//! ```

mod carrier;
mod error;
mod futures;
mod open;
mod turn;
mod wakers;

use core::fmt;
use core::future::poll_fn;
use core::task::{Context, Poll, ready};
use core::time::Duration;
use std::any::Any;
use std::sync::Arc;

pub use self::carrier::Carrier;
use self::error::is_fault;
pub use self::error::{OpenError, StreamError};
use self::turn::Input;
use self::wakers::{Half, Wakers};
use super::pool;
use super::quota::Quota;
use crate::connection::reason::DisconnectReason;
use crate::connection::slow::Lag;
use crate::error::{CloseError, SendError};
use crate::message::{Message, OwnedMessage};
use crate::websocket::frame::close::CloseFrame;
use crate::websocket::frame::close_code::CloseCode;
use crate::websocket::handshake::Headers;
use crate::{Connection, Instant};

/// An open WebSocket over a stream of the caller's: polled for messages, and given some.
///
/// It is a `futures_core::Stream` of `Result<OwnedMessage, StreamError>` and a
/// `futures_sink::Sink<OwnedMessage>`, and has methods of its own for both, which need no
/// further crate and lend what they send. Where a name is that of an extension trait, the
/// method of this type is called.
///
/// # The contract
/// 1. **It lives while it is polled.** Whatever is polled also writes what waits, answers
///    pings and keeps the deadlines; between two polls nothing happens. Keep a
///    [`MessageStream::next`] pending to keep the connection alive.
/// 2. **Sending is bounded.** At most the limit of the outbox waits to be written, or half of
///    it and one message. What does not fit is refused.
/// 3. **Every wait may be dropped**, at any point, and be started anew: no message is lost or
///    doubled. All state is here, none in the futures.
/// 4. **The end is told once.** After a close, by either side, [`MessageStream::next`] finishes
///    the closing handshake and gives `None`; messages that come meanwhile are thrown away.
///    After a fault it gives one error, then `None`. The transport is dropped at that point.
/// 5. **Reading and writing may be split** between two tasks, by anything that lends the whole
///    to one of them at a time, such as `futures_util::StreamExt::split`.
///
/// Dropping it ends the caller's stream without a Close frame.
///
/// While it is idle it owns no buffer. Between two messages of one read it holds what was
/// read, up to 256 KiB.
pub struct MessageStream<T> {
    /// Gone once the connection is over.
    transport: Option<T>,
    connection: Connection,
    /// What was read and is not looked at.
    input: Option<Input>,
    wakers: Wakers,
    /// What may still be done before the task is to yield.
    quota: Quota,
    /// The time at the start of this poll.
    now: Instant,
    /// What the transport's timer is armed for.
    armed: Instant,
    /// The last read was as large as a small scratch: more comes at once.
    bulk: bool,
    end_of_stream: bool,
    /// The transport may hold back what was written.
    unflushed: bool,
    reason: Option<Arc<DisconnectReason>>,
    /// The connection ended before all that was queued had left, the Close frame included.
    cut_off: bool,
    /// The reader knows that the connection is over.
    told: bool,
}

impl<T: Carrier> MessageStream<T> {
    fn new(stream: T::Stream, connection: Connection) -> MessageStream<T> {
        MessageStream {
            transport: Some(T::carry(stream)),
            connection,
            input: None,
            wakers: Wakers::default(),
            quota: Quota::new(),
            now: T::now(),
            armed: Instant::NEVER,
            bulk: false,
            end_of_stream: false,
            unflushed: false,
            reason: None,
            cut_off: false,
            told: false,
        }
    }

    // Messages in.

    /// The next message; `None` once the connection is over.
    ///
    /// # Errors
    /// [`StreamError::Ended`], once, if a fault ended the connection.
    ///
    /// # Cancel safety
    /// Safe: a message is either returned or still to come.
    pub async fn next(&mut self) -> Option<Result<OwnedMessage, StreamError>> {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    /// As [`MessageStream::next`].
    pub fn poll_next(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<OwnedMessage, StreamError>>> {
        let message = ready!(self.turn(Half::Reader, cx, Self::poll_message));
        Poll::Ready(message.map(Ok).or_else(|| self.last_word()))
    }

    /// The fault that ended the connection, the first time that it is asked for.
    fn last_word(&mut self) -> Option<Result<OwnedMessage, StreamError>> {
        let told = core::mem::replace(&mut self.told, true);
        let fault = self.reason.as_ref().filter(|reason| !told && is_fault(reason))?;
        Some(Err(StreamError::Ended(fault.clone())))
    }

    // Messages out.

    /// Sends a message: waits until there is room, queues it, and writes what the transport
    /// takes at once. The rest leaves with the next poll of anything; see
    /// [`MessageStream::flush`].
    ///
    /// # Errors
    /// As [`MessageStream::poll_ready`].
    ///
    /// # Cancel safety
    /// Dropping the future before it is ready leaves nothing queued.
    pub async fn send<'a>(&mut self, message: impl Into<Message<'a>>) -> Result<(), StreamError> {
        let message = message.into();
        poll_fn(|cx| {
            ready!(self.poll_ready(cx))?;
            self.start_send(message)?;
            self.turn(Half::Writer, cx, |stream, cx| {
                let _ = stream.poll_output(cx);
                Poll::Ready(Ok(()))
            })
        })
        .await
    }

    /// Waits until everything that was accepted is with the transport, and that has sent it on.
    ///
    /// # Errors
    /// [`StreamError::Ended`] if a fault ended the connection, or it ended before that.
    ///
    /// # Cancel safety
    /// Safe: what is queued stays queued.
    pub async fn flush(&mut self) -> Result<(), StreamError> {
        poll_fn(|cx| self.poll_flush(cx)).await
    }

    /// Waits until no more than half of the outbox's limit is queued: the next message will
    /// then be accepted, whatever its size. Where the policy is another than
    /// [`SlowConsumer::Wait`](crate::SlowConsumer::Wait) or
    /// [`SlowConsumer::KeepLatest`](crate::SlowConsumer::KeepLatest), this waits for nothing.
    ///
    /// # Errors
    /// [`SendError::Closed`] once a close is under way, [`StreamError::Ended`] once the
    /// connection is over.
    pub fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), StreamError>> {
        if self.has_room() && !self.is_spent() {
            return Poll::Ready(Ok(()));
        }
        self.turn(Half::Writer, cx, |stream, cx| {
            loop {
                if stream.poll_output(cx).is_ready() || !stream.is_open() {
                    return Poll::Ready(Err(stream.closed()));
                }
                if stream.is_spent() {
                    return Poll::Pending;
                }
                if stream.has_room() {
                    return Poll::Ready(Ok(()));
                }
                ready!(stream.poll_time(cx));
            }
        })
    }

    /// Queues a message; never waits.
    ///
    /// # Errors
    /// [`SendError::Full`] if it does not fit, which cannot be after
    /// [`MessageStream::poll_ready`]; otherwise as that. Nothing of it is queued then.
    pub fn start_send<'a>(&mut self, message: impl Into<Message<'a>>) -> Result<(), StreamError> {
        if !self.is_open() {
            return Err(self.closed());
        }
        let sender = self.connection.sender();
        if sender.outbox().wants_spare()
            && let Some(spare) = pool::take_spare()
        {
            sender.outbox().offer(spare);
        }
        Ok(sender.send_waited(message.into())?)
    }

    /// As [`MessageStream::flush`].
    pub fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), StreamError>> {
        self.turn(Half::Writer, cx, |stream, cx| {
            loop {
                if stream.poll_output(cx).is_ready() {
                    return Poll::Ready(stream.outcome());
                }
                if stream.judge_alone() {
                    continue;
                }
                if stream.is_flushed() {
                    return Poll::Ready(Ok(()));
                }
                ready!(stream.poll_time(cx));
            }
        })
    }

    fn has_room(&mut self) -> bool {
        self.is_open() && !self.connection.sender().is_to_be_waited_for()
    }

    /// Why nothing can be sent.
    fn closed(&self) -> StreamError {
        match &self.reason {
            Some(reason) => StreamError::Ended(reason.clone()),
            None => StreamError::Send(SendError::Closed),
        }
    }

    /// Whether all that was accepted has left, now that the connection is over.
    fn outcome(&self) -> Result<(), StreamError> {
        match &self.reason {
            Some(reason) if is_fault(reason) || self.cut_off => Err(self.closed()),
            _ => Ok(()),
        }
    }

    // The end.

    /// Closes with 1000, unless a close is under way, and waits until the connection is over:
    /// what is queued, both Close frames, the end of the stream; at most as long as the close
    /// timeout. What the peer still sends is thrown away.
    ///
    /// # Errors
    /// [`StreamError::Ended`] if a fault ended the connection, or something that was accepted
    /// did not leave.
    ///
    /// # Cancel safety
    /// Safe: the close goes on with the next poll of anything.
    pub async fn close(&mut self) -> Result<(), StreamError> {
        poll_fn(|cx| self.poll_close(cx)).await
    }

    /// As [`MessageStream::close`].
    pub fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), StreamError>> {
        self.turn(Half::Writer, cx, |stream, cx| {
            let now = stream.now;
            stream.connection.close(CloseFrame::of(CloseCode::NORMAL, ""), now);
            while ready!(stream.poll_message(cx)).is_some() {}
            Poll::Ready(stream.outcome())
        })
    }

    /// Queues a Close frame with a code and a reason for the peer, behind all that was
    /// accepted. Does not wait: go on with [`MessageStream::close`] or
    /// [`MessageStream::next`]. Later calls do nothing: the first reason wins.
    ///
    /// # Errors
    /// If the code may not be sent or the reason has more than 123 bytes; the connection stays
    /// as it is.
    pub fn close_with(&mut self, code: CloseCode, reason: &str) -> Result<(), CloseError> {
        self.connection.close(CloseFrame::new(code, reason)?, T::now());
        self.wakers.wake_all();
        Ok(())
    }

    // What is known.

    /// True until a close or a fault: messages are accepted and delivered.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.connection.is_open()
    }

    /// Why the connection ended; `None` while it is not over.
    #[must_use]
    pub fn reason(&self) -> Option<&DisconnectReason> {
        self.reason.as_deref()
    }

    /// Bytes accepted and not yet given to the transport, framing included; 0 once the connection
    /// is over.
    #[must_use]
    pub fn buffered(&self) -> usize {
        self.connection.queued()
    }

    /// Everything that was refused, dropped or superseded because the peer reads too slowly.
    #[must_use]
    pub fn lost(&self) -> Lag {
        self.connection.lost()
    }

    /// The subprotocol that was agreed on; `None` also after
    /// [`MessageStream::from_upgraded`], which was not told.
    #[must_use]
    pub fn subprotocol(&self) -> Option<&str> {
        self.connection.subprotocol()
    }

    /// The headers of the 101 that a server sent to this client.
    #[must_use]
    pub fn headers(&self) -> Option<&Headers> {
        self.connection.accepted().map(|accepted| &accepted.headers)
    }

    /// What the decision of this server attached, of this type.
    #[must_use]
    pub fn get<V: Any + Send + Sync>(&self) -> Option<&V> {
        self.connection.attached()?.get()
    }

    /// The last measured time from a heartbeat's Ping to its Pong.
    #[must_use]
    pub fn round_trip(&self) -> Option<Duration> {
        self.connection.round_trip()
    }

    /// The caller's stream, to ask it for addresses and the like; `None` once the connection
    /// is over.
    #[must_use]
    pub fn get_ref(&self) -> Option<&T::Stream> {
        self.transport.as_ref().map(T::stream)
    }
}

impl<T> fmt::Debug for MessageStream<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MessageStream")
            .field("open", &self.connection.is_open())
            .field("queued", &self.connection.queued())
            .field("reason", &self.reason)
            .finish_non_exhaustive()
    }
}
