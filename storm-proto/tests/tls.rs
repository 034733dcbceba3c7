//! Servers and clients over TLS, in virtual time; the peer is a machine driven by hand.
#![allow(clippy::unwrap_used)]

mod sim;

mod tls {
    mod certificates;
    mod cuts;
    mod records;
}

use std::io::IoSlice;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sim::tools::{Journal, accept, masked, poll, seconds};
use sim::{Peer, Sim};
use storm_proto::framing::Delimiter;
use storm_proto::service::{ConnectError, ErrorContext, Handler, Running, Session};
use storm_proto::tls::{
    TlsClient, TlsErrorKind, TlsIdentity, TlsRoots, TlsServer, TlsStage, TlsVersion,
};
use storm_proto::websocket::handshake::{Accept, Decision, Request};
use storm_proto::{
    Cause, DisconnectReason, Error, Heartbeat, Message, Proxy, Side, Timer, WebSocket,
};

type Server<H = storm_proto::service::Callbacks> = storm_proto::service::Server<Sim, H>;
type Client<H = storm_proto::service::Callbacks> = storm_proto::service::Client<Sim, H>;

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

fn quiet() -> WebSocket {
    WebSocket::new().heartbeat(Heartbeat::off())
}

fn identity() -> TlsIdentity {
    TlsIdentity::self_signed(["server.example"]).unwrap()
}

fn blind() -> TlsClient {
    TlsClient::options().dangerous_accept_any_certificate().build().unwrap()
}

/// An echo that keeps what it saw.
#[derive(Clone, Default)]
struct Scribe {
    journal: Journal,
    sessions: Arc<Mutex<Vec<Session>>>,
    reasons: Arc<Mutex<Vec<DisconnectReason>>>,
}

impl Scribe {
    fn session(&self) -> Session {
        self.sessions.lock().unwrap()[0].clone()
    }

    fn reason(&self) -> DisconnectReason {
        self.reasons.lock().unwrap().pop().expect("the session is over")
    }
}

impl Handler for Scribe {
    async fn on_connecting(&self, request: &Request) -> Decision {
        let facts = request.tls().expect("known before the request is decided on");
        self.journal.note(format!("asked for {:?}", facts.server_name.as_deref()));
        Accept::new().into()
    }

    async fn on_connected(&self, session: &Session) {
        self.journal.note("connected");
        self.sessions.lock().unwrap().push(session.clone());
    }

    async fn on_message(&self, session: &Session, message: Message<'_>) {
        if message.as_bytes() == b"burst" {
            (0..100).for_each(|_| session.send("frame").unwrap());
        } else {
            session.send(message).unwrap();
        }
    }

    async fn on_disconnected(&self, _: &Session, reason: &DisconnectReason) {
        self.reasons.lock().unwrap().push(reason.clone());
    }

    async fn on_error(&self, context: &ErrorContext, error: &Error) {
        let text = match error {
            Error::Tls(error) => format!("tls {:?}", error.kind()),
            error => format!("{error:?}"),
        };
        self.journal.note(format!("error {:?} {text}", context.session().map(Session::id)));
    }
}

fn serve(configure: impl FnOnce(Server) -> Server) -> (Scribe, Running<Sim>) {
    let tls = TlsServer::new(identity()).unwrap();
    let scribe = Scribe::default();
    let server = configure(Server::bind("127.0.0.1:80").tls(tls)).handler(scribe.clone());
    let running = Sim::block_on(server.start()).unwrap();
    Sim::run();
    (scribe, running)
}

fn serve_websocket() -> (Scribe, Running<Sim>) {
    serve(|server| server.websocket(quiet()))
}

/// The other end, with the machine that it needs.
struct Secure {
    peer: Peer,
    stage: TlsStage,
    /// Records that were taken and not opened.
    records: Vec<u8>,
}

impl Secure {
    fn new(peer: Peer, stage: TlsStage) -> Secure {
        Secure { peer, stage, records: Vec::new() }
    }

    /// A client of the server, with its handshake done.
    fn connect() -> Secure {
        let stage = TlsStage::client(&blind(), "server.example", true).unwrap();
        let mut secure = Secure::new(Sim::dial(), stage);
        secure.shake();
        secure
    }

    /// As [`Secure::connect`], with a WebSocket on it.
    fn websocket() -> Secure {
        let mut secure = Secure::connect();
        secure.send(REQUEST);
        let answer = secure.take();
        assert!(answer.starts_with(b"HTTP/1.1 101"), "{}", answer.escape_ascii());
        secure
    }

    /// Goes through the handshake with what the machine at the other end says.
    fn shake(&mut self) {
        for _ in 0..5 {
            self.flush();
            self.records.extend(self.peer.take());
            let mut rest = &self.records[..];
            self.stage.handshake(&mut rest).unwrap();
            self.records = rest.to_vec();
        }
        assert!(!self.stage.is_handshaking());
    }

    fn flush(&mut self) {
        let mut records = Vec::new();
        self.stage.answers(&mut records);
        self.peer.send(&records);
    }

    fn send(&mut self, plain: &[u8]) {
        let records = self.seal(plain);
        self.peer.send(&records);
    }

    fn seal(&mut self, mut plain: &[u8]) -> Vec<u8> {
        let mut records = Vec::new();
        while !plain.is_empty() {
            let n = self.stage.seal(&[IoSlice::new(plain)], &mut records).unwrap();
            plain = &plain[n..];
        }
        records
    }

    /// All plaintext that has come.
    fn take(&mut self) -> Vec<u8> {
        self.records.extend(self.peer.take());
        self.open()
    }

    fn open(&mut self) -> Vec<u8> {
        let mut rest = &self.records[..];
        let mut all = Vec::new();
        loop {
            let mut plain = [0; 4096];
            let n = self.stage.open(&mut rest, &mut plain).unwrap();
            all.extend_from_slice(&plain[..n]);
            if n == 0 {
                self.records = rest.to_vec();
                return all;
            }
        }
    }

    /// Ends in order.
    fn end(&mut self) {
        let mut records = Vec::new();
        self.stage.close(&mut records);
        self.peer.send(&records);
        self.peer.end();
    }
}

/// How many records these bytes are.
fn count(mut records: &[u8]) -> usize {
    let mut count = 0;
    while !records.is_empty() {
        let len = usize::from(u16::from_be_bytes([records[3], records[4]]));
        records = &records[5 + len..];
        count += 1;
    }
    count
}

fn text(text: &str) -> Vec<u8> {
    masked(0x81, text.as_bytes())
}

// A server.

/// What a client says of a server without TLS.
const NOT_TLS: &str =
    "tls: the server does not speak tls at this address: use ws:// or tcp:// for it";

#[test]
fn a_websocket_opens_talks_and_closes_and_both_ends_know_of_the_tls() {
    let (scribe, _running) = serve_websocket();
    let mut client = Secure::websocket();
    let facts = scribe.session().tls().unwrap();
    assert_eq!(facts.server_name.as_deref(), Some("server.example"));
    assert_eq!(facts.version, TlsVersion::Tls13);
    assert_eq!(facts.alpn.as_deref(), Some(&b"http/1.1"[..]));
    client.send(&text("hello"));
    assert_eq!(client.take(), b"\x81\x05hello");
    let metrics = scribe.session().metrics();
    assert_eq!(metrics.bytes_received, (REQUEST.len() + 11) as u64, "bytes are those of plaintext");
    client.send(&masked(0x88, b"\x03\xe8"));
    assert_eq!(client.take(), b"\x88\x02\x03\xe8");
    assert!(client.stage.is_ended(), "close_notify came behind the close frame");
    assert!(client.peer.is_ended());
    // It has said all that it has to say: what TLS itself would add is not missed.
    client.peer.end();
    let reason = scribe.reason();
    assert_eq!((reason.side, reason.cause, reason.clean), (Side::Remote, Cause::Closed, true));
    assert_eq!(scribe.journal.take(), ["asked for Some(\"server.example\")", "connected"]);
}

#[test]
fn a_hundred_small_frames_leave_as_one_record() {
    let (_scribe, _running) = serve_websocket();
    let mut client = Secure::websocket();
    client.send(&text("burst"));
    client.records = client.peer.take();
    assert_eq!(count(&client.records), 1);
    assert_eq!(client.open(), b"\x81\x05frame".repeat(100));
}

#[test]
fn one_deadline_covers_tls_and_the_request() {
    let (scribe, running) = serve_websocket();
    let silent = Sim::dial();
    let stuck = Sim::dial();
    stuck.send(b"\x16\x03\x01");
    Sim::pass(seconds(2));
    let secured = Secure::connect();
    let late = Sim::dial();
    Sim::pass(Duration::from_millis(2_999));
    assert_eq!(running.connections(), 4);
    Sim::pass(Duration::from_millis(1));
    assert!(silent.is_ended() && stuck.is_ended(), "5 s after they were accepted");
    assert_eq!(running.connections(), 2);
    Sim::pass(seconds(2));
    assert!(secured.peer.is_ended() && late.is_ended());
    let error = format!("error None {:?}", Error::Timer(Timer::Handshake));
    assert_eq!(scribe.journal.take(), vec![error; 4]);
}

#[test]
fn a_plain_request_is_told_to_use_tls() {
    for framed in [false, true] {
        let (scribe, running) =
            serve(|server| if framed { server } else { server.websocket(quiet()) });
        let peer = Sim::dial();
        peer.send(REQUEST);
        let answer = String::from_utf8(peer.take()).unwrap();
        assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
        assert!(answer.ends_with("this port speaks https and wss, not plain http\n"), "{answer}");
        assert!(peer.is_ended());
        peer.send(b"more");
        peer.end();
        assert_eq!(scribe.journal.take(), ["error None tls PlainHttp"]);
        assert_eq!(running.connections(), 0);
        Sim::block_on(running.stop(seconds(1)));
    }
}

#[test]
fn garbage_is_told_apart_from_a_look_at_the_port() {
    let (scribe, running) = serve_websocket();
    let garbage = Sim::dial();
    garbage.send(b"\x00\x01garbage");
    assert_eq!(garbage.take(), b"", "there is no word that it would understand");
    assert!(garbage.is_ended());
    garbage.end();
    let look = Sim::dial();
    look.end();
    assert!(look.is_ended());
    let cut = Sim::dial();
    cut.send(b"\x16\x03\x01\x02\x00");
    cut.end();
    assert_eq!(scribe.journal.take(), ["error None tls NotTls", "error None tls Truncated"]);
    assert_eq!(running.connections(), 0);
}

#[test]
fn a_failed_handshake_is_told_by_an_alert_and_an_end() {
    let (scribe, running) = serve_websocket();
    let peer = Sim::dial();
    // A ClientHello with nothing in it.
    peer.send(b"\x16\x03\x01\x00\x04\x01\x00\x00\x00");
    let alert = peer.take();
    assert_eq!((alert[0], alert[5]), (21, 2), "a fatal alert: {alert:?}");
    assert!(peer.is_ended() && !peer.is_reset());
    assert_eq!(running.connections(), 0, "it lingers, and may still read");
    peer.end();
    assert_eq!(running.connections(), 0);
    assert_eq!(scribe.journal.take(), ["error None tls Protocol"]);
}

#[test]
fn bytes_that_were_changed_end_the_session() {
    let (scribe, _running) = serve_websocket();
    let mut client = Secure::websocket();
    let mut records = client.seal(&text("hello"));
    *records.last_mut().unwrap() ^= 1;
    client.peer.send(&records);
    let reason = scribe.reason();
    assert_eq!((reason.side, reason.cause, reason.clean), (Side::Remote, Cause::TlsError, false));
    assert!(
        matches!(reason.error, Some(Error::Tls(error)) if error.kind() == TlsErrorKind::Corrupt)
    );
    client.records = client.peer.take();
    assert_eq!(count(&client.records), 1, "an alert");
}

#[test]
fn a_narrow_network_carries_all_of_it_and_controls_between() {
    let (scribe, _running) = serve_websocket();
    let mut client = Secure::websocket();
    client.peer.narrow(100);
    let large = vec![7; 200_000];
    scribe.session().send(&large).unwrap();
    scribe.session().send("behind").unwrap();
    // An answer that may overtake, while records are half-way.
    client.send(&masked(0x89, b"ping"));
    let all = client.take();
    let frame = [b"\x82\x7f\x00\x00\x00\x00\x00\x03\x0d\x40", &large[..]].concat();
    let pong = b"\x8a\x04ping";
    let behind = b"\x81\x06behind";
    let expected = [[&frame[..], pong, behind].concat(), [&frame[..], behind, pong].concat()];
    assert!(expected.contains(&all), "{} bytes", all.len());
    assert_eq!(scribe.session().buffered(), 0);
    client.send(&text("on"));
    assert_eq!(client.take(), b"\x81\x02on");
}

#[test]
fn many_small_frames_and_pings_on_a_network_of_one_byte_arrive_whole() {
    let (_scribe, _running) = serve_websocket();
    let mut client = Secure::websocket();
    client.peer.narrow(1);
    let input = (0..200).map(|n| [text("echo"), masked(0x89, &[n])].concat());
    let input = input.collect::<Vec<_>>().concat();
    client.send(&input);
    let all = client.take();
    let mut rest = &all[..];
    let mut echoes = 0;
    while let [first, len, ..] = *rest {
        let payload = &rest[2..2 + usize::from(len)];
        assert!(first == 0x8A || payload == b"echo", "{first:x} {payload:?}");
        echoes += usize::from(first == 0x81);
        rest = &rest[2 + payload.len()..];
    }
    assert_eq!(echoes, 200);
}

#[test]
fn the_limit_of_the_outbox_counts_plaintext_until_the_socket_has_taken_it() {
    let (scribe, _running) = serve(|server| server.websocket(quiet()).max_pending_send(10_000));
    let mut client = Secure::websocket();
    client.peer.narrow(1_000);
    let session = scribe.session();
    let frame = [7; 996];
    let accepted = (0..100).take_while(|_| session.send(&frame).is_ok()).count();
    assert_eq!(accepted, 10, "as without tls");
    Sim::run();
    assert!((9_000..10_000).contains(&session.buffered()), "{}", session.buffered());
    assert_eq!(client.take().len(), 10_000);
    assert_eq!(session.buffered(), 0);
}

#[test]
fn a_peer_that_reads_slowly_makes_progress_within_a_record_and_one_that_does_not_is_cut_off() {
    let (scribe, _running) = serve_websocket();
    let mut client = Secure::websocket();
    client.peer.narrow(1_000);
    scribe.session().send(&[7; 16_000]).unwrap();
    Sim::run();
    for _ in 0..10 {
        Sim::pass(seconds(29));
        // One network full, and no more.
        client.records.extend(client.peer.take_once());
    }
    assert!(scribe.session().reason().is_none(), "it reads");
    assert!(client.open().is_empty(), "all of it is one record");
    Sim::pass(seconds(30));
    let reason = scribe.reason();
    assert_eq!(reason.cause, Cause::StallTimeout);
    assert!((4_000..6_000).contains(&reason.undelivered), "{}", reason.undelivered);
    assert!(client.peer.is_reset());
}

// Plain streams have no other word for their end.

fn serve_lines() -> (Scribe, Running<Sim>) {
    serve(|server| server.framed(Delimiter::lines()))
}

#[test]
fn lines_over_tls_open_after_the_handshake_and_end_in_order() {
    let (scribe, _running) = serve_lines();
    let waiting = Sim::dial();
    assert!(scribe.journal.take().is_empty(), "not connected before tls is");
    waiting.end();
    let mut client = Secure::connect();
    assert_eq!(scribe.journal.take(), ["connected"]);
    client.send(b"one\ntwo\n");
    // Half-open: what is queued still comes.
    client.end();
    assert_eq!(client.take(), b"one\ntwo\n");
    assert!(client.stage.is_ended() && client.peer.is_ended());
    let reason = scribe.reason();
    assert_eq!((reason.side, reason.cause, reason.clean), (Side::Remote, Cause::Closed, true));
}

#[test]
fn a_plain_stream_that_is_cut_off_is_a_fault_and_its_answers_still_go_out() {
    let (scribe, _running) = serve_lines();
    let mut client = Secure::connect();
    client.send(b"one\ntw");
    client.peer.end();
    assert_eq!(client.take(), b"one\n");
    assert!(client.stage.is_ended(), "this side ends in order");
    let reason = scribe.reason();
    assert_eq!((reason.side, reason.cause, reason.clean), (Side::Remote, Cause::TlsError, false));
    assert_eq!(reason.unfinished, b"tw"[..]);
    assert!(
        matches!(reason.error, Some(Error::Tls(error)) if error.kind() == TlsErrorKind::Truncated)
    );
}

#[test]
fn a_close_of_ours_is_clean_only_with_the_word_of_the_peer() {
    for orderly in [true, false] {
        let (scribe, running) = serve_lines();
        let mut client = Secure::connect();
        scribe.session().close();
        assert_eq!(client.take(), b"");
        assert!(client.stage.is_ended());
        if orderly {
            client.end()
        } else {
            client.peer.end()
        }
        let reason = scribe.reason();
        assert_eq!((reason.side, reason.cause), (Side::Local, Cause::Closed));
        assert_eq!(reason.clean, orderly);
        Sim::block_on(running.stop(seconds(1)));
    }
}

#[test]
fn a_websocket_that_is_cut_off_is_lost_as_without_tls() {
    let (scribe, _running) = serve_websocket();
    let client = Secure::websocket();
    client.peer.end();
    let reason = scribe.reason();
    assert_eq!((reason.cause, reason.clean, reason.error), (Cause::Lost, false, None));
}

#[test]
fn a_renewed_certificate_is_shown_to_those_who_come_next() {
    let tls = TlsServer::new(identity()).unwrap();
    let server = Server::bind("127.0.0.1:80").tls(tls.clone()).framed(Delimiter::lines());
    let _running = Sim::block_on(server.start()).unwrap();
    Sim::run();
    let mut first = Secure::connect();
    let renewed = identity();
    tls.replace(&TlsServer::new(renewed.clone()).unwrap());
    let second = Secure::connect();
    let shown = |client: &Secure| client.stage.facts().unwrap().peer_certificates;
    assert_ne!(shown(&first), renewed.certificates());
    assert_eq!(shown(&second), renewed.certificates());
    first.send(b"still open\n");
    assert!(!first.peer.is_ended());
}

// A client.

fn trusting(identity: &TlsIdentity) -> TlsClient {
    TlsClient::options().roots(TlsRoots::only(identity).unwrap()).build().unwrap()
}

/// The server's end of a stream that a client has opened.
fn answer(identity: &TlsIdentity) -> Secure {
    let server = TlsServer::new(identity.clone()).unwrap();
    Secure::new(Sim::dialled(), TlsStage::server(&server, true).unwrap())
}

#[test]
fn a_client_of_a_secure_address_speaks_tls_from_its_first_byte() {
    let identity = identity();
    let client = Client::new("wss://server.example/path").tls(trusting(&identity));
    let mut connect = Box::pin(client.on_message(|s, message| s.send(message)).connect());
    assert!(poll(&mut connect).is_none());
    let mut server = answer(&identity);
    let hello = server.peer.take();
    assert_eq!(hello[..2], [22, 3]);
    assert!(hello.windows(14).any(|part| part == b"server.example"), "the name of the uri");
    server.stage.handshake(&mut &hello[..]).unwrap();
    for _ in 0..5 {
        server.flush();
        assert!(poll(&mut connect).is_none());
        server.records.extend(server.peer.take());
        let mut rest = &server.records[..];
        server.stage.handshake(&mut rest).unwrap();
        server.records = rest.to_vec();
    }
    let request = server.take();
    assert!(request.starts_with(b"GET /path HTTP/1.1\r\nHost: server.example\r\n"));
    server.send(&[&accept(&request)[..], b"\x81\x05early"].concat());
    let session = poll(&mut connect).unwrap().unwrap();
    assert_eq!(session.tls().unwrap().peer_certificates, identity.certificates());
    assert_eq!(server.take().len(), 11, "a masked echo");
    session.close();
    assert_eq!(server.take().len(), 8, "a masked close");
    server.send(b"\x88\x02\x03\xe8");
    server.end();
    server.take();
    assert!(server.stage.is_ended(), "close_notify");
    assert!(Sim::block_on(session.closed()).clean);
}

#[test]
fn a_server_that_nobody_vouches_for_gets_an_alert_and_no_request() {
    let (ours, theirs) = (identity(), identity());
    let mut connect = Box::pin(Client::new("wss://server.example").tls(trusting(&ours)).connect());
    assert!(poll(&mut connect).is_none());
    let mut server = answer(&theirs);
    server.stage.handshake(&mut &server.peer.take()[..]).unwrap();
    server.flush();
    let error = poll(&mut connect).unwrap().unwrap_err();
    assert!(
        matches!(&error, ConnectError::Tls(error) if error.kind() == TlsErrorKind::Certificate)
    );
    assert!(!error.is_retryable(), "{error}");
    let alert = server.peer.take();
    let told = server.stage.handshake(&mut &alert[..]).unwrap_err();
    assert_eq!(told.kind(), TlsErrorKind::Alert);
    assert!(server.peer.is_ended());
}

#[test]
fn a_server_that_speaks_plain_is_not_spoken_to() {
    let tls = trusting(&identity());
    let mut connect = Box::pin(Client::new("wss://server.example").tls(tls).connect());
    assert!(poll(&mut connect).is_none());
    let server = Sim::dialled();
    assert_eq!(server.take()[0], 22);
    server.send(b"HTTP/1.1 400 Bad Request\r\n\r\n");
    let error = poll(&mut connect).unwrap().unwrap_err();
    assert_eq!(error.to_string(), NOT_TLS);
    assert_eq!(server.take(), b"");
}

#[test]
fn a_silent_server_of_tls_costs_no_more_than_the_deadline() {
    let client = Client::new("tls://server.example:1").tls(blind()).connect_timeout(seconds(3));
    let mut connect = Box::pin(client.connect());
    assert!(poll(&mut connect).is_none());
    let server = Sim::dialled();
    server.send(b"\x16\x03\x03");
    Sim::pass(Duration::from_millis(2_999));
    assert!(poll(&mut connect).is_none());
    Sim::pass(Duration::from_millis(1));
    assert!(matches!(poll(&mut connect), Some(Err(ConnectError::Timeout(_)))));
    drop(connect);
    assert!(server.is_ended());
}

#[test]
fn a_proxy_sees_only_that_there_is_tls_and_what_it_adds_is_not_believed() {
    for injected in [&b""[..], b"HTTP/1.1 101 Switching Protocols\r\n"] {
        let proxy: Proxy = "http://proxy:3128".parse().unwrap();
        let client = Client::new("wss://server.example").tls(blind()).proxy(proxy);
        let mut connect = Box::pin(client.connect());
        assert!(poll(&mut connect).is_none());
        let server = Sim::dialled();
        let asked = server.take();
        assert!(asked.starts_with(b"CONNECT server.example:443 "), "{}", asked.escape_ascii());
        server.send(&[b"HTTP/1.1 200 OK\r\n\r\n", injected].concat());
        match poll(&mut connect) {
            None => assert_eq!((injected.is_empty(), server.take()[0]), (true, 22)),
            Some(connected) => {
                assert!(!injected.is_empty());
                let error = connected.unwrap_err();
                assert_eq!(error.to_string(), NOT_TLS);
            }
        }
    }
}

#[test]
fn options_of_tls_do_not_go_with_a_plain_address() {
    for address in ["ws://server.example", "tcp://server.example:1"] {
        let error = Sim::block_on(Client::new(address).tls(blind()).connect()).unwrap_err();
        assert!(error.to_string().contains("wss:"), "{error}");
        assert!(Sim::nobody_dialled());
    }
}

#[test]
fn a_client_whose_certificate_is_refused_learns_it() {
    let identity = identity();
    let roots = TlsRoots::only(&identity).unwrap();
    let options = TlsServer::options(identity).require_client_certificates(roots);
    let stage = TlsStage::server(&options.build().unwrap(), true).unwrap();
    let mut connect = Box::pin(Client::new("wss://server.example").tls(blind()).connect());
    assert!(poll(&mut connect).is_none());
    let mut server = Secure::new(Sim::dialled(), stage);
    server.stage.handshake(&mut &server.peer.take()[..]).unwrap();
    server.flush();
    // With TLS 1.3 the client is done, and sends its request already.
    assert!(poll(&mut connect).is_none());
    let refused = server.stage.handshake(&mut &server.peer.take()[..]).unwrap_err();
    assert_eq!(refused.kind(), TlsErrorKind::Certificate);
    server.flush();
    let error = poll(&mut connect).unwrap().unwrap_err();
    assert!(
        matches!(&error, ConnectError::Tls(error) if error.kind() == TlsErrorKind::Alert),
        "{error}"
    );
}
