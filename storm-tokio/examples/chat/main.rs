//! A chat server and its page on one port: open it in two tabs and talk.
//!
//!     cargo run --release -p storm-tokio --example chat [address]

mod room;
#[path = "../sample/mod.rs"]
mod sample;

use std::process::ExitCode;

use storm_tokio::{Server, WebSocket};

fn main() -> ExitCode {
    sample::run("A chat server with its page.", "127.0.0.1:8080", |address| {
        tokio::runtime::Runtime::new()?.block_on(async {
            let chat = Server::bind(address).websocket(WebSocket::new().max_message(8 << 10));
            let running = chat.handler(room::Chat).start().await?;
            println!("open http://{} in two tabs", running.address());
            sample::terminated().await;
            Ok::<_, std::io::Error>(running.shutdown(sample::drain()).await)
        })
    })
}
