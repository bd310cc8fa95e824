//! The transport against the kernel.

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::link::{InfoKind, LinkAttribute, LinkInfo, LinkMessage};

use super::{Request, Rtnetlink, Rtnl};
use crate::testing;

fn create(name: &str, mtu: u32) -> Request<Rtnetlink> {
    let mut link = LinkMessage::default();
    link.attributes = vec![
        LinkAttribute::IfName(name.into()),
        LinkAttribute::Mtu(mtu),
        LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::Bridge)]),
    ];
    Request::new(format!("create bridge {name}"), libc::RTM_NEWLINK, &link)
        .with(NLM_F_CREATE | NLM_F_EXCL)
}

fn get(name: &str) -> Request<Rtnetlink> {
    let mut link = LinkMessage::default();
    link.attributes = vec![LinkAttribute::IfName(name.into())];
    Request::new(format!("look up {name}"), libc::RTM_GETLINK, &link)
}

#[test]
fn an_error_of_a_batch_names_its_request_and_keeps_the_kernels_sentence() {
    testing::private_netns();
    let mut connection = Rtnl::open().unwrap();
    let failed = connection
        .batch(vec![
            create("br-a", 1400),
            create("br-b", 40),
            create("br-c", 1400),
        ])
        .unwrap_err();
    assert_eq!(
        failed.to_string(),
        "create bridge br-b: mtu less than device minimum (EINVAL)"
    );
    // rtnetlink went on after the failure, and the connection is still in step.
    assert_eq!(connection.get(get("br-c")).unwrap().kind, libc::RTM_NEWLINK);
    let absent = connection.get(get("br-b")).unwrap_err();
    assert!(absent.is_absent(), "{absent}");
    assert!(
        connection
            .execute(create("br-a", 1400))
            .unwrap_err()
            .is_taken()
    );
}

#[test]
fn a_dump_gives_every_object() {
    testing::private_netns();
    let mut connection = Rtnl::open().unwrap();
    for number in 0..100 {
        connection
            .execute(create(&format!("br{number}"), 1500))
            .unwrap();
    }
    let request = Request::new("list links", libc::RTM_GETLINK, &(LinkMessage::default()));
    assert_eq!(connection.dump(request).unwrap().len(), 101);
}

#[test]
fn an_empty_batch_is_nothing_to_do() {
    testing::private_netns();
    Rtnl::open().unwrap().batch(Vec::new()).unwrap();
}

#[test]
fn a_connection_keeps_the_namespace_it_was_opened_in() {
    testing::private_netns();
    let mut connection = Rtnl::open().unwrap();
    connection.execute(create("br-here", 1500)).unwrap();
    std::thread::spawn(move || {
        testing::private_netns();
        connection.get(get("br-here")).unwrap();
        let mut elsewhere = Rtnl::open().unwrap();
        assert!(elsewhere.get(get("br-here")).unwrap_err().is_absent());
    })
    .join()
    .unwrap();
}
