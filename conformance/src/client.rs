//! `conformance client`: the client's side of Autobahn's protocol.

use std::io;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};

use clap::Args;
use conformance::adapter::Adapter;
use storm_proto::Message;
use storm_proto::service::{Client, ConnectError, HandlerResult, Session};
use storm_proto::tls::TlsClient;

use crate::echo::{Deflating, websocket};
use crate::{Job, Runtime, tls};

/// What the cases with the largest messages need.
const MAX_MESSAGE: usize = 64 << 20;

#[derive(Args)]
pub(crate) struct Options {
    #[arg(long, value_enum, default_value = "tokio")]
    runtime: Runtime,
    /// The fuzzing server.
    #[arg(long, default_value = "ws://127.0.0.1:9001")]
    url: String,
    /// The name in its report; each runtime adds its own.
    #[arg(long, default_value = "storm")]
    agent: String,
    /// For wss: take whatever certificate the fuzzing server shows.
    #[arg(long)]
    tls: bool,
    /// Offers to compress messages of all sizes.
    #[arg(long, value_enum, num_args = 0..=1, default_missing_value = "no-context")]
    deflate: Option<Deflating>,
}

pub(crate) fn run(options: &Options) -> io::Result<ExitCode> {
    options.runtime.run(1, options)?;
    Ok(ExitCode::SUCCESS)
}

impl Job for Options {
    fn run<A: Adapter>(&self, adapter: &A, name: &str) -> io::Result<()> {
        let base = self.url.trim_end_matches('/');
        let agent = format!("{}-{name}", self.agent);
        let tls = self.tls.then(tls::anybody).transpose()?;
        let cases = case_count(adapter, base, tls.as_ref())?;
        for case in 1..=cases {
            let address = format!("{base}/runCase?case={case}&agent={agent}");
            let echo = |session: &Session, message: Message<'_>| session.send(message);
            // A case may refuse the handshake; the report says what it makes of that.
            let _ = run_to_end(adapter, &address, tls.as_ref(), self.deflate, echo);
        }
        let address = format!("{base}/updateReports?agent={agent}");
        run_to_end(adapter, &address, tls.as_ref(), None, |_, _| {}).map_err(io::Error::other)
    }
}

/// Asks the server how many cases it has.
fn case_count<A: Adapter>(adapter: &A, base: &str, tls: Option<&TlsClient>) -> io::Result<usize> {
    let count = Arc::new(Mutex::new(String::new()));
    let received = count.clone();
    let take = move |_: &Session, message: Message<'_>| {
        let text = message.as_text().unwrap_or_default();
        received.lock().unwrap_or_else(PoisonError::into_inner).push_str(text);
    };
    let address = format!("{base}/getCaseCount");
    run_to_end(adapter, &address, tls, None, take).map_err(io::Error::other)?;
    let count = count.lock().unwrap_or_else(PoisonError::into_inner);
    count.trim().parse().map_err(io::Error::other)
}

/// Connects, and waits until the server has ended the session.
fn run_to_end<A: Adapter, R: HandlerResult>(
    adapter: &A,
    address: &str,
    tls: Option<&TlsClient>,
    deflate: Option<Deflating>,
    on_message: impl Fn(&Session, Message<'_>) -> R + Send + Sync + 'static,
) -> Result<(), ConnectError> {
    let client = Client::<A::Runtime>::new(address).runtime(adapter.runtime());
    let client = client.websocket(websocket(Some(MAX_MESSAGE), deflate)).on_message(on_message);
    let client = match tls {
        Some(tls) => client.tls(tls.clone()),
        None => client,
    };
    let session = adapter.wait(client.connect())?;
    adapter.block_on(session.closed());
    Ok(())
}
