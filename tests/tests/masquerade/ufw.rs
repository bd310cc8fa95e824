//! A host with Debian's ufw itself: what its restarts leave of ours.

use plumb_tests::{Container, Value, conf, json};

use super::reload::reloaded;
use super::world::{INTERNET, SILENCE, UPLINK, World, kept_out, nf_call, seen, seen_within};

/// What `systemctl restart ufw` does.
const RESTART: &str = "/lib/ufw/ufw-init stop && /lib/ufw/ufw-init start";

/// A host with ufw switched on, whose configuration is the package's and nobody else's.
fn world() -> World {
    let world = World::new();
    nf_call(&world.host, true);
    // Some files of the machine's configuration are for root's eyes only.
    world.host.sh(
        "cp -r /etc/ufw /run/configuration 2> /dev/null; cp /usr/share/ufw/iptables/*.rules /run/configuration \
         && cp /etc/default/ufw /run/default && mount --bind /run/configuration /etc/ufw && mount --bind /run/default /etc/default/ufw",
    );
    world.host.exec(["ufw", "--force", "enable"]);
    world
}

fn attached(world: &World) -> (Container, Value) {
    let (c1, result) = world.with_container("c1");
    assert_eq!(
        seen_within(SILENCE, &c1, &world.internet, INTERNET[0]),
        None
    );
    world.add(&c1, &result, json!({})).succeeds();
    (c1, result)
}

fn passes(world: &World, c1: &Container, result: &Value) {
    let check = world.plugin().previous(result);
    check.check(c1, conf("masquerade", json!({}))).succeeds();
    let status = world.plugin().status(conf("masquerade", json!({})));
    status.succeeds();
    for (outside, uplink) in INTERNET.into_iter().zip(UPLINK) {
        let seen = seen(c1, &world.internet, outside);
        assert_eq!(seen.as_deref(), Some(uplink));
    }
}

#[test]
fn a_restart_leaves_what_passes() {
    let world = world();
    let (c1, result) = attached(&world);
    for restart in [
        &["true"][..],
        &["ufw", "reload"],
        &["ufw", "--force", "disable"],
        &["ufw", "--force", "enable"],
        &["sh", "-c", RESTART],
    ] {
        world.host.exec(restart.iter().copied());
        passes(&world, &c1, &result);
    }
    kept_out(&world.internet, &c1, "10.77.0.2");
    kept_out(&world.internet, &c1, "fd77::2");
    world.del(&c1).succeeds();
    let listed = world.host.sh("iptables -S; ip6tables -S");
    assert!(!listed.contains("PLUMB"), "{listed}");
}

#[test]
fn a_restart_that_empties_the_chains_is_noticed_and_mended() {
    let world = world();
    let (c1, result) = attached(&world);
    // So may the administrator say.
    world
        .host
        .sh("echo MANAGE_BUILTINS=yes >> /etc/default/ufw");
    world.host.sh(RESTART);
    assert_eq!(
        seen_within(SILENCE, &c1, &world.internet, INTERNET[0]),
        None
    );
    let missing = "the jump to PLUMB-FORWARD is missing";
    let check = world.plugin().previous(&result);
    let drifted = check.check(&c1, conf("masquerade", json!({})));
    drifted.fails_with(102, missing);
    let status = world.plugin().status(conf("masquerade", json!({})));
    status.fails_with(51, missing);
    reloaded(&world.host, "in place: 1;");
    passes(&world, &c1, &result);
}
