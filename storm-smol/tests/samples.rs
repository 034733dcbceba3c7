//! The samples on this runtime, as processes.
#![cfg(target_os = "linux")]
#![allow(clippy::expect_used)]

#[path = "../../storm-tokio/tests/processes/mod.rs"]
mod processes;

#[test]
fn signals_end_every_sample_with_1001() {
    processes::ends_gracefully("echo_smol", "/");
    processes::ends_gracefully("chat_smol", "/chat");
    processes::ends_a_stream_gracefully("tcp_echo_smol", "hello\n");
}

#[test]
fn every_sample_explains_itself() {
    for name in ["echo_smol", "tcp_echo_smol", "chat_smol"] {
        processes::explains_itself(name);
    }
}
