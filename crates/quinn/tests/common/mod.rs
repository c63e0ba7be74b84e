//! What the tests share: hosts joined by a wire, a server's certificate and who trusts it, and the smallest protocol that
//! is still one: `GET path` on a stream, and the file comes back on it.
#![allow(dead_code, unreachable_pub, reason = "no test uses all of it")]

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use quinn::rustls::RootCertStore;
use quinn::rustls::pki_types::PrivatePkcs8KeyDer;
use quinn::{ClientConfig, Connection, Endpoint, Incoming, ReadToEndError, ServerConfig, TransportConfig};
use sunstar::wire::{self, WireConfig};
use sunstar::{Builder, Device, Net, RunError};
use tokio::sync::{Barrier, watch};

/// A test that takes longer than this hangs.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The name in the server's certificate.
pub const NAME: &str = "two.test";

/// The server's address.
pub const SERVER: &str = "10.0.0.2:4433";

/// How a server proves who it is, and what a client needs to believe it.
#[derive(Clone)]
pub struct Trust {
    pub server: ServerConfig,
    pub client: ClientConfig,
}

impl Trust {
    /// A fresh certificate.
    pub fn new() -> Self {
        Self::with(TransportConfig::default())
    }

    /// The same, and both sides with these settings.
    pub fn with(transport: TransportConfig) -> Self {
        let transport = Arc::new(transport);
        let made = rcgen::generate_simple_self_signed([NAME.to_owned()]).unwrap();
        let (certificate, key) = (made.cert.der().clone(), made.signing_key.serialize_der());
        let key = PrivatePkcs8KeyDer::from(key).into();
        let mut server = ServerConfig::with_single_cert(vec![certificate.clone()], key).unwrap();
        server.transport_config(Arc::clone(&transport));
        let mut roots = RootCertStore::empty();
        roots.add(certificate).unwrap();
        let mut client = ClientConfig::with_root_certificates(Arc::new(roots)).unwrap();
        client.transport_config(transport);
        Self { server, client }
    }

    /// A client's endpoint that believes the server.
    pub async fn client(&self, net: &Net) -> Endpoint {
        let mut endpoint = sunstar_quinn::client(net).await.unwrap();
        endpoint.set_default_client_config(self.client.clone());
        endpoint
    }

    /// A connection from an endpoint of its own, which goes on living with it.
    pub async fn connect(&self, net: &Net) -> Connection {
        connect(&self.client(net).await, SERVER).await
    }
}

/// Opens a connection.
pub async fn connect(endpoint: &Endpoint, server: &str) -> Connection {
    endpoint.connect(server.parse().unwrap(), NAME).unwrap().await.unwrap()
}

/// Serves files until somebody stops the task: `GET n` is answered with `pattern(n)`.
pub async fn serve(net: Net, endpoint: Endpoint) {
    while let Some(incoming) = endpoint.accept().await {
        net.spawn(serve_one(net.clone(), incoming));
    }
}

async fn serve_one(net: Net, incoming: Incoming) {
    let Ok(connection) = incoming.await else { return };
    while let Ok((mut answer, mut question)) = connection.accept_bi().await {
        net.spawn(async move {
            let asked = question.read_to_end(100).await?;
            let len = String::from_utf8_lossy(&asked).trim_start_matches("GET ").parse().unwrap_or(0);
            // A reader that has lost interest is no matter of ours.
            let _ = answer.write_all(&pattern(len)).await;
            let _ = answer.finish();
            Ok::<_, ReadToEndError>(())
        });
    }
}

/// Asks for a file of `len` bytes, and sees that it comes back intact.
pub async fn get(connection: &Connection, len: usize) {
    let (mut question, mut answer) = connection.open_bi().await.unwrap();
    question.write_all(format!("GET {len}").as_bytes()).await.unwrap();
    question.finish().unwrap();
    let bytes = answer.read_to_end(len + 1).await.unwrap();
    assert!(bytes == pattern(len), "{} bytes of {len} came, or others", bytes.len());
}

/// Bytes that are not the same anywhere.
pub fn pattern(len: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        bytes.extend_from_slice(&(state >> 8).to_ne_bytes());
    }
    bytes.truncate(len);
    bytes
}

/// Where two applications meet: each waits for the other, as often as they agreed on.
pub type Meeting = Arc<Barrier>;

/// Runs a client at 10.0.0.1 and a server at 10.0.0.2 and 10.0.0.3, on two threads, with a wire between them.
pub fn two_hosts<F, G>(
    config: &WireConfig,
    client: impl FnOnce(Net, Meeting) -> F + Send,
    server: impl FnOnce(Net, Meeting) -> G,
) -> (F::Output, G::Output)
where
    F: Future<Output: Send>,
    G: Future,
{
    let (left, right) = wire::pair(config).expect("a wire takes two descriptors");
    let meeting = Arc::new(Barrier::new(2));
    std::thread::scope(|scope| {
        let same = Arc::clone(&meeting);
        let client = scope.spawn(|| run(host(left, "10.0.0.1/24"), |net| client(net, same)));
        let two_addresses = host(right, "10.0.0.2/24").address("10.0.0.3/24".parse().unwrap());
        let server = run(two_addresses, |net| server(net, meeting));
        let client = client.join().expect("the client's thread ends well");
        let runs = "a host runs, and all its buffers come home";
        (client.expect(runs), server.expect(runs))
    })
}

fn host(end: wire::WireEnd, address: &str) -> Builder {
    let host = Builder::new().device(Device::Wire(vec![end])).address(address.parse().unwrap());
    host.shutdown_deadline(Duration::from_millis(500))
}

/// Runs an application that must not hang.
pub fn run<F: Future>(builder: Builder, application: impl FnOnce(Net) -> F) -> Result<F::Output, RunError> {
    builder.run(|net| async move {
        let ended = tokio::time::timeout(PATIENCE, application(net)).await;
        ended.expect("the test hangs")
    })
}

/// Runs an application that must not hang on each of a stack's shards.
pub fn run_on_each<F>(builder: Builder, application: impl Fn(Net) -> F + Sync) -> Vec<F::Output>
where
    F: Future<Output: Send>,
{
    let outputs = builder.run_on_each(|net| async {
        tokio::time::timeout(PATIENCE, application(net)).await.expect("the test hangs")
    });
    outputs.expect("the stack runs, and all buffers come home")
}

/// Something that is said once, and heard on every shard of every host.
#[derive(Clone, Default)]
pub struct Signal(Arc<watch::Sender<bool>>);

impl Signal {
    /// Says it.
    pub fn say(&self) {
        self.0.send_replace(true);
    }

    /// Waits until it was said.
    pub async fn heard(&self) {
        let mut said = self.0.subscribe();
        let _ = said.wait_for(|said| *said).await;
    }
}
