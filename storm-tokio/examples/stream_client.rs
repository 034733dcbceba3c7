//! Sends lines of the standard input to a WebSocket server and prints what comes back, over
//! a stream of its own.
//!
//!     cargo run -p storm-tokio --example stream_client ws://127.0.0.1:8080/echo

mod sample;

use std::error::Error;
use std::process::ExitCode;

use storm_tokio::{Offer, Options, Uri, WebSocketStream};
use tokio::io::{AsyncBufReadExt, BufReader, stdin};
use tokio::net::TcpStream;

fn main() -> ExitCode {
    let about = "Sends lines over a stream of its own, prints what comes back.";
    sample::run_client(about, "ws://127.0.0.1:8080/echo", |uri| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let talked = runtime.block_on(talk(uri));
        // Reading the terminal blocks a thread of its own: nobody waits for its next line.
        runtime.shutdown_background();
        talked
    })
}

async fn talk(uri: &str) -> Result<(), Box<dyn Error>> {
    let uri: Uri = uri.parse()?;
    // Any stream will do: this one, or one with TLS, or through a proxy.
    let stream = TcpStream::connect(uri.authority()).await?;
    let mut stream =
        WebSocketStream::connect(stream, &uri, &Offer::new(), Options::default()).await?;
    let mut lines = BufReader::new(stdin()).lines();
    loop {
        // The branch that is first drops the others; no message is lost by that.
        tokio::select! {
            message = stream.next() => match message {
                Some(message) => show(message?.as_text()),
                None => break,
            },
            line = lines.next_line() => match line? {
                Some(line) => stream.send(&line).await?,
                None => break,
            },
            () = sample::terminated() => break,
        }
    }
    stream.close().await?;
    println!("{}", stream.reason().map_or_else(String::new, ToString::to_string));
    Ok(())
}

fn show(text: Option<&str>) {
    println!("{}", text.unwrap_or("(not a text)"));
}
