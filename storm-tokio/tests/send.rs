//! What is awaited may be awaited in a task that wanders between threads. Compiling this file
//! is the test.

use std::time::Duration;

use storm_tokio::{
    Client, DisconnectReason, Handler, Inbox, Message, Reconnecting, Running, Server, Session,
    WebSocketStream,
};
use tokio::net::TcpStream;

/// A handler that waits, with everything that it is lent in its hands.
struct Waiting;

impl Handler for Waiting {
    async fn on_message(&self, session: &Session, message: Message<'_>) {
        let _ = session.send_wait(message).await;
    }

    async fn on_disconnected(&self, session: &Session, reason: &DisconnectReason) {
        session.closed().await;
        println!("{reason}");
    }
}

fn assert_send(_: impl Send) {}

#[test]
fn starting_and_connecting_can_be_spawned() {
    // Futures that nobody polls do nothing.
    assert_send(Server::bind("127.0.0.1:0").handler(Waiting).serve());
    assert_send(Server::bind("127.0.0.1:0").handler(Waiting).start());
    assert_send(Client::new("ws://127.0.0.1:1").handler(Waiting).connect());
    assert_send(Client::new("ws://127.0.0.1:1").open());
}

#[test]
fn every_other_wait_can_be_spawned() {
    let _ = |running: &Running, client: &Reconnecting, inbox: &mut Inbox| {
        assert_send(running.stop(Duration::ZERO));
        assert_send(client.connected());
        assert_send(client.stopped());
        assert_send(inbox.next());
    };
    let _ = |session: &Session, stream: &mut WebSocketStream<TcpStream>| {
        assert_send(session.send_wait("hello"));
        assert_send(session.closed());
        assert_send(stream.next());
        assert_send(stream.send("hello"));
        assert_send(stream.close());
    };
}
