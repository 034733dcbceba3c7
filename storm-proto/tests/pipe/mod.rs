//! A stream in memory between two machines, as mean as a real one: each interest (readable,
//! writable, time) remembers the last waker only.
#![allow(dead_code)]

use std::collections::VecDeque;
use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};

use storm_proto::Instant;
use storm_proto::service::{Carrier, Runtime, Transport};

use crate::sim::Sim;

/// One direction.
#[derive(Default)]
struct Lane {
    bytes: VecDeque<u8>,
    room: usize,
    ended: bool,
    reset: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

impl Lane {
    fn wake(&mut self) {
        for waker in [self.reader.take(), self.writer.take()].into_iter().flatten() {
            waker.wake();
        }
    }

    fn fail(&mut self) {
        self.reset = true;
        self.wake();
    }
}

/// One end of a stream. Its drop ends both directions.
pub(crate) struct End {
    incoming: Arc<Mutex<Lane>>,
    outgoing: Arc<Mutex<Lane>>,
    /// Bytes that are held back until they are flushed; `None` if none are.
    held: Option<Vec<u8>>,
}

/// A stream whose network holds `room` bytes in each direction.
pub(crate) fn pipe(room: usize) -> (End, End) {
    let lane = || Arc::new(Mutex::new(Lane { room, ..Lane::default() }));
    let (there, back) = (lane(), lane());
    let end = |incoming: &Arc<Mutex<Lane>>, outgoing: &Arc<Mutex<Lane>>| End {
        incoming: incoming.clone(),
        outgoing: outgoing.clone(),
        held: None,
    };
    (end(&back, &there), end(&there, &back))
}

impl End {
    /// Holds back what is written until it is flushed.
    pub(crate) fn buffered(mut self) -> End {
        self.held = Some(Vec::new());
        self
    }

    /// Writes as a peer that is no machine, and lets everything happen that follows.
    pub(crate) fn send(&self, bytes: &[u8]) {
        let mut lane = self.outgoing.lock().unwrap();
        lane.bytes.extend(bytes);
        lane.wake();
        drop(lane);
        Sim::run();
    }

    /// Reads as a peer that is no machine, until nothing comes any more.
    pub(crate) fn take(&self) -> Vec<u8> {
        let mut all = Vec::new();
        loop {
            Sim::run();
            let mut lane = self.incoming.lock().unwrap();
            if lane.bytes.is_empty() {
                return all;
            }
            all.extend(lane.bytes.drain(..));
            lane.wake();
        }
    }

    /// Ends this end's direction.
    pub(crate) fn end(&self) {
        let mut lane = self.outgoing.lock().unwrap();
        lane.ended = true;
        lane.wake();
        drop(lane);
        Sim::run();
    }

    /// The other end has ended its direction.
    pub(crate) fn is_ended(&self) -> bool {
        self.incoming.lock().unwrap().ended
    }

    /// Makes writing fail at the other end, whose reading goes on.
    pub(crate) fn break_writes(&self) {
        self.incoming.lock().unwrap().fail();
        Sim::run();
    }

    /// Makes reading fail at the other end, whose writing goes on.
    pub(crate) fn break_reads(&self) {
        self.outgoing.lock().unwrap().fail();
        Sim::run();
    }
}

impl Drop for End {
    fn drop(&mut self) {
        // Who waited for this end hears nothing any more.
        self.incoming.lock().unwrap().reader = None;
        self.outgoing.lock().unwrap().writer = None;
        for lane in [&self.incoming, &self.outgoing] {
            let mut lane = lane.lock().unwrap();
            lane.ended = true;
            lane.wake();
        }
    }
}

/// A machine's end, with a timer.
pub(crate) struct Carried {
    end: End,
    armed: Option<Instant>,
    alarm: Arc<Alarm>,
}

/// The last waker that waits for the timer.
#[derive(Default)]
struct Alarm(Mutex<Option<Waker>>);

impl Wake for Alarm {
    fn wake(self: Arc<Alarm>) {
        if let Some(waker) = self.0.lock().unwrap().take() {
            waker.wake();
        }
    }
}

impl Transport for Carried {
    fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut lane = self.end.incoming.lock().unwrap();
        if lane.reset {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        if lane.bytes.is_empty() && !lane.ended {
            lane.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let n = lane.bytes.len().min(buffer.len());
        for (slot, byte) in buffer.iter_mut().zip(lane.bytes.drain(..n)) {
            *slot = byte;
        }
        if let Some(writer) = lane.writer.take() {
            writer.wake();
        }
        Poll::Ready(Ok(n))
    }

    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        chunks: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if let Some(held) = &mut self.end.held {
            chunks.iter().for_each(|chunk| held.extend_from_slice(chunk));
            return Poll::Ready(Ok(chunks.iter().map(|chunk| chunk.len()).sum()));
        }
        poll_write(&self.end.outgoing, cx, chunks)
    }

    fn poll_shutdown(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        assert!(self.end.held.as_ref().is_none_or(Vec::is_empty), "flushed before the end");
        let mut lane = self.end.outgoing.lock().unwrap();
        lane.ended = true;
        lane.wake();
        Poll::Ready(Ok(()))
    }

    fn arm(&mut self, at: Instant) {
        self.armed = Some(at);
    }

    fn poll_timer(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let at = self.armed.expect("only polled while it is armed");
        *self.alarm.0.lock().unwrap() = Some(cx.waker().clone());
        let waker = Waker::from(self.alarm.clone());
        pin!(Sim.sleep_until(at)).poll(&mut Context::from_waker(&waker))
    }

    fn reset(&mut self) {}

    fn yield_now(&mut self, cx: &mut Context<'_>) {
        Sim::note_yield();
        cx.waker().wake_by_ref();
    }
}

fn poll_write(
    lane: &Mutex<Lane>,
    cx: &mut Context<'_>,
    chunks: &[IoSlice<'_>],
) -> Poll<io::Result<usize>> {
    let mut lane = lane.lock().unwrap();
    if lane.reset || lane.ended {
        return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
    }
    let mut written = 0;
    for chunk in chunks {
        let n = chunk.len().min(lane.room.saturating_sub(lane.bytes.len()));
        lane.bytes.extend(&chunk[..n]);
        written += n;
    }
    if written == 0 {
        lane.writer = Some(cx.waker().clone());
        return Poll::Pending;
    }
    if let Some(reader) = lane.reader.take() {
        reader.wake();
    }
    Poll::Ready(Ok(written))
}

impl Carrier for Carried {
    type Stream = End;

    fn carry(stream: End) -> Carried {
        Carried { end: stream, armed: None, alarm: Arc::default() }
    }

    fn stream(&self) -> &End {
        &self.end
    }

    fn now() -> Instant {
        Sim::now()
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(held) = &mut self.end.held else { return Poll::Ready(Ok(())) };
        while !held.is_empty() {
            match poll_write(&self.end.outgoing, cx, &[IoSlice::new(held)]) {
                Poll::Ready(Ok(n)) => drop(held.drain(..n)),
                other => return other.map_ok(|_| ()),
            }
        }
        Poll::Ready(Ok(()))
    }
}
