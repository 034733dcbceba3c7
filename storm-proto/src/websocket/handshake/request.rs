//! A request to a server, checked by the rules of RFC 6455 section 4.2.1.

use alloc::string::String;
#[cfg(feature = "tls")]
use alloc::sync::Arc;
use core::net::SocketAddr;
use core::ops::Range;

use bytes::Bytes;

use super::head::{HeadError, HeadLimit, Headers, RequestHead};
use super::response::{Accept, Decision, HeaderError, Response};
use super::{accept_key, extensions, token};
use crate::websocket::WebSocket;
use crate::websocket::deflate::{self, Agreed, Deflate};

/// A request that may be accepted as a WebSocket or answered over HTTP.
#[derive(Clone, Debug)]
pub struct Request {
    method: Range<u32>,
    /// Path and query; scheme and authority of an absolute target are cut off, and what is left
    /// of that may be empty.
    resource: Range<u32>,
    headers: Headers,
    /// What to answer to the key, if this is a valid upgrade.
    accept_key: Option<String>,
    peer: Option<SocketAddr>,
    #[cfg(feature = "tls")]
    tls: Option<Arc<crate::tls::TlsFacts>>,
}

impl Request {
    /// `GET` or `HEAD`.
    #[must_use]
    pub fn method(&self) -> &str {
        self.headers.str(&self.method)
    }

    /// The path as it was sent: not decoded, without the query. Never empty.
    #[must_use]
    pub fn path(&self) -> &str {
        self.split_resource().0
    }

    /// The query as it was sent, without the question mark.
    #[must_use]
    pub fn query(&self) -> Option<&str> {
        self.split_resource().1
    }

    /// The header lines.
    #[must_use]
    pub fn headers(&self) -> &Headers {
        &self.headers
    }

    /// The value of a header, if it is there and UTF-8.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get_str(name)
    }

    /// The host, and the port if one is named, that the request is addressed to: what its absolute
    /// target names, or else its `Host` header. None in HTTP/1.0 without both.
    ///
    /// An absolute target counts alone (RFC 9112 section 3.2.2): the headers show what it names
    /// in the place of a `Host` that says something else.
    #[must_use]
    pub fn host(&self) -> Option<&str> {
        self.header("Host")
    }

    /// The `Origin` header: which site a browser acts for. Other clients send any or none.
    #[must_use]
    pub fn origin(&self) -> Option<&str> {
        self.header("Origin")
    }

    /// The address that the request came from, on a server: what is connected to it, which
    /// may be a proxy. None over a Unix socket, and for a request that was read by hand.
    /// On a dual-stack listener an IPv4 peer shows as `::ffff:a.b.c.d`.
    #[must_use]
    pub const fn peer(&self) -> Option<SocketAddr> {
        self.peer
    }

    /// The same request, known to come from there.
    pub(crate) fn with_peer(self, peer: Option<SocketAddr>) -> Request {
        Request { peer, ..self }
    }

    /// True if this is a valid WebSocket upgrade; false for a plain HTTP request.
    #[must_use]
    pub fn is_upgrade(&self) -> bool {
        self.accept_key.is_some()
    }

    /// The subprotocols that the client offers, in its order of preference.
    pub fn subprotocols(&self) -> impl Iterator<Item = &str> {
        let lines = self.headers.all("Sec-WebSocket-Protocol");
        lines.flat_map(token::list).filter_map(|name| core::str::from_utf8(name).ok())
    }

    /// What the handshake of TLS agreed on, such as the client's certificate; `None` on a plain
    /// connection.
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn tls(&self) -> Option<&crate::tls::TlsFacts> {
        self.tls.as_deref()
    }

    #[cfg(feature = "tls")]
    pub(crate) fn secured(&mut self, tls: Option<Arc<crate::tls::TlsFacts>>) {
        self.tls = tls;
    }

    /// The first subprotocol of the client's that is in `supported`.
    #[must_use]
    pub fn choose_subprotocol(&self, supported: &[impl AsRef<str>]) -> Option<&str> {
        self.subprotocols().find(|offered| supported.iter().any(|name| name.as_ref() == *offered))
    }

    /// The 101 that accepts the upgrade, or the refusal of what cannot be accepted.
    ///
    /// # Errors
    /// If a header of `accept` cannot be sent, or its subprotocol was not offered.
    pub fn accept(&self, accept: &Accept) -> Result<Bytes, AcceptError> {
        self.accept_in_terms(accept).map(|(head, _)| head)
    }

    /// What is agreed on with these settings; `None` if the client offers nothing that fits.
    /// The same that [`Request::accept`] says with [`Accept::deflate`].
    #[cfg(feature = "deflate")]
    #[cfg_attr(docsrs, doc(cfg(feature = "deflate")))]
    #[must_use]
    pub fn deflate(&self, settings: &Deflate) -> Option<Agreed> {
        self.agree(settings).map(|(agreed, _)| agreed)
    }

    /// RFC 7692 section 5: the first offer that fits.
    fn agree(&self, settings: &Deflate) -> Option<(Agreed, String)> {
        let lines = self.headers.all("Sec-WebSocket-Extensions");
        deflate::answer(settings, lines.flat_map(extensions::elements).flatten())
    }

    fn accept_in_terms(&self, accept: &Accept) -> Result<(Bytes, Option<Agreed>), AcceptError> {
        let Some(key) = &self.accept_key else { return Err(AcceptError::NoUpgrade) };
        if let Some(name) = &accept.subprotocol
            && !self.subprotocols().any(|offered| offered == name)
        {
            return Err(AcceptError::SubprotocolNotOffered);
        }
        let terms = accept.deflate.as_ref().and_then(|settings| self.agree(settings));
        let (agreed, terms) = terms.unzip();
        let head = accept.encode(key, terms.as_deref()).map_err(AcceptError::Header)?;
        Ok((head, agreed))
    }

    fn split_resource(&self) -> (&str, Option<&str>) {
        let resource = self.headers.str(&self.resource);
        let (path, query) = match resource.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (resource, None),
        };
        // An absolute target may have no path (RFC 9110 section 4.2.3).
        (if path.is_empty() { "/" } else { path }, query)
    }

    /// Checks a parsed head; refuses with the answer that says why.
    pub(crate) fn check(head: RequestHead) -> Result<Request, Response> {
        let RequestHead { method, target, minor, mut headers } = head;
        match check_rules(&method, &target, minor, &headers) {
            Ok((target, accept_key)) => {
                if let Some(authority) = target.authority {
                    headers.set_all("Host", &authority);
                }
                Ok(Request {
                    method,
                    resource: target.resource,
                    headers,
                    accept_key,
                    peer: None,
                    #[cfg(feature = "tls")]
                    tls: None,
                })
            }
            Err(refusal) => Err(refusal.answering(headers.str(&method))),
        }
    }
}

/// A request target, taken apart.
struct Target {
    /// Of the absolute form only.
    authority: Option<Range<u32>>,
    resource: Range<u32>,
}

/// Goes through the rules; returns the target, and the accept key of an upgrade.
fn check_rules(
    method: &Range<u32>,
    target: &Range<u32>,
    minor: u8,
    headers: &Headers,
) -> Result<(Target, Option<String>), Response> {
    check_method(headers.str(method), wants_websocket(headers))?;
    let target = take_apart(headers, target)?;
    check_host(headers, minor)?;
    check_single(headers)?;
    // Section 4.2.1 wants HTTP/1.1; RFC 9110 section 7.8 ignores Upgrade before it.
    if minor > 0 && wants_websocket(headers) {
        return Ok((target, Some(check_upgrade(headers)?)));
    }
    check_no_body(headers)?;
    Ok((target, None))
}

/// Why an upgrade could not be accepted as the application wanted.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum AcceptError {
    /// The request is no upgrade: answer it with a [`Response`].
    NoUpgrade,
    /// The client did not offer the subprotocol.
    SubprotocolNotOffered,
    /// A header cannot be sent.
    Header(HeaderError),
}

impl core::fmt::Display for AcceptError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            AcceptError::NoUpgrade => f.write_str("the request is no websocket upgrade"),
            AcceptError::SubprotocolNotOffered => {
                f.write_str("the client did not offer the subprotocol")
            }
            AcceptError::Header(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for AcceptError {}

/// The answer to a head that could not even be parsed.
pub(crate) fn refuse_head(error: HeadError) -> Response {
    match error {
        HeadError::TooLarge(limit) => {
            let status = if let HeadLimit::StartLine(_) = limit { 414 } else { 431 };
            Response::refusal(status, alloc::format!("{limit}\n"))
        }
        HeadError::EmptyLines => {
            Response::refusal(400, "too many empty lines before the request line\n")
        }
        HeadError::BadByte => {
            Response::refusal(400, "a byte that may not stand in an http head; is this tls?\n")
        }
        HeadError::Malformed | HeadError::NotHttp | HeadError::Tls => {
            Response::refusal(400, "the request is malformed\n")
        }
        HeadError::Version => Response::refusal(505, "only http/1.1 is spoken here\n"),
    }
}

/// The answer to a request that is no upgrade and that the application does not serve.
pub(crate) fn upgrade_required() -> Response {
    Response::refusal(426, "this is a websocket server\n").header("Upgrade", "websocket")
}

/// The answer to plain HTTP on a port of TLS.
#[cfg(feature = "tls")]
pub(crate) fn speak_tls() -> Response {
    Response::refusal(400, "this port speaks https and wss, not plain http\n")
}

/// True for a request that means to be an upgrade, whether or not it is a valid one.
fn wants_websocket(headers: &Headers) -> bool {
    headers.list_contains("Upgrade", "websocket") || headers.get("Sec-WebSocket-Key").is_some()
}

fn check_method(method: &str, upgrade: bool) -> Result<(), Response> {
    const KNOWN: [&str; 9] =
        ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"];
    match (method, upgrade) {
        ("GET", _) | ("HEAD", false) => Ok(()),
        _ if KNOWN.iter().any(|known| known.eq_ignore_ascii_case(method)) => {
            Err(Response::refusal(405, "the method must be get\n").header("Allow", "GET"))
        }
        _ => Err(Response::refusal(501, "the method is unknown\n")),
    }
}

/// Section 3: the target in origin form or in absolute form (RFC 9112 section 3.2).
fn take_apart(headers: &Headers, target: &Range<u32>) -> Result<Target, Response> {
    let bytes = headers.slice(target);
    let bad = || Response::refusal(400, "the request target is neither a path nor a uri\n");
    if bytes.contains(&b'#') || !bytes.iter().all(u8::is_ascii_graphic) {
        return Err(bad());
    }
    if bytes.starts_with(b"/") {
        return Ok(Target { authority: None, resource: target.clone() });
    }
    let start = [&b"http://"[..], b"https://", b"ws://", b"wss://"]
        .into_iter()
        .find(|scheme| bytes.get(..scheme.len()).is_some_and(|s| s.eq_ignore_ascii_case(scheme)))
        .ok_or_else(bad)?
        .len();
    let len = bytes[start..].iter().position(|byte| b"/?".contains(byte));
    let end = len.map_or(bytes.len(), |len| start + len);
    if !is_host(&bytes[start..end]) {
        return Err(bad());
    }
    let at = |offset: usize| target.start + offset as u32;
    Ok(Target { authority: Some(at(start)..at(end)), resource: at(end)..target.end })
}

/// RFC 9110 section 5.3: fields that name one thing stand there once. Of two, this server and a
/// proxy before it, or the application behind it, might believe different ones.
fn check_single(headers: &Headers) -> Result<(), Response> {
    const SINGLE: [&str; 4] =
        ["origin", "authorization", "sec-websocket-key", "sec-websocket-version"];
    match SINGLE.into_iter().find(|name| headers.only(name).is_err()) {
        Some(name) => Err(Response::refusal(400, alloc::format!("more than one {name} header\n"))),
        None => Ok(()),
    }
}

/// RFC 9112 section 3.2: exactly one valid Host in HTTP/1.1.
fn check_host(headers: &Headers, minor: u8) -> Result<(), Response> {
    let bad = Response::refusal(400, "exactly one valid host header is required\n");
    match headers.only("Host") {
        Ok(Some(host)) if is_host(host) => Ok(()),
        Ok(None) if minor == 0 => Ok(()),
        _ => Err(bad),
    }
}

/// A host name or address with an optional port (RFC 3986 section 3.2.2), not empty.
pub(crate) fn is_host(value: &[u8]) -> bool {
    if let Some(rest) = value.strip_prefix(b"[") {
        let Some(end) = rest.iter().position(|&byte| byte == b']') else { return false };
        let address = core::str::from_utf8(&rest[..end]).ok();
        let address = address.and_then(|text| text.parse::<core::net::Ipv6Addr>().ok());
        return address.is_some() && is_port(&rest[end + 1..]);
    }
    let end = value.iter().position(|&byte| byte == b':').unwrap_or(value.len());
    let (host, port) = value.split_at(end);
    let is_host_char =
        |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+;=".contains(byte);
    !host.is_empty() && host.iter().all(is_host_char) && is_port(port)
}

/// Nothing, or a colon and a number of a port.
fn is_port(port: &[u8]) -> bool {
    match port {
        [] | [b':'] => true,
        [b':', digits @ ..] => {
            let number =
                core::str::from_utf8(digits).ok().and_then(|text| text.parse::<u16>().ok());
            number.is_some() && digits.iter().all(u8::is_ascii_digit)
        }
        _ => false,
    }
}

/// Section 4.2.1, points 3 to 9; returns the accept key.
fn check_upgrade(headers: &Headers) -> Result<String, Response> {
    let bad = |problem| Err(Response::refusal(400, problem));
    if !headers.list_contains("Upgrade", "websocket") {
        return match headers.get("Upgrade") {
            None | Some([_, ..]) => Err(upgrade_required()),
            Some([]) => bad("the upgrade header is empty\n"),
        };
    }
    if !headers.list_contains("Connection", "upgrade") {
        return bad("the connection header does not contain upgrade\n");
    }
    check_no_body(headers)?;
    if headers.get("Expect").is_some() {
        return Err(Response::refusal(417, "an upgrade cannot wait for 100-continue\n"));
    }
    match headers.only("Sec-WebSocket-Version") {
        Ok(Some(b"13")) => {}
        _ => {
            return Err(Response::refusal(426, "only websocket version 13 is spoken here\n")
                .header("Sec-WebSocket-Version", "13")
                .header("Upgrade", "websocket"));
        }
    }
    let protocols = headers.all("Sec-WebSocket-Protocol");
    for value in protocols {
        let mut names = token::list(value);
        if token::list(value).next().is_none() || !names.all(token::is_token) {
            return bad("a subprotocol is not a token\n");
        }
    }
    if !headers.all("Sec-WebSocket-Extensions").all(extensions::is_valid) {
        return bad("the sec-websocket-extensions header is malformed\n");
    }
    match headers.only("Sec-WebSocket-Key") {
        Ok(Some(key)) if accept_key::is_key(key) => Ok(accept_key::accept_key(key)),
        Ok(Some(_)) => bad("the sec-websocket-key is not 16 bytes in base64\n"),
        _ => bad("the sec-websocket-key is missing\n"),
    }
}

/// No request with a body is served here, so none can smuggle a second request.
fn check_no_body(headers: &Headers) -> Result<(), Response> {
    // A list of lengths is not read as one here: what stood before this server may read another.
    let is_empty = match headers.only("Content-Length") {
        Ok(length) => length.is_none_or(|length| length == b"0"),
        Err(_) => false,
    };
    if is_empty && headers.get("Transfer-Encoding").is_none() {
        return Ok(());
    }
    Err(Response::refusal(400, "a request with a body is not taken here\n"))
}

/// The bytes that carry out a decision: a 101, or an answer behind which the connection
/// closes. A decision that cannot be carried out becomes a 500; the error says why.
pub(crate) struct Answer {
    pub(crate) head: Bytes,
    pub(crate) body: Bytes,
    pub(crate) status: u16,
    /// What goes with the 101; `None` for an answer that closes.
    pub(crate) accepted: Option<Accept>,
    /// What the 101 says of compression.
    pub(crate) deflate: Option<Agreed>,
    pub(crate) error: Option<AcceptError>,
}

impl Request {
    /// Carries out `decision`, with the extensions that are set for all connections.
    pub(crate) fn answer(&self, decision: Decision, websocket: &WebSocket) -> Answer {
        let mut accept = match decision {
            Decision::Respond(response) => return Answer::closing(&response, self.method()),
            Decision::Accept(accept) => accept,
        };
        accept.deflate = accept.deflate.or(websocket.deflate);
        if accept.subprotocol.is_none() {
            let chosen = self.choose_subprotocol(&websocket.subprotocols);
            accept.subprotocol = chosen.map(String::from);
        }
        match self.accept_in_terms(&accept) {
            Ok((head, deflate)) => {
                let (body, accepted) = (Bytes::new(), Some(accept));
                Answer { head, body, status: 101, accepted, deflate, error: None }
            }
            Err(AcceptError::NoUpgrade) => Answer::closing(&upgrade_required(), self.method()),
            Err(error) => Answer::failed(error, self.method()),
        }
    }
}

impl Answer {
    /// An answer behind which the connection closes.
    pub(crate) fn closing(response: &Response, method: &str) -> Answer {
        match response.encode(method == "HEAD") {
            Ok((head, body)) => {
                let status = response.status();
                Answer { head, body, status, accepted: None, deflate: None, error: None }
            }
            Err(error) => Answer::failed(AcceptError::Header(error), method),
        }
    }

    fn failed(error: AcceptError, method: &str) -> Answer {
        let response = Response::refusal(500, "the server could not answer\n");
        let (head, body) = response.encode(method == "HEAD").unwrap_or_default();
        let status = response.status();
        Answer { head, body, status, accepted: None, deflate: None, error: Some(error) }
    }
}
