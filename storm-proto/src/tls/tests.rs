//! Two machines talk in memory.
#![allow(clippy::unwrap_used)]

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use std::io::IoSlice;
use std::{format, vec};

use super::*;

fn identity(name: &str) -> TlsIdentity {
    TlsIdentity::self_signed([name]).unwrap()
}

fn trusting(identity: &TlsIdentity) -> TlsClientOptions {
    TlsClient::options().roots(TlsRoots::only(identity).unwrap())
}

/// Both sides of a connection, and what is on its way.
struct Pair {
    server: TlsStage,
    client: TlsStage,
}

impl Pair {
    fn new(server: &TlsServer, client: &TlsClient) -> Pair {
        let client = TlsStage::client(client, "server.example", true).unwrap();
        Pair { server: TlsStage::server(server, true).unwrap(), client }
    }

    fn simple() -> Pair {
        let identity = identity("server.example");
        let client = trusting(&identity).build().unwrap();
        Pair::new(&TlsServer::new(identity).unwrap(), &client)
    }

    /// A pair whose handshake is over.
    fn open() -> Pair {
        let mut pair = Pair::simple();
        pair.shake().unwrap();
        pair
    }

    fn shake(&mut self) -> Result<(), (TlsError, TlsError)> {
        self.shake_through(usize::MAX, |_, _| {})
    }

    /// Goes through the handshake in pieces of so many bytes; `spoil` sees every flight of the
    /// client (true) and of the server. An error comes with what the other side made of it.
    fn shake_through(
        &mut self,
        piece: usize,
        mut spoil: impl FnMut(bool, &mut Vec<u8>),
    ) -> Result<(), (TlsError, TlsError)> {
        for _ in 0..10 {
            for from_client in [true, false] {
                let (from, to) = match from_client {
                    true => (&mut self.client, &mut self.server),
                    false => (&mut self.server, &mut self.client),
                };
                let mut flight = Vec::new();
                from.answers(&mut flight);
                spoil(from_client, &mut flight);
                let pieces = flight.chunks(piece.min(flight.len().max(1)));
                let mut kept = Vec::new();
                for piece in pieces {
                    kept.extend_from_slice(piece);
                    let mut rest = &kept[..];
                    let shaken = to.handshake(&mut rest);
                    let opened = to.open(&mut rest, &mut [0; 16]);
                    kept = rest.to_vec();
                    if let Err(error) = shaken.map(drop).and(opened.map(drop)) {
                        let mut alert = Vec::new();
                        to.answers(&mut alert);
                        let mut alert = &alert[..];
                        let told = from.handshake(&mut alert).map(drop);
                        let told = told.and_then(|()| from.open(&mut alert, &mut [0]).map(drop));
                        let silent = TlsError::new(TlsErrorKind::Truncated, "was not told");
                        return Err((error, told.err().unwrap_or(silent)));
                    }
                }
            }
        }
        if self.client.is_handshaking() || self.server.is_handshaking() {
            // A length that was changed waits for bytes that never come.
            let still = TlsError::new(TlsErrorKind::Truncated, "the handshake stands still");
            return Err((still.clone(), still));
        }
        Ok(())
    }

    /// What the client says, as records.
    fn say(&mut self, plain: &[u8]) -> Vec<u8> {
        seal(&mut self.client, &[plain])
    }
}

fn seal(from: &mut TlsStage, chunks: &[&[u8]]) -> Vec<u8> {
    let slices = chunks.iter().map(|chunk| IoSlice::new(chunk)).collect::<Vec<_>>();
    let mut records = Vec::new();
    assert_eq!(from.seal(&slices, &mut records), Ok(chunks.concat().len()));
    records
}

fn open(to: &mut TlsStage, mut records: &[u8]) -> Result<Vec<u8>, TlsError> {
    let mut all = Vec::new();
    loop {
        let mut plain = [0; 1000];
        match to.open(&mut records, &mut plain)? {
            0 => return Ok(all),
            n => all.extend_from_slice(&plain[..n]),
        }
    }
}

/// The lengths of records.
fn lengths(mut records: &[u8]) -> Vec<usize> {
    let mut lengths = Vec::new();
    while !records.is_empty() {
        let len = usize::from(u16::from_be_bytes([records[3], records[4]]));
        lengths.push(len);
        records = &records[5 + len..];
    }
    lengths
}

#[test]
fn both_versions_carry_both_directions_and_end_in_order() {
    for version in [TlsVersion::Tls12, TlsVersion::Tls13] {
        let identity = identity("server.example");
        let mut config = (*trusting(&identity).build().unwrap().config(true)).clone();
        if version == TlsVersion::Tls12 {
            config = rustls::ClientConfig::builder_with_provider(provider())
                .with_protocol_versions(&[&TLS12])
                .unwrap()
                .with_root_certificates({
                    let mut roots = rustls::RootCertStore::empty();
                    roots.add(identity.certificates()[0].clone()).unwrap();
                    roots
                })
                .with_no_client_auth();
            config.alpn_protocols = vec![HTTP_1_1.to_vec()];
        }
        let server = TlsServer::new(identity.clone()).unwrap();
        let mut pair = Pair::new(&server, &TlsClient::from_config(Arc::new(config)));
        assert!(pair.server.facts().is_none());
        pair.shake().unwrap();
        let (server, client) = (pair.server.facts().unwrap(), pair.client.facts().unwrap());
        assert_eq!((server.version, client.version), (version, version));
        assert_eq!(server.server_name.as_deref(), Some("server.example"));
        assert_eq!(server.alpn.as_deref(), Some(&b"http/1.1"[..]));
        assert_eq!(client.peer_certificates, identity.certificates());
        assert_eq!(server.cipher_suite, client.cipher_suite);
        assert!(server.peer_certificates.is_empty() && !server.resumed);

        let records = pair.say(b"hello");
        assert_eq!(open(&mut pair.server, &records).unwrap(), b"hello");
        let records = seal(&mut pair.server, &[b"wor", b"ld"]);
        assert_eq!(open(&mut pair.client, &records).unwrap(), b"world");
        let mut end = Vec::new();
        pair.server.close(&mut end);
        end.extend_from_slice(b"and bytes behind it");
        assert_eq!(open(&mut pair.client, &end).unwrap(), b"");
        assert!(pair.client.is_ended());
        pair.client.end_of_stream().unwrap();
        // Half-open: the other direction goes on.
        let records = pair.say(b"still here");
        assert_eq!(open(&mut pair.server, &records).unwrap(), b"still here");
    }
}

#[test]
fn a_hundred_small_chunks_are_one_record_and_much_is_as_few_as_it_can_be() {
    let mut pair = Pair::open();
    let frames = vec![&b"\x81\x05hello"[..]; 100];
    let records = seal(&mut pair.server, &frames);
    assert_eq!(lengths(&records).len(), 1);
    assert_eq!(open(&mut pair.client, &records).unwrap(), frames.concat());

    let much = vec![7; 64 << 10];
    let records = seal(&mut pair.server, &[&much]);
    assert_eq!(lengths(&records).len(), 4);
    let mut taken = Vec::new();
    let more = vec![7; 100 << 10];
    assert_eq!(pair.server.seal(&[IoSlice::new(&more)], &mut taken), Ok(64 << 10));
}

#[test]
fn records_can_be_cut_anywhere() {
    for piece in [1, 2, 3, 5, 64, 1000] {
        let mut pair = Pair::simple();
        pair.shake_through(piece, |_, _| {}).unwrap();
    }
    let mut pair = Pair::open();
    let len = pair.say(b"the same").len();
    let _ = Pair::open();
    for cut in 0..len {
        let mut pair = Pair::open();
        let records = [pair.say(b"the same"), pair.say(b" again")].concat();
        let mut kept = records[..cut].to_vec();
        let mut plain = [0; 100];
        let mut filled = 0;
        for rest in [&records[cut..], &[]] {
            let mut input = &kept[..];
            filled += pair.server.open(&mut input, &mut plain[filled..]).unwrap();
            kept = [input, rest].concat();
        }
        filled += pair.server.open(&mut &kept[..], &mut plain[filled..]).unwrap();
        assert_eq!(&plain[..filled], b"the same again", "cut at {cut}");
    }
}

#[test]
fn little_room_for_plaintext_loses_nothing() {
    let mut pair = Pair::open();
    let much = (0..60_000u32).map(|n| n as u8).collect::<Vec<_>>();
    let records = pair.say(&much);
    let mut input = &records[..];
    let mut all = Vec::new();
    for room in (1..7000).step_by(13).cycle() {
        let mut plain = vec![0; room];
        let n = pair.server.open(&mut input, &mut plain).unwrap();
        all.extend_from_slice(&plain[..n]);
        if n < room {
            break;
        }
    }
    assert!(input.is_empty() && all == much);
}

#[test]
fn a_changed_record_is_never_opened_and_what_came_before_it_is() {
    let len = Pair::open().say(b"hello").len();
    // Type and version of a record are not sealed with TLS 1.3, and nothing depends on them.
    for at in 3..len {
        let mut pair = Pair::open();
        let mut records = [pair.say(b"good"), pair.say(b"hello")].concat();
        let changed = records.len() - len + at;
        records[changed] ^= 1;
        // A record that became longer gets its bytes.
        records.extend([0; 300]);
        let mut plain = [0; 100];
        let mut input = &records[..];
        assert_eq!(pair.server.open(&mut input, &mut plain), Ok(4), "byte {at}");
        let error = pair.server.open(&mut input, &mut plain).unwrap_err();
        assert!(matches!(error.kind(), TlsErrorKind::Corrupt | TlsErrorKind::Protocol), "{error}");
        let mut alert = Vec::new();
        pair.server.answers(&mut alert);
        let told = open(&mut pair.client, &alert).unwrap_err();
        assert_eq!(told.kind(), TlsErrorKind::Alert, "the client is told");
        let again = pair.server.open(&mut &[23][..], &mut plain);
        assert_eq!(again, Err(error), "the first failure is final");
        assert!(pair.server.seal(&[IoSlice::new(b"x")], &mut alert).is_err());
    }
}

#[test]
fn a_changed_handshake_fails_or_changes_nothing() {
    let mut failed = 0;
    for at in (0..1500).step_by(11) {
        let mut pair = Pair::simple();
        let mut left = at;
        let shaken = pair.shake_through(usize::MAX, |_, flight| {
            if left < flight.len() {
                flight[left] ^= 0x40;
                left = usize::MAX;
            } else {
                left = left.saturating_sub(flight.len()).min(usize::MAX / 2);
            }
        });
        match shaken {
            Ok(()) => {
                let records = pair.say(b"hello");
                assert_eq!(open(&mut pair.server, &records).unwrap(), b"hello");
            }
            Err((error, _)) => {
                failed += 1;
                assert_ne!(error.kind(), TlsErrorKind::Config, "{at}: {error}");
            }
        }
    }
    assert!(failed > 50, "{failed}");
}

#[test]
fn an_end_without_close_notify_is_told_at_every_byte() {
    let mut pair = Pair::open();
    let mut records = pair.say(b"all");
    pair.client.close(&mut records);
    for cut in 0..records.len() {
        let mut pair = Pair::open();
        let mut records = pair.say(b"all");
        pair.client.close(&mut records);
        let _ = open(&mut pair.server, &records[..cut]).unwrap();
        let error = pair.server.end_of_stream().unwrap_err();
        assert_eq!(error.kind(), TlsErrorKind::Truncated, "cut at {cut}");
    }
}

#[test]
fn what_is_no_tls_is_told_by_its_first_byte() {
    let first = |byte: u8| {
        let mut pair = Pair::simple();
        let server = pair.server.handshake(&mut &[byte][..]).map_err(|error| error.kind());
        (server, pair.client.handshake(&mut &[byte][..]).map_err(|error| error.kind()))
    };
    assert_eq!(first(b'G'), (Err(TlsErrorKind::PlainHttp), Err(TlsErrorKind::NotTls)));
    assert_eq!(first(b'H'), (Err(TlsErrorKind::PlainHttp), Err(TlsErrorKind::NotTls)));
    for byte in (0..=255).filter(|byte| !(20..=23).contains(byte)) {
        assert!(first(byte).0.is_err() && first(byte).1 == Err(TlsErrorKind::NotTls), "{byte}");
    }
    assert_eq!(first(22), (Ok(false), Ok(false)));
    // Garbage that begins like a record costs a header.
    let mut server = Pair::simple().server;
    let garbage = server.handshake(&mut &b"\x16\x03\x01\x00\x04junk"[..]).unwrap_err();
    assert_eq!(garbage.kind(), TlsErrorKind::Protocol);
}

#[test]
fn a_close_that_anybody_could_have_said_is_not_believed() {
    let mut server = Pair::simple().server;
    let close_notify = b"\x15\x03\x03\x00\x02\x01\x00";
    assert_eq!(server.handshake(&mut &close_notify[..]), Ok(false));
    assert!(!server.is_ended());
    // Nor are many of them put up with.
    let error = server.handshake(&mut &close_notify.repeat(9)[..]).unwrap_err();
    assert_eq!(error.kind(), TlsErrorKind::Protocol);
}

#[test]
fn a_client_trusts_only_whom_it_is_told_to() {
    let (ours, theirs) = (identity("server.example"), identity("server.example"));
    let server = TlsServer::new(theirs.clone()).unwrap();
    let connect = |client: TlsClientOptions| Pair::new(&server, &client.build().unwrap()).shake();
    let (error, told) = connect(trusting(&ours)).unwrap_err();
    assert_eq!((error.kind(), told.kind()), (TlsErrorKind::Certificate, TlsErrorKind::Alert));
    connect(trusting(&theirs)).unwrap();
    let (error, _) = connect(trusting(&theirs).server_name("other.example")).unwrap_err();
    assert_eq!(error.kind(), TlsErrorKind::Certificate);
    assert!(error.to_string().starts_with("tls: invalid peer certificate"), "{error}");
    connect(trusting(&ours).dangerous_accept_any_certificate()).unwrap();
    let bad = TlsStage::client(&trusting(&ours).build().unwrap(), "no host", true).unwrap_err();
    assert_eq!(bad.kind(), TlsErrorKind::Config);
}

#[test]
fn a_server_asks_for_certificates_and_says_which_it_saw() {
    let (mine, stranger) = (identity("client"), identity("client"));
    let server = || TlsServer::options(identity("server.example"));
    let connect = |server: TlsServerOptions, shown: Option<&TlsIdentity>| {
        let mut client = TlsClient::options().dangerous_accept_any_certificate();
        if let Some(shown) = shown {
            client = client.identity(shown.clone());
        }
        let mut pair = Pair::new(&server.build().unwrap(), &client.build().unwrap());
        let shaken = pair.shake().map_err(|(error, told)| (error.kind(), told.kind()));
        shaken.map(|()| pair.server.facts().unwrap().peer_certificates)
    };
    let roots = || TlsRoots::only(&mine).unwrap();
    let refused = Err((TlsErrorKind::Certificate, TlsErrorKind::Alert));
    let seen = Ok(mine.certificates().to_vec());
    assert_eq!(connect(server().client_certificates(roots()), None), Ok(vec![]));
    assert_eq!(connect(server().client_certificates(roots()), Some(&mine)), seen);
    assert_eq!(connect(server().client_certificates(roots()), Some(&stranger)), refused);
    assert_eq!(connect(server().require_client_certificates(roots()), None), refused);
    assert_eq!(connect(server().require_client_certificates(roots()), Some(&mine)), seen);
    assert_eq!(connect(server(), Some(&mine)), Ok(vec![]), "nobody asked");
    let error = server().client_certificates(TlsRoots::platform()).build().unwrap_err();
    assert_eq!(error.kind(), TlsErrorKind::Config);
}

#[test]
fn a_server_chooses_its_certificate_by_name_and_takes_new_ones() {
    let (other, one, below) = (identity("any"), identity("one.example"), identity("x.b.example"));
    let server = TlsServer::options(other.clone())
        .identity_for("One.Example", one.clone())
        .identity_for("*.b.example", below.clone())
        .build()
        .unwrap();
    let shown = |server: &TlsServer, name: &str| {
        let client = TlsClient::options().dangerous_accept_any_certificate().server_name(name);
        let mut pair = Pair::new(server, &client.build().unwrap());
        pair.shake().unwrap();
        pair.client.facts().unwrap().peer_certificates
    };
    for (name, expected) in [
        ("one.example", &one),
        ("ONE.example", &one),
        ("x.b.example", &below),
        ("b.example", &other),
        ("y.x.b.example", &other),
        ("elsewhere.example", &other),
        ("127.0.0.1", &other),
    ] {
        assert_eq!(shown(&server, name), expected.certificates(), "{name}");
    }
    let handle = server.clone();
    let renewed = identity("one.example");
    handle.replace(&TlsServer::new(renewed.clone()).unwrap());
    assert_eq!(shown(&server, "one.example"), renewed.certificates());
}

#[test]
fn protocols_and_versions_must_have_something_in_common() {
    let identity = identity("server.example");
    let server = || TlsServer::options(identity.clone());
    let connect = |server: TlsServerOptions, client: TlsClientOptions| {
        let mut pair = Pair::new(&server.build().unwrap(), &client.build().unwrap());
        let shaken = pair.shake().map_err(|(error, told)| (error.kind(), told.kind()));
        shaken.map(|()| {
            pair.client.facts().unwrap().alpn.map(|name| String::from_utf8(name).unwrap())
        })
    };
    let refused = Err((TlsErrorKind::Protocol, TlsErrorKind::Alert));
    assert_eq!(
        connect(server(), trusting(&identity).alpn(["h2", "http/1.1"])).unwrap().unwrap(),
        "http/1.1"
    );
    assert_eq!(connect(server(), trusting(&identity).alpn(["h2"])), refused);
    assert_eq!(connect(server(), trusting(&identity).alpn([""; 0])), Ok(None));
    assert_eq!(
        connect(server().alpn(["a", "b"]), trusting(&identity).alpn(["b"])),
        Ok(Some("b".into()))
    );
    let only13 = |lowest| trusting(&identity).lowest_version(lowest);
    assert!(connect(server().lowest_version(TlsVersion::Tls13), only13(TlsVersion::Tls13)).is_ok());
    // A socket that is no WebSocket agrees on nothing by default.
    let tls = server().build().unwrap();
    assert!(tls.config(false).alpn_protocols.is_empty());
}

#[test]
fn pem_is_read_and_what_is_wrong_with_it_is_told() {
    let made = rcgen::generate_simple_self_signed(["a".to_string()]).unwrap();
    let pem = |kind: &str, der: &[u8]| {
        use base64::prelude::*;
        format!("-----BEGIN {kind}-----\n{}\n-----END {kind}-----\n", BASE64_STANDARD.encode(der))
    };
    let chain = pem("CERTIFICATE", made.cert.der());
    let key = pem("PRIVATE KEY", &made.signing_key.serialize_der());
    let both = [chain.clone(), key.clone()].concat();
    let read = TlsIdentity::from_pem(both.as_bytes(), both.as_bytes()).unwrap();
    assert_eq!(read.certificates(), [made.cert.der().clone()]);
    TlsRoots::from_pem(chain.as_bytes()).unwrap();

    let other = rcgen::KeyPair::generate().unwrap();
    let other = pem("PRIVATE KEY", &other.serialize_der());
    for (chain, key) in [("", &key[..]), (&chain, ""), (&chain, &other), ("junk", &key)] {
        let error = TlsIdentity::from_pem(chain.as_bytes(), key.as_bytes()).unwrap_err();
        assert_eq!(error.kind(), TlsErrorKind::Config, "{error}");
    }
    assert!(TlsRoots::from_pem(b"").is_err());
    let error = TlsIdentity::from_files("/does/not/exist", "/nor/this").unwrap_err();
    assert!(error.to_string().contains("/does/not/exist"), "{error}");
}

#[test]
fn a_second_connection_takes_up_the_first() {
    let identity = identity("server.example");
    let client = trusting(&identity).build().unwrap();
    let server = TlsServer::new(identity).unwrap();
    for resumed in [false, true] {
        let mut pair = Pair::new(&server, &client);
        pair.shake().unwrap();
        assert_eq!(pair.server.facts().unwrap().resumed, resumed);
        assert_eq!(pair.server.facts().unwrap().server_name.as_deref(), Some("server.example"));
    }
}

#[cfg(feature = "tls-webpki-roots")]
#[test]
fn roots_that_are_compiled_in_vouch_for_nobody_of_ours() {
    let identity = identity("server.example");
    let client = TlsClient::options().roots(TlsRoots::webpki()).build().unwrap();
    let mut pair = Pair::new(&TlsServer::new(identity).unwrap(), &client);
    assert_eq!(pair.shake().unwrap_err().0.kind(), TlsErrorKind::Certificate);
}
