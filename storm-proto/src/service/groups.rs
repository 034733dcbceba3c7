//! Groups: which sessions of a server are together under a name, and what changes in that.
//!
//! All of it stands in the registry's table, under its one lock: a session is in groups only
//! while it is listed there, so no join can outlive the end of its session. One lock and no
//! shards, because nothing slow happens under it: a change is a few steps in maps, and a
//! broadcast takes a list by counting a reference.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::vec::Vec;

use super::membership::JoinError;
use super::session::Session;

/// How many groups a session may be in, unless the server says otherwise: their cost stays a
/// tenth of what may wait to be written to the session.
pub(crate) const MAX_GROUPS: usize = 256;

/// The longest name of a group in bytes. Names often come from peers, and are kept.
pub(crate) const MAX_NAME: usize = 256;

/// How many changes may wait for `on_group` before joins are refused: a few megabytes. Leaving
/// is never refused, but takes a join first.
pub(crate) const MAX_UNTOLD: usize = 65_536;

/// The groups of one server. A group is there while somebody is in it.
#[derive(Debug)]
pub(crate) struct Groups {
    members: HashMap<Arc<str>, Members>,
    /// The groups of each session that is in any, in the order of its joins.
    names: HashMap<u64, Vec<Arc<str>>>,
    /// The most groups of one session.
    max: usize,
    /// What happened and was not told.
    untold: VecDeque<GroupChange>,
}

/// Sessions by their number. A clone is the list as it is now: it counts a reference, and the
/// first change after it copies.
#[derive(Clone, Debug, Default)]
pub(crate) struct Members(Arc<BTreeMap<u64, Session>>);

/// A session joined a group or left it.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct GroupChange {
    /// The name of the group.
    pub group: Arc<str>,
    /// Who. [`Session::state`] tells if it left because it is over.
    pub session: Session,
    /// True if it joined, false if it left.
    pub joined: bool,
    /// How many are in the group after this.
    pub members: usize,
}

impl Groups {
    pub(crate) fn set_max(&mut self, max: usize) {
        self.max = max;
    }

    /// False if the session is in the group already.
    pub(crate) fn join(&mut self, session: &Session, group: &str) -> Result<bool, JoinError> {
        let id = session.id();
        if self.is_in(id, group) {
            return Ok(false);
        }
        if group.len() > MAX_NAME {
            return Err(JoinError::NameTooLong { limit: MAX_NAME });
        }
        if self.names.get(&id).map_or(0, Vec::len) >= self.max {
            return Err(JoinError::TooMany { limit: self.max });
        }
        if self.untold.len() >= MAX_UNTOLD {
            return Err(JoinError::Busy);
        }
        let known = self.members.get_key_value(group).map(|(name, _)| name.clone());
        let group = known.unwrap_or_else(|| Arc::from(group));
        let members = self.members.entry(group.clone()).or_default();
        members.insert(session);
        let members = members.len();
        self.names.entry(id).or_default().push(group.clone());
        let session = session.clone();
        self.untold.push_back(GroupChange { group, session, joined: true, members });
        Ok(true)
    }

    /// False if the session is not in the group.
    pub(crate) fn leave(&mut self, id: u64, group: &str) -> bool {
        let Some(names) = self.names.get_mut(&id) else { return false };
        let Some(at) = names.iter().position(|name| **name == *group) else { return false };
        let group = names.remove(at);
        if names.is_empty() {
            self.names.remove(&id);
        }
        self.left(id, group);
        true
    }

    /// Returns how many groups were left.
    pub(crate) fn leave_all(&mut self, id: u64) -> usize {
        let names = self.names.remove(&id).unwrap_or_default();
        let count = names.len();
        names.into_iter().for_each(|group| self.left(id, group));
        count
    }

    pub(crate) fn members(&self, group: &str) -> Members {
        self.members.get(group).cloned().unwrap_or_default()
    }

    pub(crate) fn member_count(&self, group: &str) -> usize {
        self.members.get(group).map_or(0, Members::len)
    }

    /// All names, in no order.
    pub(crate) fn names(&self) -> Vec<Arc<str>> {
        self.members.keys().cloned().collect()
    }

    /// How many changes wait for `on_group`.
    pub(crate) fn untold(&self) -> usize {
        self.untold.len()
    }

    pub(crate) fn has_untold(&self) -> bool {
        !self.untold.is_empty()
    }

    /// Takes the next changes for `on_group`, at most `most`.
    pub(crate) fn next_changes(&mut self, most: usize) -> Vec<GroupChange> {
        let count = most.min(self.untold.len());
        self.untold.drain(..count).collect()
    }

    pub(crate) fn of(&self, id: u64) -> Vec<Arc<str>> {
        self.names.get(&id).cloned().unwrap_or_default()
    }

    pub(crate) fn is_in(&self, id: u64, group: &str) -> bool {
        self.members.get(group).is_some_and(|members| members.get(id).is_some())
    }

    /// The list of the group lets go of the session. Its handle goes with the news, so that
    /// nothing of the application is dropped under the lock.
    fn left(&mut self, id: u64, group: Arc<str>) {
        let Some(list) = self.members.get_mut(&group) else { return };
        let Some(session) = list.remove(id) else { return };
        let members = list.len();
        if members == 0 {
            self.members.remove(&group);
        }
        self.untold.push_back(GroupChange { group, session, joined: false, members });
    }
}

impl Default for Groups {
    fn default() -> Groups {
        Groups {
            members: HashMap::new(),
            names: HashMap::new(),
            max: MAX_GROUPS,
            untold: VecDeque::new(),
        }
    }
}

impl Members {
    pub(crate) fn insert(&mut self, session: &Session) {
        Arc::make_mut(&mut self.0).insert(session.id(), session.clone());
    }

    pub(crate) fn remove(&mut self, id: u64) -> Option<Session> {
        // No copy for nothing.
        self.get(id)?;
        Arc::make_mut(&mut self.0).remove(&id)
    }

    pub(crate) fn get(&self, id: u64) -> Option<&Session> {
        self.0.get(&id)
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// In the order of their numbers, which is that in which they came.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Session> {
        self.0.values()
    }
}

#[cfg(test)]
mod tests {
    use core::sync::atomic::{AtomicBool, Ordering};
    use std::collections::BTreeSet;
    use std::string::{String, ToString};
    use std::sync::Mutex;
    use std::{format, thread, vec};

    use super::super::handler::Handler;
    use super::super::hub::Hub;
    use super::super::registry::Registry;
    use super::super::registry::tests::open;
    use super::*;
    use crate::Random;

    fn registry() -> Arc<Registry> {
        Arc::new(Registry::new())
    }

    /// Keeps what it is told, and minds that it is told one thing at a time.
    #[derive(Default)]
    struct Witness {
        told: Mutex<Vec<GroupChange>>,
        busy: AtomicBool,
    }

    impl Handler for Witness {
        fn on_group(&self, change: &GroupChange) {
            assert!(!self.busy.swap(true, Ordering::SeqCst), "two at once");
            self.told.lock().unwrap().push(change.clone());
            if &*change.group == "next" {
                change.session.leave("next");
            }
            self.busy.store(false, Ordering::SeqCst);
            assert_ne!(&*change.group, "panic", "on purpose");
        }
    }

    impl Witness {
        fn take(&self) -> Vec<String> {
            let told = core::mem::take(&mut *self.told.lock().unwrap());
            let line = |change: GroupChange| {
                let sign = if change.joined { '+' } else { '-' };
                format!("{sign}{} {} of {}", change.session.id(), change.group, change.members)
            };
            told.into_iter().map(line).collect()
        }
    }

    #[test]
    fn joins_and_leaves_change_something_once_and_are_told_in_order() {
        let (registry, witness) = (registry(), Arc::new(Witness::default()));
        registry.tell_to(&witness);
        let (a, b) = (open(&registry), open(&registry));
        assert_eq!((a.join("x"), a.join("x"), b.join("x")), (Ok(true), Ok(false), Ok(true)));
        assert_eq!((a.join("y"), a.join("X")), (Ok(true), Ok(true)));
        assert_eq!(a.groups().iter().map(ToString::to_string).collect::<Vec<_>>(), ["x", "y", "X"]);
        assert!(b.is_in("x") && !b.is_in("y") && !b.is_in("nothing"));
        assert!(a.leave("x") && !a.leave("x") && !b.leave("nothing"));
        assert_eq!(a.leave_all(), 2);
        assert_eq!(Hub::new(registry.clone()).groups(), [Arc::from("x")], "empty groups vanish");
        registry.remove(&b);
        assert!(Hub::new(registry).groups().is_empty());
        assert_eq!(
            witness.take(),
            [
                "+1 x of 1",
                "+2 x of 2",
                "+1 y of 1",
                "+1 X of 1",
                "-1 x of 1",
                "-1 y of 0",
                "-1 X of 0",
                "-2 x of 0"
            ]
        );
    }

    #[test]
    fn what_is_changed_while_it_is_told_is_told_next_and_a_panic_stops_nothing() {
        let (registry, witness) = (registry(), Arc::new(Witness::default()));
        registry.tell_to(&witness);
        let session = open(&registry);
        for group in ["next", "panic", "last"] {
            session.join(group).unwrap();
        }
        assert_eq!(
            witness.take(),
            ["+1 next of 1", "-1 next of 0", "+1 panic of 1", "+1 last of 1"]
        );
        drop(witness);
        assert_eq!(session.leave_all(), 2, "with nobody to tell");
    }

    #[test]
    fn every_limit_refuses_and_leaves_nothing() {
        let registry = registry();
        let session = open(&registry);
        let name = "n".repeat(MAX_NAME + 1);
        assert_eq!(session.join(&name), Err(JoinError::NameTooLong { limit: 256 }));
        session.join(&name[1..]).unwrap();
        registry.set_max_groups(2);
        session.join("two").unwrap();
        assert_eq!(session.join("three"), Err(JoinError::TooMany { limit: 2 }));
        assert_eq!(session.join("two"), Ok(false), "it is there already");
        assert!(session.leave("two"));
        assert_eq!(session.join("three"), Ok(true));
        registry.remove(&session);
        assert_eq!(session.join("three"), Err(JoinError::Closed));
        assert!(!session.is_in("two") && Hub::new(registry).groups().is_empty());
    }

    #[test]
    fn joins_are_refused_while_too_much_waits_to_be_told() {
        let registry = registry();
        let session = open(&registry);
        let mut groups = Groups::default();
        for _ in 0..MAX_UNTOLD / 2 {
            groups.join(&session, "x").unwrap();
            groups.leave(session.id(), "x");
        }
        assert_eq!(groups.join(&session, "x"), Err(JoinError::Busy));
        assert_eq!(groups.next_changes(1).len(), 1);
        assert_eq!(groups.join(&session, "x"), Ok(true));
    }

    #[test]
    fn a_list_that_was_taken_stays_as_it_was() {
        let registry = registry();
        let (a, b) = (open(&registry), open(&registry));
        a.join("x").unwrap();
        let before = Hub::new(registry.clone()).group("x");
        b.join("x").unwrap();
        a.leave("x");
        assert_eq!(before.sessions(), [a]);
        assert_eq!(Hub::new(registry).group("x").sessions(), [b]);
    }

    #[test]
    fn nothing_leaks_and_nothing_is_lost_among_many_threads() {
        const THREADS: u64 = 4;
        const STEPS: u32 = 10_000;
        const NAMES: [&str; 5] = ["a", "b", "c", "d", "e"];
        let (registry, witness) = (registry(), Arc::new(Witness::default()));
        registry.tell_to(&witness);
        let sessions = Mutex::new((0..24).map(|_| open(&registry)).collect::<Vec<_>>());
        let step = |random: &mut Random| {
            let mut pick = |of: usize| u32::from_le_bytes(random.key()) as usize % of;
            let (at, name) = (pick(24), NAMES[pick(NAMES.len())]);
            let session = sessions.lock().unwrap()[at].clone();
            match pick(100) {
                0..60 => drop(session.join(name)),
                60..80 => drop(session.leave(name)),
                80..90 => drop(session.leave_all()),
                90..95 => drop(session.others_in(name).send("x")),
                _ => {
                    // Others may just be about to let it join.
                    registry.remove(&session);
                    sessions.lock().unwrap()[at] = open(&registry);
                    assert_eq!(session.join(name), Err(JoinError::Closed));
                }
            }
        };
        thread::scope(|scope| {
            for seed in 0..THREADS {
                let step = &step;
                scope.spawn(move || {
                    let mut random = Random::from_seed(seed);
                    (0..STEPS).for_each(|_| step(&mut random));
                });
            }
        });
        // The news tell exactly what is there.
        let mut groups = vec![BTreeSet::new(); NAMES.len()];
        for change in witness.told.lock().unwrap().drain(..) {
            let group = &mut groups[NAMES.iter().position(|name| **name == *change.group).unwrap()];
            let changed = match change.joined {
                true => group.insert(change.session.id()),
                false => group.remove(&change.session.id()),
            };
            assert!(changed, "{change:?} was no change");
            assert_eq!(group.len(), change.members);
        }
        let hub = Hub::new(registry.clone());
        for (name, members) in NAMES.iter().zip(groups) {
            let sessions = hub.group(name).sessions();
            assert!(sessions.iter().map(Session::id).eq(members), "{name}");
            assert!(sessions.iter().all(|session| session.is_in(name)));
        }
        // And nothing is left when all are over.
        hub.sessions().iter().for_each(|session| registry.remove(session));
        assert_eq!((hub.groups().len(), hub.count()), (0, 0));
        assert!(registry.look(|groups| groups.names.is_empty() && groups.untold.is_empty()));
    }
}
