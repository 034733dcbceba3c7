//! What closures return.

use core::error::Error as StdError;
use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll};
use std::boxed::Box;

use super::slots::{Errors, Unset};
use crate::error::{Error, HandlerError, LocalError};
use crate::service::audience::Delivery;
use crate::service::error_context::ErrorContext;
use crate::service::trace;

/// What a closure that handles an event may return.
///
/// - `()`, and `bool`, `usize` and [`Delivery`], which are ignored: [`Session::leave`] returns
///   whether the session was in the group, [`Session::leave_all`] how many groups it left, a
///   broadcast who has it.
/// - A `Result` of one of these. An `Err` is reported to [`Handler::on_error`] of the same
///   server or client as [`LocalError::Handler`]; the session stays open. The error may be
///   anything that `?` turns into a `Box<dyn Error + Send + Sync>`, a text among them.
///
/// A future is a compile error, since nothing would poll it. Closures that wait have methods of
/// their own, such as [`Server::on_message_async`], and get owned arguments.
///
/// ```
/// use storm_proto::service::Callbacks;
///
/// let callbacks = Callbacks::new()
///     .on_connected(|session| session.join("lobby"))
///     .on_message(|session, message| session.others_in("lobby").send(message))
///     .on_error(|context, error| println!("{context}: {error}"));
/// # drop(callbacks);
/// ```
///
/// [`Handler::on_error`]: crate::service::Handler::on_error
/// [`Server::on_message_async`]: crate::service::Server::on_message_async
/// [`Session::leave`]: crate::service::Session::leave
/// [`Session::leave_all`]: crate::service::Session::leave_all
#[diagnostic::on_unimplemented(
    message = "a closure that handles an event cannot return `{Self}`",
    label = "this closure returns `{Self}`",
    note = "a future is polled by nothing here: use the asynchronous method of the same name, \
            such as `.on_message_async(|session, message| async move {{ .. }})`",
    note = "otherwise return `()`, `bool`, `usize`, a `Delivery`, or a `Result` of these, \
            or end the last expression with `;`"
)]
pub trait HandlerResult: private::Sealed {
    #[doc(hidden)]
    fn into_result(self) -> Result<(), HandlerError>;
}

mod private {
    pub trait Sealed {}

    /// Whatever a function returns.
    pub trait Returned {
        type Type;
    }

    impl<T> Returned for fn() -> T {
        type Type = T;
    }

    /// `!`, the type of a closure that never returns: on stable Rust it has no other name.
    pub(super) type Never = <fn() -> ! as Returned>::Type;
}

/// Values that tell of nothing that went wrong.
macro_rules! ignored {
    ($($type:ty),*) => {$(
        impl private::Sealed for $type {}

        impl HandlerResult for $type {
            #[inline(always)]
            fn into_result(self) -> Result<(), HandlerError> {
                Ok(())
            }
        }
    )*};
}

ignored!((), bool, usize, Delivery);

impl private::Sealed for private::Never {}

impl HandlerResult for private::Never {
    fn into_result(self) -> Result<(), HandlerError> {
        self
    }
}

impl<T, E> private::Sealed for Result<T, E> {}

impl<T: HandlerResult, E: Into<Box<dyn StdError + Send + Sync>>> HandlerResult for Result<T, E> {
    /// Inlined, so that the result of each message stays in registers; an error is boxed elsewhere.
    #[inline(always)]
    fn into_result(self) -> Result<(), HandlerError> {
        match self {
            Ok(value) => value.into_result(),
            Err(error) => Err(failed(error)),
        }
    }
}

#[cold]
#[inline(never)]
fn failed<E: Into<Box<dyn StdError + Send + Sync>>>(error: E) -> HandlerError {
    HandlerError::new(error)
}

/// Reports what a closure returned. To be boxed, so that no session carries it around.
#[cold]
pub(super) async fn report<E: Errors>(errors: &E, context: ErrorContext, error: HandlerError) {
    let error = Error::Local(LocalError::Handler(error));
    if let Some(session) = context.session() {
        session.shared().chain().failed(&context, &error);
    }
    trace::handler_failed(context.session(), &error);
    errors.call(&context, &error, &Unset).await;
}

/// As [`report`], from where nothing can wait: `on_error` is polled once.
pub(super) fn report_at_once<E: Errors>(errors: &E, context: ErrorContext, error: HandlerError) {
    let mut report = Box::pin(report(errors, context, error));
    let _ = report.as_mut().poll(&mut Context::from_waker(core::task::Waker::noop()));
}

/// The future of a closure that has run: a report, if there is something to report. A pointer's
/// width, since each session carries it.
pub(super) struct Ran<R>(pub(super) Option<Pin<Box<R>>>);

impl<R: Future<Output = ()>> Future for Ran<R> {
    type Output = ();

    #[inline(always)]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.0 {
            None => Poll::Ready(()),
            Some(report) => report.as_mut().poll(cx),
        }
    }
}
