//! The grammar of `Sec-WebSocket-Extensions` (RFC 6455 section 9.1).
//!
//! ```text
//!   offers = [ offer ] *( "," [ offer ] )      offer = name *( ";" parameter )
//!   parameter = name [ "=" ( token | quoted-string that is a token inside ) ]
//! ```

use super::token::is_token_char;

/// True if `value` follows the grammar. Linear in its length.
pub(crate) fn is_valid(value: &[u8]) -> bool {
    let mut scanner = Scanner { rest: value };
    let mut empty = true;
    loop {
        // RFC 9110 section 5.6.1.2: elements of a list may be empty, if not all of them are.
        while scanner.take_if(b',') {}
        if scanner.rest.is_empty() {
            return !empty;
        }
        if !scanner.offer() {
            return false;
        }
        empty = false;
        scanner.blanks();
        if !matches!(scanner.rest.first(), None | Some(b',')) {
            return false;
        }
    }
}

struct Scanner<'a> {
    rest: &'a [u8],
}

impl Scanner<'_> {
    fn offer(&mut self) -> bool {
        if !self.token() {
            return false;
        }
        while self.take_if(b';') {
            if !self.parameter() {
                return false;
            }
        }
        true
    }

    fn parameter(&mut self) -> bool {
        self.token()
            && (!self.take_if(b'=')
                || if self.take_if(b'"') { self.quoted_token() } else { self.token() })
    }

    fn token(&mut self) -> bool {
        self.blanks();
        let len = self.rest.iter().take_while(|&&byte| is_token_char(byte)).count();
        self.rest = &self.rest[len..];
        len > 0
    }

    /// What stands between the quotes must be a token after unescaping.
    fn quoted_token(&mut self) -> bool {
        let mut empty = true;
        loop {
            let byte = match self.take() {
                Some(b'"') => return !empty,
                Some(b'\\') => self.take(),
                byte => byte,
            };
            if !byte.is_some_and(is_token_char) {
                return false;
            }
            empty = false;
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
}
