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

/// What is done with a message for which a peer that reads slowly has left no room
/// ([`Options::marks`](crate::Options::marks)).
///
/// Control frames, the Close among them, are never dropped. What was dropped is counted, and
/// told once for each burst.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
#[non_exhaustive]
pub enum SlowConsumer {
    /// Nothing is lost: a send is refused with [`Full`](crate::SendError::Full), and those that
    /// are made for it wait for room.
    #[default]
    Wait,
    /// The message is dropped, and its send says so with [`Dropped`](crate::SendError::Dropped).
    /// Nothing waits for room.
    Drop,
    /// The oldest messages that wait give way, as many as it takes.
    ///
    /// Up to half the limit, at most 64 KiB, is on its way already and cannot: a message that
    /// does not fit beside that is dropped itself, as by `Drop`, and no other for it. One that
    /// is no larger than half the limit finds room, unless a larger one is being written.
    DropOldest,
    /// As `DropOldest`; and a message that is sent with a [`Key`] takes the place of the one
    /// with the same key that waits, also where there is room: the last value wins.
    KeepLatest,
    /// The session ends at once, with a reset: the peer would not read a goodbye either.
    Disconnect,
}

impl SlowConsumer {
    /// True if messages that were accepted may be dropped.
    pub(crate) const fn takes_back(self) -> bool {
        matches!(self, SlowConsumer::DropOldest | SlowConsumer::KeepLatest)
    }
}

/// Messages that a peer did not get because it reads too slowly.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct Lag {
    /// How many.
    pub messages: u64,
    /// Their payloads, in bytes.
    pub bytes: u64,
}

impl Lag {
    fn add(&mut self, len: usize) {
        self.messages += 1;
        self.bytes += len as u64;
    }
}

/// What a message is about: of those with the same key [`SlowConsumer::KeepLatest`] keeps the
/// last. A number, or a text; a clone of either costs no allocation.
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

/// What a sender has beyond that of the default policy.
#[derive(Default, Debug)]
pub(crate) struct Slow {
    pub(crate) policy: SlowConsumer,
    pub(crate) backlog: Backlog,
    /// The Close frame, and its size, that comes behind the backlog.
    pub(crate) goodbye: Option<(Box<CloseFrame>, usize)>,
    /// A message did not fit, and the policy is to end the connection then.
    pub(crate) overrun: bool,
    /// All that was dropped so far.
    dropped: Lag,
    /// Of that, how much was told.
    told: Lag,
    /// A burst is under way.
    lagging: bool,
    /// It is still to be told.
    due: bool,
}

impl Slow {
    /// Bytes that wait here, at most.
    pub(crate) fn bytes(&self) -> usize {
        self.backlog.bytes + self.goodbye.as_ref().map_or(0, |(_, size)| *size)
    }

    /// A message had no room: begins a burst, if none is under way.
    pub(crate) fn drop_one(&mut self, len: usize) {
        self.dropped.add(len);
        self.due |= !self.lagging;
        self.lagging = true;
    }

    /// A message was superseded by a newer one: what was asked for, and no sign of a lag.
    pub(crate) fn supersede(&mut self, len: usize) {
        self.dropped.add(len);
    }

    /// The queue has fallen to its low mark: the burst is over.
    pub(crate) fn relieved(&mut self) {
        self.lagging = false;
    }

    pub(crate) fn dropped(&self) -> Lag {
        self.dropped
    }

    /// What was dropped since the last notice, if a burst has begun since.
    pub(crate) fn take_lag(&mut self) -> Option<Lag> {
        if !core::mem::take(&mut self.due) {
            return None;
        }
        let told = core::mem::replace(&mut self.told, self.dropped);
        Some(Lag {
            messages: self.dropped.messages - told.messages,
            bytes: self.dropped.bytes - told.bytes,
        })
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
    waiting: VecDeque<Waiting>,
    /// The number of the first of them. They are numbered without holes, so a number finds its
    /// message at once.
    first: u64,
    /// The numbers of those with a key.
    latest: BTreeMap<Key, u64>,
    bytes: usize,
}

impl Backlog {
    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// What they will take of the outbox, at most.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Adds a message: in the place of the one with the same key, which is returned, or behind
    /// all others. Also returns its number.
    pub(crate) fn insert(&mut self, message: Waiting) -> (u64, Option<Waiting>) {
        self.bytes += message.size;
        if let Some(&number) = message.key.as_ref().and_then(|key| self.latest.get(key))
            && let Some(place) = self.waiting.get_mut((number - self.first) as usize)
        {
            let superseded = core::mem::replace(place, message);
            self.bytes -= superseded.size;
            return (number, Some(superseded));
        }
        let number = self.first + self.waiting.len() as u64;
        if let Some(key) = &message.key {
            self.latest.insert(key.clone(), number);
        }
        self.waiting.push_back(message);
        (number, None)
    }

    /// Takes the oldest out.
    pub(crate) fn pop(&mut self) -> Option<Waiting> {
        let oldest = self.waiting.pop_front()?;
        self.first += 1;
        self.bytes -= oldest.size;
        if let Some(key) = &oldest.key {
            self.latest.remove(key);
        }
        if self.waiting.is_empty() {
            self.waiting = VecDeque::new();
        }
        Some(oldest)
    }

    /// Takes the oldest out that is not the one with the number `kept`, which stays ahead of
    /// those behind it.
    pub(crate) fn pop_other(&mut self, kept: &mut u64) -> Option<Waiting> {
        if *kept == self.first {
            if self.waiting.len() < 2 {
                return None;
            }
            self.waiting.swap(0, 1);
            *kept += 1;
            if let Some(key) = &self.waiting[1].key {
                self.latest.insert(key.clone(), *kept);
            }
        }
        self.pop()
    }

    /// What the oldest will take of the outbox, at most.
    pub(crate) fn next_size(&self) -> Option<usize> {
        self.waiting.front().map(|oldest| oldest.size)
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
        assert_eq!((backlog.bytes(), backlog.waiting.capacity()), (0, 0));
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
        for (word, key) in [("a1", 1), ("b1", 2), ("c1", 3)] {
            backlog.insert(text(word, Some(key)));
        }
        let (mut kept, superseded) = backlog.insert(text("a2", Some(1)));
        assert_eq!(superseded.unwrap().len(), 2);
        assert_eq!(backlog.pop_other(&mut kept).unwrap().key, Some(2.into()));
        let (again, superseded) = backlog.insert(text("a3", Some(1)));
        assert!(again == kept && superseded.is_some(), "it is still found");
        assert_eq!(backlog.pop_other(&mut kept).unwrap().key, Some(3.into()));
        assert!(backlog.pop_other(&mut kept).is_none(), "it is alone");
        assert_eq!(drain(&mut backlog), ["a3"]);
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
    fn a_burst_is_told_once_with_all_that_was_dropped_since_the_last() {
        let mut slow = Slow::default();
        slow.supersede(5);
        assert_eq!(slow.take_lag(), None);
        slow.drop_one(10);
        slow.drop_one(20);
        assert_eq!(slow.take_lag(), Some(Lag { messages: 3, bytes: 35 }));
        slow.drop_one(30);
        assert_eq!(slow.take_lag(), None, "the same burst");
        slow.relieved();
        slow.drop_one(40);
        assert_eq!(slow.take_lag(), Some(Lag { messages: 2, bytes: 70 }));
        assert_eq!(slow.dropped(), Lag { messages: 5, bytes: 105 });
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
