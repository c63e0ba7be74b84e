//! Many shards in virtual time: what is whose, what all know, and what a shard in trouble costs the others.

mod dhcp;
mod echo;
mod flood;
mod forwarding;
mod fragments;
mod groups;
mod igmp;
mod neighbors;
mod path_mtus;
mod ports;
mod proxies;
mod rebirth;
