//! Negotiation (RFC 7692 sections 5 and 7.1).
//!
//! ```text
//!   parameter                     in an offer              in an answer
//!   server_no_context_takeover    asks for it              the server does without
//!   client_no_context_takeover    a hint                   the client must do without
//!   server_max_window_bits=N      asks for it              the server keeps to N, at most as asked
//!   client_max_window_bits[=N]    the client can keep to   the client must keep to N; only if
//!                                 less, or N at most       offered, never without a value
//! ```
//!
//! Anything else in an offer, or twice, declines that offer; in an answer it fails the
//! connection.
//!
//! Each side does without its own context by default and asks nothing of the other. A window of
//! 8 bits is agreed on and not used: who may only compress with that sends plain messages.

use alloc::string::String;
use core::fmt::Write;

use super::{Deflate, MAX_BITS};
use crate::websocket::Role;
use crate::websocket::handshake::HandshakeError;
use crate::websocket::handshake::extensions::{Extension, Value};

const NAME: &str = "permessage-deflate";
const SERVER_TAKEOVER: &str = "server_no_context_takeover";
const CLIENT_TAKEOVER: &str = "client_no_context_takeover";
const SERVER_BITS: &str = "server_max_window_bits";
const CLIENT_BITS: &str = "client_max_window_bits";

/// The terms that both ends agreed on, with the level and threshold of this one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Agreed {
    server_no_context_takeover: bool,
    client_no_context_takeover: bool,
    server_max_window_bits: u8,
    client_max_window_bits: u8,
    level: u8,
    threshold: usize,
}

impl Agreed {
    /// True if the server starts each message with an empty window.
    #[must_use]
    pub const fn server_no_context_takeover(&self) -> bool {
        self.server_no_context_takeover
    }

    /// True if the client starts each message with an empty window.
    #[must_use]
    pub const fn client_no_context_takeover(&self) -> bool {
        self.client_no_context_takeover
    }

    /// The largest window of the server's messages, as a logarithm.
    #[must_use]
    pub const fn server_max_window_bits(&self) -> u8 {
        self.server_max_window_bits
    }

    /// The largest window of the client's messages, as a logarithm.
    #[must_use]
    pub const fn client_max_window_bits(&self) -> u8 {
        self.client_max_window_bits
    }

    pub(super) const fn level(&self) -> u8 {
        self.level
    }

    pub(super) const fn threshold(&self) -> usize {
        self.threshold
    }

    /// Window and takeover of what `role` sends.
    pub(super) const fn of(&self, role: Role) -> (u8, bool) {
        match role {
            Role::Server => (self.server_max_window_bits, !self.server_no_context_takeover),
            Role::Client => (self.client_max_window_bits, !self.client_no_context_takeover),
        }
    }
}

/// The parameters of one offer or answer.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
struct Terms {
    server_no_context_takeover: bool,
    client_no_context_takeover: bool,
    server_max_window_bits: Option<u8>,
    /// Maybe without a value.
    client_max_window_bits: Option<Option<u8>>,
}

impl Terms {
    /// `None` if a parameter is unknown, there twice, or has a value that it cannot have.
    fn read(extension: &Extension<'_>) -> Option<Terms> {
        let mut terms = Terms::default();
        for parameter in extension.parameters() {
            let name = core::str::from_utf8(parameter.name).ok()?;
            let repeated = match (name, parameter.value) {
                (SERVER_TAKEOVER, None) => {
                    core::mem::replace(&mut terms.server_no_context_takeover, true)
                }
                (CLIENT_TAKEOVER, None) => {
                    core::mem::replace(&mut terms.client_no_context_takeover, true)
                }
                (SERVER_BITS, Some(value)) => {
                    terms.server_max_window_bits.replace(window_bits(value)?).is_some()
                }
                (CLIENT_BITS, None) => terms.client_max_window_bits.replace(None).is_some(),
                (CLIENT_BITS, Some(value)) => {
                    terms.client_max_window_bits.replace(Some(window_bits(value)?)).is_some()
                }
                _ => return None,
            };
            if repeated {
                return None;
            }
        }
        Some(terms)
    }

    fn write(&self) -> String {
        let mut text = String::from(NAME);
        let flags = [
            (self.server_no_context_takeover, SERVER_TAKEOVER),
            (self.client_no_context_takeover, CLIENT_TAKEOVER),
            (self.client_max_window_bits == Some(None), CLIENT_BITS),
        ];
        for (_, name) in flags.iter().filter(|(on, _)| *on) {
            let _ = write!(text, "; {name}");
        }
        let windows = [
            (self.server_max_window_bits, SERVER_BITS),
            (self.client_max_window_bits.flatten(), CLIENT_BITS),
        ];
        for (bits, name) in windows {
            if let Some(bits) = bits {
                let _ = write!(text, "; {name}={bits}");
            }
        }
        text
    }
}

/// Section 7.1.2: 8 to 15, decimal, without a zero in front.
fn window_bits(value: Value<'_>) -> Option<u8> {
    let mut digits = value.bytes();
    match (digits.next()?, digits.next(), digits.next()) {
        (digit @ b'8'..=b'9', None, _) => Some(digit - b'0'),
        (b'1', Some(digit @ b'0'..=b'5'), None) => Some(10 + digit - b'0'),
        _ => None,
    }
}

/// A window that has to be named: not the largest, which is what holds without a word.
fn named(bits: u8) -> Option<u8> {
    (bits < MAX_BITS).then_some(bits)
}

/// The element with which a client offers `settings`. By default it gives up its own context,
/// and does not ask the server to: some servers ignore that, and send what only
/// their context explains.
pub(crate) fn offer(settings: &Deflate) -> String {
    let terms = Terms {
        server_no_context_takeover: settings.server_no_context_takeover == Some(true),
        client_no_context_takeover: settings.client_no_context_takeover != Some(false),
        server_max_window_bits: named(settings.server_max_window_bits),
        client_max_window_bits: Some(named(settings.client_max_window_bits)),
    };
    terms.write()
}

/// Takes the first offer that fits `settings`; returns what is agreed on then, and the
/// element that says so.
pub(crate) fn answer<'a>(
    settings: &Deflate,
    offers: impl Iterator<Item = Extension<'a>>,
) -> Option<(Agreed, String)> {
    let ours = offers.filter(|extension| extension.is(NAME));
    ours.filter_map(|extension| answer_one(settings, Terms::read(&extension)?)).next()
}

fn answer_one(settings: &Deflate, offer: Terms) -> Option<(Agreed, String)> {
    let server_bits =
        offer.server_max_window_bits.unwrap_or(MAX_BITS).min(settings.server_max_window_bits);
    let client_bits = match offer.client_max_window_bits {
        Some(most) => most.unwrap_or(MAX_BITS).min(settings.client_max_window_bits),
        None => MAX_BITS,
    };
    // What the client does not let us limit.
    if client_bits > settings.client_max_window_bits {
        return None;
    }
    let answer = Terms {
        server_no_context_takeover: settings.server_no_context_takeover != Some(false)
            || offer.server_no_context_takeover,
        // As in an offer: the other side is asked only if the settings say so.
        client_no_context_takeover: settings.client_no_context_takeover == Some(true)
            || offer.client_no_context_takeover,
        // Said where it was asked for, even if it is what holds anyway.
        server_max_window_bits: offer
            .server_max_window_bits
            .map(|_| server_bits)
            .or(named(server_bits)),
        client_max_window_bits: named(client_bits).map(Some),
    };
    Some((answer.agreed(settings), answer.write()))
}

/// Checks an answer to what [`offer`] made of `settings`.
///
/// # Errors
/// If it is no answer to that, or one that cannot be kept to.
pub(crate) fn accept(settings: &Deflate, answer: &Extension<'_>) -> Result<Agreed, HandshakeError> {
    if !answer.is(NAME) {
        return Err(HandshakeError::UnofferedExtension);
    }
    let terms = Terms::read(answer).filter(|terms| terms.fit(settings));
    terms.map(|terms| terms.accepted(settings)).ok_or(HandshakeError::ExtensionParameters)
}

impl Terms {
    /// True for an answer to an offer of `settings` that a client can keep to.
    fn fit(&self, settings: &Deflate) -> bool {
        let asked = named(settings.server_max_window_bits);
        let server_fits = match (asked, self.server_max_window_bits) {
            (Some(most), bits) => bits.is_some_and(|bits| bits <= most),
            (None, _) => true,
        };
        let client_fits = match self.client_max_window_bits {
            None => true,
            Some(bits) => bits.is_some_and(|bits| bits <= settings.client_max_window_bits),
        };
        let asked = settings.server_no_context_takeover == Some(true);
        server_fits && client_fits && (self.server_no_context_takeover || !asked)
    }

    /// What a client agrees on that offered `settings` and got an answer with these parameters.
    fn accepted(&self, settings: &Deflate) -> Agreed {
        Agreed {
            // A client may always do without.
            client_no_context_takeover: self.client_no_context_takeover
                || settings.client_no_context_takeover != Some(false),
            client_max_window_bits: match self.client_max_window_bits.flatten() {
                Some(bits) => bits,
                None => settings.client_max_window_bits,
            },
            ..self.agreed(settings)
        }
    }

    /// What an answer with these parameters obliges both ends to.
    fn agreed(&self, settings: &Deflate) -> Agreed {
        Agreed {
            server_no_context_takeover: self.server_no_context_takeover,
            client_no_context_takeover: self.client_no_context_takeover,
            server_max_window_bits: self.server_max_window_bits.unwrap_or(MAX_BITS),
            client_max_window_bits: self.client_max_window_bits.flatten().unwrap_or(MAX_BITS),
            level: settings.level,
            threshold: settings.threshold,
        }
    }
}
