//! `masquerade` with real packets: what is translated, what is let through, what is left.

#![cfg(test)]

mod counters;
mod documentation;
mod firewalld;
mod flat;
mod forward;
mod guard;
mod ingress;
mod iptables;
mod legacy;
mod legacy_publish;
mod life;
mod many;
mod mss;
mod prefix;
mod publish;
mod publish_life;
mod reach;
mod reference;
mod reload;
mod routers;
#[cfg(feature = "stock-kernel")]
mod sctp;
mod settings;
mod sources;
mod translation;
mod ufw;
mod world;
