//! `dhcp-ipam` from outside: the binary, its daemon, real DHCP servers, and what the kernel and tcpdump say.
#![cfg(test)]

mod again;
mod asked;
mod daemon;
mod delegated;
mod dual;
mod events;
mod family;
mod hostile;
mod killed;
mod killed_waiting;
mod life;
mod life6;
mod many;
mod neighbours;
mod page;
mod promises;
mod released;
mod servers;
mod servers6;
mod slaac;
mod socket;
#[cfg(feature = "stock-kernel")]
mod stock;
mod terms;
mod trouble;
mod trouble6;
mod unheard;
mod world;
mod world6;
