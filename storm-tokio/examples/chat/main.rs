//! A chat server and its page on one port: open it in two tabs and talk.
//!
//!     cargo run --release -p storm-tokio --example chat [address]

mod room;

use storm_tokio::{Server, WebSocket};

#[tokio::main(flavor = "current_thread")]
async fn main() -> std::io::Result<()> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8080".into());
    let chat = Server::bind(address).websocket(WebSocket::new().max_message(8 << 10));
    let running = chat.handler(room::Chat).start().await?;
    println!("open http://{} in two tabs", running.address());
    std::future::pending().await
}
