//! The proof that both ends speak WebSocket (RFC 6455 sections 4.1, 4.2.2).

use alloc::string::String;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest, Sha1};

/// Section 1.3: no other protocol hashes with this.
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// The key of a request: 16 random bytes.
pub(crate) fn encode_key(nonce: [u8; 16]) -> String {
    STANDARD.encode(nonce)
}

/// True for 16 bytes in canonical base64.
pub(crate) fn is_key(key: &[u8]) -> bool {
    let mut nonce = [0; 18];
    key.len() == 24 && STANDARD.decode_slice(key, &mut nonce) == Ok(16)
}

/// The answer to a key, computed from the text as it was sent.
pub(crate) fn accept_key(key: &[u8]) -> String {
    STANDARD.encode(Sha1::new().chain_update(key).chain_update(GUID).finalize())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_of_the_rfc_gives_the_accept_of_the_rfc() {
        assert_eq!(accept_key(b"dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn only_sixteen_bytes_in_canonical_base64_are_a_key() {
        assert!(is_key(b"dGhlIHNhbXBsZSBub25jZQ=="));
        assert!(is_key(encode_key([0xFF; 16]).as_bytes()));
        let wrong: [&[u8]; 8] = [
            b"",
            b"!!!!!!!!!!!!!!!!!!!!!!!!",
            b"dGhlIHNhbXBsZSBub25jZQ",
            b"dGhlIHNhbXBsZSBub25jZR==",
            b"dGhlIHNhbXBsZSBub25jZTE=",
            b"dGhlIHNhbXBsZSBub25jZTEy",
            b"-_hlIHNhbXBsZSBub25jZQ==",
            b"dGhlIHNhbXBsZSBub25jZQ==x",
        ];
        for key in wrong {
            assert!(!is_key(key), "{}", key.escape_ascii());
        }
    }
}
