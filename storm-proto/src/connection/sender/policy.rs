//! What a sender does with messages for a slow peer, beyond refusing them.

use alloc::boxed::Box;
use alloc::vec::Vec;

use super::{Encoding, SMALL, Sender};
use crate::connection::flow::WaterMarks;
use crate::connection::slow::{
    Backlog, Key, Lag, MAX_WAITING, Outgoing, Slow, SlowConsumer, Waiting,
};
use crate::contain::catch;
use crate::error::SendError;
use crate::framing::FramingError;
use crate::websocket::deflate::GROWTH;
use crate::websocket::frame::close::CloseFrame;
use crate::websocket::frame::header;

/// The most that is encoded at once of what waits: what the system takes at once. The rest can
/// still be taken back.
pub(crate) const PORTION: usize = 64 << 10;

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

    /// Everything that was refused, dropped or superseded so far.
    #[must_use]
    pub fn lost(&self) -> Lag {
        self.slow.as_ref().map_or(Lag::default(), |slow| slow.lost())
    }

    /// Takes the notice of a burst of refused or dropped messages, once for each burst: to be
    /// called after a send. It has everything that was lost since the last notice. A burst ends
    /// when the queue has fallen to the low mark.
    #[must_use]
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
        self.is_above_low_mark() && self.slow_consumer().waits()
    }

    /// Sends for a caller that waits if there is no room: a refusal loses nothing then, and is
    /// not counted.
    pub(crate) fn patiently<R>(&mut self, send: impl FnOnce(&mut Sender) -> R) -> R {
        self.patient = true;
        let sent = send(self);
        self.patient = false;
        sent
    }

    /// There was no room for a message with a payload of `len` bytes.
    #[cold]
    pub(crate) fn refused(&mut self, len: usize, has_key: bool) -> Result<(), SendError> {
        self.pressured = true;
        let policy = self.slow_consumer();
        if policy.waits() && self.patient {
            return Err(SendError::Full);
        }
        let slow = self.slow.get_or_insert_default();
        match policy {
            SlowConsumer::KeepLatest if has_key => {
                slow.drop_one(len);
                Err(SendError::Dropped)
            }
            SlowConsumer::Wait | SlowConsumer::KeepLatest => {
                slow.refuse_one(len);
                Err(SendError::Full)
            }
            SlowConsumer::Drop | SlowConsumer::DropOldest => {
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

    /// Queues a message where the policy is, or was, another than to wait, or messages with a
    /// key wait.
    pub(super) fn send_by_policy(
        &mut self,
        message: Outgoing<'_>,
        key: Option<Key>,
    ) -> Result<(), SendError> {
        if !self.open {
            return Err(SendError::Closed);
        }
        let (len, has_key) = (message.payload().len(), key.is_some());
        let is_alone = self.queued() + self.lent == 0;
        let Some(slow) = &self.slow else { return self.encode_outgoing(message) };
        // A message that is alone leaves next: there is no use in keeping it back.
        if slow.backlog.is_empty() && (is_alone || !(slow.policy.takes_back() || has_key)) {
            return match self.encode_outgoing(message) {
                Err(SendError::Full) => self.refused(len, has_key),
                sent => sent,
            };
        }
        let size = self.size_of(message);
        let size = self.note_framer(size)?;
        if !self.may_wait(size, key.as_ref()) {
            return self.refused(len, has_key);
        }
        self.wait(Waiting::new(message, key, size));
        Ok(())
    }

    /// True if a message may join those that wait, once those have given way that may.
    fn may_wait(&self, size: usize, key: Option<&Key>) -> bool {
        let Some(Slow { policy, backlog, .. }) = self.slow.as_deref() else { return false };
        let queued = self.load();
        let (stays, waiting) = match policy {
            SlowConsumer::DropOldest => (queued - backlog.bytes(), 0),
            SlowConsumer::KeepLatest => {
                (queued - backlog.bytes() + backlog.plain_bytes(), backlog.plain_len())
            }
            SlowConsumer::Wait | SlowConsumer::Drop | SlowConsumer::Disconnect => {
                let superseded = key.and_then(|key| backlog.size_of(key));
                let waiting = backlog.len() - usize::from(superseded.is_some());
                (queued - superseded.unwrap_or(0), waiting)
            }
        };
        self.marks.fits(stays, size) && waiting < MAX_WAITING
    }

    /// Adds a message to those that wait; the oldest that may give way do so until all fit.
    fn wait(&mut self, message: Waiting) {
        let before = self.queued() + self.lent;
        let Some(slow) = &mut self.slow else { return };
        let others = before - slow.backlog.bytes();
        let was_empty = slow.backlog.is_empty();
        let (number, superseded) = slow.backlog.insert(message);
        if let Some(superseded) = superseded {
            slow.supersede(superseded.len());
        }
        let give_way = match slow.policy {
            SlowConsumer::KeepLatest => Backlog::pop_keyed,
            _ => Backlog::pop_other,
        };
        let room = self.marks.limit().saturating_sub(others);
        while slow.policy.takes_back()
            && (slow.backlog.bytes() > room || slow.backlog.len() > MAX_WAITING)
            && let Some(oldest) = give_way(&mut slow.backlog, number)
        {
            slow.drop_one(oldest.len());
            self.pressured = true;
        }
        if was_empty {
            self.shorten();
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
            let encoded = self.encode_outgoing(waiting.message());
            if encoded.is_err() {
                slow.drop_one(waiting.len());
            }
            if encoded == Err(SendError::Framing(FramingError::Panicked)) {
                // It is not asked again for what would make it panic again.
                while let Some(waiting) = slow.backlog.pop() {
                    slow.drop_one(waiting.len());
                }
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
            let framed = catch(|| {
                framer.encode_head(payload, &mut around)?;
                framer.encode_tail(payload, &mut around);
                Ok(())
            });
            let framed = framed.unwrap_or(Err(FramingError::Panicked));
            return framed.map(|()| around.len() + payload.len()).map_err(SendError::Framing);
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

    /// Drops what waits, as the end of a connection does.
    pub(super) fn drop_backlog(&mut self) {
        if let Some(slow) = &mut self.slow {
            (slow.backlog, slow.goodbye) = Default::default();
        }
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

#[cfg(test)]
mod tests {
    use alloc::string::String;
    use alloc::sync::Arc;

    use bytes::Bytes;

    use super::*;
    use crate::connection::assembly::LARGE;
    use crate::connection::outbox::Outbox;
    use crate::connection::slow::Loss;
    use crate::framing::{Delimiter, LengthPrefix};
    use crate::websocket::frame::close_code::CloseCode;
    use crate::websocket::prepared::Prepared;
    use crate::{Message, Random};
    use SlowConsumer::{Disconnect, Drop, DropOldest, KeepLatest, Wait};

    fn server(policy: SlowConsumer, limit: usize) -> Sender {
        let mut sender = Sender::websocket_server(WaterMarks::new(limit));
        sender.set_slow_consumer(policy);
        sender
    }

    /// A sender whose writer has taken one message of eight bytes and is stuck with it.
    fn stuck(policy: SlowConsumer, limit: usize) -> (Sender, Outbox) {
        let (mut sender, mut wire) = (server(policy, limit), Outbox::new());
        sender.send(b"on wire.").unwrap();
        sender.take(&mut wire);
        assert_eq!((sender.queued(), wire.len()), (10, 10));
        (sender, wire)
    }

    fn bytes(wire: &Outbox) -> Vec<u8> {
        wire.chunks().collect::<Vec<_>>().concat()
    }

    /// Writes all, portion by portion.
    fn drain(sender: &mut Sender, wire: &mut Outbox) -> Vec<u8> {
        let mut all = Vec::new();
        loop {
            all.extend(bytes(wire));
            wire.advance(wire.len());
            sender.wrote(0);
            sender.take(wire);
            if wire.is_empty() {
                assert_eq!((sender.queued(), sender.has_output()), (0, false));
                return all;
            }
        }
    }

    /// The payloads of frames with two bytes of header and no mask.
    fn texts(mut frames: &[u8]) -> Vec<String> {
        let mut texts = Vec::new();
        while let [_, len, rest @ ..] = frames {
            let (payload, rest) = rest.split_at((*len).into());
            texts.push(String::from_utf8_lossy(payload).into());
            frames = rest;
        }
        texts
    }

    fn loss(messages: u64, bytes: u64) -> Loss {
        let mut loss = Loss::default();
        (loss.messages, loss.bytes) = (messages, bytes);
        loss
    }

    fn lag(messages: u64, bytes: u64) -> Lag {
        Lag { dropped: loss(messages, bytes), ..Lag::default() }
    }

    /// Messages that were superseded, and others that were dropped.
    fn superseded(messages: u64, bytes: u64, others: Lag) -> Lag {
        Lag { superseded: loss(messages, bytes), ..others }
    }

    #[test]
    fn the_default_has_no_state_of_its_own() {
        let mut sender = server(Wait, 100);
        assert!(sender.slow.is_none());
        assert_eq!((sender.slow_consumer(), sender.lost()), (Wait, lag(0, 0)));
        assert_eq!(sender.take_lag(), None);
    }

    #[test]
    fn drop_says_so_and_queues_nothing() {
        let (mut sender, mut wire) = stuck(Drop, 30);
        sender.send(b"kept").unwrap();
        assert_eq!(sender.send(&[0; 15]), Err(SendError::Dropped));
        assert_eq!(sender.send_prepared(&Prepared::new(&[0; 16])), Err(SendError::Dropped));
        assert_eq!(sender.queued(), 16);
        assert!(sender.is_backpressured());
        assert_eq!((sender.take_lag(), sender.lost()), (Some(lag(2, 31)), lag(2, 31)));
        sender.send(b"small").unwrap();
        assert_eq!(texts(&drain(&mut sender, &mut wire)), ["on wire.", "kept", "small"]);
        assert!(!sender.is_backpressured());
    }

    #[test]
    fn the_oldest_give_way_and_what_is_on_its_way_does_not() {
        let (mut sender, mut wire) = stuck(DropOldest, 30);
        for word in ["one", "two", "three", "four", "five", "six"] {
            sender.send(word).unwrap();
            assert!(sender.queued() <= 30);
        }
        assert_eq!((sender.lost(), sender.take_lag()), (lag(3, 11), Some(lag(3, 11))));
        assert_eq!(texts(&drain(&mut sender, &mut wire)), ["on wire.", "four", "five", "six"]);
    }

    #[test]
    fn a_message_larger_than_all_room_is_dropped_itself_and_no_other_for_it() {
        let (mut sender, mut wire) = stuck(DropOldest, 30);
        sender.send("kept").unwrap();
        assert_eq!(sender.send(&[0; 19]), Err(SendError::Dropped));
        sender.send(&[b'x'; 18]).unwrap();
        assert_eq!(sender.lost(), lag(2, 23));
        assert_eq!(texts(&drain(&mut sender, &mut wire)), ["on wire.", &"x".repeat(18)]);
        sender.send(&[0; 1000]).unwrap();
        assert_eq!(sender.queued(), 1004, "alone it is accepted whatever its size");
    }

    #[test]
    fn half_the_limit_can_always_be_taken_back() {
        let mut sender = server(DropOldest, 100);
        let mut wire = Outbox::new();
        for _ in 0..20 {
            sender.send(&[0; 8]).unwrap();
        }
        sender.take(&mut wire);
        assert_eq!((wire.len(), sender.queued()), (50, 100), "no more than half of it");
        sender.send(&[1; 48]).unwrap();
        assert_eq!(sender.queued(), 100);
        assert_eq!(sender.send(&[2; 49]), Err(SendError::Dropped));
    }

    #[test]
    fn the_last_value_of_a_key_wins_and_keeps_its_place() {
        let (mut sender, mut wire) = stuck(KeepLatest, 1000);
        for (key, price) in [("A", "A 1"), ("B", "B 1"), ("A", "A 20"), ("C", "C 1"), ("B", "B 2")]
        {
            sender.send_latest(key, price).unwrap();
        }
        sender.send_latest_prepared("C", &Prepared::new("C 2")).unwrap();
        sender.send("without a key").unwrap();
        assert_eq!(sender.queued(), 10 + 6 + 5 + 5 + 15);
        assert_eq!((sender.lost(), sender.take_lag()), (superseded(3, 9, lag(0, 0)), None));
        let sent = texts(&drain(&mut sender, &mut wire));
        assert_eq!(sent, ["on wire.", "A 20", "B 2", "C 2", "without a key"]);
    }

    #[test]
    fn a_value_that_grew_makes_others_give_way_and_not_itself() {
        let (mut sender, mut wire) = stuck(KeepLatest, 40);
        for (key, value) in [(1, "a1"), (2, "b1"), (3, "c1")] {
            sender.send_latest(key, value).unwrap();
        }
        sender.send_latest(1, "a2 is much longer than a").unwrap();
        let lost = superseded(1, 2, lag(1, 2));
        assert_eq!((sender.lost(), sender.take_lag()), (lost, Some(lost)));
        let sent = texts(&drain(&mut sender, &mut wire));
        assert_eq!(sent, ["on wire.", "a2 is much longer than a", "c1"]);
    }

    #[test]
    fn a_key_supersedes_under_every_policy() {
        for policy in [Wait, Drop, DropOldest, KeepLatest, Disconnect] {
            let (mut sender, mut wire) = stuck(policy, 100);
            sender.send("first").unwrap();
            sender.send_latest(1, "a").unwrap();
            sender.send("chat").unwrap();
            sender.send_latest(1, "b").unwrap();
            assert_eq!(sender.lost(), superseded(1, 1, lag(0, 0)), "{policy:?}");
            assert_eq!(sender.lend(100), 0, "what is answered comes behind what waits");
            let sent = texts(&drain(&mut sender, &mut wire));
            assert_eq!(sent, ["on wire.", "first", "b", "chat"], "{policy:?}");
        }
    }

    #[test]
    fn a_full_outbox_still_takes_the_newer_value_of_a_key_that_waits() {
        for policy in [Wait, Drop, Disconnect] {
            let (mut sender, mut wire) = stuck(policy, 30);
            sender.send_latest(1, "old value").unwrap();
            sender.send("chat").unwrap();
            sender.send_latest(1, "new value").unwrap();
            assert!(sender.send_latest(2, "other value").is_err(), "{policy:?}");
            let sent = texts(&drain(&mut sender, &mut wire));
            assert_eq!(sent, ["on wire.", "new value", "chat"], "{policy:?}");
        }
    }

    #[test]
    fn keep_latest_never_drops_a_message_without_a_key() {
        let (mut sender, mut wire) = stuck(KeepLatest, 40);
        sender.send("chat 1").unwrap();
        for key in 0..50 {
            sender.send_latest(key, "tick 1").unwrap();
        }
        sender.send("chat 2").unwrap();
        assert_eq!(sender.lost().dropped.messages, 49, "a tick gives way to a chat");
        sender.send("chat 3").unwrap();
        assert_eq!(sender.send("chat 4"), Err(SendError::Full));
        assert_eq!(sender.send_latest(99, "tick 2"), Err(SendError::Dropped));
        assert_eq!(sender.lost().refused, loss(1, 6));
        let sent = texts(&drain(&mut sender, &mut wire));
        assert_eq!(sent, ["on wire.", "chat 1", "chat 2", "chat 3"]);
    }

    #[test]
    fn a_refusal_under_the_default_policy_is_counted_and_begins_a_burst() {
        let (mut sender, mut wire) = stuck(Wait, 30);
        sender.send(&[0; 18]).unwrap();
        assert_eq!(sender.send("one"), Err(SendError::Full));
        assert_eq!(sender.send_prepared(&Prepared::new("three")), Err(SendError::Full));
        assert_eq!(sender.send_latest(1, "x"), Err(SendError::Full));
        let lost = Lag { refused: loss(3, 9), ..Lag::default() };
        assert_eq!((sender.lost(), sender.take_lag()), (lost, Some(lost)));
        assert_eq!(sender.patiently(|sender| sender.send("waits")), Err(SendError::Full));
        assert_eq!(sender.lost(), lost, "who waits has lost nothing");
        drain(&mut sender, &mut wire);
        assert_eq!(sender.lend(100), 30, "all is as before");
    }

    #[test]
    fn the_first_that_does_not_fit_ends_it_where_that_is_the_policy() {
        let (mut sender, _wire) = stuck(Disconnect, 30);
        sender.send(&[0; 18]).unwrap();
        assert!(!sender.is_overrun());
        assert_eq!(sender.send(b""), Err(SendError::Closed));
        assert!(sender.is_overrun() && !sender.is_open());
        assert_eq!(sender.send(b""), Err(SendError::Closed));
        assert_eq!((sender.lost(), sender.abort()), (lag(0, 0), loss(1, 18)));
    }

    #[test]
    fn control_frames_are_never_dropped_and_the_close_comes_last() {
        for policy in [Drop, DropOldest, KeepLatest] {
            let (mut sender, mut wire) = stuck(policy, 20);
            sender.send("kept").unwrap();
            let _ = sender.send("too much, and another one");
            sender.pong(b"pong");
            let _ = sender.send("late");
            let queued = sender.queued();
            sender.close(&CloseFrame::new(CloseCode::NORMAL, "bye").unwrap());
            assert_eq!(sender.queued(), queued + 7);
            assert_eq!(sender.send("x"), Err(SendError::Closed));
            sender.take(&mut wire);
            let sent = drain(&mut sender, &mut wire);
            let close = b"\x88\x05\x03\xe8bye";
            assert!(sent.ends_with(close) && sent.windows(6).any(|at| at == b"\x8a\x04pong"));
        }
    }

    #[test]
    fn an_end_without_a_word_still_writes_what_waits() {
        let (mut sender, mut wire) = stuck(DropOldest, 100);
        sender.send("one").unwrap();
        sender.end();
        assert_eq!(texts(&drain(&mut sender, &mut wire)), ["on wire.", "one"]);
        let (mut sender, _wire) = stuck(DropOldest, 100);
        sender.send("one").unwrap();
        sender.close(&CloseFrame::new(CloseCode::NORMAL, "").unwrap());
        assert_eq!(sender.abort(), loss(1, 3));
        assert_eq!(sender.queued(), 10, "what the writer has");
    }

    #[test]
    fn every_encoding_sends_the_same_with_any_policy() {
        let make: [fn() -> Sender; 4] = [
            || Sender::websocket_server(WaterMarks::default()),
            || Sender::websocket_client(Random::from_seed(9), WaterMarks::default()),
            || Sender::framed(Arc::new(LengthPrefix::new()), WaterMarks::default()),
            || Sender::framed(Arc::new(Delimiter::lines()), WaterMarks::default()),
        ];
        let large = Bytes::from(alloc::vec![7; LARGE]);
        let messages = [Message::text("one"), Message::binary(b""), Message::from(&large)];
        for make in make {
            let sent = [Wait, Drop, DropOldest, KeepLatest, Disconnect].map(|policy| {
                let (mut sender, mut wire) = (make(), Outbox::new());
                sender.set_slow_consumer(policy);
                for message in messages {
                    sender.send(message).unwrap();
                    sender.send_prepared(&Prepared::new(message)).unwrap();
                }
                let queued = sender.queued();
                let sent = drain(&mut sender, &mut wire);
                assert_eq!(queued, sent.len(), "it counts what it will be");
                sent
            });
            assert!(sent.iter().all(|bytes| *bytes == sent[0]));
        }
    }

    #[test]
    fn a_message_that_the_framing_refuses_is_refused_at_once() {
        let mut sender = Sender::framed(Arc::new(Delimiter::lines()), WaterMarks::new(100));
        sender.set_slow_consumer(DropOldest);
        sender.send("one").unwrap();
        sender.send("two").unwrap();
        let error = Err(SendError::Framing(FramingError::ContainsDelimiter));
        assert_eq!(sender.send("a\nb"), error);
        assert_eq!(drain(&mut sender, &mut Outbox::new()), b"one\ntwo\n");
    }

    #[test]
    fn a_broadcast_waits_by_reference() {
        let prepared = Prepared::new(&[7; LARGE]);
        let (mut sender, mut wire) = stuck(DropOldest, 1 << 20);
        sender.send_prepared(&prepared).unwrap();
        wire.advance(10);
        sender.wrote(0);
        sender.take(&mut wire);
        assert!(wire.chunks().any(|chunk| chunk.as_ptr() == prepared.frame().as_ptr()));
    }

    #[test]
    fn the_number_of_those_that_wait_is_bounded_however_small_they_are() {
        let (mut sender, _wire) = stuck(DropOldest, usize::MAX);
        for _ in 0..MAX_WAITING + 5 {
            sender.send(b"").unwrap();
        }
        assert_eq!((sender.queued(), sender.lost()), (10 + 2 * MAX_WAITING, lag(5, 0)));
        sender.set_slow_consumer(Wait);
        assert_eq!(sender.send(b""), Err(SendError::Full));
    }

    #[test]
    fn lent_room_neither_drops_a_message_nor_ends_a_connection() {
        for policy in [Drop, Disconnect] {
            let mut sender = Sender::websocket_server(WaterMarks::new(100));
            sender.set_slow_consumer(policy);
            assert_eq!(sender.lend(100), 0);
            (0..10).for_each(|_| sender.send("8 bytes.").unwrap());
            assert!(sender.send("8 bytes.").is_err());
        }
    }

    #[test]
    fn a_policy_may_change_while_messages_wait() {
        for next in [Wait, Drop, Disconnect] {
            let (mut sender, mut wire) = stuck(DropOldest, 30);
            sender.send("one").unwrap();
            sender.set_slow_consumer(next);
            sender.send("two").unwrap();
            assert_eq!(sender.lend(100), 0, "what is answered comes behind what waits");
            let refused = sender.send("more than fits");
            let ends = next == Disconnect;
            assert_eq!(refused.is_err() && !sender.is_open(), ends);
            assert_eq!(texts(&drain(&mut sender, &mut wire)), ["on wire.", "one", "two"]);
            if next == Wait {
                assert_eq!(sender.lend(30), 30, "all is as if it had always been so");
                sender.collect(&mut Vec::new());
            }
            let (mut sender, mut wire) = stuck(next, 30);
            sender.send("one").unwrap();
            sender.set_slow_consumer(DropOldest);
            ["two", "three", "four"].iter().for_each(|word| sender.send(*word).unwrap());
            let sent = texts(&drain(&mut sender, &mut wire));
            assert_eq!(sent, ["on wire.", "one", "three", "four"], "what is encoded stays");
        }
    }

    #[test]
    fn a_burst_ends_at_the_low_mark() {
        let (mut sender, mut wire) = stuck(Drop, 40);
        sender.send(&[0; 28]).unwrap();
        assert_eq!(sender.send(b"a"), Err(SendError::Dropped));
        assert_eq!(sender.take_lag(), Some(lag(1, 1)));
        wire.advance(10);
        sender.wrote(0);
        assert_eq!(sender.send(&[0; 20]), Err(SendError::Dropped));
        assert_eq!(sender.take_lag(), None, "the same burst");
        sender.take(&mut wire);
        wire.advance(10);
        assert!(sender.wrote(20), "the low mark");
        assert_eq!(sender.send(&[0; 30]), Err(SendError::Dropped));
        assert_eq!(sender.take_lag(), Some(lag(2, 50)));
    }

    #[test]
    fn a_new_limit_holds_from_the_next_message_on() {
        let (mut sender, mut wire) = stuck(DropOldest, 100);
        ["one", "two", "three"].iter().for_each(|word| sender.send(*word).unwrap());
        sender.set_marks(WaterMarks::new(20));
        assert_eq!(sender.queued(), 27);
        sender.send("four").unwrap();
        assert_eq!(texts(&drain(&mut sender, &mut wire)), ["on wire.", "four"]);
        let (mut sender, _wire) = stuck(Wait, 10);
        assert_eq!(sender.send("x"), Err(SendError::Full));
        sender.set_marks(WaterMarks::new(100));
        assert!(sender.send("x").is_ok() && !sender.is_backpressured());
    }

    #[test]
    fn answers_that_gave_way_hold_nothing_up() {
        let (mut sender, mut wire) = stuck(DropOldest, 100);
        sender.send(&[0; 80]).unwrap();
        sender.answered(82);
        assert!(!sender.has_room_to_answer(50));
        sender.send(&[0; 70]).unwrap();
        drain(&mut sender, &mut wire);
        assert!(sender.has_room_to_answer(50), "the answer is gone");
    }
}
