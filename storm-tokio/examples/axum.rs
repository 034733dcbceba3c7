//! A WebSocket echo on a route of axum's: axum reads the request and answers it, Storm checks
//! it and takes the stream over.
//!
//!     cargo run -p storm-tokio --example axum [address]

mod sample;

use std::process::ExitCode;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{self, StatusCode};
use axum::response::{Html, IntoResponse};
use axum::routing::get;
use hyper_util::rt::TokioIo;
use storm_tokio::{Accept, CloseCode, Options, Request, Response, Role, WebSocketStream};
use tokio::sync::mpsc;

/// Held by each echo: once all are dropped, no session is left.
type Guard = mpsc::Sender<()>;

async fn upgrade(
    State(guard): State<Guard>,
    mut incoming: http::Request<Body>,
) -> http::Response<Body> {
    let headers = match handshake(&incoming) {
        Ok(headers) => headers,
        Err(status) => return status.into_response(),
    };
    let upgraded = hyper::upgrade::on(&mut incoming);
    tokio::spawn(async move {
        if let Ok(stream) = upgraded.await {
            echo(TokioIo::new(stream)).await;
        }
        drop(guard);
    });
    let answer = http::Response::builder().status(StatusCode::SWITCHING_PROTOCOLS);
    let answer =
        headers.into_iter().fold(answer, |answer, (name, value)| answer.header(name, value));
    answer.body(Body::empty()).unwrap_or_default()
}

/// The headers of the 101, or the status of a refusal.
fn handshake(incoming: &http::Request<Body>) -> Result<Vec<(String, String)>, StatusCode> {
    let refused = |refusal: Response| StatusCode::from_u16(refusal.status()).unwrap_or_default();
    let target = incoming.uri().path_and_query().map_or("/", |target| target.as_str());
    let headers = incoming.headers().iter().map(|(name, value)| (name, value.as_bytes()));
    let request =
        Request::from_parts(incoming.method().as_str(), target, headers).map_err(refused)?;
    request.accept_headers(&Accept::new()).map_err(|_| StatusCode::UPGRADE_REQUIRED)
}

/// Echoes until the peer closes, or a signal ends the process.
async fn echo(stream: TokioIo<hyper::upgrade::Upgraded>) {
    let mut stream = WebSocketStream::from_upgraded(stream, Role::Server, Options::default(), b"");
    loop {
        tokio::select! {
            message = stream.next() => {
                let Some(Ok(message)) = message else { break };
                if stream.send(&message).await.is_err() {
                    break;
                }
            }
            () = sample::terminated() => {
                // The code is one that may be sent, and the reason is printed below.
                let _ = stream.close_with(CloseCode::GOING_AWAY, "");
                let _ = stream.close().await;
                break;
            }
        }
    }
    println!("{}", stream.reason().map_or_else(|| "aborted".into(), ToString::to_string));
}

fn main() -> ExitCode {
    let about = "A page of axum's with a WebSocket echo beside it.";
    sample::run_client(about, "127.0.0.1:8080", |address| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::bind(address).await?;
            println!("echoes on ws://{}/echo", listener.local_addr()?);
            let page = get(|| async { Html("<p>The echo is at /echo.") });
            let (guard, mut guarded) = mpsc::channel(1);
            let app = Router::new().route("/", page).route("/echo", get(upgrade));
            let served = axum::serve(listener, app.with_state(guard));
            served.with_graceful_shutdown(sample::terminated()).await?;
            // Axum has let go of those that it upgraded: each closes by itself.
            guarded.recv().await;
            Ok::<_, std::io::Error>(())
        })
    })
}
