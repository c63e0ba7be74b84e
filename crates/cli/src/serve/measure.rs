//! Two services to measure with: one takes whatever comes (RFC 863), one sends without end (RFC 864).

use bytes::Bytes;
use sunstar::TcpStream;

/// The printing characters of ASCII, in the order in which RFC 864 turns them.
const FIRST: u8 = b' ';
const CHARACTERS: usize = 95;
/// Characters of a line, without its end.
const LINE: usize = 72;

/// Takes what comes, in the buffers it came in, and gives them back.
pub(super) async fn discard(stream: TcpStream) {
    discard_from(&stream).await;
}

/// Sends the pattern over and over, as fast as the peer takes it, until the peer is gone. What it sends is thrown
/// away (RFC 864), and when it has no more to send, it may still want to receive.
pub(super) async fn chargen(stream: TcpStream, pattern: Bytes) {
    let generate = async { while stream.send_bytes(pattern.clone()).await.is_ok() {} };
    tokio::join!(generate, discard_from(&stream));
}

async fn discard_from(stream: &TcpStream) {
    // A connection that broke has nothing more to discard.
    while let Ok(Some(_)) = stream.recv_fragment().await {}
}

/// RFC 864's pattern, long enough to be sent without pause, and ending where it begins again.
pub(super) fn chargen_pattern() -> Bytes {
    // 95 lines turn the characters once around; that is 7,030 bytes.
    const TURNS: usize = 32;
    let line = |at: usize| {
        let character = move |column: usize| FIRST + ((at + column) % CHARACTERS) as u8;
        (0..LINE).map(character).chain(*b"\r\n")
    };
    (0..CHARACTERS * TURNS).flat_map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pattern_is_that_of_rfc_864() {
        let pattern = chargen_pattern();
        let lines: Vec<_> = pattern.chunks(LINE + 2).collect();
        // The first, second and last line of the RFC's example.
        assert_eq!(
            lines[0],
            b" !\"#$%&'()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[\\]^_`abcdefg\r\n"
        );
        assert_eq!(
            lines[1],
            b"!\"#$%&'()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[\\]^_`abcdefgh\r\n"
        );
        assert_eq!(
            lines[94],
            b"~ !\"#$%&'()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[\\]^_`abcdef\r\n"
        );
        assert_eq!(lines[95], lines[0]);
    }

    #[test]
    fn the_pattern_goes_on_where_it_ends() {
        let pattern = chargen_pattern();
        assert_eq!(pattern.len() % ((LINE + 2) * CHARACTERS), 0);
    }
}
