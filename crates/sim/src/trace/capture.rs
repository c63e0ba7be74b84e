//! A trace as a capture file (pcapng, draft-ietf-opsawg-pcapng) that Wireshark and tcpdump read: an interface for each sender,
//! and with each frame what became of it.

use std::borrow::Cow;
use std::io::{self, Write};
use std::time::Duration;

use pcap_file::pcapng::PcapNgWriter;
use pcap_file::pcapng::blocks::enhanced_packet::{EnhancedPacketBlock, EnhancedPacketOption};
use pcap_file::pcapng::blocks::interface_description::{
    InterfaceDescriptionBlock, InterfaceDescriptionOption,
};
use pcap_file::{DataLink, PcapError};
use sunstar_packet::Medium;

use super::{Fate, Trace};

/// The `if_tsresol` option: stamps count units of 10^-9 seconds.
const NANOSECONDS: u8 = 9;

impl Trace {
    /// Writes the frames that are remembered. The simulation's time zero is that of 1970.
    ///
    /// # Errors
    /// The file takes no more.
    pub fn write_pcapng(&self, file: impl Write) -> io::Result<()> {
        let mut writer = PcapNgWriter::new(file).map_err(io_error)?;
        let linktype = match self.medium {
            Medium::Ethernet => DataLink::ETHERNET,
            Medium::Ip => DataLink::RAW,
        };
        for name in &self.names {
            let options = vec![
                InterfaceDescriptionOption::IfName(Cow::Borrowed(name)),
                InterfaceDescriptionOption::IfTsResol(NANOSECONDS),
            ];
            let interface = InterfaceDescriptionBlock { linktype, snaplen: 0, options };
            writer.write_pcapng_block(interface).map_err(io_error)?;
        }
        for event in &self.recent {
            let comment = (event.fate != Fate::Crossed).then(|| format!("{:?}", event.fate));
            let block = EnhancedPacketBlock {
                interface_id: event.from.into(),
                timestamp: Duration::from_micros(event.at.as_micros()),
                original_len: event.bytes.len() as u32,
                data: Cow::Borrowed(&event.bytes),
                options: comment.map(|text| EnhancedPacketOption::Comment(text.into())).into_iter().collect(),
            };
            writer.write_pcapng_block(block).map_err(io_error)?;
        }
        writer.into_inner().flush()
    }
}

fn io_error(error: PcapError) -> io::Error {
    match error {
        PcapError::IoError(error) => error,
        other => io::Error::other(other),
    }
}
