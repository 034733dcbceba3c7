//! The grammar of `Sec-WebSocket-Extensions` (RFC 6455 section 9.1).
//!
//! ```text
//!   offers = [ offer ] *( "," [ offer ] )      offer = name *( ";" parameter )
//!   parameter = name [ "=" ( token | quoted-string that is a token inside ) ]
//! ```

#![cfg_attr(not(feature = "deflate"), allow(dead_code, reason = "only the grammar is checked"))]

use super::token::is_token_char;

/// True if `value` follows the grammar. Linear in its length.
pub(crate) fn is_valid(value: &[u8]) -> bool {
    // RFC 9110 section 5.6.1.2: elements of a list may be empty, if not all of them are.
    let mut elements = elements(value).peekable();
    elements.peek().is_some() && elements.all(|element| element.is_ok())
}

/// The elements of `value`, in order; after the first that breaks the grammar there is none.
pub(crate) fn elements(value: &[u8]) -> Elements<'_> {
    Elements { scanner: Scanner { rest: value } }
}

/// One element: an extension with its parameters.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Extension<'a> {
    name: &'a [u8],
    /// Parameters that follow the grammar, each with its semicolon.
    parameters: &'a [u8],
}

/// A parameter of an extension.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Parameter<'a> {
    pub(crate) name: &'a [u8],
    pub(crate) value: Option<Value<'a>>,
}

/// The value of a parameter: a token, maybe with the backslashes of a quoted string.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Value<'a> {
    raw: &'a [u8],
}

/// The element breaks the grammar.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Malformed;

impl<'a> Extension<'a> {
    /// True for the extension of this name. Extension names are registered in lower case,
    /// and nothing says that another case means the same.
    pub(crate) fn is(&self, name: &str) -> bool {
        self.name == name.as_bytes()
    }

    pub(crate) fn parameters(&self) -> impl Iterator<Item = Parameter<'a>> + use<'a> {
        let mut scanner = Scanner { rest: self.parameters };
        core::iter::from_fn(move || if scanner.take_if(b';') { scanner.parameter() } else { None })
    }
}

impl<'a> Value<'a> {
    /// The token: no token contains a backslash, so all of them are escapes.
    pub(crate) fn bytes(&self) -> impl Iterator<Item = u8> + use<'a> {
        self.raw.iter().copied().filter(|&byte| byte != b'\\')
    }
}

/// The iterator of [`elements`].
#[derive(Debug)]
pub(crate) struct Elements<'a> {
    scanner: Scanner<'a>,
}

impl<'a> Iterator for Elements<'a> {
    type Item = Result<Extension<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        while self.scanner.take_if(b',') {}
        if self.scanner.rest.is_empty() {
            return None;
        }
        let element = self.scanner.element();
        if element.is_none() {
            self.scanner.rest = &[];
        }
        Some(element.ok_or(Malformed))
    }
}

#[derive(Debug)]
struct Scanner<'a> {
    rest: &'a [u8],
}

impl<'a> Scanner<'a> {
    fn element(&mut self) -> Option<Extension<'a>> {
        let name = self.token()?;
        let start = self.rest;
        while self.take_if(b';') {
            self.parameter()?;
        }
        let parameters = &start[..start.len() - self.rest.len()];
        self.blanks();
        matches!(self.rest.first(), None | Some(b',')).then_some(Extension { name, parameters })
    }

    fn parameter(&mut self) -> Option<Parameter<'a>> {
        let name = self.token()?;
        if !self.take_if(b'=') {
            return Some(Parameter { name, value: None });
        }
        let raw = if self.take_if(b'"') { self.quoted_token()? } else { self.token()? };
        Some(Parameter { name, value: Some(Value { raw }) })
    }

    fn token(&mut self) -> Option<&'a [u8]> {
        self.blanks();
        let len = self.rest.iter().take_while(|&&byte| is_token_char(byte)).count();
        let (token, rest) = self.rest.split_at(len);
        self.rest = rest;
        (len > 0).then_some(token)
    }

    /// What stands between the quotes must be a token after unescaping.
    fn quoted_token(&mut self) -> Option<&'a [u8]> {
        let start = self.rest;
        let mut len = 0;
        loop {
            let byte = match self.take()? {
                b'"' if len > 0 => return Some(&start[..len]),
                b'\\' => self.take()?,
                byte => byte,
            };
            if !is_token_char(byte) {
                return None;
            }
            len = start.len() - self.rest.len();
        }
    }

    fn blanks(&mut self) {
        while let [b' ' | b'\t', rest @ ..] = self.rest {
            self.rest = rest;
        }
    }

    fn take(&mut self) -> Option<u8> {
        let (&first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(first)
    }

    fn take_if(&mut self, byte: u8) -> bool {
        self.blanks();
        let found = self.rest.first() == Some(&byte);
        if found {
            self.rest = &self.rest[1..];
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::String;
    use alloc::{vec, vec::Vec};

    #[test]
    fn the_grammar_is_followed_to_the_letter() {
        let valid: [&[u8]; 9] = [
            b"permessage-deflate",
            b"permessage-deflate; client_max_window_bits",
            b"a; b=1; c = \"10\" , d",
            b"a;b=\"\\1\\0\"",
            b"foo, permessage-deflate; server_max_window_bits=10, bar",
            b"__proto__; constructor",
            b"x \t; \ty \t= \tz",
            b"a,",
            b" ,a, ,b",
        ];
        let invalid: [&[u8]; 12] = [
            b"",
            b";",
            b"a;",
            b"a;=1",
            b"a;b=",
            b"a b",
            b"=x",
            b";a",
            b"a=b",
            b" , ,",
            b"a;b=\"1 0\"",
            b"a;b=\"\"",
        ];
        for value in valid {
            assert!(is_valid(value), "{}", value.escape_ascii());
        }
        for value in invalid {
            assert!(!is_valid(value), "{}", value.escape_ascii());
        }
    }

    #[test]
    fn an_unclosed_quote_is_refused_however_long() {
        let mut value = b"a; b=\"".to_vec();
        value.extend(b"\\c".repeat(8000));
        assert!(!is_valid(&value));
    }

    #[test]
    fn elements_come_with_their_parameters_unescaped() {
        let value = b"a; x; y = 1;z=\"\\1\\0\" , , b,c;";
        let read = elements(value).map(|element| {
            element.map(|extension| {
                let text = |bytes: &[u8]| String::from_utf8(bytes.into()).unwrap();
                let parameters: Vec<_> = extension
                    .parameters()
                    .map(|Parameter { name, value }| {
                        (text(name), value.map(|value| text(&value.bytes().collect::<Vec<_>>())))
                    })
                    .collect();
                (text(extension.name), parameters)
            })
        });
        let parameter = |name: &str, value: Option<&str>| (name.into(), value.map(String::from));
        let expected = [
            Ok((
                "a".into(),
                vec![parameter("x", None), parameter("y", Some("1")), parameter("z", Some("10"))],
            )),
            Ok(("b".into(), vec![])),
            Err(Malformed),
        ];
        assert_eq!(read.collect::<Vec<_>>(), expected);
    }
}
