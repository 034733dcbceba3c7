//! The second door without a runtime: a stream that blocks, driven on a plain thread.
#![allow(clippy::unwrap_used)]

use std::io::{self, IoSlice, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::OnceLock;
use std::task::{Context, Poll};
use std::time::Duration;

use storm_proto::service::park::{block_on, wake_at};
use storm_proto::service::{Carrier, MessageStream, StreamError, Transport};
use storm_proto::websocket::Role;
use storm_proto::websocket::handshake::Offer;
use storm_proto::{Heartbeat, Instant, Options, OwnedMessage};

type Stream = MessageStream<Blocking>;

/// Every call blocks until it is ready; only a read ends early, at the next deadline.
struct Blocking {
    stream: TcpStream,
    armed: Option<Instant>,
}

fn now() -> Instant {
    static EPOCH: OnceLock<std::time::Instant> = OnceLock::new();
    let epoch = EPOCH.get_or_init(std::time::Instant::now);
    Instant::from_nanos(epoch.elapsed().as_nanos() as u64)
}

impl Transport for Blocking {
    fn poll_read(&mut self, _: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let left = self.armed.map(|at| (at - now()).max(Duration::from_millis(1)));
        self.stream.set_read_timeout(left)?;
        match self.stream.read(buffer).map_err(|error| (error.kind(), error)) {
            Err((io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut, _)) => Poll::Pending,
            read => Poll::Ready(read.map_err(|(_, error)| error)),
        }
    }

    fn poll_write(
        &mut self,
        _: &mut Context<'_>,
        chunks: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(self.stream.write_vectored(chunks))
    }

    fn poll_shutdown(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.stream.shutdown(Shutdown::Write))
    }

    fn arm(&mut self, at: Instant) {
        self.armed = Some(at);
    }

    fn poll_timer(&mut self, _: &mut Context<'_>) -> Poll<()> {
        let at = self.armed.unwrap();
        if now() >= at {
            self.armed = None;
            return Poll::Ready(());
        }
        wake_at(at);
        Poll::Pending
    }

    fn yield_now(&mut self, cx: &mut Context<'_>) {
        cx.waker().wake_by_ref();
    }

    fn reset(&mut self) {}
}

impl Carrier for Blocking {
    type Stream = TcpStream;

    fn carry(stream: TcpStream) -> Blocking {
        Blocking { stream, armed: None }
    }

    fn stream(&self) -> &TcpStream {
        &self.stream
    }

    fn now() -> Instant {
        now()
    }

    fn poll_flush(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.stream.flush())
    }
}

fn sockets() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (near, listener.accept().unwrap().0)
}

#[test]
fn two_threads_talk_over_a_stream_that_blocks() {
    let (near, far) = sockets();
    let serving = std::thread::spawn(move || {
        let mut stream = block_on(Stream::accept(far, Options::default()), now).unwrap();
        while let Some(message) = block_on(stream.next(), now) {
            block_on(stream.send(&message.unwrap()), now).unwrap();
        }
        stream.reason().unwrap().clean
    });
    let uri = "ws://server.example/".parse().unwrap();
    let offer = Offer::new();
    let mut stream =
        block_on(Stream::connect(near, &uri, &offer, Options::default()), now).unwrap();
    for len in [0, 5, 1_000_000] {
        let message = OwnedMessage::binary(vec![7; len]);
        block_on(stream.send(&message), now).unwrap();
        block_on(stream.flush(), now).unwrap();
        assert_eq!(block_on(stream.next(), now).unwrap().unwrap(), message);
    }
    block_on(stream.close(), now).unwrap();
    assert!(serving.join().unwrap() && stream.reason().unwrap().clean);
}

#[test]
fn a_read_that_blocks_keeps_the_deadlines() {
    let (near, mut far) = sockets();
    let mut options = Options::default();
    options.websocket.heartbeat = Heartbeat::every(Duration::from_millis(5)).missed(2);
    let mut stream = Stream::from_upgraded(near, Role::Server, options, b"");
    let Some(Err(StreamError::Ended(reason))) = block_on(stream.next(), now) else {
        panic!("no error");
    };
    assert_eq!(reason.to_string(), "the heartbeat deadline passed");
    let mut pings = Vec::new();
    far.read_to_end(&mut pings).unwrap();
    assert_eq!(pings, b"\x89\x04\0\0\0\x01\x89\x04\0\0\0\x02");
}
