//! A TCP echo that says what happens: whatever comes goes back. This file is the same for
//! every runtime, but for the line that names it.
//!
//!     cargo run --example tcp_echo_tokio [address]    # or tcp_echo_smol, or tcp_echo_std
//!     nc 127.0.0.1 5000

use std::time::Duration;

use storm_proto::Rate;
use storm_proto::framing::Raw;
use storm_proto::service::{KeepAlive, RateLimit, Server, SocketOptions};

fn main() -> std::io::Result<()> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:5000".into());
    println!("echo at {address}");
    // A peer that vanished without a word is found after three and a half minutes.
    let probes =
        KeepAlive::new().idle(Duration::from_secs(120)).interval(Duration::from_secs(30)).count(3);
    let limit = RateLimit::new()
        .messages(Rate::per_second(10).burst(100))
        .on_exceeded(|session| println!("[{}] rate limit exceeded", session.id()));
    let echo = Server::bind(address)
        .framed(Raw)
        .socket(SocketOptions::new().keep_alive(Some(probes)))
        .middleware(limit)
        .on_connected(|session| println!("[{}] {} is here", session.id(), session.peer()))
        .on_message(|session, message| {
            println!("[{}] {} bytes", session.id(), message.len());
            session.send(message)
        })
        .on_disconnected(|session, reason| {
            let (id, metrics) = (session.id(), session.metrics());
            let (sent, received) = (metrics.bytes_sent, metrics.bytes_received);
            println!("[{id}] {reason}; {sent} bytes sent, {received} received");
        })
        .on_error(|session, error| println!("{session:?}: {error}"));
    tokio::runtime::Runtime::new()?.block_on(echo.runtime(storm_tokio::Tokio).serve())
}
