//! Answers of a server: what refuses an upgrade, what accepts one, a small page.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use bytes::Bytes;

use super::token;
use crate::connection::options::Overrides;
use crate::extensions::Extensions;
use crate::websocket::Limits;
use crate::websocket::deflate::Deflate;

/// A header that cannot be sent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HeaderError {
    name: String,
    problem: &'static str,
}

impl fmt::Display for HeaderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "header {:?} {}", self.name, self.problem)
    }
}

impl core::error::Error for HeaderError {}

/// Header lines of the application's own. Checked when they are added, so that no CR,
/// LF or NUL can reach the wire; told when the message is made.
#[derive(Clone, Default, Debug)]
pub(crate) struct HeaderList {
    lines: Vec<(String, String)>,
    error: Option<HeaderError>,
}

impl HeaderList {
    pub(crate) fn push(&mut self, name: String, value: String, reserved: &[&str]) {
        let problem = if !token::is_token(name.as_bytes()) {
            "has a name that is no token"
        } else if !token::is_field_value(value.as_bytes()) {
            "has a value with control characters"
        } else if is_reserved(&name, reserved) {
            "is set by the handshake itself"
        } else {
            return self.lines.push((name, value));
        };
        self.error.get_or_insert(HeaderError { name, problem });
    }

    fn extend(&mut self, more: HeaderList) {
        self.lines.extend(more.lines);
        self.error = self.error.take().or(more.error);
    }

    pub(crate) fn contains(&self, name: &str) -> bool {
        self.lines.iter().any(|(found, _)| found.eq_ignore_ascii_case(name))
    }

    pub(crate) fn write(&self, out: &mut String) -> Result<(), HeaderError> {
        if let Some(error) = &self.error {
            return Err(error.clone());
        }
        for (name, value) in &self.lines {
            for part in [name, ": ", value, "\r\n"] {
                out.push_str(part);
            }
        }
        Ok(())
    }
}

fn is_reserved(name: &str, reserved: &[&str]) -> bool {
    reserved.iter().any(|reserved| match reserved.strip_suffix('*') {
        Some(prefix) => {
            name.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
        }
        None => name.eq_ignore_ascii_case(reserved),
    })
}

/// An HTTP answer that is no WebSocket: a refusal, a page, a health check. The
/// connection closes behind it.
#[derive(Clone, Debug)]
#[must_use]
pub struct Response {
    status: u16,
    headers: HeaderList,
    body: Bytes,
    /// It answers a HEAD request.
    head_only: bool,
}

impl Response {
    /// An answer with this status, at least 200, and an empty body.
    pub fn new(status: u16) -> Response {
        let status = if (200..1000).contains(&status) { status } else { 500 };
        let (headers, body) = (HeaderList::default(), Bytes::new());
        Response { status, headers, body, head_only: false }
    }

    /// A page: status 200, `text/html`.
    pub fn html(page: impl Into<Bytes>) -> Response {
        Response::new(200).header("Content-Type", "text/html; charset=utf-8").body(page)
    }

    /// Adds a header. `Content-Length`, `Connection` and `Transfer-Encoding` are
    /// the library's; one that cannot be sent turns the answer into a 500.
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Response {
        const RESERVED: [&str; 3] = ["Content-Length", "Connection", "Transfer-Encoding"];
        self.headers.push(name.into(), value.into(), &RESERVED);
        self
    }

    /// Sets the body; `text/plain` unless a `Content-Type` is given.
    pub fn body(mut self, body: impl Into<Bytes>) -> Response {
        self.body = body.into();
        self
    }

    /// The status code.
    #[must_use]
    pub const fn status(&self) -> u16 {
        self.status
    }

    /// A refusal that says what is wrong.
    pub(crate) fn refusal(status: u16, problem: impl Into<Bytes>) -> Response {
        Response::new(status).body(problem)
    }

    /// As it is, for a request with this method.
    pub(crate) fn answering(self, method: &str) -> Response {
        Response { head_only: method == "HEAD", ..self }
    }

    /// Head and body as they go on the wire; `head_only` for a HEAD request.
    ///
    /// # Errors
    /// If a header cannot be sent.
    pub fn encode(&self, head_only: bool) -> Result<(Bytes, Bytes), HeaderError> {
        let mut head = status_line(self.status);
        self.headers.write(&mut head)?;
        if !self.body.is_empty() && !self.headers.contains("Content-Type") {
            head.push_str("Content-Type: text/plain; charset=utf-8\r\n");
        }
        // RFC 9110 section 15.5.22: a 426 offers the upgrade in its Connection header.
        let connection = if self.status == 426 { "close, Upgrade" } else { "close" };
        head.push_str(&alloc::format!(
            "Content-Length: {}\r\nConnection: {connection}\r\n\r\n",
            self.body.len()
        ));
        let body = if head_only || self.head_only { Bytes::new() } else { self.body.clone() };
        Ok((Bytes::from(head), body))
    }
}

/// How an upgrade is accepted: the subprotocol and headers of the 101.
#[derive(Default, Debug)]
#[must_use]
pub struct Accept {
    pub(crate) subprotocol: Option<String>,
    pub(crate) attached: Extensions,
    pub(crate) deflate: Option<Deflate>,
    /// Boxed, as they are rare.
    pub(crate) overrides: Option<Box<Overrides>>,
    pub(crate) limits: Option<Box<Limits>>,
    headers: HeaderList,
}

impl Accept {
    /// An acceptance without a subprotocol.
    pub fn new() -> Accept {
        Accept::default()
    }

    /// Agrees on a subprotocol. It must be one that the client offered.
    pub fn subprotocol(mut self, name: impl Into<String>) -> Accept {
        self.subprotocol = Some(name.into());
        self
    }

    /// Compresses messages on this connection, if the client offers that in terms that fit
    /// (RFC 7692); in place of what is set for all connections.
    #[cfg(feature = "deflate")]
    #[cfg_attr(docsrs, doc(cfg(feature = "deflate")))]
    pub fn deflate(mut self, settings: Deflate) -> Accept {
        self.deflate = Some(settings);
        self
    }

    /// Sets what differs for this connection.
    pub fn overrides(mut self, overrides: Overrides) -> Accept {
        self.overrides = Some(Box::new(overrides));
        self
    }

    /// Sets how much one message of this peer may cost, in place of what is set for all
    /// connections. It cannot be changed while the connection is open.
    pub fn limits(mut self, limits: Limits) -> Accept {
        self.limits = Some(Box::new(limits));
        self
    }

    /// Adds a header to the 101, such as a cookie. Those of the handshake itself are the
    /// library's; one that cannot be sent turns the answer into a 500.
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Accept {
        const RESERVED: [&str; 5] =
            ["Upgrade", "Connection", "Sec-WebSocket-*", "Content-Length", "Transfer-Encoding"];
        self.headers.push(name.into(), value.into(), &RESERVED);
        self
    }

    /// Attaches a value to the session, such as who the user is. One of each type.
    pub fn attach<T: core::any::Any + Send + Sync>(mut self, value: T) -> Accept {
        self.attached.insert(value);
        self
    }

    /// Both of them: where they say something about the same, the later one counts.
    pub(crate) fn and(mut self, later: Accept) -> Accept {
        self.subprotocol = later.subprotocol.or(self.subprotocol);
        self.attached.extend(later.attached);
        self.deflate = later.deflate.or(self.deflate);
        self.overrides = match (self.overrides, later.overrides) {
            (Some(first), Some(later)) => Some(Box::new(first.and(&later))),
            (first, later) => later.or(first),
        };
        self.limits = later.limits.or(self.limits);
        self.headers.extend(later.headers);
        self
    }

    /// The 101 for a request with this accept key (RFC 6455 section 4.2.2).
    pub(crate) fn encode(
        &self,
        accept_key: &str,
        extension: Option<&str>,
    ) -> Result<Bytes, HeaderError> {
        let mut head = status_line(101);
        head.push_str("Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ");
        head.push_str(accept_key);
        head.push_str("\r\n");
        let lines = [
            ("Sec-WebSocket-Protocol: ", self.subprotocol.as_deref()),
            ("Sec-WebSocket-Extensions: ", extension),
        ];
        for (name, value) in lines {
            if let Some(value) = value {
                [name, value, "\r\n"].iter().for_each(|part| head.push_str(part));
            }
        }
        self.headers.write(&mut head)?;
        head.push_str("\r\n");
        Ok(Bytes::from(head))
    }
}

/// What to do with a request.
#[derive(Debug)]
#[must_use]
pub enum Decision {
    /// Open a WebSocket. On a request that is no upgrade this means 426.
    Accept(Accept),
    /// Answer over HTTP and close.
    Respond(Response),
}

impl Decision {
    /// Opens a WebSocket; the same as [`Accept::new`].
    pub fn accept() -> Accept {
        Accept::new()
    }

    /// Refuses, or answers a request that is no upgrade; the same as [`Response::new`].
    pub fn respond(status: u16) -> Response {
        Response::new(status)
    }
}

/// What a closure that decides on a request may return: an [`Accept`], a [`Response`], a
/// [`Decision`], or a `Result` of two of these, such as `Result<Accept, Response>`.
///
/// ```
/// use storm_proto::service::Callbacks;
/// use storm_proto::websocket::handshake::{Accept, Request, Response};
///
/// fn user(request: &Request) -> Result<u64, Response> {
///     let name = request.header("x-user").ok_or(Response::new(401))?;
///     name.parse().map_err(|_| Response::new(403))
/// }
///
/// let callbacks = Callbacks::new().on_connecting(|request| {
///     let user = user(request)?;
///     Ok::<_, Response>(Accept::new().attach(user))
/// });
/// # drop(callbacks);
/// ```
#[diagnostic::on_unimplemented(
    message = "a closure that decides on a request cannot return `{Self}`",
    label = "this closure returns `{Self}`",
    note = "return an `Accept`, a `Response`, a `Decision`, or a `Result<Accept, Response>`",
    note = "a future is polled by nothing here: use \
            `.on_connecting_async(|request| async move {{ .. }})`"
)]
pub trait IntoDecision {
    /// The decision.
    fn into_decision(self) -> Decision;
}

impl IntoDecision for Decision {
    fn into_decision(self) -> Decision {
        self
    }
}

impl IntoDecision for Accept {
    fn into_decision(self) -> Decision {
        Decision::Accept(self)
    }
}

impl IntoDecision for Response {
    fn into_decision(self) -> Decision {
        Decision::Respond(self)
    }
}

impl<A: IntoDecision, B: IntoDecision> IntoDecision for Result<A, B> {
    fn into_decision(self) -> Decision {
        match self {
            Ok(decision) => decision.into_decision(),
            Err(decision) => decision.into_decision(),
        }
    }
}

impl<A: IntoDecision, B: IntoDecision> From<Result<A, B>> for Decision {
    fn from(decision: Result<A, B>) -> Decision {
        decision.into_decision()
    }
}

impl From<Accept> for Decision {
    fn from(accept: Accept) -> Decision {
        Decision::Accept(accept)
    }
}

impl From<Response> for Decision {
    fn from(response: Response) -> Decision {
        Decision::Respond(response)
    }
}

fn status_line(status: u16) -> String {
    alloc::format!("HTTP/1.1 {status} {}\r\n", phrase(status))
}

fn phrase(status: u16) -> &'static str {
    match status {
        101 => "Switching Protocols",
        200 => "OK",
        204 => "No Content",
        301 => "Moved Permanently",
        302 => "Found",
        303 => "See Other",
        304 => "Not Modified",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        409 => "Conflict",
        410 => "Gone",
        414 => "URI Too Long",
        417 => "Expectation Failed",
        421 => "Misdirected Request",
        426 => "Upgrade Required",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        _ => match status / 100 {
            2 => "OK",
            3 => "Redirect",
            4 => "Client Error",
            _ => "Error",
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_has_a_length_a_type_and_an_end() {
        let (head, body) = Response::new(403).body("no").encode(false).unwrap();
        assert_eq!(
            head,
            "HTTP/1.1 403 Forbidden\r\nContent-Type: text/plain; charset=utf-8\r\n\
             Content-Length: 2\r\nConnection: close\r\n\r\n"
        );
        assert_eq!(body, "no");
        let (head, body) = Response::html("<p>").encode(true).unwrap();
        assert!(head.ends_with(b"Content-Length: 3\r\nConnection: close\r\n\r\n"));
        assert!(body.is_empty(), "a HEAD request gets no body");
    }

    #[test]
    fn headers_that_would_split_the_message_never_reach_the_wire() {
        for (name, value) in [("a", "b\r\nc: d"), ("a", "b\0"), ("a b", "c"), ("", "c"), ("ä", "c")]
        {
            assert!(Response::new(200).header(name, value).encode(false).is_err());
            assert!(Accept::new().header(name, value).encode("key", None).is_err());
        }
    }

    #[test]
    fn headers_of_the_handshake_are_not_the_applications() {
        for name in ["upgrade", "CONNECTION", "Sec-WebSocket-Accept", "sec-websocket-extensions"] {
            let error = Accept::new().header(name, "x").encode("key", None).unwrap_err();
            assert_eq!(
                alloc::format!("{error}"),
                alloc::format!("header {name:?} is set by the handshake itself")
            );
        }
        assert!(Accept::new().header("Set-Cookie", "a=b").encode("key", None).is_ok());
        assert!(Response::new(200).header("content-length", "1").encode(false).is_err());
    }

    #[test]
    fn an_acceptance_is_the_101_of_the_rfc() {
        let head =
            Accept::new().subprotocol("chat").encode("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", None).unwrap();
        assert_eq!(
            head,
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\
             Sec-WebSocket-Protocol: chat\r\n\r\n"
        );
    }
}
