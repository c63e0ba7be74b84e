//! Queue pairs: the devices a shard can stand on.
//!
//! A device is a [`QueuePair`](sunstar_packet::QueuePair): one receive ring with one transmit ring, which
//! *pulls* what it sends. A shard is generic over it; nothing here is dispatched at run time.
//!
//! - [`wire`]: an in-memory wire between two hosts, on any two threads.

pub mod wire;

#[cfg(test)]
mod testing;
