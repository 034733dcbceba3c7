//! The accept loop: from a socket to a connection that is driven.

use core::future::poll_fn;
use core::pin::pin;
use core::task::Poll;
use std::io;
use std::sync::Arc;

use super::Protocol;
use super::reports::Reports;
use crate::connection::budget::Budget;
use crate::connection::link::Link;
use crate::connection::options::Options;
use crate::connection::receiver::Receiver;
use crate::connection::sender::Sender;
use crate::contain::catch;
use crate::error::{Error, LocalError};
use crate::extensions::Extensions;
use crate::server::backoff::AcceptBackoff;
use crate::service::driver::{Driver, Guard, Host, drive};
use crate::service::handler::Handler;
use crate::service::middleware::Chain;
use crate::service::publish;
use crate::service::quota::Quota;
use crate::service::race::before;
use crate::service::registry::{Listening, Permit, Registry};
use crate::service::runtime::{Ends, Listener, Runtime, Transport};
use crate::service::session::{Identity, Session, lagging};
use crate::service::stage::Stage;
use crate::service::trace;
use crate::service::wire::Wire;
#[cfg(feature = "tls")]
use crate::tls::{TlsServer, TlsStage};
use crate::websocket::Role;

/// The accept loop of one listener; a server has one for each of its addresses.
pub(super) struct Accepting<R: Runtime, H> {
    pub(super) runtime: R,
    pub(super) registry: Arc<Registry>,
    pub(super) protocol: Protocol,
    pub(super) options: Arc<Options>,
    pub(super) receive_memory: Arc<Budget>,
    #[cfg(feature = "tls")]
    pub(super) tls: Option<TlsServer>,
    pub(super) chain: Chain,
    pub(super) handler: Arc<H>,
    pub(super) reports: Arc<Reports<R, H>>,
    pub(super) listener: R::Listener,
    /// Dropped after the listener: a stop that has returned has freed the address.
    pub(super) _listening: Listening,
}

impl<R: Runtime, H: Handler> Accepting<R, H> {
    /// Accepts until the server is stopped. No error ends it: a server that looks alive and
    /// takes nobody is worse than one that is down.
    pub(super) async fn run(mut self) {
        let mut backoff = AcceptBackoff::default();
        let mut quota = Quota::new();
        loop {
            if !R::Transport::BLOCKS && quota.is_used_up(R::now) {
                quota.renew();
                // Sessions that are connected already go on meanwhile.
                self.runtime.yield_now().await;
            }
            let accepted = {
                let mut stopped = pin!(self.registry.stopped());
                poll_fn(|cx| match stopped.as_mut().poll(cx) {
                    Poll::Ready(()) => Poll::Ready(None),
                    Poll::Pending => {
                        let accepted = self.listener.poll_accept(cx);
                        if accepted.is_pending() {
                            quota.renew();
                        }
                        accepted.map(Some)
                    }
                })
                .await
            };
            quota.call(0);
            // A stop ends an accept that blocks with whatever comes first.
            let accepted = accepted.filter(|_| !self.registry.is_stopping());
            let begun = match accepted {
                None => break,
                Some(Ok((transport, ends))) => self.admit(transport, ends),
                Some(Err(error)) => Err(Error::Transport(error.into())),
            };
            let Err(error) = begun else {
                backoff.succeeded();
                continue;
            };
            let pause = backoff.failed(&error);
            catch(|| trace::accept_failed(&error));
            if !pause.is_zero() {
                self.reports.push(error);
                before(&self.runtime, R::now() + pause, self.registry.stopped()).await;
            }
        }
        // The last handle on the handler may be this one.
        catch(|| drop(self));
    }

    /// Starts a connection if it is admitted. Nothing of the application that runs on the way,
    /// such as the spawn of an executor, ends the loop.
    fn admit(&self, transport: R::Transport, ends: Ends) -> Result<(), Error> {
        let begun = catch(|| match self.registry.admit(&ends.peer, R::now()) {
            Ok(permit) => self.begin(transport, ends, permit),
            Err(refusal) => {
                trace::refused(&ends.peer, refusal);
                publish::refused(refusal);
                Ok(())
            }
        });
        match begun {
            Some(begun) => begun.map_err(|error| Error::Transport(error.into())),
            None => Err(Error::Local(LocalError::HandlerPanicked)),
        }
    }

    /// Starts a connection.
    fn begin(&self, transport: R::Transport, ends: Ends, permit: Permit) -> io::Result<()> {
        let options = &self.options;
        let (role, sender, mut receiver) = match &self.protocol {
            Protocol::WebSocket => (
                Some(Role::Server),
                Sender::websocket_server(options.marks),
                Receiver::websocket(Role::Server, options.websocket.limits),
            ),
            Protocol::Framed(framer) => (
                None,
                Sender::framed(framer.clone(), options.marks),
                Receiver::framed(framer.clone()),
            ),
        };
        receiver.set_budget(self.receive_memory.clone());
        let now = R::now();
        let link = Link::new(sender, role, options.clone(), now);
        let identity = Identity {
            connection: permit.connection(),
            ends,
            clock: R::now,
            handler: lagging(&self.handler),
            registry: Some(self.registry.clone()),
            chain: self.chain.clone(),
        };
        let session = Session::new(link, identity);
        trace::accepted(&session);
        self.registry.opening(session.clone(), now);
        let guard = Guard { session, permit: Some(permit) };
        let wire = Wire::new(Stage::Plain(transport), R::now, options.marks.limit());
        #[cfg(feature = "tls")]
        let wire = match &self.tls {
            Some(tls) => wire.secure(TlsStage::server(tls, role.is_some())?),
            None => wire,
        };
        if role.is_none() && !wire.is_secured() {
            guard.open(None, Extensions::new());
        }
        let host = Host { guard, handler: self.handler.clone(), timer: self.runtime.clone() };
        let driver = Driver { wire, receiver, host, expects_request: role.is_some() };
        self.runtime.spawn(drive(driver))
    }
}
