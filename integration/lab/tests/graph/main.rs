//! Pictures, judged by the text that comes out alone.

#[cfg(test)]
mod pictures;
#[cfg(test)]
mod sheet;

use pictures::{attachment, dual_stack, network, node, random, tutorial, two_hosts, unattached};
use plumb_lab::graph::{Attachment, Format, Group, Kind, Picture};
use sheet::Sheet;

fn all() -> Vec<Picture> {
    let mut pictures = vec![tutorial(), two_hosts(), dual_stack(), unattached()];
    pictures.extend((0..40).map(random));
    pictures
}

/// The address without its length.
fn bare(address: &str) -> &str {
    address.split_once('/').map_or(address, |(bare, _)| bare)
}

#[test]
fn the_tutorial_in_nwdiag_reads_as_its_users_write_it() {
    assert_eq!(
        tutorial().draw(Format::Nwdiag),
        r##"nwdiag {
  // The tutorial
  Internet [shape = cloud, width = 172, height = 70, label = "Internet\n203.0.113.10 (eth0)"];
  Internet -- dockerhost [address = "203.0.113.1/24 (eth0)"]; // WAN 203.0.113.0/24
  R1 [label = "R1\nOSPF area 0"];
  R2 [label = "R2\nOSPF area 0"];
  group "OSPF area 0" {
    color = "#fdeec3";
    R1;
    R2;
  }
  network outside-br1 {
    address = "192.168.101.0/24";
    dockerhost [address = ".1 (br1)"];
    R1 [address = ".2 (eth1)"];
  }
  network internal-br2 {
    address = "192.168.102.0/24";
    R1 [address = ".1 (eth2)"];
    R2 [address = ".2 (eth1)"];
  }
  network inside-br3 {
    address = "192.168.103.0/24";
    R2 [address = ".1 (eth2)"];
    H1 [address = ".2 (eth1)"];
  }
}
"##
    );
}

#[test]
fn every_node_network_interface_and_address_is_in_the_svg() {
    for picture in all() {
        let sheet = Sheet::of(&picture);
        for node in &picture.nodes {
            assert!(sheet.shows(&node.name), "{} in {}", node.name, sheet.source);
        }
        for network in &picture.networks {
            assert!(sheet.shows(&network.name), "{}", network.name);
            for prefix in &network.prefixes {
                assert!(sheet.shows(prefix), "{prefix}");
            }
        }
        for attachment in &picture.attachments {
            assert!(sheet.shows(&attachment.interface), "{attachment:?}");
            for address in &attachment.addresses {
                let shown = sheet.shows(address) || sheet.shows(bare(address));
                assert!(shown, "{address} in {}", sheet.source);
            }
        }
        for group in &picture.groups {
            assert!(sheet.shows(&group.label), "{}", group.label);
        }
    }
}

#[test]
fn each_attachment_is_one_statement_in_nwdiag() {
    for picture in all() {
        let source = picture.draw(Format::Nwdiag);
        for Attachment {
            node,
            interface,
            addresses,
            ..
        } in &picture.attachments
        {
            for address in addresses {
                let address = bare(address);
                let last = address.rsplit('.').next().unwrap();
                let forms = [
                    format!("\"{address} ({interface})"),
                    format!(" {address} ({interface})"),
                    format!("n{address} ({interface})"),
                    format!("\"{address}/24 ({interface})"),
                    format!("/64 ({interface})"),
                    format!(".{last} ({interface})"),
                ];
                let found = source
                    .lines()
                    .filter(|line| line.contains(node.as_str()))
                    .any(|line| forms.iter().any(|form| line.contains(form)));
                assert!(found, "{node} {interface} {address} in\n{source}");
            }
        }
        for node in &picture.nodes {
            assert!(source.contains(&node.name), "{}", node.name);
        }
    }
}

#[test]
fn each_attachment_is_one_line_in_mermaid() {
    for picture in all() {
        let source = picture.draw(Format::Mermaid);
        for Attachment {
            interface,
            addresses,
            ..
        } in &picture.attachments
        {
            let found = source
                .lines()
                .filter(|l| l.contains(" ---|\""))
                .any(|line| {
                    line.contains(interface.as_str())
                        && addresses.iter().all(|a| line.contains(bare(a)))
                });
            assert!(found, "{interface} {addresses:?} in\n{source}");
        }
        let edges = source.lines().filter(|line| line.contains(" ---")).count();
        assert_eq!(edges, picture.attachments.len(), "{source}");
        for node in &picture.nodes {
            assert!(source.contains(&format!("\"{}", node.name)), "{source}");
        }
    }
}

#[test]
fn boxes_and_labels_do_not_overlap() {
    for picture in all() {
        let sheet = Sheet::of(&picture);
        assert_eq!(sheet.plates.len(), picture.nodes.len(), "{}", sheet.source);
        assert_eq!(sheet.buses.len(), picture.networks.len());
        let solid: Vec<_> =
            (sheet.plates.iter().chain(&sheet.buses).chain(&sheet.labels)).collect();
        for (place, a) in solid.iter().enumerate() {
            for b in solid.iter().skip(place + 1) {
                assert!(!a.overlaps(b), "{a:?} and {b:?} in {}", sheet.source);
            }
        }
    }
}

#[test]
fn texts_stay_in_their_boxes_and_everything_on_the_page() {
    for picture in all() {
        let sheet = Sheet::of(&picture);
        let boxes: Vec<_> = sheet.plates.iter().chain(&sheet.buses).collect();
        for text in &sheet.inner {
            assert!(
                boxes.iter().any(|outer| outer.holds(text)),
                "{text:?} in {}",
                sheet.source
            );
        }
        for area in boxes.into_iter().chain(&sheet.labels).chain(&sheet.groups) {
            assert!(sheet.page.holds(area), "{area:?} in {}", sheet.source);
        }
    }
}

#[test]
fn lines_of_two_networks_never_lie_on_one_another() {
    for picture in all() {
        let sheet = Sheet::of(&picture);
        for (place, a) in sheet.wires.iter().enumerate() {
            for b in sheet.wires.iter().skip(place + 1) {
                let apart = a.colour == b.colour || !a.area.overlaps(&b.area);
                assert!(apart, "{a:?} and {b:?} in {}", sheet.source);
            }
        }
    }
}

#[test]
fn lines_pass_no_box_and_no_label() {
    for picture in all() {
        let sheet = Sheet::of(&picture);
        for wire in &sheet.wires {
            for area in sheet.plates.iter().chain(&sheet.labels) {
                assert!(
                    !wire.area.overlaps(area) || wire.ends_at(area),
                    "{wire:?} and {area:?} in {}",
                    sheet.source
                );
            }
        }
    }
}

#[test]
fn a_group_lies_under_its_members_and_no_one_else() {
    for picture in all() {
        let sheet = Sheet::of(&picture);
        let mut members: Vec<&String> = picture.groups.iter().flat_map(|g| &g.members).collect();
        members.sort();
        members.dedup();
        let is_attached = |name: &str| picture.attachments.iter().any(|a| a.node == name);
        for node in picture.nodes.iter().filter(|n| is_attached(&n.name)) {
            let plate = sheet.plate(&node.name);
            let under = sheet.groups.iter().any(|group| group.overlaps(plate));
            assert_eq!(under, members.contains(&&node.name), "{}", node.name);
        }
    }
}

#[test]
fn the_order_of_the_lists_does_not_matter() {
    for picture in all() {
        let mut turned = picture.clone();
        turned.nodes.reverse();
        turned.networks.reverse();
        turned.attachments.reverse();
        turned.groups.reverse();
        for format in Format::ALL {
            assert_eq!(picture.draw(format), turned.draw(format), "{format}");
        }
    }
}

#[test]
fn many_leaves_are_stacked_instead_of_widening_the_page() {
    let mut picture = Picture {
        nodes: vec![node("host", Kind::Host)],
        networks: vec![network("br0", &["10.0.0.0/16"])],
        attachments: vec![attachment("host", "br0", "br0", &["10.0.0.1/16"])],
        ..Picture::default()
    };
    for leaf in 0..40 {
        let address = format!("10.0.1.{leaf}/16");
        picture
            .attachments
            .push(attachment(&format!("c{leaf}"), "br0", "eth0", &[&address]));
    }
    let sheet = Sheet::of(&picture);
    assert_eq!(sheet.plates.len(), 41);
    assert!(
        sheet.page.right - sheet.page.left <= 1400.0,
        "{:?}",
        sheet.page
    );
}

/// A picture whose every name is `name`.
fn named(name: &str) -> Picture {
    let mut strange = node(name, Kind::Router);
    strange.notes.push(name.to_owned());
    Picture {
        title: name.to_owned(),
        nodes: vec![strange],
        networks: vec![network(name, &["10.0.0.0/24"])],
        attachments: vec![attachment(name, name, name, &["10.0.0.1/24"])],
        groups: vec![Group {
            label: name.to_owned(),
            members: vec![name.to_owned()],
        }],
    }
}

const STRANGE: [&str; 12] = [
    "<b>",
    "a & b",
    "\"quoted\"",
    "it's",
    "a--b",
    "-x",
    "end",
    "network",
    "tail\\",
    "#35;",
    "線",
    "two\nlines",
];

#[test]
fn no_name_breaks_the_svg() {
    for name in STRANGE {
        let sheet = Sheet::of(&named(name));
        assert!(sheet.is_well_formed(), "{}", sheet.source);
        assert_eq!((sheet.plates.len(), sheet.buses.len()), (1, 1));
        assert!(sheet.shows(&name.replace('\n', " ")), "{}", sheet.source);
    }
}

#[test]
fn no_name_breaks_out_of_a_string_in_nwdiag() {
    for name in STRANGE {
        let source = named(name).draw(Format::Nwdiag);
        // Without its strings the source holds nothing but words that nwdiag takes for names.
        let mut outside = String::new();
        let mut inside = false;
        let mut before = ' ';
        for c in source.chars() {
            if c == '"' && before != '\\' {
                inside = !inside;
            } else if !inside {
                outside.push(c);
            }
            before = c;
        }
        assert!(!inside, "{source}");
        for line in outside.lines().filter(|line| !line.contains("//")) {
            let plain = |c: char| c.is_ascii_alphanumeric() || " -._{}[]=;,".contains(c);
            assert!(line.chars().all(plain), "{line} of {source}");
        }
        assert!(!outside.contains("network ;"), "{source}");
    }
}

#[test]
fn no_name_is_syntax_in_mermaid() {
    for name in STRANGE {
        let source = named(name).draw(Format::Mermaid);
        for line in source.lines().skip(4).filter(|l| l.contains('"')) {
            let inner = line.split('"').nth(1).unwrap().replace("<br/>", " ");
            let plain = |c: char| c.is_alphanumeric() || " _.:/-()+,=@%#;".contains(c);
            assert!(inner.chars().all(plain), "{line}");
            assert_eq!(line.matches('"').count(), 2, "{line}");
        }
    }
}

#[test]
fn what_an_attachment_names_is_drawn_though_it_is_not_listed() {
    let picture = Picture {
        attachments: vec![attachment("c1", "br0", "eth0", &["10.0.0.2/24"])],
        ..Picture::default()
    };
    for format in Format::ALL {
        let source = picture.draw(format);
        for name in ["c1", "br0", "eth0", "10.0.0.2/24"] {
            assert!(source.contains(name), "{name} in {source}");
        }
    }
}

#[test]
fn the_svg_needs_nothing_from_elsewhere() {
    for picture in [tutorial(), Picture::default()] {
        let source = picture.draw(Format::Svg);
        let own = source.replacen("http://www.w3.org/2000/svg", "", 1);
        for outside in [
            "http", "href", "url(", "@import", "<image", "<script", "<style",
        ] {
            assert!(!own.contains(outside), "{outside}");
        }
        for part in ["viewBox=\"0 0 ", "<title>", "<desc>", "role=\"img\""] {
            assert!(source.contains(part), "{part}");
        }
    }
}

#[test]
fn a_format_has_a_name() {
    for format in Format::ALL {
        assert_eq!(format.to_string().parse(), Ok(format));
    }
    let error = "png".parse::<Format>().unwrap_err();
    assert_eq!(error, "\"png\" is no format: nwdiag, mermaid and svg are");
}
