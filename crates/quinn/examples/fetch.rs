//! Two hosts in one process, a wire between them, and a file that one fetches from the other by QUIC, as HTTP/0.9 had it:
//! `GET` on a stream, and the file comes back on it. No privilege is needed.
//!
//! `cargo run --release -p sunstar-quinn --example fetch -- 256` fetches 256 MiB.

use std::error::Error;
use std::sync::Arc;
use std::thread;
use std::time::Instant;

use quinn::rustls::RootCertStore;
use quinn::rustls::pki_types::PrivatePkcs8KeyDer;
use quinn::{ClientConfig, Incoming, ServerConfig};
use sunstar::wire::{self, WireConfig, WireEnd};
use sunstar::{Builder, Device, Net};

type Failure = Box<dyn Error + Send + Sync>;

const MIB: usize = 1 << 20;

fn main() -> Result<(), Failure> {
    let mebibytes = std::env::args().nth(1).map_or(Ok(64), |argument| argument.parse())?;
    let made = rcgen::generate_simple_self_signed(["server.test".to_owned()])?;
    let certificate = made.cert.der().clone();
    let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let server_config = ServerConfig::with_single_cert(vec![certificate.clone()], key.into())?;
    let mut roots = RootCertStore::empty();
    roots.add(certificate)?;
    let client_config = ClientConfig::with_root_certificates(Arc::new(roots))?;

    let (left, right) = wire::pair(&WireConfig::default().with_offloads())?;
    let (listening, listens) = tokio::sync::oneshot::channel();
    let server = thread::spawn(move || {
        host(right, "10.0.0.2/24")?.run(|net| async move {
            let endpoint = sunstar_quinn::server(&net, "0.0.0.0:4433", server_config).await?;
            let _ = listening.send(());
            match endpoint.accept().await {
                Some(client) => serve(&net, client, mebibytes).await,
                None => Ok(()),
            }
        })?
    });
    let fetched = host(left, "10.0.0.1/24")?.run(|net| async move {
        listens.await?;
        fetch(&net, client_config).await
    })?;
    fetched?;
    server.join().map_err(|_| "the server panicked")?
}

fn host(end: WireEnd, address: &str) -> Result<Builder, Failure> {
    Ok(Builder::new().device(Device::Wire(vec![end])).address(address.parse()?))
}

/// Answers each question of one client, until it closes the connection.
async fn serve(net: &Net, client: Incoming, mebibytes: usize) -> Result<(), Failure> {
    let connection = client.await?;
    while let Ok((mut answer, mut question)) = connection.accept_bi().await {
        net.spawn(async move {
            if question.read_to_end(64).await? == b"GET /file" {
                let chunk = vec![b'*'; MIB];
                for _ in 0..mebibytes {
                    answer.write_all(&chunk).await?;
                }
            }
            answer.finish()?;
            Ok::<_, Failure>(())
        });
    }
    Ok(())
}

async fn fetch(net: &Net, config: ClientConfig) -> Result<(), Failure> {
    let mut endpoint = sunstar_quinn::client(net).await?;
    endpoint.set_default_client_config(config);
    let connection = endpoint.connect("10.0.0.2:4433".parse()?, "server.test")?.await?;
    let (mut question, mut answer) = connection.open_bi().await?;
    let started = Instant::now();
    question.write_all(b"GET /file").await?;
    question.finish()?;
    let mut bytes = 0;
    while let Some(chunk) = answer.read_chunk(MIB, true).await? {
        bytes += chunk.bytes.len();
    }
    let seconds = started.elapsed().as_secs_f64();
    println!("{bytes} bytes in {seconds:.2} s: {:.0} MiB/s", (bytes / MIB) as f64 / seconds);
    connection.close(0u8.into(), b"");
    endpoint.wait_idle().await;
    Ok(())
}
