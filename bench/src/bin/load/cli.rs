//! What the command line says: which scenarios, for how long, against which servers.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, ValueEnum};

/// Loads echo servers in turns and prints what a message costs them.
#[derive(Parser)]
pub struct Options {
    /// What to measure; several with commas. One table each.
    #[arg(long, value_enum, required = true, value_delimiter = ',')]
    pub scenario: Vec<Kind>,

    /// How often each server has its turn (A B A B ...); figures are medians over the rounds.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    pub rounds: u32,

    /// Length of the measured part of a turn.
    #[arg(long, default_value = "2", value_parser = parse_seconds)]
    pub seconds: Duration,

    /// A server; the first is what the others are compared to. PROTOCOL is tcp or ws, and COMMAND
    /// prints `listening on <scheme>://<address>` when it is ready.
    #[arg(long = "server", value_name = "NAME=PROTOCOL=COMMAND", value_parser = ServerSpec::parse)]
    #[arg(required = true, num_args = 1..)]
    pub servers: Vec<ServerSpec>,

    /// Connections, instead of the scenario's own number.
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..))]
    pub connections: Option<u16>,

    /// The cpu the servers are pinned to.
    #[arg(long, default_value_t = 0)]
    pub server_cpu: u32,

    /// The cpu that generates the load.
    #[arg(long, default_value_t = 1)]
    pub load_cpu: u32,

    /// Also write every round's figures here.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
}

fn parse_seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().map_err(|_| "not a number".to_owned())?;
    Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())
}

/// The scenarios by name.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    /// 100 connections, 1000 messages of 32 bytes in flight on each.
    Pipeline,
    /// 100 connections, 16 messages of 32 bytes in flight on each: shows when a server flushes.
    Sixteen,
    /// 100 connections, one message of 32 bytes in flight on each, with latency.
    Pingpong,
    /// 10 connections, 4 messages of 64 KiB in flight on each.
    Large,
    /// 10,000 open connections: memory of the server.
    Idle,
}

/// The numbers behind a scenario's name.
pub struct Scenario {
    pub kind: Kind,
    pub name: &'static str,
    pub connections: usize,
    /// Messages in flight per connection.
    pub window: usize,
    pub message_bytes: usize,
}

impl Scenario {
    pub fn new(kind: Kind, connections: Option<u16>) -> Self {
        let (name, default, window, message_bytes) = match kind {
            Kind::Pipeline => ("pipeline", 100, 1000, 32),
            Kind::Sixteen => ("sixteen", 100, 16, 32),
            Kind::Pingpong => ("pingpong", 100, 1, 32),
            Kind::Large => ("large", 10, 4, 64 << 10),
            Kind::Idle => ("idle", 10_000, 1, 32),
        };
        let connections = usize::from(connections.unwrap_or(default));
        Self { kind, name, connections, window, message_bytes }
    }
}

/// What is spoken on the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// The bytes of the messages and nothing else.
    Tcp,
    /// Each message is one binary WebSocket message.
    WebSocket,
}

impl Protocol {
    pub fn scheme(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::WebSocket => "ws",
        }
    }
}

/// One server under test.
#[derive(Clone, Debug)]
pub struct ServerSpec {
    pub name: String,
    pub protocol: Protocol,
    pub command: Vec<String>,
}

impl ServerSpec {
    fn parse(text: &str) -> Result<Self, String> {
        let mut parts = text.splitn(3, '=');
        let (Some(name), Some(protocol), Some(command)) =
            (parts.next(), parts.next(), parts.next())
        else {
            return Err("expected NAME=PROTOCOL=COMMAND".to_owned());
        };
        let protocol = match protocol {
            "tcp" => Protocol::Tcp,
            "ws" => Protocol::WebSocket,
            other => return Err(format!("the protocol is tcp or ws, not {other:?}")),
        };
        let command = shell_words::split(command).map_err(|error| error.to_string())?;
        if name.is_empty() || command.is_empty() {
            return Err("name and command must not be empty".to_owned());
        }
        Ok(Self { name: name.to_owned(), protocol, command })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_a_name_a_protocol_and_a_command_with_its_own_equals_signs() {
        let spec =
            ServerSpec::parse("storm=ws=./echo --listen='127.0.0.1:0' --name=\"a b\"").unwrap();
        assert_eq!((spec.name.as_str(), spec.protocol), ("storm", Protocol::WebSocket));
        assert_eq!(spec.command, ["./echo", "--listen=127.0.0.1:0", "--name=a b"]);
        for wrong in ["", "a", "a=tcp", "a=udp=x", "=tcp=x", "a=tcp=", "a=tcp='"] {
            assert!(ServerSpec::parse(wrong).is_err(), "{wrong:?}");
        }
    }
}
