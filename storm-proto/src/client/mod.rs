//! What a client needs before it has a connection.

pub(crate) mod dial;
pub(crate) mod proxy;
pub(crate) mod reconnect;
pub(crate) mod uri;
