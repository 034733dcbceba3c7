//! A chat with rooms, names, whispers, a ticker and an administrator's console.
//!
//!     cargo run --release -p storm-tokio --example server [address]
//!     npx wscat -c ws://127.0.0.1:8080      # {"type":"list"}, or just talk
//!     curl http://127.0.0.1:8080/metrics

mod console;
mod guard;
mod hall;
mod protocol;
#[path = "../sample/mod.rs"]
mod sample;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use storm_tokio::{Server, SlowConsumer, Stopped, WebSocket};
use tokio::io::{AsyncBufReadExt, BufReader, stdin};
use tokio::time::interval;

use hall::Hall;

fn main() -> ExitCode {
    let about = "A chat with rooms, names, whispers, a ticker and an administrator's console.";
    sample::run(about, "127.0.0.1:8080", |address| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let served = runtime.block_on(serve(address));
        // Reading the terminal blocks a thread of its own: nobody waits for its next line.
        runtime.shutdown_background();
        served
    })
}

async fn serve(address: &str) -> std::io::Result<Stopped> {
    let websocket = WebSocket::new().max_message(1 << 10);
    // Whoever is too slow for a chat misses some of it.
    let server = Server::bind(address).websocket(websocket).slow_consumer(SlowConsumer::Drop);
    let hall = Arc::new(Hall::new(server.hub()));
    let server = server.middleware(guard::limit(&hall)).middleware(guard::Log);
    let running = server.handler(hall.clone()).start().await?;
    println!("chat at ws://{}\n{}", running.address(), console::HELP);

    let ticker = tokio::spawn(tick(hall.clone()));
    tokio::select! {
        () = administrate(&hall) => {}
        () = sample::terminated() => {}
    }
    ticker.abort();
    Ok(running.shutdown(sample::drain()).await)
}

/// Obeys the administrator until `/stop`. Without a terminal there is none: a service runs on.
async fn administrate(hall: &Hall) {
    let mut lines = BufReader::new(stdin()).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        let Some(answer) = console::obey(hall, &line) else { return };
        println!("{answer}");
    }
    std::future::pending().await
}

/// Each second: one message, and nobody waits for anybody.
async fn tick(hall: Arc<Hall>) {
    let mut seconds = interval(Duration::from_secs(1));
    for tick in 1.. {
        seconds.tick().await;
        hall.tick(tick);
    }
}
