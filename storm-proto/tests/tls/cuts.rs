//! A connection over TLS is a function of its bytes, wherever they were cut: in the handshake,
//! in the header of a record, between two frames that one record holds. (A record that was
//! changed is another matter: nothing may be said behind the alert, so what came in one read
//! with it has no answers.)

use storm_proto::DisconnectReason;
use storm_proto::service::Running;
use storm_proto::tls::TlsStage;

use crate::sim::Sim;
use crate::sim::tools::{masked, seconds};
use crate::{REQUEST, Scribe, Secure, blind, serve_lines, serve_websocket, text};

/// What a client says once its handshake is over.
struct Script {
    name: &'static str,
    serve: fn() -> (Scribe, Running<Sim>),
    /// Each is sealed by itself.
    parts: Vec<Vec<u8>>,
    end: End,
    /// Something that the server answers, so that it is known to have understood.
    answer: &'static [u8],
}

/// How it ends.
#[derive(Clone, Copy, PartialEq)]
enum End {
    Orderly,
    /// Without `close_notify`.
    CutOff,
}

/// All that a connection leaves behind.
#[derive(PartialEq, Debug)]
struct Outcome {
    journal: Vec<String>,
    /// Plaintext.
    output: Vec<u8>,
    /// It ended with `close_notify`.
    orderly: bool,
    reason: DisconnectReason,
}

/// Plays a script with the client's bytes cut before those numbers that `is_cut` names; returns
/// how many there were as well.
fn play(scribe: &Scribe, script: &Script, is_cut: impl Fn(usize) -> bool) -> (Outcome, usize) {
    // A client of its own each time: none takes up the session of another.
    let stage = TlsStage::client(&blind(), "server.example", true).unwrap();
    let mut client = Secure::new(Sim::dial(), stage);
    let mut sent = 0;
    let mut flight = Vec::new();
    let mut fly = |client: &mut Secure, flight: &mut Vec<u8>| {
        let mut from = 0;
        for to in (1..flight.len()).filter(|at| is_cut(sent + at)).chain([flight.len()]) {
            client.peer.send(&flight[from..to]);
            from = to;
        }
        sent += flight.len();
        flight.clear();
    };
    client.stage.answers(&mut flight);
    fly(&mut client, &mut flight);
    let answer = client.peer.take();
    assert!(client.stage.handshake(&mut &answer[..]).unwrap());
    client.stage.answers(&mut flight);
    script.parts.iter().for_each(|part| flight.extend(client.seal(part)));
    if script.end == End::Orderly {
        client.stage.close(&mut flight);
    }
    fly(&mut client, &mut flight);
    client.peer.end();
    let (output, orderly) = (client.take(), client.stage.is_ended());
    // Sessions have numbers, and each time another.
    let no_number = |line: String| line.replace(|c: char| c.is_ascii_digit(), "");
    let journal = scribe.journal.take().into_iter().map(no_number).collect();
    (Outcome { journal, output, orderly, reason: scribe.reason() }, sent)
}

fn scripts() -> Vec<Script> {
    // No pings: a pong overtakes what has not left yet, and that depends on when things come.
    let frames = [text("one"), masked(0x01, b"tw"), masked(0x80, b"o")];
    let close = masked(0x88, b"\x03\xe8");
    let together = [&frames.concat()[..], &close].concat();
    let apart = [&[REQUEST.to_vec()][..], &frames, std::slice::from_ref(&close)].concat();
    let lines = vec![b"one\ntw".to_vec(), b"o\n".to_vec(), b"unfin".to_vec()];
    let script =
        |name, parts, end, answer| Script { name, serve: serve_websocket, parts, end, answer };
    let in_one = vec![[REQUEST, &together].concat()];
    let (echo, line) = (b"\x81\x03one", b"one\ntwo\n");
    vec![
        script("a request and frames in one record", in_one, End::Orderly, echo),
        script("frames in records of their own", apart, End::Orderly, echo),
        Script { serve: serve_lines, ..script("lines", lines.clone(), End::Orderly, line) },
        Script { serve: serve_lines, ..script("lines, cut off", lines, End::CutOff, line) },
        #[cfg(feature = "deflate")]
        compressed::script(),
    ]
}

/// The example of RFC 7692 section 7.2.3.2, whole and in fragments, over TLS.
#[cfg(feature = "deflate")]
mod compressed {
    use storm_proto::websocket::Deflate;

    use super::*;
    use crate::{quiet, serve};

    fn serve_compressed() -> (Scribe, Running<Sim>) {
        let deflate = Deflate::new().threshold(0).client_no_context_takeover(false);
        serve(|server| server.websocket(quiet().deflate(deflate)))
    }

    pub(super) fn script() -> Script {
        let request = REQUEST.strip_suffix(b"\r\n").unwrap();
        let offer = b"Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n";
        let hello = masked(0xC1, b"\xf2\x48\xcd\xc9\xc9\x07\x00");
        let again = [masked(0x41, b"\xf2\x00"), masked(0x80, b"\x11\x00\x00")].concat();
        let close = masked(0x88, b"\x03\xe8");
        Script {
            name: "compressed messages",
            serve: serve_compressed,
            parts: vec![[request, offer].concat(), hello, [again, close].concat()],
            end: End::Orderly,
            // Smaller as it is.
            answer: b"\x81\x05Hello\x81\x05Hello",
        }
    }
}

#[test]
fn wherever_bytes_of_records_are_cut_the_connection_is_the_same() {
    for script in scripts() {
        let (scribe, running) = (script.serve)();
        let (whole, len) = play(&scribe, &script, |_| false);
        let answered = whole.output.windows(script.answer.len()).any(|part| part == script.answer);
        assert!(answered, "{}: {whole:?}", script.name);
        let agree = |name: &str, is_cut: &dyn Fn(usize) -> bool| {
            let (outcome, sent) = play(&scribe, &script, is_cut);
            assert_eq!((&outcome, sent), (&whole, len), "{}, {name}", script.name);
        };
        for at in 1..len {
            agree(&format!("cut at {at}"), &|byte| byte == at);
        }
        for size in [1, 2, 3, 5, 7, 64] {
            agree(&format!("in pieces of {size}"), &|byte| byte % size == 0);
        }
        Sim::block_on(running.stop(seconds(1)));
    }
}
