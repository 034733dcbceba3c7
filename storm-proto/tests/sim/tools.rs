//! What the scripts of services have in common.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use storm_proto::service::{Handler, Running, Server};
use storm_proto::websocket::handshake::{Accept, ServerHandshake};
use storm_proto::{Heartbeat, SlowConsumer, WebSocket};

use super::{Peer, Sim};

/// A WebSocket server that pings nobody.
pub(crate) fn websocket() -> Server<Sim> {
    Server::bind("127.0.0.1:80").websocket(WebSocket::new().heartbeat(Heartbeat::off()))
}

/// Starts a server, and lets it come to rest.
pub(crate) fn start<H: Handler>(server: Server<Sim, H>) -> Running<Sim> {
    let running = Sim::block_on(server.start()).unwrap();
    Sim::run();
    running
}

pub(crate) fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// What happened, in order.
#[derive(Clone, Default)]
pub(crate) struct Journal(Arc<Mutex<Vec<String>>>);

impl Journal {
    pub(crate) fn note(&self, line: impl Into<String>) {
        self.0.lock().unwrap().push(line.into());
    }

    pub(crate) fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

/// Polls a future of the test's own once, after everything that is ready.
pub(crate) fn poll<F: Future>(future: &mut Pin<Box<F>>) -> Option<F::Output> {
    let mut cx = Context::from_waker(Waker::noop());
    let polled = future.as_mut().poll(&mut cx);
    Sim::run();
    match polled {
        Poll::Ready(output) => Some(output),
        Poll::Pending => None,
    }
}

/// A peer that has opened a WebSocket.
pub(crate) fn upgraded() -> Peer {
    let peer = Sim::dial();
    peer.send(
        b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    );
    assert!(peer.take().starts_with(b"HTTP/1.1 101"));
    peer
}

/// Every policy for slow peers.
pub(crate) const POLICIES: [SlowConsumer; 5] = [
    SlowConsumer::Wait,
    SlowConsumer::Drop,
    SlowConsumer::DropOldest,
    SlowConsumer::KeepLatest,
    SlowConsumer::Disconnect,
];

/// The answer of a server to a client's request.
pub(crate) fn accept(request: &[u8]) -> Vec<u8> {
    let mut handshake = ServerHandshake::new(Default::default());
    let request = handshake.receive(&mut &request[..]).unwrap().unwrap();
    request.accept(&Accept::new()).unwrap().to_vec()
}

/// A frame of a client.
pub(crate) fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match payload.len() {
        len @ 0..126 => frame.push(0x80 | len as u8),
        len => {
            frame.push(0x80 | 126);
            frame.extend((len as u16).to_be_bytes());
        }
    }
    frame.extend([0; 4]);
    frame.extend(payload);
    frame
}
