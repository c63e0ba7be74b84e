//! Any number of hosts in one network, and what they withstand.

mod basics;
mod planted;
