//! The baseline: a TCP echo on tokio that knows no protocol. What it costs is what any server on the
//! same runtime pays for sockets and scheduling alone; the others are shown as multiples of it.

#![forbid(unsafe_code)]

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use clap::Parser;
use storm_bench::AlignedBuffer;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{SignalKind, signal};

/// Echoes every byte of every TCP connection.
#[derive(Parser)]
struct Options {
    /// Where to listen; port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,

    /// Threads of the runtime; 1 is the current-thread runtime.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    threads: u16,

    /// Buffer per connection; 64 shows what a task and a socket alone cost an idle connection.
    #[arg(long = "idle-buffer", value_name = "BYTES", default_value_t = 65_536)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..))]
    buffer: u32,
}

fn main() -> io::Result<()> {
    let options = Options::parse();
    let mut builder = match options.threads {
        1 => tokio::runtime::Builder::new_current_thread(),
        _ => tokio::runtime::Builder::new_multi_thread(),
    };
    builder
        .worker_threads(usize::from(options.threads))
        .enable_all()
        .build()?
        .block_on(serve(&options))
}

async fn serve(options: &Options) -> io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let listener = TcpListener::bind(options.listen).await?;
    println!("listening on tcp://{}", listener.local_addr()?);
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => drop(tokio::spawn(echo(stream, options.buffer as usize))),
                Err(error) => {
                    // Out of descriptors, most likely: do not spin until one is free again.
                    eprintln!("accept: {error}");
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            },
            _ = terminate.recv() => return Ok(()),
            _ = interrupt.recv() => return Ok(()),
        }
    }
}

/// A connection that fails is simply over: whoever measures sees it from the other side.
async fn echo(mut stream: TcpStream, buffer: usize) {
    if stream.set_nodelay(true).is_err() {
        return;
    }
    let mut buffer = AlignedBuffer::new(buffer);
    while let Ok(received @ 1..) = stream.read(&mut buffer).await {
        if stream.write_all(&buffer[..received]).await.is_err() {
            return;
        }
    }
}
