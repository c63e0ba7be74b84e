//! A service that sends every datagram back to where it came from (RFC 862), on one shard: whatever shard a datagram
//! arrives at, this one has to answer.

use std::io::ErrorKind;

use sunstar::{Net, UdpReceived, UdpSocket, UdpTransmit};

use super::accept::Stop;
use crate::failure::Failure;

/// The shard that answers.
pub(super) const SHARD: u16 = 0;

const NAME: &str = "UDP echo";

/// Bytes of the longest message: a datagram's payload, or as much of several that arrived as one.
const LONGEST: usize = u16::MAX as usize;

/// Ports below this are of services. One of them may answer, too, and then neither would ever stop.
const FIRST_OF_CLIENTS: u16 = 1_024;

/// Binds the port, on a fresh shard if this one fails meanwhile.
///
/// # Errors
/// The port is taken, or the network is gone.
pub(super) async fn bind(net: &Net, port: u16) -> Result<UdpSocket, Failure> {
    loop {
        match net.udp_bind(([0, 0, 0, 0], port)).await {
            Err(error) if error.kind() == ErrorKind::ConnectionAborted => {}
            Err(source) => return Err(Failure::Listen { service: NAME, port, source }),
            Ok(socket) => return Ok(socket),
        }
    }
}

/// Answers until it is asked to stop. When its shard has failed, it binds again on the fresh one.
///
/// # Errors
/// The device is gone.
pub(super) async fn answer(mut socket: UdpSocket, net: Net, port: u16, stop: Stop) -> Result<(), Failure> {
    let mut buffer = vec![0; LONGEST];
    let mut stopped = std::pin::pin!(stop.wait());
    loop {
        let received = tokio::select! {
            biased;
            () = &mut stopped => return Ok(()),
            received = socket.recv_message() => received,
        };
        match received {
            Ok(message) => tokio::select! {
                () = send_back(&socket, &message, &mut buffer) => {}
                () = &mut stopped => return Ok(()),
            },
            Err(error) if error.kind() == ErrorKind::ConnectionAborted => socket = bind(&net, port).await?,
            Err(source) => return Err(Failure::Receive { service: NAME, source }),
        }
    }
}

/// Sends a message back, from the address it was sent to: so what was sent to many is not answered.
async fn send_back(socket: &UdpSocket, message: &UdpReceived, buffer: &mut [u8]) {
    let UdpReceived { from, to, segment_size, payload, .. } = message;
    if from.port() < FIRST_OF_CLIENTS {
        return;
    }
    let len = payload.copy_to(0, buffer);
    let transmit = UdpTransmit {
        destination: Some(*from),
        source: Some(to.ip()),
        segment_size: *segment_size,
        ..UdpTransmit::default()
    };
    // Whoever cannot be reached gets no answer.
    let _ = socket.send_message(&transmit, &buffer[..len]).await;
}
