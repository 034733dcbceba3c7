//! An echo server: every message goes back to where it came from. This file is the same for
//! every runtime, but for the lines that name it.
//!
//!     cargo run --example echo_tokio [address]    # or echo_smol, or echo_std

#[path = "../../storm-tokio/examples/sample/mod.rs"]
mod sample;

use std::io::Result;
use std::process::ExitCode;

use storm_proto::WebSocket;
use storm_proto::service::{Server, Stopped};

fn main() -> ExitCode {
    sample::run("An echo server for WebSocket messages.", "127.0.0.1:8080", serve)
}

fn serve(address: &str) -> Result<Stopped> {
    let echo = Server::bind(address)
        .websocket(WebSocket::default())
        .on_message(|session, message| session.send(message));
    let echo = echo.runtime(storm_tokio::Tokio::default());
    let listening = format!("echo at ws://{address}/");
    tokio::runtime::Runtime::new()?.block_on(sample::serve(echo, listening))
}
