//! The idle scenario: what an open connection costs the server's memory.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use crate::Result;
use crate::cli::{Protocol, Scenario, ServerSpec};
use crate::connect::{SILENCE, open};
use crate::report::Sample;
use crate::server::Server;
use crate::traffic::{Checker, Traffic};

/// After so many connections the server must have accepted them all before the next are opened:
/// its queue of connections to accept is finite, and an overflow costs a second.
const BATCH: usize = 256;

/// One turn of one server: open all, read its memory, use each once, read its memory again.
pub fn run(scenario: &Scenario, spec: &ServerSpec, cpu: Option<u32>) -> Result<Sample> {
    let traffic = Traffic::new(spec.protocol, scenario);
    let mut connections = Vec::with_capacity(scenario.connections);
    let server = Server::start(spec, cpu)?;

    // One connection comes and goes: what a server loads or allocates only once is in the base.
    echo_once(&traffic, &mut open(server.address, spec.protocol, 0)?)?;
    settle(&server)?;
    let (base, cpu_before) = (server.resident()?, server.cpu()?.total());
    for number in 0..scenario.connections {
        connections.push(open(server.address, spec.protocol, number)?);
        if spec.protocol == Protocol::Tcp && (number + 1) % BATCH == 0 {
            // A WebSocket has been answered already. On raw TCP an echo to a connection made for
            // this says that all before it were accepted.
            echo_once(&traffic, &mut open(server.address, spec.protocol, number)?)?;
        }
    }
    settle(&server)?;
    let (idle, accepting) = (server.resident()?, server.cpu()?.total() - cpu_before);
    for connection in &mut connections {
        echo_once(&traffic, connection)?;
    }
    settle(&server)?;
    let used = server.resident()?;

    let count = scenario.connections as f64;
    let per_connection = |resident: u64| (resident as f64 - base as f64) / count;
    Ok(vec![
        ("idle_bytes", per_connection(idle)),
        ("used_bytes", per_connection(used)),
        ("base_kib", base as f64 / 1024.0),
        ("accept_us", accepting.as_micros() as f64 / count),
    ])
}

/// Sends the first message of the ring and checks its echo.
fn echo_once(traffic: &Traffic, stream: &mut TcpStream) -> Result<()> {
    stream.write_all(&traffic.requests[..traffic.request_len])?;
    let mut checker = Checker::new(0);
    let mut buffer = [0; 1024];
    loop {
        match stream.read(&mut buffer)? {
            0 => return Err("the server closed a connection".into()),
            received if checker.check(traffic, &buffer[..received])? > 0 => return Ok(()),
            _ => {}
        }
    }
}

/// Waits until the server has done nothing for a while: it may accept, and free memory, late.
fn settle(server: &Server) -> Result<()> {
    let end = Instant::now() + SILENCE;
    let mut quiet = 0;
    let mut before = (server.cpu()?.total(), server.resident()?);
    while quiet < 3 && Instant::now() < end {
        thread::sleep(Duration::from_millis(50));
        let now = (server.cpu()?.total(), server.resident()?);
        quiet = if now == before { quiet + 1 } else { 0 };
        before = now;
    }
    Ok(())
}
