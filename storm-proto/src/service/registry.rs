//! Everything that a server knows of its connections, from accept to the last event.

use core::fmt;
use core::future::{Future, poll_fn};
use core::task::{Poll, Waker};
use std::boxed::Box;
use std::collections::HashMap;
use std::sync::{Arc, OnceLock, PoisonError, Weak};
use std::vec::Vec;

use super::groups::{GroupChange, Groups, Members};
use super::handler::Handler;
use super::membership::JoinError;
use super::metrics::{Ledger, Refused, ServerMetrics, Unopened, with_open};
use super::publish::{self, Whose};
use super::runtime::Address;
use super::session::Session;
use super::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use super::sync::{Mutex, MutexGuard};
use super::wire::linger::MAX_LINGERING;
use crate::Instant;
use crate::contain::{catch, wake_all};
use crate::server::admission::{Addresses, Admission, Place, Refusal};
use crate::server::drain::Drain;
use crate::server::origins::Origins;
use crate::websocket::frame::close_code::CloseCode;

/// The connections of one server.
#[derive(Debug)]
pub(crate) struct Registry {
    table: Mutex<Table>,
    /// Set when the server starts.
    admission: OnceLock<Admission>,
    next_connection: AtomicU64,
    next_id: AtomicU64,
    stopping: AtomicBool,
    /// How the server ends, once it drains.
    drain: OnceLock<Drain>,
    /// The handler, for as long as the server and its sessions hold it: it may hold a handle
    /// on this table itself.
    presence: OnceLock<Weak<dyn Presence>>,
    /// Spawns a task that reports the group changes a call has left; set when the server starts.
    tell_rest: OnceLock<TellRest>,
}

/// How many group changes a call reports beside its own, and a task between two looks at the clock.
pub(crate) const SHARE: usize = 64;

struct TellRest(Box<dyn Fn() -> bool + Send + Sync>);

impl fmt::Debug for TellRest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TellRest")
    }
}

#[derive(Debug, Default)]
struct Table {
    /// Admitted, from accept to the last event.
    connections: usize,
    /// Whose last event was handled, and whose peer has not sent its FIN: they have their places
    /// still.
    lingering: usize,
    /// Where they are from, if that is limited.
    addresses: Addresses,
    /// Accept loops that have their socket.
    listening: usize,
    /// The application is being notified of errors of those loops.
    reporting: bool,
    /// Those whose opening is not done, by the number of their connection, and since when.
    opening: HashMap<u64, (Session, Instant)>,
    /// The open ones.
    sessions: Members,
    /// Who is together. Only those in `sessions` are.
    groups: Groups,
    /// A thread is telling what changed in groups.
    telling: bool,
    /// What came to nothing, and what sessions came to that are not listed any more.
    refused: Refused,
    unopened: Unopened,
    ledger: Ledger,
    /// Those who wait for a stop.
    until_stopped: Vec<Waker>,
    /// Those who wait for the last session or the last connection to leave.
    until_empty: Vec<Waker>,
}

/// How connections ended; see [`Stopped`](super::Stopped).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tally {
    pub(crate) clean: u64,
    pub(crate) timed_out: u64,
    pub(crate) failed: u64,
    pub(crate) unopened: u64,
    pub(crate) aborted: u64,
    /// Those that have not ended.
    pub(crate) left: u64,
    pub(crate) undelivered: u64,
}

/// Held by an accept loop as long as it has its socket.
#[derive(Debug)]
pub(crate) struct Listening(Arc<Registry>);

/// Held while the application is notified of errors of an accept loop.
#[derive(Debug)]
pub(crate) struct Reporting(Arc<Registry>);

/// A place in a registry; dropping it gives the place back.
#[derive(Debug)]
pub(crate) struct Permit {
    registry: Arc<Registry>,
    connection: u64,
    place: Place,
    lingers: bool,
}

impl Registry {
    pub(crate) fn new() -> Registry {
        Registry {
            table: Mutex::default(),
            admission: OnceLock::new(),
            next_connection: AtomicU64::new(1),
            next_id: AtomicU64::new(1),
            stopping: AtomicBool::new(false),
            drain: OnceLock::new(),
            presence: OnceLock::new(),
            tell_rest: OnceLock::new(),
        }
    }

    /// Says who is admitted; to be called before the first connection comes.
    pub(crate) fn admit_by(&self, admission: Admission) {
        let _ = self.admission.set(admission);
    }

    pub(crate) fn set_max_groups(&self, groups: usize) {
        self.lock().groups.set_max(groups);
    }

    /// Tells `handler` what changes in groups.
    pub(crate) fn tell_to<H: Handler>(&self, handler: &Arc<H>) {
        let presence: Weak<H> = Arc::downgrade(handler);
        let _ = self.presence.set(presence);
    }

    /// An accept loop begins.
    pub(crate) fn listen(self: &Arc<Registry>) -> Listening {
        self.lock().listening += 1;
        Listening(self.clone())
    }

    /// The application is notified of errors of an accept loop, which a stop waits for.
    pub(crate) fn report(self: &Arc<Registry>) -> Reporting {
        self.lock().reporting = true;
        Reporting(self.clone())
    }

    /// Calls of the application that a stop waits for in vain.
    pub(crate) fn stuck(&self) -> usize {
        let table = self.lock();
        table.connections + usize::from(table.reporting) + usize::from(table.telling)
    }

    /// Admits a connection that was accepted, unless there is a limit or a stop. Check and
    /// entry are one step, so that no burst gets past a limit.
    pub(crate) fn admit(
        self: &Arc<Registry>,
        peer: &Address,
        now: Instant,
    ) -> Result<Permit, Refusal> {
        let mut table = self.lock();
        let admission = self.admission.get_or_init(Admission::default);
        let full = admission.max.is_some_and(|max| table.connections + table.lingering >= max);
        let place = match peer.ip() {
            _ if self.is_stopping() => Err(Refusal::Stopping),
            _ if full => Err(Refusal::Full),
            Some(peer) => table.addresses.admit(peer.ip(), admission, now),
            None => Ok(Place::default()),
        };
        let place = place.inspect_err(|refusal| table.refused.count(*refusal))?;
        table.connections += 1;
        let connection = self.next_connection.fetch_add(1, Ordering::Relaxed);
        drop(table);
        publish::admitted();
        Ok(Permit { registry: self.clone(), connection, place, lingers: false })
    }

    /// Which web pages may connect.
    pub(crate) fn origins(&self) -> Option<&Origins> {
        self.admission.get()?.origins.as_ref()
    }

    /// The number of the next session that opens.
    pub(crate) fn next_id(&self) -> u64 {
        self.next_id.fetch_add(1, Ordering::Relaxed)
    }

    /// Lists a connection that is opening, so that a stop reaches it.
    pub(crate) fn opening(&self, session: Session, since: Instant) {
        let mut table = self.lock();
        table.opening.insert(session.shared().connection(), (session.clone(), since));
        // A stop that came since it was admitted has not seen it.
        let is_late = self.is_stopping();
        drop(table);
        if is_late {
            let code = self.draining().map_or(CloseCode::GOING_AWAY, |drain| drain.code);
            session.shared().go_away(code);
        }
    }

    /// Lists a session that is open now. One that slipped in while the server drains is told
    /// to go at once.
    pub(crate) fn opened(&self, session: &Session) {
        let mut table = self.lock();
        let opening = table.opening.remove(&session.shared().connection());
        let after = opening.map(|(_, since)| session.shared().opened() - since).unwrap_or_default();
        table.sessions.insert(session);
        table.ledger.opened(after);
        let drain = self.draining();
        drop(table);
        publish::opened(Whose::Server, after);
        if let Some(drain) = drain {
            session.shared().go_away(drain.code);
        }
    }

    /// Takes a session that is over off the list and out of its groups, at the latest before
    /// its last event. What it came to is taken into the books in the same step.
    pub(crate) fn remove(&self, session: &Session) {
        let (metrics, reason) = (session.metrics(), session.reason());
        let mut table = self.lock();
        let opening = table.opening.remove(&session.shared().connection());
        let open = table.sessions.remove(session.id());
        let mut news = None;
        if let Some(reason) = &reason {
            if opening.is_some() {
                table.unopened.count(reason);
            }
            if open.is_some() {
                table.ledger.ended(&metrics, reason);
                let all = table.ledger.totals().traffic();
                news = Some(table.ledger.publish(all));
            }
        }
        let mut groups = Vec::new();
        if open.is_some() {
            groups = table.groups.of(session.id());
            table.groups.leave_all(session.id());
        }
        let own = groups.len();
        let last = table.sessions.is_empty();
        let waiting = last.then(|| core::mem::take(&mut table.until_empty));
        if own > 0 {
            // Without the lock: code of the application that runs under the session's may ask
            // for this one.
            drop(table);
            session.shared().keep_groups(groups);
            table = self.lock();
        }
        self.tell(table, own);
        wake_all(waiting.into_iter().flatten());
        match (&reason, news) {
            (Some(reason), Some(news)) => {
                publish::ended(Whose::Server, metrics.uptime, reason, news);
            }
            (Some(reason), None) if opening.is_some() => publish::unopened(reason),
            _ => {}
        }
        // Dropped without the lock: a session may own what the application attached.
        drop((opening, open));
    }

    pub(crate) fn get(&self, id: u64) -> Option<Session> {
        self.lock().sessions.get(id).cloned()
    }

    /// All sessions from just before `on_connected` to just before the last event, whatever
    /// their state.
    pub(crate) fn sessions(&self) -> Members {
        self.lock().sessions.clone()
    }

    /// How many [`Registry::sessions`] are.
    pub(crate) fn count(&self) -> usize {
        self.lock().sessions.len()
    }

    /// Every connection, those still opening as well.
    pub(crate) fn all(&self) -> Vec<Session> {
        let table = self.lock();
        let opening = table.opening.values().map(|(session, _)| session);
        opening.chain(table.sessions.iter()).cloned().collect()
    }

    /// Lets a listed session join a group; see [`Session::join`]. That it is listed and that it
    /// joins is one step, so no end of the session comes between the two.
    pub(crate) fn join(&self, session: &Session, group: &str) -> Result<bool, JoinError> {
        let mut table = self.lock();
        if table.sessions.get(session.id()).is_none() {
            return Err(JoinError::Closed);
        }
        let joined = table.groups.join(session, group);
        self.tell(table, 1);
        joined
    }

    /// Takes sessions out of groups.
    pub(crate) fn leave<T>(&self, leave: impl FnOnce(&mut Groups) -> T) -> T {
        let mut table = self.lock();
        let before = table.groups.untold();
        let left = leave(&mut table.groups);
        let own = table.groups.untold() - before;
        self.tell(table, own);
        left
    }

    /// Looks at the groups.
    pub(crate) fn look<T>(&self, look: impl FnOnce(&Groups) -> T) -> T {
        look(&self.lock().groups)
    }

    /// Sets what spawns the task that reports the remaining group changes.
    pub(crate) fn tell_rest_by(&self, spawn: impl Fn() -> bool + Send + Sync + 'static) {
        let _ = self.tell_rest.set(TellRest(Box::new(spawn)));
    }

    /// Reports group changes to `on_group`, in order and without the lock, one thread at a time.
    /// A caller reports as many changes as it has made and a few more, and leaves the rest to a
    /// task, so that no call waits for the changes of others without end.
    fn tell<'t>(&'t self, mut table: MutexGuard<'t, Table>, own: usize) {
        if table.telling || !table.groups.has_untold() {
            return;
        }
        table.telling = true;
        if self.tell_some(table, own + SHARE) {
            return;
        }
        if let Some(TellRest(spawn)) = self.tell_rest.get() {
            if spawn() {
                return;
            }
            // The task that was not spawned has given up, and another caller may tell by now.
            let mut table = self.lock();
            if table.telling || !table.groups.has_untold() {
                return;
            }
            table.telling = true;
        }
        // There is nobody else.
        while !self.tell_some(self.lock(), SHARE) {}
    }

    /// Reports a share of the changes; true once none is left. For the task that reports.
    pub(crate) fn tell_share(&self) -> bool {
        self.tell_some(self.lock(), SHARE)
    }

    /// The reporting task ends early: the next change finds the remaining ones.
    pub(crate) fn give_up_telling(&self) {
        self.left(|table| table.telling = false);
    }

    fn tell_some<'t>(&'t self, mut table: MutexGuard<'t, Table>, most: usize) -> bool {
        // One lock for all of them: telling is faster than changing, and so keeps up with it.
        let mut left = most;
        while left > 0 && table.groups.has_untold() {
            let changes = table.groups.next_changes(left);
            drop(table);
            left -= changes.len();
            for change in changes {
                // The change is dropped in there as well: it may hold the last of a session.
                catch(move || {
                    if let Some(presence) = self.presence.get().and_then(Weak::upgrade) {
                        presence.changed(&change);
                    }
                });
            }
            table = self.lock();
        }
        if table.groups.has_untold() {
            return false;
        }
        table.telling = false;
        let waiting = table.is_empty().then(|| core::mem::take(&mut table.until_empty));
        drop(table);
        wake_all(waiting.into_iter().flatten());
        true
    }

    /// Admitted connections.
    pub(crate) fn connections(&self) -> usize {
        self.lock().connections
    }

    /// How all connections ended so far, and how many have not: one step, so that the
    /// difference of two has every connection once.
    pub(crate) fn tally(&self) -> Tally {
        let table = self.lock();
        let (totals, unopened) = (table.ledger.totals(), &table.unopened);
        Tally {
            clean: totals.clean,
            timed_out: totals.timed_out,
            failed: totals.failed,
            unopened: unopened.total() - unopened.aborted,
            aborted: totals.aborted + unopened.aborted,
            left: (table.opening.len() + table.sessions.len()) as u64,
            undelivered: totals.undelivered,
        }
    }

    pub(crate) fn refused(&self) -> u64 {
        self.lock().refused.total()
    }

    /// Everything that was counted. The books and the list of those that are not in them yet
    /// are taken in one step.
    pub(crate) fn metrics(&self) -> ServerMetrics {
        let table = self.lock();
        let (totals, open) = (table.ledger.totals().clone(), table.sessions.clone());
        let counted = ServerMetrics {
            connections: table.connections,
            lingering: table.lingering,
            admitted: self.next_connection.load(Ordering::Relaxed) - 1,
            refused: table.refused,
            unopened: table.unopened,
            ..ServerMetrics::default()
        };
        drop(table);
        ServerMetrics { sessions: with_open(totals, open.iter()), ..counted }
    }

    /// Publishes what messages have added up to since the last time.
    #[cfg(feature = "metrics")]
    pub(crate) fn publish(&self) {
        let all = self.metrics().sessions.traffic();
        let news = self.lock().ledger.publish(all);
        publish::traffic(Whose::Server, news);
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
        wake_all(waiting);
        first
    }

    /// Nobody gets a session from now on. Returns those that there are, by their numbers.
    pub(crate) fn drain(&self, drain: Drain) -> Vec<u64> {
        let table = self.lock();
        let _ = self.drain.set(drain);
        table.sessions.iter().map(Session::id).collect()
    }

    /// How the server ends, once it drains.
    pub(crate) fn draining(&self) -> Option<&Drain> {
        self.drain.get()
    }

    /// The last call: everybody is told to go, those still opening as well.
    pub(crate) fn say_goodbye(&self, code: CloseCode) {
        self.stop();
        for session in self.all() {
            session.shared().go_away(code);
        }
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

    /// Waits until no session is left.
    pub(crate) fn without_sessions(&self) -> impl Future<Output = ()> + Send + '_ {
        poll_fn(|cx| {
            let mut table = self.lock();
            if table.sessions.is_empty() {
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
        wake_all(waiting.into_iter().flatten());
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn is_empty(&self) -> bool {
        self.connections == 0 && self.listening == 0 && !self.reporting && !self.telling
    }
}

/// A [`Handler`] of any type, as far as it is told of groups.
trait Presence: Send + Sync {
    fn changed(&self, change: &GroupChange);
}

impl<H: Handler> Presence for H {
    fn changed(&self, change: &GroupChange) {
        self.on_group(change);
    }
}

impl fmt::Debug for dyn Presence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Presence")
    }
}

fn register(waiting: &mut Vec<Waker>, waker: &Waker) {
    if !waiting.iter().any(|known| known.will_wake(waker)) {
        waiting.push(waker.clone());
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.0.left(|table| table.listening -= 1);
    }
}

impl Drop for Reporting {
    fn drop(&mut self) {
        self.0.left(|table| table.reporting = false);
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

    /// The last event was handled: no stop waits for this connection any more. It keeps its
    /// place, so that no peer gets past a limit by lingering. False if as many linger as may.
    pub(crate) fn linger(&mut self) -> bool {
        let mut may = false;
        self.registry.left(|table| {
            may = table.lingering < MAX_LINGERING;
            if may {
                table.connections -= 1;
                table.lingering += 1;
            }
        });
        self.lingers = may;
        if may {
            publish::left();
        }
        may
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let lingers = self.lingers;
        self.registry.left(|table| {
            match lingers {
                true => table.lingering -= 1,
                false => table.connections -= 1,
            }
            table.addresses.leave(&self.place);
        });
        if !lingers {
            publish::left();
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::super::session::State;
    use super::super::session::tests::undriven;
    use super::*;
    use crate::Outbox;
    use crate::extensions::Extensions;

    /// A session on the list that nobody drives.
    pub(crate) fn open(registry: &Arc<Registry>) -> Session {
        let session = undriven([127, 0, 0, 1], Some(registry.clone()));
        session.shared().open(registry.next_id(), None, Extensions::new());
        registry.opened(&session);
        session
    }

    /// One that comes over a Unix socket.
    fn admit(registry: &Arc<Registry>) -> Result<Permit, Refusal> {
        registry.admit(&Address::Unix(None), Instant::ZERO)
    }

    fn registry(admission: Admission) -> Arc<Registry> {
        let registry = Arc::new(Registry::new());
        registry.admit_by(admission);
        registry
    }

    #[test]
    fn numbers_that_many_threads_take_are_all_different_and_none_is_left_out() {
        use std::thread;
        const EACH: u64 = 2_500;
        let registry = Arc::new(Registry::new());
        let take = || (0..EACH).map(|_| registry.next_id()).collect::<Vec<_>>();
        let mut numbers = thread::scope(|scope| {
            let threads = [(); 4].map(|()| scope.spawn(take));
            threads.map(|thread| thread.join().unwrap()).concat()
        });
        numbers.sort_unstable();
        assert!(numbers.into_iter().eq(1..=4 * EACH));
    }

    #[test]
    fn the_limit_counts_from_accept_and_places_come_back() {
        let registry = registry(Admission { max: Some(2), ..Admission::default() });
        let (first, second) = (admit(&registry).unwrap(), admit(&registry).unwrap());
        assert_eq!((first.connection(), second.connection()), (1, 2));
        assert!(admit(&registry).is_err());
        drop(first);
        assert_eq!(admit(&registry).unwrap().connection(), 3);
        assert_eq!((registry.connections(), registry.refused()), (1, 1));
    }

    #[test]
    fn nobody_is_admitted_after_a_stop() {
        let registry = registry(Admission::default());
        let _open = admit(&registry).unwrap();
        assert!(registry.stop());
        assert!(!registry.stop(), "once");
        assert!(admit(&registry).is_err());
    }

    #[test]
    fn a_session_that_slips_in_while_the_server_drains_is_told_to_go() {
        let registry = registry(Admission::default());
        let first = open(&registry);
        let drain = Drain::new().code(CloseCode::SERVICE_RESTART);
        assert_eq!(registry.drain(drain), [first.id()]);
        assert_eq!(first.state(), State::Open, "its wave comes");
        let late = open(&registry);
        assert_eq!(late.state(), State::Closing);
        let sent = late.shared().end(&Outbox::new()).sent.clone();
        assert_eq!(sent.unwrap().code(), CloseCode::SERVICE_RESTART);
    }

    #[test]
    fn one_address_has_its_own_limit_and_a_full_server_costs_it_nothing() {
        let admission = Admission { max: Some(2), max_per_ip: Some(1), ..Admission::default() };
        let registry = registry(admission);
        let admit = |ip: [u8; 4]| {
            let peer = core::net::SocketAddr::from((ip, 5000)).into();
            registry.admit(&peer, Instant::ZERO)
        };
        let first = admit([10, 0, 0, 1]).unwrap();
        assert!(admit([10, 0, 0, 1]).is_err());
        let second = admit([10, 0, 0, 2]).unwrap();
        assert!(admit([10, 0, 0, 3]).is_err(), "the server is full");
        drop((first, second));
        assert!(admit([10, 0, 0, 3]).is_ok() && admit([10, 0, 0, 1]).is_ok());
        assert_eq!((registry.connections(), registry.refused()), (0, 2));
    }
}
