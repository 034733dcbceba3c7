//! What an idle connection over TLS keeps, counted by the allocator.
//!
//! One test, so that nothing else allocates while it counts.
#![allow(clippy::unwrap_used)]

use std::alloc::System;
use std::io::IoSlice;

use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use storm_proto::tls::{TlsClient, TlsIdentity, TlsServer, TlsStage};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// What a connection may keep above a plain one.
const LIMIT: usize = 8 << 10;

/// Takes everything that `from` has to say.
fn say(from: &mut TlsStage, plain: &[u8]) -> Vec<u8> {
    let mut records = Vec::new();
    let mut rest = plain;
    while !rest.is_empty() {
        let n = from.seal(&[IoSlice::new(rest)], &mut records).unwrap();
        rest = &rest[n..];
    }
    from.answers(&mut records);
    records
}

fn hear(to: &mut TlsStage, records: &[u8]) -> usize {
    let mut rest = records;
    let _ = to.handshake(&mut rest).unwrap();
    let mut heard = 0;
    loop {
        match to.open(&mut rest, &mut [0; 4096]).unwrap() {
            0 => return heard,
            n => heard += n,
        }
    }
}

#[test]
fn an_idle_connection_keeps_keys_and_little_room() {
    let server = TlsServer::new(TlsIdentity::self_signed(["a"]).unwrap()).unwrap();
    let client = TlsClient::options().dangerous_accept_any_certificate().build().unwrap();
    // What all connections share is there after the first; tickets to resume come in the
    // order of connections, so that many of them show what each costs.
    let pair = || {
        let mut client = TlsStage::client(&client, "a", false).unwrap();
        let mut server = Box::new(TlsStage::server(&server, false).unwrap());
        for _ in 0..3 {
            hear(&mut server, &say(&mut client, b""));
            hear(&mut client, &say(&mut server, b""));
        }
        (client, server)
    };
    let warm = (0..300).map(|_| pair()).collect::<Vec<_>>();
    drop(warm);

    let idle = |speak: fn(&mut TlsStage, &mut TlsStage)| {
        let (mut client, mut server) = pair();
        speak(&mut client, &mut server);
        let region = Region::new(ALLOCATOR);
        drop(server);
        let change = region.change();
        change.bytes_deallocated - change.bytes_allocated
    };
    let fresh = idle(|_, _| {});
    let small = idle(|client, server| assert_eq!(hear(server, &say(client, &[7; 100])), 100));
    let large = idle(|client, server| {
        assert_eq!(hear(server, &say(client, &[7; 200_000])), 200_000);
        assert_eq!(hear(client, &say(server, &[7; 200_000])), 200_000);
    });
    // A record of 16 KiB with a hello of 64 KiB in it, as far as one can believe what it says.
    let announced = {
        let mut server = Box::new(TlsStage::server(&server, false).unwrap());
        let mut hello = &b"\x16\x03\x01\x40\x00\x01\x00\xff\xff\x03\x03"[..];
        assert!(!server.handshake(&mut hello).unwrap());
        let region = Region::new(ALLOCATOR);
        drop(server);
        let change = region.change();
        change.bytes_deallocated - change.bytes_allocated
    };
    println!("{} bytes of them the machine itself", size_of::<TlsStage>());
    println!("{announced} bytes for a large hello that was announced");
    assert!(announced <= LIMIT, "nothing is reserved for it");
    println!("{fresh} bytes after the handshake, {small} after a little, {large} after much");
    assert!(fresh.max(small).max(large) <= LIMIT);
}
