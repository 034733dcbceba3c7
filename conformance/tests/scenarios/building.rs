//! What builders of servers and clients promise, over real sockets.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::mpsc::channel;
use std::time::Duration;

use storm_proto::service::{ConnectError, Server};
use storm_proto::websocket::handshake::{Accept, Request};
use storm_proto::{OptionError, Origins, WebSocket};

use super::harness::{Harness, PATIENCE};

const CLIENTS: [(&[&str], Option<&str>); 4] =
    [(&["b"], Some("b")), (&["x", "c", "b"], Some("c")), (&["x"], None), (&[], None)];

/// A server agrees on one of its subprotocols, whether it has a decision of its own or not.
pub(crate) fn a_server_agrees_on_a_subprotocol_of_its_settings<H: Harness>() {
    let server = || H::server().websocket(H::settings().subprotocol("b").subprotocol("c"));
    let undecided = H::start(server());
    let decided = H::start(server().on_connecting(|_| Accept::new()));
    let chosen = H::start(server().on_connecting(|request: &Request| {
        match request.subprotocols().any(|name| name == "x") {
            true => Accept::new().subprotocol("x"),
            false => Accept::new(),
        }
    }));
    for (offered, agreed) in CLIENTS {
        let by_decision = if offered.contains(&"x") { Some("x") } else { agreed };
        for (server, agreed) in [(&undecided, agreed), (&decided, agreed), (&chosen, by_decision)] {
            let client = H::client(server.url());
            let client = offered.iter().fold(client, |client, name| client.subprotocol(*name));
            let session = H::connect(client).unwrap();
            assert_eq!(session.subprotocol(), agreed, "{offered:?}");
            let sessions = server.running().sessions();
            assert_eq!(sessions.last().unwrap().subprotocol(), agreed, "{offered:?}");
            session.close();
        }
    }
}

/// The response names the subprotocol that browsers insist on.
pub(crate) fn the_101_names_the_subprotocol<H: Harness>() {
    if H::TLS {
        return;
    }
    let server = H::start(H::server().websocket(WebSocket::new().subprotocol("chat")));
    let mut stream = TcpStream::connect(server.address()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
        .write_all(
            b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
            Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
            Sec-WebSocket-Protocol: x, chat\r\n\r\n",
        )
        .unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap();
    assert!(head.contains("Sec-WebSocket-Protocol: chat\r\n"), "{head}");
}

/// Closures that wait, on both ends, and what they return as errors.
pub(crate) fn async_closures_wait_and_report<H: Harness>() {
    let (tell, told) = channel();
    let reported = tell.clone();
    let server = H::websocket()
        .on_connecting_async(|_| async { Accept::new() })
        .on_message_async(|session, message| async move { session.send_wait(&message).await })
        .on_message(|_, message| match message.as_bytes() {
            b"fail" => Err(io::Error::other("as asked")),
            _ => Ok(()),
        })
        .on_error(move |_, error| reported.send(error.to_string()));
    let server = H::start(server);
    let client = H::client(server.url())
        .on_message(move |_, message| tell.send(message.as_text().unwrap_or_default().into()));
    let session = H::connect(client).unwrap();
    for (sent, come) in [
        ("one", &["one"][..]),
        ("fail", &["a handler failed: as asked", "fail"]),
        ("two", &["two"]),
    ] {
        session.send(sent).unwrap();
        let mut heard: Vec<_> = come.iter().map(|_| told.recv_timeout(PATIENCE).unwrap()).collect();
        heard.sort();
        assert_eq!(heard, come);
    }
    session.close();
}

/// Nothing listens, and no socket is opened, with options that cannot be.
pub(crate) fn options_that_cannot_be_are_errors_of_the_start<H: Harness>() {
    let option_of = |server: Server<H::Runtime>| {
        let error = H::wait(server.start()).unwrap_err();
        let option = error.get_ref().and_then(|inner| inner.downcast_ref::<OptionError>());
        option.unwrap_or_else(|| panic!("{error:?}")).option()
    };
    assert_eq!(option_of(H::server().origins(Origins::same())), "origins");
    assert_eq!(option_of(H::websocket().dual_stack(true)), "dual_stack");
    assert_eq!(option_of(H::websocket().max_pending_send(0)), "max_pending_send");
    let scheme = if H::TLS { "wss" } else { "ws" };
    let client = H::client(format!("{scheme}://127.0.0.1:1")).connect_timeout(Duration::ZERO);
    match H::connect(client) {
        Err(ConnectError::Option(error)) => assert_eq!(error.option(), "connect_timeout"),
        other => panic!("{other:?}"),
    }
}
