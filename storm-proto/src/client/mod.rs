//! What a client needs before it has a connection.

pub(crate) mod dial;
// No client of this crate goes through a proxy or comes back by itself yet.
#[allow(dead_code)]
pub(crate) mod proxy;
#[allow(dead_code)]
pub(crate) mod reconnect;
pub(crate) mod uri;
