//! A WebSocket echo on a route of axum's: axum reads the request and answers it, Storm checks
//! it and takes the stream over.
//!
//!     cargo run -p storm-tokio --example axum [address]

use axum::Router;
use axum::body::Body;
use axum::http::{self, StatusCode};
use axum::response::{Html, IntoResponse};
use axum::routing::get;
use hyper_util::rt::TokioIo;
use storm_tokio::{Accept, Options, Request, Response, Role, WebSocketStream};

async fn upgrade(mut incoming: http::Request<Body>) -> http::Response<Body> {
    let headers = match handshake(&incoming) {
        Ok(headers) => headers,
        Err(status) => return status.into_response(),
    };
    let upgraded = hyper::upgrade::on(&mut incoming);
    tokio::spawn(async move {
        if let Ok(stream) = upgraded.await {
            echo(TokioIo::new(stream)).await;
        }
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

async fn echo(stream: TokioIo<hyper::upgrade::Upgraded>) {
    let mut stream = WebSocketStream::from_upgraded(stream, Role::Server, Options::default(), b"");
    while let Some(Ok(message)) = stream.next().await {
        if stream.send(&message).await.is_err() {
            break;
        }
    }
    println!("{:?}", stream.reason().map(ToString::to_string));
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> std::io::Result<()> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8080".into());
    let listener = tokio::net::TcpListener::bind(address).await?;
    println!("echoes on ws://{}/echo", listener.local_addr()?);
    let page = get(|| async { Html("<p>The echo is at /echo.") });
    axum::serve(listener, Router::new().route("/", page).route("/echo", get(upgrade))).await
}
