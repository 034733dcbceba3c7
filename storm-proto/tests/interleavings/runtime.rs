//! A runtime whose tasks are scheduled by shuttle: each lock, atomic and wake-up is a point at
//! which another may go on. Its clock stands still: what waits for a deadline waits for ever,
//! and a lost wake-up is a deadlock, which shuttle finds.

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use shuttle::sync::{Mutex, MutexGuard};
use storm_proto::Instant;
use storm_proto::service::{
    Address, Ends, ListenOptions, Listener, Runtime, SocketOptions, Transport,
};

/// Streams that wait to be accepted.
#[derive(Clone, Default)]
pub(crate) struct Woven {
    arriving: Arc<Mutex<Arriving>>,
}

#[derive(Default)]
pub(crate) struct Arriving {
    streams: VecDeque<Stream>,
    acceptor: Option<Waker>,
}

impl Woven {
    /// Connects to the server; the network holds so many bytes each way.
    pub(crate) fn dial(&self, room: usize) -> Stream {
        let pipe = || Arc::new(Mutex::new(Pipe { room, ..Pipe::default() }));
        let (one, other) = (pipe(), pipe());
        let ours = Stream { incoming: one.clone(), outgoing: other.clone() };
        let waker = {
            let mut arriving = self.arriving.lock().unwrap();
            arriving.streams.push_back(Stream { incoming: other, outgoing: one });
            arriving.acceptor.take()
        };
        wake(waker);
        ours
    }
}

impl Runtime for Woven {
    type Transport = Stream;
    type Listener = Woven;
    type Wait<F: Future> = F;

    fn wait<F: Future>(future: F) -> F {
        future
    }

    fn now() -> Instant {
        Instant::from_secs(1_000)
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) -> io::Result<()> {
        shuttle::future::spawn(task);
        Ok(())
    }

    async fn sleep_until(&self, _: Instant) {
        std::future::pending().await
    }

    async fn yield_now(&self) {
        shuttle::future::yield_now().await;
    }

    async fn resolve(&self, _: &str, _: u16) -> io::Result<Vec<SocketAddr>> {
        Ok(vec![])
    }

    fn listen(&self, _: &Address, _: &ListenOptions) -> io::Result<Woven> {
        Ok(self.clone())
    }

    fn dial(
        &self,
        _: Address,
        _: SocketOptions,
    ) -> impl Future<Output = io::Result<(Stream, Ends)>> + Send + 'static {
        std::future::ready(Ok((Woven::dial(self, usize::MAX), ends())))
    }
}

impl Listener for Woven {
    type Transport = Stream;

    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<(Stream, Ends)>> {
        let mut arriving = self.arriving.lock().unwrap();
        match arriving.streams.pop_front() {
            Some(stream) => Poll::Ready(Ok((stream, ends()))),
            None => {
                arriving.acceptor = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    fn local_address(&self) -> io::Result<Address> {
        Ok(ends().local)
    }
}

fn ends() -> Ends {
    let address = |port| Address::from(SocketAddr::from(([127, 0, 0, 1], port)));
    Ends { peer: address(50_000), local: address(80) }
}

/// One direction of a stream.
#[derive(Default)]
struct Pipe {
    bytes: VecDeque<u8>,
    room: usize,
    ended: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

/// One end of a stream: the server's, or the test's.
pub(crate) struct Stream {
    incoming: Arc<Mutex<Pipe>>,
    outgoing: Arc<Mutex<Pipe>>,
}

impl Stream {
    /// All that is there, once there is something; nothing at the end.
    pub(crate) async fn read(&mut self) -> Vec<u8> {
        let mut buffer = [0; 256];
        let n = poll_fn(|cx| self.poll_read(cx, &mut buffer)).await.unwrap();
        buffer[..n].to_vec()
    }

    /// Reads lines until there are so many.
    pub(crate) async fn lines(&mut self, count: usize) -> Vec<String> {
        let mut bytes = Vec::new();
        while bytes.iter().filter(|byte| **byte == b'\n').count() < count {
            let more = self.read().await;
            assert!(!more.is_empty(), "ended after {bytes:?}");
            bytes.extend(more);
        }
        String::from_utf8(bytes).unwrap().lines().map(str::to_owned).collect()
    }

    pub(crate) async fn write(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let n = poll_fn(|cx| self.poll_write(cx, &[IoSlice::new(bytes)])).await.unwrap();
            bytes = &bytes[n..];
        }
    }
}

impl Transport for Stream {
    fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut pipe = self.incoming.lock().unwrap();
        if pipe.bytes.is_empty() && !pipe.ended {
            pipe.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let n = pipe.bytes.len().min(buffer.len());
        for (slot, byte) in buffer.iter_mut().zip(pipe.bytes.drain(..n)) {
            *slot = byte;
        }
        let writer = pipe.writer.take();
        drop(pipe);
        wake(writer);
        Poll::Ready(Ok(n))
    }

    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        chunks: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut pipe = self.outgoing.lock().unwrap();
        let room = pipe.room - pipe.bytes.len();
        if room == 0 {
            pipe.writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let bytes = chunks.iter().flat_map(|chunk| chunk.iter().copied());
        let before = pipe.bytes.len();
        pipe.bytes.extend(bytes.take(room));
        let written = pipe.bytes.len() - before;
        wake_reader(pipe);
        Poll::Ready(Ok(written))
    }

    fn poll_shutdown(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.end();
        Poll::Ready(Ok(()))
    }

    fn arm(&mut self, _: Instant) {}

    fn poll_timer(&mut self, _: &mut Context<'_>) -> Poll<()> {
        Poll::Pending
    }

    fn yield_now(&mut self, cx: &mut Context<'_>) {
        cx.waker().wake_by_ref();
    }

    fn reset(&mut self) {}
}

impl Stream {
    fn end(&self) {
        let mut pipe = self.outgoing.lock().unwrap();
        pipe.ended = true;
        wake_reader(pipe);
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.end();
    }
}

fn wake_reader(mut pipe: MutexGuard<'_, Pipe>) {
    let reader = pipe.reader.take();
    drop(pipe);
    wake(reader);
}

fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}
