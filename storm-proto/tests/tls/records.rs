//! What a peer may send as records and what it may not, at the machine of a server. Most of it
//! rustls sees to; these tests see that it is asked to.

use std::sync::Arc;

use storm_proto::tls::rustls::crypto::ring;
use storm_proto::tls::rustls::pki_types::ServerName;
use storm_proto::tls::rustls::version::{TLS12, TLS13};
use storm_proto::tls::rustls::{
    ClientConfig, ClientConnection, RootCertStore, SupportedProtocolVersion,
};
use storm_proto::tls::{TlsErrorKind, TlsIdentity, TlsServer, TlsStage, TlsVersion};

use crate::identity;

/// A client that is rustls and nothing else.
fn client(identity: &TlsIdentity, version: &'static SupportedProtocolVersion) -> ClientConnection {
    let mut roots = RootCertStore::empty();
    roots.add(identity.certificates()[0].clone()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[version])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("server.example").unwrap();
    ClientConnection::new(Arc::new(config), name).unwrap()
}

fn server(identity: &TlsIdentity) -> TlsStage {
    TlsStage::server(&TlsServer::new(identity.clone()).unwrap(), false).unwrap()
}

fn flight(client: &mut ClientConnection) -> Vec<u8> {
    let mut records = Vec::new();
    while client.wants_write() {
        client.write_tls(&mut records).unwrap();
    }
    records
}

/// Shows the client what the server has to say.
fn answer(client: &mut ClientConnection, server: &mut TlsStage) {
    let mut answers = Vec::new();
    server.answers(&mut answers);
    let mut rest = &answers[..];
    while !rest.is_empty() {
        client.read_tls(&mut rest).unwrap();
        client.process_new_packets().unwrap();
    }
}

/// The same bytes in records of at most so many.
fn in_records_of(len: usize, mut records: &[u8]) -> Vec<u8> {
    let mut cut = Vec::new();
    while let [kind, major, minor, high, low, ..] = *records {
        let (record, rest) = records[5..].split_at(usize::from(u16::from_be_bytes([high, low])));
        for piece in record.chunks(len) {
            cut.extend([kind, major, minor, 0, piece.len() as u8]);
            cut.extend(piece);
        }
        records = rest;
    }
    cut
}

/// What a server says to a first flight.
fn first(records: &[u8]) -> Result<bool, TlsErrorKind> {
    server(&identity()).handshake(&mut &records[..]).map_err(|error| error.kind())
}

#[test]
fn a_handshake_may_be_cut_over_records() {
    let identity = identity();
    for len in [1, 7, 100] {
        let (mut client, mut server) = (client(&identity, &TLS13), server(&identity));
        let hello = in_records_of(len, &flight(&mut client));
        assert_eq!(server.handshake(&mut &hello[..]), Ok(false));
        answer(&mut client, &mut server);
        assert_eq!(server.handshake(&mut &flight(&mut client)[..]), Ok(true), "records of {len}");
    }
}

#[test]
fn an_older_version_is_told_so() {
    let identity = identity();
    let hello = flight(&mut client(&identity, &TLS12));
    assert_eq!(first(&hello), Ok(false));
    // The extension `supported_versions`, with 1.2 in it.
    let only = [0, 43, 0, 3, 2, 3, 3];
    let at = hello.windows(only.len()).position(|part| part == only).unwrap() + only.len() - 1;
    for minor in 0..3 {
        let mut old = hello.clone();
        (old[10], old[at]) = (minor, minor);
        let mut server = server(&identity);
        let error = server.handshake(&mut &old[..]).unwrap_err();
        assert_eq!(error.kind(), TlsErrorKind::Protocol, "version 3.{minor}: {error}");
        let mut alert = Vec::new();
        server.answers(&mut alert);
        assert_eq!(alert[5..], [2, 70], "protocol_version");
    }
    let options = TlsServer::options(identity.clone()).lowest_version(TlsVersion::Tls13);
    let mut server = TlsStage::server(&options.build().unwrap(), false).unwrap();
    assert!(server.handshake(&mut &hello[..]).is_err(), "if that is what the options say");
}

#[test]
fn empty_records_are_refused_or_bounded() {
    for kind in 20..=23 {
        let empty = [kind, 3, 3, 0, 0].repeat(100);
        assert_eq!(first(&empty), Err(TlsErrorKind::Protocol), "type {kind}");
    }
}

#[test]
fn a_record_and_a_handshake_message_have_a_limit() {
    // 2^14 and what sealing may add to it (RFC 8446 section 5.2).
    assert_eq!(first(b"\x16\x03\x01\x40\x00"), Ok(false));
    assert_eq!(first(b"\x16\x03\x01\x48\x01"), Err(TlsErrorKind::Protocol));
    // A hello of 64 KiB at most, known by its first bytes.
    assert_eq!(first(b"\x16\x03\x01\x00\x04\x01\x00\xff\xff"), Ok(false));
    assert_eq!(first(b"\x16\x03\x01\x00\x04\x01\x01\x00\x00"), Err(TlsErrorKind::Protocol));
}

#[test]
fn key_updates_are_answered_and_bounded() {
    let identity = identity();
    let (mut client, mut server) = (client(&identity, &TLS13), server(&identity));
    assert_eq!(server.handshake(&mut &flight(&mut client)[..]), Ok(false));
    answer(&mut client, &mut server);
    assert_eq!(server.handshake(&mut &flight(&mut client)[..]), Ok(true));
    let mut update = |server: &mut TlsStage| {
        client.refresh_traffic_keys().unwrap();
        let updated = server.open(&mut &flight(&mut client)[..], &mut [0; 16]);
        if updated.is_ok() {
            answer(&mut client, server);
        }
        updated.map_err(|error| error.kind())
    };
    let updates = (0..1000).take_while(|_| update(&mut server).is_ok()).count();
    assert_eq!(updates, 32, "in a row; plaintext between them starts anew");
    assert_eq!(update(&mut server), Err(TlsErrorKind::Protocol));
}
