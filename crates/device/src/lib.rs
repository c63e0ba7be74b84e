//! Queue pairs: the devices a shard can stand on.
//!
//! A device is a [`QueuePair`](sunstar_packet::QueuePair): one receive ring with one transmit ring, which
//! *pulls* what it sends. A shard is generic over it; nothing here is dispatched at run time.
//!
//! - [`wire`]: an in-memory wire between two hosts, on any two threads.
//! - [`tap`]: a Linux tap, the kernel's end of an Ethernet cable, and a program that steers its frames to queues.
//! - [`Stall`]: around any device, a transmit side that can be closed for a while.
//! - [`Pcap`]: around any device, a capture file of its traffic.
//! - [`Faults`]: around any device, frames lost, doubled, damaged and overtaken.
//!
//! [`Alarm`] wakes a thread that sleeps, without a system call for one that does not.

mod alarm;
mod checksum;
mod doorbell;
mod event;
mod faults;
mod pcap;
mod stall;
#[cfg(target_os = "linux")]
pub mod tap;
pub mod wire;

pub use alarm::Alarm;
pub use faults::{FaultConfig, FaultCounters, FaultRates, Faults};
pub use pcap::{Pcap, PcapConfig, PcapError};
pub use stall::{Stall, StallControl};

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
