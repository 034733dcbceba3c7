//! What is spoken at the ports of this machine, for the other ends of connections.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use storm_proto::websocket::Deflate;

use super::harness::Harness;

/// What stands below and around the messages.
#[derive(Clone, Copy, Default)]
pub(crate) struct Spoken {
    pub(crate) tls: bool,
    pub(crate) deflate: Option<Deflate>,
}

static PORTS: Mutex<BTreeMap<u16, Spoken>> = Mutex::new(BTreeMap::new());

/// Notes what a harness speaks at a port that it has opened.
pub(crate) fn mark<H: Harness + ?Sized>(port: u16) {
    let spoken = Spoken { tls: H::TLS, deflate: H::DEFLATE };
    PORTS.lock().unwrap_or_else(PoisonError::into_inner).insert(port, spoken);
}

pub(crate) fn spoken_at(port: u16) -> Spoken {
    let ports = PORTS.lock().unwrap_or_else(PoisonError::into_inner);
    ports.get(&port).copied().unwrap_or_default()
}
