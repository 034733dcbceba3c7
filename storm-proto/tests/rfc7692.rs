//! RFC 7692, compression of messages, requirement by requirement: see `rfc6455.rs`.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod support;

mod rfc7692 {
    mod party;
    mod s05_negotiation;
    mod s06_frames;
    mod s07_1_parameters;
    mod s07_2_3_examples;
    mod s07_2_data;
    mod s08_security;
}
