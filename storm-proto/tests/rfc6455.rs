//! RFC 6455 and the parts of HTTP that it stands on, requirement by requirement.
//!
//! The name of a test starts with the number of the requirement that it shows; the list of
//! all of them, with those that are shown elsewhere or are not due, is `requirements.tsv`.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod support;

mod rfc6455 {
    mod http;
    mod s03_uris;
    mod s04_1_client;
    mod s04_2_server;
    mod s05_1_masks;
    mod s05_2_frames;
    mod s05_4_fragments;
    mod s05_5_control;
    mod s05_6_data;
    mod s06_messages;
    mod s07_1_closing;
    mod s07_4_codes;
    mod s08_utf8;
    mod s09_extensions;
    mod s10_security;
    mod s11_headers;
}
