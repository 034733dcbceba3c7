//! The chat of storm-tokio's example, on smol: the room is the same file.
//!
//!     cargo run --release -p storm-smol --example chat_smol [address]

#[path = "../../storm-tokio/examples/chat/room.rs"]
mod room;
#[path = "../../storm-tokio/examples/sample/mod.rs"]
mod sample;

use std::process::ExitCode;

use storm_smol::{Server, WebSocket};

fn main() -> ExitCode {
    sample::run("A chat server with its page.", "127.0.0.1:8080", |address| {
        smol::block_on(async {
            let chat = Server::bind(address).websocket(WebSocket::new().max_message(8 << 10));
            let running = chat.handler(room::Chat).start().await?;
            println!("open http://{} in two tabs", running.address());
            sample::terminated().await;
            Ok::<_, std::io::Error>(running.shutdown(sample::drain()).await)
        })
    })
}
