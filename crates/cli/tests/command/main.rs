//! The command itself, run as a user runs it, on the embedded device: no privilege, and no port of the
//! machine that another test could want.

mod client;
mod perf;
mod ping;
mod program;
mod refusals;
mod serve;
mod show;
mod top;
mod traceroute;
