//! TLS for the other end, blocking: the machine of the core between a socket and its user.

use std::io::{self, IoSlice, Read, Write};
use std::net::TcpStream;
use std::sync::{Arc, Mutex, OnceLock};

use storm_proto::tls::{TlsClient, TlsIdentity, TlsServer, TlsStage};

use super::ports::spoken_at;

/// What all servers of the scenarios show.
pub(crate) fn server() -> TlsServer {
    static SERVER: OnceLock<TlsServer> = OnceLock::new();
    let make = || TlsServer::new(TlsIdentity::self_signed(["localhost"]).unwrap()).unwrap();
    SERVER.get_or_init(make).clone()
}

/// For clients, who do not know it.
pub(crate) fn client() -> TlsClient {
    TlsClient::options().dangerous_accept_any_certificate().build().unwrap()
}

/// A stream that is secured where its port says so.
pub(crate) struct Stream {
    pub(crate) socket: TcpStream,
    tls: Option<Arc<Mutex<TlsStage>>>,
    /// Records that were read and not opened.
    records: Vec<u8>,
}

impl Stream {
    pub(crate) fn plain(socket: TcpStream) -> Stream {
        Stream { socket, tls: None, records: Vec::new() }
    }

    /// A client's end, with its handshake behind it; or not, if the server has hung up.
    pub(crate) fn client(socket: TcpStream) -> Stream {
        let port = socket.peer_addr().unwrap().port();
        let stage = || TlsStage::client(&client(), "localhost", false).unwrap();
        Stream::secured(socket, spoken_at(port).tls.then(stage))
    }

    /// A server's end.
    pub(crate) fn server(socket: TcpStream) -> Stream {
        let port = socket.local_addr().unwrap().port();
        let stage = || TlsStage::server(&server(), false).unwrap();
        Stream::secured(socket, spoken_at(port).tls.then(stage))
    }

    fn secured(socket: TcpStream, stage: Option<TlsStage>) -> Stream {
        let mut stream = Stream::plain(socket);
        let Some(mut stage) = stage else { return stream };
        let shaken = stream.shake(&mut stage);
        stream.tls = shaken.is_ok().then(|| Arc::new(Mutex::new(stage)));
        stream
    }

    fn shake(&mut self, stage: &mut TlsStage) -> io::Result<()> {
        loop {
            let mut rest = &self.records[..];
            let shaken = stage.handshake(&mut rest)?;
            self.records = rest.to_vec();
            let mut answers = Vec::new();
            stage.answers(&mut answers);
            self.socket.write_all(&answers)?;
            if shaken {
                return Ok(());
            }
            self.fill()?;
        }
    }

    /// Reads records; an end is an error.
    fn fill(&mut self) -> io::Result<()> {
        let mut buffer = [0; 16 << 10];
        let n = self.socket.read(&mut buffer)?;
        self.records.extend_from_slice(&buffer[..n]);
        if n == 0 { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
    }

    /// Says the last word of TLS.
    pub(crate) fn close(&mut self) {
        if let Some(tls) = &self.tls {
            let mut records = Vec::new();
            tls.lock().unwrap().close(&mut records);
            let _ = self.socket.write_all(&records);
        }
    }

    /// For a thread that writes while this one reads.
    pub(crate) fn try_clone(&self) -> Stream {
        let socket = self.socket.try_clone().unwrap();
        Stream { socket, tls: self.tls.clone(), records: Vec::new() }
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(tls) = self.tls.clone() else { return self.socket.read(buffer) };
        loop {
            let mut stage = tls.lock().unwrap();
            let mut rest = &self.records[..];
            let opened = stage.open(&mut rest, buffer)?;
            self.records = rest.to_vec();
            if opened > 0 || stage.is_ended() {
                return Ok(opened);
            }
            drop(stage);
            self.fill()?;
        }
    }
}

impl Write for Stream {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let Some(tls) = &self.tls else { return self.socket.write(buffer) };
        let mut records = Vec::new();
        let sealed = tls.lock().unwrap().seal(&[IoSlice::new(buffer)], &mut records)?;
        self.socket.write_all(&records)?;
        Ok(sealed)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
