//! When a session begins and ends for the application, whatever the peer does with its socket.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use storm_proto::Cause;
use storm_proto::service::{ConnectError, Handler, Runtime, Session, Transport};

use super::client::listen;
use super::harness::{Harness, PATIENCE, teller, until};
use super::raw::{Raw, frame};

/// Longer than any test: an end that waits for the peer's FIN would wait for this.
const FOR_EVER: Duration = Duration::from_secs(3600);

pub(crate) fn a_finished_closing_handshake_is_the_end<H: Harness>() {
    let (handler, told) = teller();
    let server = H::start(H::websocket().close_timeout(FOR_EVER).handler(handler));
    let (mut first, mut second) =
        (Raw::websocket(server.address()), Raw::websocket(server.address()));
    told.connected();
    told.connected();
    first.send_frame(0x88, b"\x03\xe8");
    assert!(told.disconnected().clean, "the peer has not closed TCP");
    assert_eq!(first.frame(), (0x88, b"\x03\xe8".to_vec()));
    until(|| server.running().connections() == 1);
    let closing = std::thread::spawn(move || {
        assert_eq!(second.frame(), (0x88, b"\x03\xe9".to_vec()));
        second.send_frame(0x88, b"\x03\xe9");
        second
    });
    let stopped = H::wait(server.running().stop(PATIENCE));
    assert_eq!((stopped.connections, stopped.clean, stopped.aborted), (1, 1, 0));
    assert_eq!(told.disconnected().cause, Cause::GoingAway);
    let mut second = closing.join().unwrap();
    assert!(first.rest().is_empty() && second.rest().is_empty(), "both get a FIN, and no reset");
}

pub(crate) fn a_client_waits_for_no_fin_of_its_server<H: Harness>() {
    let (listener, url) = listen::<H>();
    let serving = std::thread::spawn(move || {
        let mut peer = Raw::accept(&listener);
        peer.serve_websocket();
        assert_eq!(peer.frame(), (0x88, b"\x03\xe8".to_vec()));
        peer.send(&frame(0x88, 0, b"\x03\xe8"));
        peer
    });
    let (handler, told) = teller();
    let client = H::connect(H::client(&url).close_timeout(FOR_EVER).handler(handler)).unwrap();
    told.connected();
    client.close();
    assert!(told.disconnected().clean);
    assert!(H::block_on(client.closed()).clean);
    drop(serving.join().unwrap());
}

pub(crate) fn a_fault_ends_its_session_though_the_peer_stays<H: Harness>() {
    let (handler, told) = teller();
    let server = H::start(H::websocket().close_timeout(FOR_EVER).handler(handler));
    let mut rude = Raw::websocket(server.address());
    told.connected();
    rude.send(b"\xff\xff");
    assert_eq!(rude.frame().0, 0x88);
    assert_eq!(told.disconnected().cause, Cause::ProtocolError);
    until(|| server.running().connections() == 0);
    rude.send(&[0; 1 << 20]);
    assert!(rude.rest().is_empty(), "what still comes is discarded");
}

pub(crate) fn connect_returns_after_on_connected<H: Harness>() {
    let server = H::start(H::websocket());
    for _ in 0..20 {
        let greeted = Arc::new(AtomicBool::new(false));
        let greets = greeted.clone();
        let client = H::client(server.url()).on_connected(move |session| {
            session.send("login").unwrap();
            greets.store(true, Ordering::SeqCst);
        });
        let session = H::connect(client).unwrap();
        assert!(greeted.load(Ordering::SeqCst));
        session.close();
    }
}

pub(crate) fn an_on_connected_that_hangs_is_a_timeout<H: Harness>() {
    let server = H::start(H::websocket());
    let (release, released) = channel::<()>();
    let released = Mutex::new(released);
    let client = H::client(server.url()).connect_timeout(Duration::from_millis(200));
    let error = if <H::Runtime as Runtime>::Transport::BLOCKS {
        let hang = move |_: &Session| {
            let _ = released.lock().unwrap().recv();
        };
        H::connect(client.on_connected(hang)).unwrap_err()
    } else {
        H::connect(client.handler(Hangs)).unwrap_err()
    };
    assert!(matches!(error, ConnectError::Timeout(_)), "{error}");
    // A handler that blocks its thread keeps the socket until it returns.
    drop(release);
    until(|| server.running().connections() == 0);
}

struct Hangs;

impl Handler for Hangs {
    async fn on_connected(&self, _: &Session) {
        std::future::pending().await
    }
}
