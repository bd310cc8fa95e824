//! What every Plumb plugin shares.
//!
//! Three layers, each using only what stands before it:
//! * pure: [`code`], [`excerpt`], [`error`], [`version`], [`ident`], [`addr`], [`owner`], [`md5`], [`json`], [`args`], [`result`]:
//!   values in, values out;
//! * kernel: `child`, `program`, [`netns`], [`sysctl`], [`netlink`], [`nft`], [`conntrack`], [`announce`], [`probe`]: verbs that
//!   change or read the running kernel; and [`dbus`], for services that keep a part of it to themselves;
//! * protocol: [`mod@env`], [`config`], [`plugin`], [`delegate`], [`undo`], [`log`]: what the CNI specification
//!   asks of a plugin; and [`attach`]: what the plugins that give a container an interface share.
//!
//! Beside them stands [`alloc`], the memory of a process that answers one call.
//!
//! A plugin names no netlink crate, `nix` or `libc`: it calls the verbs of this crate.

pub mod addr;
pub mod alloc;
pub mod announce;
pub mod args;
pub mod attach;
mod child;
pub mod code;
pub mod config;
pub mod conntrack;
pub mod dbus;
pub mod delegate;
pub mod env;
pub mod error;
pub mod excerpt;
pub mod ident;
pub mod json;
pub mod log;
pub mod md5;
pub mod netlink;
pub mod netns;
pub mod nft;
pub mod owner;
pub mod plugin;
pub mod probe;
mod program;
pub mod result;
pub mod sysctl;
pub mod undo;
pub mod version;

#[cfg(test)]
pub(crate) mod testing;
