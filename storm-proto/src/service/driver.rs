//! The one loop that runs a connection on every asynchronous runtime.
//!
//! ```text
//!   open -> on_connected -> [ wait for bytes -> each message -> on_message ]* -> on_disconnected
//!             every wait also writes, pings and keeps the deadlines (wire.rs)
//! ```
//!
//! Three values, not one: the receiver (this loop's, so that a lent message forbids nothing
//! else), the wire (this loop's, no lock), and the session (shared with the application).
//! The future is one flat state machine, since it is what an idle connection costs.

use core::future::{Future, poll_fn};
use core::pin::pin;
use core::task::Poll;
use std::boxed::Box;
use std::string::String;
use std::sync::Arc;

use super::batch;
use super::error_context::ErrorContext;
use super::handler::Handler;
use super::middleware::Outcome;
use super::opening;
use super::race::Sleep;
use super::registry::Permit;
use super::report::report;
use super::runtime::Transport;
use super::session::Session;
use super::stage::Stage;
use super::trace;
use super::wire::linger::Linger;
use super::wire::{Cut, Wire, catch_in};
use crate::connection::outbox::Outbox;
use crate::connection::receiver::{Event, Receiver};
use crate::contain::{self, catch};
use crate::extensions::Extensions;
use crate::message::Message;

/// Output is written in the middle of a batch from this size on, so that neither memory
/// nor a peer waits for the end of a large batch.
const FLUSH: usize = 64 << 10;

/// What runs one connection.
pub(crate) struct Driver<T, H, S> {
    pub(crate) wire: Wire<Stage<T>>,
    pub(crate) receiver: Receiver,
    pub(crate) host: Host<H, S>,
    /// A server's stream on which a request is to come first.
    pub(crate) expects_request: bool,
}

/// What outlives the transport of a connection: who is notified of the end, and what is given
/// back then.
pub(crate) struct Host<H, S> {
    pub(crate) guard: Guard,
    pub(crate) handler: Arc<H>,
    /// The runtime, as far as it keeps time.
    pub(crate) timer: S,
}

/// Ends the session when the driver ends, also when a runtime drops it half-way.
pub(crate) struct Guard {
    pub(crate) session: Session,
    /// A server's place for this connection.
    pub(crate) permit: Option<Permit>,
}

impl Guard {
    /// The opening is done: the session gets its number and is listed.
    pub(crate) fn open(&self, subprotocol: Option<String>, data: Extensions) {
        let id = match &self.permit {
            Some(permit) => permit.registry().next_id(),
            None => self.session.shared().connection(),
        };
        self.session.shared().open(id, subprotocol, data);
        if let Some(permit) = &self.permit {
            permit.registry().opened(&self.session);
        }
    }

    /// The last event was handled. The connection may linger, in the place that it had, but
    /// nobody waits for it.
    async fn linger<T: Transport>(mut self, wire: Lingering<T>) {
        let mut permit = self.permit.take();
        if let Some(permit) = &permit {
            permit.registry().remove(&self.session);
        }
        // Without a place in a server only time bounds it.
        let may = permit.as_mut().is_none_or(|permit| wire.is_some() && permit.linger());
        let permit = permit.filter(|_| may);
        drop(self);
        if let Some(lingering) = wire.filter(|_| may) {
            let (wire, linger) = *lingering;
            wire.linger(linger).await;
        }
        drop(permit);
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        let shared = self.session.shared();
        shared.end(&Outbox::new());
        // The place is given back before those who wait for the end look.
        if let Some(permit) = self.permit.take() {
            permit.registry().remove(&self.session);
        }
        shared.handled();
    }
}

/// Runs a connection to its end, whatever of the application panics in it.
pub(crate) fn drive<T: Transport, H: Handler, S: Sleep + 'static>(
    driver: Driver<T, H, S>,
) -> impl Future<Output = ()> + Send {
    let Driver { wire, receiver, host, expects_request } = driver;
    let host = Arc::new(host);
    // What calls the application directly contains it closer by, and closes in order.
    let life = contain::whole(live(wire, receiver, host.clone(), expects_request));
    async move {
        let lingering = match life.await {
            Some(lingering) => lingering,
            None => {
                host.guard.session.shared().panicked();
                Box::pin(finish(&host)).await;
                None
            }
        };
        if let Some(Host { guard, handler, .. }) = Arc::into_inner(host) {
            catch(|| drop(handler));
            Box::pin(guard.linger(lingering)).await;
        }
    }
}

/// From the opening to the last event.
///
/// An `async` block over captured values, not an `async fn` with arguments: those would be
/// stored twice.
fn live<T: Transport, H: Handler, S: Sleep>(
    mut wire: Wire<Stage<T>>,
    mut receiver: Receiver,
    host: Arc<Host<H, S>>,
    expects_request: bool,
) -> impl Future<Output = Lingering<T>> + Send {
    let guard = &host.guard;
    // A client comes here opened.
    let unopened = expects_request || (guard.permit.is_some() && wire.is_secured());
    let span = trace::Span::of(&guard.session);
    span.around(async move {
        let Host { guard, handler, .. } = &*host;
        let session = &guard.session;
        let shared = session.shared();
        if unopened {
            let opening = opening::open_server(&mut wire, &mut receiver, &host, expects_request);
            if !Box::pin(opening).await {
                return Box::pin(hang_up(wire, &host)).await;
            }
        }

        trace::opened(session);
        wire.opened(session);
        let mut over = false;
        if shared.chain().connected(session) {
            let call = opening::call(&mut wire, session, || handler.on_connected(session));
            match Box::pin(call).await {
                Ok(()) => {}
                Err(cut) => over = is_over(session, cut),
            }
        }
        if guard.permit.is_none() {
            // A client is returned to its caller now, before anything is read.
            shared.greeted();
            yield_once().await;
        }
        while !over {
            let input = poll_fn(|cx| wire.poll_input(cx, shared, Some(&mut receiver))).await;
            let Some(mut input) = input else { break };
            let mut bytes = input.bytes();
            // A panic is caught once for all the messages of an input, not for each: a message
            // that is carried into a catch goes through memory. What is left of the input
            // outlives it.
            loop {
                let handled = {
                    let mut batch = pin!(async {
                        // What middleware put in the place of the last message, if it did.
                        let mut replaced = None;
                        loop {
                            // Room for an answer as large as all that is here: asked before the
                            // message is taken out, so that none is carried across the wait.
                            let (queued, size) =
                                (shared.queued(), bytes.len() + receiver.assembled());
                            let is_full = queued >= FLUSH
                                || queued + batch::ROOM + size > wire.limit()
                                || shared.is_paused()
                                || wire.is_spent();
                            if is_full && !poll_fn(|cx| wire.poll_room(cx, shared, size)).await {
                                return Err(Cut::Over);
                            }
                            let Some(event) = receiver.next_within(&mut bytes, Some(wire.frames()))
                            else {
                                wire.count_made(receiver.assembled().saturating_sub(size));
                                if bytes.is_empty() {
                                    return Ok(());
                                }
                                continue;
                            };
                            wire.count_event();
                            let message = match event {
                                Event::Message(message) => message,
                                event => {
                                    shared.chain().event(session, &event);
                                    wire.event(shared, event);
                                    continue;
                                }
                            };
                            let message = match inflated_beyond(size, message) {
                                None => message,
                                Some(size) => {
                                    wire.count_made(size);
                                    if !poll_fn(|cx| wire.poll_room(cx, shared, size)).await {
                                        return Err(Cut::Over);
                                    }
                                    let Some(message) = receiver.again() else { continue };
                                    message
                                }
                            };
                            if shared.is_closing() {
                                continue;
                            }
                            wire.count_message(shared);
                            let message = if shared.chain().is_empty() {
                                message
                            } else {
                                match shared.chain().inbound(session, message) {
                                    Outcome::Pass => message,
                                    Outcome::Drop => continue,
                                    Outcome::Replace(by) => {
                                        let by = replaced.insert(Box::new(by));
                                        let len = by.len();
                                        if len > size
                                            && !poll_fn(|cx| wire.poll_room(cx, shared, len)).await
                                        {
                                            return Err(Cut::Over);
                                        }
                                        by.as_message()
                                    }
                                }
                            };
                            let mut call = pin!(handler.on_message(session, message));
                            poll_fn(|cx| wire.poll_call_uncaught(cx, shared, call.as_mut()))
                                .await?;
                        }
                    });
                    poll_fn(|cx| {
                        catch_in(shared, || batch.as_mut().poll(cx))
                            .unwrap_or(Poll::Ready(Err(Cut::Panicked)))
                    })
                    .await
                };
                match handled {
                    Ok(()) => break,
                    Err(cut) => over = is_over(session, cut),
                }
                if over {
                    break;
                }
            }
            input.give();
        }
        Box::pin(hang_up(wire, &host)).await
    })
}

/// Lets whoever polls this look at something else.
fn yield_once() -> impl Future<Output = ()> {
    let mut yielded = false;
    poll_fn(move |cx| {
        if core::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
}

/// The size of a message that was inflated and is larger than what was here: its answer needs
/// more room than was asked for. By value, so that the message is not carried across the wait.
#[inline]
fn inflated_beyond(size: usize, message: Message<'_>) -> Option<usize> {
    (message.len() > size).then_some(message.len())
}

/// What a call that was cut short means; a panic closes the session in order.
fn is_over(session: &Session, cut: Cut) -> bool {
    match cut {
        Cut::Over => true,
        Cut::Late => false,
        Cut::Panicked => {
            session.shared().panicked();
            false
        }
    }
}

/// A transport that is left to linger.
type Lingering<T> = Option<Box<(Wire<Stage<T>>, Linger)>>;

/// The transport is shut down first, then the table entry goes, then come the last events. What
/// remains is to linger.
async fn hang_up<T: Transport, H: Handler, S: Sleep>(
    wire: Wire<Stage<T>>,
    host: &Host<H, S>,
) -> Lingering<T> {
    let session = &host.guard.session;
    session.shared().end(wire.outbox());
    let wire = lingering(wire, session);
    finish(host).await;
    wire
}

/// Closes the socket, unless it is to linger, or to be shut down before.
fn lingering<T: Transport>(wire: Wire<Stage<T>>, session: &Session) -> Lingering<T> {
    let linger = session.shared().linger()?;
    (!wire.is_at_end() || !linger.is_shut_down).then(|| Box::new((wire, linger)))
}

/// The last events of a connection, once.
async fn finish<H: Handler, S: Sleep>(host: &Host<H, S>) {
    let Host { guard, handler, timer } = host;
    let session = &guard.session;
    let shared = session.shared();
    let reason = shared.end(&Outbox::new());
    if !shared.begin_last_events() {
        return;
    }
    catch(|| trace::closed(session, &reason));
    // Without a number it never became a session.
    if shared.id() == 0 {
        if let Some(error) = reason.error.as_ref().filter(|error| !error.is_departure()) {
            let context = ErrorContext::Connection(session.ends().clone());
            report(shared.chain(), &**handler, &context, error, timer, shared.clock()).await;
        }
        return;
    }
    if let Some(permit) = &guard.permit {
        permit.registry().remove(session);
    }
    let chain = shared.chain();
    if let Some(error) = &reason.error {
        let context = ErrorContext::from(session);
        report(chain, &**handler, &context, error, timer, shared.clock()).await;
    }
    let refused_by = shared.refused_by();
    chain.disconnected(session, &reason, refused_by.unwrap_or(usize::MAX));
    if refused_by.is_none() {
        contain::call(|| handler.on_disconnected(session, &reason)).await;
    }
}

#[cfg(test)]
mod tests {
    use core::task::{Context, Poll};
    use std::io::{self, IoSlice};

    use super::*;
    use crate::Instant;

    struct NoTransport;

    impl Transport for NoTransport {
        fn poll_read(&mut self, _: &mut Context<'_>, _: &mut [u8]) -> Poll<io::Result<usize>> {
            Poll::Pending
        }

        fn poll_write(
            &mut self,
            _: &mut Context<'_>,
            _: &[IoSlice<'_>],
        ) -> Poll<io::Result<usize>> {
            Poll::Pending
        }

        fn poll_shutdown(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Pending
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

    impl Sleep for () {
        async fn sleep_until(&self, _: Instant) {}
    }

    struct Echo;

    impl Handler for Echo {
        async fn on_message(&self, session: &Session, message: Message<'_>) {
            let _ = session.send(message);
        }
    }

    /// Keeps a page on its future across a wait.
    struct Hoarder;

    impl Handler for Hoarder {
        async fn on_message(&self, session: &Session, message: Message<'_>) {
            let page = [message.len() as u8; 4096];
            core::future::ready(()).await;
            let _ = session.send(&page);
        }
    }

    type Live<H, F> = fn(Wire<Stage<NoTransport>>, Receiver, Arc<Host<H, ()>>, bool) -> F;

    /// The size of what `live` returns for a handler; nothing is run.
    fn size<H: Handler, F>(_: Live<H, F>) -> usize {
        size_of::<F>()
    }

    #[test]
    fn what_an_idle_session_costs_is_its_driver_and_the_future_of_its_handler() {
        let (echo, hoarder) = (
            size::<Echo, _>(live::<NoTransport, Echo, ()>),
            size::<Hoarder, _>(live::<NoTransport, Hoarder, ()>),
        );
        std::println!("{echo} bytes with an echo, {hoarder} with a page across a wait");
        assert!(echo <= 568 + size_of::<trace::Span>(), "{echo} bytes");
        assert!(hoarder >= echo + 4000, "as the documentation of Handler warns");
    }
}
