//! What the options of a server come to, and what cannot be.

use std::sync::Arc;

use super::{Protocol, Server};
use crate::connection::options::Options;
use crate::error::OptionError;
use crate::framing::Raw;
use crate::websocket::handshake::token::is_token;

impl<R, H> Server<R, H> {
    pub(super) fn protocol(&self) -> Protocol {
        match (&self.websocket, &self.framer) {
            (Some(_), _) => Protocol::WebSocket,
            (None, Some(framer)) => Protocol::Framed(framer.clone()),
            (None, None) => Protocol::Framed(Arc::new(Raw)),
        }
    }

    pub(super) fn options(&self) -> Options {
        Options {
            websocket: self.websocket.clone().unwrap_or_default(),
            marks: self.marks,
            slow_consumer: self.slow_consumer,
            max_pending_receive: self.max_pending_receive,
            timeouts: self.deadlines.timeouts(),
        }
    }

    /// What is spoken, and with which options.
    ///
    /// # Errors
    /// If an option has no sense, or none beside the others. What depends on the address is
    /// looked at when that is read.
    pub(super) fn checked(&self) -> Result<(Protocol, Options), OptionError> {
        let (protocol, options) = (self.protocol(), self.options());
        let is_websocket = matches!(protocol, Protocol::WebSocket);
        if is_websocket && self.framer.is_some() {
            return Err(OptionError::new("framed", "cannot stand beside websocket"));
        }
        if let Protocol::Framed(framer) = &protocol {
            framer.check_options()?;
            self.refuse(
                &["on_connecting", "origins"],
                "needs websocket: plain tcp has no request",
            )?;
            if !self.is_secure() {
                self.refuse(&["handshake_timeout"], "needs websocket or tls")?;
            }
        }
        if !options.websocket.subprotocols.iter().all(|name| is_token(name.as_bytes())) {
            return Err(OptionError::new("subprotocol", "is no token (RFC 9110 section 5.6.2)"));
        }
        for (option, is_zero) in
            [("max_groups", self.max_groups == 0), ("backlog", self.listen.backlog == 0)]
        {
            if is_zero {
                return Err(OptionError::new(option, OptionError::ZERO));
            }
        }
        if self.admission.rate.is_some_and(|rate| !rate.is_valid()) {
            return Err(OptionError::new("connect_rate", "allows nothing"));
        }
        self.listen.socket.check()?;
        self.chain.check_options()?;
        Ok((protocol, options.checked(is_websocket)?))
    }

    /// Refuses options that were asked for.
    fn refuse(&self, options: &[&'static str], problem: &'static str) -> Result<(), OptionError> {
        OptionError::refuse(&self.used, options, problem)
    }

    #[cfg(feature = "tls")]
    fn is_secure(&self) -> bool {
        self.tls.is_some()
    }

    #[cfg(not(feature = "tls"))]
    fn is_secure(&self) -> bool {
        false
    }
}
