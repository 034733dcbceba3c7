//! Addresses, requests and answers as the world writes them.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;

use storm_proto::service::{Address, BindAddress, Server};

use super::harness::{Harness, PATIENCE};
use super::unix::path;

fn bind<H: Harness>(address: impl Into<BindAddress>) -> Server<H::Runtime> {
    Server::bind(address).runtime(H::runtime())
}

pub(crate) fn an_address_may_be_said_in_many_ways<H: Harness>() {
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let ways: [BindAddress; 9] = [
        "127.0.0.1:0".into(),
        String::from("127.0.0.1:0").into(),
        any.into(),
        (Ipv4Addr::LOCALHOST, 0).into(),
        (IpAddr::from(Ipv4Addr::LOCALHOST), 0).into(),
        ("localhost", 0).into(),
        "localhost:0".into(),
        ":0".into(),
        "*:0".into(),
    ];
    for way in ways {
        let server = H::start(bind::<H>(way.clone()));
        let port = server.address().port();
        assert_ne!(port, 0, "{way}");
        let everywhere = server.running().addresses();
        assert_eq!(everywhere.first(), Some(server.running().address()));
        for address in everywhere {
            let address = address.ip().unwrap();
            assert_eq!(address.port(), port, "{way} has one port");
            TcpStream::connect(address).unwrap();
        }
        if [":0", "*:0"].map(BindAddress::from).contains(&way) {
            assert_eq!(everywhere.len(), 2, "both families");
        }
        let stopped = H::wait(server.running().stop(PATIENCE));
        assert_eq!(stopped.stuck, 0, "no accept loop holds it up");
    }
}

pub(crate) fn an_address_that_cannot_be_used_is_named<H: Harness>() {
    let start = |address: BindAddress| H::wait(bind::<H>(address).start()).unwrap_err();
    for address in ["8080", "nowhere", "ws://0.0.0.0:80", "::1:80", "localhost:http", "unix:"] {
        let error = start(address.into());
        assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput, "{address}");
        assert!(error.to_string().contains(address), "{error}");
    }
    let taken = TcpListener::bind("[::]:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    for address in [format!(":{port}"), format!("[::]:{port}")] {
        let error = start(address.clone().into());
        assert_eq!(error.kind(), std::io::ErrorKind::AddrInUse);
        assert!(error.to_string().contains(&address), "{error}");
        assert!(std::error::Error::source(&error).is_some());
    }
    let error = H::wait(bind::<H>("127.0.0.1:0").unix_mode(0o600).start()).unwrap_err();
    assert!(error.to_string().contains("unix_mode"), "{error}");
}

pub(crate) fn the_file_of_a_unix_socket_has_its_mode<H: Harness>() {
    let path = path("mode");
    let server = H::start(bind::<H>(path.clone()).unix_mode(0o600));
    assert_eq!(server.running().address(), &Address::Unix(Some(path.to_str().unwrap().into())));
    let mode = std::fs::symlink_metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    UnixStream::connect(&path).unwrap();
    H::wait(server.running().stop(PATIENCE));
    let scheme = format!("UNIX://{}", path.display());
    let server = H::start(bind::<H>(scheme));
    UnixStream::connect(&path).unwrap();
    H::wait(server.running().stop(PATIENCE));
    assert!(!path.exists());
}
