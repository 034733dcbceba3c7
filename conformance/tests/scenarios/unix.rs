//! Unix sockets, WebSocket and plain.

use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

use storm_proto::framing::Delimiter;
use storm_proto::service::{Address, Metrics, Server};
use storm_proto::{Cause, OwnedMessage, Side};

use super::harness::{Harness, Seen, teller, until};

/// A path of this scenario's own.
pub(crate) fn path(name: &str) -> PathBuf {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let path = std::env::temp_dir().join(format!("storm-{}-{number}-{name}", std::process::id()));
    let _ = std::fs::remove_file(&path);
    path
}

pub(crate) fn a_websocket_and_lines_go_over_unix_sockets<H: Harness>() {
    let path = path("both");
    let address = format!("unix:{}", path.display());
    let bind = || Server::<H::Runtime>::bind(&address).runtime(H::runtime());
    let (handler, told) = teller();
    let server = H::start(bind().websocket(H::settings()).handler(handler));
    assert_eq!(server.running().address().to_string(), address);
    let (websocket, plain) = if H::TLS { ("wss+", "tls+") } else { ("ws+", "") };
    let url = format!("{websocket}{address}:/chat");
    let inbox = H::client(url).open();
    let mut inbox = H::wait(inbox).unwrap();
    assert_eq!(told.connected().peer(), &Address::Unix(None));
    inbox.session().send("hello").unwrap();
    assert_eq!(H::wait(inbox.next()).unwrap(), Some(OwnedMessage::text("hello")));
    for session in [inbox.session(), &server.running().session(1).unwrap()] {
        // Counted after the handler, whose answer may be here already.
        let counted = |m: Metrics| (m.messages_received, m.messages_sent) == (1, 1);
        until(|| counted(session.metrics()));
    }
    assert_eq!((server.running().connections(), server.running().count()), (1, 1));
    inbox.session().close();
    assert!(told.disconnected().clean);
    until(|| server.running().connections() == 0);
    H::wait(server.running().stop(super::harness::PATIENCE));
    drop(server);
    assert!(!path.exists(), "the file goes with the server");

    let (handler, told) = teller();
    let _server = H::start(bind().framed(Delimiter::lines()).handler(handler));
    let client = H::client(format!("{plain}{address}"));
    let mut inbox = H::wait(client.framed(Delimiter::lines()).open()).unwrap();
    inbox.session().send("a line").unwrap();
    let line = H::wait(inbox.next()).unwrap().unwrap();
    assert_eq!(line.as_bytes(), b"a line");
    drop(told.connected());
    assert!(matches!(told.next(), Seen::Message(1, _)));
    // A Unix socket knows no reset: the peer sees the end, which TLS does not believe in.
    inbox.session().abort();
    let reason = told.disconnected();
    let expected = if H::TLS { Cause::TlsError } else { Cause::Closed };
    assert_eq!((reason.side, reason.cause), (Side::Remote, expected));
}

pub(crate) fn a_stale_socket_file_is_replaced_and_a_live_one_is_not<H: Harness>() {
    let path = path("stale");
    drop(UnixListener::bind(&path).unwrap());
    let address = format!("unix:{}", path.display());
    let bind = || Server::<H::Runtime>::bind(&address).runtime(H::runtime());
    let _server = H::start(bind());
    UnixStream::connect(&path).unwrap();
    let error = H::wait(bind().start()).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::AddrInUse);
    UnixStream::connect(&path).unwrap();
}
