//! `conformance echo`: a server that sends every message back with its own kind.

use std::io::{self, Write};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};
use conformance::adapter::Adapter;
use storm_proto::framing::{Delimiter, LengthPrefix};
use storm_proto::service::{Handler, Server, Session};
use storm_proto::websocket::Deflate;
use storm_proto::{Message, SendError, WebSocket};
use tokio::sync::Notify;

use crate::deadlines::Deadlines;
use crate::{Job, Runtime, tls};

/// How long sessions may take to end after a signal.
const GRACE: Duration = Duration::from_secs(5);

/// Those who hear what is broadcast.
const GROUP: &str = "members";

#[derive(Args)]
pub(crate) struct Options {
    #[arg(long, value_enum, default_value = "tokio")]
    runtime: Runtime,
    /// Where to listen; port 0 lets the system choose.
    #[arg(long, default_value = "127.0.0.1:9001")]
    listen: String,
    #[arg(long, value_enum, default_value = "ws")]
    protocol: Protocol,
    /// Worker threads; 1 is a current-thread runtime. async-std and std choose themselves.
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// The longest message in bytes.
    #[arg(long)]
    max_message: Option<usize>,
    #[command(flatten)]
    deadlines: Deadlines,
    /// Prints how sessions end; one is closed when it says `close`.
    #[arg(long)]
    ends: bool,
    #[command(flatten)]
    tls: tls::ServerOptions,
    /// Compresses messages of all sizes, if the client offers it.
    #[arg(long, value_enum, num_args = 0..=1, default_missing_value = "no-context")]
    deflate: Option<Deflating>,
    /// Sends every message to all clients that have sent "join" as well.
    #[arg(long)]
    broadcast: bool,
    /// Keeps the worker for this many microseconds with each message.
    #[arg(long, default_value_t = 0)]
    spin: u64,
}

/// How messages are compressed.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Deflating {
    /// As both sides like, in the terms that are offered by default
    Default,
    /// Each by itself
    NoContext,
    /// Each in the context of those before, unless the other side wants none
    Context,
}

impl Deflating {
    pub(crate) fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }

    fn settings(self) -> Deflate {
        let deflate = Deflate::new().threshold(0);
        let takeover =
            |alone| deflate.server_no_context_takeover(alone).client_no_context_takeover(alone);
        match self {
            Deflating::Default => deflate,
            Deflating::NoContext => takeover(true),
            Deflating::Context => takeover(false),
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Protocol {
    /// WebSocket
    Ws,
    /// Raw TCP: chunks as they arrive
    Tcp,
    /// TCP with lines
    Lines,
    /// TCP with a 4-byte length before each message
    Length,
}

impl Protocol {
    fn scheme(self, tls: bool) -> &'static str {
        match (self, tls) {
            (Protocol::Ws, false) => "ws",
            (Protocol::Ws, true) => "wss",
            (_, false) => "tcp",
            (_, true) => "tls",
        }
    }
}

pub(crate) fn run(options: &Options) -> io::Result<ExitCode> {
    if options.runtime == Runtime::All {
        return Err(io::Error::other("an echo server runs on one runtime"));
    }
    ctrlc::set_handler(|| INTERRUPTED.notify_one()).map_err(io::Error::other)?;
    options.runtime.run(options.threads, options)?;
    Ok(ExitCode::SUCCESS)
}

/// Told by SIGINT and SIGTERM.
static INTERRUPTED: Notify = Notify::const_new();

impl Job for Options {
    fn run<A: Adapter>(&self, adapter: &A, _: &str) -> io::Result<()> {
        let server = Server::<A::Runtime>::bind(&self.listen).runtime(adapter.runtime());
        let server = match self.protocol {
            Protocol::Ws => {
                let websocket = websocket(self.max_message, self.deflate);
                server.websocket(self.deadlines.beat(websocket))
            }
            Protocol::Tcp => server,
            Protocol::Lines => server.framed(match self.max_message {
                Some(bytes) => Delimiter::lines().limit(bytes),
                None => Delimiter::lines(),
            }),
            Protocol::Length => server.framed(match self.max_message {
                Some(bytes) => LengthPrefix::new().limit(bytes),
                None => LengthPrefix::new(),
            }),
        };
        let tls = self.tls.build()?;
        let scheme = self.protocol.scheme(tls.is_some());
        let server = match tls {
            Some(tls) => server.tls(tls),
            None => server,
        };
        let server = self.deadlines.set(server);
        let spin = Duration::from_micros(self.spin);
        if self.broadcast {
            return serve(adapter, scheme, server.on_message(broadcast));
        }
        if !spin.is_zero() {
            let slow = server.on_message(move |session, message| {
                let begun = Instant::now();
                while begun.elapsed() < spin {}
                session.send(message)
            });
            return serve(adapter, scheme, slow);
        }
        if self.ends {
            let server = server.on_message(|session, message| {
                if message.as_bytes() == b"close" {
                    session.close();
                    return Ok(());
                }
                session.send(message)
            });
            let server = server.on_disconnected(|_, reason| {
                let _ = say(&format!("ended: {reason}, clean: {}", reason.clean));
            });
            return serve(adapter, scheme, server);
        }
        // What benchmarks measure: nothing else is asked with each message.
        let server = server.on_message(|session, message| session.send(message));
        serve(adapter, scheme, server)
    }
}

/// Runs a server until a signal ends it.
fn serve<A: Adapter, H: Handler>(
    adapter: &A,
    scheme: &str,
    server: Server<A::Runtime, H>,
) -> io::Result<()> {
    let running = adapter.wait(server.start())?;
    say(&format!("listening on {scheme}://{}", running.address()))?;
    adapter.block_on(INTERRUPTED.notified());
    adapter.wait(running.stop(GRACE));
    Ok(())
}

fn broadcast(session: &Session, message: Message<'_>) -> Result<(), SendError> {
    if message.as_bytes() == b"join" {
        let _ = session.join(GROUP);
    } else {
        let _ = session.others_in(GROUP).send(message);
    }
    session.send(message)
}

pub(crate) fn websocket(max_message: Option<usize>, deflate: Option<Deflating>) -> WebSocket {
    let mut websocket = WebSocket::new();
    if let Some(bytes) = max_message {
        websocket = websocket.max_message(bytes);
    }
    match deflate {
        Some(deflating) => websocket.deflate(deflating.settings()),
        None => websocket,
    }
}

/// Prints one line, at once.
pub(crate) fn say(line: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()
}
