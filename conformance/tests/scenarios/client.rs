//! Storm is the client.

use std::net::{SocketAddr, TcpListener};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use storm_proto::framing::{Delimiter, Framer, LengthPrefix};
use storm_proto::service::{ConnectError, State};
use storm_proto::websocket::Deflate;
use storm_proto::websocket::handshake::HandshakeError;
use storm_proto::{Cause, CloseCode, SendError, Side, WebSocket};

use super::harness::{Harness, PATIENCE, Seen, teller, until};
use super::ports;
use super::raw::{Raw, frame};

pub(crate) fn listen<H: Harness>() -> (TcpListener, String) {
    let (listener, address) = bind::<H>();
    (listener, format!("{}://{address}/path", if H::TLS { "wss" } else { "ws" }))
}

fn bind<H: Harness>() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    ports::mark::<H>(address.port());
    (listener, address)
}

pub(crate) fn a_client_opens_talks_and_closes_cleanly<H: Harness>() {
    let (listener, url) = listen::<H>();
    let serving = std::thread::spawn(move || {
        let mut server = Raw::accept(&listener);
        let request = server.serve_websocket();
        assert!(request.starts_with("GET /path HTTP/1.1\r\n"), "{request}");
        assert!(request.contains("Authorization: Bearer x\r\n"), "{request}");
        assert_eq!(server.frame(), (0x81, b"hello".to_vec()));
        server.send(&frame(0x82, 0, b"answer"));
        assert_eq!(server.frame(), (0x82, b"answer".to_vec()));
        assert_eq!(server.frame(), (0x88, b"\x03\xe8".to_vec()));
        server.send(&frame(0x88, 0, b"\x03\xe8"));
        server.end();
        server.rest()
    });
    let (handler, told) = teller();
    let client = H::client(&url).header("Authorization", "Bearer x");
    let session = H::connect(client.handler(handler)).unwrap();
    assert_eq!(told.connected(), session);
    session.send("hello").unwrap();
    assert!(matches!(told.next(), Seen::Message(_, message) if message.as_bytes() == b"answer"));
    session.close();
    let reason = H::block_on(session.closed());
    assert_eq!((reason.side, reason.cause, reason.clean), (Side::Local, Cause::Closed, true));
    assert_eq!(session.state(), State::Closed);
    assert_eq!(session.send("late"), Err(SendError::Closed));
    assert!(serving.join().unwrap().is_empty());
}

pub(crate) fn a_client_is_told_why_it_was_refused<H: Harness>() {
    let (listener, url) = listen::<H>();
    let serving = std::thread::spawn(move || {
        let mut server = Raw::accept(&listener);
        server.head();
        server.send(b"HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Bearer\r\nContent-Length: 6\r\n\r\nno key");
        server.rest()
    });
    let error = H::connect(H::client(&url)).unwrap_err();
    assert_eq!(error.status(), Some(401));
    let ConnectError::Handshake(HandshakeError::Refused(refusal)) = error else {
        panic!("{error}")
    };
    assert_eq!(refusal.body, b"no key"[..]);
    assert_eq!(refusal.headers.get_str("www-authenticate"), Some("Bearer"));
    assert!(serving.join().unwrap().is_empty(), "the socket is closed");
}

pub(crate) fn a_client_that_cannot_connect_is_told_at_once<H: Harness>() {
    let (listener, url) = listen::<H>();
    drop(listener);
    let error = H::connect(H::client(&url)).unwrap_err();
    assert!(matches!(error, ConnectError::Transport(_)), "{error}");
    let error = H::connect(H::client("ws://no such host")).unwrap_err();
    assert!(matches!(error, ConnectError::Uri(_)), "{error}");
}

pub(crate) fn a_silent_server_costs_no_more_than_the_deadline<H: Harness>() {
    let (listener, url) = listen::<H>();
    let client = H::client(&url).connect_timeout(Duration::from_millis(50));
    let start = Instant::now();
    let error = H::connect(client).unwrap_err();
    assert!(matches!(error, ConnectError::Timeout(_)), "{error}");
    assert!(start.elapsed() < PATIENCE);
    let asked = Raw::accept_silently(&listener).rest();
    assert!(!asked.is_empty(), "the socket is closed behind what was asked");
}

pub(crate) fn a_server_that_vanishes_is_lost<H: Harness>() {
    let (listener, url) = listen::<H>();
    let (vanish, vanishing) = channel::<()>();
    let serving = std::thread::spawn(move || {
        let mut server = Raw::accept(&listener);
        server.serve_websocket();
        vanishing.recv().unwrap();
    });
    let (handler, told) = teller();
    let session = H::connect(H::client(&url).handler(handler)).unwrap();
    assert_eq!(session.state(), State::Open);
    vanish.send(()).unwrap();
    serving.join().unwrap();
    let reason = told.disconnected();
    assert_eq!((reason.side, reason.cause, reason.clean), (Side::Remote, Cause::Lost, false));
    assert_eq!(reason.code().get(), 1006);
}

pub(crate) fn a_dropped_connect_closes_the_socket<H: Harness>() {
    let (listener, url) = listen::<H>();
    H::give_up(H::client(&url).connect_timeout(Duration::from_millis(50)).connect());
    // Whether or not a connection came about, nobody holds it open.
    listener.set_nonblocking(true).unwrap();
    if let Ok((stream, _)) = listener.accept() {
        use std::io::Read;
        stream.set_nonblocking(false).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut rest = Vec::new();
        let _ = (&stream).read_to_end(&mut rest);
    }
}

pub(crate) fn a_client_and_a_server_of_this_runtime_echo<H: Harness>() {
    let server = H::start(H::websocket().on_message(|session, message| session.send(message)));
    let (handler, told) = teller();
    // The client's handler echoes as well, so the message goes round until the close.
    let url = server.url().replace("127.0.0.1", "localhost");
    let session = H::connect(H::client(url).handler(handler)).unwrap();
    told.connected();
    session.send("round and round").unwrap();
    for _ in 0..1_000 {
        assert!(matches!(told.next(), Seen::Message(_, message) if message.as_bytes().len() == 15));
    }
    session.close();
    assert!(told.disconnected().clean);
}

pub(crate) fn a_client_and_a_server_of_this_runtime_compress<H: Harness>() {
    let deflate = Deflate::new().server_no_context_takeover(false);
    let websocket = WebSocket::new().deflate(deflate);
    let server = H::server().websocket(websocket.clone());
    let server = H::start(server.on_message(|session, message| session.send(message)));
    let (handler, told) = teller();
    let client = H::client(server.url()).websocket(websocket);
    let session = H::connect(client.handler(handler)).unwrap();
    told.connected();
    // The client's handler echoes as well.
    let text = "round and round ".repeat(10_000);
    session.send(&text).unwrap();
    for _ in 0..100 {
        assert!(
            matches!(told.next(), Seen::Message(_, message) if message.as_bytes() == text.as_bytes())
        );
    }
    let received = session.metrics().bytes_received;
    assert!(received < 1_000_000, "{received} bytes for 16 MB of text");
    session.close();
    assert!(told.disconnected().clean);
}

pub(crate) fn a_plain_client_talks_lines<H: Harness>() {
    let (listener, address) = bind::<H>();
    let url = format!("{}://{address}", if H::TLS { "tls" } else { "tcp" });
    let accepting = std::thread::spawn(move || Raw::accept(&listener));
    let (handler, told) = teller();
    let client = H::client(&url).framed(Delimiter::lines()).handler(handler);
    let session = H::connect(client).unwrap();
    let mut server = accepting.join().unwrap();
    told.connected();
    server.send(b"hello\n");
    assert!(matches!(told.next(), Seen::Message(_, message) if message.as_bytes() == b"hello"));
    assert_eq!(server.exactly(6), b"hello\n");
    session.close();
    assert!(server.rest().is_empty());
    server.end();
    let reason = told.disconnected();
    assert_eq!((reason.side, reason.cause, reason.clean), (Side::Local, Cause::Closed, true));
}

pub(crate) fn a_plain_client_and_a_server_of_this_runtime_echo<H: Harness>() {
    echo_framed::<H>(LengthPrefix::new());
    echo_framed::<H>(Delimiter::lines().limit(1 << 20));
    // Where nothing frames them, bytes come back in other pieces.
    let server = H::start(H::server().on_message(|session, message| session.send(message)));
    let (handler, told) = teller();
    let silent = H::client(plain_url::<H>(server.address())).open();
    let mut inbox = H::wait(silent).unwrap();
    let payload: Vec<u8> = (0..100_000u32).map(|at| at as u8).collect();
    inbox.session().send(&payload).unwrap();
    let mut back = Vec::new();
    while back.len() < payload.len() {
        back.extend_from_slice(H::wait(inbox.next()).unwrap().unwrap().as_bytes());
    }
    assert!(back == payload);
    // And the events of a client are those of a server.
    let client = H::client(plain_url::<H>(server.address())).handler(handler);
    let session = H::connect(client).unwrap();
    assert_eq!(told.connected(), session);
    session.close();
    let reason = told.disconnected();
    assert_eq!((reason.side, reason.cause, reason.clean), (Side::Local, Cause::Closed, true));
}

fn plain_url<H: Harness>(address: SocketAddr) -> String {
    format!("{}://{address}", if H::TLS { "tls" } else { "tcp" })
}

fn echo_framed<H: Harness>(framer: impl Framer + Clone) {
    let server = H::server().framed(framer.clone());
    let server = H::start(server.on_message(|session, message| session.send(message)));
    let client = H::client(plain_url::<H>(server.address())).framed(framer);
    let mut inbox = H::wait(client.open()).unwrap();
    for len in [0, 1, 1_000, 100_000, 1 << 20] {
        let payload = vec![b'x'; len];
        H::block_on(inbox.session().send_wait(&payload)).unwrap();
        let back = H::wait(inbox.next()).unwrap().unwrap();
        assert!(back.as_bytes() == payload, "{len} bytes");
    }
}

pub(crate) fn an_end_may_be_asked_for_again_and_again<H: Harness>() {
    for plain in [false, true] {
        let (handler, told) = teller();
        let server = if plain { H::server() } else { H::websocket() };
        let server = H::start(server.handler(handler));
        let url = if plain { plain_url::<H>(server.address()) } else { server.url() };
        let connect = || {
            let client = H::connect(H::client(&url)).unwrap();
            (client, told.connected())
        };
        let (near, far) = connect();
        for session in [&near, &far, &near, &far, &near] {
            session.close();
        }
        let ends = [&near, &far].map(|session| H::block_on(session.closed()));
        assert!(ends.iter().all(|end| end.clean && end.cause == Cause::Closed), "{ends:?}");
        assert!(told.disconnected().clean);
        let (aborted, _) = connect();
        for session in [&near, &far, &aborted, &aborted] {
            session.close_with(CloseCode::GOING_AWAY, "late").unwrap_or_default();
            session.abort();
            session.close();
        }
        assert_eq!(H::block_on(aborted.closed()).side, Side::Local);
        assert_eq!(H::block_on(near.closed()), ends[0], "the first reason wins");
        told.disconnected();
        until(|| server.running().connections() == 0);
        let (last, _) = connect();
        for connections in [1, 0, 0] {
            let stopped = H::wait(server.running().stop(PATIENCE));
            assert_eq!((stopped.connections, stopped.aborted), (connections, 0));
        }
        H::block_on(last.closed());
        assert_eq!(told.disconnected().cause, Cause::GoingAway);
        assert!(told.is_silent(), "each has ended once");
    }
}
