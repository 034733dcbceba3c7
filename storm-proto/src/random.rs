//! Randomness is an input, like time: mask keys, handshake nonces and jitter come from here.
//!
//! RFC 6455 section 10.3 wants mask keys that the peer cannot predict, so what
//! production code hands in is the operating system's generator
//! (`Random::os`). Tests hand in a seed.

use alloc::boxed::Box;
use core::fmt;

/// Bytes fetched from the system at once: 64 mask keys for one system call.
const RESERVE: usize = 256;

/// A source of random bytes for one connection.
pub struct Random {
    source: Source,
    reserve: Box<[u8; RESERVE]>,
    used: usize,
}

enum Source {
    System(fn(&mut [u8])),
    Seed(u64),
}

impl Random {
    /// Draws from `fill`, which must fill the whole slice with unpredictable bytes.
    #[must_use]
    pub fn new(fill: fn(&mut [u8])) -> Random {
        Random { source: Source::System(fill), reserve: Box::new([0; RESERVE]), used: RESERVE }
    }

    /// The operating system's generator.
    ///
    /// # Panics
    /// Drawing panics if the operating system has no randomness to give, which the
    /// systems that std supports rule out once they are up: going on with
    /// predictable mask keys would be worse.
    #[cfg(feature = "std")]
    #[must_use]
    pub fn os() -> Random {
        Random::new(|bytes| {
            getrandom::fill(bytes).expect("the operating system has a random generator");
        })
    }

    /// A predictable sequence, for tests and simulations only: whoever sees one
    /// mask key of it can compute the next.
    #[must_use]
    pub fn from_seed(seed: u64) -> Random {
        Random { source: Source::Seed(seed), reserve: Box::new([0; RESERVE]), used: RESERVE }
    }

    /// The next four bytes: a mask key.
    pub fn key(&mut self) -> [u8; 4] {
        self.bytes()
    }

    /// The next `N` bytes, at most 256.
    pub fn bytes<const N: usize>(&mut self) -> [u8; N] {
        const { assert!(N <= RESERVE) };
        if RESERVE - self.used < N {
            self.refill();
        }
        let mut bytes = [0; N];
        let drawn = &mut self.reserve[self.used..self.used + N];
        bytes.copy_from_slice(drawn);
        // A key that has been used must not be found in a memory dump later.
        drawn.fill(0);
        self.used += N;
        bytes
    }

    fn refill(&mut self) {
        match &mut self.source {
            Source::System(fill) => fill(&mut self.reserve[..]),
            Source::Seed(state) => {
                for word in self.reserve.as_chunks_mut::<8>().0 {
                    *word = split_mix(state).to_le_bytes();
                }
            }
        }
        self.used = 0;
    }
}

/// SplitMix64 (Steele, Lea, Flood 2014).
fn split_mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

impl fmt::Debug for Random {
    /// Shows the kind of source, never its state.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.source {
            Source::System(_) => "Random(system)",
            Source::Seed(_) => "Random(seed)",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_bytes_and_another_seed_others() {
        let draw = |seed| {
            let mut random = Random::from_seed(seed);
            core::array::from_fn::<[u8; 4], 100, _>(|_| random.key())
        };
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
    }

    #[test]
    fn keys_do_not_repeat_within_a_reserve_or_across_refills() {
        let mut random = Random::from_seed(7);
        let mut keys: alloc::vec::Vec<_> = (0..1000).map(|_| random.key()).collect();
        keys.sort_unstable();
        keys.dedup();
        assert_eq!(keys.len(), 1000);
    }

    #[cfg(feature = "std")]
    #[test]
    fn the_system_generator_fills_every_draw() {
        let mut random = Random::os();
        let all: alloc::vec::Vec<[u8; 16]> = (0..100).map(|_| random.bytes()).collect();
        assert!(all.iter().all(|nonce| nonce != &[0; 16]));
    }
}
