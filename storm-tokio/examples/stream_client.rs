//! Sends lines of the standard input to a WebSocket server and prints what comes back, over
//! a stream of its own.
//!
//!     cargo run -p storm-tokio --example stream_client ws://127.0.0.1:8080/echo

use std::error::Error;

use storm_tokio::{Offer, Options, Uri, WebSocketStream};
use tokio::io::{AsyncBufReadExt, BufReader, stdin};
use tokio::net::TcpStream;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let uri = std::env::args().nth(1).unwrap_or_else(|| "ws://127.0.0.1:8080/echo".into());
    let uri: Uri = uri.parse()?;
    // Any stream will do: this one, or one with TLS, or through a proxy.
    let stream = TcpStream::connect(uri.authority()).await?;
    let mut stream =
        WebSocketStream::connect(stream, &uri, &Offer::new(), Options::default()).await?;
    let mut lines = BufReader::new(stdin()).lines();
    loop {
        // Whichever is first drops the other, and nothing is lost by that.
        tokio::select! {
            message = stream.next() => match message {
                Some(message) => println!("{:?}", message?),
                None => break,
            },
            line = lines.next_line() => match line? {
                Some(line) => stream.send(&line).await?,
                None => break,
            },
        }
    }
    stream.close().await?;
    println!("{}", stream.reason().map_or_else(String::new, ToString::to_string));
    Ok(())
}
