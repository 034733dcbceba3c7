//! Sends the lines of the standard input to a server and prints what it answers: on plain
//! threads, without a handler.
//!
//!     cargo run -p storm-std --example ask [ws://127.0.0.1:8080]

use std::error::Error;
use std::io::stdin;

use storm_std::Client;

fn main() -> Result<(), Box<dyn Error>> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "ws://127.0.0.1:8080".into());
    let mut inbox = Client::new(address).open()?;
    for line in stdin().lines() {
        // Blocks while the outbox is full.
        inbox.session().send_blocking(&line?)?;
        // Blocks until there is an answer. Pings are answered meanwhile, by another thread.
        let Some(answer) = inbox.next()? else { break };
        println!("{}", answer.as_text().unwrap_or("(not a text)"));
    }
    inbox.session().close();
    println!("{}", inbox.session().closed_blocking());
    Ok(())
}
