//! The cookies of a request (RFC 6265).

use super::request::Request;

impl Request {
    /// Name and value of every cookie, in the order in which they were sent.
    ///
    /// Read as leniently as browsers write (RFC 6265 section 5.4): blanks around names and
    /// values are cut off, quotes and percent signs stay, what is no pair or not UTF-8 is
    /// left out. A name may come twice, the cookie of the longer path first; whoever puts
    /// them into a map keeps the wrong one. [`Request::cookie`] finds the right one.
    pub fn cookies(&self) -> impl Iterator<Item = (&str, &str)> {
        let lines = self.headers().all("Cookie");
        lines.flat_map(|line| line.split(|&byte| byte == b';')).filter_map(pair)
    }

    /// The value of the first cookie with this name; case counts.
    #[must_use]
    pub fn cookie(&self, name: &str) -> Option<&str> {
        self.cookies().find(|(found, _)| *found == name).map(|(_, value)| value)
    }
}

fn pair(cookie: &[u8]) -> Option<(&str, &str)> {
    let (name, value) = core::str::from_utf8(cookie).ok()?.split_once('=')?;
    let blanks = [' ', '\t'];
    let (name, value) = (name.trim_matches(blanks), value.trim_matches(blanks));
    (!name.is_empty()).then_some((name, value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    fn request(lines: &[&[u8]]) -> Request {
        let lines = lines.iter().map(|line| ("Cookie", *line));
        Request::from_parts("GET", "/", lines.chain([("Host", &b"a"[..])])).unwrap()
    }

    #[test]
    fn cookies_are_read_as_browsers_write_them() {
        type Pairs<'a> = &'a [(&'a str, &'a str)];
        let table: [(&[u8], Pairs<'_>); 9] = [
            (b"a=1; b=2", &[("a", "1"), ("b", "2")]),
            (b"a=1;b=2;", &[("a", "1"), ("b", "2")]),
            (b"  a = 1 ;\t b =2", &[("a", "1"), ("b", "2")]),
            (
                b"token=ab==; q=\"x y\"; p=%20,",
                &[("token", "ab=="), ("q", "\"x y\""), ("p", "%20,")],
            ),
            (b"a=; A=1", &[("a", ""), ("A", "1")]),
            (b"a=1; a=2", &[("a", "1"), ("a", "2")]),
            (b";; ; lonely; =nameless; a=1", &[("a", "1")]),
            (b"a=\xFF; b=2", &[("b", "2")]),
            (b"", &[]),
        ];
        for (line, cookies) in table {
            let request = request(&[line]);
            assert_eq!(request.cookies().collect::<Vec<_>>(), cookies, "{}", line.escape_ascii());
        }
    }

    #[test]
    fn the_first_of_a_name_wins_across_lines() {
        let request = request(&[b"x=0; id=first", b"id=second; Id=third"]);
        assert_eq!(request.cookies().count(), 4);
        assert_eq!(request.cookie("id"), Some("first"));
        assert_eq!(request.cookie("Id"), Some("third"));
        assert_eq!(request.cookie("ID"), None);
    }
}
