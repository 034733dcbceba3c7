//! What stuck members cost the others: the rate at which broadcasts reach the healthy members of a
//! server, with ten that never read beside 990 that do, against 1,000 that do.
//!
//! Both are measured in turns in one process: Storm on one thread, all members on another. The next
//! broadcast begins when the healthy members have got all but the last few, so they are never the
//! ones that are too slow.

#![forbid(unsafe_code)]

use std::error::Error;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use clap::Parser;
use socket2::{Domain, Socket, Type};
use storm_tokio::{Hub, LengthPrefix, Server, SlowConsumer, SocketOptions};
use tokio::io::AsyncReadExt;
use tokio::runtime::Builder;

/// Payload of a broadcast in bytes; its frame has four more.
const MESSAGE: usize = 1024;
const FRAME: u64 = MESSAGE as u64 + 4;

/// What may wait for one member, and what the system holds for it beside that: little, so that
/// those who do not read are stuck at once.
const PENDING: usize = 64 << 10;
const SYSTEM: usize = 8 << 10;

/// Broadcasts that the healthy members may be behind.
const AHEAD: u64 = 8;

/// Broadcasts before the measured part: more than waits for a stuck member.
const WARM_UP: u64 = 200;

/// Measures what stuck members cost the others, under each policy.
#[derive(Parser)]
struct Options {
    /// How often each side has its turn; figures are medians, with half the range of the ratios.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,

    /// Length of the measured part of a turn in seconds.
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,

    /// All members.
    #[arg(long, default_value_t = 1000)]
    members: usize,

    /// Of these, how many never read.
    #[arg(long, default_value_t = 10)]
    stuck: usize,
}

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> Result<()> {
    let options = Options::parse();
    let time = Duration::from_secs_f64(options.seconds);
    let Options { rounds, members, stuck, .. } = options;
    println!("{members} members, {rounds} rounds of {} s.\n", options.seconds);
    println!("| policy | broadcasts/s, all healthy | {stuck} stuck | ratio of a round |");
    println!("|---|---:|---:|---:|");
    for policy in [
        SlowConsumer::Wait,
        SlowConsumer::Drop,
        SlowConsumer::DropOldest,
        SlowConsumer::KeepLatest,
        SlowConsumer::Disconnect,
    ] {
        let (mut healthy, mut beside, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..rounds {
            let (alone, others) =
                (turn(policy, members, 0, time)?, turn(policy, members, stuck, time)?);
            healthy.push(alone);
            beside.push(others);
            ratios.push(others / alone);
        }
        println!(
            "| {policy:?} | {:.0} | {:.0} | {:.3} +-{:.3} |",
            median(&mut healthy),
            median(&mut beside),
            median(&mut ratios),
            (ratios[ratios.len() - 1] - ratios[0]) / 2.0,
        );
    }
    Ok(())
}

/// Sorts them, too.
fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// One turn: a fresh server and fresh members. Returns broadcasts in a second, each of which every
/// healthy member has got.
fn turn(policy: SlowConsumer, members: usize, stuck: usize, time: Duration) -> Result<f64> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let got = Arc::<AtomicU64>::default();
    runtime.block_on(async {
        let server = Server::bind("127.0.0.1:0").framed(LengthPrefix::new());
        let server = server.max_pending_send(PENDING).slow_consumer(policy).backlog(4096);
        let running = server.socket(SocketOptions::new().send_buffer(SYSTEM)).start().await?;
        let address = running.address().ip().ok_or("no ip address")?;
        let over = Arc::<AtomicBool>::default();
        let reading = {
            let (got, over) = (got.clone(), over.clone());
            thread::spawn(move || read(address, members, stuck, &got, &over))
        };
        let hub = running.hub();
        while hub.count() < members {
            if reading.is_finished() {
                return Err("the members did not connect".into());
            }
            tokio::task::yield_now().await;
        }
        let healthy = (members - stuck) as u64;
        let mut sent = 0;
        while sent < WARM_UP {
            broadcast(&hub, &mut sent, healthy, &got).await;
        }
        if stuck > 0 && is_untouched(&hub, members) {
            return Err("nobody is stuck yet".into());
        }
        let (began, before) = (Instant::now(), sent);
        while began.elapsed() < time {
            broadcast(&hub, &mut sent, healthy, &got).await;
        }
        let rate = (sent - before) as f64 / began.elapsed().as_secs_f64();
        over.store(true, Ordering::Relaxed);
        drop(running);
        // The readers end with their sessions, which go on here.
        while !reading.is_finished() {
            tokio::task::yield_now().await;
        }
        reading.join().map_err(|_| "a member panicked")?.map_err(|error| error.to_string())?;
        Ok(rate)
    })
}

/// Nothing was dropped or refused, and nobody is gone.
fn is_untouched(hub: &Hub, members: usize) -> bool {
    let sessions = hub.sessions();
    sessions.len() == members
        && sessions
            .iter()
            .all(|session| session.metrics().messages_dropped == 0 && !session.is_backpressured())
}

/// Sends the next one when the healthy members have got what they may not be behind.
async fn broadcast(hub: &Hub, sent: &mut u64, healthy: u64, got: &AtomicU64) {
    let _ = hub.all().send_latest(*sent, &[7; MESSAGE]);
    *sent += 1;
    while got.load(Ordering::Relaxed) < sent.saturating_sub(AHEAD) * healthy * FRAME {
        tokio::task::yield_now().await;
    }
}

/// All members, on a thread of their own; those that are stuck connect and do nothing. Counts the
/// bytes that the others get.
fn read(
    address: SocketAddr,
    members: usize,
    stuck: usize,
    got: &Arc<AtomicU64>,
    over: &AtomicBool,
) -> std::io::Result<()> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let _stuck = (0..stuck).map(|_| connect(address)).collect::<std::io::Result<Vec<_>>>()?;
    runtime.block_on(async {
        let mut readers = Vec::new();
        for _ in stuck..members {
            let mut stream = tokio::net::TcpStream::from_std(connect(address)?)?;
            let got = got.clone();
            readers.push(tokio::spawn(async move {
                let mut buffer = [0; 16 << 10];
                while let Ok(n @ 1..) = stream.read(&mut buffer).await {
                    got.fetch_add(n as u64, Ordering::Relaxed);
                }
            }));
        }
        for reader in readers {
            let _ = reader.await;
        }
        if over.load(Ordering::Relaxed) {
            Ok(())
        } else {
            Err(std::io::ErrorKind::UnexpectedEof.into())
        }
    })
}

fn connect(address: SocketAddr) -> std::io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_recv_buffer_size(SYSTEM)?;
    socket.connect(&address.into())?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}
