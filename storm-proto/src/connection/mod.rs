//! A connection: a receiver, a sender, and the rules of its life.

pub(crate) mod assembly;
pub(crate) mod flow;
pub(crate) mod outbox;
pub(crate) mod receiver;
pub(crate) mod sender;
