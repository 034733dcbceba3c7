//! What every session goes through before the hall hears of it: a limit, and a log.

use std::sync::Arc;

use storm_tokio::{DisconnectReason, Error, ErrorContext, Middleware, Rate, RateLimit, Session};

use crate::hall::{Hall, clock};

/// Five messages in five seconds, and as many at once.
pub(crate) fn limit(hall: &Arc<Hall>) -> RateLimit {
    let hall = hall.clone();
    RateLimit::new().messages(Rate::per_second(1).burst(5)).on_exceeded(move |session| {
        let name = hall.name(session);
        hall.announce(&format!("{name} was disconnected (rate limit exceeded)"));
    })
}

/// Prints who comes, who goes and what fails.
pub(crate) struct Log;

impl Middleware for Log {
    fn on_connect(&self, session: &Session) {
        println!("#{} from {}", session.id(), session.peer());
    }

    fn on_disconnect(&self, session: &Session, reason: &DisconnectReason) {
        let (id, metrics) = (session.id(), session.metrics());
        let (sent, received) = (metrics.bytes_sent, metrics.bytes_received);
        let uptime = clock(metrics.uptime);
        println!("#{id} {reason}, after {uptime}, {sent} bytes sent, {received} received");
    }

    fn on_error(&self, context: &ErrorContext, error: &Error) {
        println!("{context}: {error}");
    }
}
