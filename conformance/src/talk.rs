//! `conformance talk`: messages there, as many back.

use std::io;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use clap::Args;
use conformance::adapter::Adapter;
use storm_proto::Message;
use storm_proto::framing::Delimiter;
use storm_proto::service::{Client, Session};

use crate::echo::{Deflating, say, websocket};
use crate::{Job, Runtime, tls};

#[derive(Args)]
pub(crate) struct Options {
    #[arg(long, value_enum, default_value = "tokio")]
    runtime: Runtime,
    /// The server: ws, wss, or lines over tcp or tls.
    #[arg(long)]
    url: String,
    /// What to send.
    #[arg(long, default_value = "hello")]
    send: String,
    /// Milliseconds that a connection attempt may take.
    #[arg(long)]
    connect_timeout: Option<u64>,
    /// How often to send it; the session is closed with the answer to the last one.
    #[arg(long, default_value_t = 1)]
    times: u32,
    #[command(flatten)]
    tls: tls::ClientOptions,
    /// Offers to compress.
    #[arg(long, value_enum, num_args = 0..=1, default_missing_value = "no-context")]
    deflate: Option<Deflating>,
}

pub(crate) fn run(options: &Options) -> io::Result<ExitCode> {
    options.runtime.run(1, options)?;
    Ok(ExitCode::SUCCESS)
}

impl Job for Options {
    fn run<A: Adapter>(&self, adapter: &A, _: &str) -> io::Result<()> {
        let client = Client::<A::Runtime>::new(&self.url).runtime(adapter.runtime());
        let client = match self.tls.build()? {
            Some(tls) => client.tls(tls),
            None => client,
        };
        // An option that has no meaning for an address is an error.
        let client = match self.url.starts_with("ws") {
            true => client.websocket(websocket(None, self.deflate)),
            false => client.framed(Delimiter::lines()),
        };
        let client = match self.connect_timeout {
            Some(millis) => client.connect_timeout(Duration::from_millis(millis)),
            None => client,
        };
        let missing = AtomicU32::new(self.times);
        let client = client.on_message(move |session: &Session, message: Message<'_>| {
            let _ = say(&format!("answer {}", String::from_utf8_lossy(message.as_bytes())));
            if missing.fetch_sub(1, Ordering::Relaxed) == 1 {
                session.close();
            }
        });
        let session = adapter.wait(client.connect()).map_err(io::Error::other)?;
        if let Some(facts) = session.tls() {
            say(&format!("tls {:?} {}", facts.version, facts.cipher_suite))?;
        }
        for _ in 0..self.times {
            session.send(self.send.as_str()).map_err(io::Error::other)?;
        }
        let reason = adapter.block_on(session.closed());
        say(&format!("{reason}, clean: {}", reason.clean))
    }
}
