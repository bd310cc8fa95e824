//! Packets that are not what the client asked for: ignored, and counted by reason.

use std::net::UdpSocket;

use nix::sys::socket::{setsockopt, sockopt};
use plumb_tests::{json, until};

use crate::asked::overheard;
use crate::world::{SOON, World, address, alone, v4};

/// OFFER and NAK (RFC 2132, 9.6).
const OFFER: u8 = 2;
const NAK: u8 = 6;

/// A server's message of that transaction to the client with that Ethernet address, for 10.240.0.66.
fn message(xid: u32, chaddr: [u8; 6], options: &[u8]) -> Vec<u8> {
    let mut bytes = vec![2, 1, 6, 0];
    bytes.extend(xid.to_be_bytes());
    bytes.extend([0; 8]);
    bytes.extend([10, 240, 0, 66]);
    bytes.extend([0; 8]);
    bytes.extend(chaddr);
    bytes.resize(236, 0);
    bytes.extend([0x63, 0x82, 0x53, 0x63]);
    bytes.extend(options);
    bytes.push(255);
    bytes
}

/// Type, server, lease time and mask.
fn options(kind: u8, server: Option<[u8; 4]>) -> Vec<u8> {
    let mut bytes = vec![53, 1, kind];
    if let Some(server) = server {
        bytes.extend([54, 4]);
        bytes.extend(server);
    }
    bytes.extend([51, 4, 0, 0, 1, 0, 1, 4, 255, 255, 255, 0]);
    bytes
}

#[test]
fn what_is_not_an_answer_to_the_clients_question_is_ignored_and_counted() {
    let world = World::new();
    let _daemon = world.daemon();
    let heard = overheard(&world);
    let c1 = world.plugged("c1");
    let text = c1.link("eth0").unwrap()["address"]
        .as_str()
        .unwrap()
        .to_owned();
    let mut ours = [0; 6];
    for (byte, digits) in ours.iter_mut().zip(text.split(':')) {
        *byte = u8::from_str_radix(digits, 16).unwrap();
    }
    let plugin = world.plugin();
    let result = std::thread::scope(|scope| {
        let add = scope.spawn(|| plugin.add(&c1, alone(json!({ "timeoutSecs": 60 }))));
        heard.until_output_has("Discover", SOON);
        let said = heard.output();
        let xid = said.split("xid 0x").nth(1).unwrap();
        let xid = u32::from_str_radix(xid.split(',').next().unwrap(), 16).unwrap();

        let server = Some([10, 240, 0, 1]);
        let offer = options(OFFER, server);
        let mut no_cookie = message(xid, ours, &offer);
        no_cookie[236] = 0;
        let mut question = message(xid, ours, &offer);
        question[0] = 1;
        let packets = [
            ("no-cookie", no_cookie),
            ("not-a-reply", question),
            ("short", message(xid, ours, &offer)[..200].to_vec()),
            ("no-type", message(xid, ours, &[])),
            ("other-transaction", message(xid ^ 1, ours, &offer)),
            ("no-server", message(xid, ours, &options(OFFER, None))),
            ("not-expected", message(xid, ours, &options(NAK, server))),
            // The kernel does not even wake the daemon for it.
            ("", message(xid, [2, 0, 0, 0, 0, 9], &offer)),
        ];
        world.server.run(|| {
            let socket = UdpSocket::bind("0.0.0.0:67").unwrap();
            socket.set_broadcast(true).unwrap();
            setsockopt(&socket, sockopt::BindToDevice, &"eth0".into()).unwrap();
            for (_, packet) in &packets {
                socket.send_to(packet, "255.255.255.255:68").unwrap();
            }
        });
        for (word, _) in packets.iter().filter(|(word, _)| !word.is_empty()) {
            let line = format!("reason=\"{word}\"}} 1\n");
            let counted = || world.metrics().contains(&line);
            assert!(until(SOON, counted), "{line} {}", world.metrics());
        }
        let listed = world.listed("testnet/c1/eth0");
        assert_eq!(listed["state"], "SELECTING", "{listed}");
        assert_eq!(v4(&c1), Vec::<String>::new());
        // And an answer is still one.
        let _dnsmasq = world.dnsmasq(100, 110);
        add.join().unwrap().succeeds()
    });
    assert!(address(&result).starts_with("10.240.0.1"), "{result}");
}
