//! Tells the handler of sessions whose peers read too slowly.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::sync::{Arc, Weak};

use super::Session;
use crate::connection::slow::Lag;
use crate::contain::catch;
use crate::service::handler::Handler;
use crate::service::sync::thread_local;

thread_local! {
    /// This thread is telling.
    static TELLING: Cell<bool> = const { Cell::new(false) };
    /// What its own sends have begun meanwhile.
    static UNTOLD: RefCell<VecDeque<(Session, Lag)>> = const { RefCell::new(VecDeque::new()) };
}

/// A [`Handler`] of any type, as far as it is told of lags.
pub(crate) trait Lagging: Send + Sync {
    fn lagging(&self, session: &Session, lag: &Lag);
}

impl<H: Handler> Lagging for H {
    fn lagging(&self, session: &Session, lag: &Lag) {
        self.on_lag(session, lag);
    }
}

/// As it stands in a session.
pub(crate) fn lagging<H: Handler>(handler: &Arc<H>) -> Weak<dyn Lagging> {
    let handler: Weak<H> = Arc::downgrade(handler);
    handler
}

/// Tells on this thread, which holds no lock. Not within another notice: a handler that sends to
/// many, of whom many lag, would go as deep as they are many.
#[cold]
pub(super) fn tell(session: &Session, lag: Lag) {
    if TELLING.with(|telling| telling.replace(true)) {
        return UNTOLD.with(|untold| untold.borrow_mut().push_back((session.clone(), lag)));
    }
    tell_one(session, &lag);
    while let Some((session, lag)) = UNTOLD.with(|untold| untold.borrow_mut().pop_front()) {
        tell_one(&session, &lag);
    }
    TELLING.with(|telling| telling.set(false));
}

fn tell_one(session: &Session, lag: &Lag) {
    catch(|| {
        if let Some(handler) = session.shared().handler() {
            handler.lagging(session, lag);
        }
    });
}
