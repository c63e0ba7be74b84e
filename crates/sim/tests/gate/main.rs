//! Every class of attack that concerns what there is, with a healthy flow beside it: a file for each theme.
//!
//! What each has come to is said in `docs/reliability.md`; `cargo test -p sunstar-sim --test gate -- --nocapture` prints it.

mod floods;
mod forged;
mod malformed;
mod memory;
mod page;
