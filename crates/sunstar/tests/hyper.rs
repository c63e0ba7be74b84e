//! HTTP/1.1 with hyper on both ends, whose streams, bodies and services are not `Send`.

mod common;

use std::cell::Cell;
use std::convert::Infallible;
use std::rc::Rc;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use sunstar::Net;
use sunstar::wire::WireConfig;

/// Serves HTTP on a port until the listener stops; counts requests.
async fn serve(net: Net, listener: sunstar::TcpListener, served: Rc<Cell<usize>>) {
    while let Ok((stream, _)) = listener.accept().await {
        let served = Rc::clone(&served);
        net.spawn(async move {
            let service = service_fn(|request: Request<hyper::body::Incoming>| {
                let served = Rc::clone(&served);
                async move {
                    served.set(served.get() + 1);
                    let body = request.into_body().collect().await.unwrap().to_bytes();
                    Ok::<_, Infallible>(Response::new(Full::new(body)))
                }
            });
            let connection =
                hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
            connection.await.unwrap();
        });
    }
}

#[test]
fn hyper_serves_and_asks_over_streams_that_are_not_send() {
    const REQUESTS: usize = 50;
    let (served, ()) = common::two_hosts(
        &WireConfig::default().with_offloads(),
        |net, meeting| async move {
            let listener = net.tcp_bind("0.0.0.0:80").await.unwrap();
            let served = Rc::new(Cell::new(0));
            net.spawn(serve(net.clone(), listener, Rc::clone(&served)));
            meeting.wait().await;
            meeting.wait().await;
            served.get()
        },
        |net, meeting| async move {
            meeting.wait().await;
            let stream = net.tcp_connect((common::A, 80)).await.unwrap();
            let (mut sender, connection) =
                hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
            let connection = net.spawn(connection);
            for number in 0..REQUESTS {
                let body = Bytes::from(common::pattern(number * 10_000));
                let request = Request::post("/").header("host", "ten").body(Full::new(body.clone())).unwrap();
                let response = sender.send_request(request).await.unwrap();
                assert_eq!(response.status(), 200);
                assert!(response.into_body().collect().await.unwrap().to_bytes() == body);
            }
            drop(sender);
            connection.await.unwrap().unwrap();
            meeting.wait().await;
        },
    );
    assert_eq!(served, REQUESTS);
}
