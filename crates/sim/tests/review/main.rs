//! What reading the stack against the RFCs and with an attacker's eyes brought up: one scenario for each finding.

mod around;
mod arrival;
mod closing;
mod sending;
