//! A chat with rooms, names, whispers, a ticker and an administrator's console.
//!
//!     cargo run --release -p storm-tokio --example server [address]
//!     npx wscat -c ws://127.0.0.1:8080      # {"type":"list"}, or just talk
//!     curl http://127.0.0.1:8080/metrics

mod console;
mod guard;
mod hall;
mod protocol;

use std::sync::Arc;
use std::time::Duration;

use storm_tokio::{Server, SlowConsumer, WebSocket};
use tokio::io::{AsyncBufReadExt, BufReader, stdin};
use tokio::time::interval;

use hall::Hall;

#[tokio::main(flavor = "current_thread")]
async fn main() -> std::io::Result<()> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8080".into());
    let websocket = WebSocket::new().max_message(1 << 10);
    // Whoever is too slow for a chat misses some of it.
    let server = Server::bind(address).websocket(websocket).slow_consumer(SlowConsumer::Drop);
    let hall = Arc::new(Hall::new(server.hub()));
    let server = server.middleware(guard::limit(&hall)).middleware(guard::Log);
    let running = server.handler(hall.clone()).start().await?;
    println!("chat at ws://{}\n{}", running.address(), console::HELP);

    let ticker = tokio::spawn(tick(hall.clone()));
    let mut lines = BufReader::new(stdin()).lines();
    while let Some(line) = lines.next_line().await? {
        let Some(answer) = console::obey(&hall, &line) else { break };
        println!("{answer}");
    }
    ticker.abort();
    println!("{:?}", running.stop(Duration::from_secs(5)).await);
    Ok(())
}

/// Each second: one message, and nobody waits for anybody.
async fn tick(hall: Arc<Hall>) {
    let mut seconds = interval(Duration::from_secs(1));
    for tick in 1.. {
        seconds.tick().await;
        hall.tick(tick);
    }
}
