//! What needs a tokio runtime says so where there is none, and needs it only at the beginning.
#![allow(clippy::unwrap_used)]

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use storm_tokio::{Client, ConnectError, Reconnect, Server, WebSocket};

/// Polls once, outside of any runtime.
fn poll<F: Future>(future: F) -> F::Output {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("it waits for something"),
    }
}

#[test]
fn outside_of_a_runtime_every_entry_is_an_error() {
    let client = || Client::new("ws://127.0.0.1:1");
    let errors = [
        client().reconnect(Reconnect::new()).unwrap_err(),
        poll(client().connect()).unwrap_err(),
        poll(client().open()).unwrap_err(),
    ];
    for error in errors {
        assert!(matches!(error, ConnectError::Runtime(_)) && !error.is_retryable());
        assert!(error.to_string().starts_with("no tokio runtime here: "), "{error}");
    }
    let server = || Server::bind("127.0.0.1:0").websocket(WebSocket::default());
    let error = poll(server().start()).unwrap_err();
    assert!(error.to_string().starts_with("no tokio runtime here: "), "{error}");
    assert!(poll(server().serve()).is_err());
}

#[test]
fn a_server_is_stopped_from_outside_of_its_runtime() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let server = Server::bind("127.0.0.1:0").websocket(WebSocket::default());
    let running = runtime.block_on(server.start()).unwrap();
    let address = running.address().to_string();
    let session = runtime.block_on(Client::new(format!("ws://{address}")).connect()).unwrap();
    let stopped = storm_proto::service::park::block_on(
        running.stop(Duration::from_secs(10)),
        <storm_tokio::Tokio as storm_proto::service::Runtime>::now,
    );
    assert_eq!((stopped.connections, stopped.clean), (1, 1));
    assert!(runtime.block_on(session.closed()).clean);
}
