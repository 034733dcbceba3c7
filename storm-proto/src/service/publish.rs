//! What is counted, published through the facade `metrics`: feature `metrics`, and nothing at
//! all without it.
//!
//! `docs/observability.md` names every metric with its unit and its labels.
//!
//! No message costs anything. What messages add up to is published when a session ends, and of
//! all that are open when the application asks for it (`Hub::publish`, `Reconnecting::publish`),
//! as what is new since the last time: so the counters of several servers add up, and a slow
//! asker loses nothing. A counter that is written for each message is a cache line that all
//! threads fight for; a gap until the next asking is what a scrape has anyway.

#![cfg_attr(not(feature = "metrics"), allow(unused_variables, unused_macros))]

use core::time::Duration;

use super::metrics::Traffic;
use crate::connection::reason::DisconnectReason;
use crate::server::admission::Refusal;

/// Adds to a counter, or does nothing.
#[cfg(feature = "metrics")]
macro_rules! count {
    ($by:expr, $name:literal $($labels:tt)*) => {
        metrics::counter!($name $($labels)*).increment($by)
    };
}

/// Adds to a gauge, or does nothing.
#[cfg(feature = "metrics")]
macro_rules! move_gauge {
    ($by:expr, $name:literal $($labels:tt)*) => {
        metrics::gauge!($name $($labels)*).increment($by)
    };
}

/// Records a duration, or does nothing.
#[cfg(feature = "metrics")]
macro_rules! record {
    ($duration:expr, $name:literal $($labels:tt)*) => {
        metrics::histogram!($name $($labels)*).record($duration)
    };
}

#[cfg(not(feature = "metrics"))]
macro_rules! nothing {
    ($($nothing:tt)*) => {{}};
}
#[cfg(not(feature = "metrics"))]
use nothing as count;
#[cfg(not(feature = "metrics"))]
use nothing as move_gauge;
#[cfg(not(feature = "metrics"))]
use nothing as record;

/// Whose sessions they are.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Whose {
    Server,
    Client,
}

impl Whose {
    #[cfg(feature = "metrics")]
    const fn role(self) -> &'static str {
        match self {
            Whose::Server => "server",
            Whose::Client => "client",
        }
    }
}

pub(crate) fn admitted() {
    move_gauge!(1.0, "storm_connections");
}

pub(crate) fn left() {
    move_gauge!(-1.0, "storm_connections");
}

pub(crate) fn refused(refusal: Refusal) {
    count!(1, "storm_refused_total", "why" => match refusal {
        Refusal::Full => "full",
        Refusal::PerIp => "per_ip",
        Refusal::Rate => "rate",
        Refusal::Stopping => "stopping",
    });
}

pub(crate) fn unopened(reason: &DisconnectReason) {
    count!(1, "storm_unopened_total", "cause" => reason.cause.name(), "side" => reason.side.name());
}

pub(crate) fn opened(whose: Whose, after: Duration) {
    count!(1, "storm_sessions_opened_total", "role" => whose.role());
    move_gauge!(1.0, "storm_sessions", "role" => whose.role());
    record!(after, "storm_opening_seconds", "role" => whose.role());
}

pub(crate) fn ended(whose: Whose, after: Duration, reason: &DisconnectReason, news: Traffic) {
    move_gauge!(-1.0, "storm_sessions", "role" => whose.role());
    count!(
        1, "storm_sessions_closed_total",
        "role" => whose.role(), "cause" => reason.cause.name(), "side" => reason.side.name()
    );
    record!(after, "storm_session_seconds", "role" => whose.role());
    traffic(whose, news);
}

pub(crate) fn traffic(whose: Whose, news: Traffic) {
    let Traffic { bytes_sent, bytes_received, messages_sent, messages_received, .. } = news;
    let role = whose;
    count!(messages_received, "storm_messages_total", "role" => role.role(), "direction" => "in");
    count!(messages_sent, "storm_messages_total", "role" => role.role(), "direction" => "out");
    count!(bytes_received, "storm_bytes_total", "role" => role.role(), "direction" => "in");
    count!(bytes_sent, "storm_bytes_total", "role" => role.role(), "direction" => "out");
    losses(whose, news);
}

fn losses(role: Whose, news: Traffic) {
    macro_rules! lost {
        ($by:ident, $name:literal $(, $label:literal => $value:literal)?) => {
            count!(news.$by, $name, "role" => role.role() $(, $label => $value)?)
        };
    }
    lost!(messages_refused, "storm_refused_messages_total", "why" => "full");
    lost!(messages_closed, "storm_refused_messages_total", "why" => "closed");
    lost!(messages_unframed, "storm_refused_messages_total", "why" => "unframed");
    lost!(bytes_refused, "storm_refused_bytes_total");
    lost!(messages_dropped, "storm_dropped_messages_total");
    lost!(bytes_dropped, "storm_dropped_bytes_total");
    lost!(messages_superseded, "storm_superseded_messages_total");
    lost!(bytes_superseded, "storm_superseded_bytes_total");
    lost!(messages_filtered_in, "storm_filtered_messages_total", "direction" => "in");
    lost!(messages_filtered_out, "storm_filtered_messages_total", "direction" => "out");
    lost!(undelivered_messages, "storm_undelivered_messages_total");
    lost!(undelivered, "storm_undelivered_bytes_total");
}

pub(crate) fn connect_failed() {
    count!(1, "storm_connects_failed_total");
}

pub(crate) fn retrying() {
    count!(1, "storm_retries_total");
}
