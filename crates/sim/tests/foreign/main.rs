//! A host with another stack in the network: smoltcp, which others wrote. It serves and opens connections as our
//! applications do, and every byte is compared at both ends.

mod host;
mod scene;
mod session;

mod bulk;
mod conversations;
mod impaired;
mod many;
mod windows;
