//! `dhcp-ipam` from outside: the binary, its daemon, real DHCP servers, and what the kernel and tcpdump say.
#![cfg(test)]

mod daemon;
mod events;
mod killed;
mod life;
mod many;
mod servers;
mod terms;
mod trouble;
mod world;
