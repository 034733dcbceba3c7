//! A server is shut down, and what it has counted.

use std::sync::mpsc::channel;
use std::time::Duration;

use storm_proto::{Cause, CloseCode, Drain, Side};

use super::harness::{Harness, PATIENCE, teller, until};
use super::raw::Raw;

const UPGRADE: &[u8] =
    b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

pub(crate) fn a_shutdown_sends_newcomers_away_until_the_last_session_is_gone<H: Harness>() {
    let (handler, told) = teller();
    let server = H::start(H::websocket().handler(handler));
    let address = server.address();
    let mut peers = [Raw::websocket(address), Raw::websocket(address), Raw::websocket(address)];
    for _ in &peers {
        told.connected().send("last words").unwrap();
    }
    let peers = std::thread::spawn(move || {
        for peer in &mut peers {
            assert_eq!(peer.frame(), (0x81, b"last words".to_vec()));
            assert_eq!(peer.frame(), (0x88, b"\x03\xf4".to_vec()));
        }
        // All were told to go, and none has gone.
        let mut late = Raw::connect(address);
        late.send(UPGRADE);
        let head = late.head();
        assert!(head.starts_with("HTTP/1.1 503 "), "{head}");
        assert!(head.contains("\r\nRetry-After: 7\r\n"), "{head}");
        assert_eq!(late.rest(), b"the server is stopping\n");
        drop(late);
        for peer in &mut peers {
            peer.send_frame(0x88, b"\x03\xf4");
            assert!(peer.rest().is_empty());
        }
    });
    let drain = Drain::new().within(PATIENCE).over(Duration::from_millis(200));
    let drain = drain.code(CloseCode::SERVICE_RESTART).retry_after(Duration::from_secs(7));
    let stopped = H::wait(server.running().shutdown(drain));
    peers.join().unwrap();
    assert_eq!((stopped.connections, stopped.clean, stopped.unopened), (4, 3, 1));
    assert_eq!((stopped.aborted, stopped.stuck, stopped.undelivered), (0, 0, 0));
    for _ in 0..3 {
        let reason = told.disconnected();
        assert_eq!((reason.side, reason.cause), (Side::Local, Cause::GoingAway));
    }
    assert!(told.is_silent(), "no event after the shutdown");
    let again = storm_proto::service::Server::<H::Runtime>::bind(address.to_string());
    assert!(H::wait(again.runtime(H::runtime()).start()).is_ok(), "the address is free");
}

pub(crate) fn a_shutdown_cuts_off_who_does_not_answer<H: Harness>() {
    let (handler, told) = teller();
    let server = H::start(H::websocket().handler(handler));
    let mut deaf = Raw::websocket(server.address());
    told.connected();
    let drain = Drain::new().within(Duration::from_millis(50)).over(Duration::ZERO);
    let stopped = H::wait(server.running().shutdown(drain));
    assert_eq!((stopped.connections, stopped.clean, stopped.aborted), (1, 0, 1));
    assert!(stopped.took >= Duration::from_millis(50));
    assert_eq!(told.disconnected().cause, Cause::GoingAway);
    assert_eq!(deaf.frame(), (0x88, b"\x03\xe9".to_vec()));
    assert!(deaf.is_reset());
}

pub(crate) fn a_shutdown_that_is_given_up_is_finished_by_a_stop<H: Harness>() {
    let (handler, told) = teller();
    let server = H::start(H::websocket().close_timeout(Duration::from_millis(50)).handler(handler));
    let mut peer = Raw::websocket(server.address());
    told.connected();
    // Where calls block it cannot be given up, and lasts until the deadline of the close.
    H::give_up(server.running().shutdown(Drain::new().over(Duration::ZERO)));
    assert!(server.running().hub().is_stopping());
    assert_eq!(peer.frame(), (0x88, b"\x03\xe9".to_vec()));
    let stopped = H::wait(server.running().stop(PATIENCE));
    assert_eq!(stopped.aborted, 0);
    assert_eq!(told.disconnected().cause, Cause::GoingAway);
    assert_eq!(server.running().connections(), 0);
}

pub(crate) fn counters_say_what_came_and_went<H: Harness>() {
    const PEERS: u64 = 8;
    const MESSAGES: u64 = 50;
    let server = H::start(H::websocket().on_message(|session, message| session.send(message)));
    let (address, running) = (server.address(), server.running());
    let (done, watching) = channel::<()>();
    std::thread::scope(|scope| {
        // Snapshots never go back, whatever opens, talks and ends meanwhile.
        let hub = running.hub();
        scope.spawn(move || {
            let mut before = hub.metrics().sessions;
            while watching
                .try_recv()
                .is_err_and(|error| error == std::sync::mpsc::TryRecvError::Empty)
            {
                let now = hub.metrics().sessions;
                assert!(now.opened >= before.opened && now.ended() >= before.ended());
                assert!(now.messages_received >= before.messages_received);
                assert!(now.bytes_sent >= before.bytes_sent);
                assert!(now.messages_received <= PEERS * MESSAGES);
                before = now;
            }
        });
        let talk = || {
            let mut peer = Raw::connect(address);
            peer.send(UPGRADE);
            assert!(peer.head().starts_with("HTTP/1.1 101 "));
            for _ in 0..MESSAGES {
                peer.send_frame(0x81, b"hello");
                assert_eq!(peer.frame(), (0x81, b"hello".to_vec()));
            }
            peer.send_frame(0x88, b"\x03\xe8");
            assert_eq!(peer.frame(), (0x88, b"\x03\xe8".to_vec()));
            assert!(peer.rest().is_empty());
        };
        let peers: Vec<_> = (0..PEERS).map(|_| scope.spawn(talk)).collect();
        peers.into_iter().for_each(|peer| peer.join().unwrap());
        drop(done);
    });
    until(|| running.connections() == 0);
    let metrics = running.metrics();
    let sessions = metrics.sessions;
    assert_eq!((metrics.admitted, sessions.opened, sessions.clean), (PEERS, PEERS, PEERS));
    assert_eq!((sessions.errors, sessions.undelivered, sessions.open), (0, 0, 0));
    let messages = PEERS * MESSAGES;
    assert_eq!((sessions.messages_received, sessions.messages_sent), (messages, messages));
    assert_eq!((sessions.opening.count(), sessions.lifetime.count()), (PEERS, PEERS));
    // Frames with and without a mask, a Close frame each, and the request and its answer.
    let received = sessions.bytes_received - messages * (6 + 5) - PEERS * (6 + 2);
    assert_eq!(received, PEERS * UPGRADE.len() as u64);
    assert!(sessions.bytes_sent > messages * (2 + 5) + PEERS * (2 + 2));
}
