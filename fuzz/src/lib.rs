//! What is thrown at the stack, and what it is held against.
//!
//! A fuzz target is a function of this crate that takes what the fuzzer makes up and panics when something is wrong; the
//! files in `fuzz_targets` only hand it over. "No panic" is the least of what each asks: there is a model, an independent
//! implementation or an invariant beside every one.
//!
//! | target | is given | and held against |
//! | --- | --- | --- |
//! | [`headers`] | bytes | their own way out and in again, and etherparse |
//! | [`options`] | bytes | a walk by the letter of the RFCs, and etherparse |
//! | [`dhcp`] | messages and time | what the client may send, and what may be told of a lease |
//! | [`reassembly`] | fragments | a map of bytes, and what may be held |
//! | [`shard`] | frames, calls and time | a counter for each frame; all that the simulator looks at |
//! | [`mesh`] | frames, binds, panics | one owner for a port, every buffer at home |
//! | [`tcp`] | a peer's segments | two streams of bytes, legal states, exact resets |

pub mod dhcp;
pub mod frame;
pub mod headers;
pub mod mesh;
pub mod options;
pub mod reassembly;
pub mod shard;
pub mod tcp;
