//! The query of a request as pairs, as forms and `URLSearchParams` write it.

use alloc::borrow::Cow;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::Write;

use super::request::Request;

impl Request {
    /// Name and value of every parameter of the query, decoded, in the order in which they
    /// were sent; an empty value where there is none. A name may come twice.
    ///
    /// `+` is a blank and `%XX` a byte. Nothing that is wrong is lost or replaced: a percent
    /// sign without two digits stays, and so do the bytes that are not UTF-8, as `%XX`.
    pub fn query_pairs(&self) -> impl Iterator<Item = (Cow<'_, str>, Cow<'_, str>)> {
        let pairs = self.query().unwrap_or_default().split('&');
        pairs.filter(|pair| !pair.is_empty()).map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decode(name), decode(value))
        })
    }
}

fn decode(text: &str) -> Cow<'_, str> {
    if !text.contains(['%', '+']) {
        return Cow::Borrowed(text);
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, behind @ ..] = rest {
        let (byte, behind) = match (first, behind) {
            (b'%', [high, low, behind @ ..]) => match (hex(*high), hex(*low)) {
                (Some(high), Some(low)) => (high << 4 | low, behind),
                _ => (b'%', &rest[1..]),
            },
            (b'+', behind) => (b' ', behind),
            (byte, behind) => (*byte, behind),
        };
        bytes.push(byte);
        rest = behind;
    }
    Cow::Owned(visible(&bytes))
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).map(|value| value as u8)
}

/// The text of bytes, with those that are not UTF-8 as they were sent.
fn visible(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        for byte in chunk.invalid() {
            // A String takes all.
            let _ = write!(text, "%{byte:02X}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(target: &str) -> Vec<(String, String)> {
        let request = Request::from_parts("GET", target, [("Host", "a")]).unwrap();
        request.query_pairs().map(|(name, value)| (name.into(), value.into())).collect()
    }

    #[test]
    fn a_query_reads_as_forms_write_it() {
        let table: [(&str, &[(&str, &str)]); 12] = [
            ("/", &[]),
            ("/?", &[]),
            ("/?&&", &[]),
            ("/?room=7&user=ann", &[("room", "7"), ("user", "ann")]),
            ("/?a&b=&=c", &[("a", ""), ("b", ""), ("", "c")]),
            ("/?a=1&a=2", &[("a", "1"), ("a", "2")]),
            ("/?a=b=c?d", &[("a", "b=c?d")]),
            ("/?a+b=c%20d%2B", &[("a b", "c d+")]),
            ("/?n=%c3%BC%26%3D", &[("n", "ü&=")]),
            ("/?p=100%&q=%zz&r=%4", &[("p", "100%"), ("q", "%zz"), ("r", "%4")]),
            ("/?b=%ff%41%e2%82&c=%00", &[("b", "%FFA%E2%82"), ("c", "\0")]),
            ("/?twice=%2541&%%41=1", &[("twice", "%41"), ("%A", "1")]),
        ];
        for (target, expected) in table {
            let found = pairs(target);
            let found = found.iter().map(|(name, value)| (&name[..], &value[..]));
            assert_eq!(found.collect::<Vec<_>>(), expected, "{target}");
        }
    }

    #[test]
    fn what_needs_no_decoding_is_borrowed() {
        assert!(matches!(decode("plain"), Cow::Borrowed("plain")));
        assert!(matches!(decode("a+b"), Cow::Owned(_)));
    }
}
