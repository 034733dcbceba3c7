//! A handshake inside of somebody else's HTTP: requests that a web framework has read, answers
//! that it will write.

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::head::{HeadError, HeadLimits};
use super::request::{AcceptError, Request, refuse_head};
use super::response::{Accept, Response};
use super::server::ServerHandshake;
use super::token;

impl Request {
    /// An HTTP/1.1 request that somebody else has read, checked by the rules of RFC 6455
    /// section 4.2.1 as if it had come over the wire, under the default [`HeadLimits`].
    ///
    /// ```
    /// use storm_proto::websocket::handshake::{Accept, Request};
    ///
    /// let headers = [
    ///     ("host", "server.example"),
    ///     ("connection", "Upgrade"),
    ///     ("upgrade", "websocket"),
    ///     ("sec-websocket-version", "13"),
    ///     ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
    /// ];
    /// let request = Request::from_parts("GET", "/chat", headers).unwrap();
    /// let answer = request.accept_headers(&Accept::new()).unwrap();
    /// assert!(answer.iter().any(|(_, value)| value == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    /// ```
    ///
    /// # Errors
    /// The answer that refuses a request which breaks a rule.
    pub fn from_parts<N: AsRef<[u8]>, V: AsRef<[u8]>>(
        method: &str,
        target: &str,
        headers: impl IntoIterator<Item = (N, V)>,
    ) -> Result<Request, Response> {
        let mut head = Vec::new();
        // A blank or a line end in one part must not make two of it.
        let mut whole = token::is_token(method.as_bytes()) && !target.contains([' ', '\r', '\n']);
        for part in [method, " ", target, " HTTP/1.1\r\n"] {
            head.extend_from_slice(part.as_bytes());
        }
        for (name, value) in headers {
            let (name, value) = (name.as_ref(), value.as_ref());
            whole &= token::is_token(name) && token::is_field_value(value);
            for part in [name, b": ", value, b"\r\n"] {
                head.extend_from_slice(part);
            }
        }
        head.extend_from_slice(b"\r\n");
        let malformed = || refuse_head(HeadError::Malformed);
        if !whole {
            return Err(malformed());
        }
        let mut handshake = ServerHandshake::new(HeadLimits::default());
        handshake.receive(&mut &head[..]).unwrap_or_else(|| Err(malformed()))
    }

    /// The header lines of the 101 that accepts the upgrade, for those who write it by other
    /// means than [`Request::accept`].
    ///
    /// # Errors
    /// As [`Request::accept`].
    pub fn accept_headers(&self, accept: &Accept) -> Result<Vec<(String, String)>, AcceptError> {
        let head = self.accept(accept)?;
        let lines = core::str::from_utf8(&head).unwrap_or_default().lines();
        let pairs = lines.filter_map(|line| line.split_once(": "));
        Ok(pairs.map(|(name, value)| (name.to_string(), value.to_string())).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UPGRADE: [(&str, &str); 5] = [
        ("Host", "a"),
        ("Upgrade", "websocket"),
        ("Connection", "keep-alive, Upgrade"),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];

    #[test]
    fn parts_are_a_request_like_any_other_and_their_answer_is_that_of_the_wire() {
        let request = Request::from_parts("GET", "/chat?room=7", UPGRADE).unwrap();
        assert!(request.is_upgrade());
        assert_eq!((request.path(), request.query()), ("/chat", Some("room=7")));
        let accept = Accept::new().header("X-Note", "a: b");
        let lines = request.accept_headers(&accept).unwrap();
        let lines = lines.iter().map(|(name, value)| alloc::format!("{name}: {value}\r\n"));
        let head = ["HTTP/1.1 101 Switching Protocols\r\n", &lines.collect::<String>(), "\r\n"];
        assert_eq!(head.concat().as_bytes(), request.accept(&accept).unwrap());
    }

    #[test]
    fn parts_obey_the_rules_of_the_wire_and_no_part_is_two() {
        let status = |method, target, extra: (&str, &str)| {
            let headers = UPGRADE.into_iter().chain([extra]);
            Request::from_parts(method, target, headers).map_err(|refusal| refusal.status()).err()
        };
        let harmless = ("X", "y");
        assert_eq!(status("GET", "/", harmless), None);
        assert_eq!(status("POST", "/", harmless), Some(405));
        assert_eq!(status("GET", "/", ("Host", "b")), Some(400));
        assert_eq!(status("GET", "/", ("X", "y\r\nOrigin: z")), Some(400));
        assert_eq!(status("GET", "/", ("X\r\nY", "z")), Some(400));
        assert_eq!(status("GET", "/ HTTP/1.1\r\nX: y\r\n\r\n", harmless), Some(400));
        assert_eq!(status("GET / HTTP/1.1\r\n\r\n", "/", harmless), Some(400));
        assert_eq!(status("GET", "/", ("X", &"y".repeat(20_000))), Some(431));
    }

    #[test]
    fn an_absolute_target_counts_and_the_host_header_does_not() {
        for (target, host, path, query) in [
            ("http://b", "b", "/", None),
            ("http://b?x", "b", "/", Some("x")),
            ("http://b?", "b", "/", Some("")),
            ("HTTP://B.example:81/p?q", "B.example:81", "/p", Some("q")),
            ("ws://b//p?q?r", "b", "//p", Some("q?r")),
            ("wss://[::1]:9/", "[::1]:9", "/", None),
            ("https://b/?http://c/d", "b", "/", Some("http://c/d")),
            ("/http://c/?q", "a", "/http://c/", Some("q")),
        ] {
            let request = Request::from_parts("GET", target, UPGRADE).unwrap();
            assert_eq!((request.path(), request.query()), (path, query), "{target}");
            assert_eq!(request.host(), Some(host), "{target}");
            assert_eq!(request.headers().get_str("host"), Some(host), "{target}");
            let lines: Vec<_> = request.headers().iter().filter(|line| line.0 == "Host").collect();
            assert_eq!(lines, [("Host", host.as_bytes())], "{target}");
        }
        for target in [
            "http://",
            "http:///p",
            "http://?x",
            "http://u@b/",
            "http://b:x",
            "http://b#",
            "ftp://b/",
            "b:80",
            "*",
            "http:b",
            "http://b/\u{fc}",
        ] {
            let refused = Request::from_parts("GET", target, UPGRADE).map_err(|r| r.status());
            assert_eq!(refused.err(), Some(400), "{target}");
        }
    }

    #[test]
    fn headers_that_name_one_thing_stand_there_once() {
        for (name, value) in [
            ("Origin", "http://a"),
            ("authorization", "Bearer x"),
            ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
            ("SEC-WEBSOCKET-VERSION", "13"),
            ("Host", "a"),
        ] {
            for headers in [&UPGRADE[..], &UPGRADE[..1]] {
                let twice = headers.iter().copied().chain([(name, value), (name, value)]);
                let refused = Request::from_parts("GET", "/", twice).map_err(|r| r.status());
                assert_eq!(refused.err(), Some(400), "{name}");
            }
        }
        let lists = [("Upgrade", "h2c"), ("Connection", "x"), ("Cookie", "a=1"), ("cookie", "b=2")];
        assert!(Request::from_parts("GET", "/", UPGRADE.into_iter().chain(lists)).is_ok());
    }
}
