//! Who is let in, before a byte is read: so many connections, so many from one address, so
//! often from one address.

use alloc::collections::{BTreeMap, BTreeSet};
use core::net::{IpAddr, Ipv6Addr};
use core::time::Duration;

use super::origins::Origins;
use crate::Instant;

/// How many addresses are remembered that have no connection but came a little while ago. They
/// take 8 MiB at most. One address more is let in uncounted: who has so many addresses is not
/// stopped by a limit for each, and must not be able to lock everybody else out.
pub(crate) const RESTING: usize = 65_536;

/// How many addresses are forgotten for each that comes: more than one, so that they get
/// fewer, and not all, so that nobody waits for it.
const FORGOTTEN: usize = 2;

/// How often something may happen: a token bucket.
///
/// In any time `t` it happens at most burst + rate x `t` times, wherever `t` begins.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub struct Rate {
    /// The time after which there is one more token.
    interval: Duration,
    burst: u32,
}

impl Rate {
    /// So many a second, 1 at least, and as many at once after a pause.
    pub const fn per_second(n: u32) -> Rate {
        Rate::per(Duration::from_secs(1), n)
    }

    /// So many a minute, 1 at least, and as many at once after a pause.
    pub const fn per_minute(n: u32) -> Rate {
        Rate::per(Duration::from_secs(60), n)
    }

    const fn per(time: Duration, n: u32) -> Rate {
        let n = if n == 0 { 1 } else { n };
        let nanos = (time.as_nanos() as u64).div_ceil(n as u64);
        Rate { interval: Duration::from_nanos(nanos), burst: n }
    }

    /// Sets how many may come at once after a pause, 1 at least.
    pub const fn burst(mut self, n: u32) -> Rate {
        self.burst = if n == 0 { 1 } else { n };
        self
    }

    /// When the bucket would be full again if one more token were taken now from a bucket
    /// that is full at `full_at`; `None` if there is none to take.
    fn take(self, full_at: Instant, now: Instant) -> Option<Instant> {
        let full_at = full_at.max(now);
        let lacking = full_at - now;
        (lacking <= self.interval.saturating_mul(self.burst - 1)).then(|| full_at + self.interval)
    }
}

/// What a server demands of those who connect.
#[derive(Clone, Default, Debug)]
pub(crate) struct Admission {
    /// The most connections at once, those still opening counted.
    pub(crate) max: Option<usize>,
    /// The most connections at once from one address.
    pub(crate) max_per_ip: Option<usize>,
    /// How often one address may connect.
    pub(crate) rate: Option<Rate>,
    pub(crate) origins: Option<Origins>,
}

/// Why a connection is not let in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Refusal {
    /// The server has as many as it takes.
    Full,
    /// The address has as many as it may.
    PerIp,
    /// The address comes too often.
    Rate,
    /// The server is stopping.
    Stopping,
}

/// The addresses that are connected, or were a little while ago.
#[derive(Default, Debug)]
pub(crate) struct Addresses {
    known: BTreeMap<IpAddr, Known>,
    /// Those without a connection, by the time when their bucket is full.
    resting: BTreeSet<(Instant, IpAddr)>,
}

#[derive(Debug)]
struct Known {
    connections: usize,
    full_at: Instant,
}

/// Under which address a connection is counted, if it is.
#[derive(Default, Debug)]
pub(crate) struct Place(Option<IpAddr>);

impl Addresses {
    /// Lets a connection in and counts it, unless its address has too many, or comes too often.
    /// One that is not let in costs its address no token.
    pub(crate) fn admit(
        &mut self,
        address: IpAddr,
        admission: &Admission,
        now: Instant,
    ) -> Result<Place, Refusal> {
        if admission.max_per_ip.is_none() && admission.rate.is_none() {
            return Ok(Place::default());
        }
        self.forget(now);
        let address = one_of_many(address);
        let known = self.known.get(&address);
        let (connections, full_at) = known.map_or((0, now), |k| (k.connections, k.full_at));
        if admission.max_per_ip.is_some_and(|max| connections >= max) {
            return Err(Refusal::PerIp);
        }
        let full_next = match admission.rate {
            Some(rate) => rate.take(full_at, now).ok_or(Refusal::Rate)?,
            None => now,
        };
        if known.is_none() && self.resting.len() >= RESTING {
            return Ok(Place::default());
        }
        self.resting.remove(&(full_at, address));
        let connections = connections + 1;
        self.known.insert(address, Known { connections, full_at: full_next });
        Ok(Place(Some(address)))
    }

    /// A connection that was let in is over.
    pub(crate) fn leave(&mut self, place: &Place) {
        let Some(address) = place.0 else { return };
        let Some(known) = self.known.get_mut(&address) else { return };
        known.connections -= 1;
        if known.connections == 0 {
            self.resting.insert((known.full_at, address));
        }
    }

    /// Forgets some of those whose bucket is full: only these are as if they had never come.
    fn forget(&mut self, now: Instant) {
        for _ in 0..FORGOTTEN {
            match self.resting.first() {
                Some(&(full_at, address)) if full_at <= now => {
                    self.resting.pop_first();
                    self.known.remove(&address);
                }
                _ => return,
            }
        }
    }
}

/// What counts as one address: an IPv4 address in either way to write it, or the /64 of an
/// IPv6 address, which is the least that one customer is given.
fn one_of_many(address: IpAddr) -> IpAddr {
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

    const A: IpAddr = IpAddr::V4(core::net::Ipv4Addr::new(10, 0, 0, 1));

    fn limits(max_per_ip: Option<usize>, rate: Option<Rate>) -> Admission {
        Admission { max_per_ip, rate, ..Admission::default() }
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn nth(n: usize) -> IpAddr {
        IpAddr::V4((0x0B00_0000 + n as u32).into())
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
    fn an_address_has_so_many_connections_and_gets_places_back() {
        let (mut addresses, limits) = (Addresses::default(), limits(Some(2), None));
        let mut admit = |address| addresses.admit(ip(address), &limits, Instant::ZERO);
        let first = admit("10.0.0.1").unwrap();
        assert!(admit("::ffff:10.0.0.1").is_ok());
        assert_eq!(admit("10.0.0.1").unwrap_err(), Refusal::PerIp);
        assert!(admit("10.0.0.2").is_ok());
        addresses.leave(&first);
        assert!(addresses.admit(A, &limits, Instant::ZERO).is_ok());
        assert!(addresses.admit(A, &limits, Instant::ZERO).is_err());
    }

    #[test]
    fn no_edge_of_a_second_lets_twice_as_many_in() {
        let rate = Rate::per_second(10);
        let mut full_at = Instant::ZERO;
        let mut taken = |millis| {
            let now = Instant::from_millis(millis);
            let mut taken = 0;
            while let Some(next) = rate.take(full_at, now) {
                (full_at, taken) = (next, taken + 1);
            }
            taken
        };
        assert_eq!(taken(999), 10);
        assert_eq!(
            [taken(1001), taken(1098), taken(1099), taken(1298), taken(1299)],
            [0, 0, 1, 1, 1]
        );
        assert_eq!([taken(2298), taken(100_000)], [9, 10], "never more than the burst");
    }

    #[test]
    fn rates_have_a_burst_of_their_own_and_none_is_zero() {
        let taken = |rate: Rate| {
            let full = core::iter::successors(Some(Instant::ZERO), |full_at| {
                rate.take(*full_at, Instant::ZERO)
            });
            full.take(1000).count() - 1
        };
        assert_eq!(taken(Rate::per_second(7)), 7);
        assert_eq!(taken(Rate::per_minute(7)), 7);
        assert_eq!(taken(Rate::per_second(7).burst(20)), 20);
        assert_eq!(taken(Rate::per_second(7).burst(0)), 1);
        assert_eq!(taken(Rate::per_second(0)), 1);
        assert_eq!(Rate::per_second(0), Rate::per_second(1));
        assert!(taken(Rate::per_second(u32::MAX)) >= 999, "and no division by zero");
    }

    #[test]
    fn to_leave_and_come_back_does_not_fill_the_bucket() {
        let limits = limits(Some(1), Some(Rate::per_second(1).burst(2)));
        let mut addresses = Addresses::default();
        let mut come_and_go = |millis| {
            let place = addresses.admit(A, &limits, Instant::from_millis(millis));
            place.map(|place| addresses.leave(&place)).is_ok()
        };
        assert!(come_and_go(0) && come_and_go(0));
        assert!(!come_and_go(0) && !come_and_go(999), "and those refused cost nothing");
        assert!(come_and_go(1000));
        assert!(!come_and_go(1001));
    }

    #[test]
    fn addresses_are_forgotten_when_their_bucket_is_full_and_not_while_connected() {
        let limits = limits(None, Some(Rate::per_second(1)));
        let mut addresses = Addresses::default();
        let connected = addresses.admit(A, &limits, Instant::ZERO).unwrap();
        for n in 0..10 {
            let place = addresses.admit(nth(n), &limits, Instant::ZERO).unwrap();
            addresses.leave(&place);
        }
        assert_eq!((addresses.known.len(), addresses.resting.len()), (11, 10));
        for n in 10..20 {
            addresses.admit(nth(n), &limits, Instant::from_millis(999)).unwrap();
        }
        assert_eq!(addresses.resting.len(), 10, "none is full yet");
        for n in 20..25 {
            addresses.admit(nth(n), &limits, Instant::from_secs(1)).unwrap();
        }
        assert_eq!((addresses.known.len(), addresses.resting.len()), (16, 0));
        addresses.leave(&connected);
        addresses.admit(nth(30), &limits, Instant::from_secs(1)).unwrap();
        assert!(!addresses.known.contains_key(&A));
    }

    #[test]
    fn a_table_that_is_full_keeps_its_limits_and_lets_strangers_in_uncounted() {
        let limits = limits(None, Some(Rate::per_second(1)));
        let mut addresses = Addresses::default();
        for n in 0..RESTING {
            let place = addresses.admit(nth(n), &limits, Instant::ZERO).unwrap();
            addresses.leave(&place);
        }
        let again = addresses.admit(nth(0), &limits, Instant::ZERO);
        assert_eq!(again.unwrap_err(), Refusal::Rate, "nobody was dropped");
        for _ in 0..3 {
            let stranger = addresses.admit(A, &limits, Instant::ZERO).unwrap();
            assert!(stranger.0.is_none());
            addresses.leave(&stranger);
        }
        assert_eq!(addresses.known.len(), RESTING);
        let place = addresses.admit(A, &limits, Instant::from_secs(1)).unwrap();
        assert!(place.0.is_some(), "there is room again");
    }

    #[test]
    fn without_a_limit_nothing_is_remembered() {
        let mut addresses = Addresses::default();
        let place = addresses.admit(A, &Admission::default(), Instant::ZERO).unwrap();
        assert!(addresses.known.is_empty());
        addresses.leave(&place);
    }
}
