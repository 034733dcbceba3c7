//! An established connection allocates nothing per message, through sockets and runtime.
//!
//! One test, so that nothing else allocates while it counts.
#![allow(clippy::unwrap_used)]

use std::alloc::System;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use storm_tokio::{Client, Server, Session, WebSocket};
use tokio::sync::Notify;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Turns that are counted, of so many messages each.
const TURNS: usize = 1_000;
const WINDOWS: [usize; 3] = [1, 16, 200];

#[tokio::test(flavor = "current_thread")]
async fn an_echo_through_sockets_allocates_nothing_per_message() {
    let server = Server::bind("127.0.0.1:0").websocket(WebSocket::new());
    let server = server.on_message(|session, message| session.send(message));
    let server = server.start().await.unwrap();
    let (returned, done) = (Arc::new(AtomicUsize::new(0)), Arc::new(Notify::new()));
    let (count, all) = (returned.clone(), done.clone());
    let client = Client::new(format!("ws://{}", server.address()));
    let client = client.on_message(move |_, message| {
        assert_eq!(message.len(), 32);
        count.fetch_add(1, Ordering::Relaxed);
        all.notify_one();
    });
    let session = client.connect().await.unwrap();

    // A window larger than a turn: tasks that yield keep their input meanwhile.
    turns(&session, &returned, &done, 4_000, 10).await;
    for window in WINDOWS {
        // The first turns fill the pools.
        turns(&session, &returned, &done, window, 10).await;
        let region = Region::new(ALLOCATOR);
        turns(&session, &returned, &done, window, TURNS).await;
        let change = region.change();
        let allocated = change.allocations + change.reallocations;
        println!("{allocated} allocations for {} messages, {window} at once", TURNS * window);
        assert_eq!(allocated, 0);
    }
}

/// Sends `window` messages and waits until all are back, again and again.
async fn turns(
    session: &Session,
    returned: &AtomicUsize,
    done: &Notify,
    window: usize,
    turns: usize,
) {
    returned.store(0, Ordering::Relaxed);
    for turn in 1..=turns {
        for _ in 0..window {
            session.send(&[7; 32]).unwrap();
        }
        while returned.load(Ordering::Relaxed) < turn * window {
            done.notified().await;
        }
    }
}
