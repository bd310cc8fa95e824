//! Labs brought up, entered, broken and taken down, as root and as nobody.

#![cfg(test)]

mod bench;
mod broken;
mod dhcp;
mod host;
mod labs;
mod life;
mod tutorial;
#[cfg(feature = "stock-kernel")]
mod vlan;
