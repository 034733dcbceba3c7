//! `conformance fairness`: how much CPU a server spends before it answers an honest client while
//! other clients flood it.
//!
//! One flooder more than the server has workers, each as fast as a thread can write, and one
//! client that sends a message now and then. CPU time counts, not wall time: what other
//! processes do does not show.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use clap::Args;

use crate::Runtime;

/// What a server may spend before it answers.
const LIMIT: Duration = Duration::from_millis(20);

/// How often a kind is measured anew that was above the limit: the machine may have kept this
/// process, which takes the answer, from its CPU.
const ATTEMPTS: usize = 3;

/// How long one answer is waited for.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long the flood runs before the first question.
const WARM_UP: Duration = Duration::from_millis(100);

/// Bytes that a flooder writes at once.
const CHUNK: usize = 64 << 10;

/// Sessions that hear each message of a broadcast storm.
const MEMBERS: usize = 20;

const REQUEST: &[u8] =
    b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

#[derive(Args)]
pub(crate) struct Options {
    /// The runtimes; std has a thread for each connection, and is left out.
    #[arg(long, value_enum, default_value = "all")]
    runtime: Runtime,
    /// Only the kinds of flood whose names contain this.
    #[arg(long, default_value = "")]
    kind: String,
    /// Messages of the honest client for each runtime, number of workers and kind.
    #[arg(long, default_value_t = 5)]
    samples: usize,
}

/// A kind of flood.
struct Kind {
    name: &'static str,
    /// Options of the echo server.
    server: &'static [&'static str],
    flood: Flood,
}

/// What a flooder does.
enum Flood {
    /// Writes these bytes again and again.
    Bytes(fn() -> Vec<u8>),
    /// Writes these bytes, ends its direction, and connects again.
    HalfClosed(fn() -> Vec<u8>),
    /// Connects and closes.
    Connects,
}

const KINDS: [Kind; 13] = [
    ws("pings", &[], || frame(0x89, b"")),
    ws("pongs", &[], || frame(0x8A, b"")),
    ws("1-byte messages", &[], || frame(0x82, b"f")),
    ws("empty messages", &[], || frame(0x81, b"")),
    ws("1-byte fragments", &[], fragments),
    ws("64 KiB messages", &[], || frame(0x82, &[7; 65_000])),
    ws("handlers of 100 us", &["--spin", "100"], || frame(0x82, b"f")),
    ws("broadcasts", &["--broadcast"], || frame(0x82, b"f")),
    Kind { name: "half-closes", server: &[], flood: Flood::HalfClosed(|| frame(0x82, b"f")) },
    Kind { name: "connects", server: &[], flood: Flood::Connects },
    tcp("empty lines", &["--protocol", "lines"], || b"\n".to_vec()),
    tcp("empty length-prefixed", &["--protocol", "length"], || vec![0; 4]),
    tcp("raw bytes", &["--protocol", "tcp"], || vec![b'f'; 1024]),
];

const fn ws(name: &'static str, server: &'static [&'static str], unit: fn() -> Vec<u8>) -> Kind {
    Kind { name, server, flood: Flood::Bytes(unit) }
}

const fn tcp(name: &'static str, server: &'static [&'static str], unit: fn() -> Vec<u8>) -> Kind {
    ws(name, server, unit)
}

/// A frame of a client, whose mask changes nothing.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match u16::try_from(payload.len()) {
        Ok(len @ 0..126) => frame.push(0x80 | len as u8),
        Ok(len) => {
            frame.push(0x80 | 126);
            frame.extend(len.to_be_bytes());
        }
        Err(_) => unreachable!("payloads of floods are short"),
    }
    frame.extend([0; 4]);
    frame.extend(payload);
    frame
}

/// A message of 1,000 fragments.
fn fragments() -> Vec<u8> {
    let mut all = frame(0x02, b"f");
    for _ in 0..998 {
        all.extend(frame(0x00, b"f"));
    }
    all.extend(frame(0x80, b"f"));
    all
}

pub(crate) fn run(options: &Options) -> io::Result<ExitCode> {
    let mut fair = true;
    println!("{:<10} {:>7}  {:<22} {:>9} {:>9}", "runtime", "workers", "flood", "median", "worst");
    for runtime in options.runtime.each().into_iter().filter(|one| *one != Runtime::Std) {
        for workers in [1, 2] {
            for kind in KINDS.iter().filter(|kind| kind.name.contains(&options.kind)) {
                fair &= measure(runtime, workers, kind, options.samples.max(1))?;
            }
        }
    }
    Ok(if fair { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Prints a line of the table; false if the server was not fair.
fn measure(runtime: Runtime, workers: usize, kind: &Kind, samples: usize) -> io::Result<bool> {
    let mut best: Option<Vec<Duration>> = None;
    for _ in 0..ATTEMPTS {
        let mut spent = flooded(runtime, workers, kind, samples)?;
        spent.sort_unstable();
        let is_better = best.as_ref().is_none_or(|best| spent.last() < best.last());
        if is_better {
            best = Some(spent);
        }
        if best.as_ref().and_then(|best| best.last()).is_some_and(|worst| *worst <= LIMIT) {
            break;
        }
    }
    let spent = best.unwrap_or_default();
    let (median, worst) = (spent[spent.len() / 2], spent[spent.len() - 1]);
    let verdict = if worst <= LIMIT { "" } else { "  above the limit" };
    println!(
        "{:<10} {workers:>7}  {:<22} {median:>9.1?} {worst:>9.1?}{verdict}",
        runtime.name(),
        kind.name
    );
    Ok(worst <= LIMIT)
}

/// What the server spends on each answer while it is flooded.
fn flooded(
    runtime: Runtime,
    workers: usize,
    kind: &Kind,
    samples: usize,
) -> io::Result<Vec<Duration>> {
    let server = Server::start(runtime, workers, kind)?;
    let mut honest = server.connect()?;
    honest.set_read_timeout(Some(PATIENCE))?;
    let flood = Floods::start(&server, kind, workers + 1)?;
    thread::sleep(WARM_UP);
    let mut spent = Vec::new();
    for sample in 0..samples {
        let text = format!("honest {sample}");
        let before = server.cpu()?;
        honest.write_all(&server.message(text.as_bytes()))?;
        let answered = answer(&mut honest, text.as_bytes());
        let took = server.cpu()? - before;
        if let Err(error) = answered {
            eprintln!("{} {workers} {}: no answer: {error}", runtime.name(), kind.name);
            spent.push(took.max(PATIENCE));
            break;
        }
        spent.push(took);
        thread::sleep(Duration::from_millis(10));
    }
    flood.stop();
    Ok(spent)
}

/// Reads until `text` has come.
fn answer(stream: &mut TcpStream, text: &[u8]) -> io::Result<()> {
    let (mut seen, mut buffer) = (Vec::new(), vec![0; CHUNK]);
    loop {
        let n = stream.read(&mut buffer)?;
        if n == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        seen.extend_from_slice(&buffer[..n]);
        if seen.windows(text.len()).any(|part| part == text) {
            return Ok(());
        }
        seen.drain(..seen.len().saturating_sub(text.len()));
    }
}

/// The server: a process of its own, so that its CPU time is its own.
struct Server {
    child: Child,
    address: String,
    protocol: &'static str,
}

impl Server {
    fn start(runtime: Runtime, workers: usize, kind: &Kind) -> io::Result<Server> {
        let protocol = match kind.server {
            ["--protocol", protocol] => protocol,
            _ => "ws",
        };
        let mut child = Command::new(std::env::current_exe()?)
            .args(["echo", "--listen", "127.0.0.1:0", "--runtime", &runtime.name()])
            .args(["--threads", &workers.to_string()])
            .args(kind.server)
            .env("ASYNC_STD_THREAD_COUNT", workers.to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut line = String::new();
        let read = child.stdout.take().map(|out| BufReader::new(out).read_line(&mut line));
        // It is ended by its drop also when it has said nothing.
        let mut server = Server { child, address: String::new(), protocol };
        read.transpose()?;
        let address = line.trim().rsplit("://").next().unwrap_or_default();
        address.trim_end_matches('/').clone_into(&mut server.address);
        Ok(server)
    }

    /// A connection whose handshake is over.
    fn connect(&self) -> io::Result<TcpStream> {
        connect(&self.address, self.protocol)
    }

    /// A message, as the protocol has it.
    fn message(&self, text: &[u8]) -> Vec<u8> {
        match self.protocol {
            "ws" => frame(0x81, text),
            "lines" => [text, b"\n"].concat(),
            "length" => [&(text.len() as u32).to_be_bytes(), text].concat(),
            _ => text.to_vec(),
        }
    }

    /// The CPU time of all its threads.
    fn cpu(&self) -> io::Result<Duration> {
        let mut nanos = 0;
        for task in std::fs::read_dir(format!("/proc/{}/task", self.child.id()))? {
            // A thread may end meanwhile.
            let Ok(stat) = std::fs::read_to_string(task?.path().join("schedstat")) else {
                continue;
            };
            nanos += stat.split(' ').next().and_then(|n| n.parse::<u64>().ok()).unwrap_or(0);
        }
        Ok(Duration::from_nanos(nanos))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn connect(address: &str, protocol: &str) -> io::Result<TcpStream> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    if protocol == "ws" {
        stream.set_read_timeout(Some(2 * PATIENCE))?;
        stream.write_all(REQUEST)?;
        answer(&mut stream, b"\r\n\r\n")?;
    }
    Ok(stream)
}

/// The flooders of one measurement, and those who hear them.
struct Floods {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
    streams: Vec<TcpStream>,
}

impl Floods {
    fn start(server: &Server, kind: &Kind, count: usize) -> io::Result<Floods> {
        let stop = Arc::<AtomicBool>::default();
        let mut floods = Floods { stop: stop.clone(), threads: Vec::new(), streams: Vec::new() };
        if kind.server.contains(&"--broadcast") {
            for _ in 0..MEMBERS {
                let mut member = server.connect()?;
                member.write_all(&server.message(b"join"))?;
                floods.read(member)?;
            }
        }
        for _ in 0..count {
            let stop = stop.clone();
            let (address, protocol) = (server.address.clone(), server.protocol);
            let flood = match kind.flood {
                Flood::Bytes(unit) => {
                    let stream = server.connect()?;
                    floods.read(stream.try_clone()?)?;
                    let chunk = chunk(unit);
                    thread::spawn(move || pour(&stop, stream, &chunk))
                }
                Flood::HalfClosed(unit) => {
                    let chunk = chunk(unit);
                    again(stop, move || {
                        let mut stream = connect(&address, protocol)?;
                        stream.write_all(&chunk)?;
                        stream.shutdown(Shutdown::Write)?;
                        io::copy(&mut stream, &mut io::sink()).map(drop)
                    })
                }
                Flood::Connects => again(stop, move || TcpStream::connect(&address).map(drop)),
            };
            floods.threads.push(flood);
        }
        Ok(floods)
    }

    /// Reads what comes, on a thread of its own.
    fn read(&mut self, mut stream: TcpStream) -> io::Result<()> {
        stream.set_read_timeout(None)?;
        self.streams.push(stream.try_clone()?);
        self.threads.push(thread::spawn(move || {
            let mut buffer = vec![0; CHUNK];
            while stream.read(&mut buffer).is_ok_and(|n| n > 0) {}
        }));
        Ok(())
    }

    fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
        for stream in &self.streams {
            let _ = stream.shutdown(Shutdown::Both);
        }
        for thread in self.threads {
            let _ = thread.join();
        }
    }
}

/// Whole units, as many as a chunk holds.
fn chunk(unit: fn() -> Vec<u8>) -> Vec<u8> {
    let unit = unit();
    unit.repeat((CHUNK / unit.len()).max(1))
}

/// Writes until it is stopped.
fn pour(stop: &AtomicBool, mut stream: TcpStream, chunk: &[u8]) {
    while !stop.load(Ordering::Relaxed) && stream.write_all(chunk).is_ok() {}
}

/// Does something until it is stopped. It may fail: ports run out.
fn again(
    stop: Arc<AtomicBool>,
    mut attempt: impl FnMut() -> io::Result<()> + Send + 'static,
) -> JoinHandle<()> {
    thread::spawn(move || {
        while !stop.load(Ordering::Relaxed) {
            if attempt().is_err() {
                thread::sleep(Duration::from_millis(1));
            }
        }
    })
}
