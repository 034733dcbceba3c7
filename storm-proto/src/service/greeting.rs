//! From an opened connection to a session that the caller gets: `on_connected` comes first.

use core::future::{Future, poll_fn};
use core::pin::Pin;
use core::task::{Context, Poll};
use std::boxed::Box;

use super::connect_error::ConnectError;
use super::driver::{Driver, drive};
use super::handler::Handler;
use super::runtime::{Runtime, Transport};
use super::session::Session;

/// What drives a connection.
pub(crate) type Driving = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Waits for `on_connected` of a client's session. Dropping it before that aborts the session,
/// whose last event still comes.
pub(crate) struct Greeting<R: Runtime> {
    runtime: R,
    session: Session,
    /// What has not been spawned yet. Where calls block it is spawned at once: the handler may
    /// block its thread for longer than the deadline.
    driving: Option<Driving>,
    ticket: Option<u64>,
    is_done: bool,
}

impl<R: Runtime> Greeting<R> {
    pub(crate) fn new<H: Handler>(
        runtime: R,
        driver: Driver<R::Transport, H, R>,
    ) -> Result<Greeting<R>, ConnectError> {
        let session = driver.host.guard.session.clone();
        let mut driving: Option<Driving> = Some(Box::pin(drive(driver)));
        if R::Transport::BLOCKS {
            spawn(&runtime, driving.take())?;
        }
        Ok(Greeting { runtime, session, driving, ticket: None, is_done: false })
    }

    /// Waits until `on_connected` has returned, or the session is over.
    ///
    /// # Errors
    /// If the runtime takes no more tasks.
    pub(crate) async fn greeted(mut self) -> Result<Session, ConnectError> {
        poll_fn(|cx| self.poll(cx)).await;
        self.is_done = true;
        spawn(&self.runtime, self.driving.take())?;
        Ok(self.session.clone())
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(driving) = &mut self.driving else {
            return self.session.shared().poll_greeted(cx, &mut self.ticket);
        };
        // The driver yields once after the call.
        if driving.as_mut().poll(cx).is_ready() {
            self.driving = None;
            return Poll::Ready(());
        }
        match self.session.shared().is_greeted() {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    }
}

impl<R: Runtime> Drop for Greeting<R> {
    fn drop(&mut self) {
        if !self.is_done {
            self.session.abort();
            // Without a place for it, it is dropped, which closes the socket.
            let _ = spawn(&self.runtime, self.driving.take());
        }
    }
}

fn spawn<R: Runtime>(runtime: &R, driving: Option<Driving>) -> Result<(), ConnectError> {
    driving.map_or(Ok(()), |driving| runtime.spawn(driving)).map_err(ConnectError::of_runtime)
}
