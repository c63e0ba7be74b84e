//! The plainest name server there is (RFC 1035): whatever name is asked for, it has the one address.

use std::io;
use std::net::{Ipv4Addr, UdpSocket};

use serde_json::json;

/// Bytes of a message's header.
const HEADER: usize = 12;

/// Answers every question that comes to `address`, until it is ended.
pub(super) fn serve(address: &str, known: &str) -> io::Result<()> {
    let known: Ipv4Addr = known.parse().map_err(io::Error::other)?;
    let socket = UdpSocket::bind(address)?;
    println!("{}", json!({ "listening": socket.local_addr()?.to_string() }));
    let mut buffer = [0; 1_500];
    loop {
        let (len, from) = socket.recv_from(&mut buffer)?;
        if let Some(answer) = answer(&buffer[..len], known) {
            socket.send_to(&answer, from)?;
        }
    }
}

/// The answer to a question: an address to one for addresses (A), nothing to any other.
fn answer(question: &[u8], known: Ipv4Addr) -> Option<Vec<u8>> {
    let mut end = HEADER;
    while *question.get(end)? != 0 {
        end += usize::from(question[end]) + 1;
    }
    let question = question.get(..end + 5)?;
    let for_addresses = question[end + 1..] == [0, 1, 0, 1];
    // A response, with recursion as it was asked for; one question, perhaps one answer.
    let header = [question[0], question[1], 0x81, 0x80, 0, 1, 0, for_addresses.into(), 0, 0, 0, 0];
    let mut answer = [&header, &question[HEADER..]].concat();
    if for_addresses {
        // The name of the question, A, IN, for a minute, four bytes.
        answer.extend([0xc0, HEADER as u8, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4]);
        answer.extend(known.octets());
    }
    Some(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_for_an_address_is_answered_with_it_and_another_with_nothing() {
        let mut question = vec![7, 9, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 3, b'f', b'a', b'r', 0, 0, 1, 0, 1];
        let answered = answer(&question, Ipv4Addr::new(10, 1, 2, 3)).unwrap();
        assert_eq!(answered[..8], [7, 9, 0x81, 0x80, 0, 1, 0, 1]);
        assert_eq!(answered[12..21], question[12..]);
        assert_eq!(answered[21..], [0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 10, 1, 2, 3]);
        question[18] = 28;
        assert_eq!(answer(&question, Ipv4Addr::LOCALHOST).unwrap().len(), 21);
        for len in 0..21 {
            assert_eq!(answer(&question[..len], Ipv4Addr::LOCALHOST), None, "{len}");
        }
    }
}
