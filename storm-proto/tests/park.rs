//! Waiting for futures on a plain thread.
#![allow(clippy::unwrap_used)]

use std::future::poll_fn;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::channel;
use std::task::{Poll, Waker};
use std::time::Duration;

use storm_proto::Instant;
use storm_proto::service::park::{block_on, blocked, wake_at};

fn never() -> Instant {
    Instant::ZERO
}

#[test]
fn a_wake_from_another_thread_ends_the_wait() {
    let (send, receive) = channel::<Waker>();
    let waking = std::thread::spawn(move || receive.recv().unwrap().wake());
    let mut polls = 0;
    block_on(
        poll_fn(|cx| {
            polls += 1;
            if polls > 1 {
                return Poll::Ready(());
            }
            send.send(cx.waker().clone()).unwrap();
            Poll::Pending
        }),
        never,
    );
    waking.join().unwrap();
}

#[test]
fn a_wake_for_an_outer_call_is_not_lost_in_an_inner_one() {
    let mut first = true;
    let polled = poll_fn(|cx| {
        if std::mem::take(&mut first) {
            let outer = cx.waker().clone();
            let mut woken = false;
            block_on(
                poll_fn(|cx| {
                    outer.wake_by_ref();
                    cx.waker().wake_by_ref();
                    if std::mem::replace(&mut woken, true) {
                        Poll::Ready(())
                    } else {
                        Poll::Pending
                    }
                }),
                never,
            );
            return Poll::Pending;
        }
        Poll::Ready("woken")
    });
    assert_eq!(block_on(polled, never), "woken");
}

#[test]
fn a_time_that_was_named_ends_the_wait() {
    static NOW: AtomicU64 = AtomicU64::new(0);
    fn clock() -> Instant {
        // Each look at the clock lets a second pass.
        Instant::from_secs(NOW.fetch_add(1, Ordering::Relaxed))
    }
    let until = Instant::from_secs(5);
    let sleep = poll_fn(|_| {
        if clock() >= until {
            return Poll::Ready(());
        }
        wake_at(until);
        Poll::Pending
    });
    block_on(sleep, || clock() + Duration::from_secs(100));
}

#[test]
fn a_blocked_call_is_interrupted_or_not_made() {
    let (interrupt, interrupted) = channel::<()>();
    let mut polls = 0;
    let calls = poll_fn(|cx| {
        polls += 1;
        let interrupt = interrupt.clone();
        let waker = cx.waker().clone();
        let waking = std::thread::spawn(move || waker.wake());
        let called = blocked(move || interrupt.send(()).unwrap(), || interrupted.recv().unwrap());
        waking.join().unwrap();
        match (polls, called) {
            (1.., Some(())) => Poll::Ready("interrupted"),
            // The wake came first: the call was not made.
            _ => Poll::Pending,
        }
    });
    // Whichever comes first, it ends.
    assert_eq!(block_on(calls, never), "interrupted");
}
