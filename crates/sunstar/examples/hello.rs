//! A web server on a stack of its own: `cargo run --release --example hello`, then
//! `curl http://127.0.0.1:8080/`.

use std::convert::Infallible;
use std::error::Error;

use bytes::Bytes;
use http_body_util::Full;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use sunstar::{Builder, Device, Embedded, Publish};

async fn hello<B>(request: Request<B>) -> Result<Response<Full<Bytes>>, Infallible> {
    let body = format!("hello from a stack in user space; you asked for {}\n", request.uri());
    Ok(Response::new(Full::new(body.into())))
}

fn main() -> Result<(), Box<dyn Error>> {
    let publish = vec![Publish { host: "127.0.0.1:8080".parse()?, port: 80 }];
    let device = Device::Embedded(Embedded { publish });
    Builder::new().device(device).run(|net| async move {
        let listener = net.tcp_bind("0.0.0.0:80").await?;
        println!("http://{}/", net.published()[0].host);
        loop {
            let (stream, _) = listener.accept().await?;
            net.spawn(async move {
                let server = http1::Builder::new().timer(TokioTimer::new()).to_owned();
                if let Err(error) = server.serve_connection(TokioIo::new(stream), service_fn(hello)).await {
                    eprintln!("a connection ended early: {error}");
                }
            });
        }
    })?
}
