//! The opening of a connection: from a connected stream to a session.
//!
//! It runs once for each connection, so it is a future of its own, boxed by the caller:
//! what it needs is not carried around by every idle connection.

use core::future::{Future, poll_fn};
use core::pin::pin;
use std::vec::Vec;

use bytes::Bytes;

use super::handler::Handler;
use super::runtime::Transport;
use super::session::Session;
use super::wire::{Cut, Wire};
use crate::error::{Error, LocalError};
use crate::extensions::Extensions;
use crate::websocket::handshake::request::Answer;
use crate::websocket::handshake::{
    Accepted, ClientHandshake, Decision, HandshakeError, HeadLimits, Request, ServerHandshake,
};

/// Goes through a server's opening handshake.
///
/// Returns the bytes that followed the request, or `None` if the connection is over: the
/// request was refused or answered, and that answer is written.
pub(crate) async fn open_server<T: Transport, H: Handler>(
    wire: &mut Wire<T>,
    session: &Session,
    handler: &H,
    limits: HeadLimits,
) -> Option<Vec<u8>> {
    let shared = session.shared();
    let mut handshake = ServerHandshake::new(limits);
    loop {
        let mut input = poll_fn(|cx| wire.poll_input(cx, shared, None)).await?;
        let mut rest: &[u8] = input.bytes();
        let Some(request) = handshake.receive(&mut rest) else {
            input.give();
            continue;
        };
        let rest = Vec::from(rest);
        input.give();
        let answer = match request {
            Ok(request) => {
                let decision = decide(wire, session, handler, &request).await?;
                request.answer(decision)
            }
            Err(refusal) => Answer::closing(&refusal, ""),
        };
        if let Some(error) = answer.error {
            let error = Error::Local(LocalError::Answer(error));
            let report = pin!(handler.on_error(None, &error));
            call(wire, session, report).await.ok()?;
        }
        wire.queue_opening(shared, [answer.head, answer.body]);
        match answer.accepted {
            Some(accept) => {
                shared.open(accept.subprotocol, accept.attached);
                return Some(rest);
            }
            None => {
                shared.refuse();
                drain(wire, session).await;
                return None;
            }
        }
    }
}

/// Asks the application. `None` if the connection is over before it has answered.
async fn decide<T: Transport, H: Handler>(
    wire: &mut Wire<T>,
    session: &Session,
    handler: &H,
    request: &Request,
) -> Option<Decision> {
    let decision = pin!(handler.on_connecting(request));
    match call(wire, session, decision).await {
        Ok(decision) => Some(decision),
        Err(Cut::Over) => None,
        Err(Cut::Panicked) => Some(Decision::respond(500).into()),
    }
}

/// Goes through a client's opening handshake; `request` is what it sends.
pub(crate) async fn open_client<T: Transport>(
    wire: &mut Wire<T>,
    session: &Session,
    mut handshake: ClientHandshake,
    request: Bytes,
) -> Result<(Accepted, Vec<u8>), HandshakeError> {
    let shared = session.shared();
    wire.queue_opening(shared, [request]);
    loop {
        let Some(mut input) = poll_fn(|cx| wire.poll_input(cx, shared, None)).await else {
            return Err(handshake.end_of_stream());
        };
        let mut rest: &[u8] = input.bytes();
        let answer = handshake.receive(&mut rest);
        let rest = Vec::from(rest);
        input.give();
        if let Some(answer) = answer {
            let accepted = answer?;
            shared.open(accepted.subprotocol.clone(), Extensions::new());
            return Ok((accepted, rest));
        }
    }
}

/// Runs a call of the application while the wire goes on.
pub(crate) async fn call<T: Transport, F: Future>(
    wire: &mut Wire<T>,
    session: &Session,
    mut future: core::pin::Pin<&mut F>,
) -> Result<F::Output, Cut> {
    poll_fn(|cx| wire.poll_call(cx, session.shared(), future.as_mut())).await
}

/// Writes the last word and waits for the end, throwing away what still comes.
async fn drain<T: Transport>(wire: &mut Wire<T>, session: &Session) {
    while let Some(input) = poll_fn(|cx| wire.poll_input(cx, session.shared(), None)).await {
        input.give();
    }
}
