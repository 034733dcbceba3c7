//! A runtime without IO: a clock that the test moves, a network in memory, tasks that run
//! until nothing is ready. Each test has its own, in its own thread.
#![allow(dead_code)]

pub(crate) mod tools;

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::Future;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use storm_proto::Instant;
use storm_proto::service::{
    Address, Ends, ListenOptions, Listener, Runtime, SocketOptions, Transport,
};

type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

thread_local! {
    static CLOCK: Cell<Instant> = const { Cell::new(Instant::from_secs(1_000)) };
    static TASKS: RefCell<Vec<Option<Task>>> = const { RefCell::new(Vec::new()) };
    static READY: RefCell<Arc<Mutex<VecDeque<usize>>>> = RefCell::default();
    static TIMERS: RefCell<Vec<(Instant, Waker)>> = const { RefCell::new(Vec::new()) };
    static YIELDS: Cell<usize> = const { Cell::new(0) };
    static NETWORK: RefCell<Arc<Mutex<Network>>> = RefCell::default();
}

/// The runtime of this thread.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Sim;

/// What waits to be accepted, and who listens.
#[derive(Default)]
struct Network {
    arriving: VecDeque<io::Result<(SimStream, Ends)>>,
    acceptor: Option<Waker>,
    /// Streams that clients have opened; the test is their server.
    dialled: VecDeque<Peer>,
    /// Nobody can be connected to.
    refusing: bool,
}

impl Sim {
    /// Runs every task that is ready, until none is.
    pub(crate) fn run() {
        assert!(Sim::run_for(1_000_000), "the tasks never come to rest");
    }

    /// Runs tasks that are ready so many times; true if none is left.
    pub(crate) fn run_for(polls: usize) -> bool {
        let ready = READY.with(|ready| ready.borrow().clone());
        for _ in 0..polls {
            let Some(id) = ready.lock().unwrap().pop_front() else { return true };
            let Some(mut task) = TASKS.with(|tasks| tasks.borrow_mut()[id].take()) else {
                continue;
            };
            let waker = Waker::from(Arc::new(TaskWaker { id, ready: ready.clone() }));
            if task.as_mut().poll(&mut Context::from_waker(&waker)).is_pending() {
                TASKS.with(|tasks| tasks.borrow_mut()[id] = Some(task));
            }
        }
        false
    }

    /// Lets time pass: every timer on the way fires at its time.
    pub(crate) fn pass(duration: Duration) {
        let end = Sim::now() + duration;
        loop {
            Sim::run();
            let next = TIMERS.with(|timers| timers.borrow().iter().map(|(at, _)| *at).min());
            match next {
                Some(at) if at <= end => CLOCK.set(at.max(Sim::now())),
                _ => break,
            }
            for waker in due(Sim::now()) {
                waker.wake();
            }
        }
        CLOCK.set(end);
        Sim::run();
    }

    /// Suspends this side for this long: no timer fires on the way, then all that are due do.
    pub(crate) fn suspend(duration: Duration) {
        Sim::hold_up(duration);
        for waker in due(Sim::now()) {
            waker.wake();
        }
        Sim::run();
    }

    /// Lets time pass in the middle of what runs: a handler that holds up its thread.
    pub(crate) fn hold_up(duration: Duration) {
        CLOCK.set(Sim::now() + duration);
    }

    /// Runs a future of the test's own to its end; it must need no more than has happened.
    pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
        let mut future = std::pin::pin!(future);
        for _ in 0..100 {
            if let Poll::Ready(output) =
                future.as_mut().poll(&mut Context::from_waker(Waker::noop()))
            {
                return output;
            }
            Sim::run();
        }
        panic!("the future waits for something that does not happen");
    }

    /// How often a connection has used its turn up so far.
    pub(crate) fn yields() -> usize {
        YIELDS.get()
    }

    pub(crate) fn note_yield() {
        YIELDS.set(YIELDS.get() + 1);
    }

    /// Connects to the server of this thread.
    pub(crate) fn dial() -> Peer {
        Sim::dial_from(ends().peer)
    }

    /// Connects to the server of this thread from this address.
    pub(crate) fn dial_from(address: Address) -> Peer {
        let (stream, peer) = stream_and_peer();
        arrive(Ok((stream, Ends { peer: address, ..ends() })));
        peer
    }

    /// Makes the next accept fail.
    pub(crate) fn fail_accept(error: io::Error) {
        arrive(Err(error));
    }

    /// Makes every connect fail, or lets it through again.
    pub(crate) fn refuse(refusing: bool) {
        network().lock().unwrap().refusing = refusing;
    }

    /// True if no client has opened a stream.
    pub(crate) fn nobody_dialled() -> bool {
        network().lock().unwrap().dialled.is_empty()
    }

    /// The next stream that a client has opened.
    pub(crate) fn dialled() -> Peer {
        network().lock().unwrap().dialled.pop_front().expect("a client has connected")
    }
}

fn network() -> Arc<Mutex<Network>> {
    NETWORK.with(|network| network.borrow().clone())
}

fn arrive(stream: io::Result<(SimStream, Ends)>) {
    let network = network();
    let mut network = network.lock().unwrap();
    network.arriving.push_back(stream);
    if let Some(waker) = network.acceptor.take() {
        waker.wake();
    }
}

fn due(now: Instant) -> Vec<Waker> {
    TIMERS.with(|timers| {
        let mut timers = timers.borrow_mut();
        let (due, later) = timers.drain(..).partition::<Vec<_>, _>(|(at, _)| *at <= now);
        *timers = later;
        due.into_iter().map(|(_, waker)| waker).collect()
    })
}

struct TaskWaker {
    id: usize,
    ready: Arc<Mutex<VecDeque<usize>>>,
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        self.ready.lock().unwrap().push_back(self.id);
    }
}

impl Runtime for Sim {
    type Transport = SimStream;
    type Listener = SimListener;
    type Wait<F: Future> = F;

    fn wait<F: Future>(future: F) -> F {
        future
    }

    fn now() -> Instant {
        CLOCK.get()
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) -> io::Result<()> {
        let id = TASKS.with(|tasks| {
            tasks.borrow_mut().push(Some(Box::pin(task)));
            tasks.borrow().len() - 1
        });
        READY.with(|ready| ready.borrow().lock().unwrap().push_back(id));
        Ok(())
    }

    fn sleep_until(&self, at: Instant) -> impl Future<Output = ()> + Send {
        std::future::poll_fn(move |cx| poll_clock(at, cx))
    }

    async fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        let address = |ip: [u8; 4]| SocketAddr::from((ip, port));
        match host {
            "nowhere" => Err(io::ErrorKind::NotFound.into()),
            "refusing" => Ok(vec![address([10, 0, 0, 1]), address([10, 0, 0, 2])]),
            _ => Ok(vec![address([127, 0, 0, 1])]),
        }
    }

    fn listen(&self, _: &Address, _: &ListenOptions) -> io::Result<SimListener> {
        Ok(SimListener { network: network() })
    }

    fn dial(
        &self,
        address: Address,
        _: SocketOptions,
    ) -> impl Future<Output = io::Result<(SimStream, Ends)>> + Send + 'static {
        let refused = network().lock().unwrap().refusing
            || address.ip().is_some_and(|address| !address.ip().is_loopback());
        let dialled = (!refused).then(|| {
            let (stream, peer) = stream_and_peer();
            network().lock().unwrap().dialled.push_back(peer);
            (stream, ends())
        });
        std::future::ready(dialled.ok_or_else(|| io::ErrorKind::ConnectionRefused.into()))
    }
}

fn poll_clock(at: Instant, cx: &mut Context<'_>) -> Poll<()> {
    if Sim::now() >= at {
        return Poll::Ready(());
    }
    TIMERS.with(|timers| timers.borrow_mut().push((at, cx.waker().clone())));
    Poll::Pending
}

fn ends() -> Ends {
    let address = |port| Address::from(SocketAddr::from(([127, 0, 0, 1], port)));
    Ends { peer: address(50_000), local: address(80) }
}

pub(crate) struct SimListener {
    network: Arc<Mutex<Network>>,
}

impl Listener for SimListener {
    type Transport = SimStream;

    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<(SimStream, Ends)>> {
        let mut network = self.network.lock().unwrap();
        match network.arriving.pop_front() {
            Some(arrived) => Poll::Ready(arrived),
            None => {
                network.acceptor = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    fn local_address(&self) -> io::Result<Address> {
        Ok(ends().local)
    }
}

/// One direction of a stream: a buffer of the network with room for so many bytes.
struct Pipe {
    bytes: VecDeque<u8>,
    room: usize,
    ended: bool,
    reset: bool,
    /// What the test has done is not reported yet: only who asks again learns of it.
    unseen: bool,
    /// What comes again and again.
    endless: Vec<u8>,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

impl Pipe {
    fn wake(&mut self) {
        self.unseen = false;
        for waker in [self.reader.take(), self.writer.take()].into_iter().flatten() {
            waker.wake();
        }
    }
}

type Shared = Arc<Mutex<Pipe>>;

/// The machine's end of a stream.
pub(crate) struct SimStream {
    incoming: Shared,
    outgoing: Shared,
    armed: Option<Instant>,
    /// The next read and the next write ask the network, whatever was reported.
    asks: [bool; 2],
    reset: bool,
}

/// The test's end of a stream.
pub(crate) struct Peer {
    /// What the machine has sent and the test has not read.
    incoming: Shared,
    outgoing: Shared,
}

fn stream_and_peer() -> (SimStream, Peer) {
    let pipe = || {
        Arc::new(Mutex::new(Pipe {
            bytes: VecDeque::new(),
            room: 1 << 20,
            ended: false,
            reset: false,
            unseen: false,
            endless: Vec::new(),
            reader: None,
            writer: None,
        }))
    };
    let (to_machine, to_test) = (pipe(), pipe());
    let stream = SimStream {
        incoming: to_machine.clone(),
        outgoing: to_test.clone(),
        armed: None,
        asks: [false; 2],
        reset: false,
    };
    (stream, Peer { incoming: to_test, outgoing: to_machine })
}

impl Transport for SimStream {
    fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut pipe = self.incoming.lock().unwrap();
        if pipe.reset {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        if pipe.bytes.is_empty() && !pipe.endless.is_empty() {
            let more = pipe.endless.clone();
            pipe.bytes.extend(more);
        }
        if (pipe.unseen && !self.asks[0]) || (pipe.bytes.is_empty() && !pipe.ended) {
            self.asks[0] = false;
            pipe.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let n = pipe.bytes.len().min(buffer.len());
        for (slot, byte) in buffer.iter_mut().zip(pipe.bytes.drain(..n)) {
            *slot = byte;
        }
        Poll::Ready(Ok(n))
    }

    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        chunks: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut pipe = self.outgoing.lock().unwrap();
        if pipe.reset {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let mut written = 0;
        let unseen = pipe.unseen && !self.asks[1];
        for chunk in chunks.iter().filter(|_| !unseen) {
            let n = chunk.len().min(pipe.room - pipe.bytes.len());
            pipe.bytes.extend(&chunk[..n]);
            written += n;
        }
        if written == 0 {
            self.asks[1] = false;
            pipe.writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        Poll::Ready(Ok(written))
    }

    fn poll_shutdown(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.outgoing.lock().unwrap().ended = true;
        Poll::Ready(Ok(()))
    }

    fn arm(&mut self, at: Instant) {
        self.armed = Some(at);
    }

    fn poll_timer(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match self.armed {
            Some(at) => poll_clock(at, cx),
            None => Poll::Pending,
        }
    }

    fn poll_refresh(&mut self, _: &mut Context<'_>) -> Poll<()> {
        self.asks = [true; 2];
        Poll::Ready(())
    }

    fn reset(&mut self) {
        self.reset = true;
    }

    fn yield_now(&mut self, cx: &mut Context<'_>) {
        Sim::note_yield();
        cx.waker().wake_by_ref();
    }
}

impl Drop for SimStream {
    fn drop(&mut self) {
        let mut pipe = self.outgoing.lock().unwrap();
        (pipe.ended, pipe.reset) = (true, pipe.reset || self.reset);
    }
}

impl Peer {
    /// Sends bytes, which nobody looks at yet.
    pub(crate) fn queue(&self, bytes: &[u8]) {
        let mut pipe = self.outgoing.lock().unwrap();
        pipe.bytes.extend(bytes);
        pipe.wake();
    }

    /// Sends bytes and lets everything happen that follows.
    pub(crate) fn send(&self, bytes: &[u8]) {
        let mut pipe = self.outgoing.lock().unwrap();
        pipe.bytes.extend(bytes);
        pipe.wake();
        drop(pipe);
        Sim::run();
    }

    /// Sends bytes that arrive while the machine's side is away: nothing runs, and its runtime
    /// has not seen them when it comes back.
    pub(crate) fn send_unseen(&self, bytes: &[u8]) {
        let mut pipe = self.outgoing.lock().unwrap();
        pipe.bytes.extend(bytes);
        pipe.unseen = true;
    }

    /// Has these bytes arrive again and again from now on.
    pub(crate) fn send_endlessly(&self, bytes: &[u8]) {
        self.outgoing.lock().unwrap().endless = bytes.to_vec();
    }

    /// Takes what the network holds while the machine's side is away.
    pub(crate) fn take_unseen(&self) -> Vec<u8> {
        let mut pipe = self.incoming.lock().unwrap();
        pipe.unseen = true;
        pipe.bytes.drain(..).collect()
    }

    /// Takes what the machine has sent, again and again until it sends no more.
    pub(crate) fn take(&self) -> Vec<u8> {
        let mut all = Vec::new();
        loop {
            Sim::run();
            let mut pipe = self.incoming.lock().unwrap();
            if pipe.bytes.is_empty() {
                return all;
            }
            all.extend(pipe.bytes.drain(..));
            pipe.wake();
        }
    }

    /// Takes what the network holds, once.
    pub(crate) fn take_once(&self) -> Vec<u8> {
        Sim::run();
        let mut pipe = self.incoming.lock().unwrap();
        let bytes = pipe.bytes.drain(..).collect();
        pipe.wake();
        drop(pipe);
        Sim::run();
        bytes
    }

    /// How much the network holds of what the machine has sent.
    pub(crate) fn waiting(&self) -> usize {
        self.incoming.lock().unwrap().bytes.len()
    }

    /// How much the network holds of what the machine has not read.
    pub(crate) fn unread(&self) -> usize {
        self.outgoing.lock().unwrap().bytes.len()
    }

    /// Makes the network take so many bytes at once from the machine.
    pub(crate) fn narrow(&self, room: usize) {
        let mut pipe = self.incoming.lock().unwrap();
        pipe.room = room;
        pipe.wake();
    }

    /// Ends the test's direction.
    pub(crate) fn end(&self) {
        let mut pipe = self.outgoing.lock().unwrap();
        pipe.ended = true;
        pipe.wake();
        drop(pipe);
        Sim::run();
    }

    /// Ends the test's direction while the machine's side is away.
    pub(crate) fn end_unseen(&self) {
        let mut pipe = self.outgoing.lock().unwrap();
        (pipe.ended, pipe.unseen) = (true, true);
    }

    /// Resets both directions.
    pub(crate) fn reset(&self) {
        for pipe in [&self.outgoing, &self.incoming] {
            let mut pipe = pipe.lock().unwrap();
            pipe.reset = true;
            pipe.wake();
        }
        Sim::run();
    }

    /// The machine has ended its direction, or dropped the stream.
    pub(crate) fn is_ended(&self) -> bool {
        self.incoming.lock().unwrap().ended
    }

    /// The machine has reset the stream.
    pub(crate) fn is_reset(&self) -> bool {
        self.incoming.lock().unwrap().reset
    }
}
