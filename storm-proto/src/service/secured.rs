//! TLS over a transport.
//!
//! A byte counts as written once the socket has taken the record that it is in: until then the
//! caller keeps it, and water marks, deadlines and counters are those of plaintext. So what was
//! sealed must come again ([`Transport::is_committed`]), and is skipped then.
//!
//! Where calls block, one handle reads and another writes, each on a thread of its own. They
//! share the machine, whose lock is never held across a call of the socket; elsewhere nobody
//! contends for it.

use core::future::Future;
use core::task::{Context, Poll, Waker, ready};
use std::io::{self, IoSlice};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::vec::Vec;

use super::pool::{SCRATCH, Scratch};
use super::quota::Quota;
use super::runtime::Transport;
use crate::Instant;
use crate::tls::{TlsError, TlsFacts, TlsStage};

/// The least that is read from the socket at once, however little room there is: what is left
/// over is kept.
const MIN_READ: usize = 4 << 10;

pub(crate) struct Secured<T> {
    transport: T,
    machine: Arc<Mutex<Machine>>,
    /// Records that were read and not opened.
    unopened: Vec<u8>,
    sealed: Sealed,
    /// Another handle writes.
    only_reads: bool,
    /// The handshake failed: bytes go through as they are.
    gave_up: bool,
    /// The handshake has answered the peer since this was asked.
    answered: bool,
    said_close: bool,
}

/// What two handles share.
struct Machine {
    stage: TlsStage,
    /// The handle that writes, where that is another than the one that reads: woken when TLS
    /// has something to say to what was read.
    writer: Option<Waker>,
}

/// Records on their way to the socket.
#[derive(Default)]
struct Sealed {
    records: Vec<u8>,
    /// How much of them the socket has taken.
    sent: usize,
    /// Plaintext in them, and how much of that the caller knows to be written.
    plain: usize,
    told: usize,
}

impl<T: Transport> Secured<T> {
    /// `unopened` is what was read already.
    pub(crate) fn new(transport: T, stage: TlsStage, unopened: Vec<u8>) -> Secured<T> {
        Secured {
            transport,
            machine: Arc::new(Mutex::new(Machine { stage, writer: None })),
            unopened,
            sealed: Sealed::default(),
            only_reads: false,
            gave_up: false,
            answered: false,
            said_close: false,
        }
    }

    /// Goes through the handshake.
    ///
    /// After a failure the stage writes and reads in plain: the alert goes first, then
    /// whatever the caller answers to a peer that speaks no TLS, and what still comes is of no
    /// use to anybody.
    pub(crate) fn poll_handshake(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut quota = Quota::new();
        loop {
            let shaken = self.shake();
            if shaken.is_err() {
                // A client has nobody to try again for it.
                let _ = self.poll_send_all(cx);
            }
            let done = shaken?;
            ready!(self.poll_send_all(cx))?;
            if done {
                return Poll::Ready(Ok(()));
            }
            if quota.is_empty() {
                self.transport.yield_now(cx);
                return Poll::Pending;
            }
            let mut scratch = Scratch::take(false);
            let read = self.transport.poll_read(cx, scratch.room());
            if let Poll::Ready(Ok(len)) = read {
                quota.call(len);
                self.unopened.extend_from_slice(&scratch.room()[..len]);
            }
            scratch.give();
            if ready!(read)? == 0 {
                // Who looks only whether somebody listens has broken nothing.
                let error = match lock(&self.machine).stage.is_fresh() {
                    true => io::ErrorKind::UnexpectedEof.into(),
                    false => TlsError::truncated().into(),
                };
                return Poll::Ready(Err(error));
            }
        }
    }

    /// True if the peer has sent a whole flight of the handshake, which was answered, since this
    /// was asked last.
    pub(crate) fn take_answered(&mut self) -> bool {
        core::mem::take(&mut self.answered)
    }

    /// What the handshake agreed on.
    pub(crate) fn facts(&self) -> Option<TlsFacts> {
        lock(&self.machine).stage.facts()
    }

    /// Shows the machine what has come; true once the handshake is over.
    fn shake(&mut self) -> Result<bool, TlsError> {
        let mut machine = lock(&self.machine);
        let mut rest = &self.unopened[..];
        let shaken = machine.stage.handshake(&mut rest);
        self.unopened = rest.to_vec();
        let queued = self.sealed.records.len();
        machine.stage.answers(&mut self.sealed.records);
        self.answered |= self.sealed.records.len() > queued;
        self.gave_up = shaken.is_err();
        shaken
    }

    /// Opens what is there into `buffer`; `None` if more is needed.
    fn open(&mut self, buffer: &mut [u8]) -> Result<Option<usize>, TlsError> {
        let mut machine = lock(&self.machine);
        let mut rest = &self.unopened[..];
        let opened = machine.stage.open(&mut rest, buffer)?;
        if rest.len() < self.unopened.len() {
            self.unopened = rest.to_vec();
        }
        Ok((opened > 0 || machine.stage.is_ended()).then_some(opened))
    }

    /// Reads records, and opens them straight from where they lie.
    fn poll_records(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
        quota: &mut Quota,
    ) -> Poll<io::Result<Option<usize>>> {
        let mut scratch = Scratch::take(buffer.len() > SCRATCH);
        let room = scratch.room();
        let most = buffer.len().clamp(MIN_READ, room.len());
        let read = match self.transport.poll_read(cx, &mut room[..most]) {
            Poll::Ready(Ok(0)) => {
                let ended = lock(&self.machine).stage.end_of_stream();
                Poll::Ready(ended.map(|()| Some(0)).map_err(io::Error::from))
            }
            Poll::Ready(Ok(len)) => {
                quota.call(len);
                Poll::Ready(self.open_from(&room[..len], buffer))
            }
            other => other.map_ok(|_| None),
        };
        scratch.give();
        read
    }

    fn open_from(&mut self, records: &[u8], buffer: &mut [u8]) -> io::Result<Option<usize>> {
        let mut machine = lock(&self.machine);
        let mut rest = records;
        let opened = machine.stage.open(&mut rest, buffer);
        self.unopened = rest.to_vec();
        if self.only_reads
            && machine.stage.has_answers()
            && let Some(writer) = machine.writer.take()
        {
            writer.wake();
        }
        let opened = opened?;
        Ok((opened > 0 || machine.stage.is_ended()).then_some(opened))
    }

    /// Sends what TLS itself has to say, as far as that goes at once; not between what the
    /// caller has to be told of, who then comes back for it.
    fn send_answers(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        if self.only_reads || self.sealed.plain > 0 {
            return Ok(());
        }
        let mut machine = lock(&self.machine);
        machine.stage.answers(&mut self.sealed.records);
        if T::BLOCKS {
            machine.writer = Some(cx.waker().clone());
        }
        drop(machine);
        match self.poll_send_all(cx) {
            Poll::Ready(sent) => sent,
            Poll::Pending => Ok(()),
        }
    }

    /// Writes all records, whatever is in them.
    fn poll_send_all(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.sealed.is_empty() {
            ready!(self.poll_send(cx))?;
        }
        Poll::Ready(Ok(()))
    }

    /// Writes some of the records.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let records = IoSlice::new(&self.sealed.records[self.sealed.sent..]);
        let sent = ready!(self.transport.poll_write(cx, &[records]))?;
        if sent == 0 {
            return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
        }
        self.sealed.sent += sent;
        if self.sealed.plain == 0 && self.sealed.sent == self.sealed.records.len() {
            self.sealed = Sealed::default();
        }
        Poll::Ready(Ok(()))
    }
}

fn lock(machine: &Mutex<Machine>) -> MutexGuard<'_, Machine> {
    // A panic while the lock is held can only be one of ours; the state is whole.
    machine.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Sealed {
    fn is_empty(&self) -> bool {
        self.sent == self.records.len()
    }

    /// How much more plaintext counts as written: a slow peer makes progress within a record.
    fn tell(&mut self) -> usize {
        if self.is_empty() {
            return core::mem::take(self).untold();
        }
        let written = (self.plain as u64 * self.sent as u64 / self.records.len() as u64) as usize;
        written - core::mem::replace(&mut self.told, written)
    }

    fn untold(&self) -> usize {
        self.plain - self.told
    }
}

impl<T: Transport> Transport for Secured<T> {
    const BLOCKS: bool = T::BLOCKS;

    fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        if self.gave_up {
            return self.transport.poll_read(cx, buffer);
        }
        let mut opened = self.open(buffer).map_err(io::Error::from);
        // Of records without plaintext the caller knows nothing.
        let mut quota = Quota::new();
        loop {
            // What the last bytes made TLS say, above all an alert.
            let answered = self.send_answers(cx);
            match opened {
                Ok(Some(len)) => return Poll::Ready(Ok(len)),
                Ok(None) => answered?,
                Err(error) => return Poll::Ready(Err(error)),
            }
            if quota.is_empty() {
                self.transport.yield_now(cx);
                return Poll::Pending;
            }
            opened = match self.poll_records(cx, buffer, &mut quota) {
                Poll::Ready(opened) => opened,
                Poll::Pending => return Poll::Pending,
            };
        }
    }

    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        chunks: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.gave_up {
            ready!(self.poll_send_all(cx))?;
            return self.transport.poll_write(cx, chunks);
        }
        loop {
            if self.sealed.is_empty() {
                let mut machine = lock(&self.machine);
                self.sealed.plain = machine.stage.seal(chunks, &mut self.sealed.records)?;
                if self.sealed.plain == 0 {
                    return Poll::Ready(Ok(0));
                }
            }
            ready!(self.poll_send(cx))?;
            let told = self.sealed.tell();
            if told > 0 {
                return Poll::Ready(Ok(told));
            }
        }
    }

    fn is_committed(&self) -> bool {
        self.sealed.plain > 0
    }

    fn poll_answers(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.send_answers(cx))
    }

    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.gave_up && !core::mem::replace(&mut self.said_close, true) {
            let mut machine = lock(&self.machine);
            machine.stage.close(&mut self.sealed.records);
        }
        ready!(self.poll_send_all(cx))?;
        self.transport.poll_shutdown(cx)
    }

    fn arm(&mut self, at: Instant) {
        self.transport.arm(at);
    }

    fn poll_timer(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.transport.poll_timer(cx)
    }

    fn poll_refresh(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.transport.poll_refresh(cx)
    }

    fn has_input(&self) -> bool {
        self.transport.has_input()
    }

    fn reset(&mut self) {
        self.transport.reset();
    }

    fn yield_now(&mut self, cx: &mut Context<'_>) {
        self.transport.yield_now(cx);
    }

    fn split<F>(&mut self, write: impl FnOnce(Self) -> F + Send + 'static) -> io::Result<()>
    where
        F: Future<Output = ()>,
    {
        self.only_reads = true;
        let (machine, sealed) = (self.machine.clone(), core::mem::take(&mut self.sealed));
        self.transport.split(move |transport| {
            write(Secured {
                transport,
                machine,
                unopened: Vec::new(),
                sealed,
                only_reads: false,
                gave_up: false,
                answered: false,
                said_close: false,
            })
        })
    }

    fn hang_up(&mut self) {
        // An alert that the reading half has left, once and as far as it goes.
        let _ = self.send_answers(&mut Context::from_waker(Waker::noop()));
        self.transport.hang_up();
    }

    fn shorten_reads(&mut self) {
        self.transport.shorten_reads();
    }
}
