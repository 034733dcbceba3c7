//! Everything that a server knows of its connections, from accept to the last event.

use core::future::{Future, poll_fn};
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use core::task::{Poll, Waker};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::vec::Vec;

use super::runtime::Address;
use super::session::{Session, State};
use crate::Instant;
use crate::server::admission::{Addresses, Admission, Place};
use crate::server::origins::Origins;

/// The connections of one server.
#[derive(Debug)]
pub(crate) struct Registry {
    table: Mutex<Table>,
    admission: Admission,
    next_connection: AtomicU64,
    next_id: AtomicU64,
    stopping: AtomicBool,
    refused: AtomicU64,
}

#[derive(Debug, Default)]
struct Table {
    /// Admitted, from accept to the last event.
    connections: usize,
    /// Where they are from, if that is limited.
    addresses: Addresses,
    /// The accept loop has its socket.
    listening: bool,
    /// Those whose opening is not done, by the number of their connection.
    opening: HashMap<u64, Session>,
    /// The open ones, by their number.
    sessions: HashMap<u64, Session>,
    /// Those who wait for a stop.
    until_stopped: Vec<Waker>,
    /// Those who wait for the last connection to leave.
    until_empty: Vec<Waker>,
}

/// Held by an accept loop as long as it has its socket.
#[derive(Debug)]
pub(crate) struct Listening(Arc<Registry>);

/// A place in a registry; dropping it gives the place back.
#[derive(Debug)]
pub(crate) struct Permit {
    registry: Arc<Registry>,
    connection: u64,
    place: Place,
}

impl Registry {
    pub(crate) fn new(admission: Admission) -> Registry {
        Registry {
            table: Mutex::default(),
            admission,
            next_connection: AtomicU64::new(1),
            next_id: AtomicU64::new(1),
            stopping: AtomicBool::new(false),
            refused: AtomicU64::new(0),
        }
    }

    /// An accept loop begins.
    pub(crate) fn listen(self: &Arc<Registry>) -> Listening {
        self.lock().listening = true;
        Listening(self.clone())
    }

    /// Admits a connection that was accepted; `None` at a limit or after a stop. Check and
    /// entry are one step, so that no burst gets past a limit.
    pub(crate) fn admit(self: &Arc<Registry>, peer: &Address, now: Instant) -> Option<Permit> {
        let mut table = self.lock();
        let full = self.admission.max.is_some_and(|max| table.connections >= max);
        let place = match peer.ip() {
            _ if full || self.is_stopping() => None,
            Some(peer) => table.addresses.admit(peer.ip(), &self.admission, now),
            None => Some(Place::default()),
        };
        let Some(place) = place else {
            self.refused.fetch_add(1, Ordering::Relaxed);
            return None;
        };
        table.connections += 1;
        let connection = self.next_connection.fetch_add(1, Ordering::Relaxed);
        Some(Permit { registry: self.clone(), connection, place })
    }

    /// Which web pages may connect.
    pub(crate) fn origins(&self) -> Option<&Origins> {
        self.admission.origins.as_ref()
    }

    /// The number of the next session that opens.
    pub(crate) fn next_id(&self) -> u64 {
        self.next_id.fetch_add(1, Ordering::Relaxed)
    }

    /// Lists a connection that is opening, so that a stop reaches it.
    pub(crate) fn opening(&self, session: Session) {
        self.lock().opening.insert(session.shared().connection(), session);
    }

    /// Lists a session that is open now.
    pub(crate) fn opened(&self, session: &Session) {
        let mut table = self.lock();
        table.opening.remove(&session.shared().connection());
        table.sessions.insert(session.id(), session.clone());
    }

    /// Takes a session off the list, at the latest before its last event.
    pub(crate) fn remove(&self, session: &Session) {
        let mut table = self.lock();
        let opening = table.opening.remove(&session.shared().connection());
        let open = table.sessions.remove(&session.id());
        drop(table);
        // Dropped without the lock: a session may own what the application attached.
        drop((opening, open));
    }

    pub(crate) fn get(&self, id: u64) -> Option<Session> {
        self.lock().sessions.get(&id).filter(|session| session.state() == State::Open).cloned()
    }

    /// Every connection, those still opening as well.
    pub(crate) fn all(&self) -> Vec<Session> {
        let table = self.lock();
        table.opening.values().chain(table.sessions.values()).cloned().collect()
    }

    /// Admitted connections.
    pub(crate) fn connections(&self) -> usize {
        self.lock().connections
    }

    pub(crate) fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }

    /// No connection is admitted from now on. False if that was so already.
    pub(crate) fn stop(&self) -> bool {
        let mut table = self.lock();
        let first = !self.stopping.swap(true, Ordering::Relaxed);
        let waiting = core::mem::take(&mut table.until_stopped);
        drop(table);
        waiting.into_iter().for_each(Waker::wake);
        first
    }

    /// Waits for [`Registry::stop`].
    pub(crate) fn stopped(&self) -> impl Future<Output = ()> + Send + '_ {
        poll_fn(|cx| {
            let mut table = self.lock();
            if self.is_stopping() {
                return Poll::Ready(());
            }
            register(&mut table.until_stopped, cx.waker());
            Poll::Pending
        })
    }

    /// Waits until no connection is left, and the socket is closed.
    pub(crate) fn empty(&self) -> impl Future<Output = ()> + Send + '_ {
        poll_fn(|cx| {
            let mut table = self.lock();
            if table.is_empty() {
                return Poll::Ready(());
            }
            register(&mut table.until_empty, cx.waker());
            Poll::Pending
        })
    }

    /// Something left: tells those who wait for the last one.
    fn left(&self, leave: impl FnOnce(&mut Table)) {
        let mut table = self.lock();
        leave(&mut table);
        let empty = table.is_empty();
        let waiting = empty.then(|| core::mem::take(&mut table.until_empty));
        drop(table);
        waiting.into_iter().flatten().for_each(Waker::wake);
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn is_empty(&self) -> bool {
        self.connections == 0 && !self.listening
    }
}

fn register(waiting: &mut Vec<Waker>, waker: &Waker) {
    if !waiting.iter().any(|known| known.will_wake(waker)) {
        waiting.push(waker.clone());
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.0.left(|table| table.listening = false);
    }
}

impl Permit {
    /// The number of the connection, counted from accept.
    pub(crate) fn connection(&self) -> u64 {
        self.connection
    }

    pub(crate) fn registry(&self) -> &Registry {
        &self.registry
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.registry.left(|table| {
            table.connections -= 1;
            table.addresses.leave(&self.place);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One that comes over a Unix socket.
    fn admit(registry: &Arc<Registry>) -> Option<Permit> {
        registry.admit(&Address::Unix(None), Instant::ZERO)
    }

    #[test]
    fn the_limit_counts_from_accept_and_places_come_back() {
        let registry = Arc::new(Registry::new(Admission { max: Some(2), ..Admission::default() }));
        let (first, second) = (admit(&registry).unwrap(), admit(&registry).unwrap());
        assert_eq!((first.connection(), second.connection()), (1, 2));
        assert!(admit(&registry).is_none());
        drop(first);
        assert_eq!(admit(&registry).unwrap().connection(), 3);
        assert_eq!((registry.connections(), registry.refused()), (1, 1));
    }

    #[test]
    fn nobody_is_admitted_after_a_stop() {
        let registry = Arc::new(Registry::new(Admission::default()));
        let _open = admit(&registry).unwrap();
        assert!(registry.stop());
        assert!(!registry.stop(), "once");
        assert!(admit(&registry).is_none());
    }

    #[test]
    fn one_address_has_its_own_limit_and_a_full_server_costs_it_nothing() {
        let admission = Admission { max: Some(2), max_per_ip: Some(1), ..Admission::default() };
        let registry = Arc::new(Registry::new(admission));
        let admit = |ip: [u8; 4]| {
            let peer = core::net::SocketAddr::from((ip, 5000)).into();
            registry.admit(&peer, Instant::ZERO)
        };
        let first = admit([10, 0, 0, 1]).unwrap();
        assert!(admit([10, 0, 0, 1]).is_none());
        let second = admit([10, 0, 0, 2]).unwrap();
        assert!(admit([10, 0, 0, 3]).is_none(), "the server is full");
        drop((first, second));
        assert!(admit([10, 0, 0, 3]).is_some() && admit([10, 0, 0, 1]).is_some());
        assert_eq!((registry.connections(), registry.refused()), (0, 2));
    }
}
