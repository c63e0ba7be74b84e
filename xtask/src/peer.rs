//! The plainest peers there are, on the kernel's sockets: what the interop tests and the acceptance start as children to
//! move bytes without a protocol on top, and to know a name; and hosts that send what no kernel does, in frames built by
//! hand. They are `cargo xtask peer ...`.

mod arp;
mod content;
mod fragments;
mod frame;
mod link;
mod name_server;
mod packet_socket;

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream, UdpSocket};
use std::process::ExitCode;
use std::str::FromStr;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::failure::Failure;
pub(crate) use link::Conditions;

const CONNECT_DEADLINE: Duration = Duration::from_secs(10);
const STALL_DEADLINE: Duration = Duration::from_secs(20);
const CHUNK: usize = 128 * 1024;

/// What a finished transfer says.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Transfer {
    /// Bytes moved.
    pub(crate) bytes: u64,
    /// From the connection's establishment until the last byte was read or, when sending, until the
    /// receiver's end of stream said that it had read all.
    pub(crate) seconds: f64,
}

impl Transfer {
    /// Gigabits a second.
    pub(crate) fn gigabits_per_second(self) -> f64 {
        self.bytes as f64 * 8.0 / self.seconds / 1e9
    }

    /// Reads what `fill` or `drain` printed.
    pub(crate) fn parse(output: &str) -> Result<Self, Failure> {
        let value: Value = serde_json::from_str(output).unwrap_or_default();
        match (value["bytes"].as_u64(), value["seconds"].as_f64()) {
            (Some(bytes), Some(seconds)) => Ok(Self { bytes, seconds }),
            _ => Err(Failure::Expectation(format!("that is no transfer's result: {output:?}"))),
        }
    }
}

/// This program's own path, to be started as a peer.
pub(crate) fn program() -> Result<String, Failure> {
    let program = std::env::current_exe().map_err(Failure::io("find this program's own file"))?;
    Ok(program.to_string_lossy().into_owned())
}

const USAGE: &str = "\
peer sink ADDRESS                             serves, and throws away what it receives
peer source ADDRESS                           serves, and sends without end
peer fill ADDRESS BYTES                       sends so many bytes, and prints how long it took
peer drain ADDRESS BYTES                      receives so many bytes, and prints how long it took
peer drain-for ADDRESS SECONDS                receives for so long, and prints how many bytes came
peer characters ADDRESS                       serves, and sends the characters of RFC 864 without end
peer compare ADDRESS BYTES                    receives so many of them, compares, and prints how long it took
peer digests ADDRESS                          serves, and answers what is posted by HTTP with its SHA-256
peer post ADDRESS BYTES                       posts so many bytes, compares, and prints how long it took
peer link INTERFACE INTERFACE CONDITIONS      joins two interfaces by a link that loses and delays frames
peer echo ADDRESS BYTES COUNT                 sends datagrams to an echo service and compares what comes back
peer fragments TARGET PORT FIRST COUNT BYTES  has many hosts send fragments in any order, and compares the answers
peer flood TARGET RATE SECONDS                sends fragments of datagrams that are never completed
peer arp-reply TARGET ADDRESS                 answers by ARP what nobody asked
peer names ADDRESS IP                         is a name server for which every name has that address
peer scan TARGET RATE                         claims every address of the target's network of 65,536
A target is INTERFACE,STATION,ADDRESS; conditions are LOSS,REORDERING,MILLISECONDS,SEED.";

/// Runs one peer, to its end or until it is ended.
pub(crate) fn run(arguments: &[&str]) -> ExitCode {
    let result = match *arguments {
        ["sink", address] => serve(address, |stream| io::copy(stream, &mut io::sink()).map(drop)),
        ["source", address] => serve(address, send_without_end),
        ["fill", address, bytes] => read(bytes).and_then(|bytes| fill(address, bytes)),
        ["drain", address, bytes] => read(bytes).and_then(|bytes| drain(address, bytes)),
        ["drain-for", address, seconds] => read(seconds).and_then(|seconds| drain_for(address, seconds)),
        ["characters", address] => serve(address, content::send_characters),
        ["compare", address, bytes] => read(bytes).and_then(|bytes| content::compare(address, bytes)),
        ["digests", address] => serve(address, content::digest),
        ["post", address, bytes] => read(bytes).and_then(|bytes| content::post(address, bytes)),
        ["link", one, other, conditions] => {
            read(conditions).and_then(|conditions| link::join([one, other], conditions))
        }
        ["echo", address, bytes, count] => read(bytes).and_then(|bytes| echo(address, bytes, read(count)?)),
        ["fragments", target, port, first, count, bytes] => read_target(target).and_then(|target| {
            fragments::answered(&target, read(port)?, read(first)?, read(count)?, read(bytes)?)
        }),
        ["flood", target, rate, seconds] => {
            read_target(target).and_then(|target| fragments::flood(&target, read(rate)?, read(seconds)?))
        }
        ["arp-reply", target, address] => {
            read_target(target).and_then(|target| arp::answer_unasked(&target, read(address)?))
        }
        ["names", address, known] => name_server::serve(address, known),
        ["scan", target, rate] => read_target(target).and_then(|target| arp::scan(&target, read(rate)?)),
        _ => Err(io::Error::new(ErrorKind::InvalidInput, USAGE)),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("peer {}: {error}", arguments.join(" "));
            ExitCode::FAILURE
        }
    }
}

/// Where crafted frames go, and by which interface.
struct Target {
    interface: String,
    station: frame::Station,
    address: Ipv4Addr,
}

/// Reads an argument.
fn read<T>(text: &str) -> io::Result<T>
where
    T: FromStr,
    T::Err: std::error::Error + Send + Sync + 'static,
{
    text.parse().map_err(io::Error::other)
}

fn read_target(text: &str) -> io::Result<Target> {
    let parts: Vec<&str> = text.split(',').collect();
    let [interface, station, address] = parts[..] else {
        return Err(io::Error::new(ErrorKind::InvalidInput, USAGE));
    };
    let station = frame::station(station)
        .ok_or_else(|| io::Error::new(ErrorKind::InvalidInput, format!("{station} is no station")))?;
    Ok(Target { interface: interface.to_owned(), station, address: read(address)? })
}

/// Serves every connection to the address with `handle`, one after another: a measurement uses one.
fn serve(address: &str, handle: impl Fn(&mut TcpStream) -> io::Result<()>) -> io::Result<()> {
    let listener = TcpListener::bind(address)?;
    println!("{}", json!({ "listening": listener.local_addr()?.to_string() }));
    for stream in listener.incoming() {
        // A client that has what it wanted goes away in the middle: that ends its connection only.
        let _ = handle(&mut stream?);
    }
    Ok(())
}

fn send_without_end(stream: &mut TcpStream) -> io::Result<()> {
    let chunk = vec![b'.'; CHUNK];
    loop {
        stream.write_all(&chunk)?;
    }
}

fn connect(address: &str) -> io::Result<TcpStream> {
    let address = address.parse().map_err(io::Error::other)?;
    let stream = TcpStream::connect_timeout(&address, CONNECT_DEADLINE)?;
    stream.set_read_timeout(Some(STALL_DEADLINE))?;
    stream.set_write_timeout(Some(STALL_DEADLINE))?;
    Ok(stream)
}

fn fill(address: &str, bytes: u64) -> io::Result<()> {
    let mut stream = connect(address)?;
    let chunk = vec![b'.'; CHUNK];
    let started = Instant::now();
    let mut left = bytes;
    while left > 0 {
        let length = left.min(CHUNK as u64);
        stream.write_all(&chunk[..length as usize])?;
        left -= length;
    }
    stream.shutdown(Shutdown::Write)?;
    // The receiver's end of stream comes after it has read ours.
    io::copy(&mut stream, &mut io::sink())?;
    print_result(started, bytes);
    Ok(())
}

fn drain(address: &str, bytes: u64) -> io::Result<()> {
    let mut stream = connect(address)?;
    let mut buffer = vec![0; CHUNK];
    let started = Instant::now();
    let mut left = bytes;
    while left > 0 {
        let length = left.min(CHUNK as u64) as usize;
        match stream.read(&mut buffer[..length])? {
            0 => {
                return Err(io::Error::new(
                    ErrorKind::UnexpectedEof,
                    format!("{left} bytes were still to come"),
                ));
            }
            read => left -= read as u64,
        }
    }
    print_result(started, bytes);
    Ok(())
}

/// Receives for so long.
fn drain_for(address: &str, seconds: u64) -> io::Result<()> {
    let mut stream = connect(address)?;
    let mut buffer = vec![0; CHUNK];
    let started = Instant::now();
    let mut bytes = 0;
    while started.elapsed() < Duration::from_secs(seconds) {
        match stream.read(&mut buffer)? {
            0 => return Err(ErrorKind::UnexpectedEof.into()),
            read => bytes += read as u64,
        }
    }
    print_result(started, bytes);
    Ok(())
}

/// Sends datagrams of so many bytes, one after the other, and compares what comes back.
fn echo(address: &str, bytes: usize, count: u64) -> io::Result<()> {
    let socket = UdpSocket::bind("0.0.0.0:0")?;
    socket.connect(address)?;
    socket.set_read_timeout(Some(STALL_DEADLINE))?;
    let started = Instant::now();
    for round in 0..count {
        let sent: Vec<u8> = (0..bytes as u64).map(|at| (at * 31 + round * 7 + (at >> 8)) as u8).collect();
        socket.send(&sent)?;
        let mut received = vec![0; usize::from(u16::MAX)];
        let len = socket.recv(&mut received)?;
        if received[..len] != sent {
            let what = format!("datagram {round} of {bytes} bytes came back as {len} others");
            return Err(io::Error::new(ErrorKind::InvalidData, what));
        }
    }
    print_result(started, bytes as u64 * count);
    Ok(())
}

fn print_result(started: Instant, bytes: u64) {
    println!("{}", json!({ "bytes": bytes, "seconds": started.elapsed().as_secs_f64() }));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_result_that_is_printed_can_be_read() {
        let transfer = Transfer::parse("{\"bytes\":1000000000,\"seconds\":2.0}\n").unwrap();
        assert!((transfer.gigabits_per_second() - 4.0).abs() < 1e-9);
        assert!(Transfer::parse("").is_err());
    }

    #[test]
    fn what_is_filled_into_a_sink_is_all_taken() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let sink =
            std::thread::spawn(move || io::copy(&mut listener.accept().unwrap().0, &mut io::sink()).unwrap());
        fill(&address, 300_001).unwrap();
        assert_eq!(sink.join().unwrap(), 300_001);
    }

    #[test]
    fn a_source_that_ends_early_is_an_error() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let source = std::thread::spawn(move || listener.accept().unwrap().0.write_all(b"short").unwrap());
        assert_eq!(drain(&address, 6).unwrap_err().kind(), ErrorKind::UnexpectedEof);
        source.join().unwrap();
    }

    #[test]
    fn an_echo_of_other_bytes_is_an_error() {
        let service = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = service.local_addr().unwrap().to_string();
        let client = std::thread::spawn(move || echo(&address, 60_000, 2));
        let mut buffer = vec![0; 65_535];
        for spoilt in [0, 1] {
            let (len, from) = service.recv_from(&mut buffer).unwrap();
            buffer[59_999] ^= spoilt;
            service.send_to(&buffer[..len], from).unwrap();
        }
        assert_eq!(client.join().unwrap().unwrap_err().kind(), ErrorKind::InvalidData);
    }

    #[test]
    fn a_target_has_an_interface_a_station_and_an_address() {
        let target = read_target("sun0,02:00:00:00:00:01,10.77.0.2").unwrap();
        assert_eq!((target.interface.as_str(), target.station), ("sun0", [2, 0, 0, 0, 0, 1]));
        for wrong in ["sun0", "sun0,02,10.77.0.2", "sun0,02:00:00:00:00:01,10.77"] {
            assert!(read_target(wrong).is_err(), "{wrong}");
        }
    }
}
