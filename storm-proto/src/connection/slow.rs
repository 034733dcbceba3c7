//! Peers that read more slowly than this side sends: what becomes of messages for them.
//!
//! Two of the policies take messages back that were accepted. What is encoded cannot be taken
//! back: with context takeover the peer needs each compressed message for the next one. So
//! messages wait as they are, in a [`Backlog`], and are encoded when the writer comes.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::string::String;
use alloc::sync::Arc;

use bytes::Bytes;

use crate::connection::assembly::LARGE;
use crate::message::{Kind, Message};
use crate::websocket::frame::close::CloseFrame;
use crate::websocket::prepared::Prepared;

/// How many messages may wait unencoded for one peer: what they cost beside their bytes is
/// then about as much as the default limit, however small they are.
pub(crate) const MAX_WAITING: usize = 8_192;

/// What is done with a message that does not fit in the outbox, because the peer reads more
/// slowly than this side sends ([`Options::marks`](crate::Options::marks)).
///
/// | policy | a message that does not fit | one sent with a [`Key`] that does not fit |
/// |---|---|---|
/// | `Wait` | is refused: `Full`; `send_wait` waits | is refused: `Full` |
/// | `Drop` | is dropped: `Dropped` | is dropped: `Dropped` |
/// | `DropOldest` | the oldest messages that wait are dropped for it | as without a key |
/// | `KeepLatest` | the oldest that wait with a key are dropped for it; if that is not enough, it is refused: `Full`; `send_wait` waits | the oldest that wait with a key are dropped for it; if that is not enough, it is dropped: `Dropped` |
/// | `Disconnect` | ends the session: `Closed` | ends the session: `Closed` |
///
/// Under **every** policy, a message that is sent with a key first takes the place of the one
/// with the same key that still waits (`send_latest`), also where there is space: the older one
/// is superseded, and the newer one keeps its position. If the newer one is larger and does not
/// fit in that place, the table says what becomes of it.
///
/// Messages that were encoded for the writer can be neither dropped nor superseded.
/// Control frames, the Close frame among them, are never dropped. What is refused, dropped or
/// superseded is counted, and the first loss of each burst is reported to `on_lag`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
#[non_exhaustive]
pub enum SlowConsumer {
    /// Refuses the message with [`Full`](crate::SendError::Full); calls that wait, wait for
    /// space. No message that was accepted is lost, except those superseded by their key.
    #[default]
    Wait,
    /// Drops the message; its send returns [`Dropped`](crate::SendError::Dropped). No call waits.
    Drop,
    /// Drops the oldest messages that wait, with or without a key, until the new one fits.
    ///
    /// Up to half the limit, at most 64 KiB, is encoded already and cannot be dropped: a message
    /// that does not fit beside that is dropped itself, as by `Drop`, and no other for it. One
    /// that is no larger than half the limit finds space, unless a larger one is being written.
    DropOldest,
    /// Drops the oldest messages that wait with a [`Key`] until the new one fits. A message
    /// without a key is never dropped: a chat without keys and a ticker with keys can share a
    /// session.
    KeepLatest,
    /// Ends the session at once, with a reset: the peer would not read a Close frame either.
    Disconnect,
}

impl SlowConsumer {
    /// True if messages that were accepted may be dropped.
    pub(crate) const fn takes_back(self) -> bool {
        matches!(self, SlowConsumer::DropOldest | SlowConsumer::KeepLatest)
    }

    /// True if calls that can wait for space do so.
    pub(crate) const fn waits(self) -> bool {
        matches!(self, SlowConsumer::Wait | SlowConsumer::KeepLatest)
    }
}

/// Messages that were lost, and the bytes of their payloads.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct Loss {
    /// The number of messages.
    pub messages: u64,
    /// The bytes of their payloads, as they were given to the send.
    pub bytes: u64,
}

impl Loss {
    /// Adds one message with a payload of `len` bytes.
    pub(crate) fn add(&mut self, len: usize) {
        self.messages += 1;
        self.bytes += len as u64;
    }

    pub(crate) fn since(self, earlier: Loss) -> Loss {
        Loss { messages: self.messages - earlier.messages, bytes: self.bytes - earlier.bytes }
    }
}

impl core::ops::AddAssign for Loss {
    fn add_assign(&mut self, other: Loss) {
        self.messages += other.messages;
        self.bytes += other.bytes;
    }
}

/// Messages that a peer did not get because it reads too slowly.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct Lag {
    /// Sends that returned [`SendError::Full`](crate::SendError::Full).
    pub refused: Loss,
    /// Messages that the policy dropped ([`SlowConsumer`]).
    pub dropped: Loss,
    /// Messages that a newer one with the same [`Key`] replaced.
    pub superseded: Loss,
}

impl Lag {
    /// The number of all of them.
    #[must_use]
    pub const fn messages(&self) -> u64 {
        self.refused.messages + self.dropped.messages + self.superseded.messages
    }

    /// The bytes of the payloads of all of them.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        self.refused.bytes + self.dropped.bytes + self.superseded.bytes
    }

    fn since(self, earlier: Lag) -> Lag {
        Lag {
            refused: self.refused.since(earlier.refused),
            dropped: self.dropped.since(earlier.dropped),
            superseded: self.superseded.since(earlier.superseded),
        }
    }
}

/// Names what a message is about: of the messages with the same key that wait, only the last is
/// sent. A number, or a text; a clone of either costs no allocation.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Key(Name);

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
enum Name {
    Number(u64),
    Text(Arc<str>),
}

impl From<u64> for Key {
    fn from(number: u64) -> Key {
        Key(Name::Number(number))
    }
}

impl From<&str> for Key {
    fn from(text: &str) -> Key {
        Key(Name::Text(text.into()))
    }
}

impl From<String> for Key {
    fn from(text: String) -> Key {
        Key(Name::Text(text.into()))
    }
}

impl From<Arc<str>> for Key {
    fn from(text: Arc<str>) -> Key {
        Key(Name::Text(text))
    }
}

impl From<&Key> for Key {
    fn from(key: &Key) -> Key {
        key.clone()
    }
}

/// What a sender has once its policy is not the default, a send was refused, or a message with
/// a key waits.
#[derive(Default, Debug)]
pub(crate) struct Slow {
    pub(crate) policy: SlowConsumer,
    pub(crate) backlog: Backlog,
    /// The Close frame, and its size, that comes behind the backlog.
    pub(crate) goodbye: Option<(Box<CloseFrame>, usize)>,
    /// A message did not fit, and the policy is to end the connection then.
    pub(crate) overrun: bool,
    /// All that was lost so far.
    lost: Lag,
    /// Of that, how much was reported.
    told: Lag,
    /// A burst is under way.
    lagging: bool,
    /// It is still to be told.
    due: bool,
}

impl Slow {
    /// Bytes that wait here, at most.
    pub(crate) fn bytes(&self) -> usize {
        self.backlog.bytes() + self.goodbye.as_ref().map_or(0, |(_, size)| *size)
    }

    /// A send was refused: begins a burst, if none is under way.
    pub(crate) fn refuse_one(&mut self, len: usize) {
        self.lost.refused.add(len);
        self.begin_burst();
    }

    /// A message had no space: begins a burst, if none is under way.
    pub(crate) fn drop_one(&mut self, len: usize) {
        self.lost.dropped.add(len);
        self.begin_burst();
    }

    /// A message was superseded by a newer one: what was asked for, and no sign of a lag.
    pub(crate) fn supersede(&mut self, len: usize) {
        self.lost.superseded.add(len);
    }

    fn begin_burst(&mut self) {
        self.due |= !self.lagging;
        self.lagging = true;
    }

    /// The queue has fallen to its low mark: the burst is over.
    pub(crate) fn relieved(&mut self) {
        self.lagging = false;
    }

    pub(crate) fn lost(&self) -> Lag {
        self.lost
    }

    /// What was lost since the last notice, if a burst has begun since.
    pub(crate) fn take_lag(&mut self) -> Option<Lag> {
        if !core::mem::take(&mut self.due) {
            return None;
        }
        let told = core::mem::replace(&mut self.told, self.lost);
        Some(self.lost.since(told))
    }
}

/// A message to be sent, as it came.
#[derive(Clone, Copy)]
pub(crate) enum Outgoing<'a> {
    Message(Message<'a>),
    Prepared(&'a Prepared),
}

impl<'a> Outgoing<'a> {
    pub(crate) fn payload(&self) -> &'a [u8] {
        match self {
            Outgoing::Message(message) => message.as_bytes(),
            Outgoing::Prepared(prepared) => prepared.payload(),
        }
    }
}

/// A message that waits unencoded.
#[derive(Debug)]
pub(crate) struct Waiting {
    content: Content,
    key: Option<Key>,
    /// What it will take of the outbox, at most.
    size: usize,
}

#[derive(Debug)]
enum Content {
    Message { kind: Kind, plain: bool, payload: Bytes },
    Prepared(Prepared),
}

impl Waiting {
    /// Keeps what is large, or prepared, by reference.
    pub(crate) fn new(message: Outgoing<'_>, key: Option<Key>, size: usize) -> Waiting {
        let content = match message {
            Outgoing::Prepared(prepared) => Content::Prepared(prepared.clone()),
            Outgoing::Message(message) => Content::Message {
                kind: message.kind(),
                plain: message.is_uncompressed(),
                payload: match message.backing() {
                    Some(bytes) if bytes.len() >= LARGE => bytes.clone(),
                    _ => Bytes::copy_from_slice(message.as_bytes()),
                },
            },
        };
        Waiting { content, key, size }
    }

    /// As it came.
    pub(crate) fn message(&self) -> Outgoing<'_> {
        match &self.content {
            Content::Prepared(prepared) => Outgoing::Prepared(prepared),
            Content::Message { kind, plain, payload } => {
                let message = Message::backed(*kind, payload);
                Outgoing::Message(if *plain { message.uncompressed() } else { message })
            }
        }
    }

    /// Length of the payload.
    pub(crate) fn len(&self) -> usize {
        self.message().payload().len()
    }
}

/// Messages that wait unencoded, in the order in which they will leave. An empty one owns no
/// memory.
#[derive(Default, Debug)]
pub(crate) struct Backlog {
    /// Those without a key, with their numbers: a lower number leaves earlier.
    plain: VecDeque<(u64, Waiting)>,
    /// Those with a key, by their numbers.
    keyed: BTreeMap<u64, Waiting>,
    /// The number of the message of each key.
    latest: BTreeMap<Key, u64>,
    /// The number of the next message.
    next: u64,
    plain_bytes: usize,
    keyed_bytes: usize,
}

impl Backlog {
    pub(crate) fn is_empty(&self) -> bool {
        self.plain.is_empty() && self.keyed.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.plain.len() + self.keyed.len()
    }

    /// How many have no key.
    pub(crate) fn plain_len(&self) -> usize {
        self.plain.len()
    }

    /// What all will take of the outbox, at most.
    pub(crate) fn bytes(&self) -> usize {
        self.plain_bytes + self.keyed_bytes
    }

    /// What those without a key will take of the outbox, at most.
    pub(crate) fn plain_bytes(&self) -> usize {
        self.plain_bytes
    }

    /// What the message with this key will take of the outbox, at most.
    pub(crate) fn size_of(&self, key: &Key) -> Option<usize> {
        self.keyed.get(self.latest.get(key)?).map(|waiting| waiting.size)
    }

    /// Adds a message: in the place of the one with the same key, which is returned, or behind
    /// all others. Also returns its number.
    pub(crate) fn insert(&mut self, message: Waiting) -> (u64, Option<Waiting>) {
        let Some(key) = &message.key else {
            self.plain_bytes += message.size;
            self.plain.push_back((self.next, message));
            return (self.advance(), None);
        };
        self.keyed_bytes += message.size;
        if let Some(&number) = self.latest.get(key) {
            let superseded = self.keyed.insert(number, message);
            self.keyed_bytes -= superseded.as_ref().map_or(0, |waiting| waiting.size);
            return (number, superseded);
        }
        self.latest.insert(key.clone(), self.next);
        self.keyed.insert(self.next, message);
        (self.advance(), None)
    }

    fn advance(&mut self) -> u64 {
        self.next += 1;
        self.next - 1
    }

    /// Takes the oldest out.
    pub(crate) fn pop(&mut self) -> Option<Waiting> {
        self.pop_other(u64::MAX)
    }

    /// Takes the oldest out that is not the one with the number `kept`.
    pub(crate) fn pop_other(&mut self, kept: u64) -> Option<Waiting> {
        let plain = self.plain.front().map(|(number, _)| *number).filter(|first| *first != kept);
        let keyed = self.first_keyed(kept);
        let takes_plain = plain.is_some_and(|plain| keyed.is_none_or(|keyed| plain < keyed));
        if takes_plain { self.pop_plain() } else { self.take_keyed(keyed?) }
    }

    /// Takes the oldest with a key out that is not the one with the number `kept`.
    pub(crate) fn pop_keyed(&mut self, kept: u64) -> Option<Waiting> {
        self.take_keyed(self.first_keyed(kept)?)
    }

    fn first_keyed(&self, kept: u64) -> Option<u64> {
        self.keyed.keys().copied().find(|number| *number != kept)
    }

    fn pop_plain(&mut self) -> Option<Waiting> {
        let (_, oldest) = self.plain.pop_front()?;
        self.plain_bytes -= oldest.size;
        if self.plain.is_empty() {
            self.plain = VecDeque::new();
        }
        Some(oldest)
    }

    fn take_keyed(&mut self, number: u64) -> Option<Waiting> {
        let taken = self.keyed.remove(&number)?;
        self.keyed_bytes -= taken.size;
        if let Some(key) = &taken.key {
            self.latest.remove(key);
        }
        Some(taken)
    }

    /// What the oldest will take of the outbox, at most.
    pub(crate) fn next_size(&self) -> Option<usize> {
        let plain = self.plain.front().map(|(number, waiting)| (*number, waiting.size));
        let keyed = self.keyed.first_key_value().map(|(number, waiting)| (*number, waiting.size));
        plain.into_iter().chain(keyed).min().map(|(_, size)| size)
    }

    /// The messages and the bytes of their payloads.
    pub(crate) fn sum(&self) -> Loss {
        let mut sum = Loss::default();
        let plain = self.plain.iter().map(|(_, waiting)| waiting);
        plain.chain(self.keyed.values()).for_each(|waiting| sum.add(waiting.len()));
        sum
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    fn text(text: &str, key: Option<u64>) -> Waiting {
        Waiting::new(Outgoing::Message(text.into()), key.map(Key::from), text.len())
    }

    fn drain(backlog: &mut Backlog) -> Vec<String> {
        core::iter::from_fn(|| backlog.pop())
            .map(|waiting| String::from_utf8_lossy(waiting.message().payload()).into())
            .collect()
    }

    #[test]
    fn messages_leave_in_order_and_an_empty_backlog_owns_no_memory() {
        let mut backlog = Backlog::default();
        for word in ["one", "two", "three"] {
            assert!(backlog.insert(text(word, None)).1.is_none());
        }
        assert_eq!((backlog.len(), backlog.bytes(), backlog.next_size()), (3, 11, Some(3)));
        assert_eq!(drain(&mut backlog), ["one", "two", "three"]);
        assert_eq!((backlog.bytes(), backlog.plain.capacity()), (0, 0));
    }

    #[test]
    fn the_last_value_of_a_key_takes_the_place_of_the_one_that_waits() {
        let mut backlog = Backlog::default();
        for (word, key) in [("a1", 1), ("b1", 2), ("a two", 1), ("c1", 3), ("b2", 2)] {
            backlog.insert(text(word, Some(key)));
        }
        assert_eq!(backlog.bytes(), 9);
        assert_eq!(drain(&mut backlog), ["a two", "b2", "c1"]);
        assert!(backlog.latest.is_empty());
        assert!(backlog.insert(text("a3", Some(1))).1.is_none(), "the others are gone");
    }

    #[test]
    fn the_oldest_gives_way_but_not_to_itself() {
        let mut backlog = Backlog::default();
        for (word, key) in [("a1", Some(1)), ("plain", None), ("c1", Some(3))] {
            backlog.insert(text(word, key));
        }
        let (kept, superseded) = backlog.insert(text("a2", Some(1)));
        assert_eq!(superseded.unwrap().len(), 2);
        assert_eq!(backlog.pop_other(kept).unwrap().key, None);
        let (again, superseded) = backlog.insert(text("a3", Some(1)));
        assert!(again == kept && superseded.is_some(), "it is still found");
        assert_eq!(backlog.pop_other(kept).unwrap().key, Some(3.into()));
        assert!(backlog.pop_other(kept).is_none(), "it is alone");
        let (plain, _) = backlog.insert(text("b", None));
        assert_eq!(backlog.pop_other(plain).unwrap().key, Some(1.into()));
        assert!(backlog.pop_other(plain).is_none(), "it is alone");
        assert_eq!(drain(&mut backlog), ["b"]);
    }

    #[test]
    fn messages_with_and_without_a_key_leave_in_one_order() {
        let mut backlog = Backlog::default();
        for (word, key) in [("a1", Some(1)), ("x", None), ("b1", Some(2)), ("y", None)] {
            backlog.insert(text(word, key));
        }
        backlog.insert(text("b2", Some(2)));
        assert_eq!((backlog.len(), backlog.plain_len(), backlog.plain_bytes()), (4, 2, 2));
        assert_eq!(backlog.size_of(&1.into()), Some(2));
        assert_eq!(backlog.pop_keyed(u64::MAX).unwrap().key, Some(1.into()));
        assert_eq!(backlog.size_of(&1.into()), None);
        assert_eq!((backlog.sum().messages, backlog.sum().bytes), (3, 4));
        assert_eq!(drain(&mut backlog), ["x", "b2", "y"]);
    }

    #[test]
    fn as_many_as_may_wait_cost_no_more_beside_their_bytes_than_the_default_limit() {
        assert!(MAX_WAITING * size_of::<Waiting>() <= crate::WaterMarks::DEFAULT_LIMIT);
    }

    #[test]
    fn keys_are_numbers_and_texts() {
        assert_eq!(Key::from("a"), Key::from(String::from("a")));
        assert_eq!(Key::from(7), Key::from(&Key::from(7)));
        assert_ne!(Key::from("7"), Key::from(7));
    }

    #[test]
    fn a_burst_is_told_once_with_all_that_was_lost_since_the_last() {
        let loss = |messages, bytes| Loss { messages, bytes };
        let mut slow = Slow::default();
        slow.supersede(5);
        assert_eq!(slow.take_lag(), None);
        slow.drop_one(10);
        slow.refuse_one(20);
        let lag = slow.take_lag().unwrap();
        assert_eq!(
            (lag.superseded, lag.dropped, lag.refused),
            (loss(1, 5), loss(1, 10), loss(1, 20))
        );
        slow.refuse_one(30);
        assert_eq!(slow.take_lag(), None, "the same burst");
        slow.relieved();
        slow.refuse_one(40);
        assert_eq!(slow.take_lag(), Some(Lag { refused: loss(2, 70), ..Lag::default() }));
        assert_eq!((slow.lost().messages(), slow.lost().bytes()), (5, 105));
    }

    #[test]
    fn what_is_large_or_prepared_waits_by_reference() {
        let large = Bytes::from(alloc::vec![7; LARGE]);
        let prepared = Prepared::new("small");
        for message in [Outgoing::Message((&large).into()), Outgoing::Prepared(&prepared)] {
            let waiting = Waiting::new(message, None, 0);
            assert_eq!(waiting.message().payload().as_ptr(), message.payload().as_ptr());
        }
    }
}
