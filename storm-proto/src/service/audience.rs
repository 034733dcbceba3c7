//! To many at once: encoded once, and nobody waits for anybody.

use core::fmt;
use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll};
use std::vec::Vec;

use super::groups::Members;
use super::hub::Hub;
use super::middleware::Outcome;
use super::park;
use super::session::Session;
use crate::connection::slow::Key;
use crate::error::SendError;
use crate::message::{Message, OwnedMessage};
use crate::websocket::prepared::Prepared;

/// Sessions of a server to be spoken to together: everybody ([`Hub::all`]), those in groups
/// ([`Hub::group`]), without some of them.
///
/// It has who was there when it was asked for, and each only once. It is meant to be used and
/// dropped: while one is kept, a change of its groups costs a copy of the list.
#[derive(Clone)]
#[must_use = "nothing is sent yet"]
pub struct Audience {
    /// None for the audience of a client's session, which is nobody.
    hub: Option<Hub>,
    first: Members,
    /// More groups, whose members may be among those before.
    more: Vec<Members>,
    /// The numbers of those who are left out.
    except: Vec<u64>,
    /// Groups that are left out.
    without: Vec<Members>,
}

/// What became of a message to many.
///
/// ```compile_fail
/// #![deny(unused_must_use)]
/// # fn greet(hub: &storm_proto::service::Hub) {
/// hub.all().send("welcome"); // nobody looks at who missed it
/// # }
/// ```
///
/// ```
/// # fn greet(hub: &storm_proto::service::Hub) {
/// let delivery = hub.all().send("welcome");
/// if delivery.full > 0 {
///     println!("{} sessions read too slowly", delivery.full);
/// }
/// # }
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
#[must_use = "it counts the sessions that did not get the message"]
pub struct Delivery {
    /// Sessions that have it queued, to be written in the order of their sends.
    pub queued: usize,
    /// Sessions that it did not fit into: their peers read too slowly. They have nothing of it.
    pub full: usize,
    /// As `full`, where the policy is to drop it ([`SlowConsumer`](crate::SlowConsumer)). Messages
    /// that gave way to it are not in here: they were queued before.
    pub dropped: usize,
    /// Sessions that were closing or over.
    pub closed: usize,
    /// Sessions whose framing cannot carry it.
    pub unframed: usize,
    /// Sessions whose [`Middleware`](super::Middleware) dropped it.
    pub filtered: usize,
}

impl Audience {
    pub(crate) fn new(hub: Hub, members: Members) -> Audience {
        Audience { hub: Some(hub), first: members, ..Audience::nobody() }
    }

    pub(crate) fn nobody() -> Audience {
        Audience {
            hub: None,
            first: Members::default(),
            more: Vec::new(),
            except: Vec::new(),
            without: Vec::new(),
        }
    }

    /// With those in another group, as they are now.
    pub fn group(mut self, group: &str) -> Audience {
        self.more.extend(self.hub.as_ref().map(|hub| hub.members(group)));
        self
    }

    /// Without this session.
    pub fn except(mut self, session: &Session) -> Audience {
        self.except.push(session.id());
        self
    }

    /// Without those in a group, as they are now.
    pub fn except_group(mut self, group: &str) -> Audience {
        self.without.extend(self.hub.as_ref().map(|hub| hub.members(group)));
        self
    }

    /// Who they are: by groups, in each in the order in which they connected.
    #[must_use]
    pub fn sessions(&self) -> Vec<Session> {
        self.iter().cloned().collect()
    }

    /// Queues a message on every session; encodes it once, and never waits.
    ///
    /// A session that has no room is left out and counted: it costs the others nothing. Two
    /// calls of one caller arrive in their order at each session; those of two threads may
    /// arrive in one order here and in the other there. On framed TCP the framing
    /// wraps the one payload for each session.
    pub fn send<'a>(&self, message: impl Into<Message<'a>>) -> Delivery {
        self.send_prepared(&Prepared::new(message))
    }

    /// As [`Audience::send`], with a message that was encoded before.
    pub fn send_prepared(&self, prepared: &Prepared) -> Delivery {
        let mut delivery = Delivery::default();
        for session in self.iter() {
            delivery.count(session.offer_prepared(prepared));
        }
        delivery
    }

    /// As [`Audience::send`]; at each session the message takes the place of the one with the same
    /// key that waits there. See [`Session::send_latest`].
    pub fn send_latest<'a>(
        &self,
        key: impl Into<Key>,
        message: impl Into<Message<'a>>,
    ) -> Delivery {
        self.send_latest_prepared(key, &Prepared::new(message))
    }

    /// As [`Audience::send_latest`], with a message that was encoded before.
    pub fn send_latest_prepared(&self, key: impl Into<Key>, prepared: &Prepared) -> Delivery {
        let (key, mut delivery) = (key.into(), Delivery::default());
        for session in self.iter() {
            delivery.count(session.offer_latest(&key, prepared));
        }
        delivery
    }

    /// Queues a message at once where there is room, and waits with the others until there is.
    /// They are waited for together: it takes as long as the slowest takes, at most until the
    /// stall deadline ends that session, which is then counted as closed.
    ///
    /// The message is encoded now; the sessions get it when the future is first polled. A
    /// message that is sent to one of them while it waits may arrive before this one.
    ///
    /// It waits for sessions whose policy is [`SlowConsumer::Wait`](crate::SlowConsumer::Wait) or
    /// [`SlowConsumer::KeepLatest`](crate::SlowConsumer::KeepLatest), and for no others.
    ///
    /// [`Delivery::full`] counts only sessions for which 1,024 calls wait already.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the message with those who had room so far; the others do
    /// not get it.
    pub fn send_wait<'a>(self, message: impl Into<Message<'a>>) -> Delivering {
        Delivering {
            prepared: Prepared::new(message),
            audience: Some(self),
            waiting: Vec::new(),
            delivery: Delivery::default(),
        }
    }

    /// As [`Audience::send_wait`], for plain threads: blocks until everybody has it or is over.
    ///
    /// Not to be called on a thread of an asynchronous runtime, which it would hold up.
    pub fn send_blocking<'a>(self, message: impl Into<Message<'a>>) -> Delivery {
        let clock = self.iter().next().map(|session| session.shared().clock());
        clock.map_or_else(Delivery::default, |clock| park::block_on(self.send_wait(message), clock))
    }

    /// Closes every session in order, as [`Session::close`] does; returns how many there were.
    /// Does not wait.
    pub fn close(&self) -> usize {
        self.iter().map(Session::close).count()
    }

    /// Each session once.
    fn iter(&self) -> impl Iterator<Item = &Session> {
        self.lists().enumerate().flat_map(move |(at, list)| {
            list.iter().filter(move |session| {
                let id = session.id();
                let mut before = self.lists().take(at).chain(&self.without);
                !before.any(|list| list.get(id).is_some()) && !self.except.contains(&id)
            })
        })
    }

    fn lists(&self) -> impl Iterator<Item = &Members> {
        core::iter::once(&self.first).chain(&self.more)
    }
}

impl fmt::Debug for Audience {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl Delivery {
    /// Counts a session; `Ok(false)` if middleware dropped the message.
    fn count(&mut self, sent: Result<bool, SendError>) {
        let counter = match sent {
            Ok(true) => &mut self.queued,
            Ok(false) => &mut self.filtered,
            Err(SendError::Full) => &mut self.full,
            Err(SendError::Dropped) => &mut self.dropped,
            Err(SendError::Framing(_)) => &mut self.unframed,
            Err(_) => &mut self.closed,
        };
        *counter += 1;
    }
}

/// A session without room.
struct Waiting {
    session: Session,
    ticket: Option<u64>,
    /// What middleware has put in the place of the message.
    instead: Option<OwnedMessage>,
}

/// The future of [`Audience::send_wait`].
#[must_use = "futures do nothing unless polled"]
pub struct Delivering {
    prepared: Prepared,
    /// Until it is first polled.
    audience: Option<Audience>,
    waiting: Vec<Waiting>,
    delivery: Delivery,
}

impl Waiting {
    /// Sends it, or goes on waiting; true if it is done.
    fn send(&mut self, cx: &mut Context<'_>, prepared: &Prepared, sum: &mut Delivery) -> bool {
        let Waiting { session, ticket, instead } = self;
        let len = instead.as_ref().map_or(prepared.payload().len(), OwnedMessage::len);
        let sent = session.poll_send(cx, ticket, len, |session| match &*instead {
            None => session.send_prepared_patiently(prepared),
            Some(by) => session.send_patiently(prepared.instead(by)),
        });
        sent.map(|sent| sum.count(sent.map(|()| true))).is_ready()
    }
}

impl Future for Delivering {
    type Output = Delivery;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Delivery> {
        let Delivering { prepared, audience, waiting, delivery } = &mut *self;
        waiting.retain_mut(|waiting| !waiting.send(cx, prepared, delivery));
        for session in audience.take().iter().flat_map(Audience::iter) {
            let instead = match session.outbound(prepared) {
                Ok(Outcome::Pass) => None,
                Ok(Outcome::Replace(by)) => Some(by),
                Ok(Outcome::Drop) => {
                    delivery.count(Ok(false));
                    continue;
                }
                Err(error) => {
                    delivery.count(Err(error));
                    continue;
                }
            };
            let mut one = Waiting { session: session.clone(), ticket: None, instead };
            if !one.send(cx, prepared, delivery) {
                waiting.push(one);
            }
        }
        if waiting.is_empty() { Poll::Ready(*delivery) } else { Poll::Pending }
    }
}

impl Drop for Delivering {
    fn drop(&mut self) {
        for waiting in &self.waiting {
            waiting.session.stop_waiting(waiting.ticket);
        }
    }
}

impl fmt::Debug for Delivering {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let waiting = self.waiting.len();
        f.debug_struct("Delivering").field("waiting", &waiting).finish_non_exhaustive()
    }
}
