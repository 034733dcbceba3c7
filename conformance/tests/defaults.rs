//! The table of `docs/from-stormsocket.md`: the defaults that it names are those of the code,
//! what differs has a reason, and the tests that show the options exist.
#![allow(clippy::unwrap_used)]

mod support;

use std::fmt::Debug;
use std::time::Duration;

use storm_tokio::tls::{TlsClient, TlsIdentity, TlsServer};
use storm_tokio::{
    Client, Deflate, Delimiter, Heartbeat, KeepAlive, LengthPrefix, Limits, Options, Rate,
    RateLimit, Reconnect, Server, SocketOptions, Timeouts, WaterMarks, WebSocket,
};

/// Not options but calls, and what is not there at all: they have no value to compare.
const CALLS: [&str; 3] = ["Server::bind", "Client::reconnect", "none"];

struct Row<'t> {
    theirs: &'t str,
    option: &'t str,
    ours: &'t str,
    reason: &'t str,
    test: &'t str,
}

fn page() -> String {
    support::read(&support::root().join("docs/from-stormsocket.md"))
}

fn rows(page: &str) -> Vec<Row<'_>> {
    let table = page.split("\n| option |").nth(1).expect("the table of defaults");
    let lines = table.lines().skip(2).take_while(|line| line.starts_with('|'));
    lines
        .map(|line| {
            let cells: Vec<_> = line.trim_matches('|').split('|').map(str::trim).collect();
            let [_, theirs, option, ours, reason, test] = cells[..] else { panic!("{line}") };
            Row { theirs, option: option.trim_matches('`'), ours, reason, test }
        })
        .collect()
}

/// The default of an option as the table writes it.
fn default(option: &str) -> String {
    let (server, client) = (Server::bind("127.0.0.1:0"), Client::new("tcp://127.0.0.1:1"));
    let (timeouts, socket) = (Timeouts::new(), SocketOptions::new());
    let (heartbeat, reconnect) = (Heartbeat::new(), Reconnect::new());
    let (limits, probes) = (Limits::new(), KeepAlive::new());
    match option {
        "Server::backlog" => field(&server, "backlog"),
        "Server::dual_stack" => switch(field(&server, "dual_stack") == "true"),
        "Server::max_connections" => or(field(&server, "max"), "unlimited"),
        "Server::framed" => protocol(&server),
        "Server::max_pending_send" => field(&server, "limit"),
        "Server::max_pending_receive" => {
            or(format!("{:?}", Options::default().max_pending_receive), "one read")
        }
        "Server::slow_consumer" => field(&server, "slow_consumer"),
        "Server::idle_timeout" => seconds(timeouts.idle),
        "Server::stall_timeout" => seconds(Some(timeouts.stall)),
        "Server::close_timeout" => seconds(Some(timeouts.close)),
        "Server::handshake_timeout" => seconds(Some(timeouts.handshake)),
        "Server::origins" => or(field(&server, "origins"), "any"),
        "SocketOptions::nodelay" => switch(socket.nodelay),
        "SocketOptions::keep_alive" => switch(socket.keep_alive.is_some()),
        "SocketOptions::receive_buffer" => or(format!("{:?}", socket.receive_buffer), "system"),
        "SocketOptions::send_buffer" => or(format!("{:?}", socket.send_buffer), "system"),
        "KeepAlive::idle" => or(format!("{:?}", probes.idle), "system"),
        "KeepAlive::interval" => or(format!("{:?}", probes.interval), "system"),
        "KeepAlive::count" => or(format!("{:?}", probes.count), "system"),
        "WaterMarks::low" => {
            assert_eq!(WaterMarks::default().low() * 2, WaterMarks::default().limit());
            "half".into()
        }
        "WebSocket::max_frame" => {
            if limits.frame == usize::MAX { "as a message" } else { "less" }.into()
        }
        "WebSocket::max_message" => limits.message.to_string(),
        "WebSocket::subprotocol" => or(format!("{:?}", WebSocket::new().subprotocols), "none"),
        "WebSocket::deflate" => or(field(&WebSocket::new(), "deflate"), "off"),
        "Heartbeat::interval" => seconds(heartbeat.interval),
        "Heartbeat::missed" => heartbeat.missed.to_string(),
        "Heartbeat::auto_pong" => switch(heartbeat.auto_pong),
        "Client::connect_timeout" => field(&client, "connect_timeout").replace("s", " s"),
        "Reconnect::initial" => format!("{} ms", reconnect.initial.as_millis()),
        "Reconnect::max_attempts" => or(format!("{:?}", reconnect.max_attempts), "unlimited"),
        "LengthPrefix::limit" => LengthPrefix::DEFAULT_LIMIT.to_string(),
        "Delimiter::limit" => Delimiter::DEFAULT_LIMIT.to_string(),
        "Deflate::threshold" | "Deflate::level" => deflate(option),
        "Deflate::server_no_context_takeover" | "Deflate::client_no_context_takeover" => {
            or(deflate(option), "own side")
        }
        "Deflate::server_max_window_bits" | "Deflate::client_max_window_bits" => deflate(option),
        "TlsServer::lowest_version" => {
            let identity = TlsIdentity::self_signed(["localhost"]).unwrap();
            field(&TlsServer::options(identity), "lowest").replace("Tls1", "TLS 1.")
        }
        "TlsServer::require_client_certificates" => {
            let identity = TlsIdentity::self_signed(["localhost"]).unwrap();
            or(field(&TlsServer::options(identity), "must"), "off")
        }
        "TlsClient::server_name" => {
            or(field(&TlsClient::options(), "server_name"), "host of the address")
        }
        "RateLimit::messages" => {
            let rate = Rate::per_second(100);
            let shown = format!("{:?}", RateLimit::new());
            assert!(shown.contains(&format!("messages: Some({rate:?})")), "{shown}");
            "100".into()
        }
        "Rate::per_second" => {
            let (second, minute) = (Rate::per_second(100), Rate::per_minute(60 * 100).burst(100));
            if second == minute { "1 s" } else { "another window" }.into()
        }
        "RateLimit::per_ip" => {
            if field(&RateLimit::new(), "per_ip") == "true" { "address" } else { "session" }.into()
        }
        "RateLimit::drop_excess" => field(&RateLimit::new(), "excess").to_lowercase(),
        _ => panic!("the table has an option that this test does not know: {option}"),
    }
}

/// What is spoken, as `Debug` shows it: `Framed(Raw)`.
fn protocol(server: &impl Debug) -> String {
    let shown = format!("{server:?}");
    let framer = shown.split("Framed(").nth(1).unwrap_or_else(|| panic!("{shown}"));
    framer.split(')').next().unwrap().to_lowercase()
}

/// What `Debug` shows of a field, its first word.
fn field(value: &impl Debug, name: &str) -> String {
    let shown = format!("{value:?}");
    let rest = shown.split(&format!("{name}: ")).nth(1);
    let rest = rest.unwrap_or_else(|| panic!("no {name} in {shown}"));
    rest.split([',', ' ', '(']).next().unwrap().trim_end_matches(['}', ')']).into()
}

fn deflate(option: &str) -> String {
    field(&Deflate::new(), option.trim_start_matches("Deflate::"))
}

fn switch(on: bool) -> String {
    if on { "on" } else { "off" }.into()
}

/// A word for an absent value.
fn or(value: String, word: &str) -> String {
    if value == "None" || value == "[]" { word.into() } else { value }
}

fn seconds(time: Option<Duration>) -> String {
    time.map_or("off".into(), |time| format!("{} s", time.as_secs()))
}

#[test]
fn the_defaults_of_the_table_are_those_of_the_code() {
    let page = page();
    let rows = rows(&page);
    assert!(rows.len() > 40, "{} rows", rows.len());
    for Row { option, ours, .. } in rows.iter().filter(|row| !CALLS.contains(&row.option)) {
        assert_eq!(default(option), *ours, "{option}");
    }
}

#[test]
fn what_differs_has_a_reason() {
    let page = page();
    for Row { theirs, option, ours, reason, .. } in rows(&page) {
        assert!(theirs == ours || reason.len() > 5, "{option}: {theirs} there, {ours} here");
    }
}

#[test]
fn the_tests_that_show_the_options_exist() {
    let tests = support::tests();
    let page = page();
    for Row { option, test, .. } in rows(&page) {
        assert!(tests.contains(test), "{option}: there is no test {test}");
    }
}
