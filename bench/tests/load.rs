//! Runs the load generator against the baseline, for a moment each: that it counts, reports, and
//! leaves with the right exit code. What it measures here means nothing.

#![forbid(unsafe_code)]

use std::process::{Command, Output};

fn load(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_load")).args(arguments).output().unwrap()
}

#[test]
fn every_scenario_gives_a_table() {
    let server = format!("raw=tcp='{}' --idle-buffer 1000", env!("CARGO_BIN_EXE_raw-echo"));
    let scenarios = "pipeline,sixteen,pingpong,large,idle";
    let short = ["--rounds", "1", "--seconds", "0.1", "--connections", "5"];
    let output = load(&[&["--scenario", scenarios, "--server", &server][..], &short].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let tables = String::from_utf8(output.stdout).unwrap();
    assert_eq!(tables.lines().filter(|line| line.starts_with("| raw |")).count(), 5, "{tables}");
}

#[test]
fn a_server_that_does_not_speak_the_protocol_fails_the_run() {
    for server in ["raw=ws=RAW", "none=tcp=true", "none=tcp=/nonexistent"] {
        let server = server.replace("RAW", env!("CARGO_BIN_EXE_raw-echo"));
        let output = load(&["--scenario", "sixteen", "--rounds", "1", "--server", &server]);
        assert_eq!(output.status.code(), Some(1), "{server}");
    }
}

#[test]
fn the_isolation_of_every_policy_is_measured() {
    let short = ["--rounds", "1", "--seconds", "0.1", "--members", "20", "--stuck", "2"];
    let output = Command::new(env!("CARGO_BIN_EXE_isolation")).args(short).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let table = String::from_utf8(output.stdout).unwrap();
    assert_eq!(table.lines().filter(|line| line.starts_with("| ")).count(), 6, "{table}");
}
