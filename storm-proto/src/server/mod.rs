//! What a server needs beside its connections.

pub(crate) mod admission;
pub(crate) mod backoff;
pub(crate) mod drain;
pub(crate) mod origins;
pub(crate) mod rate;
pub(crate) mod rate_limit;
pub(crate) mod roster;
