//! Every command of docs/coming-from-pipework.md is run, in its order, and those of the first page.

use plumb_tests::Container;

use super::world::World;

const PAGE: &str = include_str!("../../../../docs/coming-from-pipework.md");

const FIRST_PAGE: &str = include_str!("../../../../README.md");

/// The lines of the page's blocks of one kind.
fn lines(kind: &str) -> Vec<&'static str> {
    let lines = lines_of(PAGE, kind).into_iter();
    lines
        .map(|line| line.strip_prefix("pipework ").unwrap())
        .collect()
}

fn lines_of(page: &'static str, kind: &str) -> Vec<&'static str> {
    let blocks = page.split("```").skip(1).step_by(2);
    let of_kind =
        blocks.filter_map(|block| block.split_once('\n').filter(|(name, _)| *name == kind));
    let lines = of_kind.flat_map(|(_, lines)| lines.lines());
    let lines = lines.map(|line| line.split_once("  #").map_or(line, |(line, _)| line));
    lines.map(str::trim).collect()
}

/// A host with the page's guests and NICs; a DHCP server behind one of these.
fn host() -> (World, Container) {
    let world = World::new();
    let switch = world.container("switch");
    for (nic, port) in [("eth1", "port1"), ("eth2", "port2")] {
        let mac = nic.replace("eth", "02:00:00:00:00:e");
        world.sh(&format!("ip link add {nic} address {mac} type veth peer name {port} netns switch && ip link set {nic} up"));
        switch.sh(&format!("ip link set {port} up"));
    }
    for guest in ["R1", "R2", "H1", "web1", "db1"] {
        world.container(guest);
    }
    (world, switch)
}

#[test]
fn the_commands_of_the_page_work_as_they_stand_there() {
    let (world, switch) = host();
    let _server = super::dhcp::dnsmasq(&switch, "port1");
    let _daemon = super::dhcp::Daemon;
    let mut listed = String::new();
    let lines = lines("sh");
    assert!(lines.len() > 25, "{lines:?}");
    for line in lines {
        let said = world.does(line);
        if line == "--list" {
            listed = said;
        }
    }
    assert!(PAGE.contains(&format!("```\n{listed}```")), "{listed}");
    for guest in ["R2", "H1"] {
        world.does(&format!("--del {guest}"));
    }
    super::dhcp::until_no_leases();
    assert_eq!(world.links().len(), 3, "lo, eth1 and eth2");
}

#[test]
fn the_commands_of_the_first_page_work_as_they_stand_there() {
    let (world, _switch) = host();
    let lines = lines_of(FIRST_PAGE, "sh")
        .into_iter()
        .filter_map(|line| line.strip_prefix("pipework "));
    let said: Vec<_> = lines.map(|line| world.does(line)).collect();
    assert_eq!(said.len(), 3, "{said:?}");
    assert!(said[1].contains("web1"), "{said:?}");
    assert_eq!(world.links().len(), 3, "lo, eth1 and eth2");
}

#[test]
fn the_page_shows_the_syntax_as_the_program_does() {
    let world = World::new();
    let shown = world.does("--help");
    assert!(PAGE.contains(&format!("```\n{shown}```")), "{shown}");
}

#[cfg(feature = "stock-kernel")]
#[test]
fn so_do_those_that_need_a_stock_kernel() {
    let (world, _switch) = host();
    let lines = lines("sh stock-kernel");
    assert!(lines.len() > 5, "{lines:?}");
    for line in lines {
        world.does(line);
    }
    assert_eq!(world.links().len(), 3, "lo, eth1 and eth2");
}
