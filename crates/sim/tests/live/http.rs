//! hyper on both ends.

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use sunstar::{Net, TcpListener};
use sunstar_sim::ms;
use tokio::time::Instant;

use super::{slow, two_hosts};

/// How long the service thinks.
const THOUGHT: Duration = ms(30);

async fn serve(net: Net, listener: TcpListener) {
    while let Ok((stream, _)) = listener.accept().await {
        let service = service_fn(|request: Request<Incoming>| async move {
            tokio::time::sleep(THOUGHT).await;
            let text = format!("you asked for {}", request.uri());
            Ok::<_, Infallible>(Response::new(Full::new(Bytes::from(text))))
        });
        net.spawn(async move {
            hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await
        });
    }
}

#[test]
fn a_request_takes_two_round_trips_and_what_the_service_thinks() {
    let (network, server, client) = two_hosts(1, slow(ms(100)));
    let run = network.run(async {
        let listener = server.net().tcp_bind("0.0.0.0:80").await.unwrap();
        server.net().spawn(serve(server.net(), listener));
        // The neighbours know each other from here on.
        drop(client.net().tcp_connect(server.at(80)).await.unwrap());
        let mut times = Vec::new();
        for _ in 0..2 {
            let before = Instant::now();
            let stream = client.net().tcp_connect(server.at(80)).await.unwrap();
            let (mut sender, connection) =
                hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
            client.net().spawn(connection);
            let request = Request::get("/time").header("host", "ten").body(Empty::<Bytes>::new()).unwrap();
            let response = sender.send_request(request).await.unwrap();
            let body = response.into_body().collect().await.unwrap().to_bytes();
            assert_eq!(body, "you asked for /time");
            times.push(before.elapsed());
        }
        times
    });
    assert_eq!(run.unwrap().output, [ms(400) + THOUGHT; 2]);
}
