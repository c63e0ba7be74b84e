//! What tshark finds in a capture that the server wrote of its own frames.
//!
//! A frame whose checksum is left to the device carries, where its TCP or UDP checksum will be, the sum
//! of the pseudo-header only (virtio 1.2 section 5.1.6.2). tshark calls that a bad checksum. From the
//! server exactly that value is allowed besides the right one. The kernel's frames are its own business.

use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::http::{Curl, random_file};
use super::load;
use super::stage::{SERVER, Stage, TapServer};
use crate::failure::{Failure, ensure};
use crate::process;

/// How long tshark may take for the largest capture of the acceptance.
const DEADLINE: Duration = Duration::from_secs(600);

/// The first few are enough to see what is wrong.
const SHOWN: usize = 10;

/// What a display filter must not find, but for partial checksums of ours.
const SUSPICIOUS: &str = "_ws.malformed || ip.checksum.status == \"Bad\" || tcp.checksum.status == \"Bad\" \
                          || udp.checksum.status == \"Bad\" || icmp.checksum.status == \"Bad\"";

/// One column of tshark's table each, in the order [`Suspect::parse`] expects.
const FIELDS: [&str; 10] = [
    "frame.number",
    "_ws.malformed",
    "ip.src",
    "ip.dst",
    "ip.proto",
    "ip.len",
    "ip.hdr_len",
    "ip.checksum.status",
    "tcp.checksum",
    "udp.checksum",
];

/// Has tshark read a capture. Returns how many frames it holds; any frame that is malformed, and any bad
/// checksum in a frame from `server`, is a failure.
pub(crate) fn inspect(capture: &Path, server: &str) -> Result<u64, Failure> {
    let frames = judge(capture, server)?;
    ensure!(frames > 0, "{} holds no frame", capture.display());
    Ok(frames)
}

/// The same of a capture that may hold no frame.
fn judge(capture: &Path, server: &str) -> Result<u64, Failure> {
    let server: Ipv4Addr =
        server.parse().map_err(|_| Failure::Expectation(format!("{server} is no IPv4 address")))?;
    let frames = count_frames(capture)?;
    let mut tshark = Command::new("tshark");
    tshark.arg("-n").arg("-r").arg(capture);
    for protocol in ["ip", "tcp", "udp"] {
        tshark.args(["-o", &format!("{protocol}.check_checksum:TRUE")]);
    }
    // Bodies are random bytes, clients' ports may be anybody's, and a gigabyte would be put together in memory: what
    // is judged here ends with TCP and UDP, the answers themselves are curl's to judge.
    tshark.args(["-d", "tcp.port==0-65535,data", "-d", "udp.port==0-65535,data"]);
    tshark.args(["-Y", SUSPICIOUS, "-T", "fields", "-E", "occurrence=f"]);
    for field in FIELDS {
        tshark.args(["-e", field]);
    }
    let table = process::capture_success(&mut tshark, DEADLINE)?.stdout;
    let wrong: Vec<&str> = table.lines().filter(|row| Suspect::parse(row).is_wrong(server)).collect();
    ensure!(
        wrong.is_empty(),
        "tshark finds {} of {frames} frames in {} malformed or with a bad checksum of ours; the first are\n{}\n{}",
        wrong.len(),
        capture.display(),
        FIELDS.join("\t"),
        wrong.iter().take(SHOWN).copied().collect::<Vec<_>>().join("\n")
    );
    Ok(frames)
}

/// Ends a server of several queues, so that its captures are whole, and has tshark read the one of each queue:
/// `a.pcapng`, `a.1.pcapng`, `a.2.pcapng`...
pub(super) fn end_and_inspect(server: TapServer, capture: &Path, queues: u32) -> Result<(), Failure> {
    server.stop()?;
    let mut frames = 0;
    for queue in 0..queues {
        let of_queue = match queue {
            0 => capture.to_owned(),
            _ => capture.with_extension(format!("{queue}.pcapng")),
        };
        // What arrives, and where, is for the steering to say.
        frames += judge(&of_queue, SERVER)?;
    }
    ensure!(frames > 0, "{} holds no frame, nor do those of the other queues", capture.display());
    println!("tshark: {frames} frames; none malformed, no bad checksum of ours");
    Ok(())
}

fn count_frames(capture: &Path) -> Result<u64, Failure> {
    // -T a table, -r without its heading, -M plain numbers, -c the count.
    let counted = process::capture_success(Command::new("capinfos").args(["-TrMc"]).arg(capture), DEADLINE)?;
    let figure = counted.stdout.split_whitespace().last().and_then(|figure| figure.parse().ok());
    figure.ok_or_else(|| Failure::Expectation(format!("capinfos gives no count: {}", counted.output())))
}

/// A frame that tshark finds something about.
#[derive(Debug, Default)]
struct Suspect {
    malformed: bool,
    source: Option<Ipv4Addr>,
    destination: Option<Ipv4Addr>,
    protocol: u8,
    total_length: u16,
    header_length: u16,
    header_is_bad: bool,
    transport_checksum: Option<u16>,
}

impl Suspect {
    fn parse(row: &str) -> Self {
        let mut columns = row.split('\t').skip(1);
        let mut next = || columns.next().unwrap_or_default();
        let (malformed, source, destination) = (next(), next(), next());
        let (protocol, total_length, header_length, header_status) = (next(), next(), next(), next());
        let checksum = [next(), next()].into_iter().find_map(|text| text.strip_prefix("0x"));
        Self {
            malformed: !malformed.is_empty(),
            source: source.parse().ok(),
            destination: destination.parse().ok(),
            protocol: protocol.parse().unwrap_or_default(),
            total_length: total_length.parse().unwrap_or_default(),
            header_length: header_length.parse().unwrap_or_default(),
            header_is_bad: header_status == "0",
            transport_checksum: checksum.and_then(|digits| u16::from_str_radix(digits, 16).ok()),
        }
    }

    fn is_wrong(&self, server: Ipv4Addr) -> bool {
        if self.malformed {
            return true;
        }
        self.source == Some(server) && (self.header_is_bad || !self.is_partial())
    }

    /// Whether the transport checksum is the pseudo-header's sum (RFC 9293 section 3.1), uncomplemented.
    fn is_partial(&self) -> bool {
        let (Some(source), Some(destination), Some(checksum)) =
            (self.source, self.destination, self.transport_checksum)
        else {
            return false;
        };
        let halves = |address: Ipv4Addr| {
            let [a, b, c, d] = address.octets();
            u32::from(u16::from_be_bytes([a, b])) + u32::from(u16::from_be_bytes([c, d]))
        };
        let length = self.total_length.saturating_sub(self.header_length);
        let sum = halves(source) + halves(destination) + u32::from(self.protocol) + u32::from(length);
        let once = (sum & 0xffff) + (sum >> 16);
        (once & 0xffff) + (once >> 16) == u32::from(checksum)
    }
}

pub(super) fn tshark_finds_nothing_wrong_in_the_server_s_own_capture(stage: &Stage) -> Result<(), Failure> {
    let capture = stage.file("server.pcapng");
    let server = TapServer::start(stage, &["--pcap", &capture.to_string_lossy()])?;
    let curl = Curl { server: &server, deadline: Duration::from_secs(30) };
    let body = stage.file("body");
    random_file(&body, 4 * 1024 * 1024)?;
    server.client("ping", &["-c3", "-i0.2", "-s", "1472", SERVER], Duration::from_secs(20))?;
    curl.get("/")?;
    curl.post_file("/sha256", &body)?;
    load::wrk(&server, 8, 1, false)?;
    server.stop()?;
    let frames = inspect(&capture, SERVER)?;
    // Three echoes, four connections' worth of segments, and 4 MiB in segments of at most 64 KiB.
    ensure!(frames > 100, "the capture holds only {frames} frames");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const US: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 2);

    /// 0x0a4d + 0x0002 + 0x0a4d + 0x0001 + 6 + 20 = 0x14b7.
    const PARTIAL: &str = "7\t\t10.77.0.2\t10.77.0.1\t6\t40\t20\t1\t0x14b7\t";

    #[test]
    fn our_partial_checksum_is_allowed() {
        assert!(!Suspect::parse(PARTIAL).is_wrong(US));
    }

    #[test]
    fn any_other_wrong_checksum_of_ours_is_not_allowed() {
        assert!(Suspect::parse(&PARTIAL.replace("14b7", "14b8")).is_wrong(US));
    }

    #[test]
    fn a_partial_checksum_excuses_no_bad_ip_header() {
        assert!(Suspect::parse("7\t\t10.77.0.2\t10.77.0.1\t6\t40\t20\t0\t0x14b7\t").is_wrong(US));
    }

    #[test]
    fn a_bad_icmp_checksum_of_ours_is_not_allowed() {
        assert!(Suspect::parse("7\t\t10.77.0.2\t10.77.0.1\t1\t84\t20\t1\t\t").is_wrong(US));
    }

    #[test]
    fn the_kernel_s_unfinished_checksums_are_its_own_business() {
        assert!(!Suspect::parse("7\t\t10.77.0.1\t10.77.0.2\t6\t40\t20\t1\t0x1234\t").is_wrong(US));
    }

    #[test]
    fn a_malformed_frame_is_wrong_whoever_sent_it() {
        assert!(
            Suspect::parse("7\t_ws.malformed\t10.77.0.1\t10.77.0.2\t6\t40\t20\t1\t0x1234\t").is_wrong(US)
        );
    }
}
