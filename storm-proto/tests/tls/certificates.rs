//! Who shows which certificate, and what becomes of it.

use std::sync::Arc;

use storm_proto::service::{ConnectError, Handler, Running, Session};
use storm_proto::tls::rustls::crypto::ring;
use storm_proto::tls::rustls::pki_types::PrivatePkcs8KeyDer;
use storm_proto::tls::rustls::{ClientConfig, RootCertStore, ServerConfig};
use storm_proto::tls::{TlsClient, TlsErrorKind, TlsIdentity, TlsRoots, TlsServer, TlsStage};
use storm_proto::websocket::handshake::{Accept, Decision, Request, Response};

use crate::sim::Sim;
use crate::sim::tools::{Journal, poll};
use crate::{Client, REQUEST, Secure, Server, answer, identity, quiet};

/// Lets in whom the roots of the server know; tells both calls what they showed.
#[derive(Clone, Default)]
struct Doorkeeper(Journal);

impl Handler for Doorkeeper {
    async fn on_connecting(&self, request: &Request) -> Decision {
        let shown = request.tls().map_or(0, |facts| facts.peer_certificates.len());
        self.0.note(format!("{shown} certificates"));
        if shown > 0 { Accept::new().into() } else { Response::new(403).into() }
    }

    async fn on_connected(&self, session: &Session) {
        let shown = session.tls().map_or(0, |facts| facts.peer_certificates.len());
        self.0.note(format!("connected with {shown}"));
    }
}

#[test]
fn a_handler_decides_by_the_certificate_that_a_client_shows() {
    let known = identity();
    let options = TlsServer::options(identity());
    let tls = options.client_certificates(TlsRoots::only(&known).unwrap()).build().unwrap();
    let doorkeeper = Doorkeeper::default();
    let server = Server::bind("127.0.0.1:80").tls(tls).websocket(quiet());
    let _running: Running<Sim> = Sim::block_on(server.handler(doorkeeper.clone()).start()).unwrap();
    Sim::run();
    for (shown, status, seen) in [
        (None, "HTTP/1.1 403 ", &["0 certificates"][..]),
        (Some(known), "HTTP/1.1 101 ", &["1 certificates", "connected with 1"]),
    ] {
        let mut client = TlsClient::options().dangerous_accept_any_certificate();
        if let Some(identity) = shown {
            client = client.identity(identity);
        }
        let stage = TlsStage::client(&client.build().unwrap(), "server.example", true).unwrap();
        let mut client = Secure::new(Sim::dial(), stage);
        client.shake();
        client.send(REQUEST);
        let answer = String::from_utf8(client.take()).unwrap();
        assert!(answer.starts_with(status), "{answer}");
        assert_eq!(doorkeeper.0.take(), seen);
    }
}

#[test]
fn a_client_that_was_told_nothing_does_not_trust_a_stranger() {
    let mut connect = Box::pin(Client::new("wss://server.example").connect());
    let error = match poll(&mut connect) {
        // This machine trusts nobody at all.
        Some(connected) => connected.unwrap_err(),
        None => {
            let mut server = answer(&identity());
            server.stage.handshake(&mut &server.peer.take()[..]).unwrap();
            server.flush();
            let error = poll(&mut connect).unwrap().unwrap_err();
            assert!(server.stage.handshake(&mut &server.peer.take()[..]).is_err(), "an alert");
            error
        }
    };
    let ConnectError::Tls(error) = error else { panic!("{error}") };
    assert!(matches!(error.kind(), TlsErrorKind::Certificate | TlsErrorKind::Config), "{error}");
}

#[test]
fn ready_configurations_are_taken_as_they_are() {
    let made = rcgen::generate_simple_self_signed(["server.example".to_string()]).unwrap();
    let chain = vec![made.cert.der().clone()];
    let provider = Arc::new(ring::default_provider());
    let server = ServerConfig::builder_with_provider(provider.clone());
    let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let server = server.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
    let mut server = server.with_single_cert(chain.clone(), key.into()).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(chain[0].clone()).unwrap();
    let client = ClientConfig::builder_with_provider(provider);
    let client = client.with_safe_default_protocol_versions().unwrap();
    let mut client = client.with_root_certificates(roots).with_no_client_auth();
    // Not the protocol of a WebSocket, which is not added.
    server.alpn_protocols = vec![b"mine".to_vec()];
    client.alpn_protocols = vec![b"mine".to_vec()];

    let server = TlsServer::from_config(Arc::new(server));
    let client = TlsClient::from_config(Arc::new(client));
    let mut connect = Box::pin(Client::new("wss://server.example").tls(client).connect());
    assert!(poll(&mut connect).is_none());
    let mut server = Secure::new(Sim::dialled(), TlsStage::server(&server, true).unwrap());
    for _ in 0..5 {
        server.records.extend(server.peer.take());
        let mut rest = &server.records[..];
        server.stage.handshake(&mut rest).unwrap();
        server.records = rest.to_vec();
        server.flush();
        assert!(poll(&mut connect).is_none());
    }
    assert_eq!(server.stage.facts().unwrap().alpn.as_deref(), Some(&b"mine"[..]));
    assert!(server.take().starts_with(b"GET / HTTP/1.1\r\n"));
}

#[test]
fn certificates_and_keys_are_read_from_files() {
    use base64::prelude::{BASE64_STANDARD, Engine};
    let made = rcgen::generate_simple_self_signed(["server.example".to_string()]).unwrap();
    let pem = |kind, der: &[u8]| {
        let text = BASE64_STANDARD.encode(der);
        format!("-----BEGIN {kind}-----\n{text}\n-----END {kind}-----\n")
    };
    let chain = pem("CERTIFICATE", made.cert.der());
    let key = pem("PRIVATE KEY", &made.signing_key.serialize_der());
    let file = std::env::temp_dir().join(format!("storm-{}.pem", std::process::id()));
    std::fs::write(&file, chain + &key).unwrap();
    let identity = TlsIdentity::from_files(&file, &file).unwrap();
    let roots = TlsRoots::from_file(&file).unwrap();
    std::fs::remove_file(&file).unwrap();
    assert_eq!(identity.certificates(), [made.cert.der().clone()]);

    let client = TlsClient::options().roots(roots).build().unwrap();
    let mut connect = Box::pin(Client::new("wss://server.example").tls(client).connect());
    assert!(poll(&mut connect).is_none());
    let mut server = answer(&identity);
    server.stage.handshake(&mut &server.peer.take()[..]).unwrap();
    server.flush();
    assert!(poll(&mut connect).is_none());
    assert_eq!(server.stage.handshake(&mut &server.peer.take()[..]), Ok(true), "it trusts");
}

#[test]
fn an_identity_says_nothing_of_its_key() {
    let identity: TlsIdentity = identity();
    assert_eq!(format!("{identity:?}"), "TlsIdentity(1 certificates)");
}
