//! What a sender does with messages for a slow peer, beyond refusing them.

use alloc::boxed::Box;
use alloc::vec::Vec;

use super::{Encoding, SMALL, Sender};
use crate::connection::flow::WaterMarks;
use crate::connection::slow::{Key, Lag, MAX_WAITING, Outgoing, Slow, SlowConsumer, Waiting};
use crate::error::SendError;
use crate::websocket::deflate::GROWTH;
use crate::websocket::frame::close::CloseFrame;
use crate::websocket::frame::header;

/// The most that is encoded at once of what waits: what the system takes at once. The rest can
/// still be taken back.
const PORTION: usize = 64 << 10;

impl Sender {
    /// Sets what is done with messages for which there is no room, from the next one on. What
    /// waits already stays where it is.
    pub fn set_slow_consumer(&mut self, policy: SlowConsumer) {
        if self.slow.is_some() || policy != SlowConsumer::default() {
            self.slow.get_or_insert_default().policy = policy;
            self.shorten();
        }
    }

    /// What is done with messages for which there is no room.
    #[must_use]
    pub fn slow_consumer(&self) -> SlowConsumer {
        self.slow.as_ref().map_or(SlowConsumer::default(), |slow| slow.policy)
    }

    /// Sets how much may be queued, from the next message on.
    pub(crate) fn set_marks(&mut self, marks: WaterMarks) {
        self.marks = marks;
        self.relieve();
    }

    /// The limit of what may be queued, in bytes.
    pub(crate) fn limit(&self) -> usize {
        self.marks.limit()
    }

    /// All that was dropped so far because of the policy, superseded messages included.
    #[must_use]
    pub fn dropped(&self) -> Lag {
        self.slow.as_ref().map_or(Lag::default(), |slow| slow.dropped())
    }

    /// The notice of a burst of dropped messages, once for each: to be asked for after a send.
    /// It has all that was dropped since the last notice. A burst ends when the queue has
    /// fallen to the low mark.
    #[inline]
    pub fn take_lag(&mut self) -> Option<Lag> {
        self.slow.as_mut()?.take_lag()
    }

    /// True if a message did not fit, and the policy is to end the connection then.
    #[inline]
    pub(crate) fn is_overrun(&self) -> bool {
        self.slow.as_ref().is_some_and(|slow| slow.overrun)
    }

    /// True if those who can wait for room have to.
    pub(crate) fn is_to_be_waited_for(&self) -> bool {
        self.is_above_low_mark() && self.slow_consumer() == SlowConsumer::Wait
    }

    /// There was no room for a message of `len` bytes.
    #[cold]
    pub(super) fn refused(&mut self, len: usize) -> Result<(), SendError> {
        let Some(slow) = &mut self.slow else { return Err(SendError::Full) };
        self.pressured = true;
        match slow.policy {
            SlowConsumer::Wait => Err(SendError::Full),
            SlowConsumer::Drop | SlowConsumer::DropOldest | SlowConsumer::KeepLatest => {
                slow.drop_one(len);
                Err(SendError::Dropped)
            }
            SlowConsumer::Disconnect => {
                slow.overrun = true;
                self.end();
                Err(SendError::Closed)
            }
        }
    }

    /// Queues a message where the policy is, or was, another than to wait.
    pub(super) fn send_by_policy(
        &mut self,
        message: Outgoing<'_>,
        key: Option<Key>,
    ) -> Result<(), SendError> {
        if !self.open {
            return Err(SendError::Closed);
        }
        let queued = self.queued() + self.lent;
        let Some(slow) = &self.slow else { return self.encode_outgoing(message) };
        // A message that is alone leaves next: there is no use in keeping it back.
        if slow.backlog.is_empty() && (!slow.policy.takes_back() || queued == 0) {
            return match self.encode_outgoing(message) {
                Err(SendError::Full) => self.refused(message.payload().len()),
                sent => sent,
            };
        }
        let (takes_back, others) = (slow.policy.takes_back(), queued - slow.backlog.bytes());
        let key = key.filter(|_| slow.policy == SlowConsumer::KeepLatest);
        let size = self.size_of(message)?;
        let fits = match takes_back {
            true => self.marks.fits(others, size),
            false => self.marks.fits(queued, size) && slow.backlog.len() < MAX_WAITING,
        };
        if !fits {
            return self.refused(message.payload().len());
        }
        self.wait(Waiting::new(message, key, size), others);
        Ok(())
    }

    /// Adds a message to those that wait; the oldest give way until all fit beside the `others`
    /// that are queued.
    fn wait(&mut self, message: Waiting, others: usize) {
        let Some(slow) = &mut self.slow else { return };
        let (mut number, superseded) = slow.backlog.insert(message);
        if let Some(superseded) = superseded {
            slow.supersede(superseded.len());
        }
        let room = self.marks.limit().saturating_sub(others);
        while slow.policy.takes_back()
            && (slow.backlog.bytes() > room || slow.backlog.len() > MAX_WAITING)
            && let Some(oldest) = slow.backlog.pop_other(&mut number)
        {
            slow.drop_one(oldest.len());
            self.pressured = true;
        }
        self.answers = self.answers.min(self.queued());
    }

    /// Encodes the next portion of what waits, at least one message.
    #[inline]
    pub(super) fn encode_waiting(&mut self) {
        if self.slow.is_some() && self.lent == 0 {
            self.encode_portion();
        }
    }

    fn encode_portion(&mut self) {
        // Out of the way, with its policy: what was accepted is encoded whatever is queued.
        let Some(mut slow) = self.slow.take() else { return };
        let portion = PORTION.min(self.marks.low());
        let marks = core::mem::replace(&mut self.marks, WaterMarks::new(usize::MAX));
        while let Some(size) = slow.backlog.next_size()
            && (self.outbox.is_empty() || self.outbox.len() + size <= portion)
            && let Some(waiting) = slow.backlog.pop()
        {
            // A framing that took it when it was sent takes it now; one that does not loses it.
            if self.encode_outgoing(waiting.message()).is_err() {
                slow.supersede(waiting.len());
            }
        }
        self.marks = marks;
        let emptied = slow.backlog.is_empty();
        let goodbye = slow.goodbye.take_if(|_| emptied);
        self.slow = Some(slow);
        if let Some((frame, _)) = goodbye {
            self.push_close(&frame);
        }
        if emptied {
            self.shorten();
            self.forget_context();
        }
        // What is encoded is smaller than what was counted.
        self.answers = self.answers.min(self.queued());
    }

    fn encode_outgoing(&mut self, message: Outgoing<'_>) -> Result<(), SendError> {
        match message {
            Outgoing::Message(message) => self.encode(message),
            Outgoing::Prepared(prepared) => self.encode_prepared(prepared),
        }
    }

    /// What a message will take of the outbox, at most.
    fn size_of(&self, message: Outgoing<'_>) -> Result<usize, SendError> {
        let payload = message.payload();
        if let Encoding::Framed(framer) = &self.encoding {
            let mut around = Vec::new();
            framer.encode_head(payload, &mut around).map_err(SendError::Framing)?;
            framer.encode_tail(payload, &mut around);
            return Ok(around.len() + payload.len());
        }
        let most = payload.len() + if self.deflater.is_some() { GROWTH } else { 0 };
        Ok(header::encoded_len(most, self.is_masked()) + most)
    }

    /// Keeps the Close frame until what waits is encoded; false if nothing waits.
    pub(super) fn close_behind(&mut self, frame: &CloseFrame) -> bool {
        let masked = self.is_masked();
        let Some(slow) = self.slow.as_mut().filter(|slow| !slow.backlog.is_empty()) else {
            return false;
        };
        let (code, reason) = frame.body();
        let len = code.len() + reason.len();
        let size = header::encoded_len(len, masked) + len;
        slow.goodbye = Some((Box::new(frame.clone()), size));
        true
    }

    /// Drops what waits, as the end of a connection does; returns its size.
    pub(super) fn drop_backlog(&mut self) -> usize {
        let Some(slow) = &mut self.slow else { return 0 };
        let size = slow.bytes();
        (slow.backlog, slow.goodbye) = Default::default();
        size
    }

    /// Which messages take the short way, and may be lent room for.
    pub(super) fn shorten(&mut self) {
        let keeps_back = |slow: &Slow| slow.policy.takes_back() || !slow.backlog.is_empty();
        self.small = match (&self.slow, &self.deflater) {
            (Some(slow), _) if keeps_back(slow) => 0,
            (_, Some(deflater)) => deflater.threshold().min(SMALL.into()) as u8,
            (_, None) => SMALL,
        };
    }
}
