//! HTTP/1.1 with hyper on both ends: with streams, bodies and services that are not `Send`, and on other threads with
//! such as are.

mod common;

use std::cell::Cell;
use std::convert::Infallible;
use std::rc::Rc;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use sunstar::wire::WireConfig;
use sunstar::{Net, RemoteListener, TcpStream};

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

/// Asks for as many things over one stream; each has to come back.
async fn ask(net: &Net, stream: TcpStream, requests: usize) {
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    let connection = net.spawn(connection);
    for number in 0..requests {
        let body = Bytes::from(common::pattern(number * 10_000));
        let request = Request::post("/").header("host", "ten").body(Full::new(body.clone())).unwrap();
        let response = sender.send_request(request).await.unwrap();
        assert_eq!(response.status(), 200);
        assert!(response.into_body().collect().await.unwrap().to_bytes() == body);
    }
    drop(sender);
    connection.await.unwrap().unwrap();
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
            ask(&net, stream, REQUESTS).await;
            meeting.wait().await;
        },
    );
    assert_eq!(served, REQUESTS);
}

/// Serves HTTP on the threads of a multi-threaded runtime, and wants all of it to be `Send`.
async fn serve_elsewhere(listener: RemoteListener) {
    while let Ok((stream, _)) = listener.accept().await {
        let service = service_fn(|request: Request<hyper::body::Incoming>| async move {
            let body = request.into_body().collect().await.unwrap().to_bytes();
            Ok::<_, Infallible>(Response::new(Full::new(body)))
        });
        tokio::spawn(async move {
            hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await
        });
    }
}

#[test]
fn hyper_serves_on_a_multi_threaded_runtime() {
    let threads = &common::threads();
    let (ends, ended) = std::sync::mpsc::channel();
    common::two_hosts(
        &WireConfig::default().with_offloads(),
        |net, meeting| async move {
            meeting.wait().await;
            for _ in 0..3 {
                let stream = net.tcp_connect((common::B, 80)).await.unwrap();
                ask(&net, stream, 20).await;
            }
            meeting.wait().await;
        },
        |net, meeting| async move {
            let listener = net.remote().tcp_bind("0.0.0.0:80").await.unwrap();
            threads.spawn(async move {
                serve_elsewhere(listener).await;
                ends.send(()).unwrap();
            });
            meeting.wait().await;
            meeting.wait().await;
        },
    );
    ended.recv().expect("a server ends with the network");
}
