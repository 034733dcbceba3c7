//! Masking of client frames (RFC 6455 section 5.3): octet i is XORed with key octet i mod 4.

/// Masks or unmasks `payload`, whose first byte has position 0 in its frame.
///
/// Blocks, then words, then bytes. The compiler turns the blocks into the widest vectors
/// of the target without a line of `unsafe`.
#[inline]
pub(crate) fn mask(payload: &mut [u8], key: [u8; 4]) {
    let key = u32::from_ne_bytes(key);
    let wide = u64::from(key) << 32 | u64::from(key);
    let (blocks, rest) = payload.as_chunks_mut::<32>();
    for block in blocks {
        for word in block.as_chunks_mut::<8>().0 {
            *word = (u64::from_ne_bytes(*word) ^ wide).to_ne_bytes();
        }
    }
    let (words, rest) = rest.as_chunks_mut::<4>();
    for word in words {
        *word = (u32::from_ne_bytes(*word) ^ key).to_ne_bytes();
    }
    for (byte, key) in rest.iter_mut().zip(key.to_ne_bytes()) {
        *byte ^= key;
    }
}

/// The key for a payload that continues at position `offset` of its frame.
#[inline]
pub(crate) fn rotate(key: [u8; 4], offset: usize) -> [u8; 4] {
    let mut rotated = key;
    rotated.rotate_left(offset % 4);
    rotated
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

    fn naive(payload: &[u8]) -> Vec<u8> {
        payload.iter().enumerate().map(|(i, byte)| byte ^ KEY[i % 4]).collect()
    }

    #[test]
    fn every_length_and_alignment_equals_the_definition() {
        let data: Vec<u8> = (0..1200u32).map(|i| (i * 7) as u8).collect();
        for start in 0..16 {
            for len in 0..1100 {
                let mut masked = data[start..start + len].to_vec();
                mask(&mut masked, KEY);
                assert_eq!(masked, naive(&data[start..start + len]));
            }
        }
    }

    #[test]
    fn a_payload_cut_anywhere_unmasks_the_same() {
        let data: Vec<u8> = (0..100).collect();
        for cut in 0..data.len() {
            let mut pieces = data.clone();
            let (head, tail) = pieces.split_at_mut(cut);
            mask(head, KEY);
            mask(tail, rotate(KEY, cut));
            assert_eq!(pieces, naive(&data), "cut at {cut}");
        }
    }
}
