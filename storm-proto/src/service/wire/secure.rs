//! The handshake of TLS, and what it needs of a wire.

use core::task::{Context, Poll, Waker};
use std::boxed::Box;
use std::io;

use bytes::Bytes;

use super::Wire;
use crate::service::runtime::Transport;
use crate::service::secured::Secured;
use crate::service::session::Shared;
use crate::service::stage::Stage;
use crate::tls::{TlsError, TlsFacts, TlsStage};

impl<T: Transport> Wire<Stage<T>> {
    /// Puts TLS in place. Bytes that were read and not looked at belong to it: none of them is
    /// taken for plaintext.
    pub(crate) fn secure(self, machine: TlsStage) -> Wire<Stage<T>> {
        let Wire { transport, kept, .. } = self;
        let unopened = kept.map(|mut kept| kept.room().to_vec()).unwrap_or_default();
        let transport = match transport {
            Stage::Plain(transport) => {
                Stage::Tls(Box::new(Secured::new(transport, machine, unopened)))
            }
            secured => secured,
        };
        Wire { transport, kept: None, ..self }
    }

    /// Goes through the handshake, while keeping time; `None` once the connection is over.
    pub(crate) fn poll_handshake(
        &mut self,
        cx: &mut Context<'_>,
        shared: &Shared,
    ) -> Poll<Option<io::Result<TlsFacts>>> {
        loop {
            if self.poll_turn(cx, shared).is_ready() {
                return Poll::Ready(None);
            }
            let Stage::Tls(secured) = &mut self.transport else { return Poll::Ready(None) };
            let shaken = secured.poll_handshake(cx);
            if secured.take_answered() || shaken.is_ready() {
                shared.stepped();
            }
            if let Poll::Ready(shaken) = shaken {
                let facts = || secured.facts().ok_or_else(|| TlsError::truncated().into());
                return Poll::Ready(Some(shaken.and_then(|()| facts())));
            }
            if self.rest(cx, shared) {
                return Poll::Pending;
            }
        }
    }

    /// The stream has ended before anything was said.
    pub(crate) fn end_of_stream(&mut self, shared: &Shared) {
        self.end_of_stream = true;
        self.tell(shared, |link, now| link.end_of_stream(Bytes::new(), now));
    }

    /// Says `close_notify`, as far as that goes at once, to a server that has refused.
    pub(crate) fn part(&mut self) {
        if let Stage::Tls(secured) = &mut self.transport {
            let _ = secured.poll_shutdown(&mut Context::from_waker(Waker::noop()));
        }
    }

    /// TLS failed in the opening: its alert is sent, and the peer read out.
    pub(crate) fn refuse_tls(&mut self, shared: &Shared, error: TlsError) {
        self.tell(shared, |link, now| link.refuse_tls(error, now));
    }
}
