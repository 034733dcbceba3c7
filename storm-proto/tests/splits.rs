//! A connection is a function of its bytes, wherever they were cut: every scripted exchange
//! gives the same events, the same output and the same last word for every cut, every pair of
//! cuts, and byte by byte.
#![allow(clippy::unwrap_used)]

mod pair;

use std::sync::Arc;

use pair::{End, quiet, websocket_client};
use storm_proto::framing::{Decoded, Delimiter, Framer, FramingError, LengthPrefix};
use storm_proto::{Connection, DisconnectReason, Instant, Options, OwnedMessage};

const NOW: Instant = Instant::from_secs(1);

/// A script: who receives which bytes.
struct Script {
    name: &'static str,
    make: fn() -> Connection,
    bytes: Vec<u8>,
}

/// All that an exchange leaves behind.
#[derive(PartialEq, Debug)]
struct Outcome {
    opened: bool,
    messages: Vec<OwnedMessage>,
    output: Vec<u8>,
    reason: DisconnectReason,
}

fn play(script: &Script, cuts: &[usize]) -> Outcome {
    let mut end = End::new((script.make)());
    end.notes.echo = true;
    let mut from = 0;
    for &cut in cuts.iter().chain([&script.bytes.len()]) {
        end.receive(&script.bytes[from..cut], NOW);
        from = cut;
    }
    end.connection.end_of_stream(NOW);
    let output = end.take_output(NOW);
    Outcome {
        opened: end.notes.opened,
        output,
        reason: end.connection.finish(),
        messages: end.notes.messages,
    }
}

/// Plays a script with every cut; returns how many ways it was played.
fn splits_agree(script: &Script) -> usize {
    let whole = play(script, &[]);
    let len = script.bytes.len();
    let mut played = 1;
    let mut agree = |cuts: &[usize]| {
        assert_eq!(play(script, cuts), whole, "{} cut at {cuts:?}", script.name);
        played += 1;
    };
    agree(&(1..len).collect::<Vec<_>>());
    // Where a script is long, its start and end and a sample of the middle.
    let single =
        (1..len).filter(|&cut| len < 2000 || cut < 300 || cut > len - 300 || cut % 61 == 0);
    single.for_each(|cut| agree(&[cut]));
    if len <= 256 {
        for first in 1..len {
            (first + 1..len).for_each(|second| agree(&[first, second]));
        }
    }
    for size in 2..=64 {
        agree(&(1..len).filter(|cut| cut % size == 0).collect::<Vec<_>>());
    }
    played
}

/// A frame of a client with an awkward mask key.
fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    let key = [0x37, 0xfa, 0x21, 0x3d];
    let mut frame = unmasked(first, payload);
    frame[1] |= 0x80;
    let payload_at = frame.len() - payload.len();
    for (at, byte) in frame[payload_at..].iter_mut().enumerate() {
        *byte ^= key[at % 4];
    }
    frame.splice(payload_at..payload_at, key);
    frame
}

fn unmasked(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match payload.len() {
        len @ 0..126 => frame.push(len as u8),
        len @ 126..0x1_0000 => {
            frame.push(126);
            frame.extend((len as u16).to_be_bytes());
        }
        len => {
            frame.push(127);
            frame.extend((len as u64).to_be_bytes());
        }
    }
    frame.extend(payload);
    frame
}

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

fn server() -> Connection {
    Connection::server(quiet(), NOW)
}

/// A server whose opening is over: scripts of frames stay short.
fn open_server() -> Connection {
    let mut end = End::new(server());
    end.receive(REQUEST, NOW);
    end.take_output(NOW);
    end.connection
}

fn client() -> Connection {
    websocket_client(quiet(), NOW)
}

/// What a server answers to the request of [`client`], whose key comes from its seed.
fn acceptance() -> Vec<u8> {
    let mut request = End::new(client()).take_output(NOW);
    let mut end = End::new(server());
    end.receive(&std::mem::take(&mut request), NOW);
    end.take_output(NOW)
}

fn open_client() -> Connection {
    let mut end = End::new(client());
    end.receive(&acceptance(), NOW);
    end.take_output(NOW);
    assert!(end.connection.is_open());
    end.connection
}

fn tight() -> Options {
    let mut options = quiet();
    options.websocket = options.websocket.max_frame(40).max_message(60).max_fragments(3);
    options
}

fn tight_server() -> Connection {
    let mut end = End::new(Connection::server(tight(), NOW));
    end.receive(REQUEST, NOW);
    end.take_output(NOW);
    end.connection
}

/// Messages behind start codes, as H.264 has them: the end of one is the start of the next.
#[derive(Debug)]
struct StartCodes;

const START: &[u8] = b"\0\0\x01";

impl Framer for StartCodes {
    fn decode(&self, buffered: &[u8], _: &mut usize) -> Result<Decoded, FramingError> {
        let head = &buffered[..buffered.len().min(START.len())];
        if !START.starts_with(head) {
            return Err(FramingError::Custom("no start code"));
        }
        let found = buffered.windows(START.len()).skip(START.len()).position(|at| at == START);
        Ok(match found {
            Some(at) => {
                let end = START.len() + at;
                Decoded::Message { payload: START.len()..end, consumed: end }
            }
            None => Decoded::More { at_least: 1 },
        })
    }

    fn encode_head(&self, _: &[u8], out: &mut Vec<u8>) -> Result<(), FramingError> {
        out.extend_from_slice(START);
        Ok(())
    }
}

fn start_codes() -> Vec<u8> {
    let messages: [&[u8]; 7] = [b"one", b"", b"two", b"\0", b"three\x01", b"\0\0\x02", b"end"];
    messages.iter().flat_map(|message| [START, message].concat()).collect()
}

/// A byte of length, and twenty bytes behind each message that the framer wants to see.
#[derive(Debug)]
struct FarAhead;

impl Framer for FarAhead {
    fn decode(&self, buffered: &[u8], _: &mut usize) -> Result<Decoded, FramingError> {
        let end = 1 + usize::from(buffered[0]);
        Ok(match (end + 20).checked_sub(buffered.len()) {
            None | Some(0) => Decoded::Message { payload: 1..end, consumed: end },
            Some(missing) => Decoded::More { at_least: missing },
        })
    }

    fn encode_head(&self, payload: &[u8], out: &mut Vec<u8>) -> Result<(), FramingError> {
        out.push(payload.len() as u8);
        Ok(())
    }
}

/// Answers in one way, whatever it is shown.
#[derive(Debug)]
struct Broken(fn(usize) -> Decoded);

impl Framer for Broken {
    fn decode(&self, buffered: &[u8], _: &mut usize) -> Result<Decoded, FramingError> {
        Ok((self.0)(buffered.len()))
    }

    fn encode_head(&self, _: &[u8], _: &mut Vec<u8>) -> Result<(), FramingError> {
        Ok(())
    }
}

fn framed(framer: impl Framer) -> Connection {
    Connection::framed(Arc::new(framer), quiet(), NOW)
}

fn scripts() -> Vec<Script> {
    let script = |name, make, bytes: &[&[u8]]| Script { name, make, bytes: bytes.concat() };
    let text = "κόσμε \u{10ffff} ascii";
    let (head, tail) = text.as_bytes().split_at(3);
    let large = vec![0xA5; 40_000];
    let server = server as fn() -> Connection;
    let open: fn() -> Connection = open_server;
    let tight: fn() -> Connection = tight_server;
    let close = masked(0x88, b"\x03\xe8bye");
    vec![
        script("request and frames", server, &[REQUEST, &masked(0x81, b"hi"), &masked(0x89, b"p"), &close]),
        script("request with a body", server, &[b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc"]),
        script("wrong version", server, &[b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 8\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"]),
        script("no request", server, &[b"\x16\x03\x01\x02\x00\x01\x00"]),
        script("bare line feed", server, &[b"GET / HTTP/1.1\nHost: a\r\n\r\n"]),
        script("plain request", server, &[b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"]),
        script("all lengths", open, &[&masked(0x82, b""), &masked(0x82, &[1; 125]), &masked(0x82, &[2; 126])]),
        script("a long message", open, &[&masked(0x82, &large), &masked(0x81, b"next")]),
        script("a long text", open, &[&masked(0x81, &vec![b'x'; 40_000]), &close]),
        script("fragments around a ping", open, &[&masked(0x01, head), &masked(0x89, b"!"), &masked(0x80, tail), &close]),
        script("empty fragments", open, &[&masked(0x02, b""), &masked(0x00, b""), &masked(0x80, b""), &close]),
        script("several fragments", open, &[&masked(0x01, b"a"), &masked(0x00, b"b"), &masked(0x80, b"c"), &masked(0x81, b"d")]),
        script("invalid text in one frame", open, &[&masked(0x81, b"ok"), &masked(0x81, b"\xce\xba\xed\xa0\x80"), &masked(0x81, b"late")]),
        script("invalid text across fragments", open, &[&masked(0x01, b"\xf4"), &masked(0x80, b"\x90\x80\x80")]),
        script("text cut in a character", open, &[&masked(0x81, b"\xe2\x82")]),
        script("unmasked", open, &[&masked(0x81, b"ok"), b"\x81\x02hi"]),
        script("reserved bits", open, &[&masked(0xC1, b"hi")]),
        script("reserved opcode", open, &[&masked(0x83, b"hi"), &masked(0x81, b"late")]),
        script("long ping", open, &[b"\x89\xfe\x00\x7e\0\0\0\0"]),
        script("fragmented ping", open, &[&masked(0x09, b"hi")]),
        script("length not minimal", open, &[b"\x82\xfe\x00\x05\0\0\0\0hello"]),
        script("length with top bit", open, &[b"\x82\xff\x80\0\0\0\0\0\0\0\0\0\0\0"]),
        script("nothing to continue", open, &[&masked(0x80, b"hi")]),
        script("interleaved", open, &[&masked(0x01, b"hi"), &masked(0x81, b"ho")]),
        script("empty close", open, &[&masked(0x88, b""), &masked(0x81, b"late")]),
        script("close of one byte", open, &[&masked(0x88, b"\x03")]),
        script("close with a bad code", open, &[&masked(0x88, b"\x03\xed")]),
        script("close with a bad reason", open, &[&masked(0x88, b"\x03\xe8\xff")]),
        script("close with a long reason", open, &[&masked(0x88, &[b"\x03\xe8", &[b'r'; 123][..]].concat())]),
        script("stream ends in a frame", open, &[&masked(0x81, b"ok"), &masked(0x82, &[7; 50])[..30]]),
        script("frame over the limit", tight, &[&masked(0x82, &[7; 40]), &masked(0x82, &[7; 41])]),
        script("message over the limit", tight, &[&masked(0x02, &[7; 40]), &masked(0x80, &[7; 21])]),
        script("too many fragments", tight, &[&masked(0x02, b""), &masked(0x00, b""), &masked(0x00, b""), &masked(0x00, b"")]),
        script("client: acceptance and frames", client, &[&acceptance(), &unmasked(0x81, b"hi"), &unmasked(0x88, b"\x03\xe8")]),
        script("client: refusal", client, &[b"HTTP/1.1 403 Forbidden\r\nContent-Length: 6\r\n\r\nno way, and more"]),
        script("client: interim answer", client, &[b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"]),
        script("client: garbage", client, &[b"HTTQ/1.1 101 Switching Protocols\r\n\r\n"]),
        script("client: masked frame", open_client, &[&unmasked(0x82, b"ok"), &masked(0x82, b"no")]),
        script("client: fragments", open_client, &[&unmasked(0x01, head), &unmasked(0x8A, b"?"), &unmasked(0x80, tail)]),
        script("lines", || framed(Delimiter::lines()), &[b"one\n\ntwo\r\nrest"]),
        script("long delimiter", || framed(Delimiter::new(b"<end>")), &[b"a<en<end><end>b<end>"]),
        script("line over the limit", || framed(Delimiter::lines().limit(8)), &[b"12345678\n123456789\n"]),
        script("length prefix", || framed(LengthPrefix::new()), &[b"\0\0\0\x03abc\0\0\0\0\0\0\0\x05he"]),
        script("start codes", || framed(StartCodes), &[&start_codes()]),
        script("start codes around a large message", || framed(StartCodes), &[b"\0\0\x01", &large, b"\0\0\x01a\0\0\x01"]),
        script("no start code", || framed(StartCodes), &[b"\0\0\x01a\0\0\x01b\0\0\x01x\0\0\x02"]),
        script("a framer that looks far ahead", || framed(FarAhead), &[&[1, b'a'].repeat(70), &[0; 20], &[9; 12]]),
        script("a framer that panics", || framed(Broken(|_| panic!("on purpose"))), &[b"abc"]),
        script("a framer that consumes nothing", || framed(Broken(|_| Decoded::Message { payload: 0..0, consumed: 0 })), &[b"abc"]),
        script("a framer that consumes too much", || framed(Broken(|len| Decoded::Message { payload: 0..0, consumed: len + 1 })), &[b"abc"]),
        script("a framer whose payload is elsewhere", || framed(Broken(|_| Decoded::Message { payload: 0..2, consumed: 1 })), &[b"abc"]),
        script("a framer that wants too much", || framed(Broken(|_| Decoded::More { at_least: usize::MAX })), &[b"abc"]),
        script("length over the limit", || framed(LengthPrefix::new().limit(4)), &[b"\0\0\0\x04abcd\0\0\0\x05"]),
    ]
}

/// Exchanges of compressed messages.
#[cfg(feature = "deflate")]
mod deflate {
    use storm_proto::Sender;
    use storm_proto::websocket::Deflate;

    use super::*;

    const OFFER: &str = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits";

    fn tight_with(deflate: Deflate) -> Options {
        let mut options = quiet();
        options.websocket = options.websocket.max_message(60_000).deflate(deflate);
        options
    }

    fn context() -> Deflate {
        let deflate = Deflate::new().threshold(0).server_max_window_bits(10);
        deflate.server_no_context_takeover(false).client_no_context_takeover(false)
    }

    fn request() -> Vec<u8> {
        let text = std::str::from_utf8(REQUEST).unwrap().trim_end();
        format!("{text}\r\n{OFFER}\r\n\r\n").into_bytes()
    }

    fn server_of(deflate: Deflate) -> Connection {
        let mut end = End::new(Connection::server(tight_with(deflate), NOW));
        end.receive(&request(), NOW);
        let answer = String::from_utf8(end.take_output(NOW)).unwrap();
        assert!(answer.contains("permessage-deflate"), "{answer}");
        end.connection
    }

    fn with_context() -> Connection {
        server_of(context())
    }

    fn without_context() -> Connection {
        server_of(Deflate::new().threshold(0))
    }

    fn client() -> Connection {
        websocket_client(tight_with(context()), NOW)
    }

    /// What a server answers to [`client`].
    fn acceptance() -> Vec<u8> {
        let mut end = End::new(Connection::server(tight_with(context()), NOW));
        end.receive(&End::new(client()).take_output(NOW), NOW);
        end.take_output(NOW)
    }

    /// Payloads as a compressor with context makes them.
    fn payloads(messages: &[&[u8]]) -> Vec<Vec<u8>> {
        let mut end = End::new(with_context());
        let send = |message: &&[u8]| {
            let sender: &mut Sender = end.connection.sender();
            sender.send(*message).unwrap();
            let frame = end.take_output(NOW);
            assert_eq!(frame[0], 0xC2);
            frame[if frame[1] < 126 { 2 } else { 4 }..].to_vec()
        };
        messages.iter().map(send).collect()
    }

    pub(super) fn scripts() -> Vec<Script> {
        let long = "κόσμε, and so on; ".repeat(500);
        let mixed: String = (0..3000u32).map(|n| format!("{}:{},", n % 7, n * n / 32)).collect();
        let made =
            payloads(&[b"Hello", b"Hello", b"", long.as_bytes(), mixed.as_bytes(), &[0; 60_001]]);
        let [hello, again, empty, long, mixed, over] = &made[..] else { panic!() };
        let cut = hello.len() / 2;
        let frames = [
            masked(0xC1, hello),
            masked(0x41, &again[..1]),
            masked(0x89, b"!"),
            masked(0x80, &again[1..]),
            masked(0xC2, empty),
            masked(0x81, b"plain"),
            masked(0x41, &long[..9]),
            masked(0x00, b""),
            masked(0x80, &long[9..]),
            masked(0x88, b"\x03\xe8"),
        ]
        .concat();
        let late = masked(0x81, b"late");
        let invalid = payloads(&[b"fine so far \xed\xa0\x80 and on"]).remove(0);
        let mut corrupt = mixed.clone();
        corrupt[1000] ^= 0x55;
        let final_block = b"\xf3\x48\xcd\xc9\xc9\x07\x00";
        let unmasked_hello = unmasked(0xC1, hello);
        let script = |name, make: fn() -> Connection, bytes: &[&[u8]]| Script {
            name,
            make,
            bytes: bytes.concat(),
        };
        vec![
            script("deflate: with context", with_context, &[&frames]),
            script(
                "deflate: without",
                without_context,
                &[&masked(0xC1, hello), &masked(0xC1, hello)],
            ),
            script(
                "deflate: no context to refer to",
                without_context,
                &[&masked(0xC1, hello), &masked(0xC1, again), &late],
            ),
            script(
                "deflate: large",
                without_context,
                &[&masked(0xC2, mixed), &masked(0x81, b"next")],
            ),
            script("deflate: over the limit", with_context, &[&masked(0xC2, over), &late]),
            script("deflate: invalid text", with_context, &[&masked(0xC1, &invalid), &late]),
            script("deflate: corrupt", with_context, &[&masked(0xC2, &corrupt), &late]),
            script(
                "deflate: ends in a block",
                with_context,
                &[&masked(0xC1, &hello[..cut]), &late],
            ),
            script(
                "deflate: final blocks",
                with_context,
                &[
                    &masked(0xC1, &[&final_block[..], &[0]].concat()),
                    &masked(0xC1, &final_block.repeat(3)),
                    &masked(0xC1, again),
                ],
            ),
            script(
                "deflate: a marked continuation",
                with_context,
                &[&masked(0x41, hello), &masked(0xC0, b"x")],
            ),
            script("deflate: a marked ping", with_context, &[&masked(0xC9, b"x")]),
            script(
                "deflate: as a client",
                client,
                &[
                    &acceptance(),
                    &unmasked_hello,
                    &unmasked(0xC1, again),
                    &unmasked(0x88, b"\x03\xe8"),
                ],
            ),
        ]
    }
}

#[test]
fn every_exchange_is_the_same_for_every_cut() {
    let scripts = all_scripts();
    let played: usize = scripts.iter().map(splits_agree).sum();
    println!("{} scripts, played {played} ways", scripts.len());
    assert!(played > 60_000);
}

fn all_scripts() -> Vec<Script> {
    #[allow(unused_mut, reason = "without deflate that is all")]
    let mut all = scripts();
    #[cfg(feature = "deflate")]
    all.extend(deflate::scripts());
    all
}

#[test]
fn the_scripts_reach_what_they_are_named_for() {
    for script in all_scripts() {
        let outcome = play(&script, &[]);
        let faulty = outcome.reason.error.is_some();
        let answered = !outcome.output.is_empty() || !outcome.messages.is_empty();
        let refused = script.name.starts_with("client:") && !outcome.opened;
        assert!(faulty || answered || refused, "{} does nothing: {outcome:?}", script.name);
    }
}
