//! What the adapters of Storm have in common below their runtimes: sockets of the operating
//! system, bound and tuned as [`storm_proto::service`] says, and its clock.
//!
//! Everything here returns sockets of the standard library; each adapter hands them to its
//! runtime. Nothing here waits.
#![forbid(unsafe_code)]

mod ask;
mod bind;
mod clock;
mod listen;
mod options;
#[cfg(unix)]
mod unix;

pub use ask::{has_input, read, write};
pub use bind::{Bound, bind};
pub use clock::{now, to_std};
pub use listen::{listen, stop_accept};
pub use options::{apply, reset_on_close};
#[cfg(unix)]
pub use unix::{SocketFile, listen_unix, stop_accept_unix};
