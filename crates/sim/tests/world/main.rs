//! Any number of hosts in one network, and what they withstand.

mod basics;
mod common;
mod minimising;
mod planted;
mod promises;
mod tables;
mod thirty;
