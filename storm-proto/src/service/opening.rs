//! The opening of a connection: from a connected stream to a session.
//!
//! It runs once for each connection, so it is a future of its own, boxed by the caller:
//! what it needs is not carried around by every idle connection.

use core::future::{Future, poll_fn};
use core::pin::Pin;
#[cfg(feature = "tls")]
use std::io::ErrorKind;

use bytes::Bytes;

use super::driver::{Guard, Host};
use super::error_context::ErrorContext;
use super::handler::Handler;
use super::runtime::Transport;
use super::session::Session;
use super::stage::Stage;
use super::trace;
use super::wire::{Cut, Wire};
use crate::client::proxy::tunnel::{Progress, Tunnel};
use crate::client::proxy::{Proxy, ProxyError};
use crate::client::uri::Target;
use crate::connection::receiver::Receiver;
use crate::contain;
use crate::error::{Error, LocalError};
use crate::extensions::Extensions;
#[cfg(feature = "tls")]
use crate::tls::{TlsError, TlsErrorKind};
use crate::websocket::deflate::Agreed;
use crate::websocket::handshake::request::Answer;
#[cfg(feature = "tls")]
use crate::websocket::handshake::request::speak_tls;
use crate::websocket::handshake::{
    ClientHandshake, Decision, HandshakeError, Request, Response, ServerHandshake,
};

/// Goes through a server's opening: TLS, if it is there, and then the request, if one is
/// expected.
///
/// False if the connection is over: the request was refused or answered, and that answer is
/// written. What followed an accepted request is kept for the receiver.
pub(crate) async fn open_server<T: Transport, H: Handler, S>(
    wire: &mut Wire<Stage<T>>,
    receiver: &mut Receiver,
    host: &Host<H, S>,
    expects_request: bool,
) -> bool {
    let Host { guard, handler, .. } = host;
    #[cfg(feature = "tls")]
    if wire.is_secured() && secure_server(wire, &guard.session).await.is_none() {
        return false;
    }
    if !expects_request {
        guard.open(None, Extensions::new());
        return true;
    }
    open(wire, receiver, guard, &**handler).await.is_some()
}

/// Goes through a server's handshake of TLS.
#[cfg(feature = "tls")]
async fn secure_server<T: Transport>(wire: &mut Wire<Stage<T>>, session: &Session) -> Option<()> {
    let shared = session.shared();
    match poll_fn(|cx| wire.poll_handshake(cx, shared)).await? {
        Ok(facts) => {
            shared.secured(facts);
            Some(())
        }
        Err(error) => {
            match TlsError::of(&error) {
                Some(error) => {
                    if error.kind() == TlsErrorKind::PlainHttp {
                        let answer = Answer::closing(&speak_tls(), "");
                        wire.queue_opening(shared, [answer.head, answer.body]);
                    }
                    wire.refuse_tls(shared, error);
                }
                None if error.kind() == ErrorKind::UnexpectedEof => wire.end_of_stream(shared),
                None => wire.failed(shared, error),
            }
            drain(wire, session).await;
            None
        }
    }
}

async fn open<T: Transport, H: Handler>(
    wire: &mut Wire<T>,
    receiver: &mut Receiver,
    guard: &Guard,
    handler: &H,
) -> Option<()> {
    let session = &guard.session;
    let shared = session.shared();
    let limits = shared.lock().link.options().websocket.head;
    let mut handshake = ServerHandshake::new(limits);
    loop {
        let mut input = poll_fn(|cx| wire.poll_input(cx, shared, None)).await?;
        let mut rest: &[u8] = input.bytes();
        let request = handshake.receive(&mut rest);
        wire.keep(rest);
        input.give();
        let Some(request) = request else { continue };
        shared.stepped();
        let answer = match request {
            Ok(request) => {
                #[cfg_attr(not(feature = "tls"), allow(unused_mut))]
                let mut request = request.with_peer(session.peer().ip());
                #[cfg(feature = "tls")]
                request.secured(session.tls());
                let decision =
                    match foreign_page(guard, &request).or_else(|| last_orders(guard, &request)) {
                        Some(refusal) => refusal.into(),
                        // The application may have taken its time.
                        None => {
                            let decision = decide(wire, session, handler, &request).await?;
                            last_orders(guard, &request).map_or(decision, Decision::from)
                        }
                    };
                request.answer(decision, &shared.lock().link.options().websocket)
            }
            Err(refusal) => Answer::closing(&refusal, ""),
        };
        if let Some(error) = answer.error {
            report(wire, session, handler, Error::Local(LocalError::Answer(error))).await?;
        }
        trace::answered(session, answer.status);
        wire.queue_opening(shared, [answer.head, answer.body]);
        match answer.accepted {
            Some(accept) => {
                agreed(receiver, session, answer.deflate);
                if let Some(limits) = accept.limits {
                    receiver.set_limits(*limits);
                }
                if let Some(overrides) = accept.overrides {
                    session.set(*overrides);
                }
                guard.open(accept.subprotocol, accept.attached);
                return Some(());
            }
            None => {
                shared.refuse();
                drain(wire, session).await;
                return None;
            }
        }
    }
}

/// The refusal of a page that may not connect, if the server looks at origins.
fn foreign_page(guard: &Guard, request: &Request) -> Option<Response> {
    let origins = guard.permit.as_ref()?.registry().origins()?;
    origins.check(request).err()
}

/// The refusal of those who want in while the server drains.
fn last_orders(guard: &Guard, request: &Request) -> Option<Response> {
    let drain = guard.permit.as_ref()?.registry().draining()?;
    request.is_upgrade().then(|| drain.refusal())
}

/// Asks the application. `None` if the connection is over before it has answered.
async fn decide<T: Transport, H: Handler>(
    wire: &mut Wire<T>,
    session: &Session,
    handler: &H,
    request: &Request,
) -> Option<Decision> {
    match call(wire, session, || handler.on_connecting(request)).await {
        Ok(decision) => Some(decision),
        Err(Cut::Over) => None,
        Err(Cut::Late) => {
            drain(wire, session).await;
            None
        }
        Err(Cut::Panicked) => {
            report(wire, session, handler, Error::Local(LocalError::HandlerPanicked)).await?;
            Some(Response::new(500).body("the server could not answer\n").into())
        }
    }
}

/// Tells the application of a failure before there is a session.
async fn report<T: Transport, H: Handler>(
    wire: &mut Wire<T>,
    session: &Session,
    handler: &H,
    error: Error,
) -> Option<()> {
    let context = ErrorContext::Connection(session.ends().clone());
    session.shared().chain().failed(&context, &error);
    trace::failed(session, &error);
    match call(wire, session, || handler.on_error(&context, &error)).await {
        Ok(()) | Err(Cut::Panicked) => Some(()),
        Err(Cut::Over) => None,
        Err(Cut::Late) => {
            drain(wire, session).await;
            None
        }
    }
}

/// Asks a proxy for a tunnel to `target`. What comes behind its answer is kept.
pub(crate) async fn open_tunnel<T: Transport>(
    wire: &mut Wire<T>,
    session: &Session,
    proxy: &Proxy,
    target: &Target,
) -> Result<(), ProxyError> {
    let Target::Tcp { host, port } = target else { return Err(ProxyError::Target) };
    let shared = session.shared();
    let (mut tunnel, first) = Tunnel::new(proxy, host, *port)?;
    wire.queue_opening(shared, [first]);
    loop {
        let Some(mut input) = poll_fn(|cx| wire.poll_input(cx, shared, None)).await else {
            return Err(tunnel.end_of_stream());
        };
        let mut rest: &[u8] = input.bytes();
        let progress = loop {
            match tunnel.receive(&mut rest) {
                Ok(Progress::Send(bytes)) => {
                    shared.stepped();
                    wire.queue_opening(shared, [bytes]);
                }
                progress => break progress,
            }
        };
        wire.keep(rest);
        input.give();
        if progress? == Progress::Open {
            shared.stepped();
            return Ok(());
        }
    }
}

/// Goes through a client's handshake of TLS.
///
/// # Errors
/// None if the connection is over: its deadline passed.
#[cfg(feature = "tls")]
pub(crate) async fn secure_client<T: Transport>(
    wire: &mut Wire<Stage<T>>,
    session: &Session,
) -> Result<(), Option<std::io::Error>> {
    let shared = session.shared();
    let shaken = poll_fn(|cx| wire.poll_handshake(cx, shared)).await;
    shared.secured(shaken.ok_or(None)?.map_err(Some)?);
    Ok(())
}

/// Goes through a client's opening handshake; `request` is what it sends.
pub(crate) async fn open_client<T: Transport>(
    wire: &mut Wire<T>,
    session: &Session,
    receiver: &mut Receiver,
    mut handshake: ClientHandshake,
    request: Bytes,
) -> Result<(), HandshakeError> {
    let shared = session.shared();
    wire.queue_opening(shared, [request]);
    loop {
        let Some(mut input) = poll_fn(|cx| wire.poll_input(cx, shared, None)).await else {
            return Err(handshake.end_of_stream());
        };
        let mut rest: &[u8] = input.bytes();
        let answer = handshake.receive(&mut rest);
        wire.keep(rest);
        input.give();
        if handshake.is_refused() {
            wire.refused_by_peer(shared);
        }
        if let Some(answer) = answer {
            let mut data = Extensions::new();
            let accepted = answer?;
            agreed(receiver, session, accepted.deflate);
            data.insert(accepted.headers);
            shared.open(shared.connection(), accepted.subprotocol, data);
            return Ok(());
        }
    }
}

/// Both halves keep to what was agreed on, before the first message.
fn agreed(receiver: &mut Receiver, session: &Session, deflate: Option<Agreed>) {
    receiver.agreed(deflate.as_ref());
    session.shared().lock().link.sender.agreed(deflate.as_ref());
}

/// Runs a call of the application while the wire goes on.
pub(crate) async fn call<T: Transport, F: Future>(
    wire: &mut Wire<T>,
    session: &Session,
    make: impl FnOnce() -> F,
) -> Result<F::Output, Cut> {
    let mut call = contain::call(make);
    let called = poll_fn(|cx| wire.poll_call(cx, session.shared(), Pin::new(&mut call))).await?;
    called.ok_or(Cut::Panicked)
}

/// Writes the last word and waits for the end, throwing away what still comes.
async fn drain<T: Transport>(wire: &mut Wire<T>, session: &Session) {
    while let Some(input) = poll_fn(|cx| wire.poll_input(cx, session.shared(), None)).await {
        input.give();
    }
}
