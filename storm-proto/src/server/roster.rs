//! Who is here, and who was a little while ago.

use alloc::collections::{BTreeMap, BTreeSet};
use core::net::{IpAddr, Ipv6Addr};

use crate::Instant;

/// How many are forgotten for each that comes: more than one, so that they get fewer, and not
/// all, so that nobody waits for it.
const FORGOTTEN: usize = 2;

/// Those who are here, by any name, and those who are gone but would win something if they were
/// forgotten: their buckets are not full yet.
#[derive(Debug)]
pub(crate) struct Roster<K, B> {
    known: BTreeMap<K, Known<B>>,
    /// Those who are gone, by the time when their bucket is full.
    resting: BTreeSet<(Instant, K)>,
}

#[derive(Debug)]
struct Known<B> {
    /// How often it is here.
    present: usize,
    buckets: B,
}

/// One bucket or several.
pub(crate) trait Buckets: Default {
    /// From when on all are as full as new ones.
    fn full_at(&self) -> Instant;
}

/// One bucket, by the time when it is full.
impl Buckets for Instant {
    fn full_at(&self) -> Instant {
        *self
    }
}

impl<K, B> Default for Roster<K, B> {
    fn default() -> Roster<K, B> {
        Roster { known: BTreeMap::new(), resting: BTreeSet::new() }
    }
}

impl<K: Ord + Copy, B: Buckets> Roster<K, B> {
    /// How often somebody is here, and the buckets; `None` for a stranger.
    pub(crate) fn get(&self, who: K) -> Option<(usize, &B)> {
        self.known.get(&who).map(|known| (known.present, &known.buckets))
    }

    /// The buckets of somebody who is here.
    pub(crate) fn of_present(&mut self, who: K) -> Option<&mut B> {
        let known = self.known.get_mut(&who).filter(|known| known.present > 0)?;
        Some(&mut known.buckets)
    }

    /// Somebody comes, with the buckets from last time or with new ones.
    pub(crate) fn come(&mut self, who: K) -> &mut B {
        let known = self.known.entry(who);
        let known = known.or_insert_with(|| Known { present: 0, buckets: B::default() });
        if known.present == 0 {
            self.resting.remove(&(known.buckets.full_at(), who));
        }
        known.present += 1;
        &mut known.buckets
    }

    /// Somebody leaves.
    pub(crate) fn leave(&mut self, who: K) {
        let Some(known) = self.known.get_mut(&who).filter(|known| known.present > 0) else {
            return;
        };
        known.present -= 1;
        if known.present == 0 {
            self.resting.insert((known.buckets.full_at(), who));
        }
    }

    /// Somebody who leaves will never come back.
    pub(crate) fn strike(&mut self, who: K) {
        self.known.remove(&who);
    }

    /// How many are gone and not forgotten.
    pub(crate) fn resting(&self) -> usize {
        self.resting.len()
    }

    /// How many are known, and how many of them are gone.
    #[cfg(test)]
    pub(crate) fn counts(&self) -> (usize, usize) {
        (self.known.len(), self.resting.len())
    }

    /// Forgets some of those who are gone and whose buckets are full: only these are as if they
    /// had never come.
    pub(crate) fn forget(&mut self, now: Instant) {
        for _ in 0..FORGOTTEN {
            match self.resting.first() {
                Some(&(full_at, _)) if full_at <= now => self.forget_next(),
                _ => return,
            }
        }
    }

    /// Forgets who wins least by it.
    pub(crate) fn forget_next(&mut self) {
        if let Some((_, who)) = self.resting.pop_first() {
            self.known.remove(&who);
        }
    }
}

/// What counts as one address: an IPv4 address in either way to write it, or the /64 of an
/// IPv6 address, which is the least that one customer is given.
pub(crate) fn one_of_many(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn at(secs: u64) -> Instant {
        Instant::from_secs(secs)
    }

    #[test]
    fn an_address_is_one_in_all_its_forms() {
        for (left, right, same) in [
            ("10.0.0.1", "::ffff:10.0.0.1", true),
            ("10.0.0.1", "10.0.0.2", false),
            ("::ffff:10.0.0.1", "::ffff:10.0.0.2", false),
            ("2001:db8:0:1::1", "2001:db8:0:1:ffff::2", true),
            ("2001:db8:0:1::1", "2001:db8:0:2::1", false),
            ("127.0.0.1", "::1", false),
        ] {
            assert_eq!(one_of_many(ip(left)) == one_of_many(ip(right)), same, "{left} {right}");
        }
    }

    #[test]
    fn buckets_outlast_who_leaves_until_they_are_full() {
        let mut roster = Roster::<u8, Instant>::default();
        *roster.come(1) = at(10);
        roster.come(1);
        roster.leave(1);
        assert_eq!((roster.get(1), roster.resting()), (Some((1, &at(10))), 0));
        roster.leave(1);
        roster.leave(1);
        assert_eq!((roster.get(1), roster.resting()), (Some((0, &at(10))), 1));
        assert!(roster.of_present(1).is_none());
        roster.forget(at(9));
        assert_eq!(*roster.come(1), at(10), "nothing is won by coming back");
        roster.leave(1);
        roster.forget(at(10));
        assert_eq!((roster.get(1), roster.resting()), (None, 0));
    }

    #[test]
    fn who_is_here_is_never_forgotten() {
        let mut roster = Roster::<u8, Instant>::default();
        roster.come(1);
        *roster.come(2) = at(5);
        *roster.come(3) = at(4);
        roster.leave(2);
        roster.leave(3);
        roster.forget_next();
        assert!(roster.get(3).is_none(), "whose bucket is fuller");
        roster.forget_next();
        roster.forget_next();
        assert!(roster.get(1).is_some() && roster.get(2).is_none());
        roster.strike(1);
        assert!(roster.get(1).is_none());
    }
}
