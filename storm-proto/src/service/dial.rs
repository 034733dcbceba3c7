//! From a name to a connected socket: looking up, and the race of RFC 8305 between the addresses.

use core::future::{Future, poll_fn};
use core::net::SocketAddr;
use core::pin::Pin;
use core::task::{Context, Poll};
use std::boxed::Box;
use std::io;
use std::vec::Vec;

use super::options::SocketOptions;
use super::runtime::{Address, Ends, Runtime};
use crate::client::dial::{DialPlan, STAGGER};
use crate::client::uri::Target;

/// Connects to `target`: to the first of its addresses that answers.
pub(crate) async fn connect<R: Runtime>(
    runtime: &R,
    target: &Target,
    options: &SocketOptions,
) -> io::Result<(R::Transport, Ends)> {
    match target {
        Target::Unix { path } => {
            let address = Address::Unix(Some(path.as_str().into()));
            runtime.dial(address, options.clone()).await
        }
        Target::Tcp { host, port } => {
            let addresses = resolve(runtime, host, *port).await?;
            let plan = DialPlan::new(addresses, STAGGER, R::now());
            Race { runtime, options, plan, attempts: Vec::new(), alarm: None, last: None }
                .run()
                .await
        }
    }
}

/// The addresses behind a name, or the address that it is.
async fn resolve<R: Runtime>(runtime: &R, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    match host.parse() {
        Ok(address) => Ok(std::vec![SocketAddr::new(address, port)]),
        Err(_) => runtime.resolve(host, port).await,
    }
}

/// Attempts under way, and those still to come.
struct Race<'r, R: Runtime> {
    runtime: &'r R,
    options: &'r SocketOptions,
    plan: DialPlan,
    attempts: Vec<(usize, Attempt<R::Transport>)>,
    /// Rings when the next attempt is due.
    alarm: Option<Alarm<'r>>,
    last: Option<io::Error>,
}

type Attempt<T> = Pin<Box<dyn Future<Output = io::Result<(T, Ends)>> + Send>>;
type Alarm<'r> = Pin<Box<dyn Future<Output = ()> + Send + 'r>>;

impl<R: Runtime> Race<'_, R> {
    async fn run(mut self) -> io::Result<(R::Transport, Ends)> {
        poll_fn(|cx| self.poll(cx)).await
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<(R::Transport, Ends)>> {
        loop {
            while let Some((id, address)) = self.plan.poll(R::now()) {
                let attempt = self.runtime.dial(Address::Ip(address), self.options.clone());
                self.attempts.push((id, Box::pin(attempt)));
                self.alarm = None;
            }
            if let Some(connected) = self.poll_attempts(cx) {
                return Poll::Ready(Ok(connected));
            }
            if self.plan.is_exhausted() {
                let nothing =
                    || io::Error::new(io::ErrorKind::NotFound, "the host has no ip address");
                return Poll::Ready(Err(self.last.take().unwrap_or_else(nothing)));
            }
            if self.poll_alarm(cx).is_pending() {
                return Poll::Pending;
            }
        }
    }

    /// The first connection, if there is one; failures make the plan go on.
    fn poll_attempts(&mut self, cx: &mut Context<'_>) -> Option<(R::Transport, Ends)> {
        let mut at = 0;
        while let Some((id, attempt)) = self.attempts.get_mut(at) {
            match attempt.as_mut().poll(cx) {
                Poll::Ready(Ok(connected)) => return Some(connected),
                Poll::Ready(Err(error)) => {
                    self.plan.failed(*id, R::now());
                    self.last = Some(error);
                    drop(self.attempts.swap_remove(at));
                }
                Poll::Pending => at += 1,
            }
        }
        None
    }

    /// Ready if the plan has something to start now.
    fn poll_alarm(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(at) = self.plan.poll_timeout() else { return Poll::Pending };
        if R::now() >= at {
            return Poll::Ready(());
        }
        let runtime = self.runtime;
        let alarm = self.alarm.get_or_insert_with(|| Box::pin(runtime.sleep_until(at)));
        let rung = alarm.as_mut().poll(cx);
        if rung.is_ready() {
            self.alarm = None;
        }
        rung
    }
}
