//! Everything that a server knows of its connections, from accept to the last event.

use core::future::Future;
use core::pin::Pin;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use core::task::{Context, Poll, Waker};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::vec::Vec;

use super::session::{Session, State};

/// The connections of one server.
#[derive(Debug)]
pub(crate) struct Registry {
    table: Mutex<Table>,
    /// The most connections at once, those still opening counted.
    max: Option<usize>,
    next_id: AtomicU64,
    stopping: AtomicBool,
    refused: AtomicU64,
}

#[derive(Debug, Default)]
struct Table {
    /// Admitted, from accept to the last event.
    connections: usize,
    sessions: HashMap<u64, Session>,
    /// Those who wait for a stop, or for the table to be empty.
    waiting: Vec<Waker>,
}

/// A place in a registry; dropping it gives the place back.
#[derive(Debug)]
pub(crate) struct Permit {
    registry: Arc<Registry>,
    id: u64,
}

impl Registry {
    pub(crate) fn new(max: Option<usize>) -> Registry {
        Registry {
            table: Mutex::default(),
            max,
            next_id: AtomicU64::new(1),
            stopping: AtomicBool::new(false),
            refused: AtomicU64::new(0),
        }
    }

    /// Admits a connection that was accepted; `None` at the limit or after a stop. Check and
    /// entry are one step, so that no burst gets past the limit.
    pub(crate) fn admit(self: &Arc<Registry>) -> Option<Permit> {
        let mut table = self.lock();
        if self.is_stopping() || self.max.is_some_and(|max| table.connections >= max) {
            self.refused.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        table.connections += 1;
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        Some(Permit { registry: self.clone(), id })
    }

    /// Lists a connection, so that a stop reaches it.
    pub(crate) fn insert(&self, session: Session) {
        let mut table = self.lock();
        table.sessions.insert(session.id(), session);
    }

    /// Takes a connection off the list, at the latest before its last event.
    pub(crate) fn remove(&self, id: u64) {
        let removed = self.lock().sessions.remove(&id);
        // Dropped here, without the lock: a session may own what the application attached.
        drop(removed);
    }

    pub(crate) fn get(&self, id: u64) -> Option<Session> {
        self.lock().sessions.get(&id).filter(|session| session.state() == State::Open).cloned()
    }

    /// Every connection on the list, those still opening as well.
    pub(crate) fn all(&self) -> Vec<Session> {
        self.lock().sessions.values().cloned().collect()
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
        wake(&mut table);
        first
    }

    /// Waits for [`Registry::stop`].
    pub(crate) fn stopped(&self) -> impl Future<Output = ()> + Send + '_ {
        Until { registry: self, done: |registry, _| registry.is_stopping() }
    }

    /// Waits until no connection is left.
    pub(crate) fn empty(&self) -> impl Future<Output = ()> + Send + '_ {
        Until { registry: self, done: |_, table| table.connections == 0 }
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn wake(table: &mut Table) {
    for waker in table.waiting.drain(..) {
        waker.wake();
    }
}

impl Permit {
    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    pub(crate) fn registry(&self) -> &Registry {
        &self.registry
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.registry.remove(self.id);
        let mut table = self.registry.lock();
        table.connections -= 1;
        if table.connections == 0 {
            wake(&mut table);
        }
    }
}

/// Waits for a state of a registry.
struct Until<'r> {
    registry: &'r Registry,
    done: fn(&Registry, &Table) -> bool,
}

impl Future for Until<'_> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut table = self.registry.lock();
        if (self.done)(self.registry, &table) {
            return Poll::Ready(());
        }
        if !table.waiting.iter().any(|waker| waker.will_wake(cx.waker())) {
            table.waiting.push(cx.waker().clone());
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_counts_from_accept_and_places_come_back() {
        let registry = Arc::new(Registry::new(Some(2)));
        let (first, second) = (registry.admit().unwrap(), registry.admit().unwrap());
        assert_eq!((first.id(), second.id()), (1, 2));
        assert!(registry.admit().is_none());
        drop(first);
        assert_eq!(registry.admit().unwrap().id(), 3);
        assert_eq!((registry.connections(), registry.refused()), (1, 1));
    }

    #[test]
    fn nobody_is_admitted_after_a_stop() {
        let registry = Arc::new(Registry::new(None));
        let _open = registry.admit().unwrap();
        assert!(registry.stop());
        assert!(!registry.stop(), "once");
        assert!(registry.admit().is_none());
    }
}
