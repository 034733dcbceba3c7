//! What threads meet in: the standard library's, or [shuttle]'s where a test plays their
//! interleavings (`RUSTFLAGS="--cfg storm_shuttle"`, `tests/interleavings.rs`).
//!
//! [shuttle]: https://docs.rs/shuttle

#[cfg(not(storm_shuttle))]
pub(crate) use core::sync::atomic;
#[cfg(not(storm_shuttle))]
pub(crate) use std::sync::{Mutex, MutexGuard};
#[cfg(not(storm_shuttle))]
pub(crate) use std::thread_local;

#[cfg(storm_shuttle)]
pub(crate) use shuttle::sync::{Mutex, MutexGuard, atomic};
#[cfg(storm_shuttle)]
pub(crate) use shuttle::thread_local;
