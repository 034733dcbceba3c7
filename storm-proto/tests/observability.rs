//! What is told to `tracing` and published through `metrics`, in virtual time.
#![allow(clippy::unwrap_used)]

mod sim;
#[path = "observability/witness.rs"]
mod witness;

use std::collections::BTreeMap;
use std::time::Duration;

use sim::tools::{accept, masked, poll, seconds};
use sim::{Peer, Sim};
use storm_proto::service::{Client, Handler, Running, Session};
use storm_proto::websocket::handshake::{Accept, Decision, Request, Response};
use storm_proto::{CloseCode, Drain, Heartbeat, Message, Reconnect, WebSocket};
use witness::{Ledger, Witness};

type Server<H = storm_proto::service::Callbacks> = storm_proto::service::Server<Sim, H>;

/// Nothing that is told may have it in it.
const SECRET: &str = "hunter2";

const DOCUMENT: &str = include_str!("../../docs/observability.md");

/// An echo that does as it is told, and tells of itself.
struct Echo;

impl Handler for Echo {
    async fn on_connecting(&self, request: &Request) -> Decision {
        match request.path() {
            "/" => Accept::new().into(),
            "/panic" => panic!("on purpose"),
            _ => Response::new(403).body(SECRET).into(),
        }
    }

    async fn on_message(&self, session: &Session, message: Message<'_>) {
        tracing::info!("handled");
        match message.as_text() {
            Some("panic") => panic!("on purpose"),
            Some("fill") => while session.send(&[7; 1_000]).is_ok() {},
            _ => session.send(message).unwrap(),
        }
    }
}

fn start() -> Running<Sim> {
    let websocket = WebSocket::new().heartbeat(Heartbeat::off());
    let server = Server::bind("127.0.0.1:80").websocket(websocket).max_pending_send(4_000);
    let running = Sim::block_on(server.max_connections(2).handler(Echo).start()).unwrap();
    Sim::run();
    running
}

fn ask(path: &str) -> Peer {
    let peer = Sim::dial();
    peer.send(
        format!(
            "GET {path} HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
             Cookie: {SECRET}\r\n\r\n"
        )
        .as_bytes(),
    );
    peer
}

fn leave(peer: &Peer) {
    peer.send(&masked(0x88, &[b"\x03\xe8", SECRET.as_bytes()].concat()));
    peer.take();
    peer.end();
}

/// Runs `script` with both listening.
fn observe(script: impl FnOnce(&Witness, &Ledger)) {
    let (witness, ledger) = (Witness::default(), Ledger::default());
    let _subscribed = tracing::subscriber::set_default(witness.clone());
    metrics::with_local_recorder(&ledger, || script(&witness, &ledger));
}

/// The cells of the rows of a table, which begins with this header.
fn table(header: &str) -> Vec<Vec<String>> {
    let rows = DOCUMENT.lines().skip_while(|line| !line.starts_with(header)).skip(2);
    let cells = |row: &str| {
        let cells = row.trim_matches('|').split('|');
        cells.map(|cell| cell.trim().replace('`', "")).collect()
    };
    rows.take_while(|line| line.starts_with('|')).map(cells).collect()
}

/// A life of everything: returns when all is over.
fn play() {
    Sim::fail_accept(std::io::Error::from(std::io::ErrorKind::ConnectionAborted));
    let running = start();
    let talker = ask("/");
    talker.send(&masked(0x81, SECRET.as_bytes()));
    talker.take();
    let rude = ask("/");
    ask("/");
    rude.send(&[&[0xc1, 0x87, 0, 0, 0, 0], SECRET.as_bytes()].concat());
    rude.take();
    rude.end();
    for path in [&format!("/{SECRET}?token={SECRET}"), "/panic"] {
        let refused = ask(path);
        refused.take();
        refused.end();
    }
    let crash = ask("/");
    crash.send(&masked(0x81, b"panic"));
    crash.take();
    crash.end();
    talker.narrow(0);
    talker.send(&masked(0x81, b"fill"));
    running.hub().publish();
    let drain = Drain::new().code(CloseCode::SERVICE_RESTART).within(seconds(1)).over(seconds(0));
    let mut shutdown = Box::pin(running.shutdown(drain));
    assert!(poll(&mut shutdown).is_none());
    Sim::pass(seconds(1));
    Sim::block_on(shutdown);

    let client = Client::<Sim>::new("ws://example").header("Cookie", SECRET);
    let reconnect = Reconnect::new().initial(Duration::from_millis(1)).max_attempts(2);
    let client = client.reconnect(reconnect.factor(1)).unwrap();
    Sim::run();
    let page = format!("HTTP/1.1 503 x\r\nContent-Length: 7\r\n\r\n{SECRET}");
    Sim::dialled().send(page.as_bytes());
    Sim::pass(seconds(1));
    let server = Sim::dialled();
    server.send(&accept(&server.take()));
    server.send(&[b"\x81\x07", SECRET.as_bytes()].concat());
    client.publish();
    server.send(&[b"\x88\x09\x03\xe8", SECRET.as_bytes()].concat());
    server.end();
    Sim::pass(seconds(1));
    let page = format!("HTTP/1.1 403 x\r\nContent-Length: 7\r\n\r\n{SECRET}");
    Sim::dialled().send(page.as_bytes());
    assert!(Sim::block_on(client.stopped()).is_some());
}

#[test]
fn a_health_check_that_was_answered_is_no_abnormal_close() {
    observe(|witness, _| {
        let _running = start();
        let check = ask("/nowhere");
        check.take();
        check.end();
        let events = witness.lines();
        let closed: Vec<_> = events.iter().filter(|event| event.contains("closed |")).collect();
        let [closed] = closed[..] else { panic!("{events:#?}") };
        assert!(closed.starts_with("DEBUG closed"), "{closed}");
        assert!(!closed.contains("code=") && !closed.contains("clean="), "{closed}");
    });
}

#[test]
fn every_event_is_told_once_in_order_and_at_its_level() {
    observe(|witness, _| {
        play();
        assert_eq!(
            witness.events(),
            [
                "INFO listening",
                "WARN accept failed",
                "TRACE accepted",
                "DEBUG answered",
                "DEBUG open",
                "INFO handled",
                "TRACE accepted",
                "DEBUG answered",
                "DEBUG open",
                "DEBUG refused",
                "INFO closed",
                "TRACE accepted",
                "DEBUG answered",
                "DEBUG closed",
                "TRACE accepted",
                "ERROR failed",
                "DEBUG answered",
                "DEBUG closed",
                "TRACE accepted",
                "DEBUG answered",
                "DEBUG open",
                "INFO handled",
                "ERROR closed",
                "INFO handled",
                "TRACE lost",
                "INFO lag",
                "INFO draining",
                "DEBUG closed",
                "INFO stopped",
                "INFO reconnecting",
                "DEBUG open",
                "DEBUG closed",
                "INFO reconnecting",
                "WARN gave up",
            ]
        );
    });
}

#[test]
fn no_payload_reason_path_header_or_page_is_ever_told() {
    observe(|witness, ledger| {
        play();
        let told = witness.everything() + &ledger.lines().join("\n");
        assert!(told.lines().count() > 50, "{told}");
        assert!(!told.contains(SECRET), "{told}");
        let as_bytes = format!("{:?}", SECRET.as_bytes());
        assert!(!told.contains(&as_bytes[1..as_bytes.len() - 1]), "{told}");
    });
}

#[test]
fn all_that_a_connection_does_is_in_its_span_also_what_the_handler_tells() {
    observe(|witness, _| {
        let _running = start();
        let first = ask("/");
        let second = ask("/");
        witness.lines();
        first.send(&masked(0x81, b"x"));
        second.send(&masked(0x81, b"x"));
        let told = witness.lines();
        assert_eq!(told[0], "INFO handled | [session connection=1 peer=127.0.0.1:50000 id=1]");
        assert_eq!(told[1], "INFO handled | [session connection=2 peer=127.0.0.1:50000 id=2]");
        leave(&first);
        assert_eq!(
            witness.lines(),
            [
                "DEBUG closed | id=1 peer=127.0.0.1:50000 side=\"remote\" cause=\"closed\" code=1000 \
              clean=true undelivered=0 undelivered_messages=0 [session connection=1 peer=127.0.0.1:50000 id=1]"
            ]
        );
    });
}

#[test]
fn sessions_of_plain_tcp_and_of_clients_have_their_number_too() {
    observe(|witness, _| {
        let server = Server::bind("127.0.0.1:80").on_message(|_, _| tracing::info!("handled"));
        let _running = Sim::block_on(server.start()).unwrap();
        Sim::dial().send(b"x");
        let _session = Sim::block_on(Client::<Sim>::new("tcp://example:81").connect()).unwrap();
        Sim::run();
        let told = witness.lines();
        let inside: Vec<_> = told.iter().filter(|line| line.ends_with(" id=1]")).collect();
        assert_eq!(inside.len(), 3, "open, handled, and open: {told:?}");
    });
}

#[test]
fn the_document_names_every_event_with_its_level() {
    let rows = table("| event | level |");
    let documented = rows.into_iter().map(|row| (row[0].clone(), row[1].clone()));
    let documented: BTreeMap<_, _> = documented.collect();
    observe(|witness, _| {
        play();
        let mut told: Vec<_> = witness.events();
        told.retain(|event| event != "INFO handled");
        for event in &told {
            let (level, name) = event.split_once(' ').unwrap();
            let levels = documented.get(name).unwrap_or_else(|| panic!("{name} is documented"));
            assert!(levels.contains(level), "{name} at {level}, not {levels}");
        }
        for name in documented.keys() {
            assert!(told.iter().any(|event| event.ends_with(name)), "{name} is told");
        }
    });
}

#[test]
fn the_document_names_every_metric_with_its_kind() {
    let rows = table("| name | kind |");
    let documented = rows.into_iter().map(|row| (row[0].clone(), row[1].clone()));
    let documented: BTreeMap<_, _> = documented.collect();
    observe(|_, ledger| {
        play();
        let published = ledger.names().into_iter().map(|(name, kind)| (name, kind.to_owned()));
        assert_eq!(published.collect::<BTreeMap<_, _>>(), documented);
    });
}

#[test]
fn what_messages_add_up_to_is_published_when_asked_for_and_at_the_end() {
    observe(|_, ledger| {
        let running = start();
        let messages = |direction: &str| {
            let lines = ledger.lines();
            let name = format!("storm_messages_total{{role=server,direction={direction}}} ");
            let line = lines.iter().find_map(|line| line.strip_prefix(&*name).map(str::to_owned));
            line.map_or(0, |count| count.parse::<u64>().unwrap())
        };
        let (first, second) = (ask("/"), ask("/"));
        for peer in [&first, &second, &second] {
            peer.send(&masked(0x81, b"x"));
        }
        assert_eq!(messages("in"), 0, "no message is published by itself");
        running.hub().publish();
        assert_eq!((messages("in"), messages("out")), (3, 3));
        running.hub().publish();
        first.send(&masked(0x81, b"x"));
        leave(&first);
        assert_eq!(messages("in"), 3, "its end brings less than was published with the other");
        leave(&second);
        assert_eq!((messages("in"), messages("out")), (4, 4));
        let lines = ledger.lines();
        for line in [
            "storm_connections{} 0",
            "storm_sessions{role=server} 0",
            "storm_sessions_opened_total{role=server} 2",
            "storm_sessions_closed_total{role=server,cause=closed,side=remote} 2",
            "storm_session_seconds{role=server} [0.0, 0.0]",
        ] {
            assert!(lines.contains(&line.to_owned()), "{line} in {lines:#?}");
        }
    });
}
