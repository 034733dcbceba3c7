//! The life of a connection: heartbeat, deadlines, the closing handshake, the last word.
//!
//! ```text
//!   Opening --opened--> Open --close, fault, end of stream--> Closing --> Finished
//!      |                  |                                               ^
//!      +------------------+--- abort, transport failure, dead peer -------+
//! ```
//!
//! A [`Link`] is everything of a connection that may be touched from any thread: the
//! [`Sender`] and the rules. The parser and the bytes that are being written belong
//! to whoever drives it. It does no IO: [`Link::step`] says what the transport owes.

use alloc::boxed::Box;
use alloc::string::ToString;
use alloc::sync::Arc;
use core::time::Duration;

use bytes::Bytes;

use super::heartbeat::{Beat, Pulse};
use super::options::{Options, Overrides};
use super::outbox::Outbox;
use super::reason::{Cause, Cut, DisconnectReason, Side, cause_of};
use super::receiver::Event;
use super::sender::Sender;
use crate::error::{Error, LocalError, ProtocolError, TransportError};
use crate::framing::FramingError;
use crate::timer::TimerTable;
use crate::websocket::Role;
use crate::websocket::frame::close::CloseFrame;
use crate::websocket::frame::close_code::CloseCode;
use crate::websocket::handshake::client::BODY_WAIT;
use crate::{Instant, Timer};

/// Bytes that a peer may still send after our last word before it is cut off: what
/// fits in the buffers of a fast network, so that its reader sees that word instead
/// of a reset.
pub(crate) const DISCARD_LIMIT: usize = 16 << 20;

/// What a read counts for at least before a deadline is judged, so that reads of a byte each come
/// to an end.
const LEAST_READ: usize = 1 << 10;

/// What the network holds at least for a side that does not read: a peer that has sent as much
/// may have more to send, and be waiting.
const WINDOW: usize = 64 << 10;

/// A timer that comes this much too late was not late by itself: this side was suspended, or
/// its thread was held up.
pub(crate) const LATE: Duration = Duration::from_millis(50);

/// What the transport is to do next, beyond reading, writing and waiting.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// Nothing.
    Continue,
    /// All is written: end the sending direction, then call [`Link::shut_down`].
    Shutdown,
    /// The connection is over: drop the transport.
    Finished {
        /// With a reset instead of an orderly end.
        reset: bool,
    },
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    Opening,
    Open,
    Closing,
    Finished { reset: bool },
}

/// The shared half of a connection; see the module's documentation.
#[derive(Debug)]
pub struct Link {
    /// The sending half.
    pub sender: Sender,
    /// `None` for framed TCP, which has no frames to close with.
    role: Option<Role>,
    phase: Phase,
    options: Arc<Options>,
    timers: TimerTable,
    pulse: Pulse,
    /// The peer's stream ended.
    end_of_stream: bool,
    /// It was cut off: what came may not be all.
    truncated: bool,
    /// Messages have flowed, or may have.
    was_open: bool,
    /// The peer broke a rule, before or after the first reason: no Close frame of its will be
    /// parsed.
    is_deaf: bool,
    /// Our direction is shut down.
    shut_down: bool,
    /// The server does not wait any longer.
    cut_off: bool,
    /// Bytes received while closing.
    discarded: usize,
    /// A deadline has passed, and is judged after a look at what had arrived.
    look: Option<Box<Look>>,
    reason: Option<Box<DisconnectReason>>,
    /// The reason is complete.
    is_final: bool,
}

/// What is done between a deadline and its judgement; see [`Link::is_condemning`].
#[derive(Debug)]
struct Look {
    /// The time before it.
    at: Instant,
    /// What was read since.
    read: usize,
    /// How much more is.
    left: usize,
}

impl Link {
    /// A connection whose opening starts at `now`. `role` is `None` for framed TCP.
    #[must_use]
    pub fn new(
        mut sender: Sender,
        role: Option<Role>,
        options: Arc<Options>,
        now: Instant,
    ) -> Link {
        sender.set_slow_consumer(options.slow_consumer);
        let mut timers = TimerTable::new();
        timers.set(Timer::Handshake, now + options.timeouts.handshake);
        Link {
            sender,
            role,
            phase: Phase::Opening,
            options,
            timers,
            pulse: Pulse::new(),
            end_of_stream: false,
            truncated: false,
            was_open: false,
            is_deaf: false,
            shut_down: false,
            cut_off: false,
            discarded: 0,
            look: None,
            reason: None,
            is_final: false,
        }
    }

    /// The opening is done: messages may flow, the heartbeat starts.
    pub fn opened(&mut self, now: Instant) {
        if self.phase != Phase::Opening {
            return;
        }
        self.phase = Phase::Open;
        self.was_open = true;
        self.timers.stop(Timer::Handshake);
        self.arm_ping(now);
        self.message(now);
    }

    /// The head of a refusal has arrived: its body is not waited for until the deadline.
    pub(crate) fn refused_by_peer(&mut self, now: Instant) {
        if self.phase == Phase::Opening {
            self.timers.bring_forward(Timer::Handshake, now + BODY_WAIT);
        }
    }

    /// Puts bytes of the opening (a request, an answer) on the wire.
    pub fn queue_opening<const N: usize>(&mut self, parts: [Bytes; N], wire: &mut Outbox) {
        for bytes in parts {
            self.sender.queue_opening(bytes.len());
            wire.push_opening(bytes);
        }
    }

    // Inputs from the peer.

    /// `n` bytes arrived.
    pub fn received(&mut self, n: usize) {
        self.pulse.alive();
        if let Some(look) = &mut self.look {
            look.read += n;
            look.left = look.left.saturating_sub(n.max(LEAST_READ));
        }
        if self.phase == Phase::Closing {
            self.discarded += n;
            if self.discarded > DISCARD_LIMIT {
                self.phase = Phase::Finished { reset: true };
            }
        }
    }

    /// A whole message arrived: what the idle deadline waits for.
    pub fn message(&mut self, now: Instant) {
        if let (Phase::Open, Some(idle)) = (self.phase, self.options.timeouts.idle) {
            self.timers.set(Timer::Idle, now + idle);
        }
    }

    /// The receiver gave an event other than a message.
    pub fn event(&mut self, event: Event<'_>, now: Instant) {
        match event {
            Event::Message(_) => self.message(now),
            Event::Ping(payload) if self.options.websocket.heartbeat.auto_pong => {
                self.sender.pong(payload);
            }
            Event::Ping(_) => {}
            Event::Pong(payload) => self.pulse.pong(payload, now),
            Event::Close { code, reason } => self.peer_closed(CloseFrame::of(code, reason), now),
            Event::Failed(error) => {
                self.is_deaf = true;
                let (side, blamed) = match error {
                    ProtocolError::ReceiveMemory { limit } => {
                        (Side::Local, Error::Local(LocalError::ReceiveMemory { limit }))
                    }
                    ProtocolError::Framing(error) if error.is_of_framer() => {
                        (Side::Local, Error::Local(LocalError::Framer(error)))
                    }
                    error => (Side::Remote, Error::Peer(error)),
                };
                self.end(DisconnectReason::fault(side, cause_of(&error), blamed), now);
            }
        }
    }

    /// RFC 6455 section 5.5.1: answer with the code received, unless our Close went first.
    fn peer_closed(&mut self, frame: CloseFrame, now: Instant) {
        let mut reason = DisconnectReason::new(Side::Remote, Cause::Closed);
        reason.sent = Some(frame.clone());
        self.end(reason, now);
        if let Some(reason) = &mut self.reason {
            reason.received.get_or_insert(frame);
            reason.clean = reason.sent.is_some();
        }
    }

    /// The peer's stream ended; `unfinished` is the message it ended in.
    ///
    /// What was accepted before is still written: the peer may have shut down its
    /// own direction only.
    pub fn end_of_stream(&mut self, unfinished: Bytes, now: Instant) {
        if self.is_finished() {
            return;
        }
        self.end_of_stream = true;
        let cause = if self.role.is_some() { Cause::Lost } else { Cause::Closed };
        let mut reason = DisconnectReason::new(Side::Remote, cause);
        reason.clean = self.role.is_none();
        reason.unfinished = unfinished;
        if self.phase == Phase::Opening {
            reason.add_undelivered(self.sender.abort());
        }
        self.sender.end();
        self.end(reason, now);
    }

    /// Reading or writing failed.
    pub fn transport_failed(&mut self, error: impl Into<TransportError>) {
        let error = Error::Transport(error.into());
        self.finish(DisconnectReason::fault(Side::Remote, Cause::TransportError, error), false);
    }

    /// The peer's stream ended without the word of TLS that it does. A WebSocket has a word of
    /// its own; plain TCP cannot tell this end from one that somebody on the way has made.
    #[cfg(feature = "tls")]
    pub(crate) fn truncated(
        &mut self,
        error: crate::tls::TlsError,
        unfinished: Bytes,
        now: Instant,
    ) {
        if self.role.is_none() && !self.is_finished() {
            self.truncated = true;
            let error = Error::Tls(error);
            let mut reason = DisconnectReason::fault(Side::Remote, Cause::TlsError, error);
            reason.unfinished = unfinished.clone();
            self.end(reason, now);
        }
        self.end_of_stream(unfinished, now);
    }

    /// TLS failed before the connection was open: the peer is told, and read out.
    #[cfg(feature = "tls")]
    pub(crate) fn refuse_tls(&mut self, error: crate::tls::TlsError, now: Instant) {
        self.end(DisconnectReason::fault(Side::Remote, Cause::TlsError, Error::Tls(error)), now);
    }

    /// TLS failed on an open connection.
    #[cfg(feature = "tls")]
    pub(crate) fn tls_failed(&mut self, error: crate::tls::TlsError) {
        let error = Error::Tls(error);
        self.finish(DisconnectReason::fault(Side::Remote, Cause::TlsError, error), false);
    }

    // Inputs from the application.

    /// Closes in order: what is queued, a Close frame, the peer's answer, the end of the
    /// stream; all under the close deadline. Does nothing on a connection that is closing.
    pub fn close(&mut self, frame: CloseFrame, cause: Cause, now: Instant) {
        let mut reason = DisconnectReason::new(Side::Local, cause);
        if self.phase == Phase::Opening {
            // No frame may be sent yet.
            reason.add_undelivered(self.sender.abort());
            return self.end(reason, now);
        }
        reason.clean = self.role.is_none();
        reason.sent = Some(frame);
        self.end(reason, now);
    }

    /// Ends with a local fault, such as a panic of a handler.
    pub fn fail(&mut self, cause: Cause, error: Error, now: Instant) {
        self.end(DisconnectReason::fault(Side::Local, cause, error), now);
    }

    /// The peer sent more than a rate limit allows: it is told, and not waited for.
    pub(crate) fn rate_limited(&mut self, now: Instant) {
        let error = Error::RateLimited;
        self.end(DisconnectReason::fault(Side::Remote, Cause::RateLimited, error), now);
    }

    /// The opening was answered with a refusal, which is still to be written.
    pub fn refuse(&mut self, now: Instant) {
        self.close(CloseFrame::of(CloseCode::NORMAL, ""), Cause::Closed, now);
    }

    /// Ends at once, with a reset; nothing more is written.
    pub fn abort(&mut self) {
        if !self.is_finished() {
            self.finish(DisconnectReason::new(Side::Local, Cause::Aborted), true);
            self.note_cut(Cut::Abort);
        }
    }

    /// Notes what ended a connection that had not ended by itself.
    fn note_cut(&mut self, cut: Cut) {
        if let Some(reason) = &mut self.reason {
            reason.cut.get_or_insert(cut);
        }
    }

    /// Sets what differs for this connection, from now on. It has settings of its own then.
    pub fn set(&mut self, overrides: &Overrides, now: Instant) {
        overrides.apply(Arc::make_mut(&mut self.options));
        if let Some(policy) = overrides.slow_consumer {
            self.sender.set_slow_consumer(policy);
        }
        if let Some(marks) = overrides.marks {
            self.sender.set_marks(marks);
        }
        if overrides.stall.is_some() && self.timers.is_set(Timer::Stall) {
            self.timers.set(Timer::Stall, now + self.options.timeouts.stall);
        }
        if self.phase != Phase::Open {
            return;
        }
        if overrides.idle.is_some() {
            self.timers.stop(Timer::Idle);
            self.message(now);
        }
        if overrides.heartbeat.is_some() {
            self.timers.stop(Timer::Ping);
            self.pulse.alive();
            self.arm_ping(now);
        }
    }

    /// Takes notice of a message that did not fit where that ends the connection; to be called
    /// after a send that was refused.
    pub fn settle(&mut self) {
        if self.sender.is_overrun() {
            self.finish(overrun(), true);
        }
    }

    /// Ends the connection if its framer has panicked; to be called after whatever encodes.
    /// Returns true if it has.
    pub(crate) fn note_framer(&mut self, now: Instant) -> bool {
        let failed = self.sender.has_framer_failed();
        if failed {
            self.end(framer_failed(), now);
        }
        failed
    }

    /// This side stops reading (a handler is busy, or its answers wait), or goes on.
    pub fn pause(&mut self, paused: bool) {
        self.pulse.pause(paused);
    }

    // Inputs from the transport.

    /// `n` bytes of `wire` were written and left it; says if senders may go on.
    ///
    /// To be called after each attempt to write, also one that wrote nothing.
    pub fn wrote(&mut self, n: usize, wire: &Outbox, now: Instant) -> bool {
        if self.is_final {
            return false;
        }
        if wire.is_empty() {
            self.timers.stop(Timer::Stall);
        } else if n > 0 || !self.timers.is_set(Timer::Stall) {
            self.timers.set(Timer::Stall, now + self.options.timeouts.stall);
        }
        if n > 0 && !wire.is_empty() {
            // The system's buffer was full and took more: the peer has read something.
            self.pulse.alive();
        }
        if n > 0 && self.timers.is_set(Timer::Close) && !self.cut_off {
            // A slow reader gets what was accepted; the deadline runs from the last byte on. A
            // server that stops does not wait for that.
            self.timers.set(Timer::Close, now + self.options.timeouts.close);
        }
        self.sender.wrote(wire.len())
    }

    /// Our direction is shut down, as [`Step::Shutdown`] asked.
    pub fn shut_down(&mut self) {
        self.shut_down = true;
    }

    // Time.

    /// When to call [`Link::handle_timeout`], and why.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<(Instant, Timer)> {
        match self.phase {
            Phase::Finished { .. } => None,
            _ => self.timers.next(),
        }
    }

    /// True if [`Link::handle_timeout`] would end the connection because of a deadline.
    ///
    /// That is not judged yet: whoever drives the connection may have been away until after the
    /// deadline. They try to write, hand over everything that had arrived, and call
    /// [`Link::judge`].
    pub(crate) fn is_condemning(&mut self, now: Instant) -> bool {
        if self.late().is_some_and(|at| self.is_condemning_at(at)) {
            return true;
        }
        let condemning = self.is_condemning_at(now);
        let look = || Box::new(Look { at: now, read: 0, left: DISCARD_LIMIT });
        self.look = condemning.then(look);
        condemning
    }

    fn is_condemning_at(&self, now: Instant) -> bool {
        let due = |timer| self.timers.get(timer) <= now;
        !self.is_finished()
            && (due(Timer::Handshake)
                || due(Timer::Stall)
                || due(Timer::Close)
                || due(Timer::Idle) && !self.pulse.is_paused()
                || due(Timer::Ping) && self.pulse.gives_up(self.options.websocket.heartbeat))
    }

    /// True if more was read since [`Link::is_condemning`] than can have arrived before: a peer
    /// that goes on sending does not postpone a judgement.
    pub(crate) fn has_looked(&self) -> bool {
        self.look.as_ref().is_some_and(|look| look.left == 0)
    }

    /// When the deadline was found to have passed, if one has.
    pub(crate) fn late(&self) -> Option<Instant> {
        self.look.as_ref().map(|look| look.at)
    }

    /// Judges the deadlines by the time before the look.
    pub(crate) fn judge(&mut self) {
        if let Some(at) = self.late() {
            self.handle_timeout(at);
        }
    }

    /// A whole step of the opening arrived: a request, an answer, a flight of TLS. If that is
    /// after the deadline, this side was away when it came: what follows gets that time again.
    pub(crate) fn stepped(&mut self, now: Instant) {
        let at = self.timers.get(Timer::Handshake);
        if at <= now {
            self.timers
                .set(Timer::Handshake, now + (now - at).min(self.options.timeouts.handshake));
        }
    }

    /// Gives a closing connection no more time than a last look at what has arrived. Its end is
    /// a reset then.
    pub(crate) fn cut_off(&mut self, now: Instant) {
        if self.phase == Phase::Closing {
            self.timers.set(Timer::Close, now);
            self.cut_off = true;
        }
    }

    /// True once [`Link::cut_off`] was called.
    pub(crate) const fn is_cut_off(&self) -> bool {
        self.cut_off
    }

    /// Time has come to `now`: acts on every deadline that passed.
    pub fn handle_timeout(&mut self, now: Instant) {
        let read = self.look.take().map_or(0, |look| look.read);
        // How much too late this side noticed; nothing, for a timer that was on time.
        let away = |timer| Some(now - self.timers.get(timer)).filter(|away| *away >= LATE);
        let (idle, close) = (away(Timer::Idle), away(Timer::Close));
        while let Some(timer) = self.timers.pop_expired(now) {
            match timer {
                Timer::Ping => self.beat(now),
                // Nobody listens: the silence is this side's own.
                Timer::Idle if self.pulse.is_paused() => self.message(now),
                // A part of a message had arrived. A peer that was not read cannot send the rest:
                // it gets that time again.
                Timer::Idle if read > 0 && idle.is_some() => {
                    self.grant(timer, idle, self.options.timeouts.idle, now);
                }
                Timer::Idle => {
                    let reason = DisconnectReason::fault(
                        Side::Remote,
                        Cause::IdleTimeout,
                        Error::Timer(Timer::Idle),
                    );
                    self.end(reason, now);
                }
                Timer::Handshake => self.expire(timer, Cause::HandshakeTimeout, false),
                Timer::Stall => self.expire(timer, Cause::StallTimeout, true),
                // So much had arrived that more of it may wait for this side to read.
                Timer::Close if read >= WINDOW && close.is_some() && !self.peer_is_done() => {
                    self.grant(timer, close, Some(self.options.timeouts.close), now);
                }
                // Whoever closed has waited long enough; the reason stands.
                Timer::Close => {
                    if self.lingers_until().is_none() {
                        self.note_cut(if self.cut_off { Cut::Abort } else { Cut::Deadline });
                    }
                    let reset = self.cut_off || self.sender.queued() > 0;
                    self.phase = Phase::Finished { reset };
                }
            }
        }
    }

    /// Nothing more of the peer's is needed for a clean end.
    fn peer_is_done(&self) -> bool {
        let closed = |reason: &DisconnectReason| reason.received.is_some();
        self.end_of_stream || self.reason().is_some_and(closed)
    }

    /// Moves a deadline by the time that this side was away, and never by more than it is long.
    fn grant(
        &mut self,
        timer: Timer,
        away: Option<Duration>,
        most: Option<Duration>,
        now: Instant,
    ) {
        self.timers.set(timer, now + away.min(most).unwrap_or_default());
    }

    fn beat(&mut self, now: Instant) {
        match self.pulse.beat(self.options.websocket.heartbeat, now) {
            Beat::Ping(payload) => {
                self.sender.ping(&payload);
                self.arm_ping(now);
            }
            Beat::Dead => self.expire(Timer::Ping, Cause::HeartbeatTimeout, true),
        }
    }

    fn arm_ping(&mut self, now: Instant) {
        if let (Some(_), Some(interval)) = (self.role, self.options.websocket.heartbeat.interval) {
            self.timers.set(Timer::Ping, now + interval);
        }
    }

    /// The peer does nothing where it should: no use in a goodbye.
    fn expire(&mut self, timer: Timer, cause: Cause, reset: bool) {
        self.finish(DisconnectReason::fault(Side::Remote, cause, Error::Timer(timer)), reset);
        self.note_cut(Cut::Deadline);
    }

    // Outputs.

    /// What the transport owes now.
    #[must_use]
    pub fn step(&self) -> Step {
        match self.phase {
            Phase::Opening | Phase::Open if self.sender.is_overrun() => {
                Step::Finished { reset: true }
            }
            Phase::Opening | Phase::Open => Step::Continue,
            Phase::Finished { reset } => Step::Finished { reset },
            Phase::Closing if self.sender.queued() > 0 => Step::Continue,
            Phase::Closing => self.closing_step(),
        }
    }

    /// Everything is written. RFC 6455 section 7.1.1: the server ends the stream first.
    fn closing_step(&self) -> Step {
        let handshake_is_over = match &self.reason {
            // Without a Close frame of ours there is no closing handshake.
            Some(reason) if reason.sent.is_none() || reason.error.is_some() => true,
            Some(_) if self.is_deaf => true,
            // A client waits for the server to end the stream.
            _ if self.role == Some(Role::Client) => self.end_of_stream,
            Some(reason) => reason.received.is_some() || self.end_of_stream,
            None => true,
        };
        match (handshake_is_over, self.shut_down, self.end_of_stream) {
            (true, false, _) => Step::Shutdown,
            (_, true, true) => Step::Finished { reset: false },
            _ => Step::Continue,
        }
    }

    /// Returns true if nothing that the peer still sends can change the reason: its Close frame
    /// came, its input is not parsed any more, or it never had a session.
    pub(crate) fn is_decided(&self) -> bool {
        let Some(reason) = self.reason.as_ref().filter(|_| self.phase == Phase::Closing) else {
            return false;
        };
        !self.was_open
            || self.is_deaf
            || reason.received.is_some()
            || is_final(reason.error.as_ref())
    }

    /// Returns the close deadline of a connection of which nothing is left but the peer's FIN:
    /// the reason is decided and everything is written. `None` for any other connection.
    pub(crate) fn lingers_until(&self) -> Option<Instant> {
        let lingers = self.is_decided()
            && !self.cut_off
            && !self.end_of_stream
            && self.sender.queued() == 0
            && self.closing_step() == Step::Continue;
        lingers.then(|| self.timers.get(Timer::Close))
    }

    /// Returns true if all that is left to do is to shut this side's direction down: the peer's
    /// FIN came when the writing half had ended already.
    pub(crate) fn owes_shutdown(&self) -> bool {
        self.is_decided()
            && !self.cut_off
            && self.sender.queued() == 0
            && self.closing_step() == Step::Shutdown
    }

    /// Returns true if this side's direction is shut down.
    pub(crate) const fn is_shut_down(&self) -> bool {
        self.shut_down
    }

    /// True unless the transport took less than there was: what is queued now leaves soon.
    #[must_use]
    pub fn is_flowing(&self) -> bool {
        !self.timers.is_set(Timer::Stall)
    }

    /// The settings.
    #[must_use]
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// True while messages are delivered and accepted.
    #[must_use]
    pub const fn is_open(&self) -> bool {
        matches!(self.phase, Phase::Open)
    }

    /// True from the start of a close to the end of the connection.
    pub(crate) const fn is_closing(&self) -> bool {
        matches!(self.phase, Phase::Closing)
    }

    /// True once the connection is over.
    #[must_use]
    pub const fn is_finished(&self) -> bool {
        matches!(self.phase, Phase::Finished { .. })
    }

    /// The last measured time from a Ping to its Pong.
    #[must_use]
    pub fn round_trip(&self) -> Option<Duration> {
        self.pulse.round_trip()
    }

    /// Why the connection ends, as far as it is known; `None` while it is open.
    #[must_use]
    pub fn reason(&self) -> Option<&DisconnectReason> {
        self.reason.as_deref()
    }

    /// Why the connection ends if it ends now: the messages that are queued or in `wire` are
    /// not delivered then.
    #[must_use]
    pub fn final_reason(&self, wire: &Outbox) -> DisconnectReason {
        let mut reason = match &self.reason {
            Some(reason) => (**reason).clone(),
            None if self.sender.is_overrun() => overrun(),
            None if self.sender.has_framer_failed() => framer_failed(),
            None => DisconnectReason::new(Side::Local, Cause::Aborted),
        };
        reason.add_undelivered(self.sender.unsent(wire));
        let is_over = matches!(self.step(), Step::Finished { .. });
        if !is_over && self.lingers_until().is_none() {
            reason.cut.get_or_insert(Cut::Abort);
        }
        let in_order =
            self.role.is_some() || (self.shut_down && self.end_of_stream && !self.truncated);
        let all_is_written = wire.is_empty() && !self.sender.has_untaken();
        reason.clean &= all_is_written && reason.undelivered_messages == 0 && in_order;
        reason
    }

    /// Ends the connection, at once if it is not over, and returns why it ended: the same on
    /// each call. Whatever is queued or in `wire` counts as not delivered; nothing counts as
    /// queued afterwards.
    pub fn finalize(&mut self, wire: &Outbox) -> DisconnectReason {
        if self.is_final {
            return self.final_reason(&Outbox::new());
        }
        self.is_final = true;
        self.settle();
        let reason = self.final_reason(wire);
        self.reason = Some(Box::new(reason.clone()));
        self.sender.finish();
        self.phase = match self.phase {
            Phase::Finished { reset } => Phase::Finished { reset },
            _ => Phase::Finished { reset: true },
        };
        reason
    }

    /// Starts closing, if nothing did before: first reason wins.
    fn end(&mut self, mut reason: DisconnectReason, now: Instant) {
        if !matches!(self.phase, Phase::Opening | Phase::Open) {
            return;
        }
        self.phase = Phase::Closing;
        for timer in [Timer::Handshake, Timer::Ping, Timer::Idle] {
            self.timers.stop(timer);
        }
        self.timers.set(Timer::Close, now + self.options.timeouts.close);
        if reason.sent.is_none() {
            reason.sent = goodbye(reason.error.as_ref());
        }
        match &reason.sent {
            Some(frame) if self.sender.is_open() => self.sender.close(frame),
            _ => {
                reason.sent = None;
                self.sender.end();
            }
        }
        if self.role.is_none() {
            reason.sent = None;
        }
        self.reason = Some(Box::new(reason));
    }

    /// Is over, without another word.
    fn finish(&mut self, reason: DisconnectReason, reset: bool) {
        if !self.is_finished() {
            self.sender.end();
            self.phase = Phase::Finished { reset };
            self.reason.get_or_insert_with(|| Box::new(reason));
        }
    }
}

/// Returns true for a fault after which the peer's Close frame is not waited for.
fn is_final(error: Option<&Error>) -> bool {
    match error {
        Some(Error::RateLimited) => true,
        #[cfg(feature = "tls")]
        Some(Error::Tls(_)) => true,
        _ => false,
    }
}

/// A framer has panicked while it encoded.
fn framer_failed() -> DisconnectReason {
    let error = Error::Local(LocalError::Framer(FramingError::Panicked));
    DisconnectReason::fault(Side::Local, Cause::HandlerFailed, error)
}

/// A message did not fit where that ends the connection.
fn overrun() -> DisconnectReason {
    DisconnectReason::fault(Side::Remote, Cause::SlowConsumer, Error::SlowConsumer)
}

/// The Close frame that a fault deserves.
fn goodbye(error: Option<&Error>) -> Option<CloseFrame> {
    let error = error?;
    let code = error.close_code()?;
    // The peer is told its own fault in full, and nothing of ours.
    let fault;
    let text = match error {
        Error::Peer(error) => {
            fault = error.to_string();
            &*fault
        }
        Error::RateLimited => "too much at once",
        Error::Timer(_) => "idle",
        Error::Local(LocalError::ReceiveMemory { .. }) => "too busy for a message of this size",
        _ => "internal error",
    };
    let frame = CloseFrame::new(code, text);
    Some(frame.unwrap_or_else(|_| CloseFrame::of(code, "")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_of_a_close_frame_follows_the_error_and_not_its_code() {
        let text = |error| goodbye(Some(&error)).unwrap().reason().to_string();
        let all = [
            ProtocolError::InvalidUtf8,
            ProtocolError::InvalidCloseReason,
            ProtocolError::InvalidDeflate,
            ProtocolError::TooManyFragments { limit: 7 },
            ProtocolError::TooManyFinalBlocks { limit: 16 },
            ProtocolError::FrameTooLarge { len: u64::MAX, limit: usize::MAX },
        ];
        for error in all {
            assert_eq!(text(Error::Peer(error)), error.to_string());
        }
        let local = text(Error::Local(LocalError::HandlerPanicked));
        assert_eq!(local, "internal error", "the peer is not told of our faults");
        assert_eq!(text(Error::RateLimited), "too much at once");
        assert_eq!(text(Error::Timer(Timer::Idle)), "idle");
    }

    #[test]
    fn bytes_that_a_deaf_peer_still_takes_postpone_no_cut() {
        let now = Instant::from_secs(1);
        let marks = crate::WaterMarks::default();
        let sender = Sender::websocket_server(marks);
        let mut link = Link::new(sender, Some(Role::Server), Arc::default(), now);
        link.opened(now);
        link.sender.send(crate::Message::binary(&[7; 100])).unwrap();
        link.close(CloseFrame::of(CloseCode::GOING_AWAY, ""), Cause::GoingAway, now);
        let mut wire = Outbox::new();
        link.sender.take(&mut wire);
        link.cut_off(now);
        // A direct write finds a little space in the buffer of the system.
        wire.advance(10);
        link.wrote(10, &wire, now);
        assert!(link.is_condemning(now), "the deadline stands");
        link.judge();
        assert_eq!(link.step(), Step::Finished { reset: true });
    }

    #[test]
    fn the_handshake_takes_no_space_from_the_first_message() {
        let marks = crate::WaterMarks::new(1000);
        let sender = Sender::websocket_server(marks);
        let mut link = Link::new(sender, Some(Role::Server), Arc::default(), Instant::ZERO);
        let mut wire = Outbox::new();
        link.queue_opening([Bytes::from_static(b"HTTP/1.1 101 x\r\n\r\n")], &mut wire);
        link.opened(Instant::ZERO);
        let message = || crate::Message::binary(&[7; 2000]);
        link.sender.send(message()).expect("a lone message always fits");
        assert!(link.sender.send(message()).is_err(), "and is alone then");
        let opening = wire.len();
        wire.advance(opening);
        link.wrote(opening, &wire, Instant::ZERO);
        assert!(link.sender.send(message()).is_err());
    }

    #[test]
    fn a_fin_behind_the_writers_end_still_owes_a_shutdown() {
        let sender =
            Sender::websocket_client(crate::Random::from_seed(7), crate::WaterMarks::default());
        let mut link = Link::new(sender, Some(Role::Client), Arc::default(), Instant::ZERO);
        link.opened(Instant::ZERO);
        link.close(CloseFrame::of(CloseCode::NORMAL, ""), Cause::Closed, Instant::ZERO);
        let mut wire = Outbox::new();
        link.sender.take(&mut wire);
        let all = wire.len();
        wire.advance(all);
        link.wrote(all, &wire, Instant::ZERO);
        link.event(Event::Close { code: CloseCode::NORMAL, reason: "" }, Instant::ZERO);
        assert!(link.lingers_until().is_some() && !link.owes_shutdown(), "the server is first");
        link.end_of_stream(Bytes::new(), Instant::ZERO);
        assert!(link.lingers_until().is_none() && link.owes_shutdown());
        link.shut_down();
        assert!(!link.owes_shutdown());
    }
}
