//! Every header against the contract of the crate (`contract`), against what its own RFC rules out
//! (`refusals`), and against two implementations that are not ours (`oracles`).

mod contract;
mod oracles;
mod refusals;
mod strategies;
