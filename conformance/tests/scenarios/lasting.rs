//! Clients that last: those that come back, and those whose messages are asked for.

use std::time::Duration;

use storm_proto::service::{Retry, Server};
use storm_proto::{Cause, OwnedMessage, Reconnect};

use super::harness::{Harness, Seen, teller};

/// Comes back at once.
const AT_ONCE: Reconnect = Reconnect::new().initial(Duration::from_millis(20)).factor(1);

pub(crate) fn a_client_comes_back_through_a_restart_of_its_server<H: Harness>() {
    let server = H::start(H::websocket().on_message(|session, message| session.send(message)));
    let address = server.address().to_string();
    let (handler, told) = teller();
    let client = H::client(server.url()).handler(handler);
    let client = H::block_on(async move { client.reconnect(AT_ONCE) }).unwrap();
    let first = told.connected();
    assert_eq!(H::wait(client.connected()).unwrap(), first);
    H::wait(server.running().stop(Duration::from_secs(10)));
    drop(server);
    assert_eq!(told.disconnected().cause, Cause::Closed);
    // A server that has stopped has freed its address.
    let again = Server::<H::Runtime>::bind(address).runtime(H::runtime());
    let again = again.websocket(H::settings());
    let _again = H::start(again.on_message(|session, message| session.send(message)));
    let second = told.connected();
    assert!(second.id() > first.id());
    assert_eq!(H::wait(client.connected()).unwrap(), second, "after its on_connected");
    client.send("still here").unwrap();
    assert!(matches!(told.next(), Seen::Message(_, message) if message.as_bytes().len() == 10));
    client.stop();
    assert!(H::wait(client.stopped()).is_none());
    assert!(told.disconnected().clean);
}

pub(crate) fn a_client_that_comes_back_to_nobody_gives_up<H: Harness>() {
    let server = H::start(H::websocket());
    let url = server.url();
    drop(server);
    let (tell, told) = std::sync::mpsc::channel();
    let client = H::client(url);
    let client = client.on_reconnecting(move |retry| tell.send(retry.clone()));
    let client = H::block_on(async move { client.reconnect(AT_ONCE.max_attempts(2)) }).unwrap();
    assert!(H::wait(client.stopped()).is_some());
    let retries: Vec<_> = told.iter().collect();
    let [
        Retry::Waiting { attempt: 1, .. },
        Retry::Waiting { attempt: 2, .. },
        Retry::GaveUp { .. },
    ] = &retries[..]
    else {
        panic!("{retries:?}")
    };
}

pub(crate) fn a_dropped_client_closes_its_session<H: Harness>() {
    let (handler, told) = teller();
    let server = H::start(H::websocket().handler(handler));
    let client = H::client(server.url());
    let client = H::block_on(async move { client.reconnect(AT_ONCE) }).unwrap();
    told.connected();
    H::wait(client.connected()).unwrap();
    H::block_on(async move { drop(client) });
    assert!(told.disconnected().clean);
    let inbox = H::client(server.url()).open();
    let inbox = H::wait(inbox).unwrap();
    let session = told.connected();
    // Two that nobody asks for.
    session.send("one").unwrap();
    session.send("two").unwrap();
    H::block_on(async move { drop(inbox) });
    assert!(told.disconnected().clean);
}

pub(crate) fn messages_are_asked_for_in_a_loop<H: Harness>() {
    let server = H::start(H::websocket().on_message(|session, message| {
        for _ in 0..3 {
            let _ = session.send(message);
        }
        session.close();
    }));
    let inbox = H::client(server.url()).open();
    let mut inbox = H::wait(inbox).unwrap();
    inbox.session().send("thrice").unwrap();
    let mut received = Vec::new();
    while let Some(message) = H::wait(inbox.next()).unwrap() {
        received.push(message);
    }
    assert_eq!(received, vec![OwnedMessage::text("thrice"); 3]);
}
