//! The samples on tokio, as processes.
#![cfg(target_os = "linux")]
#![allow(clippy::expect_used)]

mod processes;

use std::io::Read;

use processes::Sample;

#[test]
fn signals_end_every_sample_with_1001() {
    for (name, path) in [("echo_tokio", "/"), ("chat", "/chat"), ("server", "/"), ("axum", "/echo")]
    {
        processes::ends_gracefully(name, path);
    }
}

#[test]
fn signals_end_samples_of_plain_tcp_gracefully() {
    for name in ["tcp_echo_tokio", "rooms"] {
        processes::ends_a_stream_gracefully(name, "/help\n");
    }
}

#[test]
fn every_sample_explains_itself() {
    for name in ["echo_tokio", "tcp_echo_tokio", "chat", "server", "rooms", "axum"] {
        processes::explains_itself(name);
    }
    let name = "stream_client";
    let failed = processes::run(name, &["ws://127.0.0.1:1/echo"]);
    let text = String::from_utf8_lossy(&failed.stderr).into_owned();
    assert!(text.starts_with("stream_client: ws://127.0.0.1:1/echo: "), "{text}");
}

#[test]
fn a_server_without_a_terminal_runs_and_answers_health_checks() {
    let sample = Sample::start("server");
    let (mut stream, head) = sample.request("/metrics", "");
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    stream.read_to_end(&mut Vec::new()).expect("an end, and no reset");
    drop(stream);
    sample.signal("TERM");
    let printed = sample.ended();
    assert!(!printed.contains("failed"), "a health check is no failure: {printed}");
}

#[test]
fn the_chat_answers_for_its_icon() {
    let sample = Sample::start("chat");
    let (_, head) = sample.request("/favicon.ico", "");
    assert!(head.starts_with("HTTP/1.1 204"), "{head}");
    let (_, head) = sample.request("/chat", "");
    assert!(head.starts_with("HTTP/1.1 404"), "{head}");
}
