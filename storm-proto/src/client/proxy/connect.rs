//! A tunnel by HTTP CONNECT (RFC 9110 section 9.3.6).

use alloc::string::String;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;

use super::tunnel::{Endpoint, Progress};
use super::{Credentials, ProxyError};
use crate::websocket::handshake::HeadLimits;
use crate::websocket::handshake::head::{HeadError, HeadReader, parse_response};

/// How many interim answers (1xx) are skipped before the proxy is given up.
const MAX_INTERIM: u8 = 8;

/// Waits for the answer to a CONNECT.
#[derive(Debug)]
pub(super) struct Connect {
    head: HeadReader,
    interim: u8,
}

/// The request for a tunnel to `target`.
pub(super) fn request(target: &Endpoint<'_>, credentials: Option<&Credentials>) -> Bytes {
    let login = credentials.map(basic).unwrap_or_default();
    Bytes::from(alloc::format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n{login}\r\n"))
}

/// RFC 7617 section 2, for a proxy (RFC 9110 section 11.7.2).
fn basic(credentials: &Credentials) -> String {
    let pair = [&credentials.user[..], &credentials.password].join(&b':');
    alloc::format!("Proxy-Authorization: Basic {}\r\n", STANDARD.encode(pair))
}

impl Connect {
    pub(super) fn new() -> Connect {
        Connect { head: HeadReader::of_response(HeadLimits::new()), interim: 0 }
    }

    /// Takes bytes up to the end of the head. A tunnel starts right behind it, whatever
    /// lengths it names.
    pub(super) fn receive(&mut self, input: &mut &[u8]) -> Result<Progress, ProxyError> {
        while let Some(head) = self.head.receive(input) {
            let head = head.and_then(|(bytes, count)| parse_response(bytes, count));
            match head.map_err(of_head)?.status {
                200..=299 => return Ok(Progress::Open),
                // 101 switches to what nobody asked for.
                status @ (100 | 102..=199) => self.skip(status)?,
                status => return Err(ProxyError::Refused { status }),
            }
        }
        Ok(Progress::More)
    }

    fn skip(&mut self, status: u16) -> Result<(), ProxyError> {
        if self.interim == MAX_INTERIM {
            return Err(ProxyError::Refused { status });
        }
        self.interim += 1;
        Ok(())
    }
}

fn of_head(error: HeadError) -> ProxyError {
    match error {
        HeadError::TooLarge(limit) => ProxyError::TooLarge(limit),
        _ => ProxyError::InvalidResponse,
    }
}

#[cfg(test)]
mod tests {
    use super::super::tunnel::tests::{first, play};
    use super::*;
    use crate::websocket::handshake::HeadLimit;
    use alloc::vec::Vec;

    fn answered(answer: &str) -> Result<Vec<u8>, ProxyError> {
        let (sent, left) = play("http://p:1", "h", answer.as_bytes())?;
        assert!(sent.is_empty());
        Ok(left)
    }

    #[test]
    fn the_request_names_host_and_port_twice() {
        for (host, authority) in
            [("h.example", "h.example:443"), ("192.0.2.1", "192.0.2.1:443"), ("::1", "[::1]:443")]
        {
            let request =
                alloc::format!("CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n\r\n");
            assert_eq!(first("http://p:1", host, 443), request.as_bytes());
        }
    }

    #[test]
    fn credentials_are_sent_in_basic_form() {
        // The example of RFC 7617 section 2.
        let request = first("http://Aladdin:open%20sesame@p:1", "h", 80);
        let expected = "CONNECT h:80 HTTP/1.1\r\nHost: h:80\r\n\
             Proxy-Authorization: Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==\r\n\r\n";
        assert_eq!(request, expected.as_bytes());
    }

    #[test]
    fn any_2xx_opens_the_tunnel_and_what_is_behind_it_is_the_servers() {
        for head in [
            "HTTP/1.1 200 OK\r\n\r\n",
            "HTTP/1.0 200 Connection established\r\n\r\n",
            "HTTP/1.1 299 \r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 x\r\n\r\n",
        ] {
            assert_eq!(answered(head).unwrap(), b"", "{head}");
            let left = answered(&[head, "\r\nabc"].concat());
            assert_eq!(left.unwrap(), b"\r\nabc", "{head}");
        }
    }

    #[test]
    fn any_other_status_is_a_refusal() {
        for status in [101, 300, 302, 403, 407, 502, 599] {
            let head = alloc::format!("HTTP/1.1 {status} x\r\nContent-Length: 2\r\n\r\nno");
            assert_eq!(answered(&head), Err(ProxyError::Refused { status }));
        }
    }

    #[test]
    fn interim_answers_do_not_go_on_for_ever() {
        let interim = "HTTP/1.1 100 x\r\n\r\n";
        let open = "HTTP/1.1 200 x\r\n\r\n";
        assert!(answered(&[&interim.repeat(8), open].concat()).is_ok());
        let refused = answered(&[&interim.repeat(9), open].concat());
        assert_eq!(refused, Err(ProxyError::Refused { status: 100 }));
    }

    #[test]
    fn what_does_not_answer_in_http_is_no_proxy() {
        for answer in ["SSH-2.0-x\r\n\r\n", "\x05\x02", "HTTP/2 200 x\r\n\r\n", "HTTP/1.1 200 x\n"]
        {
            assert_eq!(answered(answer), Err(ProxyError::InvalidResponse), "{answer}");
        }
    }

    #[test]
    fn a_head_without_end_is_cut_off() {
        let mut connect = Connect::new();
        let lines = "x: y\r\n".repeat(10_000);
        assert_eq!(connect.receive(&mut &b"HTTP/1.1 200 x\r\n"[..]), Ok(Progress::More));
        let mut input = lines.as_bytes();
        let over = ProxyError::TooLarge(HeadLimit::Headers(100));
        assert_eq!(connect.receive(&mut input), Err(over));
    }

    #[test]
    fn an_end_within_the_head_is_told() {
        for cut in ["", "HTTP/1.1 200 OK\r\n", "HTTP/1.1 100 x\r\n\r\n"] {
            assert_eq!(answered(cut), Err(ProxyError::EndOfStream), "{cut}");
        }
    }
}
