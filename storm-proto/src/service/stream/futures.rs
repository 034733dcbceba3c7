//! A message stream as the `futures` crates know streams and sinks.

use core::pin::Pin;
use core::task::{Context, Poll};

use futures_core::Stream;
use futures_core::stream::FusedStream;
use futures_sink::Sink;

use super::{Carrier, MessageStream, StreamError};
use crate::message::OwnedMessage;

impl<T: Carrier> Stream for MessageStream<T> {
    type Item = Result<OwnedMessage, StreamError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.get_mut().poll_next(cx)
    }
}

impl<T: Carrier> FusedStream for MessageStream<T> {
    fn is_terminated(&self) -> bool {
        self.told
    }
}

impl<T: Carrier> Sink<OwnedMessage> for MessageStream<T> {
    type Error = StreamError;

    fn poll_ready(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), StreamError>> {
        self.get_mut().poll_ready(cx)
    }

    fn start_send(self: Pin<&mut Self>, message: OwnedMessage) -> Result<(), StreamError> {
        self.get_mut().start_send(&message)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), StreamError>> {
        self.get_mut().poll_flush(cx)
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), StreamError>> {
        self.get_mut().poll_close(cx)
    }
}
