//! `conformance`: echo servers, Autobahn clients, and the Autobahn run itself.
#![forbid(unsafe_code)]

mod autobahn;
mod client;
mod deadlines;
mod echo;
mod fairness;
mod talk;
mod tls;

use std::io;
use std::process::ExitCode;

use clap::{Parser, ValueEnum};
use conformance::adapter::{Adapter, OnAsyncStd, OnSmol, OnStd, OnTokio};

/// Proves Storm against the outside world.
#[derive(Parser)]
#[command(version)]
enum Command {
    /// Serves an echo: every message comes back with its own kind.
    Echo(echo::Options),
    /// Runs the cases of an Autobahn fuzzing server.
    Client(client::Options),
    /// Connects, sends a line of text, prints the first answer, and closes.
    Talk(talk::Options),
    /// Runs the Autobahn cases against both roles and judges them.
    Autobahn(autobahn::Options),
    /// Measures what servers spend before they answer one client while others flood them.
    Fairness(fairness::Options),
}

/// Which adapter runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum Runtime {
    /// storm-tokio
    Tokio,
    /// storm-smol on smol
    Smol,
    /// storm-smol on async-std
    AsyncStd,
    /// storm-std
    Std,
    /// One after the other, where that can be done
    All,
}

/// Something to be done on any runtime.
trait Job {
    fn run<A: Adapter>(&self, adapter: &A, name: &str) -> io::Result<()>;
}

impl Runtime {
    fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }

    /// Those that it stands for.
    fn each(self) -> Vec<Runtime> {
        match self {
            Runtime::All => vec![Runtime::Tokio, Runtime::Smol, Runtime::AsyncStd, Runtime::Std],
            one => vec![one],
        }
    }

    /// Does a job on each.
    fn run(self, threads: usize, job: &impl Job) -> io::Result<()> {
        for runtime in self.each() {
            let name = runtime.name();
            match runtime {
                Runtime::Tokio => job.run(&OnTokio::new(threads)?, &name)?,
                Runtime::Smol => job.run(&OnSmol::new(threads)?, &name)?,
                Runtime::AsyncStd => job.run(&OnAsyncStd, &name)?,
                Runtime::Std | Runtime::All => job.run(&OnStd, &name)?,
            }
        }
        Ok(())
    }
}

fn main() -> ExitCode {
    let result = match Command::parse() {
        Command::Echo(options) => echo::run(&options),
        Command::Client(options) => client::run(&options),
        Command::Talk(options) => talk::run(&options),
        Command::Autobahn(options) => autobahn::run(&options),
        Command::Fairness(options) => fairness::run(&options),
    };
    match result {
        Ok(code) => code,
        Err(error) => {
            eprintln!("conformance: {error}");
            ExitCode::from(2)
        }
    }
}
