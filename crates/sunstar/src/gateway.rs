//! The host at the other end of an embedded stack's wire: it publishes ports of the stack on the machine.
//!
//! A connection to a published port is opened again, through the gateway's own shard, to the stack, and bytes are
//! handed on both ways. Each side reads no further than the other takes, so a slow reader at one end stops the
//! writer at the other; a half-closed direction is closed at the other side; a reset goes through.

use std::cell::Cell;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use tokio::io::AsyncWriteExt;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::task::JoinHandle;

use crate::builder::Publish;
use crate::error::RunError;
use crate::net::Net;
use crate::tcp::TcpStream;

/// Bytes read from the machine's side at a time.
const CHUNK: usize = 64 << 10;
/// Reads up to this length are copied into the stack's buffers; larger ones are handed over as they are.
const COPY_LIMIT: usize = 16 << 10;
/// How long no connection is taken after the machine refused one (mostly for want of descriptors).
const REST: Duration = Duration::from_millis(50);

/// The published ports, and the connections through them.
pub(crate) struct Gateway {
    published: Rc<[Publish]>,
    listeners: Vec<JoinHandle<()>>,
    relays: Rc<Cell<usize>>,
}

impl Gateway {
    /// Publishes ports of the host at `stack`, reached through the gateway's own `net`. Called inside the
    /// runtime.
    ///
    /// # Errors
    /// `Publish` when a port cannot be listened on.
    pub(crate) fn open(net: &Net, stack: std::net::IpAddr, publish: &[Publish]) -> Result<Self, RunError> {
        let relays = Rc::new(Cell::new(0));
        let mut listeners = Vec::new();
        let mut published = Vec::new();
        for wanted in publish {
            let fails = |source| RunError::Publish { host: wanted.host, source };
            let listener = listen(wanted.host).map_err(fails)?;
            let host = listener.local_addr().map_err(fails)?;
            published.push(Publish { host, ..*wanted });
            let target = SocketAddr::new(stack, wanted.port);
            let serving = serve(listener, net.clone(), target, Rc::clone(&relays));
            listeners.push(net.spawn_named("a published port", serving));
        }
        Ok(Self { published: published.into(), listeners, relays })
    }

    /// Where the ports are published.
    pub(crate) fn published(&self) -> Rc<[Publish]> {
        Rc::clone(&self.published)
    }

    /// Takes no more connections.
    pub(crate) fn stop(&self) {
        self.listeners.iter().for_each(JoinHandle::abort);
    }

    /// Whether every connection through it has ended.
    pub(crate) fn is_quiet(&self) -> bool {
        self.relays.get() == 0
    }
}

fn listen(host: SocketAddr) -> io::Result<tokio::net::TcpListener> {
    let listener = std::net::TcpListener::bind(host)?;
    listener.set_nonblocking(true)?;
    tokio::net::TcpListener::from_std(listener)
}

/// Counts one relay as long as it lives.
struct Counted(Rc<Cell<usize>>);

impl Counted {
    fn new(count: &Rc<Cell<usize>>) -> Self {
        count.set(count.get() + 1);
        Self(Rc::clone(count))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

async fn serve(listener: tokio::net::TcpListener, net: Net, target: SocketAddr, relays: Rc<Cell<usize>>) {
    loop {
        let Ok((machine, _)) = listener.accept().await else {
            tokio::time::sleep(REST).await;
            continue;
        };
        let counted = Counted::new(&relays);
        let net_of_relay = net.clone();
        net.spawn_named("a connection to a published port", async move {
            let _counted = counted;
            relay(machine, &net_of_relay, target).await;
        });
    }
}

/// Joins a connection of the machine to a new one to the stack, until both directions have ended.
async fn relay(mut machine: tokio::net::TcpStream, net: &Net, target: SocketAddr) {
    let Ok(stack) = net.tcp_connect(target).await else {
        return reset(machine);
    };
    // What arrives is handed on as it comes: waiting for more would delay it twice.
    let nodelay = machine.set_nodelay(true).and(stack.set_nodelay(true));
    let (from_machine, to_machine) = machine.split();
    let ended = match nodelay {
        Ok(()) => tokio::try_join!(inward(from_machine, &stack), outward(&stack, to_machine)).map(drop),
        Err(error) => Err(error),
    };
    if ended.is_err() {
        reset(machine);
        stack.abort();
    }
}

/// Ends a connection of the machine as the stack's was ended: at once.
fn reset(machine: tokio::net::TcpStream) {
    // If it cannot be set, the connection is closed in order instead.
    let _ = machine.set_zero_linger();
}

/// Hands on what comes from the machine, and then its end.
async fn inward(machine: ReadHalf<'_>, stack: &TcpStream) -> io::Result<()> {
    let mut buffer = BytesMut::new();
    loop {
        machine.readable().await?;
        buffer.reserve(CHUNK);
        match machine.try_read_buf(&mut buffer) {
            Ok(0) => return stack.end_writing(),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
            Err(error) => return Err(error),
        }
        if buffer.len() > COPY_LIMIT {
            stack.send_bytes(buffer.split().freeze()).await?;
            continue;
        }
        while !buffer.is_empty() {
            stack.writable().await?;
            match stack.try_write(&buffer) {
                Ok(taken) => buffer.advance(taken),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// Hands on what comes from the stack, and then its end.
async fn outward(stack: &TcpStream, mut machine: WriteHalf<'_>) -> io::Result<()> {
    while let Some(fragment) = stack.recv_fragment().await? {
        machine.write_all(&fragment).await?;
    }
    machine.shutdown().await
}
