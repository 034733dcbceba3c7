//! Connecting.

use std::io;
use std::net::TcpStream;
#[cfg(unix)]
use std::os::unix::net::UnixStream;

use storm_proto::service::{Address, Ends, SocketOptions};

use crate::transport::Transport;

/// Connects to one address.
pub(crate) fn dial(address: Address, options: &SocketOptions) -> io::Result<(Transport, Ends)> {
    match address {
        Address::Ip(address) => {
            let stream = TcpStream::connect(address)?;
            storm_socket::apply(&stream, options)?;
            let ends = Ends { peer: address.into(), local: stream.local_addr()?.into() };
            Ok((Transport::tcp(stream)?, ends))
        }
        #[cfg(unix)]
        Address::Unix(Some(path)) => {
            let stream = UnixStream::connect(&*path)?;
            let ends = Ends { peer: Address::Unix(Some(path)), local: Address::Unix(None) };
            Ok((Transport::unix(stream)?, ends))
        }
        _ => Err(io::ErrorKind::Unsupported.into()),
    }
}
