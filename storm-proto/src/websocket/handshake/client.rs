//! The client's side of the opening handshake.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use bytes::Bytes;

use super::body::Body;
use super::head::{
    HeadError, HeadLimit, HeadLimits, HeadReader, Headers, ResponseHead, parse_response,
};
use super::response::{HeaderError, HeaderList};
use super::{accept_key, extensions, token};
use crate::client::uri::Uri;
use crate::random::Random;
use crate::websocket::WebSocket;
use crate::websocket::deflate::{self, Agreed, Deflate};

/// How many interim answers (1xx) are skipped before the server is given up.
pub(crate) const MAX_INTERIM: u8 = 8;

/// How long the body of a refusal is waited for behind its head: long enough for one on its way,
/// and short, since many servers name no length and keep the connection open.
pub(crate) const BODY_WAIT: Duration = Duration::from_millis(500);

/// What a client asks for beyond the address.
#[derive(Clone, Default, Debug)]
#[must_use]
pub struct Offer {
    subprotocols: Vec<String>,
    headers: HeaderList,
    deflate: Option<Deflate>,
}

impl Offer {
    /// Nothing beyond the address.
    pub fn new() -> Offer {
        Offer::default()
    }

    /// Offers a subprotocol; the first offered is the most wanted. It must be a token.
    pub fn subprotocol(mut self, name: impl Into<String>) -> Offer {
        self.subprotocols.push(name.into());
        self
    }

    /// Offers compression (RFC 7692).
    #[cfg(feature = "deflate")]
    #[cfg_attr(docsrs, doc(cfg(feature = "deflate")))]
    pub fn deflate(mut self, settings: Deflate) -> Offer {
        self.deflate = Some(settings);
        self
    }

    /// As it is, with the extensions that are set for all connections.
    pub(crate) fn extended(mut self, websocket: &WebSocket) -> Offer {
        self.deflate = self.deflate.or(websocket.deflate);
        self
    }

    /// Adds a header, such as `Authorization`, `Cookie` or `Origin`. Those of the
    /// handshake itself are the library's; one that cannot be sent fails the connect.
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Offer {
        const RESERVED: [&str; 6] = [
            "Host",
            "Upgrade",
            "Connection",
            "Sec-WebSocket-*",
            "Content-Length",
            "Transfer-Encoding",
        ];
        self.headers.push(name.into(), value.into(), &RESERVED);
        self
    }

    fn encode(&self, uri: &Uri, key: &str) -> Result<Bytes, HandshakeError> {
        let mut head = alloc::format!(
            "GET {} HTTP/1.1\r\nHost: {}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n",
            uri.resource(),
            uri.authority(),
        );
        let is_offered_twice =
            |(at, name): (usize, &String)| self.subprotocols[..at].contains(name);
        if !self.subprotocols.iter().all(|name| token::is_token(name.as_bytes()))
            || self.subprotocols.iter().enumerate().any(is_offered_twice)
        {
            return Err(HandshakeError::InvalidSubprotocol);
        }
        if !self.subprotocols.is_empty() {
            let names = self.subprotocols.join(", ");
            head.push_str(&alloc::format!("Sec-WebSocket-Protocol: {names}\r\n"));
        }
        if let Some(settings) = &self.deflate {
            let offer = deflate::offer(settings);
            head.push_str(&alloc::format!("Sec-WebSocket-Extensions: {offer}\r\n"));
        }
        self.headers.write(&mut head).map_err(HandshakeError::Header)?;
        head.push_str("\r\n");
        Ok(Bytes::from(head))
    }
}

/// The answer that opened a WebSocket.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Accepted {
    /// The subprotocol that the server chose of those offered.
    pub subprotocol: Option<String>,
    /// The headers of the 101.
    pub headers: Headers,
    pub(crate) deflate: Option<Agreed>,
}

impl Accepted {
    /// What was agreed on for compression; `None` if messages are not compressed.
    #[cfg(feature = "deflate")]
    #[cfg_attr(docsrs, doc(cfg(feature = "deflate")))]
    #[must_use]
    pub fn deflate(&self) -> Option<&Agreed> {
        self.deflate.as_ref()
    }
}

/// A server's answer other than 101.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Refusal {
    /// The HTTP status.
    pub status: u16,
    /// The headers, such as `Location`, `Retry-After` or `WWW-Authenticate`.
    pub headers: Headers,
    /// The first 4 KiB of the body, out of their chunks if they came in chunks; less if no more
    /// came within half a second. Empty if its length is no number.
    pub body: Bytes,
}

/// Why an opening handshake failed.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum HandshakeError {
    /// Local: a header cannot be sent.
    Header(HeaderError),
    /// Local: an offered subprotocol is no token, or is offered twice.
    InvalidSubprotocol,
    /// The server answered with something other than 101.
    Refused(Box<Refusal>),
    /// The answer is no valid HTTP response, or more than 8 interim ones (1xx) came before it.
    InvalidResponse,
    /// What the server sent first is no status line: it speaks something other than HTTP.
    NotHttp,
    /// The server answered in TLS, and was spoken to without.
    Tls,
    /// The head of the answer is over one of the [`HeadLimits`].
    TooLarge(HeadLimit),
    /// The server speaks HTTP/1.0 or HTTP/2.
    Version,
    /// The answer has no `Upgrade: websocket`.
    Upgrade,
    /// The answer has no `Connection: Upgrade`.
    Connection,
    /// `Sec-WebSocket-Accept` is missing, repeated, or not the proof for our key.
    AcceptKey,
    /// The answer names an extension that was not offered.
    UnofferedExtension,
    /// The answer has parameters of an extension that are not valid, that were not offered,
    /// or that cannot be kept to.
    ExtensionParameters,
    /// The answer names a subprotocol that was not offered, or several.
    UnofferedSubprotocol,
    /// The stream ended before the answer was complete.
    EndOfStream,
}

impl HandshakeError {
    /// The status, if the server refused.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        match self {
            HandshakeError::Refused(refusal) => Some(refusal.status),
            _ => None,
        }
    }
}

impl fmt::Display for HandshakeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            HandshakeError::Header(error) => return error.fmt(f),
            HandshakeError::Refused(refusal) => {
                write!(f, "the server refused with status {}", refusal.status)?;
                return match core::str::from_utf8(&refusal.body) {
                    Ok(text) if !text.is_empty() => write!(f, ": {}", text.trim_end()),
                    _ => Ok(()),
                };
            }
            HandshakeError::InvalidSubprotocol => {
                "an offered subprotocol is not a token or is offered twice"
            }
            HandshakeError::InvalidResponse => "the server did not answer in valid http",
            HandshakeError::NotHttp => "the server does not speak http at this address",
            HandshakeError::Tls => "the server speaks tls at this address: use wss:// for it",
            HandshakeError::TooLarge(limit) => {
                return write!(f, "the server's answer is over a limit: {limit}");
            }
            HandshakeError::Version => "the server does not speak http/1.1",
            HandshakeError::Upgrade => "the server's answer has no valid upgrade header",
            HandshakeError::Connection => "the server's answer has no valid connection header",
            HandshakeError::AcceptKey => "the server did not prove that it speaks websocket",
            HandshakeError::UnofferedExtension => "the server chose an extension not offered",
            HandshakeError::ExtensionParameters => {
                "the server chose parameters of an extension that do not fit the offer"
            }
            HandshakeError::UnofferedSubprotocol => "the server chose a subprotocol not offered",
            HandshakeError::EndOfStream => "the server closed before it answered",
        })
    }
}

impl core::error::Error for HandshakeError {}

/// Sends one request and checks the answer. What stands behind the answer in the
/// input stays there: those bytes are frames.
#[derive(Debug)]
pub struct ClientHandshake {
    accept_key: String,
    subprotocols: Vec<String>,
    deflate: Option<Deflate>,
    head: HeadReader,
    interim: u8,
    refusal: Option<Refusing>,
}

/// A refusal while its body arrives.
#[derive(Debug)]
struct Refusing {
    status: u16,
    headers: Headers,
    body: Body,
}

impl ClientHandshake {
    /// Makes the request for `uri`, with a fresh key from `random`.
    ///
    /// # Errors
    /// If the offer cannot be sent; nothing was.
    pub fn new(
        uri: &Uri,
        offer: &Offer,
        limits: HeadLimits,
        random: &mut Random,
    ) -> Result<(ClientHandshake, Bytes), HandshakeError> {
        let key = accept_key::encode_key(random.bytes());
        let request = offer.encode(uri, &key)?;
        let handshake = ClientHandshake {
            accept_key: accept_key::accept_key(key.as_bytes()),
            subprotocols: offer.subprotocols.clone(),
            deflate: offer.deflate,
            head: HeadReader::of_response(limits),
            interim: 0,
            refusal: None,
        };
        Ok((handshake, request))
    }

    /// Takes bytes from `input`; `None` while the answer is not complete.
    pub fn receive(&mut self, input: &mut &[u8]) -> Option<Result<Accepted, HandshakeError>> {
        loop {
            if self.refusal.is_some() {
                return self.receive_body(input).map(Err);
            }
            let head = match self.head.receive(input)? {
                Ok((bytes, count)) => parse_response(bytes, count),
                Err(error) => Err(error),
            };
            let head = match head {
                Ok(head) => head,
                Err(error) => return Some(Err(of_head(error))),
            };
            match head.status {
                101 => return Some(self.check(head)),
                100..=199 if self.interim < MAX_INTERIM => self.interim += 1,
                100..=199 => return Some(Err(HandshakeError::InvalidResponse)),
                _ => self.refusal = Some(Refusing::new(head)),
            }
        }
    }

    /// True once the head of a refusal has arrived; its body may still be on the way. Wait for
    /// that no longer than half a second, and call [`ClientHandshake::end_of_stream`] then.
    #[must_use]
    pub fn is_refused(&self) -> bool {
        self.refusal.is_some()
    }

    /// The stream ended, or time is up: what the handshake makes of it.
    pub fn end_of_stream(&mut self) -> HandshakeError {
        match self.refusal.take() {
            Some(refusal) => refusal.finish(),
            None => HandshakeError::EndOfStream,
        }
    }

    fn receive_body(&mut self, input: &mut &[u8]) -> Option<HandshakeError> {
        let is_enough = self.refusal.as_mut()?.body.receive(input);
        *input = &[];
        if is_enough { self.refusal.take().map(Refusing::finish) } else { None }
    }

    /// RFC 6455 section 4.1, the list of what a client must validate.
    fn check(&self, head: ResponseHead) -> Result<Accepted, HandshakeError> {
        let ResponseHead { minor, headers, .. } = head;
        if minor == 0 {
            return Err(HandshakeError::Version);
        }
        match headers.only("Upgrade") {
            Ok(Some(upgrade)) if upgrade.eq_ignore_ascii_case(b"websocket") => {}
            _ => return Err(HandshakeError::Upgrade),
        }
        if !headers.list_contains("Connection", "upgrade") {
            return Err(HandshakeError::Connection);
        }
        match headers.only("Sec-WebSocket-Accept") {
            Ok(Some(accept)) if accept == self.accept_key.as_bytes() => {}
            _ => return Err(HandshakeError::AcceptKey),
        }
        let deflate = self.check_extensions(&headers)?;
        let subprotocol = match headers.only("Sec-WebSocket-Protocol") {
            Ok(None) => None,
            Ok(Some(chosen)) => {
                let offered = self.subprotocols.iter().find(|name| name.as_bytes() == chosen);
                Some(offered.ok_or(HandshakeError::UnofferedSubprotocol)?.clone())
            }
            Err(_) => return Err(HandshakeError::UnofferedSubprotocol),
        };
        Ok(Accepted { subprotocol, headers, deflate })
    }

    /// The answer names what was offered, once and in terms that can be kept to.
    fn check_extensions(&self, headers: &Headers) -> Result<Option<Agreed>, HandshakeError> {
        let mut agreed = None;
        for line in headers.all("Sec-WebSocket-Extensions") {
            if !extensions::is_valid(line) {
                return Err(HandshakeError::UnofferedExtension);
            }
            for element in extensions::elements(line).flatten() {
                match &self.deflate {
                    Some(settings) if agreed.is_none() => {
                        agreed = Some(deflate::accept(settings, &element)?);
                    }
                    _ => return Err(HandshakeError::UnofferedExtension),
                }
            }
        }
        Ok(agreed)
    }
}

impl Refusing {
    fn new(head: ResponseHead) -> Refusing {
        let body = Body::of(&head);
        Refusing { status: head.status, headers: head.headers, body }
    }

    fn finish(self) -> HandshakeError {
        HandshakeError::Refused(Box::new(Refusal {
            status: self.status,
            headers: self.headers,
            body: Bytes::from(self.body.into_kept()),
        }))
    }
}

/// What a head that is none says about the server.
fn of_head(error: HeadError) -> HandshakeError {
    match error {
        HeadError::TooLarge(limit) => HandshakeError::TooLarge(limit),
        HeadError::NotHttp => HandshakeError::NotHttp,
        HeadError::Tls => HandshakeError::Tls,
        HeadError::Version => HandshakeError::Version,
        HeadError::EmptyLines | HeadError::BadByte | HeadError::Malformed => {
            HandshakeError::InvalidResponse
        }
    }
}
