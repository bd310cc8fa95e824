use super::*;

fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

fn read(text: &str) -> Request {
    parse(&words(text), &|_| false).unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn attach(text: &str) -> Line {
    let Request::Attach(line, Mode::Attach) = read(text) else {
        panic!("{text}")
    };
    line
}

fn refused(text: &str) -> String {
    parse(&words(text), &|_| false).unwrap_err()
}

fn is_static(line: &Line, address: &str, gateway: Option<&str>) -> bool {
    match &line.address {
        Address::Static {
            address: found,
            gateway: by,
        } => found.to_string() == address && by.map(|by| by.to_string()).as_deref() == gateway,
        Address::None | Address::Dhcp(_) => false,
    }
}

/// Every attaching line of the tutorial's slides.
#[test]
fn the_lines_of_the_slides() {
    for (text, interface, address, gateway) in [
        (
            "br1 CPID 192.168.100.2/24",
            "eth1",
            "192.168.100.2/24",
            None,
        ),
        (
            "br1 -i eth1 R1 192.168.101.2/24@192.168.101.1",
            "eth1",
            "192.168.101.2/24",
            Some("192.168.101.1"),
        ),
        (
            "br2 -i eth2 R1 192.168.102.1/24",
            "eth2",
            "192.168.102.1/24",
            None,
        ),
        (
            "br2 -i eth1 R2 192.168.102.2/24",
            "eth1",
            "192.168.102.2/24",
            None,
        ),
        (
            "br3 -i eth2 R2 192.168.103.1/24",
            "eth2",
            "192.168.103.1/24",
            None,
        ),
        (
            "br3 -i eth1 H1 192.168.103.2/24@192.168.103.1",
            "eth1",
            "192.168.103.2/24",
            Some("192.168.103.1"),
        ),
    ] {
        let line = attach(text);
        assert_eq!(line.interface, interface, "{text}");
        assert!(is_static(&line, address, gateway), "{text}: {line:?}");
        assert_eq!(line.words.join(" "), text);
    }
}

/// The forms of the syntax that pipework prints, and those of its README.
#[test]
fn the_forms_of_the_readme() {
    let line = attach("br1 -i eth2 -l hostapp1 c1 192.168.4.25/20");
    assert_eq!(line.local.as_deref(), Some("hostapp1"));
    let line = attach("eth0 -i eth0 -a 6 c1 2001:db8::beef/64@2001:db8::1");
    assert!(is_static(&line, "2001:db8::beef/64", Some("2001:db8::1")));
    assert_eq!(attach("br1 c1 0/0").address, Address::None);
    assert!(matches!(
        attach("eth1 c1 dhclient").address,
        Address::Dhcp(_)
    ));
    assert!(matches!(
        attach("eth1 c1 dhcp:-f").address,
        Address::Dhcp(_)
    ));
    let line = attach("eth0 c1 192.168.1.2/24 26:2e:71:98:60:8f");
    assert_eq!(line.mac, Some(Mac::Literal("26:2e:71:98:60:8f".into())));
    assert_eq!(line.vlan, None);
    let line = attach("eth0 c1 dhcp U:myhost.foo.com");
    assert_eq!(line.mac, Some(Mac::From("U:myhost.foo.com".into())));
    let line = attach("ovsbr0 c1 dhcp @10");
    assert_eq!((line.mac, line.vlan.as_deref()), (None, Some("10")));
    let line = attach("eth0 c1 192.168.1.2/24 26:2e:71:98:60:8f@10@11");
    assert_eq!(
        (line.mac.is_some(), line.vlan.as_deref()),
        (true, Some("10"))
    );
    assert_eq!(attach("br1 c1 0/0 02:00:00:00:00:01@").vlan, None);
    assert_eq!(
        attach("mac:02:00:00:00:00:01 c1 0/0").host,
        "mac:02:00:00:00:00:01"
    );
    assert_eq!(
        attach("dummy c1 192.168.21.101/24@192.168.21.1").host,
        "dummy"
    );
    let line = attach("--direct-phys p1p2_6 -l ens4 c1 192.168.1.6/24@192.168.1.1");
    assert!(line.direct);
    assert_eq!(
        line.words.join(" "),
        "--direct-phys p1p2_6 -l ens4 c1 192.168.1.6/24@192.168.1.1"
    );
    let mac = parse(&["br1", "c1", "0/0", ""].map(str::to_owned), &|_| false);
    assert!(matches!(
        mac,
        Ok(Request::Attach(Line { mac: None, .. }, _))
    ));
}

#[test]
fn tools_get_every_word_behind_the_guest() {
    for (text, command) in [
        (
            "route c1 add 10.0.5.6/24 via 192.168.2.1",
            "ip route add 10.0.5.6/24 via 192.168.2.1",
        ),
        (
            "rule c1 add from 172.19.0.2/32 table 1",
            "ip rule add from 172.19.0.2/32 table 1",
        ),
        (
            "tc c1 qdisc add dev eth1 root netem loss 30%",
            "tc qdisc add dev eth1 root netem loss 30%",
        ),
        ("route c1 show table all -i", "ip route show table all -i"),
    ] {
        let Request::Inside {
            command: found,
            guest,
        } = read(text)
        else {
            panic!("{text}")
        };
        assert_eq!((found.join(" ").as_str(), guest.as_str()), (command, "c1"));
    }
    assert_eq!(read("route c1"), Request::Syntax { asked: false });
}

#[test]
fn a_link_of_the_host_goes_before_what_its_name_means_otherwise() {
    let read = parse(&words("route0 c1 0/0"), &|name| name == "route0");
    assert!(matches!(read, Ok(Request::Attach(..))), "{read:?}");
}

#[test]
fn waiting_listing_deleting_and_collecting() {
    let wait = |interface: &str| Request::Wait {
        interface: interface.into(),
    };
    assert_eq!(read("--wait"), wait("eth1"));
    assert_eq!(read("--wait -i ib0"), wait("ib0"));
    assert_eq!(read("--list"), Request::List { json: false });
    assert_eq!(read("--list --json"), Request::List { json: true });
    assert_eq!(read("--gc"), Request::Collect);
    assert_eq!(read("--version"), Request::Version);
    for (text, interface) in [
        ("--del R1", None),
        ("--del R1 eth2", Some("eth2")),
        ("--del R1 -i eth2", Some("eth2")),
    ] {
        let Request::Delete {
            guest,
            interface: found,
        } = read(text)
        else {
            panic!("{text}")
        };
        assert_eq!(
            (guest.as_str(), found.as_deref()),
            ("R1", interface),
            "{text}"
        );
    }
}

#[test]
fn a_line_can_be_shown_instead_of_executed() {
    for (text, mode) in [
        ("--dry-run br1 c1 0/0", Mode::DryRun),
        ("--emit conflist br1 c1 0/0", Mode::Emit),
        ("--direct-phys --emit conflist eth1 c1 0/0", Mode::Emit),
    ] {
        let Request::Attach(line, found) = read(text) else {
            panic!("{text}")
        };
        assert_eq!(found, mode);
        assert!(
            !line.words.contains(&"--emit".to_owned()),
            "{:?}",
            line.words
        );
    }
}

#[test]
fn too_few_words_are_answered_with_the_syntax() {
    for text in [
        "",
        "br1",
        "br1 c1",
        "br1 -i eth1",
        "br1 -i eth1 c1",
        "--direct-phys eth0 c1",
    ] {
        assert_eq!(read(text), Request::Syntax { asked: false }, "{text}");
    }
    assert_eq!(read("--help"), Request::Syntax { asked: true });
}

#[test]
fn what_is_wrong_is_named_with_what_is_allowed() {
    for (text, parts) in [
        (
            "br1 c1 10.0.0.1",
            &["should include a netmask", "Maybe you meant 10.0.0.1/24 ?"][..],
        ),
        (
            "br1 -i a-name-that-is-too-long c1 0/0",
            &["-i:", "a-name-that-is-too-long", "15"],
        ),
        ("br1 -l a/b c1 0/0", &["-l:", "a/b"]),
        ("br1 -a 5 c1 0/0", &["-a:", "4 or 6"]),
        (
            "br1 c1 0/0 03:00:00:00:00:01",
            &["03:00:00:00:00:01", "one station"],
        ),
        ("br1 c1 0/0 0200", &["0200", "hardware address"]),
        ("br1 c1 0/0 U:", &["U:"]),
        ("br1 c1 0/0 @10 more", &["\"more\"", "nothing more"]),
        ("--frobnicate br1", &["--frobnicate", "no such option"]),
        ("--emit json br1 c1 0/0", &["--emit", "conflist"]),
        ("--del", &["--del", "guest"]),
        ("--del R1 eth1 eth2", &["\"eth2\""]),
        ("--wait eth1", &["\"eth1\""]),
        ("--wait -i", &["-i"]),
    ] {
        let error = refused(text);
        for part in parts {
            assert!(error.contains(part), "{text}: {part} in {error}");
        }
    }
}
