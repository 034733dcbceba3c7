//! Who is let in, before a byte is read: so many connections, so many from one address, so
//! often from one address.

use core::net::IpAddr;

use super::origins::Origins;
use super::rate::Rate;
use super::roster::{Roster, one_of_many};
use crate::Instant;

/// How many addresses are remembered that have no connection but came a little while ago. They
/// take 8 MiB at most. One address more is let in uncounted: who has so many addresses is not
/// stopped by a limit for each, and must not be able to lock everybody else out.
pub(crate) const RESTING: usize = 65_536;

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

/// The addresses that are connected, or were a little while ago, each with its bucket.
#[derive(Default, Debug)]
pub(crate) struct Addresses(Roster<IpAddr, Instant>);

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
        self.0.forget(now);
        let address = one_of_many(address);
        let known = self.0.get(address);
        let (connections, full_at) = known.map_or((0, now), |(n, full_at)| (n, *full_at));
        if admission.max_per_ip.is_some_and(|max| connections >= max) {
            return Err(Refusal::PerIp);
        }
        let full_next = match admission.rate {
            Some(rate) => rate.take(1, full_at, now).ok_or(Refusal::Rate)?,
            None => now,
        };
        if known.is_none() && self.0.resting() >= RESTING {
            return Ok(Place::default());
        }
        *self.0.come(address) = full_next;
        Ok(Place(Some(address)))
    }

    /// A connection that was let in is over.
    pub(crate) fn leave(&mut self, place: &Place) {
        if let Some(address) = place.0 {
            self.0.leave(address);
        }
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
        assert_eq!(addresses.0.counts(), (11, 10));
        for n in 10..20 {
            addresses.admit(nth(n), &limits, Instant::from_millis(999)).unwrap();
        }
        assert_eq!(addresses.0.resting(), 10, "none is full yet");
        for n in 20..25 {
            addresses.admit(nth(n), &limits, Instant::from_secs(1)).unwrap();
        }
        assert_eq!(addresses.0.counts(), (16, 0));
        addresses.leave(&connected);
        addresses.admit(nth(30), &limits, Instant::from_secs(1)).unwrap();
        assert!(addresses.0.get(A).is_none());
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
        assert_eq!(addresses.0.counts().0, RESTING);
        let place = addresses.admit(A, &limits, Instant::from_secs(1)).unwrap();
        assert!(place.0.is_some(), "there is room again");
    }

    #[test]
    fn without_a_limit_nothing_is_remembered() {
        let mut addresses = Addresses::default();
        let place = addresses.admit(A, &Admission::default(), Instant::ZERO).unwrap();
        assert!(addresses.0.counts() == (0, 0));
        addresses.leave(&place);
    }
}
