//! Heads of HTTP messages: a writer that can break every rule, and a strict reader.

/// The key of RFC 6455 section 1.3 and its accept value.
pub(crate) const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
pub(crate) const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// A head to be sent: the start line and the header lines.
#[derive(Clone, Debug)]
pub(crate) struct Text {
    start: Vec<u8>,
    lines: Vec<Vec<u8>>,
}

impl Text {
    /// A valid upgrade request.
    pub(crate) fn request() -> Text {
        let text = Text { start: b"GET /chat HTTP/1.1".into(), lines: Vec::new() };
        text.add("Host", "example.org")
            .add("Upgrade", "websocket")
            .add("Connection", "Upgrade")
            .add("Sec-WebSocket-Key", KEY)
            .add("Sec-WebSocket-Version", "13")
    }

    /// A valid answer to `key`.
    pub(crate) fn answer_to(key: &str) -> Text {
        Text { start: b"HTTP/1.1 101 Switching Protocols".into(), lines: Vec::new() }
            .add("Upgrade", "websocket")
            .add("Connection", "Upgrade")
            .add("Sec-WebSocket-Accept", super::proof::accept_of(key))
    }

    /// Another start line.
    pub(crate) fn start(self, start: impl AsRef<[u8]>) -> Text {
        Text { start: start.as_ref().into(), ..self }
    }

    /// Without the lines of a name.
    pub(crate) fn without(mut self, name: &str) -> Text {
        let prefix = format!("{name}:");
        self.lines.retain(|line| !line.starts_with(prefix.as_bytes()));
        self
    }

    /// One more line.
    pub(crate) fn add(self, name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Text {
        self.line([name.as_ref(), b": ", value.as_ref()].concat())
    }

    /// One line of this name, with another value.
    pub(crate) fn set(self, name: &str, value: impl AsRef<[u8]>) -> Text {
        self.without(name).add(name, value)
    }

    /// A line with these bytes behind all others.
    pub(crate) fn line(mut self, line: impl AsRef<[u8]>) -> Text {
        self.lines.push(line.as_ref().into());
        self
    }

    /// A line with these bytes before all others.
    pub(crate) fn first_line(mut self, line: impl AsRef<[u8]>) -> Text {
        self.lines.insert(0, line.as_ref().into());
        self
    }

    /// The header lines, to be sent in another order.
    pub(crate) fn lines_mut(&mut self) -> &mut Vec<Vec<u8>> {
        &mut self.lines
    }

    pub(crate) fn wire(&self) -> Vec<u8> {
        let mut bytes = [&self.start[..], b"\r\n"].concat();
        for line in &self.lines {
            bytes.extend_from_slice(line);
            bytes.extend_from_slice(b"\r\n");
        }
        bytes.extend_from_slice(b"\r\n");
        bytes
    }
}

/// A head that was received, and what stands behind it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Head {
    pub(crate) start: String,
    pub(crate) lines: Vec<(String, String)>,
    pub(crate) rest: Vec<u8>,
}

impl Head {
    /// The status of an answer.
    pub(crate) fn status(&self) -> u16 {
        let mut words = self.start.splitn(3, ' ');
        assert_eq!(words.next(), Some("HTTP/1.1"));
        let status = words.next().unwrap();
        assert!(status.len() == 3 && words.next().is_some(), "status and phrase: {}", self.start);
        status.parse().unwrap()
    }

    pub(crate) fn all(&self, name: &str) -> Vec<&str> {
        let same = |(found, _): &&(String, String)| found.eq_ignore_ascii_case(name);
        self.lines.iter().filter(same).map(|(_, value)| &value[..]).collect()
    }

    /// The value of the only line with this name.
    #[track_caller]
    pub(crate) fn only(&self, name: &str) -> &str {
        let all = self.all(name);
        assert_eq!(all.len(), 1, "one {name} line in {self:?}");
        all[0]
    }

    /// The elements of a list, in lower case.
    pub(crate) fn list(&self, name: &str) -> Vec<String> {
        let values = self.all(name).join(",");
        values.split(',').map(|element| element.trim().to_ascii_lowercase()).collect()
    }
}

/// The bytes of a head without its empty line, and those behind it.
#[track_caller]
pub(crate) fn split(bytes: &[u8]) -> (&[u8], &[u8]) {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n").expect("a whole head");
    (&bytes[..end], &bytes[end + 4..])
}

/// Reads a head that this library wrote; anything unusual is a failure.
#[track_caller]
pub(crate) fn read(bytes: &[u8]) -> Head {
    let (head, rest) = split(bytes);
    let text = std::str::from_utf8(head).expect("a head in ASCII");
    assert!(text.is_ascii());
    let mut lines = text.split("\r\n");
    let start = lines.next().unwrap().to_string();
    let is_tchar = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    let lines = lines.map(|line| {
        let (name, value) = line.split_once(": ").expect("a header line");
        assert!(!name.is_empty() && name.chars().all(is_tchar), "a token: {name}");
        assert_eq!(value.trim(), value, "no blanks around the value of {name}");
        assert!(!value.contains(|c: char| c.is_ascii_control()));
        (name.to_string(), value.to_string())
    });
    Head { start, lines: lines.collect(), rest: rest.to_vec() }
}

/// Reads an answer that closes the connection and says why; not in the answer to a HEAD
/// request, which has no body (RFC 9110 section 9.3.2).
#[track_caller]
pub(crate) fn read_refusal(bytes: &[u8], to_head: bool) -> Head {
    let head = read(bytes);
    assert!(head.status() >= 200);
    assert!(head.list("Connection").contains(&"close".to_string()), "{head:?}");
    let length: usize = head.only("Content-Length").parse().unwrap();
    assert!(length > 5, "a refusal says what is wrong");
    assert_eq!(head.rest.len(), if to_head { 0 } else { length }, "{head:?}");
    head
}
