//! The small words of HTTP: tokens, lists of them, field values (RFC 9110 section 5).

/// True for a character that may stand in a token (RFC 9110 section 5.6.2).
pub(crate) const fn is_token_char(byte: u8) -> bool {
    matches!(byte,
        b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'-' | b'.' | b'^' | b'_'
        | b'`' | b'|' | b'~' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z')
}

/// True for a name of a header or a subprotocol.
pub(crate) fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().all(|&byte| is_token_char(byte))
}

/// True if `bytes` may be a field value: no CR, LF, NUL or other control (section 5.5).
pub(crate) fn is_field_value(bytes: &[u8]) -> bool {
    bytes.iter().all(|&byte| byte == b'\t' || (byte >= b' ' && byte != 0x7F))
}

/// The elements of a comma-separated list, blanks around them taken off. Empty
/// elements are skipped (section 5.6.1.2).
pub(crate) fn list(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|&byte| byte == b',').map(trim).filter(|element| !element.is_empty())
}

/// True if a list contains `token`, in any case.
pub(crate) fn list_contains(value: &[u8], token: &str) -> bool {
    list(value).any(|element| element.eq_ignore_ascii_case(token.as_bytes()))
}

/// Takes blanks and tabs off both ends.
pub(crate) fn trim(mut bytes: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] = bytes {
        bytes = rest;
    }
    while let [rest @ .., b' ' | b'\t'] = bytes {
        bytes = rest;
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_read_by_whole_elements() {
        assert!(list_contains(b"keep-alive, Upgrade", "upgrade"));
        assert!(list_contains(b"UPGRADE", "upgrade"));
        assert!(list_contains(b" , upgrade ,x", "upgrade"));
        assert!(!list_contains(b"notupgrade", "upgrade"));
        assert!(!list_contains(b"up grade", "upgrade"));
        assert!(!list_contains(b"", "upgrade"));
    }

    #[test]
    fn all_bytes_are_sorted_as_the_rfc_says() {
        let separators = b"()<>@,;:\\\"/[]?={} \t";
        for byte in 0..=255u8 {
            let token = byte.is_ascii_graphic() && !separators.contains(&byte);
            assert_eq!(is_token(&[byte]), token, "{byte:#x}");
            let control = byte < 0x20 && byte != b'\t' || byte == 0x7F;
            assert_eq!(is_field_value(&[byte]), !control, "{byte:#x}");
        }
        assert!(!is_token(b""));
    }
}
