//! Bytes that both ends know, and compare: the characters of RFC 864 one way, and the other way a body posted by HTTP that is
//! answered with its SHA-256. `sunstar serve` speaks both; here are the clients, and the servers on the kernel's sockets.

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Instant;

use sha2::{Digest, Sha256};

use super::{CHUNK, connect, print_result};

/// Characters of a line, without its end.
const LINE: usize = 72;

/// RFC 864: the printing characters of ASCII, each line beginning with the next of them. As long as it takes to begin again.
fn characters() -> Vec<u8> {
    const FIRST: u8 = b' ';
    const LAST: u8 = b'~';
    let line = |from: u8| (FIRST..=LAST).cycle().skip((from - FIRST).into()).take(LINE).chain(*b"\r\n");
    (FIRST..=LAST).flat_map(line).collect()
}

/// Sends the characters without end.
pub(super) fn send_characters(stream: &mut TcpStream) -> io::Result<()> {
    let characters = characters().repeat(16);
    loop {
        stream.write_all(&characters)?;
    }
}

/// Receives so many of the characters, and compares each.
pub(super) fn compare(address: &str, bytes: u64) -> io::Result<()> {
    let mut stream = connect(address)?;
    let started = Instant::now();
    let characters = characters();
    let mut expected = characters.iter().cycle();
    let mut buffer = vec![0; CHUNK];
    let mut received = 0;
    while received < bytes {
        let wanted = (bytes - received).min(CHUNK as u64) as usize;
        let len = stream.read(&mut buffer[..wanted])?;
        if len == 0 {
            let what = format!("{} bytes were still to come", bytes - received);
            return Err(io::Error::new(ErrorKind::UnexpectedEof, what));
        }
        if let Some(at) = buffer[..len].iter().position(|byte| expected.next() != Some(byte)) {
            let what = format!("byte {} is not as it was sent", received + at as u64);
            return Err(io::Error::new(ErrorKind::InvalidData, what));
        }
        received += len as u64;
    }
    print_result(started, bytes);
    Ok(())
}

/// The head of such a request.
fn head(address: &str, bytes: u64) -> String {
    format!(
        "POST /sha256 HTTP/1.1\r\nHost: {address}\r\nContent-Length: {bytes}\r\nConnection: close\r\n\r\n"
    )
}

/// Posts so many of the characters, and compares the digest that is answered.
pub(super) fn post(address: &str, bytes: u64) -> io::Result<()> {
    let mut stream = connect(address)?;
    let started = Instant::now();
    stream.write_all(head(address, bytes).as_bytes())?;
    let characters = characters().repeat(16);
    let (mut sha256, mut left) = (Sha256::new(), bytes);
    while left > 0 {
        let piece = &characters[..left.min(characters.len() as u64) as usize];
        stream.write_all(piece)?;
        sha256.update(piece);
        left -= piece.len() as u64;
    }
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let expected = format!("{:x}", sha256.finalize());
    let digest = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body.trim());
    if digest != expected {
        let what = format!("{bytes} bytes with SHA-256 {expected} were answered with {answer:?}");
        return Err(io::Error::new(ErrorKind::InvalidData, what));
    }
    print_result(started, bytes);
    Ok(())
}

/// Answers what such a client posts.
pub(super) fn digest(stream: &mut TcpStream) -> io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        head.extend(byte);
    }
    let head = String::from_utf8_lossy(&head).to_ascii_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok());
    let mut body = stream.take(length.unwrap_or(0));
    let (mut sha256, mut buffer) = (Sha256::new(), vec![0; CHUNK]);
    loop {
        match body.read(&mut buffer)? {
            0 => break,
            len => sha256.update(&buffer[..len]),
        }
    }
    let body = format!("{:x}\n", sha256.finalize());
    write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len())
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::thread::JoinHandle;

    use super::*;

    fn serve(handle: impl FnOnce(&mut TcpStream) + Send + 'static) -> (String, JoinHandle<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        (address, std::thread::spawn(move || handle(&mut listener.accept().unwrap().0)))
    }

    #[test]
    fn the_characters_are_those_of_rfc_864() {
        let characters = characters();
        let lines: Vec<_> = characters.chunks(LINE + 2).collect();
        let first = br##" !"#$%&'()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[\]^_`abcdefg"##;
        assert_eq!(lines[0], [&first[..], b"\r\n"].concat());
        assert_eq!(lines[1][..71], first[1..]);
        assert_eq!((lines.len(), lines[94][0]), (95, b'~'));
    }

    #[test]
    fn characters_are_compared_to_the_last_one() {
        let (address, server) = serve(|stream| {
            // Its client has what it wanted and is gone.
            send_characters(stream).unwrap_err();
        });
        compare(&address, 300_001).unwrap();
        server.join().unwrap();
        let (address, server) = serve(|stream| {
            let mut characters = characters();
            *characters.last_mut().unwrap() ^= 1;
            stream.write_all(&characters).unwrap();
        });
        assert_eq!(compare(&address, 7_030).unwrap_err().kind(), ErrorKind::InvalidData);
        server.join().unwrap();
    }

    #[test]
    fn a_posted_body_is_answered_with_its_digest_and_another_answer_is_refused() {
        let (address, server) = serve(|stream| digest(stream).unwrap());
        post(&address, 300_001).unwrap();
        server.join().unwrap();
        let (address, server) = serve(|stream| {
            let head = head(&stream.local_addr().unwrap().to_string(), 100);
            stream.read_exact(&mut vec![0; head.len() + 100]).unwrap();
            write!(stream, "HTTP/1.1 200 OK\r\n\r\n00\n").unwrap();
        });
        assert_eq!(post(&address, 100).unwrap_err().kind(), ErrorKind::InvalidData);
        server.join().unwrap();
    }
}
