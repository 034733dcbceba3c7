//! Deflate (RFC 1951) read a second time: slow, and strict about what a decoder may forgive.

/// What a payload holds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Inflated {
    pub(crate) bytes: Vec<u8>,
    /// The largest distance that was referred back over.
    pub(crate) farthest: usize,
}

/// Inflates the payload of a whole message (RFC 7692 section 7.2.2) that may refer to
/// `history`; all of it must be used.
pub(crate) fn inflate(payload: &[u8], history: &[u8]) -> Result<Inflated, &'static str> {
    let data = [payload, &[0, 0, 0xFF, 0xFF]].concat();
    let mut bits = Bits { data: &data, at: 0 };
    let mut out = Out { bytes: history.to_vec(), farthest: 0 };
    while bits.at < 8 * data.len() {
        let last = bits.take(1)? == 1;
        match bits.take(2)? {
            0 => stored(&mut bits, &mut out)?,
            1 => {
                let lengths: Vec<u8> = (0..288)
                    .map(|i| {
                        [8, 9, 7, 8][(i > 143) as usize + (i > 255) as usize + (i > 279) as usize]
                    })
                    .collect();
                symbols(&mut bits, &mut out, &Code::new(&lengths)?, &Code::new(&[5; 30])?)?;
            }
            2 => {
                let (literals, distances) = dynamic(&mut bits)?;
                symbols(&mut bits, &mut out, &literals, &distances)?;
            }
            _ => return Err("a block of no kind"),
        }
        if last {
            bits.at = bits.at.next_multiple_of(8);
        }
    }
    Ok(Inflated { bytes: out.bytes.split_off(history.len()), farthest: out.farthest })
}

struct Out {
    bytes: Vec<u8>,
    farthest: usize,
}

struct Bits<'d> {
    data: &'d [u8],
    at: usize,
}

impl Bits<'_> {
    fn take(&mut self, count: usize) -> Result<usize, &'static str> {
        let mut value = 0;
        for bit in 0..count {
            let byte = self.data.get(self.at / 8).ok_or("the data ends inside of a block")?;
            value |= usize::from(byte >> (self.at % 8) & 1) << bit;
            self.at += 1;
        }
        Ok(value)
    }
}

/// A canonical Huffman code: how many codes of each length, and their symbols in order.
struct Code {
    counts: [usize; 16],
    symbols: Vec<usize>,
}

impl Code {
    fn new(lengths: &[u8]) -> Result<Code, &'static str> {
        let mut counts = [0; 16];
        lengths.iter().for_each(|&length| counts[usize::from(length)] += 1);
        counts[0] = 0;
        let mut left = 1i32;
        for &count in &counts[1..] {
            left = 2 * left - count as i32;
            if left < 0 {
                return Err("too many codes");
            }
        }
        let of_length = |wanted: u8| {
            lengths
                .iter()
                .enumerate()
                .filter(move |(_, length)| **length == wanted)
                .map(|(at, _)| at)
        };
        Ok(Code { counts, symbols: (1..16).flat_map(of_length).collect() })
    }

    fn read(&self, bits: &mut Bits<'_>) -> Result<usize, &'static str> {
        let (mut code, mut first, mut index) = (0, 0, 0);
        for &count in &self.counts[1..] {
            code |= bits.take(1)?;
            if code < first + count {
                return Ok(self.symbols[index + code - first]);
            }
            index += count;
            first = (first + count) << 1;
            code <<= 1;
        }
        Err("a code of no symbol")
    }
}

fn stored(bits: &mut Bits<'_>, out: &mut Out) -> Result<(), &'static str> {
    bits.at = bits.at.next_multiple_of(8);
    let (len, complement) = (bits.take(16)?, bits.take(16)?);
    if len ^ 0xFFFF != complement {
        return Err("a length and its complement differ");
    }
    for _ in 0..len {
        out.bytes.push(bits.take(8)? as u8);
    }
    Ok(())
}

fn dynamic(bits: &mut Bits<'_>) -> Result<(Code, Code), &'static str> {
    const ORDER: [usize; 19] = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];
    let (literals, distances) = (bits.take(5)? + 257, bits.take(5)? + 1);
    let mut lengths = vec![0; 19];
    for at in ORDER.into_iter().take(bits.take(4)? + 4) {
        lengths[at] = bits.take(3)? as u8;
    }
    let code = Code::new(&lengths)?;
    let mut lengths = Vec::new();
    while lengths.len() < literals + distances {
        let (length, times) = match code.read(bits)? {
            16 => (*lengths.last().ok_or("nothing to repeat")?, 3 + bits.take(2)?),
            17 => (0, 3 + bits.take(3)?),
            18 => (0, 11 + bits.take(7)?),
            length => (length as u8, 1),
        };
        lengths.extend(std::iter::repeat_n(length, times));
    }
    let distances = lengths.split_off(literals);
    Ok((Code::new(&lengths)?, Code::new(&distances)?))
}

/// What the first `symbol` symbols with extra bits reach, `group` of which have as many.
fn extended(symbol: usize, group: usize, bits: &mut Bits<'_>) -> Result<usize, &'static str> {
    let extra = (symbol / group).saturating_sub(1);
    let base = if extra == 0 { symbol } else { (group + symbol % group) << extra };
    Ok(base + bits.take(extra)?)
}

fn symbols(
    bits: &mut Bits<'_>,
    out: &mut Out,
    literals: &Code,
    distances: &Code,
) -> Result<(), &'static str> {
    loop {
        let symbol = literals.read(bits)?;
        let len = match symbol {
            0..256 => {
                out.bytes.push(symbol as u8);
                continue;
            }
            256 => return Ok(()),
            285 => 258,
            257..285 => 3 + extended(symbol - 257, 4, bits)?,
            _ => return Err("a length of no meaning"),
        };
        let distance = 1 + extended(distances.read(bits)?, 2, bits)?;
        out.farthest = out.farthest.max(distance);
        for _ in 0..len {
            let from = out.bytes.len().checked_sub(distance).ok_or("a distance too far back")?;
            out.bytes.push(out.bytes[from]);
        }
    }
}
