//! An HTTP client of a few lines over the system's TCP: nothing of it is shared with the server.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;

/// A connection to a server.
pub(crate) struct Client {
    stream: BufReader<TcpStream>,
}

/// What a server answered.
pub(crate) struct Answer {
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Client {
    pub(crate) fn connect(server: SocketAddr) -> Self {
        let stream = TcpStream::connect(server).unwrap();
        // A test that hangs is to fail.
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        Self { stream: BufReader::new(stream) }
    }

    /// Sends a request without waiting for the answer.
    pub(crate) fn send(&mut self, method: &str, path: &str, headers: &str, body: &[u8]) {
        let length =
            if body.is_empty() { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
        let head = format!("{method} {path} HTTP/1.1\r\nHost: test\r\n{length}{headers}\r\n");
        self.write(head.as_bytes());
        self.write(body);
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) {
        self.stream.get_mut().write_all(bytes).unwrap();
    }

    /// Reads one answer's head, and a body of the length it names.
    pub(crate) fn receive(&mut self) -> Answer {
        let mut answer = self.receive_head();
        let len = answer.header("content-length").map_or(0, |len| len.parse().unwrap());
        answer.body = vec![0; len];
        self.stream.read_exact(&mut answer.body).unwrap();
        answer
    }

    pub(crate) fn receive_head(&mut self) -> Answer {
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            assert_ne!(self.stream.read_line(&mut line).unwrap(), 0, "the connection ended after {lines:?}");
            match line.trim_end() {
                "" => break,
                line => lines.push(line.to_owned()),
            }
        }
        let status = lines[0].split(' ').nth(1).unwrap().parse().unwrap();
        let header = |line: &String| {
            let (name, value) = line.split_once(": ").unwrap();
            (name.to_ascii_lowercase(), value.to_owned())
        };
        Answer { status, headers: lines[1..].iter().map(header).collect(), body: Vec::new() }
    }

    pub(crate) fn get(&mut self, path: &str) -> Answer {
        self.send("GET", path, "", b"");
        self.receive()
    }

    /// Whether nothing has arrived so far.
    pub(crate) fn has_nothing_yet(&mut self) -> bool {
        let stream = self.stream.get_ref();
        stream.set_nonblocking(true).unwrap();
        let peeked = stream.peek(&mut [0]).map_err(|error| error.kind());
        stream.set_nonblocking(false).unwrap();
        peeked == Err(ErrorKind::WouldBlock)
    }

    /// Whether the server has ended the connection, in order and with nothing more to say.
    pub(crate) fn is_at_end(&mut self) -> bool {
        self.stream.read(&mut [0]).unwrap() == 0
    }
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn text(&self) -> &str {
        str::from_utf8(&self.body).unwrap()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

/// One GET on a connection of its own.
pub(crate) fn get(server: SocketAddr, path: &str) -> Answer {
    Client::connect(server).get(path)
}

/// Bytes that repeat with a period of 251, as `/bytes/N` has them.
pub(crate) fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at % 251) as u8).collect()
}
