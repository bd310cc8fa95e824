//! What the plugins that give a container an interface share: keys, the IPAM plugin's part, the interface's
//! addresses and routes, and their CHECK.

pub mod check;
pub mod defaults;
pub mod inside;
pub mod ipam;
pub mod keys;
pub mod mac;
pub mod master;
pub mod namespace;
pub mod result;
pub mod routes;
