//! An established connection allocates next to nothing per message, also where messages and
//! their buffers go from thread to thread.
//!
//! One test, so that nothing else allocates while it counts. On smol there is nothing to hold
//! on to: async-io itself allocates for every event.
#![allow(clippy::unwrap_used)]

use std::alloc::System;
use std::future::ready;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use conformance::adapter::{Adapter, OnStd, OnTokio};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use storm_proto::WebSocket;
use storm_proto::service::{Client, Runtime as _, Server, Session, park};
use storm_std::Std;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const TURNS: usize = 1_000;
const WINDOW: usize = 100;

#[test]
fn messages_and_handlers_cost_next_to_no_allocation() {
    waiting_on_a_thread_allocates_nothing();
    echo("tokio", &OnTokio::new(2).unwrap());
    echo("std", &OnStd);
}

/// Handlers that are async fns run by this on threads.
fn waiting_on_a_thread_allocates_nothing() {
    let wait =
        || park::block_on(async { ready(1).await + park::block_on(ready(2), Std::now) }, Std::now);
    // The first makes what the thread waits with, for both levels.
    wait();
    let region = Region::new(ALLOCATOR);
    (0..1_000).for_each(|_| assert_eq!(wait(), 3));
    assert!(region.change().allocations <= 1_000, "{:?}", region.change());
    let region = Region::new(ALLOCATOR);
    (0..1_000).for_each(|_| assert_eq!(park::block_on(ready(1), Std::now), 1));
    assert_eq!(region.change().allocations, 0);
}

fn echo(name: &str, adapter: &impl Adapter) {
    let running = adapter.wait(server(adapter).start()).unwrap();
    let returned = Arc::<AtomicUsize>::default();
    let session = connect(adapter, &format!("ws://{}", running.address()), &returned);
    // The first turns fill the pools.
    turns(&session, &returned, 100);
    let region = Region::new(ALLOCATOR);
    turns(&session, &returned, TURNS);
    let change = region.change();
    let allocated = change.allocations + change.reallocations;
    let messages = TURNS * WINDOW;
    println!("{name}: {allocated} allocations for {messages} messages there and back");
    // Threads may come to have too few buffers for a moment.
    assert!(allocated <= messages / 50, "{name}: {allocated}");
    session.close();
    adapter.wait(running.stop(Duration::from_secs(10)));
}

fn server<A: Adapter>(
    adapter: &A,
) -> Server<A::Runtime, impl storm_proto::service::Handler + use<A>> {
    let server = Server::<A::Runtime>::bind("127.0.0.1:0").runtime(adapter.runtime());
    server.websocket(WebSocket::new()).on_message(|session, message| session.send(message))
}

fn connect<A: Adapter>(adapter: &A, url: &str, returned: &Arc<AtomicUsize>) -> Session {
    let count = returned.clone();
    let client = Client::<A::Runtime>::new(url).runtime(adapter.runtime());
    let client = client.on_message(move |_, _| count.fetch_add(1, Ordering::Relaxed));
    adapter.wait(client.connect()).unwrap()
}

/// Sends a window of messages and waits until all are back, again and again.
fn turns(session: &Session, returned: &AtomicUsize, turns: usize) {
    for _ in 0..turns {
        returned.store(0, Ordering::Relaxed);
        for _ in 0..WINDOW {
            session.send(&[7; 32]).unwrap();
        }
        let limit = Instant::now() + Duration::from_secs(20);
        while returned.load(Ordering::Relaxed) < WINDOW {
            assert!(Instant::now() < limit, "they do not come back");
            std::thread::yield_now();
        }
    }
}
