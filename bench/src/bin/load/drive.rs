//! The loop of the scenarios with traffic: one thread, one poller, every connection keeps its
//! window full.
//!
//! The generator must be cheaper than the server, or it would measure itself: no allocation, no
//! encoding; one read, one comparison and one write for however many messages a read brought.

use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::net::TcpStream as StdStream;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use storm_bench::AlignedBuffer;

use crate::Result;
use crate::cli::{Scenario, ServerSpec};
use crate::connect::{SILENCE, continue_or_stop, open};
use crate::report::Sample;
use crate::server::{CpuTime, Server};
use crate::traffic::{Checker, Traffic};

/// Before the measured part: buffers grow to their size, pages are touched, TCP starts up.
const WARM_UP: Duration = Duration::from_millis(300);

/// Room for what is in flight on one connection of the largest scenario, nearly.
const READ_BUFFER: usize = 256 << 10;

const UNASKED: &str = "an echo of what was never sent";

/// One turn of one server: start, connect, warm up, measure, drain, stop.
pub fn run(
    scenario: &Scenario,
    spec: &ServerSpec,
    time: Duration,
    cpu: Option<u32>,
) -> Result<Sample> {
    // Declared before the server and so dropped after it: the side that closes first keeps the
    // port in TIME_WAIT, and it had better not be the one that needs many of them.
    let mut load = Load::new(Traffic::new(spec.protocol, scenario))?;
    let server = Server::start(spec, cpu)?;
    for number in 0..scenario.connections {
        load.add(open(server.address, spec.protocol, number)?)?;
    }
    load.heard_at = Instant::now();
    for connection in &mut load.connections {
        connection.request(&load.traffic, scenario.window)?;
    }
    load.turn_for(WARM_UP)?;

    (load.messages, load.reads) = (0, 0);
    load.latency_ns.reset();
    let (started, server_cpu, own_cpu) = (Instant::now(), server.cpu()?, CpuTime::of("self")?);
    load.turn_for(time)?;
    let elapsed = started.elapsed().as_secs_f64();
    let (server_cpu, own_cpu) = (server.cpu()? - server_cpu, CpuTime::of("self")? - own_cpu);
    let sample = load.sample(scenario, elapsed, server_cpu, own_cpu);
    load.drain()?;
    sample
}

struct Connection {
    stream: TcpStream,
    checker: Checker,
    /// Messages owed by the server.
    in_flight: usize,
    /// Position in the ring of requests, in bytes, and bytes still to be written from there.
    position: usize,
    unsent: usize,
    /// When the last request was made: the start of a latency where one message is in flight.
    sent_at: Instant,
}

struct Load {
    connections: Vec<Connection>,
    traffic: Traffic,
    poll: Poll,
    events: Events,
    /// One for all connections: it stays in the cache.
    buffer: AlignedBuffer,
    messages: usize,
    reads: usize,
    latency_ns: Histogram<u64>,
    heard_at: Instant,
    draining: bool,
}

impl Load {
    fn new(traffic: Traffic) -> Result<Self> {
        Ok(Self {
            connections: Vec::new(),
            traffic,
            poll: Poll::new()?,
            events: Events::with_capacity(1024),
            buffer: AlignedBuffer::new(READ_BUFFER),
            messages: 0,
            reads: 0,
            latency_ns: Histogram::new_with_max(60_000_000_000, 3)?,
            heard_at: Instant::now(),
            draining: false,
        })
    }

    fn add(&mut self, stream: StdStream) -> Result<()> {
        stream.set_nonblocking(true)?;
        let mut stream = TcpStream::from_std(stream);
        let number = self.connections.len();
        let both = Interest::READABLE | Interest::WRITABLE;
        self.poll.registry().register(&mut stream, Token(number), both)?;
        // Each connection starts elsewhere in the ring, so that a mix-up of two is noticed.
        let first = number % self.traffic.ring;
        self.connections.push(Connection {
            stream,
            checker: Checker::new(first),
            in_flight: 0,
            position: first * self.traffic.request_len,
            unsent: 0,
            sent_at: Instant::now(),
        });
        Ok(())
    }

    fn turn_for(&mut self, time: Duration) -> Result<()> {
        let end = Instant::now() + time;
        while Instant::now() < end {
            self.turn()?;
        }
        Ok(())
    }

    /// Sends nothing more and waits for every echo that is still owed.
    fn drain(&mut self) -> Result<()> {
        self.draining = true;
        while self.connections.iter().any(|connection| connection.in_flight > 0) {
            self.turn()?;
        }
        Ok(())
    }

    /// Waits for the sockets and serves each that has something.
    fn turn(&mut self) -> Result<()> {
        continue_or_stop()?;
        match self.poll.poll(&mut self.events, Some(Duration::from_millis(50))) {
            Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error.into()),
            _ => {}
        }
        for event in &self.events {
            let connection = &mut self.connections[event.token().0];
            if event.is_writable() {
                connection.flush(&self.traffic)?;
            }
            while event.is_readable() {
                let received = match none_if_blocked(connection.stream.read(&mut self.buffer))? {
                    Some(0) => return Err("the server closed a connection".into()),
                    Some(received) => received,
                    None => break,
                };
                self.reads += 1;
                let complete = connection.receive(&self.traffic, &self.buffer[..received])?;
                self.messages += complete;
                if complete > 0 && !self.draining {
                    self.latency_ns
                        .saturating_record(connection.sent_at.elapsed().as_nanos() as u64);
                    connection.request(&self.traffic, complete)?;
                }
                // A short read emptied the socket, and what comes later makes a new event: no
                // second read only to be told so.
                if received < self.buffer.len() && !event.is_read_closed() {
                    break;
                }
            }
        }
        if !self.events.is_empty() {
            self.heard_at = Instant::now();
        } else if self.heard_at.elapsed() > SILENCE {
            return Err(format!("no answer for {} s", SILENCE.as_secs()).into());
        }
        Ok(())
    }

    fn sample(
        &self,
        scenario: &Scenario,
        seconds: f64,
        server: CpuTime,
        own: CpuTime,
    ) -> Result<Sample> {
        if self.messages == 0 {
            return Err("no message came back in the measured time".into());
        }
        let messages = self.messages as f64;
        let mib = messages * scenario.message_bytes as f64 / f64::from(1 << 20);
        let per_message = |time: Duration| time.as_nanos() as f64 / messages;
        let latency_us = |quantile| self.latency_ns.value_at_quantile(quantile) as f64 / 1000.0;
        let mut sample = vec![
            ("cpu_ns", per_message(server.total())),
            ("user_ns", per_message(server.user)),
            ("system_ns", per_message(server.system)),
            ("busy_percent", 100.0 * server.total().as_secs_f64() / seconds),
            ("load_cpu_ns", per_message(own.total())),
            ("both_cpu_ns", per_message(server.total() + own.total())),
            ("messages_per_second", messages / seconds),
            ("mib_per_second", mib / seconds),
            ("messages_per_read", messages / self.reads as f64),
        ];
        if scenario.window == 1 {
            let latencies = [("p50_us", 0.5), ("p99_us", 0.99), ("p999_us", 0.999)];
            sample.extend(latencies.map(|(name, quantile)| (name, latency_us(quantile))));
        }
        Ok(sample)
    }
}

impl Connection {
    /// Checks what came; answers with the number of messages that are now complete.
    fn receive(&mut self, traffic: &Traffic, received: &[u8]) -> Result<usize> {
        let complete = self.checker.check(traffic, received)?;
        self.in_flight = self.in_flight.checked_sub(complete).ok_or(UNASKED)?;
        if self.in_flight == 0 && self.checker.is_inside_message() {
            return Err(UNASKED.into());
        }
        Ok(complete)
    }

    /// Asks for `messages` more and writes what the socket takes.
    fn request(&mut self, traffic: &Traffic, messages: usize) -> Result<()> {
        self.in_flight += messages;
        self.unsent += messages * traffic.request_len;
        self.sent_at = Instant::now();
        self.flush(traffic)
    }

    fn flush(&mut self, traffic: &Traffic) -> Result<()> {
        while self.unsent > 0 {
            let ring = &traffic.requests;
            let end = self.position + self.unsent;
            let upto_end = IoSlice::new(&ring[self.position..end.min(ring.len())]);
            let from_start = IoSlice::new(&ring[..end.saturating_sub(ring.len())]);
            // One call even across the end of the ring: two could reach the server as two batches.
            let written = self.stream.write_vectored(&[upto_end, from_start]);
            let Some(written) = none_if_blocked(written)? else { break };
            self.unsent -= written;
            self.position = (self.position + written) % ring.len();
        }
        Ok(())
    }
}

fn none_if_blocked(result: io::Result<usize>) -> Result<Option<usize>> {
    match result {
        Ok(count) => Ok(Some(count)),
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(error.into()),
    }
}
