//! Servers and clients that are suspended beyond a deadline, on every runtime: processes of
//! their own that get SIGSTOP, and SIGCONT when the time has passed.
//!
//! What the peer did meanwhile lies in the socket when they go on, and counts.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

use std::fs::DirEntry;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use storm_proto::websocket::handshake::{Accept, ServerHandshake};

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// Longer than anything takes that happens at all.
const PATIENCE: Duration = Duration::from_secs(20);

/// The deadlines: long enough for what has to happen before the process is suspended.
const DEADLINE: &str = "600";

/// How long processes are suspended.
const AWAY: Duration = Duration::from_millis(800);

/// A process of Storm that can be suspended, and what it prints.
struct Suspendable {
    process: Child,
    lines: Receiver<String>,
}

impl Suspendable {
    fn run(arguments: &[&str]) -> Suspendable {
        let mut process = Command::new(env!("CARGO_BIN_EXE_conformance"))
            .args(arguments)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (sender, lines) = channel();
        let out = BufReader::new(process.stdout.take().unwrap());
        std::thread::spawn(move || {
            out.lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
        });
        Suspendable { process, lines }
    }

    /// An echo server, and its address.
    fn serve(runtime: &str, arguments: &[&str]) -> (Suspendable, String) {
        let always =
            ["echo", "--runtime", runtime, "--threads", "2", "--listen", "127.0.0.1:0", "--ends"];
        let server = Suspendable::run(&[&always[..], arguments].concat());
        let line = server.line();
        let address = line.strip_prefix("listening on ws://").expect("it listens");
        (server, address.to_owned())
    }

    fn line(&self) -> String {
        self.lines.recv_timeout(PATIENCE).expect("it prints a line")
    }

    fn signal(&self, signal: &str) {
        let pid = self.process.id().to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
    }

    /// All of its threads are.
    fn is_stopped(&self) -> bool {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.process.id())).unwrap();
        let stat = |task: DirEntry| std::fs::read_to_string(task.path().join("stat"));
        // The state stands behind the name, which is in brackets.
        let stopped = |stat: String| stat.rsplit(") ").next().unwrap().starts_with('T');
        tasks.flatten().flat_map(stat).all(stopped)
    }

    /// Suspends the process until its deadlines have passed, while `meanwhile` is done.
    fn suspended<R>(&self, meanwhile: impl FnOnce() -> R) -> R {
        self.signal("-STOP");
        // The signal takes effect when the threads get to run.
        let limit = Instant::now() + PATIENCE;
        while !self.is_stopped() {
            assert!(Instant::now() < limit, "it does not stop");
            std::thread::yield_now();
        }
        let done = meanwhile();
        // Nothing is printed meanwhile: this is how the time passes.
        assert!(self.lines.recv_timeout(AWAY).is_err(), "the process is suspended");
        self.signal("-CONT");
        done
    }
}

impl Drop for Suspendable {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn connect(address: &str) -> TcpStream {
    patient(TcpStream::connect(address).unwrap())
}

fn patient(stream: TcpStream) -> TcpStream {
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// The next connection, which has a limit like every wait.
fn accept(listener: &TcpListener) -> TcpStream {
    listener.set_nonblocking(true).unwrap();
    let limit = Instant::now() + PATIENCE;
    let stream = loop {
        match listener.accept() {
            Ok((stream, _)) => break stream,
            Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
        }
        assert!(Instant::now() < limit, "nobody connects");
        std::thread::park_timeout(Duration::from_millis(1));
    };
    stream.set_nonblocking(false).unwrap();
    stream
}

fn open(address: &str) -> TcpStream {
    let mut stream = connect(address);
    stream.write_all(REQUEST).unwrap();
    assert!(head(&mut stream).starts_with(b"HTTP/1.1 101 "));
    stream
}

fn head(stream: &mut TcpStream) -> Vec<u8> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(exactly(stream, 1)[0]);
    }
    head
}

fn exactly(stream: &mut TcpStream, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    stream.read_exact(&mut bytes).expect("this many bytes");
    bytes
}

/// A client's frame with the mask key 0.
fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match payload.len() {
        len @ 0..126 => frame.push(0x80 | len as u8),
        len => {
            frame.push(0x80 | 126);
            frame.extend((len as u16).to_be_bytes());
        }
    }
    frame.extend([0; 4]);
    frame.extend(payload);
    frame
}

fn echoes(stream: &mut TcpStream, text: &[u8]) -> bool {
    stream.write_all(&masked(0x81, text)).unwrap();
    exactly(stream, 2 + text.len())[2..] == *text
}

fn late_request(runtime: &str) {
    let (server, address) = Suspendable::serve(runtime, &["--handshake-timeout", DEADLINE]);
    let mut late = connect(&address);
    // It was accepted before this one.
    let mut early = open(&address);
    assert!(echoes(&mut early, b"hi"));
    server.suspended(|| late.write_all(REQUEST).unwrap());
    assert!(head(&mut late).starts_with(b"HTTP/1.1 101 "));
    assert!(echoes(&mut late, b"hi"));
}

fn late_message(runtime: &str) {
    let (server, address) = Suspendable::serve(runtime, &["--idle-timeout", DEADLINE]);
    let mut peer = open(&address);
    for _ in 0..2 {
        server.suspended(|| peer.write_all(&masked(0x81, b"here")).unwrap());
        assert_eq!(exactly(&mut peer, 6), b"\x81\x04here");
    }
    assert!(server.line().starts_with("ended: "), "and is idle when it is silent");
    assert_eq!(exactly(&mut peer, 4), b"\x88\x06\x03\xe8");
}

fn late_pong(runtime: &str) {
    let (server, address) = Suspendable::serve(runtime, &["--heartbeat", DEADLINE]);
    let mut peer = open(&address);
    for _ in 0..2 {
        let ping = exactly(&mut peer, 6);
        assert_eq!(ping[..2], *b"\x89\x04");
        server.suspended(|| peer.write_all(&masked(0x8A, &ping[2..])).unwrap());
    }
    assert_eq!(exactly(&mut peer, 6)[..2], *b"\x89\x04", "the next ping");
    let end = server.line();
    assert!(end.contains("heartbeat"), "and dead when it answers none: {end}");
}

fn late_close(runtime: &str) {
    let (server, address) = Suspendable::serve(runtime, &["--close-timeout", DEADLINE]);
    let mut peer = open(&address);
    peer.write_all(&masked(0x81, b"close")).unwrap();
    assert_eq!(exactly(&mut peer, 4), b"\x88\x02\x03\xe8");
    server.suspended(|| {
        for _ in 0..100 {
            peer.write_all(&masked(0x82, &[7; 5000])).unwrap();
        }
        peer.write_all(&masked(0x88, b"\x03\xe8")).unwrap();
    });
    let mut rest = Vec::new();
    peer.read_to_end(&mut rest).expect("an end in order");
    drop(peer);
    let end = server.line();
    assert!(end.ends_with("clean: true"), "{end}");
}

fn late_write(runtime: &str) {
    let (server, address) = Suspendable::serve(runtime, &["--stall-timeout", "800"]);
    let mut peer = open(&address);
    let message = masked(0x82, &[7; 60_000]);
    // Until nothing moves any more: the server waits for room to answer.
    peer.set_write_timeout(Some(Duration::from_millis(100))).unwrap();
    let mut sent = 0;
    let begun = loop {
        match peer.write(&message[sent % message.len()..]) {
            Ok(n) => sent += n,
            Err(error) => {
                assert!(matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut));
                break sent % message.len();
            }
        }
    };
    let mut read = 0;
    server.suspended(|| {
        peer.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        let mut buffer = vec![0; 1 << 20];
        while let Ok(n) = peer.read(&mut buffer) {
            read += n;
        }
    });
    // All of it comes back, with a header of 4 bytes instead of 8.
    let mut peer = patient(peer);
    let rest = message[begun..].to_vec();
    let mut writer = peer.try_clone().unwrap();
    let finish = std::thread::spawn(move || writer.write_all(&rest));
    let messages = sent / message.len() + 1;
    exactly(&mut peer, messages * (message.len() - 4) - read);
    finish.join().unwrap().unwrap();
}

fn late_response(runtime: &str) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ws://{}", listener.local_addr().unwrap());
    let client = Suspendable::run(&[
        "talk",
        "--runtime",
        runtime,
        "--url",
        &url,
        "--connect-timeout",
        DEADLINE,
    ]);
    let mut server = patient(accept(&listener));
    let request = head(&mut server);
    client.suspended(|| {
        let mut handshake = ServerHandshake::new(Default::default());
        let request = handshake.receive(&mut &request[..]).unwrap().unwrap();
        server.write_all(&request.accept(&Accept::new()).unwrap()).unwrap();
    });
    assert_eq!(exactly(&mut server, 11)[..2], *b"\x81\x85", "it says hello");
    server.write_all(b"\x81\x05hello").unwrap();
    assert_eq!(client.line(), "answer hello");
}

/// Runs a scenario on all runtimes at once: most of it is waiting.
fn on_every_runtime(scenario: fn(&str)) {
    let run = |name: &'static str| {
        let thread = std::thread::Builder::new().name(name.into());
        thread.spawn(move || scenario(name)).unwrap()
    };
    let threads = ["tokio", "smol", "async-std", "std"].map(run);
    let failed = threads.map(|thread| thread.join().is_err());
    assert_eq!(failed, [false; 4], "on tokio, smol, async-std, std");
}

macro_rules! scenarios {
    ($($name:ident: $scenario:ident),* $(,)?) => {
        $(
            #[test]
            fn $name() {
                on_every_runtime($scenario);
            }
        )*
    };
}

scenarios! {
    a_request_that_had_arrived_in_time_is_answered: late_request,
    a_peer_that_had_sent_is_not_idle: late_message,
    a_pong_that_had_arrived_proves_life: late_pong,
    a_close_that_had_arrived_is_clean: late_close,
    a_peer_that_had_read_all_is_not_stalled: late_write,
    a_101_that_had_arrived_is_no_timeout: late_response,
}
