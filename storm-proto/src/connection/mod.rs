//! A connection: a receiver, a sender, and the rules of its life.

pub(crate) mod assembly;
pub(crate) mod flow;
pub(crate) mod heartbeat;
pub(crate) mod link;
pub(crate) mod options;
pub(crate) mod outbox;
pub(crate) mod reason;
pub(crate) mod receiver;
pub(crate) mod sender;
