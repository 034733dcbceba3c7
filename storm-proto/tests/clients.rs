//! Clients as an application sees them, in virtual time.
#![allow(clippy::unwrap_used)]

mod sim;

use std::future::poll_fn;
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};
use std::time::Duration;

use sim::tools::{Journal, accept, masked, poll, seconds};
use sim::{Peer, Sim};
use storm_proto::framing::Delimiter;
use storm_proto::service::{
    ClientState, ConnectError, Failure, Handler, Inbox, Middleware, Outcome, Reconnecting, Retry,
    Session, State,
};
use storm_proto::websocket::handshake::{Accept, HandshakeError, ServerHandshake};
use storm_proto::{
    Cause, DisconnectReason, Error, Heartbeat, Message, OwnedMessage, Prepared, ProtocolError,
    Proxy, Reconnect, SendError, Side, WebSocket,
};

type Client<H = storm_proto::service::Callbacks> = storm_proto::service::Client<Sim, H>;

#[test]
fn a_client_opens_talks_and_closes() {
    let journal = Journal::default();
    let (messages, ends) = (journal.clone(), journal.clone());
    let client = Client::new("ws://example:81/path").header("Authorization", "Bearer x");
    let client = client
        .on_message(move |_, message| messages.note(message.as_text().unwrap()))
        .on_disconnected(move |_, reason| {
            ends.note(format!("{:?} {}", reason.cause, reason.clean))
        });
    let mut connect = Box::pin(client.connect());
    assert!(poll(&mut connect).is_none());
    let server = Sim::dialled();
    let request = server.take();
    let head = String::from_utf8(request.clone()).unwrap();
    assert!(head.starts_with("GET /path HTTP/1.1\r\nHost: example:81\r\n"), "{head}");
    assert!(head.contains("Authorization: Bearer x\r\n"));
    server.send(&[accept(&request), b"\x81\x05early".to_vec()].concat());
    let session = poll(&mut connect).unwrap().unwrap();
    assert_eq!(session.state(), State::Open);
    session.send("hi").unwrap();
    let frame = server.take();
    assert_eq!(frame[..2], [0x81, 0x82], "masked");
    session.close();
    assert_eq!(server.take().len(), 8, "a masked close");
    server.send(b"\x88\x02\x03\xe8");
    server.end();
    assert_eq!(journal.take(), ["early", "Closed true"]);
    assert!(Sim::block_on(session.closed()).clean);
}

#[test]
fn a_client_offers_subprotocols_in_order_and_tells_which_was_chosen() {
    for (offered, line, chosen) in [
        (&["mqtt", "graphql-ws"][..], Some("mqtt, graphql-ws"), Some("graphql-ws")),
        (&["mqtt", "graphql-ws"], Some("mqtt, graphql-ws"), None),
        (&[], None, None),
    ] {
        let client =
            offered.iter().fold(Client::new("ws://example"), |c, name| c.subprotocol(*name));
        let mut connect = Box::pin(client.connect());
        assert!(poll(&mut connect).is_none());
        let server = Sim::dialled();
        let bytes = server.take();
        let head = String::from_utf8(bytes.clone()).unwrap();
        let found = head.lines().find_map(|found| found.strip_prefix("Sec-WebSocket-Protocol: "));
        assert_eq!(found, line);
        let request = ServerHandshake::new(Default::default()).receive(&mut &bytes[..]);
        let request = request.unwrap().unwrap();
        assert!(request.subprotocols().eq(offered.iter().copied()));
        let accept = chosen.into_iter().fold(Accept::new(), Accept::subprotocol);
        server.send(&request.accept(&accept).unwrap());
        let session = poll(&mut connect).unwrap().unwrap();
        assert_eq!(session.subprotocol(), chosen);
    }
}

#[test]
fn a_refusal_is_a_typed_error_with_status_headers_and_body() {
    let mut connect = Box::pin(Client::new("ws://example").connect());
    assert!(poll(&mut connect).is_none());
    let server = Sim::dialled();
    server.take();
    server
        .send(b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 7\r\nContent-Length: 4\r\n\r\nslow");
    let error = poll(&mut connect).unwrap().unwrap_err();
    assert_eq!(error.status(), Some(429));
    assert_eq!(error.to_string(), "the server refused with status 429: slow");
    let ConnectError::Handshake(HandshakeError::Refused(refusal)) = error else {
        panic!("{error}")
    };
    assert_eq!(refusal.headers.get_str("retry-after"), Some("7"));
    assert!(server.is_ended(), "the stream is closed");
}

#[test]
fn a_refusal_on_a_connection_that_stays_open_is_told_half_a_second_later() {
    let mut connect = Box::pin(Client::new("ws://example").connect());
    assert!(poll(&mut connect).is_none());
    let server = Sim::dialled();
    server.send(b"HTTP/1.1 503 Busy\r\nConnection: keep-alive\r\nRetry-After: 7\r\n\r\nbusy");
    assert!(poll(&mut connect).is_none());
    Sim::pass(Duration::from_millis(499));
    assert!(poll(&mut connect).is_none(), "the body may be on its way");
    Sim::pass(Duration::from_millis(1));
    let error = poll(&mut connect).unwrap().unwrap_err();
    assert_eq!(error.to_string(), "the server refused with status 503: busy");
    assert_eq!(error.retry_after(), Some(seconds(7)));
    assert!(server.is_ended());
}

#[test]
fn a_refusal_in_chunks_is_told_when_its_last_chunk_is_there() {
    let mut connect = Box::pin(Client::new("ws://example").connect());
    assert!(poll(&mut connect).is_none());
    let server = Sim::dialled();
    server.send(b"HTTP/1.1 403 No\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nnot\r\n");
    assert!(poll(&mut connect).is_none());
    server.send(b"5\r\n here\r\n0\r\n");
    let error = poll(&mut connect).unwrap().unwrap_err();
    assert_eq!(error.to_string(), "the server refused with status 403: not here");
}

#[test]
fn a_peer_that_greets_in_another_protocol_is_told_at_once_and_for_good() {
    for (greeting, text) in [
        (&b"SSH-2.0-OpenSSH_9.6\r\n"[..], "http"),
        (b"<!DOCTYPE html>", "http"),
        (b"220 mail.example ESMTP\r\n", "http"),
        (b"\x15\x03\x01\0\x02\x02\x46", "wss://"),
    ] {
        let mut connect = Box::pin(Client::new("ws://example").connect());
        assert!(poll(&mut connect).is_none());
        let server = Sim::dialled();
        server.send(&greeting[..1]);
        let error = poll(&mut connect).unwrap().unwrap_err();
        assert!(error.to_string().contains(text), "{error}");
        assert!(!error.is_retryable(), "{error}");
        assert!(server.is_ended());
    }
}

#[test]
fn a_client_asks_once_what_is_spoken_where_nobody_answered() {
    let client =
        Client::new("ws://example").reconnect(Reconnect::new().cap(Duration::from_millis(1)));
    let client = client.unwrap();
    Sim::run();
    let end = |greeting: &[u8]| {
        let server = Sim::dialled();
        let sent = server.take();
        server.end();
        Sim::run();
        assert!(sent.starts_with(greeting), "{}", sent.escape_ascii());
    };
    end(b"GET / HTTP/1.1");
    end(b"\x16\x03\x01");
    Sim::pass(seconds(1));
    for _ in 0..3 {
        end(b"GET / HTTP/1.1");
        Sim::pass(seconds(1));
    }
    assert_eq!(client.metrics().attempts, 5, "the one probe is no attempt");
}

#[test]
fn a_client_of_a_wrong_scheme_gives_up() {
    let client = Client::new("ws://example").reconnect(Reconnect::new()).unwrap();
    Sim::run();
    let server = Sim::dialled();
    server.end();
    Sim::run();
    let probed = Sim::dialled();
    probed.send(b"\x15\x03\x03\0\x02\x02\x28");
    let failure = Sim::block_on(client.stopped()).unwrap();
    assert!(failure.to_string().contains("use wss://"), "{failure}");
    assert!(Sim::nobody_dialled());
}

#[test]
fn an_answer_over_a_limit_is_told_with_the_limit() {
    for (line, limit) in [
        (["HTTP/1.1 101 ", &"x".repeat(10_000)].concat(), "8192 bytes"),
        (["HTTP/1.1 101 x\r\nX: ", &"x".repeat(10_000)].concat(), "8192 bytes"),
        (["HTTP/1.1 101 x\r\n", &"X: y\r\n".repeat(101)].concat(), "100 header lines"),
        (
            ["HTTP/1.1 101 x\r\n", &["X: ", &"y".repeat(5_000), "\r\n"].concat().repeat(4)]
                .concat(),
            "16384 bytes",
        ),
    ] {
        let mut connect = Box::pin(Client::new("ws://example").connect());
        assert!(poll(&mut connect).is_none());
        Sim::dialled().send(line.as_bytes());
        let error = poll(&mut connect).unwrap().unwrap_err();
        assert!(error.to_string().contains(limit), "{error}");
        let too_large = ConnectError::Handshake(HandshakeError::InvalidResponse);
        assert_ne!(error.to_string(), too_large.to_string());
    }
}

#[test]
fn one_deadline_covers_the_whole_connect() {
    let client = Client::new("ws://example").connect_timeout(seconds(10));
    let mut connect = Box::pin(client.connect());
    assert!(poll(&mut connect).is_none());
    let server = Sim::dialled();
    server.send(b"HTTP/1.1 101 ");
    Sim::pass(Duration::from_millis(9_999));
    assert!(poll(&mut connect).is_none());
    Sim::pass(Duration::from_millis(1));
    assert!(matches!(poll(&mut connect), Some(Err(ConnectError::Timeout(_)))));
    drop(connect);
    assert!(server.is_ended());
}

#[test]
fn what_cannot_be_connected_to_is_told_before_a_socket_is_opened() {
    let connect = |client: Client| Sim::block_on(client.connect()).unwrap_err().to_string();
    assert!(connect(Client::new("http://example")).contains("must start with ws://"));
    #[cfg(not(feature = "tls"))]
    assert!(connect(Client::new("wss://example")).contains("tls"));
    assert!(connect(Client::new("ws://example").header("a", "b\r\nc: d")).contains("header"));
    assert!(connect(Client::new("ws://example").subprotocol("a b")).contains("subprotocol"));
    assert!(connect(Client::new("ws://refusing")).contains("refused"));
    assert!(connect(Client::new("ws://nowhere")).contains("not found"));
}

#[test]
fn a_dropped_connect_closes_its_stream() {
    let mut connect = Box::pin(Client::new("ws://example").connect());
    assert!(poll(&mut connect).is_none());
    let server = Sim::dialled();
    drop(connect);
    assert!(server.is_ended());
}

#[test]
fn a_server_that_breaks_the_rules_is_told_and_left() {
    let mut connect = Box::pin(Client::new("ws://example").connect());
    assert!(poll(&mut connect).is_none());
    let server = Sim::dialled();
    let request = server.take();
    server.send(&accept(&request));
    let session = poll(&mut connect).unwrap().unwrap();
    server.send(&masked(0x81, b"masked"));
    server.take();
    server.end();
    let reason = session.reason().unwrap();
    assert_eq!((reason.side, reason.cause), (Side::Remote, Cause::ProtocolError));
    assert_eq!(reason.error, Some(Error::Peer(ProtocolError::Masked)));
}

// Coming back.

/// Delays that the scripts can count on: between zero and a second.
const RETRIES: Reconnect = Reconnect::new().initial(Duration::from_secs(1)).factor(1);

#[derive(Clone, Default)]
struct Scribe {
    journal: Journal,
    retries: Arc<Mutex<Vec<Retry>>>,
}

impl Handler for Scribe {
    async fn on_connected(&self, session: &Session) {
        self.journal.note(format!("connected {}", session.id()));
    }

    async fn on_message(&self, _: &Session, message: Message<'_>) {
        assert_ne!(message.as_bytes(), b"panic", "on purpose");
    }

    async fn on_disconnected(&self, session: &Session, reason: &DisconnectReason) {
        self.journal.note(format!("disconnected {} {:?}", session.id(), reason.cause));
    }

    async fn on_reconnecting(&self, retry: &Retry) {
        self.retries.lock().unwrap().push(retry.clone());
        self.journal.note(match retry {
            Retry::Waiting { attempt, failure: Failure::Connect(_), .. } => {
                format!("retry {attempt} after a failed connect")
            }
            Retry::Waiting { attempt, .. } => format!("retry {attempt} after a loss"),
            Retry::GaveUp { failure } => format!("gave up: {failure}"),
            other => panic!("{other:?}"),
        });
        if self.retries.lock().unwrap().len() == 3 {
            panic!("on purpose");
        }
    }
}

fn coming_back(options: Reconnect) -> (Scribe, Reconnecting<Sim>) {
    let scribe = Scribe::default();
    let websocket = WebSocket::new().heartbeat(Heartbeat::every(seconds(30)).missed(1));
    let client = Client::new("ws://example").websocket(websocket).handler(scribe.clone());
    let client = client.reconnect(options).unwrap();
    Sim::run();
    (scribe, client)
}

/// Serves the handshake of the client that has dialled.
fn serve() -> Peer {
    Sim::run();
    let server = Sim::dialled();
    let request = server.take();
    server.send(&accept(&request));
    server
}

#[test]
fn a_client_comes_back_after_every_kind_of_loss() {
    let (scribe, client) = coming_back(RETRIES);
    let first = serve();
    assert_eq!(scribe.journal.take(), ["connected 1"]);
    first.reset();
    assert_eq!(scribe.journal.take(), ["disconnected 1 TransportError", "retry 1 after a loss"]);
    assert!(client.session().is_none());
    assert_eq!(client.send("x"), Err(SendError::NotConnected));
    Sim::pass(seconds(1));
    let second = serve();
    assert_eq!(Sim::block_on(client.connected()).unwrap().id(), 2);
    second.send(b"\x88\x02\x03\xe8");
    second.end();
    second.take();
    assert_eq!(
        scribe.journal.take(),
        ["connected 2", "disconnected 2 Closed", "retry 2 after a loss"]
    );
    Sim::pass(seconds(1));
    let third = serve();
    third.take();
    // The peer is dead: pings are not answered.
    Sim::pass(seconds(60));
    let journal = scribe.journal.take();
    assert_eq!(journal[..2], ["connected 3", "disconnected 3 HeartbeatTimeout"]);
    // It was open for longer than ten seconds, so the count starts anew; the panic in this
    // call of the handler changes nothing.
    assert_eq!(journal[2], "retry 1 after a loss");
    Sim::pass(seconds(1));
    let fourth = serve();
    fourth.send(b"\x81\x05panic");
    fourth.send(b"\x88\x02\x03\xf3");
    fourth.end();
    fourth.take();
    let journal = scribe.journal.take();
    assert_eq!(journal[1..], ["disconnected 4 HandlerFailed", "retry 2 after a loss"]);
    Sim::pass(seconds(1));
    serve();
    assert_eq!(scribe.journal.take(), ["connected 5"]);
}

#[test]
fn a_plain_client_comes_back_as_well_and_sends_nothing_meanwhile() {
    Sim::refuse(true);
    let scribe = Scribe::default();
    let client = Client::new("tcp://example:1").framed(Delimiter::lines());
    let client = client.handler(scribe.clone()).reconnect(RETRIES).unwrap();
    Sim::run();
    assert_eq!(scribe.journal.take(), ["retry 1 after a failed connect"]);
    assert_eq!(client.send("x"), Err(SendError::NotConnected));
    Sim::refuse(false);
    Sim::pass(seconds(1));
    let first = Sim::dialled();
    let session = client.session().unwrap();
    client.send("hi").unwrap();
    assert_eq!(first.take(), b"hi\n");
    first.end();
    assert_eq!(
        scribe.journal.take(),
        ["connected 2", "disconnected 2 Closed", "retry 2 after a loss"]
    );
    assert_eq!(client.send("x"), Err(SendError::NotConnected));
    let all = [
        session.send("x"),
        session.send_prepared(&Prepared::new("x")),
        Sim::block_on(session.send_wait("x")),
        session.send_blocking("x"),
    ];
    assert_eq!(all, [Err(SendError::Closed); 4], "all ways to send");
    Sim::pass(seconds(1));
    let second = Sim::dialled();
    client.send("again").unwrap();
    assert_eq!(second.take(), b"again\n");
    client.stop();
    client.stop();
    second.end();
    assert!(Sim::block_on(client.stopped()).is_none());
    assert!(Sim::block_on(client.stopped()).is_none());
    assert_eq!(scribe.journal.take(), ["connected 3", "disconnected 3 Closed"]);
    assert!(Sim::nobody_dialled());
}

#[test]
fn a_server_that_is_not_there_is_tried_until_it_is() {
    Sim::refuse(true);
    let (scribe, client) = coming_back(RETRIES);
    let mut connected = Box::pin(client.connected());
    for attempt in 1..=50 {
        assert_eq!(scribe.journal.take(), [format!("retry {attempt} after a failed connect")]);
        assert!(poll(&mut connected).is_none());
        let retries = std::mem::take(&mut *scribe.retries.lock().unwrap());
        let [Retry::Waiting { delay, .. }] = retries[..] else { panic!("{retries:?}") };
        assert!(delay <= seconds(1));
        Sim::pass(delay);
    }
    Sim::refuse(false);
    Sim::pass(seconds(1));
    serve();
    assert_eq!(poll(&mut connected).unwrap().unwrap().id(), 52);
}

#[test]
fn what_another_try_cannot_cure_is_given_up_at_once() {
    for (answer, status) in [("401 Unauthorized", 401), ("403 Forbidden", 403), ("404 No", 404)] {
        let (scribe, client) = coming_back(RETRIES);
        let server = Sim::dialled();
        server.take();
        server.send(format!("HTTP/1.1 {answer}\r\nContent-Length: 0\r\n\r\n").as_bytes());
        let told = format!("gave up: the server refused with status {status}");
        assert_eq!(scribe.journal.take(), [told]);
        assert!(Sim::block_on(client.connected()).is_none());
        let failure = Sim::block_on(client.stopped()).unwrap();
        assert!(matches!(failure, Failure::Connect(error) if error.status() == Some(status)));
        Sim::pass(seconds(1_000));
        assert!(Sim::nobody_dialled());
    }
    let wrong = Client::new("http://example").reconnect(RETRIES).unwrap_err();
    assert!(matches!(wrong, ConnectError::Uri(_)));
}

#[test]
fn a_server_that_asks_for_time_gets_it() {
    let (scribe, client) = coming_back(RETRIES);
    let server = Sim::dialled();
    server.take();
    server.send(b"HTTP/1.1 503 Busy\r\nRetry-After: 100\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(scribe.journal.take(), ["retry 1 after a failed connect"]);
    Sim::pass(Duration::from_millis(99_999));
    assert!(Sim::nobody_dialled());
    Sim::pass(Duration::from_millis(1_001));
    serve();
    assert_eq!(client.session().unwrap().id(), 2);
}

#[test]
fn a_client_gives_up_after_as_many_retries_as_it_may_make() {
    Sim::refuse(true);
    let (scribe, client) = coming_back(RETRIES.max_attempts(2));
    Sim::pass(seconds(3));
    let journal = scribe.journal.take();
    assert_eq!(journal.len(), 3);
    assert!(journal[2].starts_with("gave up: "), "{journal:?}");
    assert!(Sim::block_on(client.stopped()).is_some());
}

#[test]
fn a_stop_is_the_end_in_every_state() {
    // While it connects.
    let (scribe, client) = coming_back(RETRIES);
    let connecting = Sim::dialled();
    client.stop();
    assert!(Sim::block_on(client.stopped()).is_none());
    assert!(connecting.is_ended());
    // While a session is open.
    let (open_scribe, client) = coming_back(RETRIES);
    let server = serve();
    client.stop();
    assert_eq!(server.take().len(), 8, "a masked close");
    server.send(b"\x88\x02\x03\xe8");
    server.end();
    assert!(Sim::block_on(client.stopped()).is_none());
    assert_eq!(open_scribe.journal.take(), ["connected 1", "disconnected 1 Closed"]);
    // In a pause.
    Sim::refuse(true);
    let (paused, client) = coming_back(RETRIES);
    drop(client);
    Sim::refuse(false);
    Sim::pass(seconds(1_000));
    assert_eq!(paused.journal.take(), ["retry 1 after a failed connect"]);
    assert!(Sim::nobody_dialled());
    assert!(scribe.journal.take().is_empty());
}

#[test]
fn an_application_that_closes_its_session_is_done() {
    let (scribe, client) = coming_back(RETRIES);
    let server = serve();
    client.session().unwrap().close();
    server.take();
    server.send(b"\x88\x02\x03\xe8");
    server.end();
    assert!(Sim::block_on(client.stopped()).is_none());
    assert_eq!(scribe.journal.take(), ["connected 1", "disconnected 1 Closed"]);
}

// Messages to be asked for.

fn open_inbox() -> (Inbox<Sim>, Peer) {
    let websocket = WebSocket::new().heartbeat(Heartbeat::off());
    let mut open = Box::pin(Client::new("ws://example").websocket(websocket).open());
    assert!(poll(&mut open).is_none());
    let server = serve();
    (poll(&mut open).unwrap().unwrap(), server)
}

#[test]
fn messages_are_asked_for_one_by_one_and_none_is_lost() {
    let (mut inbox, server) = open_inbox();
    assert!(poll(&mut Box::pin(inbox.next())).is_none(), "dropping it loses nothing");
    let mut waiting = Box::pin(inbox.next());
    assert!(poll(&mut waiting).is_none());
    server.send(b"\x81\x01a\x82\x01b\x81\x01c\x88\x02\x03\xe8");
    assert_eq!(poll(&mut waiting), Some(Ok(Some(OwnedMessage::text("a")))));
    drop(waiting);
    assert_eq!(Sim::block_on(inbox.next()), Ok(Some(OwnedMessage::binary(b"b".to_vec()))));
    assert_eq!(inbox.session().send("answer"), Ok(()));
    assert_eq!(Sim::block_on(inbox.next()), Ok(Some(OwnedMessage::text("c"))));
    server.take();
    server.end();
    assert_eq!(Sim::block_on(inbox.next()), Ok(None));
    assert_eq!(Sim::block_on(inbox.next()), Ok(None));
}

#[test]
fn what_is_not_asked_for_stays_with_the_network_while_pings_are_answered() {
    let (mut inbox, server) = open_inbox();
    let message = [&b"\x82\x7e\x40\x00"[..], &[7; 0x4000]].concat();
    server.send(b"\x89\x01p");
    assert_eq!(server.take().len(), 7, "a masked pong");
    for _ in 0..100 {
        server.send(&message);
    }
    assert!(server.unread() > 1 << 20, "{}", server.unread());
    for _ in 0..100 {
        assert_eq!(Sim::block_on(inbox.next()).unwrap().unwrap().as_bytes(), &[7; 0x4000]);
    }
    assert_eq!(server.unread(), 0);
}

#[test]
fn an_inbox_tells_why_its_session_was_lost_and_closes_it_when_dropped() {
    let (mut inbox, server) = open_inbox();
    server.send(b"\x81\x04last");
    server.end();
    assert_eq!(Sim::block_on(inbox.next()), Ok(Some(OwnedMessage::text("last"))));
    assert_eq!(Sim::block_on(inbox.next()).unwrap_err().cause, Cause::Lost);
    let (inbox, server) = open_inbox();
    server.send(b"\x81\x01a\x81\x01b");
    let session = inbox.session().clone();
    drop(inbox);
    assert_eq!(server.take().len(), 8, "a masked close");
    server.send(b"\x88\x02\x03\xe8");
    server.end();
    assert!(Sim::block_on(session.closed()).clean);
}

// Proxies.

#[test]
fn a_proxy_is_asked_for_a_tunnel_and_the_handshake_goes_through_it() {
    let proxy: Proxy = "http://user:secret@127.0.0.1:3128".parse().unwrap();
    let mut connect = Box::pin(Client::new("ws://nowhere:81/x").proxy(proxy).connect());
    assert!(poll(&mut connect).is_none());
    let server = Sim::dialled();
    let request = String::from_utf8(server.take()).unwrap();
    assert!(request.starts_with("CONNECT nowhere:81 HTTP/1.1\r\n"), "not looked up here");
    assert!(request.contains("Proxy-Authorization: Basic dXNlcjpzZWNyZXQ=\r\n"), "{request}");
    server.send(b"HTTP/1.1 200 Connection established\r\n\r\n");
    assert!(poll(&mut connect).is_none());
    let request = server.take();
    assert!(request.starts_with(b"GET /x HTTP/1.1\r\nHost: nowhere:81\r\n"));
    server.send(&[accept(&request), b"\x81\x02hi".to_vec()].concat());
    assert_eq!(poll(&mut connect).unwrap().unwrap().state(), State::Open);
}

#[test]
fn a_proxy_of_the_other_kind_too_and_bytes_behind_its_answer_are_kept() {
    let proxy: Proxy = "socks5://127.0.0.1:1080".parse().unwrap();
    let journal = Journal::default();
    let note = journal.clone();
    let client = Client::new("tcp://nowhere:81").proxy(proxy);
    let client = client.on_message(move |_, message| note.note(format!("{message:?}")));
    let mut connect = Box::pin(client.connect());
    assert!(poll(&mut connect).is_none());
    let server = Sim::dialled();
    assert_eq!(server.take(), b"\x05\x01\x00");
    server.send(b"\x05\x00");
    assert!(poll(&mut connect).is_none());
    assert_eq!(server.take(), b"\x05\x01\x00\x03\x07nowhere\x00\x51");
    server.send(b"\x05\x00\x00\x01\x7f\x00\x00\x01\x00\x51early");
    poll(&mut connect).unwrap().unwrap();
    assert_eq!(journal.take().len(), 1);
}

#[test]
fn a_proxy_that_refuses_is_told_apart_from_the_server() {
    let proxy: Proxy = "http://127.0.0.1:3128".parse().unwrap();
    let mut connect = Box::pin(Client::new("ws://example").proxy(proxy.clone()).connect());
    assert!(poll(&mut connect).is_none());
    Sim::dialled().send(b"HTTP/1.1 407 Who are you\r\nContent-Length: 0\r\n\r\n");
    let error = poll(&mut connect).unwrap().unwrap_err();
    assert!(matches!(&error, ConnectError::Proxy(error) if error.status() == Some(407)));
    assert_eq!(error.status(), None, "it is not the server's");
    // The one deadline covers a silent proxy.
    let client = Client::new("ws://example").proxy(proxy).connect_timeout(seconds(3));
    let mut connect = Box::pin(client.connect());
    assert!(poll(&mut connect).is_none());
    Sim::pass(seconds(3));
    assert!(matches!(poll(&mut connect), Some(Err(ConnectError::Timeout(_)))));
}

// The beginning: `on_connected` comes first.

/// Logs in, once the test lets it.
#[derive(Clone, Default)]
struct Login {
    journal: Journal,
    gate: Arc<Mutex<(bool, Option<Waker>)>>,
}

impl Login {
    fn open_gate(&self) {
        let mut gate = self.gate.lock().unwrap();
        gate.0 = true;
        gate.1.take().into_iter().for_each(Waker::wake);
    }
}

impl Handler for Login {
    async fn on_connected(&self, session: &Session) {
        poll_fn(|cx| {
            let mut gate = self.gate.lock().unwrap();
            gate.1 = Some(cx.waker().clone());
            if gate.0 { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
        session.send("login").unwrap();
    }

    async fn on_message(&self, _: &Session, message: Message<'_>) {
        self.journal.note(String::from_utf8_lossy(message.as_bytes()));
    }

    async fn on_disconnected(&self, _: &Session, reason: &DisconnectReason) {
        self.journal.note(format!("{:?}", reason.cause));
    }
}

impl Middleware for Login {
    fn on_connect(&self, _: &Session) {
        self.journal.note("connect");
    }

    fn outbound(&self, _: &Session, _: Message<'_>) -> Outcome {
        self.journal.note("outbound");
        Outcome::Pass
    }
}

fn lines() -> Client {
    Client::new("tcp://example:1").framed(Delimiter::lines()).connect_timeout(seconds(10))
}

#[test]
fn connect_returns_after_on_connected() {
    let login = Login::default();
    let mut connect = Box::pin(lines().handler(login.clone()).connect());
    assert!(poll(&mut connect).is_none());
    let server = Sim::dialled();
    server.send(b"early\n");
    Sim::pass(seconds(9));
    assert!(poll(&mut connect).is_none(), "the handler has not returned");
    login.open_gate();
    let session = poll(&mut connect).unwrap().unwrap();
    session.send("first").unwrap();
    assert_eq!(server.take(), b"login\nfirst\n");
    assert_eq!(login.journal.take(), ["early"]);
    drop(session);
    Sim::pass(seconds(100));
    assert!(!server.is_ended(), "the handler keeps it");
    server.send(b"late\n");
    assert_eq!(login.journal.take(), ["late"]);
}

#[test]
fn open_returns_after_middleware_has_seen_the_session() {
    let login = Login::default();
    let mut open = Box::pin(lines().middleware(login.clone()).open());
    let inbox = poll(&mut open).unwrap().unwrap();
    inbox.session().send("x").unwrap();
    assert_eq!(login.journal.take(), ["connect", "outbound"]);
}

#[test]
fn an_on_connected_that_does_not_return_is_a_timeout() {
    let login = Login::default();
    let mut connect = Box::pin(lines().handler(login.clone()).connect());
    assert!(poll(&mut connect).is_none());
    let server = Sim::dialled();
    Sim::pass(seconds(10));
    assert!(matches!(poll(&mut connect), Some(Err(ConnectError::Timeout(_)))));
    assert!(server.is_reset());
    assert_eq!(login.journal.take(), ["Aborted"], "its last event comes");
}

#[test]
fn a_connect_that_is_dropped_in_on_connected_aborts_its_session() {
    let login = Login::default();
    let mut connect = Box::pin(lines().handler(login.clone()).connect());
    assert!(poll(&mut connect).is_none());
    let server = Sim::dialled();
    drop(connect);
    Sim::run();
    assert!(server.is_reset());
    assert_eq!(login.journal.take(), ["Aborted"]);
}

#[test]
fn a_session_that_ends_in_on_connected_is_returned() {
    // By the server.
    let login = Login::default();
    let mut connect = Box::pin(lines().handler(login.clone()).connect());
    assert!(poll(&mut connect).is_none());
    Sim::dialled().reset();
    // Nothing is read while the call is pending: its first write fails.
    login.open_gate();
    let session = poll(&mut connect).unwrap().unwrap();
    Sim::run();
    assert_eq!(session.reason().unwrap().cause, Cause::TransportError);
    // By its own close, and by a panic.
    let closes = lines().on_connected(Session::close);
    let session = Sim::block_on(closes.connect()).unwrap();
    assert_eq!(session.state(), State::Closing);
    let panics = lines().on_connected(|session| assert!(session.id() == 0, "on purpose"));
    let session = Sim::block_on(panics.connect()).unwrap();
    assert_eq!(session.state(), State::Closing);
}

#[test]
fn a_reconnecting_client_is_connected_after_on_connected() {
    let login = Login::default();
    let client = lines().handler(login.clone()).reconnect(RETRIES).unwrap();
    Sim::run();
    let server = Sim::dialled();
    let mut connected = Box::pin(client.connected());
    assert!(poll(&mut connected).is_none());
    assert_eq!(client.state(), ClientState::Connecting { attempt: 0 });
    assert_eq!((client.session(), client.send("x")), (None, Err(SendError::NotConnected)));
    login.open_gate();
    Sim::run();
    poll(&mut connected).unwrap().unwrap().send("first").unwrap();
    assert_eq!(server.take(), b"login\nfirst\n");
}

#[test]
fn a_reconnecting_client_tells_its_state() {
    Sim::refuse(true);
    let (_, client) = coming_back(Reconnect::fixed(seconds(7)).max_attempts(2));
    assert_eq!(client.state(), ClientState::Waiting { attempt: 1, delay: seconds(7) });
    assert_eq!(client.send("x"), Err(SendError::NotConnected));
    Sim::refuse(false);
    Sim::pass(Duration::from_millis(6_999));
    assert!(Sim::nobody_dialled(), "no chance, no growth");
    Sim::pass(Duration::from_millis(1));
    assert_eq!(client.state(), ClientState::Connecting { attempt: 1 });
    let server = serve();
    assert_eq!(client.state(), ClientState::Open);
    client.session().unwrap().close_with(storm_proto::CloseCode::NORMAL, "").unwrap();
    assert_eq!(client.state(), ClientState::Closing);
    server.take();
    server.send(b"\x88\x02\x03\xe8");
    Sim::run();
    assert_eq!(client.state(), ClientState::Stopped, "it waits for no FIN");
    assert_eq!(client.send("x"), Err(SendError::Closed));
    Sim::refuse(true);
    let (_, client) = coming_back(Reconnect::fixed(seconds(7)).max_attempts(1));
    Sim::pass(seconds(7));
    assert_eq!((client.state(), client.send("x")), (ClientState::GaveUp, Err(SendError::Closed)));
}

#[test]
fn a_lost_session_is_followed_by_the_next_though_its_socket_lingers() {
    let (scribe, _client) = coming_back(Reconnect::fixed(seconds(1)));
    let first = serve();
    first.send(b"\x88\x02\x03\xe8");
    first.take();
    assert!(!first.is_ended(), "the server is to end the stream first");
    Sim::pass(seconds(1));
    serve();
    let told = ["connected 1", "disconnected 1 Closed", "retry 1 after a loss", "connected 2"];
    assert_eq!(scribe.journal.take(), told);
    Sim::pass(seconds(4));
    assert!(first.is_ended());
}

#[test]
fn retry_if_overrides_what_is_tried_again() {
    let refuse = |status: &str| {
        Sim::run();
        let server = Sim::dialled();
        server.take();
        server.send(format!("HTTP/1.1 {status} x\r\nContent-Length: 0\r\n\r\n").as_bytes());
    };
    let client = Client::new("ws://example").retry_if(|failure| match failure {
        Failure::Connect(error) => match error.status() {
            Some(418) => panic!("on purpose"),
            status => status == Some(404),
        },
        failure => failure.is_retryable(),
    });
    let client = client.reconnect(Reconnect::fixed(seconds(1))).unwrap();
    refuse("404");
    assert_eq!(client.state(), ClientState::Waiting { attempt: 1, delay: seconds(1) });
    Sim::pass(seconds(1));
    refuse("503");
    assert_eq!(client.state(), ClientState::GaveUp);
    let client = Client::new("ws://example").retry_if(|_| panic!("on purpose"));
    let client = client.reconnect(Reconnect::fixed(seconds(1))).unwrap();
    refuse("503");
    assert!(matches!(client.state(), ClientState::Waiting { attempt: 1, .. }));
}

#[test]
fn an_on_reconnecting_that_fails_stops_neither_retries_nor_a_stop() {
    struct Failing(fn());
    impl Handler for Failing {
        async fn on_reconnecting(&self, _: &Retry) {
            (self.0)();
            core::future::pending().await
        }
    }
    let start = |hook: fn()| {
        Sim::refuse(true);
        let client = Client::new("ws://example").handler(Failing(hook));
        let client = client.reconnect(Reconnect::fixed(seconds(1))).unwrap();
        Sim::run();
        client
    };
    let client = start(|| std::panic::resume_unwind(Box::new("on purpose")));
    Sim::refuse(false);
    Sim::pass(seconds(1));
    serve();
    assert_eq!(client.state(), ClientState::Open, "a panic costs no attempt");
    drop(client);
    Sim::pass(seconds(60));

    let client = start(|| ());
    let mut stopped = Box::pin(client.stopped());
    assert!(poll(&mut stopped).is_none());
    client.stop();
    Sim::run();
    assert!(poll(&mut stopped).is_some(), "a hook that never returns is not waited for");
}
