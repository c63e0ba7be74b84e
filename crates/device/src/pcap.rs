//! A device whose traffic is written to a capture file (pcapng, draft-ietf-opsawg-pcapng) that tcpdump and
//! Wireshark read.

use std::borrow::Cow;
use std::io::{self, BufWriter, Write};
use std::os::fd::BorrowedFd;
use std::time::Duration;

use pcap_file::DataLink;
use pcap_file::pcapng::blocks::enhanced_packet::{EnhancedPacketBlock, EnhancedPacketOption};
use pcap_file::pcapng::blocks::interface_description::{
    InterfaceDescriptionBlock, InterfaceDescriptionOption,
};
use pcap_file::pcapng::{PcapNgBlock, PcapNgWriter};
use sunstar_packet::{
    Capabilities, Departure, DeviceCounters, DeviceError, FrameSource, LinkState, Medium, Packet, Pool,
    QueuePair,
};

use crate::checksum;

/// The `if_tsresol` option: stamps count units of 10^-9 seconds.
const NANOSECONDS: u8 = 9;
/// The direction bits of the `epb_flags` option.
const INBOUND: u32 = 0b01;
const OUTBOUND: u32 = 0b10;
/// Bytes gathered before the file is written.
const BUFFER: usize = 256 * 1_024;

/// What a capture says about itself, and how much of each frame it takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PcapConfig {
    /// The interface's name in the file.
    pub interface: String,
    /// The most bytes kept of a frame; `None` keeps all.
    pub snap_length: Option<u32>,
}

/// A capture file could not be written.
#[derive(Debug, thiserror::Error)]
#[error("the capture of {interface} cannot be written: {source}; traffic goes on without it")]
pub struct PcapError {
    /// The captured interface.
    pub interface: String,
    /// What failed.
    #[source]
    pub source: io::Error,
}

/// Any device, with a capture of its traffic.
///
/// A received frame is captured when the device hands it over, a sent one when the device pulls it. Partial
/// checksums are completed in the capture, as the wire would show them; packets that a device is to
/// segment, or has coalesced, are captured whole. The first write that fails ends the capture, is reported
/// once, and disturbs nothing else. The file is complete after [`QueuePair::arm`] and after the drop.
pub struct Pcap<D> {
    device: D,
    capture: Option<Capture>,
}

struct Capture {
    config: PcapConfig,
    file: PcapNgWriter<BufWriter<Box<dyn Write + Send>>>,
    clock: Box<dyn Fn() -> u64 + Send>,
    on_failure: Box<dyn FnOnce(PcapError) + Send>,
    frame: Vec<u8>,
    is_dirty: bool,
}

impl<D: QueuePair> Pcap<D> {
    /// Captures a device's traffic into `file`, with stamps that `clock` gives in nanoseconds since 1970. A
    /// failure that ends the capture is told to `on_failure`.
    ///
    /// # Errors
    /// [`PcapError`] when not even the file's header can be written.
    pub fn new(
        device: D,
        config: PcapConfig,
        file: impl Write + Send + 'static,
        clock: impl Fn() -> u64 + Send + 'static,
        on_failure: impl FnOnce(PcapError) + Send + 'static,
    ) -> Result<Self, PcapError> {
        let medium = device.capabilities().medium;
        let file = Box::new(file) as Box<dyn Write + Send>;
        let file = open(&config, medium, BufWriter::with_capacity(BUFFER, file))
            .map_err(|source| PcapError { interface: config.interface.clone(), source })?;
        let (clock, on_failure) = (Box::new(clock), Box::new(on_failure));
        let capture = Capture { config, file, clock, on_failure, frame: Vec::new(), is_dirty: false };
        Ok(Self { device, capture: Some(capture) })
    }

    /// The same type without a capture: it costs a branch a burst.
    pub fn off(device: D) -> Self {
        Self { device, capture: None }
    }

    /// Whether frames are being captured.
    pub fn is_capturing(&self) -> bool {
        self.capture.is_some()
    }
}

impl<D> Pcap<D> {
    fn flush(&mut self) {
        if let Some(capture) = self.capture.as_mut().filter(|capture| capture.is_dirty) {
            capture.is_dirty = false;
            let flushed = capture.file.get_mut().flush();
            end_if_failed(&mut self.capture, flushed);
        }
    }
}

fn open<W: Write>(config: &PcapConfig, medium: Medium, file: W) -> io::Result<PcapNgWriter<W>> {
    let mut file = PcapNgWriter::new(file).map_err(io_error)?;
    let linktype = match medium {
        Medium::Ethernet => DataLink::ETHERNET,
        Medium::Ip => DataLink::RAW,
    };
    let interface = InterfaceDescriptionBlock {
        linktype,
        snaplen: config.snap_length.unwrap_or(0),
        options: vec![
            InterfaceDescriptionOption::IfName(Cow::Owned(config.interface.clone())),
            InterfaceDescriptionOption::IfTsResol(NANOSECONDS),
        ],
    };
    file.write_pcapng_block(interface).map_err(io_error)?;
    file.get_mut().flush()?;
    Ok(file)
}

impl Capture {
    fn write(&mut self, packet: &Packet, direction: u32) -> io::Result<()> {
        self.frame.resize(packet.len(), 0);
        packet.copy_to(0, &mut self.frame);
        checksum::complete(&mut self.frame, packet.notes.checksum);
        let kept =
            self.config.snap_length.map_or(self.frame.len(), |limit| self.frame.len().min(limit as usize));
        let block = EnhancedPacketBlock {
            interface_id: 0,
            timestamp: Duration::from_nanos((self.clock)()),
            original_len: self.frame.len() as u32,
            data: Cow::Borrowed(&self.frame[..kept]),
            options: vec![EnhancedPacketOption::Flags(direction)],
        };
        self.is_dirty = true;
        self.file.write_block(&block.into_block()).map(drop).map_err(io_error)
    }
}

fn io_error(error: pcap_file::PcapError) -> io::Error {
    match error {
        pcap_file::PcapError::IoError(error) => error,
        other => io::Error::other(other),
    }
}

fn record(capture: &mut Option<Capture>, packet: &Packet, direction: u32) {
    if let Some(running) = capture {
        let written = running.write(packet, direction);
        end_if_failed(capture, written);
    }
}

fn end_if_failed(capture: &mut Option<Capture>, written: io::Result<()>) {
    if let Err(source) = written
        && let Some(capture) = capture.take()
    {
        // What is still buffered would only fail again when dropped.
        let (_file, _unwritten) = capture.file.into_inner().into_parts();
        (capture.on_failure)(PcapError { interface: capture.config.interface, source });
    }
}

/// Records what a device pulls.
struct Recorder<'a, S> {
    source: &'a mut S,
    capture: &'a mut Option<Capture>,
}

impl<S: FrameSource> FrameSource for Recorder<'_, S> {
    fn next(&mut self) -> Option<Packet> {
        let packet = self.source.next()?;
        record(self.capture, &packet, OUTBOUND);
        Some(packet)
    }

    fn departed(&mut self, departure: Departure) {
        self.source.departed(departure);
    }
}

impl<D: QueuePair> QueuePair for Pcap<D> {
    fn capabilities(&self) -> Capabilities {
        self.device.capabilities()
    }

    fn pull(
        &mut self,
        pool: &Pool,
        budget: usize,
        source: &mut impl FrameSource,
    ) -> Result<usize, DeviceError> {
        if self.capture.is_none() {
            return self.device.pull(pool, budget, source);
        }
        self.device.pull(pool, budget, &mut Recorder { source, capture: &mut self.capture })
    }

    fn receive(
        &mut self,
        pool: &Pool,
        budget: usize,
        frames: &mut Vec<Packet>,
    ) -> Result<usize, DeviceError> {
        let before = frames.len();
        let received = self.device.receive(pool, budget, frames);
        if self.capture.is_some() {
            for packet in &frames[before..] {
                record(&mut self.capture, packet, INBOUND);
            }
        }
        received
    }

    fn link(&self) -> LinkState {
        self.device.link()
    }

    fn wants_room(&self) -> bool {
        self.device.wants_room()
    }

    fn arm(&mut self, wants_room: bool) -> bool {
        self.flush();
        self.device.arm(wants_room)
    }

    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.device.descriptor()
    }

    fn counters(&self) -> DeviceCounters {
        self.device.counters()
    }
}

impl<D> Drop for Pcap<D> {
    fn drop(&mut self) {
        self.flush();
    }
}

impl<D: std::fmt::Debug> std::fmt::Debug for Pcap<D> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let config = self.capture.as_ref().map(|capture| &capture.config);
        formatter.debug_struct("Pcap").field("device", &self.device).field("capture", &config).finish()
    }
}

#[cfg(test)]
mod tests;
