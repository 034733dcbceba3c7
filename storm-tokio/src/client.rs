//! Connecting.

use std::io;

use socket2::SockRef;
use storm_proto::service::{Ends, SocketOptions};
use tokio::net::TcpStream;

use crate::socket;
use crate::transport::Transport;

/// Connects to the first of the addresses behind a name that answers.
pub(crate) async fn connect(
    host: &str,
    port: u16,
    options: &SocketOptions,
) -> io::Result<(Transport, Ends)> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the host has no ip address");
    for address in tokio::net::lookup_host((host, port)).await? {
        match TcpStream::connect(address).await {
            Ok(stream) => {
                socket::apply(SockRef::from(&stream), options)?;
                let ends =
                    Ends { peer: stream.peer_addr()?.into(), local: stream.local_addr()?.into() };
                return Ok((Transport::new(stream), ends));
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}
