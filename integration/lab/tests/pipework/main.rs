//! `pipework` from outside: lines as people type them, on a host of each test's own, with the real plugins.

#![cfg(test)]

mod bridge;
mod containers;
mod crash;
mod dhcp;
mod documentation;
mod inside;
mod life;
mod nic;
mod refused;
mod shown;
#[cfg(feature = "stock-kernel")]
mod stock;
mod world;
