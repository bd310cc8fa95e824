//! Plugins where runtimes look for them.

use std::ffi::OsStr;
use std::fs;
use std::path::Path;

use plumb_tests::{Binaries, Host, our_binaries};

/// Where runtimes look for plugins.
pub const DIRECTORY: &str = "/opt/cni/bin";

/// The reference Go plugins, in the directory that `REFERENCE_DIR` names.
#[track_caller]
pub fn reference() -> Binaries {
    let directory = std::env::var_os("REFERENCE_DIR")
        .unwrap_or_else(|| panic!("REFERENCE_DIR is not set: make test-clients"));
    Binaries::in_directory(Path::new(&directory))
}

/// Gives the host a [`DIRECTORY`] of its own with our plugins, under their own names and those of the Go plugins.
#[track_caller]
pub fn install_ours(host: &Host) {
    host.sh(&format!(
        "mount -t tmpfs tmpfs /opt && mkdir -p {DIRECTORY}"
    ));
    for name in [
        "bridge-attach",
        "static-ipam",
        "dhcp-ipam",
        "masquerade",
        "vlan",
    ] {
        install(host, &our_binaries(), name);
    }
    for (link, plugin) in [
        ("bridge", "bridge-attach"),
        ("static", "static-ipam"),
        ("dhcp", "dhcp-ipam"),
        ("firewall", "masquerade"),
    ] {
        host.sh(&format!("ln -s {plugin} {DIRECTORY}/{link}"));
    }
}

/// Puts the plugin `name` of these into [`DIRECTORY`], in the place of what has that name.
#[track_caller]
pub fn install(host: &Host, binaries: &Binaries, name: &str) {
    let source = binaries.find(name);
    let to = Path::new(DIRECTORY).join(name);
    fs::remove_file(&to).unwrap_or_default();
    // By a process of its own: a fork of this one would keep the file open for writing, and then it is busy.
    host.exec([OsStr::new("cp"), source.as_os_str(), to.as_os_str()]);
}
