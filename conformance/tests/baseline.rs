//! Ten thousand connections come and go: memory and threads are what they were before.
//!
//! One test, so that nothing else allocates while it counts.
#![allow(clippy::unwrap_used)]

use std::alloc::System;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use conformance::adapter::{Adapter, OnAsyncStd, OnSmol, OnStd, OnTokio};
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};
use storm_proto::WebSocket;
use storm_proto::service::Server;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const CONNECTIONS: usize = 10_000;

/// At once; they are opened one by one, and leave together.
const BATCH: usize = 100;

/// What may stay: buffers that threads keep for the next connection, tables that have grown.
const SLACK: usize = 512 << 10;

const PATIENCE: Duration = Duration::from_secs(30);

#[test]
fn memory_and_threads_return_to_the_baseline_on_every_runtime() {
    come_and_go("tokio", &OnTokio::new(2).unwrap());
    come_and_go("smol", &OnSmol::new(2).unwrap());
    come_and_go("async-std", &OnAsyncStd);
    come_and_go("std", &OnStd);
}

fn come_and_go(name: &str, adapter: &impl Adapter) {
    let server = bind(adapter).websocket(WebSocket::new());
    let server = server.on_message(|session, message| session.send(message));
    let running = adapter.wait(server.start()).unwrap();
    let address = running.address().ip().unwrap();
    let gone = || running.connections() == 0;
    // The first ones fill pools and tables.
    batch(address);
    until(gone);
    let (memory, threads) = (memory(), threads());
    for _ in 0..CONNECTIONS / BATCH {
        batch(address);
        until(gone);
    }
    until(|| self::threads() <= threads);
    let kept = self::memory().saturating_sub(memory);
    println!("{name}: {kept} bytes and {} threads more", self::threads() - threads);
    assert!(kept <= SLACK, "{name} keeps {kept} bytes");
    adapter.wait(running.stop(PATIENCE));
}

fn bind<A: Adapter>(adapter: &A) -> Server<A::Runtime> {
    Server::bind("127.0.0.1:0").runtime(adapter.runtime())
}

/// Connections that open, echo one message each, and close in order.
fn batch(address: SocketAddr) {
    let mut peers: Vec<_> = (0..BATCH).map(|_| open(address)).collect();
    for peer in &mut peers {
        peer.write_all(b"\x81\x82\0\0\0\0hi").unwrap();
        let mut echo = [0; 4];
        peer.read_exact(&mut echo).unwrap();
        assert_eq!(&echo, b"\x81\x02hi");
        peer.write_all(b"\x88\x80\0\0\0\0").unwrap();
    }
    for mut peer in peers {
        let mut goodbye = Vec::new();
        peer.read_to_end(&mut goodbye).unwrap();
        assert_eq!(goodbye, b"\x88\0");
    }
}

fn open(address: SocketAddr) -> TcpStream {
    let mut peer = TcpStream::connect(address).unwrap();
    peer.set_read_timeout(Some(PATIENCE)).unwrap();
    peer.write_all(
        b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
          Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    )
    .unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        peer.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    peer
}

/// Bytes that are allocated now.
fn memory() -> usize {
    let stats = ALLOCATOR.stats();
    stats.bytes_allocated - stats.bytes_deallocated
}

/// Threads of this process.
fn threads() -> usize {
    std::fs::read_dir("/proc/self/task").map_or(0, Iterator::count)
}

fn until(condition: impl Fn() -> bool) {
    let limit = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < limit, "it does not come about");
        // Looks again now and then, and leaves the processor to those who bring it about.
        std::thread::park_timeout(Duration::from_millis(1));
    }
}
