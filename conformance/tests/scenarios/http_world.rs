//! Addresses, requests and answers as the world writes them.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use storm_proto::service::{Address, BindAddress, Client, Server};

use super::harness::{Harness, PATIENCE};
use super::raw::Raw;
use super::secured;
use super::unix::path;

fn bind<H: Harness>(address: impl Into<BindAddress>) -> Server<H::Runtime> {
    Server::bind(address).runtime(H::runtime())
}

pub(crate) fn an_address_may_be_said_in_many_ways<H: Harness>() {
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let ways: [BindAddress; 9] = [
        "127.0.0.1:0".into(),
        String::from("127.0.0.1:0").into(),
        any.into(),
        (Ipv4Addr::LOCALHOST, 0).into(),
        (IpAddr::from(Ipv4Addr::LOCALHOST), 0).into(),
        ("localhost", 0).into(),
        "localhost:0".into(),
        ":0".into(),
        "*:0".into(),
    ];
    for way in ways {
        let server = H::start(bind::<H>(way.clone()));
        let port = server.address().port();
        assert_ne!(port, 0, "{way}");
        let everywhere = server.running().addresses();
        assert_eq!(everywhere.first(), Some(server.running().address()));
        for address in everywhere {
            let address = address.ip().unwrap();
            assert_eq!(address.port(), port, "{way} has one port");
            TcpStream::connect(address).unwrap();
        }
        if [":0", "*:0"].map(BindAddress::from).contains(&way) {
            assert_eq!(everywhere.len(), 2, "both families");
        }
        let stopped = H::wait(server.running().stop(PATIENCE));
        assert_eq!(stopped.stuck, 0, "no accept loop holds it up");
    }
}

pub(crate) fn an_address_that_cannot_be_used_is_named<H: Harness>() {
    let start = |address: BindAddress| H::wait(bind::<H>(address).start()).unwrap_err();
    for address in ["8080", "nowhere", "ws://0.0.0.0:80", "::1:80", "localhost:http", "unix:"] {
        let error = start(address.into());
        assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput, "{address}");
        assert!(error.to_string().contains(address), "{error}");
    }
    let taken = TcpListener::bind("[::]:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    for address in [format!(":{port}"), format!("[::]:{port}")] {
        let error = start(address.clone().into());
        assert_eq!(error.kind(), std::io::ErrorKind::AddrInUse);
        assert!(error.to_string().contains(&address), "{error}");
        assert!(std::error::Error::source(&error).is_some());
    }
    let error = H::wait(bind::<H>("127.0.0.1:0").unix_mode(0o600).start()).unwrap_err();
    assert!(error.to_string().contains("unix_mode"), "{error}");
}

pub(crate) fn the_file_of_a_unix_socket_has_its_mode<H: Harness>() {
    let path = path("mode");
    let server = H::start(bind::<H>(path.clone()).unix_mode(0o600));
    assert_eq!(server.running().address(), &Address::Unix(Some(path.to_str().unwrap().into())));
    let mode = std::fs::symlink_metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    UnixStream::connect(&path).unwrap();
    H::wait(server.running().stop(PATIENCE));
    let scheme = format!("UNIX://{}", path.display());
    let server = H::start(bind::<H>(scheme));
    UnixStream::connect(&path).unwrap();
    H::wait(server.running().stop(PATIENCE));
    assert!(!path.exists());
}

/// A client without any of what the harness adds.
fn plain_client<H: Harness>(url: String) -> Client<H::Runtime> {
    Client::new(url).runtime(H::runtime()).connect_timeout(3 * PATIENCE)
}

/// Says `answer` to the first connection, after its first bytes, and hands that out still open.
fn answering(answer: &'static [u8]) -> (SocketAddr, JoinHandle<TcpStream>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let serving = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        assert!(stream.read(&mut [0; 4096]).unwrap() > 0);
        stream.write_all(answer).unwrap();
        stream
    });
    (address, serving)
}

pub(crate) fn a_refusal_is_told_although_the_connection_stays_open<H: Harness>() {
    for (head, body, text) in [
        ("Transfer-Encoding: chunked\r\n", "4\r\nfull\r\n0\r\n\r\n", ": full"),
        ("Connection: keep-alive\r\n", "full", ": full"),
        ("Content-Length: 4, 4\r\n", "full", ": full"),
        ("Content-Length: +4\r\n", "full", ""),
        ("Content-Length: 400\r\n", "full", ": full"),
    ] {
        let answer = format!("HTTP/1.1 503 Busy\r\nRetry-After: 7\r\n{head}\r\n{body}");
        let (address, serving) = answering(Box::leak(answer.into_boxed_str()).as_bytes());
        let begun = Instant::now();
        let client = plain_client::<H>(format!("ws://{address}/"));
        let error = H::connect(client).unwrap_err();
        assert!(begun.elapsed() < PATIENCE, "{head} is not waited for until the deadline");
        assert_eq!(error.to_string(), format!("the server refused with status 503{text}"));
        assert_eq!(error.retry_after(), Some(Duration::from_secs(7)));
        drop(serving.join().unwrap());
    }
}

pub(crate) fn a_peer_that_speaks_something_else_is_told_at_once<H: Harness>() {
    for (scheme, greeting, text) in [
        ("ws", &b"SSH-2.0-OpenSSH_9.6\r\n"[..], "http"),
        ("ws", b"<!DOCTYPE html>\n", "http"),
        ("ws", b"\x15\x03\x01\0\x02\x02\x46", "wss://"),
        ("wss", b"SSH-2.0-OpenSSH_9.6\r\n", "ws://"),
        ("wss", b"HTTP/1.1 400 Bad Request\r\n\r\n", "ws://"),
    ] {
        let (address, serving) = answering(greeting);
        let client = plain_client::<H>(format!("{scheme}://{address}/"));
        let client = if scheme == "wss" { client.tls(secured::client()) } else { client };
        let error = H::connect(client).unwrap_err();
        assert!(error.to_string().contains(text), "{error}");
        assert!(!error.is_retryable(), "{error}");
        drop(serving.join().unwrap());
    }
}

pub(crate) fn an_end_without_an_answer_is_asked_what_it_speaks<H: Harness>() {
    const ALERT: &[u8] = b"\x15\x03\x03\0\x02\x02\x28";
    for (scheme, question, answer, text) in [
        ("ws", &b"\x16\x03\x01"[..], ALERT, "use wss:// for it"),
        ("wss", b"GET / HTTP/1.1\r\n", b"HTTP/1.1 400 Bad Request\r\n\r\n", "use ws://"),
        ("ws", b"\x16\x03\x01", b"", "closed before it answered"),
        ("wss", b"GET / HTTP/1.1\r\n", b"", "closed before it answered"),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let serving = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            assert!(stream.read(&mut [0; 4096]).unwrap() > 0);
            drop(stream);
            let (mut stream, _) = listener.accept().unwrap();
            let mut asked = [0; 4096];
            let len = stream.read(&mut asked).unwrap();
            assert!(asked[..len].starts_with(question), "{}", asked[..len].escape_ascii());
            stream.write_all(answer).unwrap();
        });
        let client = plain_client::<H>(format!("{scheme}://{address}/secret?token=x"));
        let client = if scheme == "wss" { client.tls(secured::client()) } else { client };
        let error = H::connect(client).unwrap_err();
        assert!(error.to_string().contains(text), "{error}");
        assert_eq!(error.is_retryable(), answer.is_empty(), "{error}");
        serving.join().unwrap();
    }
}

pub(crate) fn a_stranger_on_a_server_is_answered_at_once<H: Harness>() {
    let server = H::start(H::websocket().handshake_timeout(3 * PATIENCE));
    for (bytes, status) in [
        (&b"SSH-2.0-OpenSSH_9.6\r\n"[..], 400),
        (b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n", 400),
        (b"\r\n\r\n\r\n\r\n\r\n", 400),
        (b"GET http://a.example?x HTTP/1.1\r\nHost: b\r\n\r\n", 426),
        (b"GET / HTTP/3.0\r\n\r\n", 505),
        (b"GET / HTTP/3\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nOrigin: a\r\nOrigin: b\r\n\r\n", 400),
    ] {
        let mut raw = Raw::connect(server.address());
        raw.send(bytes);
        let head = raw.head();
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{head}");
    }
}
