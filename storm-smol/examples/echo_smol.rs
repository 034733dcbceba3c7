//! An echo server: every message goes back to where it came from. This file is the same for
//! every runtime, but for the line that names it.
//!
//!     cargo run --example echo_tokio [address]    # or echo_smol, or echo_std

use storm_proto::WebSocket;
use storm_proto::service::Server;

fn main() -> std::io::Result<()> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8080".into());
    println!("echo at ws://{address}/");
    let echo = Server::bind(address)
        .websocket(WebSocket::default())
        .on_message(|session, message| session.send(message));
    smol::block_on(echo.runtime(storm_smol::Smol::default()).serve())
}
