//! The samples of an adapter as processes: how they begin, and how they end.
//!
//! Needs `kill`, and loopback addresses that need no set-up: Linux.

// Each file of tests uses a part of this.
#![allow(dead_code)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

/// No wait of a test is longer; a sample that needs more hangs.
const PATIENCE: Duration = Duration::from_secs(30);

/// A sample that serves at an address of its own.
pub(crate) struct Sample {
    child: Child,
    lines: BufReader<ChildStdout>,
    pub(crate) address: String,
}

impl Sample {
    /// Starts a sample without a terminal, and waits for its first line.
    pub(crate) fn start(name: &str) -> Sample {
        static NEXT: AtomicU8 = AtomicU8::new(1);
        // An address that no other test has: of this process, and of this sample in it.
        let [_, _, high, low] = std::process::id().to_be_bytes();
        let address = format!("127.{high}.{low}.{}:8080", NEXT.fetch_add(1, Ordering::Relaxed));
        let mut child = command(name)
            .arg(&address)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the sample is built");
        let mut lines = BufReader::new(child.stdout.take().expect("a pipe"));
        let mut line = String::new();
        lines.read_line(&mut line).expect("a line");
        assert!(line.contains(&address), "{name} says {line:?}");
        Sample { child, lines, address }
    }

    /// Sends it a signal, `INT` or `TERM`.
    pub(crate) fn signal(&self, signal: &str) {
        let arguments = [format!("-{signal}"), self.child.id().to_string()];
        let status = Command::new("kill").args(arguments).status();
        assert!(status.expect("kill is there").success());
    }

    /// Waits until it has ended by itself, with success; returns what else it printed.
    pub(crate) fn ended(mut self) -> String {
        let mut rest = String::new();
        self.lines.read_to_string(&mut rest).expect("text");
        let status = self.child.wait().expect("a status");
        assert!(status.success(), "{status}: {rest}");
        rest
    }

    pub(crate) fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(&self.address).expect("it listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        stream
    }

    /// Sends an HTTP request; returns the response, up to the end of its head.
    pub(crate) fn request(&self, path: &str, headers: &str) -> (TcpStream, String) {
        let mut stream = self.connect();
        let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\n{headers}\r\n");
        stream.write_all(request.as_bytes()).expect("written");
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).expect("a response");
            head.push(byte[0]);
        }
        (stream, String::from_utf8(head).expect("text"))
    }

    pub(crate) fn websocket(&self, path: &str) -> TcpStream {
        let (stream, head) = self.request(
            path,
            "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
        );
        assert!(head.starts_with("HTTP/1.1 101"), "{head}");
        stream
    }
}

impl Drop for Sample {
    fn drop(&mut self) {
        // Only a test that failed leaves it running.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A sample that is to end by itself.
pub(crate) fn run(name: &str, arguments: &[&str]) -> Output {
    command(name).args(arguments).stdin(Stdio::null()).output().expect("the sample is built")
}

/// Cargo builds the samples of a package for its tests.
fn command(name: &str) -> Command {
    let test = std::env::current_exe().expect("a path");
    let target: PathBuf = test.ancestors().nth(2).expect("target/debug/deps/").into();
    Command::new(target.join("examples").join(name))
}

/// Reads frames up to a Close, and answers it; returns its code.
pub(crate) fn close_code(stream: &mut TcpStream) -> u16 {
    loop {
        let mut head = [0; 2];
        stream.read_exact(&mut head).expect("a frame");
        let mut len = usize::from(head[1]);
        if len == 126 {
            let mut more = [0; 2];
            stream.read_exact(&mut more).expect("a length");
            len = u16::from_be_bytes(more).into();
        }
        let mut payload = vec![0; len];
        stream.read_exact(&mut payload).expect("a payload");
        if head[0] == 0x88 {
            stream.write_all(&[0x88, 0x80, 0, 0, 0, 0]).expect("written");
            return u16::from_be_bytes([payload[0], payload[1]]);
        }
    }
}

// What holds for the samples of every runtime.

/// Signals end a server of WebSockets gracefully: its clients see 1001.
pub(crate) fn ends_gracefully(name: &str, path: &str) {
    for signal in ["INT", "TERM"] {
        let sample = Sample::start(name);
        let mut client = sample.websocket(path);
        sample.signal(signal);
        assert_eq!(close_code(&mut client), 1001, "{name} on {signal}");
        sample.ended();
    }
}

/// Signals end a server of plain TCP gracefully: its clients see the end of the stream.
pub(crate) fn ends_a_stream_gracefully(name: &str, line: &str) {
    for signal in ["INT", "TERM"] {
        let sample = Sample::start(name);
        let mut client = sample.connect();
        client.write_all(line.as_bytes()).expect("written");
        let mut byte = [0];
        client.read_exact(&mut byte).expect("an answer");
        sample.signal(signal);
        client.read_to_end(&mut Vec::new()).expect("an end, and no reset");
        drop(client);
        sample.ended();
    }
}

/// `--help` helps, what is misused is explained, and an error is a sentence with the address.
pub(crate) fn explains_itself(name: &str) {
    let help = run(name, &["--help"]);
    assert!(help.status.success());
    let text = String::from_utf8(help.stdout).expect("text");
    assert!(text.contains(&format!("usage: {name} [address]")), "{text}");
    for misused in [&["--port"][..], &["a", "b"]] {
        let output = run(name, misused);
        assert_eq!(output.status.code(), Some(2));
        assert!(String::from_utf8_lossy(&output.stderr).contains("usage: "));
    }
    let failed = run(name, &["203.0.113.7:1"]);
    assert_eq!(failed.status.code(), Some(1), "{name}");
    let text = String::from_utf8(failed.stderr).expect("text");
    assert!(text.starts_with(&format!("{name}: ")) && text.contains("203.0.113.7:1"), "{text}");
    let words_of_debug = ["{", "}", "Error(", "Some(", "Os ", "kind:"];
    assert!(!words_of_debug.iter().any(|word| text.contains(word)), "{text}");
}
