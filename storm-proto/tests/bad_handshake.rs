//! Opening handshakes that are wrong, odd or hostile, and what must come of each.
//!
//! Rows HB-S are requests to a server, rows HB-C are answers to a client. Every row is
//! read whole, byte by byte and cut in two at every position (long ones at some), with the
//! same verdict each time, and then goes through a connection. Rows that need time, order
//! or a second party have a test of their own.
//!
//! Not here, and why:
//!
//! | rows | reason |
//! |---|---|
//! | HB-S100, S101, S103, S104, S106 | need an origin or host policy, which is not built yet |
//! | HB-S116, S118, S119, S121, S122, S124, S125 | need permessage-deflate |
//! | HB-C022, C023, C025, C026 | need permessage-deflate |
//! | HB-S128, HB-C040 | need TLS |
//! | HB-S134 | a decision that takes time belongs to the services: `service.rs` |
//! | HB-S136 | the limit of connections belongs to the services: `service.rs` |
//! | HB-C008 | no redirect is ever followed |
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod support;

mod bad_handshake {
    mod client_rows;
    mod client_time;
    mod server_rows;
    mod server_time;
    mod verdict;
}
