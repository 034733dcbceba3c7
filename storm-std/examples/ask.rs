//! Sends the lines of the standard input to a server and prints what it answers: on plain
//! threads, without a handler.
//!
//!     cargo run -p storm-std --example ask [ws://127.0.0.1:8080]

#[path = "../../storm-tokio/examples/sample/mod.rs"]
mod sample;

use std::error::Error;
use std::io::stdin;
use std::process::ExitCode;

use storm_std::{Client, Session, Std};

fn main() -> ExitCode {
    sample::run_client("Sends lines, prints responses.", "ws://127.0.0.1:8080", ask)
}

fn ask(address: &str) -> Result<(), Box<dyn Error>> {
    let mut inbox = Client::new(address).open()?;
    let session = inbox.session().clone();
    // The main thread waits for the terminal, which no signal ends.
    std::thread::spawn(move || {
        sample::terminated_on::<Std>();
        close(&session);
        std::process::exit(0);
    });
    for line in stdin().lines() {
        // Blocks while the outbox is full.
        inbox.session().send_blocking(&line?)?;
        // Blocks until there is a response. Pings are answered meanwhile, by another thread.
        let Some(response) = inbox.next()? else { break };
        println!("{}", response.as_text().unwrap_or("(not a text)"));
    }
    close(inbox.session());
    Ok(())
}

/// Closes gracefully, and prints how the session ended.
fn close(session: &Session) {
    session.close();
    println!("{}", session.closed_blocking());
}
