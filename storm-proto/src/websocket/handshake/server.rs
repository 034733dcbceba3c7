//! The server's side of the opening handshake.

use super::head::{HeadLimits, HeadReader, parse_request};
use super::request::{Request, refuse_head, upgrade_required};
use super::response::Response;

/// Reads one request. What stands behind it in the input stays there: those bytes are
/// frames, and belong to the receiver once the request is accepted.
#[derive(Debug)]
pub struct ServerHandshake {
    head: HeadReader,
}

impl ServerHandshake {
    /// A handshake that reads at most what `limits` allow.
    #[must_use]
    pub fn new(limits: HeadLimits) -> ServerHandshake {
        ServerHandshake { head: HeadReader::of_request(limits) }
    }

    /// Takes bytes from `input`; `None` while the request is not complete.
    ///
    /// A request that may be decided on comes as `Ok`. One that broke a rule comes as
    /// the answer that refuses it; after that answer the connection must be closed and
    /// nothing of it read as a request again.
    pub fn receive(&mut self, input: &mut &[u8]) -> Option<Result<Request, Response>> {
        let head = self.head.receive(input)?;
        Some(
            head.and_then(|(bytes, headers)| parse_request(bytes, headers))
                .map_err(refuse_head)
                .and_then(Request::check),
        )
    }

    /// True once a byte of the request has arrived.
    #[must_use]
    pub fn has_started(&self) -> bool {
        self.head.has_started()
    }

    /// The answer to a valid request that is no upgrade and that nobody serves: 426.
    pub fn upgrade_required() -> Response {
        upgrade_required()
    }
}
