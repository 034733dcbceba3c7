//! The chat of storm-tokio's example, on smol: the room is the same file.
//!
//!     cargo run --release -p storm-smol --example chat_smol [address]

#[path = "../../storm-tokio/examples/chat/room.rs"]
mod room;

use storm_smol::{Server, WebSocket};

fn main() -> std::io::Result<()> {
    smol::block_on(async {
        let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8080".into());
        let chat = Server::bind(address).websocket(WebSocket::new().max_message(8 << 10));
        let running = chat.handler(room::Chat).start().await?;
        println!("open http://{} in two tabs", running.address());
        std::future::pending().await
    })
}
