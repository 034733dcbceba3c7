//! Who is let into a server: pages by their origin, addresses by number and rate, in virtual
//! time.
#![allow(clippy::unwrap_used)]

mod sim;

use std::net::SocketAddr;
use std::time::Duration;

use sim::tools::{Journal, seconds, start};
use sim::{Peer, Sim};
use storm_proto::service::{Address, Handler};
use storm_proto::websocket::handshake::{Accept, Decision, Request};
use storm_proto::{Heartbeat, Origins, Rate, WebSocket};

type Server<H = storm_proto::service::Callbacks> = storm_proto::service::Server<Sim, H>;

const UPGRADE: &str = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

/// Accepts all, and notes who asked.
#[derive(Clone, Default)]
struct Scribe(Journal);

impl Handler for Scribe {
    async fn on_connecting(&self, request: &Request) -> Decision {
        self.0.note(format!("{} from {:?}", request.path(), request.origin()));
        Accept::new().into()
    }
}

fn server() -> Server {
    Server::bind("127.0.0.1:80").websocket(WebSocket::new().heartbeat(Heartbeat::off()))
}

fn dial(ip: &str) -> Peer {
    let address = SocketAddr::new(ip.parse().unwrap(), 50_000);
    let peer = Sim::dial_from(address.into());
    Sim::run();
    peer
}

/// How many of so many attempts get in; each leaves at once.
fn come_and_go(ip: &str, attempts: usize) -> usize {
    let gets_in = |_: &usize| {
        let peer = dial(ip);
        let refused = peer.is_ended();
        peer.reset();
        !refused
    };
    (0..attempts).filter(gets_in).count()
}

/// The status and the body of the answer to a request with these header lines.
fn ask(lines: &str) -> (String, String) {
    let peer = Sim::dial();
    peer.send(format!("GET / HTTP/1.1\r\nHost: app.example\r\n{lines}\r\n").as_bytes());
    let answer = String::from_utf8(peer.take()).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert_eq!(peer.is_ended(), !head.contains(" 101 "), "a refusal closes");
    (head[9..12].into(), body.into())
}

// Origins.

#[test]
fn a_page_of_another_origin_is_refused_before_the_application_is_asked() {
    let scribe = Scribe::default();
    let origins = Origins::only(["https://app.example"]).unwrap();
    let running = start(server().origins(origins).handler(scribe.clone()));
    let upgrade = |origin: &str| ask(&format!("{UPGRADE}{origin}"));

    let (status, body) = upgrade("Origin: https://app.example.evil.example\r\n");
    assert_eq!((&*status, &*body), ("403", "pages of this origin may not connect here\n"));
    assert_eq!(upgrade("Origin: null\r\n").0, "403");
    let twice = "Origin: https://app.example\r\n".repeat(2);
    assert_eq!(upgrade(&twice).0, "400", "which of them the browser sent nobody knows");
    assert!(scribe.0.take().is_empty());
    assert_eq!((running.sessions().len(), running.refused()), (0, 0));

    assert_eq!(upgrade("Origin: https://APP.example:443\r\n").0, "101");
    assert_eq!(upgrade("").0, "101", "no browser");
    assert_eq!(ask("Origin: https://evil.example\r\n").0, "426", "no upgrade: not checked");
    assert_eq!(scribe.0.take().len(), 3);
}

#[test]
fn without_a_policy_every_origin_connects() {
    let _running = start(server());
    assert_eq!(ask(&format!("{UPGRADE}Origin: https://evil.example\r\n")).0, "101");
}

#[test]
fn a_page_of_the_server_itself_connects_where_the_same_origin_is_asked_for() {
    let _running = start(server().origins(Origins::same().allow_missing(false)));
    assert_eq!(ask(&format!("{UPGRADE}Origin: https://app.example\r\n")).0, "101");
    assert_eq!(ask(&format!("{UPGRADE}Origin: https://app.example:8443\r\n")).0, "403");
    assert_eq!(ask(UPGRADE), ("403".into(), "the origin header is missing\n".into()));
}

// Connections of one address.

#[test]
fn one_address_has_so_many_connections_from_accept_and_others_have_theirs() {
    let running = start(server().max_connections_per_ip(2));
    let mine = ["10.0.0.1", "::ffff:10.0.0.1", "10.0.0.1"].map(dial);
    assert_eq!(mine.each_ref().map(Peer::is_ended), [false, false, true]);
    let net = ["2001:db8::1", "2001:db8::2", "2001:db8::3", "2001:db8:0:1::"].map(dial);
    assert_eq!(net.each_ref().map(Peer::is_ended), [false, false, true, false]);
    assert_eq!((running.connections(), running.refused()), (5, 2));

    mine[0].reset();
    assert!(!dial("10.0.0.1").is_ended(), "a place is given back");
    assert!(dial("10.0.0.1").is_ended());
    Sim::pass(seconds(5));
    assert_eq!(running.connections(), 0, "the deadline of the handshake");
    assert!(!dial("10.0.0.1").is_ended());
}

#[test]
fn unix_sockets_are_not_counted() {
    let running = start(server().max_connections_per_ip(1).connect_rate(Rate::per_second(1)));
    let peers = [0; 3].map(|_| Sim::dial_from(Address::Unix(None)));
    Sim::run();
    assert!(peers.iter().all(|peer| !peer.is_ended()));
    assert_eq!(running.connections(), 3);
}

// How often one address connects.

#[test]
fn an_address_that_connects_too_often_is_refused_and_coming_back_does_not_help() {
    let running = start(server().connect_rate(Rate::per_second(2).burst(5)));
    assert_eq!(come_and_go("10.0.0.1", 20), 5);
    assert_eq!((running.connections(), running.refused()), (0, 15));
    assert_eq!(come_and_go("10.0.0.2", 20), 5, "others have their own");
    Sim::pass(Duration::from_millis(499));
    assert_eq!(come_and_go("10.0.0.1", 5), 0);
    Sim::pass(Duration::from_millis(1));
    assert_eq!(come_and_go("10.0.0.1", 5), 1);
    Sim::pass(seconds(3600));
    assert_eq!(come_and_go("10.0.0.1", 20), 5, "a pause saves up no more than the burst");
}

#[test]
fn no_second_sees_more_than_the_burst_and_what_comes_in_it() {
    let _running = start(server().connect_rate(Rate::per_second(10)));
    let mut admitted = Vec::new();
    for step in 0..300u64 {
        admitted.extend(std::iter::repeat_n(step * 10, come_and_go("10.0.0.1", 3)));
        Sim::pass(Duration::from_millis(10));
    }
    assert_eq!(admitted.len(), 10 + 29, "burst, and ten a second");
    let after_the_burst = admitted.iter().filter(|at| (1000..2000).contains(*at)).count();
    assert_eq!(after_the_burst, 10);
}

#[test]
fn connections_that_stay_open_do_not_count_as_attempts() {
    let running = start(server().connect_rate(Rate::per_second(1)));
    let peers = [0; 4].map(|_| {
        let peer = dial("10.0.0.1");
        Sim::pass(seconds(1));
        peer
    });
    assert!(peers.iter().all(|peer| !peer.is_ended()));
    assert_eq!((running.connections(), running.refused()), (4, 0));
}

// What the application learns of a request.

#[test]
fn a_request_has_the_address_of_its_peer_its_cookies_and_its_parameters() {
    let journal = Journal::default();
    let noted = journal.clone();
    let server = server().on_connecting(move |request: &Request| {
        let parameters = request.query_pairs().map(|(name, value)| format!("{name}={value}"));
        let parameters = parameters.collect::<Vec<_>>();
        noted.note(format!("{:?} {:?} {parameters:?}", request.peer(), request.cookie("id")));
        Accept::new()
    });
    let _running = start(server);
    for peer in [dial("10.0.0.1"), Sim::dial_from(Address::Unix(None))] {
        let cookies = "Cookie: id=1; id=2\r\n";
        let request = format!("GET /?to=a+b HTTP/1.1\r\nHost: a\r\n{cookies}{UPGRADE}\r\n");
        peer.send(request.as_bytes());
        assert!(peer.take().starts_with(b"HTTP/1.1 101 "));
    }
    let [tcp, unix] = journal.take().try_into().unwrap();
    assert_eq!(tcp, r#"Some(10.0.0.1:50000) Some("1") ["to=a b"]"#);
    assert_eq!(unix, r#"None Some("1") ["to=a b"]"#);
}
