//! A packet behaves as the plain bytes it stands for, whatever its pieces are, and whoever shares them.
#![cfg(not(loom))]
