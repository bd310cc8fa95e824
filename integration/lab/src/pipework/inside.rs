//! What happens in a guest: a command in its network namespace, and waiting for an interface.

use std::process::{Command, ExitCode};
use std::thread;
use std::time::Duration;

use cni_common::netns::Netns;
use nix::ifaddrs::getifaddrs;
use nix::net::if_::InterfaceFlags;

use super::guest;
use crate::topology::{At, Error, exit_code, search_path};

/// How often it is looked for an interface.
const PAUSE: Duration = Duration::from_millis(50);

/// Runs a command in a guest's network namespace, and gives its exit status.
pub(super) fn run(words: &[String], guest: &str) -> Result<ExitCode, Error> {
    let guest = guest::find(guest)?;
    let netns = Netns::open(&guest.netns).at(|| format!("guest {}", guest.id))?;
    let (program, arguments) = words
        .split_first()
        .ok_or_else(|| Error::new("no command"))?;
    let mut command = Command::new(program);
    command.args(arguments).env("PATH", search_path());
    let status = netns
        .run(|| command.status())
        .at(|| format!("enter {}", guest.id))?;
    Ok(exit_code(status.at(|| program.clone())?))
}

/// Waits until an interface of this namespace is up and has a carrier. It needs neither sysfs nor a program: it may run in
/// a container that has neither.
pub(super) fn wait(interface: &str) -> Result<(), Error> {
    while !runs(interface)? {
        thread::sleep(PAUSE);
    }
    Ok(())
}

fn runs(interface: &str) -> Result<bool, Error> {
    let wanted = InterfaceFlags::IFF_UP | InterfaceFlags::IFF_RUNNING;
    let mut listed = getifaddrs().at(|| "list interfaces".to_owned())?;
    Ok(listed.any(|each| each.interface_name == interface && each.flags.contains(wanted)))
}
