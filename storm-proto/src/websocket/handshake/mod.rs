//! The opening handshake (RFC 6455 section 4) as two machines over bytes.
//!
//! ```text
//!   client                                              server
//!   ClientHandshake::new  --- GET ... Upgrade -------->  ServerHandshake::receive
//!                                                          | Request: decide
//!   ClientHandshake::receive  <--- 101, or a refusal ---  Request::accept, Response
//! ```
//!
//! Both read a head resumably and under limits, and leave what stands behind it in
//! the input: those bytes are frames. Neither does IO, and neither looks at a clock.

pub(crate) mod accept_key;
pub(crate) mod body;
pub(crate) mod client;
pub(crate) mod cookies;
pub(crate) mod extensions;
pub(crate) mod head;
pub(crate) mod parts;
pub(crate) mod query;
pub(crate) mod request;
pub(crate) mod response;
pub(crate) mod server;
mod start_line;
pub(crate) mod token;

pub use client::{Accepted, ClientHandshake, HandshakeError, Offer, Refusal};
pub use head::{HeadLimit, HeadLimits, Headers};
pub use request::{AcceptError, Request};
pub use response::{Accept, Decision, HeaderError, IntoDecision, Response};
pub use server::ServerHandshake;
