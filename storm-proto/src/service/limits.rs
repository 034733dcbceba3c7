//! The table of limits in the readme, held against the code.

use core::time::Duration;
use std::collections::BTreeMap;
use std::format;
use std::string::{String, ToString};
use std::vec::Vec;

use super::middleware::Chain;
use super::registry;
use super::wire::linger;
use super::{ListenOptions, client, groups, pool, probe, quota as turn, report, server, session};
use crate::client::{dial, reconnect};
use crate::connection::budget;
use crate::connection::link;
use crate::connection::outbox::Control;
use crate::connection::sender::policy;
use crate::connection::slow;
use crate::framing::{Delimiter, LengthPrefix};
use crate::server::rate_limit::Allowance;
use crate::server::{admission, backoff};
use crate::websocket::Limits;
use crate::websocket::handshake::body::{MAX_BODY, MAX_CHUNKED};
use crate::websocket::handshake::head::MAX_EMPTY_LINES;
use crate::websocket::handshake::{HeadLimits, client as handshake};
use crate::{Drain, Heartbeat, Rate, Reconnect, Timeouts, WaterMarks};

const README: &str = include_str!("../../../README.md");

/// Limits that are not of this crate's making: rustls has its own, and storm-std tests its own.
const ELSEWHERE: [&str; 2] = ["TLS record, handshake message", "stack of a handler's thread"];

/// Each limit and its default, as the table writes it.
fn limits() -> BTreeMap<&'static str, String> {
    let (head, websocket, beat) = (HeadLimits::new(), Limits::new(), Heartbeat::new());
    let (timeouts, again) = (Timeouts::new(), Reconnect::new());
    let (admission, drain) = (admission::Admission::default(), Drain::new());
    let (interval, missed) = (beat.interval.unwrap(), beat.missed);
    assert_eq!(interval * (missed + 1), Duration::from_secs(120), "as the row says");
    assert_eq!((again.factor, again.max_attempts), (2, None), "as the row says");
    let allowed = Allowance {
        messages: Some(Rate::per_second(100)),
        bytes: None,
        control_frames: Some(Rate::per_second(10).burst(100)),
    };
    assert_eq!(Allowance::default(), allowed, "as the rows say");
    assert!(Chain::default().is_empty(), "off, as the rows say");
    assert_eq!(turn::TIME, 2 << 10, "as the row says, in microseconds or so");
    assert_eq!(pool::MAX_OUTBOX, 256 << 10, "as the row says");
    BTreeMap::from([
        (
            "request head, line, header lines",
            format!("{}, {}, {}", bytes(head.bytes), bytes(head.line), head.headers),
        ),
        ("empty lines before a request or status line", number(MAX_EMPTY_LINES.into())),
        ("handshake, from accept", time(timeouts.handshake)),
        ("connections, from accept", format!("{}; on threads 1,024", or(admission.max))),
        ("connections of one IP address", or(admission.max_per_ip)),
        ("connects of one IP address", or(admission.rate.map(|_| 0))),
        ("IP addresses remembered for that, beside those connected", number(admission::RESTING)),
        ("pages that may connect", admission.origins.map_or("all", |_| "some").into()),
        ("connections not yet accepted", number(ListenOptions::new().backlog as usize)),
        ("frame", if websocket.frame == usize::MAX { "as a message" } else { "less" }.into()),
        ("message, also when inflated", bytes(websocket.message)),
        ("fragments of a message", number(websocket.fragments as usize)),
        ("final blocks before the end of a compressed message", final_blocks()),
        ("unfinished messages of all sessions", bytes(budget::DEFAULT)),
        ("line or other delimited message", bytes(Delimiter::DEFAULT_LIMIT)),
        ("length-prefixed message", bytes(LengthPrefix::DEFAULT_LIMIT)),
        (
            "message of a framer without a limit of its own",
            bytes(crate::framing::DEFAULT_MAX_MESSAGE),
        ),
        ("bytes read ahead of the handler", bytes(pool::BULK)),
        ("outbox of a session", bytes(WaterMarks::default().limit())),
        (
            "messages that wait unencoded, with `DropOldest`, `KeepLatest` or keys",
            number(slow::MAX_WAITING),
        ),
        (
            "portion of them that is encoded at once",
            format!("{}, or half of the outbox", bytes(policy::PORTION)),
        ),
        ("messages of a session or an IP address", "off; 100 a second".into()),
        ("bytes of messages", "off".into()),
        ("Pings and Pongs", "off; 10 a second, 100 at once".into()),
        ("IP addresses remembered for rate limits", number(admission::RESTING)),
        ("groups of a session", number(groups::MAX_GROUPS)),
        ("name of a group", bytes(groups::MAX_NAME)),
        ("changes in groups not yet told", number(groups::MAX_UNTOLD)),
        ("group changes that a call reports beside its own", number(registry::SHARE)),
        ("waiting sends of a session", number(session::MAX_WAITING)),
        ("pongs that wait", number(Control::Pong.limit())),
        (
            "turn of a connection: events, bytes, time",
            format!("{}, {}, 2 ms", number(turn::EVENTS.into()), bytes(turn::BYTES)),
        ),
        ("heartbeat", format!("{}, {missed} missed", time(interval))),
        ("stall", time(timeouts.stall)),
        ("idle", timeouts.idle.map_or("off".into(), time)),
        ("close, from the last byte written", time(timeouts.close)),
        ("bytes discarded after the final Close frame", bytes(link::DISCARD_LIMIT)),
        ("lingering after the last event", time(linger::LINGER)),
        ("connections that linger", number(linger::MAX_LINGERING)),
        ("grace for handlers after a cut", time(server::LAST_TURN)),
        (
            "shutdown; its waves; `Retry-After` meanwhile",
            format!("{}, {}, {}", time(drain.within), time(drain.over), time(drain.retry_after)),
        ),
        (
            "pause after a failed accept",
            format!("{} to {}", time(backoff::FIRST), time(backoff::LONGEST)),
        ),
        (
            "call of `on_error` for an ended connection or the accept loop",
            time(report::ON_ERROR_TIMEOUT),
        ),
        ("errors of the accept loop that wait for `on_error`", number(server::MAX_WAITING)),
        ("connect of a client", time(client::CONNECT_TIMEOUT)),
        ("probe of a server that closed without an answer", time(probe::PROBE_WAIT)),
        ("head start of an address", time(dial::STAGGER)),
        (
            "retries of a client",
            format!("within {}, doubled up to {}, unlimited", time(again.initial), time(again.cap)),
        ),
        ("until a session counts as stable", time(again.stable_after)),
        ("heeded `Retry-After`", time(reconnect::MAX_RETRY_AFTER)),
        ("page of a refusal, kept by a client", bytes(MAX_BODY)),
        (
            "chunks read for that page; time for it, behind the head",
            format!("{}, {}", bytes(MAX_CHUNKED), time(handshake::BODY_WAIT)),
        ),
        ("interim answers to a client", number(handshake::MAX_INTERIM.into())),
        ("buffers kept by a thread, of each kind", number(pool::KEPT)),
        ("engines kept by a thread, to inflate and to compress", engines()),
    ])
}

#[cfg(feature = "deflate")]
fn final_blocks() -> String {
    crate::websocket::deflate::inflate::MAX_FINAL.to_string()
}

#[cfg(not(feature = "deflate"))]
fn final_blocks() -> String {
    "16".into()
}

#[cfg(feature = "deflate")]
fn engines() -> String {
    use crate::websocket::deflate::pool::{COMPRESSORS, ENGINES};
    format!("{ENGINES}, {COMPRESSORS}")
}

#[cfg(not(feature = "deflate"))]
fn engines() -> String {
    "4, 2".into()
}

fn bytes(n: usize) -> String {
    match n {
        n if n % (1 << 20) == 0 => format!("{} MiB", n >> 20),
        n if n % (1 << 10) == 0 => format!("{} KiB", n >> 10),
        n => format!("{n} B"),
    }
}

fn number(n: usize) -> String {
    match n {
        n if n >= 1_000 => format!("{},{:03}", n / 1_000, n % 1_000),
        n => n.to_string(),
    }
}

fn time(time: Duration) -> String {
    match time.as_millis() {
        millis if millis % 1_000 != 0 => format!("{millis} ms"),
        millis if millis % 60_000 == 0 => format!("{} min", millis / 60_000),
        millis => format!("{} s", millis / 1_000),
    }
}

fn or(limit: Option<usize>) -> String {
    limit.map_or("unlimited".into(), number)
}

/// The cells of each row.
fn table() -> Vec<Vec<&'static str>> {
    let rows = README.lines().skip_while(|line| !line.starts_with("| limit |")).skip(2);
    let cells = |row: &'static str| row.trim_matches('|').split('|').map(str::trim).collect();
    rows.take_while(|line| line.starts_with('|')).map(cells).collect()
}

#[test]
fn every_limit_of_the_code_is_in_the_table_with_its_default_and_the_other_way_round() {
    let mut limits = limits();
    for row in table() {
        let [name, _, default, _] = row[..] else { panic!("four cells: {row:?}") };
        match limits.remove(name) {
            Some(is) => assert_eq!(is, default, "{name}"),
            None => assert!(ELSEWHERE.contains(&name), "{name} is checked by nothing"),
        }
    }
    assert!(limits.is_empty(), "not in the table: {limits:?}");
}

#[test]
fn every_limit_says_what_it_stops_and_what_sets_it_exists() {
    const SOURCES: [&str; 9] = [
        include_str!("server/mod.rs"),
        include_str!("rate_limit.rs"),
        include_str!("client.rs"),
        include_str!("../websocket/mod.rs"),
        include_str!("../client/reconnect.rs"),
        include_str!("../server/drain.rs"),
        include_str!("../framing/delimiter.rs"),
        include_str!("../framing/length_prefix.rs"),
        include_str!("../../../storm-std/src/runtime.rs"),
    ];
    for row in table() {
        let [name, setter, _, stops] = row[..] else { panic!("four cells: {row:?}") };
        assert!(stops.len() > 10, "{name}");
        let setter = setter.trim_matches('`').rsplit("::").next().unwrap_or_default();
        let (method, options) = (format!("fn {setter}("), format!("pub struct {setter} "));
        let exists = |code: &&str| code.contains(&method) || code.contains(&options);
        assert!(setter.is_empty() || SOURCES.iter().any(exists), "{name}: no {setter}");
    }
}
