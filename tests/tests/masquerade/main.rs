//! `masquerade` with real packets: what is translated, what is let through, what is left.

#![cfg(test)]

mod firewalld;
mod guard;
mod ingress;
mod iptables;
mod legacy;
mod life;
mod many;
mod mss;
mod reference;
mod reload;
mod routers;
mod settings;
mod translation;
mod world;
