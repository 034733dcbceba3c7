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
const LIMIT: isize = 8 << 10;

/// Bytes that are allocated now and were not before.
fn kept(region: &Region<'_, System>) -> isize {
    let change = region.change();
    change.bytes_allocated as isize - change.bytes_deallocated as isize
}

/// Moves what one machine has to say to the other.
fn carry(from: &mut TlsStage, to: &mut TlsStage) {
    let mut records = Vec::new();
    from.answers(&mut records);
    let mut rest = &records[..];
    to.handshake(&mut rest).unwrap();
    assert_eq!(to.open(&mut rest, &mut [0; 16]), Ok(0));
}

#[test]
fn an_idle_connection_keeps_keys_and_no_buffers() {
    let server = TlsServer::new(TlsIdentity::self_signed(["a"]).unwrap()).unwrap();
    // Without resumption, whose memory belongs to all connections together.
    let mut config = (*config(&server)).clone();
    config.send_tls13_tickets = 0;
    config.session_storage = std::sync::Arc::new(storm_proto::tls::rustls::server::NoServerSessionStorage {});
    let server = TlsServer::from_config(config.into());
    let client = TlsClient::options().dangerous_accept_any_certificate().build().unwrap();
    let mut client = TlsStage::client(&client, "a", false).unwrap();

    let region = Region::new(ALLOCATOR);
    let mut stage = Box::new(TlsStage::server(&server, false).unwrap());
    println!("{} bytes: a new server's side", kept(&region));
    let mut peak = 0;
    for _ in 0..3 {
        carry(&mut client, &mut stage);
        peak = peak.max(kept(&region));
        carry(&mut stage, &mut client);
    }
    assert!(!stage.is_handshaking());
    drop(client_says(&mut client, &mut stage, 100_000));
    client_says(&mut client, &mut stage, 10);
    let idle = idle_side(server);
    println!("{} bytes: TlsStage, {idle} bytes: an idle server's side", size_of::<TlsStage>());
    assert!(idle <= LIMIT, "{idle} bytes");
}
