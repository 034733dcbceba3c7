//! A TCP echo that reports what happens: every byte goes back. This file is the same for
//! every runtime, but for the lines that name it.
//!
//!     cargo run --example tcp_echo_tokio [address]    # or tcp_echo_smol, or tcp_echo_std
//!     nc 127.0.0.1 5000

#[path = "../../storm-tokio/examples/sample/mod.rs"]
mod sample;

use std::io::Result;
use std::process::ExitCode;
use std::time::Duration;

use storm_proto::Rate;
use storm_proto::framing::Raw;
use storm_proto::service::{KeepAlive, RateLimit, Server, SocketOptions, Stopped};

fn main() -> ExitCode {
    sample::run("An echo server for plain TCP.", "127.0.0.1:5000", serve)
}

fn serve(address: &str) -> Result<Stopped> {
    // A peer that vanished without a word is found after three and a half minutes.
    let probes =
        KeepAlive::new().idle(Duration::from_secs(120)).interval(Duration::from_secs(30)).count(3);
    let limit = RateLimit::new()
        .messages(Rate::per(100, Duration::from_secs(10)))
        .on_exceeded(|session| println!("[{}] rate limit exceeded", session.id()));
    let echo = Server::bind(address)
        .framed(Raw)
        .socket(SocketOptions::new().keep_alive(Some(probes)))
        .middleware(limit)
        .on_connected(|session| println!("[{}] {} connected", session.id(), session.peer()))
        .on_message(|session, message| {
            println!("[{}] {} bytes", session.id(), message.len());
            session.send(message)
        })
        .on_disconnected(|session, reason| {
            let (id, metrics) = (session.id(), session.metrics());
            let (sent, received) = (metrics.bytes_sent, metrics.bytes_received);
            println!("[{id}] {reason}; {sent} bytes sent, {received} received");
        })
        .on_error(|context, error| println!("{context}: {error}"));
    let echo = echo.runtime(storm_tokio::Tokio::default());
    let listening = format!("echo at {address}");
    tokio::runtime::Runtime::new()?.block_on(sample::serve(echo, listening))
}
