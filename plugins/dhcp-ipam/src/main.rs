//! `dhcp-ipam`: addresses from a DHCP server, kept alive by a daemon that is this same program.
#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    dhcp_ipam::run(std::env::args().skip(1))
}
