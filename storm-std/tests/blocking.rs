//! Handlers that block their thread, as handlers on plain threads may.
#![allow(clippy::unwrap_used)]

use std::sync::Mutex;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use storm_std::{Client, OwnedMessage, Running, Server, Session, WebSocket};

const GRACE: Duration = Duration::from_millis(50);

fn start(on_message: impl Fn(&Session) + Send + Sync + 'static) -> (Running, String) {
    let server = Server::bind("127.0.0.1:0").websocket(WebSocket::new());
    let server = server.on_message(move |session, _| on_message(session)).start().unwrap();
    let url = format!("ws://{}", server.address());
    (server, url)
}

/// Blocks until the test goes on.
fn block(gate: &Mutex<Receiver<()>>) {
    let _ = gate.lock().unwrap().recv();
}

#[test]
fn what_is_sent_leaves_while_the_handler_blocks() {
    let (release, gate) = channel();
    let gate = Mutex::new(gate);
    let (server, url) = start(move |session| {
        session.send("from the handler").unwrap();
        block(&gate);
    });
    let mut client = Client::new(url).open().unwrap();
    client.session().send("block").unwrap();
    assert_eq!(client.next().unwrap(), Some(OwnedMessage::text("from the handler")));
    server.session(1).unwrap().send("from outside").unwrap();
    assert_eq!(client.next().unwrap(), Some(OwnedMessage::text("from outside")));
    release.send(()).unwrap();
}

#[test]
fn a_handler_may_send_more_than_fits_and_wait_for_the_peer_to_read() {
    const MESSAGE: usize = 100_000;
    const MESSAGES: usize = 300;
    let (_server, url) = start(|session| {
        for _ in 0..MESSAGES {
            session.send_blocking(&[7; MESSAGE]).unwrap();
        }
        session.close();
    });
    let mut client = Client::new(url).open().unwrap();
    client.session().send("all of it").unwrap();
    let mut received = 0;
    while let Some(message) = client.next().unwrap() {
        assert_eq!(message.len(), MESSAGE);
        received += 1;
    }
    assert_eq!(received, MESSAGES);
}

#[test]
fn a_stop_tells_of_handlers_that_block_and_does_not_wait_for_them() {
    let (release, gate) = channel();
    let (entered, inside) = channel();
    let gate = Mutex::new(gate);
    let (server, url) = start(move |_| {
        entered.send(()).unwrap();
        block(&gate);
    });
    let client = Client::new(url).open().unwrap();
    client.session().send("block").unwrap();
    inside.recv().unwrap();
    let session = server.session(1).unwrap();
    let stopped = server.stop(GRACE);
    assert_eq!((stopped.connections, stopped.aborted, stopped.stuck), (1, 1, 1));
    assert!(session.send("late").is_err());
    release.send(()).unwrap();
    assert_eq!(session.closed_blocking().cause, storm_std::Cause::GoingAway);
    assert_eq!(server.connections(), 0);
}
