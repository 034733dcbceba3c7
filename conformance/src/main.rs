//! `conformance`: echo servers, Autobahn clients, and the Autobahn run itself.
#![forbid(unsafe_code)]

mod autobahn;
mod client;
mod echo;

use std::process::ExitCode;

use clap::{Parser, ValueEnum};

/// Proves Storm against the outside world.
#[derive(Parser)]
#[command(version)]
enum Command {
    /// Serves an echo: every message comes back with its own kind.
    Echo(echo::Options),
    /// Runs the cases of an Autobahn fuzzing server.
    Client(client::Options),
    /// Runs the Autobahn cases against both roles and judges them.
    Autobahn(autobahn::Options),
}

/// Which adapter runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum Runtime {
    /// storm-tokio
    Tokio,
}

impl Runtime {
    fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }
}

fn main() -> ExitCode {
    let result = match Command::parse() {
        Command::Echo(options) => echo::run(&options),
        Command::Client(options) => client::run(&options),
        Command::Autobahn(options) => autobahn::run(&options),
    };
    match result {
        Ok(code) => code,
        Err(error) => {
            eprintln!("conformance: {error}");
            ExitCode::from(2)
        }
    }
}
