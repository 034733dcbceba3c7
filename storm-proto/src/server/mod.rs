//! What a server needs beside its connections.

pub(crate) mod backoff;
