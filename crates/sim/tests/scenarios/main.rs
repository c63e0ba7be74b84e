//! What two hosts, or one host and a script, do in virtual time: a file for each theme.

mod backpressure;
mod determinism;
mod echo;
mod fragments;
mod icmp;
mod igmp;
mod listing;
mod neighbor;
mod own_address;
mod path_mtu;
mod path_mtu_attacks;
mod tcp_attacks;
mod tcp_close;
mod tcp_data;
mod tcp_handshake;
mod tcp_loss;
mod tcp_options;
mod tcp_pressure;
mod tcp_timers;
mod tcp_window;
mod udp;
