//! Why the command could not do what it was asked to, though the options are right.

use std::io;
use std::net::Ipv4Addr;

use sunstar::RunError;

use crate::control::AskError;
use crate::http::DirectoryError;
use crate::sim::SimError;
use crate::top::TopError;

/// Why the command could not do what it was asked to.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The directory to serve is no use.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// The network could not be run.
    #[error(transparent)]
    Network(#[from] RunError),
    /// A service could not listen on its port.
    #[error("{service} cannot listen on port {port}: {source}")]
    Listen {
        /// What for.
        service: &'static str,
        /// The port of the stack.
        port: u16,
        /// What the stack says.
        source: io::Error,
    },
    /// A service stopped by itself.
    #[error("{service} can accept no connection any more: {source}")]
    Accept {
        /// Which service.
        service: &'static str,
        /// What the stack says.
        source: io::Error,
    },
    /// A service of datagrams stopped by itself.
    #[error("{service} can receive no datagram any more: {source}")]
    Receive {
        /// Which service.
        service: &'static str,
        /// What the stack says.
        source: io::Error,
    },
    /// The device is gone.
    #[error("the network device failed: {0}; start again once it is back")]
    Device(String),
    /// A task of the server's own did not survive.
    #[error("a task of the server ended early: {0}; please report this")]
    Task(tokio::task::JoinError),
    /// A name has no address, or nobody says so.
    #[error("{0}")]
    Name(String),
    /// The host is everyone on a network, and that was not said to be meant.
    #[error("{0} is every host of a network; if that is meant, say so with --broadcast")]
    Everyone(Ipv4Addr),
    /// An echo request could not be sent.
    #[error("cannot send an echo request: {0}")]
    Echo(io::Error),
    /// A measurement broke off.
    #[error(
        "the measurement broke off: {0}; is the other end a `sunstar perf --server` that can be reached?"
    )]
    Measuring(io::Error),
    /// There is no running stack to be asked, or it refuses.
    #[error(transparent)]
    Ask(#[from] AskError),
    /// There is nothing to draw on.
    #[error(transparent)]
    Top(#[from] TopError),
    /// The simulator could not do its work.
    #[error(transparent)]
    Simulator(#[from] SimError),
    /// Signals could not be listened for.
    #[error("cannot wait for SIGINT and SIGTERM: {0}")]
    Signals(io::Error),
    /// What there is to say could not be written.
    #[error("cannot write to the standard output: {0}")]
    Output(#[from] io::Error),
}
