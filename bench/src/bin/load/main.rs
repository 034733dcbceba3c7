//! Starts echo servers in turns, loads each over loopback, checks every byte that comes back, and
//! prints what a message (or an idle connection) cost each of them. README.md tells the method and
//! its limits.

#![forbid(unsafe_code)]

mod cli;
mod connect;
mod drive;
mod idle;
mod report;
mod server;
mod traffic;
mod websocket;

use std::fs;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;
use serde_json::{Value, json};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

use cli::{Kind, Options, Scenario};
use report::Results;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("load: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<()> {
    for signal in [SIGINT, SIGTERM] {
        // Seen at the next turn of the loop, so that the server under test is ended as well.
        flag::register(signal, Arc::clone(&connect::STOP))?;
    }
    let pinned = options.server_cpu != options.load_cpu && server::pin_self(options.load_cpu);
    let mut scenarios = Vec::new();
    for kind in &options.scenario {
        let scenario = Scenario::new(*kind, options.connections);
        print_heading(&scenario, options, pinned);
        let results = measure(&scenario, options, pinned)?;
        println!("{}", report::table(&scenario, &results));
        scenarios.push(report::json(&scenario, &results));
    }
    if let Some(file) = &options.json {
        let all = json!({
            "rounds": options.rounds,
            "seconds": options.seconds.as_secs_f64(),
            "pinned": pinned,
            "scenarios": Value::Array(scenarios),
        });
        fs::write(file, format!("{all:#}\n"))?;
    }
    Ok(())
}

/// All rounds of one scenario: A B A B ..., never A A B B, so that a slow minute of the machine
/// hits everybody.
fn measure<'a>(
    scenario: &Scenario,
    options: &'a Options,
    pinned: bool,
) -> Result<Vec<Results<'a>>> {
    let cpu = pinned.then_some(options.server_cpu);
    let mut results: Vec<Results<'a>> =
        options.servers.iter().map(|spec| Results { spec, samples: Vec::new() }).collect();
    for round in 1..=options.rounds {
        for result in &mut results {
            let sample = match scenario.kind {
                Kind::Idle => idle::run(scenario, result.spec, cpu),
                _ => drive::run(scenario, result.spec, options.seconds, cpu),
            };
            let sample = sample
                .map_err(|error| format!("{}, {}: {error}", scenario.name, result.spec.name))?;
            eprintln!(
                "{} round {round} {}: {} {:.1}",
                scenario.name, result.spec.name, sample[0].0, sample[0].1
            );
            result.samples.push(sample);
        }
    }
    Ok(results)
}

fn print_heading(scenario: &Scenario, options: &Options, pinned: bool) {
    let Scenario { name, connections, window, message_bytes, .. } = scenario;
    let (rounds, seconds) = (options.rounds, options.seconds.as_secs_f64());
    println!("### {name}\n");
    match scenario.kind {
        Kind::Idle => println!("{connections} connections, {rounds} rounds."),
        _ => println!(
            "{connections} connections with {window} x {message_bytes} B in flight, \
             {rounds} rounds of {seconds} s."
        ),
    }
    if pinned {
        println!("Server on cpu {}, load on cpu {}.\n", options.server_cpu, options.load_cpu);
    } else {
        println!(
            "NOT PINNED (needs taskset and two cpus): server and load move and may share a cpu.\n"
        );
    }
}
