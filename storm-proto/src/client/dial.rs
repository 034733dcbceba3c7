//! placeholder until the plan lands
use crate::Instant;
use alloc::vec::Vec;
use core::net::SocketAddr;
use core::time::Duration;
pub(crate) const STAGGER: Duration = Duration::from_millis(250);
pub(crate) struct DialPlan {
    left: Vec<SocketAddr>,
    n: usize,
    under_way: usize,
    next: Instant,
}
impl DialPlan {
    pub(crate) fn new(mut a: Vec<SocketAddr>, _: Duration, now: Instant) -> DialPlan {
        a.reverse();
        DialPlan { left: a, n: 0, under_way: 0, next: now }
    }
    pub(crate) fn poll(&mut self, now: Instant) -> Option<(usize, SocketAddr)> {
        if now < self.next {
            return None;
        }
        let a = self.left.pop()?;
        self.n += 1;
        self.under_way += 1;
        self.next = now + STAGGER;
        Some((self.n, a))
    }
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        (!self.left.is_empty()).then_some(self.next)
    }
    pub(crate) fn failed(&mut self, _: usize, now: Instant) {
        self.under_way -= 1;
        self.next = now;
    }
    pub(crate) fn is_exhausted(&self) -> bool {
        self.left.is_empty() && self.under_way == 0
    }
}
