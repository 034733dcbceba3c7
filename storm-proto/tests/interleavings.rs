//! What threads do to one session, one table and one group at once, in thousands of orders:
//!
//!     RUSTFLAGS="--cfg storm_shuttle" cargo test --release -p storm-proto --test interleavings
//!
//! Shuttle runs each test again and again, and lets another thread go on at any lock, atomic
//! operation or wake-up. What is lost, doubled or out of order fails; who is not woken is a
//! deadlock, which fails as well.
#![cfg(storm_shuttle)]
#![allow(clippy::unwrap_used)]

#[path = "interleavings/runtime.rs"]
mod runtime;

use std::sync::Arc;
use std::time::Duration;

use runtime::{Stream, Woven};
use shuttle::future::{block_on, spawn};
use shuttle::sync::Mutex;
use shuttle::thread;
use storm_proto::Drain;
use storm_proto::framing::Delimiter;
use storm_proto::service::{Handler, Hub, Running, Server, Session};

/// How many orders of each test are tried.
const ORDERS: usize = 10_000;

fn explore(test: impl Fn() + Send + Sync + 'static) {
    let test = Arc::new(test);
    let other = test.clone();
    shuttle::check_random(move || test(), ORDERS / 2);
    // Few switches at the worst places: finds what chance does not.
    shuttle::check_pct(move || other(), ORDERS / 2, 3);
}

type Lines = Server<Woven>;

fn server(network: &Woven) -> Lines {
    Server::bind("127.0.0.1:80").framed(Delimiter::lines()).runtime(network.clone())
}

/// Waits until so many sessions are open, and returns them.
async fn opened(hub: &Hub, count: usize) -> Vec<Session> {
    while hub.count() < count {
        shuttle::future::yield_now().await;
    }
    hub.sessions()
}

/// A server with one peer; the network between them holds so many bytes each way.
async fn with_a_peer<H: Handler>(
    network: &Woven,
    server: Server<Woven, H>,
    room: usize,
) -> (Running<Woven>, Session, Stream) {
    let running = server.start().await.unwrap();
    let peer = network.dial(room);
    let session = opened(&running.hub(), 1).await.remove(0);
    (running, session, peer)
}

/// The lines of one sender, in the order in which they came.
fn of<'a>(lines: &'a [String], sender: &str) -> Vec<&'a str> {
    lines.iter().filter_map(|line| line.strip_prefix(sender)).collect()
}

async fn stop(running: Running<Woven>) {
    assert_eq!(running.stop(Duration::from_secs(5)).await.connections, 0);
}

#[test]
fn messages_of_several_threads_all_arrive_each_threads_in_its_order() {
    explore(|| {
        block_on(async {
            let network = Woven::default();
            // Little room, so that the driver sleeps and is woken many times.
            let (_running, session, mut peer) = with_a_peer(&network, server(&network), 5).await;
            let senders = ["a", "b"].map(|name| {
                let session = session.clone();
                thread::spawn(move || {
                    for n in 0..3 {
                        session.send(&format!("{name}{n}")).unwrap();
                    }
                })
            });
            let lines = peer.lines(6).await;
            for (sender, thread) in ["a", "b"].into_iter().zip(senders) {
                thread.join().unwrap();
                assert_eq!(of(&lines, sender), ["0", "1", "2"]);
            }
            assert_eq!(session.metrics().messages_sent, 6);
        });
    });
}

#[test]
fn who_waits_for_room_gets_it() {
    explore(|| {
        block_on(async {
            let network = Woven::default();
            let server = server(&network).max_pending_send(6);
            let (_running, session, mut peer) = with_a_peer(&network, server, 3).await;
            let senders = ["a", "b"].map(|name| {
                let session = session.clone();
                spawn(async move {
                    for n in 0..3 {
                        session.send_wait(&format!("{name}{n}")).await.unwrap();
                    }
                })
            });
            let lines = peer.lines(6).await;
            for (sender, task) in ["a", "b"].into_iter().zip(senders) {
                task.await.unwrap();
                assert_eq!(of(&lines, sender), ["0", "1", "2"]);
            }
        });
    });
}

#[test]
fn answers_of_the_handler_and_messages_of_others_share_one_order() {
    explore(|| {
        block_on(async {
            let network = Woven::default();
            let echo = server(&network).on_message(|session, message| session.send(message));
            let (_running, session, mut peer) = with_a_peer(&network, echo, 6).await;
            let other = thread::spawn(move || {
                for n in 0..3 {
                    session.send(&format!("b{n}")).unwrap();
                }
            });
            peer.write(b"a0\na1\na2\n").await;
            let lines = peer.lines(6).await;
            other.join().unwrap();
            assert_eq!(of(&lines, "a"), ["0", "1", "2"]);
            assert_eq!(of(&lines, "b"), ["0", "1", "2"]);
        });
    });
}

#[test]
fn a_close_comes_behind_what_was_accepted_and_everybody_hears_of_it() {
    explore(|| {
        block_on(async {
            let network = Woven::default();
            let (running, session, mut peer) = with_a_peer(&network, server(&network), 64).await;
            let sender = {
                let session = session.clone();
                thread::spawn(move || {
                    (0..3).take_while(|n| session.send(&format!("a{n}")).is_ok()).count()
                })
            };
            let closer = {
                let session = session.clone();
                thread::spawn(move || session.close())
            };
            let mut received = Vec::new();
            loop {
                match peer.read().await {
                    bytes if bytes.is_empty() => break,
                    bytes => received.extend(bytes),
                }
            }
            drop(peer);
            let accepted = sender.join().unwrap();
            closer.join().unwrap();
            let received = String::from_utf8(received).unwrap();
            assert_eq!(received.lines().count(), accepted, "{received:?}");
            assert_eq!(session.closed().await.undelivered, 0);
            stop(running).await;
        });
    });
}

#[test]
fn no_join_outlives_its_session_and_no_member_is_lost() {
    explore(|| {
        block_on(async {
            let network = Woven::default();
            let members = Arc::new(Mutex::new(0_i64));
            let told = members.clone();
            let server = server(&network).on_group(move |change| {
                *told.lock().unwrap() += if change.joined { 1 } else { -1 };
            });
            let running = server.start().await.unwrap();
            let hub = running.hub();
            let _stays = network.dial(64);
            let goes = network.dial(64);
            let sessions = opened(&hub, 2).await;
            let threads = [0, 1].map(|n| {
                let session = sessions[n].clone();
                thread::spawn(move || {
                    let _ = session.join("x");
                    session.leave("x");
                    let _ = session.join("x");
                })
            });
            let hangs_up = thread::spawn(move || drop(goes));
            for thread in threads {
                thread.join().unwrap();
            }
            hangs_up.join().unwrap();
            sessions[1].closed().await;
            let here = hub.group("x").sessions();
            assert_eq!(here, [sessions[0].clone()], "who stays is in it, and nobody else");
            assert!(sessions[1].join("x").is_err());
            assert_eq!(*members.lock().unwrap(), 1, "each join and each leave was told once");
        });
    });
}

#[test]
fn a_stop_ends_those_who_just_come() {
    explore(|| {
        block_on(async {
            let network = Woven::default();
            let running = server(&network).start().await.unwrap();
            let hub = running.hub();
            let comes = network.clone();
            let peers = thread::spawn(move || [comes.dial(64), comes.dial(64)]);
            let stopped = spawn(async move { running.stop(Duration::from_secs(5)).await });
            for mut peer in peers.join().unwrap() {
                // Goes when it has been told to.
                spawn(async move { while !peer.read().await.is_empty() {} });
            }
            assert_eq!(stopped.await.unwrap().aborted, 0);
            assert_eq!(hub.count(), 0);
        });
    });
}

#[test]
fn a_shutdown_forgets_nobody_and_counts_everybody_once() {
    explore(|| {
        block_on(async {
            let network = Woven::default();
            let running = server(&network).start().await.unwrap();
            let hub = running.hub();
            let comes = network.clone();
            let peers = thread::spawn(move || [comes.dial(64), comes.dial(64)]);
            let drain = Drain::new().over(Duration::ZERO);
            let stopped = spawn(async move { running.shutdown(drain).await });
            for mut peer in peers.join().unwrap() {
                spawn(async move { while !peer.read().await.is_empty() {} });
            }
            let stopped = stopped.await.unwrap();
            let counted = hub.metrics();
            assert_eq!((stopped.aborted, stopped.clean), (0, counted.sessions.clean));
            assert_eq!((counted.connections, counted.sessions.open), (0, 0));
            assert_eq!(counted.admitted, counted.sessions.opened);
        });
    });
}
