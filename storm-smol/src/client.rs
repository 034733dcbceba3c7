//! Connecting.

use std::io;
use std::net::TcpStream;
#[cfg(unix)]
use std::os::unix::net::UnixStream;

use async_io::Async;
use storm_proto::service::{Address, Ends, SocketOptions};

use crate::transport::Transport;

/// Connects to one address.
pub(crate) async fn dial(
    address: Address,
    options: SocketOptions,
) -> io::Result<(Transport, Ends)> {
    match address {
        Address::Ip(address) => {
            let stream = Async::<TcpStream>::connect(address).await?;
            storm_socket::apply(&stream, &options)?;
            let ends = Ends { peer: address.into(), local: stream.get_ref().local_addr()?.into() };
            Ok((stream.into(), ends))
        }
        #[cfg(unix)]
        Address::Unix(Some(path)) => {
            let stream = Async::<UnixStream>::connect(&*path).await?;
            let ends = Ends { peer: Address::Unix(Some(path)), local: Address::Unix(None) };
            Ok((stream.into(), ends))
        }
        _ => Err(io::ErrorKind::Unsupported.into()),
    }
}
