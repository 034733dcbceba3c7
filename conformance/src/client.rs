//! `conformance client`: the client's side of Autobahn's protocol.

use std::io;
use std::process::ExitCode;
use std::sync::{Arc, Mutex};

use clap::Args;
use storm_tokio::{Client, Message, Session};

use crate::Runtime;
use crate::echo::{Deflating, tokio_runtime, websocket};

/// What the cases with the largest messages need.
const MAX_MESSAGE: usize = 64 << 20;

#[derive(Args)]
pub(crate) struct Options {
    #[arg(long, value_enum, default_value = "tokio")]
    runtime: Runtime,
    /// The fuzzing server.
    #[arg(long, default_value = "ws://127.0.0.1:9001")]
    url: String,
    /// The name in its report.
    #[arg(long, default_value = "storm")]
    agent: String,
    /// Offers to compress messages of all sizes.
    #[arg(long, value_enum, num_args = 0..=1, default_missing_value = "no-context")]
    deflate: Option<Deflating>,
}

pub(crate) fn run(options: &Options) -> io::Result<ExitCode> {
    match options.runtime {
        Runtime::Tokio => {
            tokio_runtime(1)?.block_on(on_tokio(options)).map_err(io::Error::other)?
        }
    }
    Ok(ExitCode::SUCCESS)
}

type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

async fn on_tokio(options: &Options) -> Result<()> {
    let base = options.url.trim_end_matches('/');
    let deflate = options.deflate;
    let cases = case_count(base).await?;
    for case in 1..=cases {
        let address = format!("{base}/runCase?case={case}&agent={}", options.agent);
        let echo = |session: &Session, message: Message<'_>| session.send(message);
        // A case may refuse the handshake; the report says what it makes of that.
        if let Ok(session) = connect(&address, deflate, echo).await {
            session.closed().await;
        }
    }
    let address = format!("{base}/updateReports?agent={}", options.agent);
    connect(&address, None, |_, _| {}).await?.closed().await;
    Ok(())
}

/// Asks the server how many cases it has.
async fn case_count(base: &str) -> Result<usize> {
    let count = Arc::new(Mutex::new(String::new()));
    let received = count.clone();
    let take = move |_: &Session, message: Message<'_>| {
        let text = message.as_text().unwrap_or_default();
        received.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push_str(text);
    };
    connect(&format!("{base}/getCaseCount"), None, take).await?.closed().await;
    let count = count.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    Ok(count.trim().parse()?)
}

async fn connect<R: 'static>(
    address: &str,
    deflate: Option<Deflating>,
    on_message: impl Fn(&Session, Message<'_>) -> R + Send + Sync + 'static,
) -> Result<Session> {
    let client = Client::new(address).websocket(websocket(Some(MAX_MESSAGE), deflate));
    Ok(client.on_message(on_message).connect().await?)
}
