//! The deadlines of a server, on the command line.

use std::time::Duration;

use clap::Args;
use storm_proto::service::{Handler, Runtime, Server};
use storm_proto::{Heartbeat, WebSocket};

/// In milliseconds, because tests do not wait for seconds; the defaults are those of Storm.
#[derive(Args)]
#[allow(clippy::struct_field_names)]
pub(crate) struct Deadlines {
    /// Milliseconds from accept to the end of the opening handshake.
    #[arg(long)]
    handshake_timeout: Option<u64>,
    /// Milliseconds without a message.
    #[arg(long)]
    idle_timeout: Option<u64>,
    /// Milliseconds in which the peer reads nothing while bytes wait.
    #[arg(long)]
    stall_timeout: Option<u64>,
    /// Milliseconds that a close may take.
    #[arg(long)]
    close_timeout: Option<u64>,
    /// Milliseconds between two Pings, of which one may be missed.
    #[arg(long)]
    heartbeat: Option<u64>,
}

impl Deadlines {
    pub(crate) fn set<R: Runtime, H: Handler>(&self, server: Server<R, H>) -> Server<R, H> {
        let set = |server: Server<R, H>, timeout: Option<u64>, set: Setter<R, H>| match timeout {
            Some(millis) => set(server, Duration::from_millis(millis)),
            None => server,
        };
        let server = set(server, self.handshake_timeout, Server::handshake_timeout);
        let server = set(server, self.idle_timeout, Server::idle_timeout);
        let server = set(server, self.stall_timeout, Server::stall_timeout);
        set(server, self.close_timeout, Server::close_timeout)
    }

    pub(crate) fn beat(&self, websocket: WebSocket) -> WebSocket {
        match self.heartbeat {
            Some(millis) => {
                websocket.heartbeat(Heartbeat::every(Duration::from_millis(millis)).missed(1))
            }
            None => websocket,
        }
    }
}

type Setter<R, H> = fn(Server<R, H>, Duration) -> Server<R, H>;
