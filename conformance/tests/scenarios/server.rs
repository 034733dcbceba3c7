//! Storm is the server.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use storm_proto::framing::{Delimiter, LengthPrefix};
use storm_proto::service::{Session, State};
use storm_proto::tls::rustls::crypto::ring;
use storm_proto::tls::rustls::pki_types::ServerName;
use storm_proto::tls::rustls::version::{TLS12, TLS13};
use storm_proto::tls::rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use storm_proto::tls::{TlsIdentity, TlsServer};
use storm_proto::websocket::handshake::{Accept, Decision, Response};
use storm_proto::{Cause, Error, LocalError, Message, SendError, Side};

use super::compressed::RSV1;
use super::harness::{Harness, PATIENCE, Seen, teller, until};
use super::raw::Raw;

pub(crate) fn every_kind_and_size_of_message_comes_back<H: Harness>() {
    let server = H::start(H::websocket().on_message(|session, message| session.send(message)));
    let mut peer = Raw::websocket(server.address());
    for len in [0, 1, 125, 126, 127, 65_535, 65_536, 65_537, 1 << 20] {
        for first in [0x81, 0x82] {
            let payload = vec![b'x'; len];
            peer.send_frame(first, &payload);
            let (answered, echo) = peer.frame_as_it_is();
            assert_eq!((answered & !RSV1, echo), (first, payload), "{len} bytes");
            let compressed = H::DEFLATE.is_some();
            assert!(len < 125 || (answered & RSV1 != 0) == compressed, "{len} bytes");
        }
    }
    peer.send_frame(0x01, b"frag");
    peer.send_frame(0x89, b"now");
    peer.send_frame(0x80, b"ments");
    assert_eq!(peer.frame(), (0x8A, b"now".to_vec()));
    assert_eq!(peer.frame(), (0x81, b"fragments".to_vec()));
}

pub(crate) fn events_come_in_order<H: Harness>() {
    let (handler, told) = teller();
    let server = H::start(H::websocket().handler(handler));
    let mut peer = Raw::websocket(server.address());
    let session = told.connected();
    assert_eq!((session.id(), session.state()), (1, State::Open));
    assert_eq!(session.local().ip(), Some(server.address()));
    peer.send_frame(0x81, b"hi");
    assert!(matches!(told.next(), Seen::Message(1, message) if message.as_text() == Some("hi")));
    assert_eq!(peer.frame(), (0x81, b"hi".to_vec()));
    peer.send_frame(0x88, b"\x0f\xa0bye");
    assert_eq!(peer.frame(), (0x88, b"\x0f\xa0bye".to_vec()));
    assert!(peer.rest().is_empty(), "the server ends the stream first");
    drop(peer);
    let Seen::Disconnected(1, reason) = told.next() else { panic!("not disconnected") };
    assert_eq!((reason.side, reason.cause, reason.clean), (Side::Remote, Cause::Closed, true));
    assert_eq!(reason.code().get(), 4000);
    assert_eq!(session.send("late"), Err(SendError::Closed));
    assert!(H::block_on(session.closed()).clean);
    assert_eq!(server.running().connections(), 0);
}

pub(crate) fn plain_streams_carry_bytes_lines_and_lengths<H: Harness>() {
    let raw = H::start(H::server().on_message(|session, message| session.send(message)));
    let mut peer = Raw::connect(raw.address());
    peer.send(b"any bytes");
    assert_eq!(peer.exactly(9), b"any bytes");

    let lines = H::server().framed(Delimiter::lines());
    let lines =
        H::start(lines.on_message(|session, line| session.send(&[line.as_bytes(), b"!"].concat())));
    let mut peer = Raw::connect(lines.address());
    peer.send(b"one\n\ntwo\n");
    assert_eq!(peer.exactly(12), b"one!\n!\ntwo!\n");

    let lengths = H::server().framed(LengthPrefix::new());
    let lengths = H::start(lengths.on_message(|session, message| session.send(message)));
    let mut peer = Raw::connect(lengths.address());
    let large = [&(3u32 << 20).to_be_bytes()[..], &vec![7; 3 << 20]].concat();
    let mut writer = peer.try_clone();
    let sent = large.clone();
    let writing = std::thread::spawn(move || writer.send(&sent));
    assert!(peer.exactly(large.len()) == large);
    writing.join().unwrap();
}

pub(crate) fn a_half_closed_peer_gets_all_its_answers<H: Harness>() {
    let (handler, told) = teller();
    let server = H::start(H::server().framed(Delimiter::lines()).handler(handler));
    let mut peer = Raw::connect(server.address());
    peer.send(&b"0123456789\n".repeat(20_000));
    peer.send(b"unfinished");
    peer.end();
    assert_eq!(peer.rest(), b"0123456789\n".repeat(20_000));
    let reason = told.disconnected();
    assert_eq!((reason.side, reason.cause, reason.clean), (Side::Remote, Cause::Closed, true));
    assert_eq!(reason.unfinished, b"unfinished"[..]);
}

pub(crate) fn an_abort_is_a_reset<H: Harness>() {
    let (handler, told) = teller();
    let server = H::start(H::websocket().handler(handler));
    let mut peer = Raw::websocket(server.address());
    peer.send_frame(0x81, b"abort");
    assert!(peer.is_reset());
    let reason = told.disconnected();
    assert_eq!((reason.side, reason.cause), (Side::Local, Cause::Aborted));
}

pub(crate) fn a_handler_may_close_its_own_session<H: Harness>() {
    let (handler, told) = teller();
    let server = H::start(H::websocket().handler(handler));
    let mut peer = Raw::websocket(server.address());
    peer.send_frame(0x81, b"close");
    assert_eq!(peer.frame(), (0x88, b"\x03\xe9enough".to_vec()));
    peer.send_frame(0x88, b"\x03\xe9");
    assert!(peer.rest().is_empty());
    drop(peer);
    let reason = told.disconnected();
    assert_eq!((reason.side, reason.cause, reason.clean), (Side::Local, Cause::Closed, true));
}

pub(crate) fn a_reset_by_the_peer_is_a_transport_error<H: Harness>() {
    let (handler, told) = teller();
    let server = H::start(H::websocket().handler(handler));
    let mut peer = Raw::websocket(server.address());
    peer.send(&[0x81, 0xFE, 1]);
    peer.reset();
    let reason = told.disconnected();
    assert_eq!(
        (reason.side, reason.cause, reason.clean),
        (Side::Remote, Cause::TransportError, false)
    );
    assert!(matches!(reason.error, Some(Error::Transport(error)) if error.os_code().is_some()));
    drop(server);
}

pub(crate) fn all_that_was_sent_before_a_close_arrives<H: Harness>() {
    const SIZES: [usize; 3] = [1, 64 << 10, 1 << 20];
    let orders = |session: &Session, message: Message<'_>| {
        let size: usize = message.to_text().unwrap().trim().parse().unwrap();
        session.send(&vec![b'x'; size]).unwrap();
        session.close();
    };
    for size in SIZES {
        let server = H::start(H::websocket().on_message(orders));
        let mut peer = Raw::websocket(server.address());
        peer.send_frame(0x81, size.to_string().as_bytes());
        assert!(peer.frame() == (0x82, vec![b'x'; size]), "{size} bytes");
        assert_eq!(peer.frame(), (0x88, b"\x03\xe8".to_vec()));
        peer.send_frame(0x88, b"\x03\xe8");
        assert!(peer.rest().is_empty());

        let server = H::start(H::server().framed(Delimiter::lines()).on_message(orders));
        let mut peer = Raw::connect(server.address());
        peer.send(format!("{size}\n").as_bytes());
        let all = peer.rest();
        assert!(all == [&vec![b'x'; size][..], b"\n"].concat(), "{} of {size} bytes", all.len());
    }
}

pub(crate) fn a_client_whose_tls_is_not_ours_is_echoed<H: Harness>() {
    let identity = TlsIdentity::self_signed(["localhost"]).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(identity.certificates()[0].clone()).unwrap();
    let server = H::server().tls(TlsServer::new(identity).unwrap()).framed(Delimiter::lines());
    let echo = server.on_message(|session, message| session.send(message));
    let running = H::wait(echo.start()).unwrap();
    for version in [&TLS12, &TLS13] {
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
        let config = config.with_protocol_versions(&[version]).unwrap();
        let config = config.with_root_certificates(roots.clone()).with_no_client_auth();
        let name = ServerName::try_from("localhost").unwrap();
        let tls = ClientConnection::new(Arc::new(config), name).unwrap();
        let socket = TcpStream::connect(running.address().ip().unwrap()).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut stream = StreamOwned::new(tls, socket);
        stream.write_all(b"hello\n").unwrap();
        let mut line = [0; 6];
        stream.read_exact(&mut line).unwrap();
        assert_eq!(&line, b"hello\n");
        stream.conn.send_close_notify();
        assert_eq!(stream.read(&mut line).unwrap(), 0, "close_notify is answered with the same");
    }
    H::block_on(async move { drop(running) });
}

pub(crate) fn a_page_is_served_beside_the_websocket<H: Harness>() {
    let server = H::websocket().on_connecting(|request| match request.path() {
        "/" if request.is_upgrade() => Decision::from(Accept::new()),
        "/" => Response::html(vec![b'x'; 3 << 20]).into(),
        _ => Response::new(404).body("nothing here").into(),
    });
    let server = H::start(server);
    let mut browser = Raw::connect(server.address());
    browser.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(browser.head().contains("Content-Length: 3145728\r\n"));
    assert_eq!(browser.rest().len(), 3 << 20, "all of it arrives");
    let mut lost = Raw::connect(server.address());
    lost.send(b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(lost.head().starts_with("HTTP/1.1 404 "));
    assert_eq!(lost.rest(), b"nothing here");
    Raw::websocket(server.address());
}

pub(crate) fn a_stop_says_goodbye_and_is_the_end<H: Harness>() {
    let (handler, told) = teller();
    let server = H::start(H::websocket().handler(handler));
    let (mut first, mut second) =
        (Raw::websocket(server.address()), Raw::websocket(server.address()));
    let session = told.connected();
    told.connected();
    session.send("last words").unwrap();
    let peers = std::thread::spawn(move || {
        assert_eq!(first.frame(), (0x81, b"last words".to_vec()));
        for peer in [&mut first, &mut second] {
            assert_eq!(peer.frame(), (0x88, b"\x03\xe9".to_vec()));
            peer.send_frame(0x88, b"\x03\xe9");
            assert!(peer.rest().is_empty());
        }
    });
    let stopped = H::wait(server.running().stop(PATIENCE));
    peers.join().unwrap();
    assert_eq!((stopped.connections, stopped.aborted, stopped.stuck), (2, 0, 0));
    assert_eq!(told.disconnected().cause, Cause::GoingAway);
    assert_eq!(told.disconnected().cause, Cause::GoingAway);
    assert!(told.is_silent(), "no event after the stop");
    let mut late = [0];
    let refused =
        TcpStream::connect(server.address()).and_then(|mut late_peer| late_peer.read(&mut late));
    assert!(matches!(refused, Err(_) | Ok(0)), "nobody is served any more");
}

pub(crate) fn a_stop_does_not_wait_for_a_peer_that_does_not<H: Harness>() {
    let (handler, told) = teller();
    let server = H::start(H::websocket().handler(handler));
    let mut deaf = Raw::websocket(server.address());
    told.connected();
    let stopped = H::wait(server.running().stop(Duration::from_millis(50)));
    assert_eq!((stopped.connections, stopped.aborted, stopped.stuck), (1, 1, 0));
    assert_eq!(told.disconnected().cause, Cause::GoingAway);
    assert_eq!(deaf.frame(), (0x88, b"\x03\xe9".to_vec()));
    assert!(deaf.is_reset());
}

pub(crate) fn a_stop_does_not_wait_for_a_handler_that_never_returns<H: Harness>() {
    let (handler, told) = teller();
    let server = H::start(H::websocket().handler(handler));
    let mut peer = Raw::websocket(server.address());
    told.connected();
    peer.send_frame(0x81, b"hang");
    assert!(matches!(told.next(), Seen::Message(..)));
    let stopped = H::wait(server.running().stop(Duration::from_millis(50)));
    assert_eq!((stopped.aborted, stopped.stuck), (1, 0));
    assert_eq!(told.disconnected().cause, Cause::GoingAway);
}

pub(crate) fn connections_over_the_limit_are_closed_at_once<H: Harness>() {
    let (handler, told) = teller();
    let server = H::start(H::websocket().max_connections(2).handler(handler));
    let first = Raw::websocket(server.address());
    told.connected();
    // A connection counts although its handshake has not begun.
    let silent = Raw::connect(server.address());
    until(|| server.running().connections() == 2);
    assert!(Raw::connect(server.address()).rest().is_empty());
    assert_eq!(server.running().refused(), 1);
    silent.reset();
    until(|| server.running().connections() == 1);
    Raw::websocket(server.address());
    drop(first);
}

pub(crate) fn a_panic_in_a_handler_ends_its_session_only<H: Harness>() {
    let (handler, told) = teller();
    let server = H::start(H::websocket().handler(handler));
    let mut bad = Raw::websocket(server.address());
    told.connected();
    let mut good = Raw::websocket(server.address());
    told.connected();
    bad.send_frame(0x81, b"panic");
    assert_eq!(bad.frame(), (0x88, b"\x03\xf3internal error".to_vec()));
    drop(bad);
    assert!(matches!(told.next(), Seen::Message(1, _)));
    let panicked = Error::Local(LocalError::HandlerPanicked);
    assert!(matches!(told.next(), Seen::Error(Some(1), error) if error == panicked));
    assert_eq!(told.disconnected().cause, Cause::HandlerFailed);
    good.send_frame(0x81, b"fine");
    assert_eq!(good.frame(), (0x81, b"fine".to_vec()));
}

pub(crate) fn an_ipv4_peer_reaches_a_dual_stack_server<H: Harness>() {
    let (handler, told) = teller();
    let server = storm_proto::service::Server::<H::Runtime>::bind("[::]:0").dual_stack(true);
    let server = H::start(server.handler(handler));
    let port = server.address().port();
    let mut peer = Raw::connect(([127, 0, 0, 1], port).into());
    let session = told.connected();
    assert_eq!(session.peer().ip().unwrap().ip().to_string(), "::ffff:127.0.0.1");
    peer.send(b"hi");
    assert_eq!(peer.exactly(2), b"hi");
}

pub(crate) fn an_address_in_use_is_an_error<H: Harness>() {
    let server = H::start(H::server().on_message(|_, _| ()));
    let again = storm_proto::service::Server::<H::Runtime>::bind(server.address().to_string());
    let error = H::wait(again.start()).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::AddrInUse);
}
