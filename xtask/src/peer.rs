//! The plainest peers there are, on the kernel's sockets: what the interop tests and the acceptance start as children to
//! move bytes over TCP without a protocol on top, and to know a name. They are `cargo xtask peer ...`.

mod name_server;

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::failure::Failure;

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

/// Runs one peer: `sink ADDRESS` and `source ADDRESS` serve until they are ended, `fill ADDRESS BYTES`
/// sends and `drain ADDRESS BYTES` receives so many bytes and prints how long it took; `names ADDRESS IP` is a name server
/// for which every name has the one address.
pub(crate) fn run(arguments: &[&str]) -> ExitCode {
    let result = match *arguments {
        ["sink", address] => serve(address, |stream| io::copy(stream, &mut io::sink()).map(drop)),
        ["source", address] => serve(address, send_without_end),
        ["fill", address, bytes] => {
            bytes.parse().map_err(io::Error::other).and_then(|bytes| fill(address, bytes))
        }
        ["drain", address, bytes] => {
            bytes.parse().map_err(io::Error::other).and_then(|bytes| drain(address, bytes))
        }
        ["names", address, known] => name_server::serve(address, known),
        _ => Err(io::Error::new(
            ErrorKind::InvalidInput,
            "peer sink ADDRESS | source ADDRESS | fill ADDRESS BYTES | drain ADDRESS BYTES | names ADDRESS IP",
        )),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("peer {}: {error}", arguments.join(" "));
            ExitCode::FAILURE
        }
    }
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
}
