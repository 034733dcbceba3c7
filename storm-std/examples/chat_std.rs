//! The chat of storm-tokio's example, on plain threads: the room is the same file.
//!
//!     cargo run --release -p storm-std --example chat_std [address]

#[path = "../../storm-tokio/examples/chat/room.rs"]
mod room;
#[path = "../../storm-tokio/examples/sample/mod.rs"]
mod sample;

use std::process::ExitCode;

use storm_std::{Server, Std, WebSocket};

fn main() -> ExitCode {
    sample::run("A chat server with its page.", "127.0.0.1:8080", |address| {
        let chat = Server::bind(address).websocket(WebSocket::new().max_message(8 << 10));
        let running = chat.handler(room::Chat).start()?;
        println!("open http://{} in two tabs", running.address());
        sample::terminated_on::<Std>();
        Ok::<_, std::io::Error>(running.shutdown(sample::drain()))
    })
}
