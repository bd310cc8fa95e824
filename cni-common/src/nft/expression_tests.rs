//! Expressions as bytes.

use super::*;
use crate::nft::attributes::Attributes;
use crate::nft::compile::compile;
use crate::nft::statement::{Place, Statement};
use crate::nft::{NatFlags, NatTo, TableFamily};

/// `NFTA_RULE_EXPRESSIONS` of the statements.
fn bytes(statements: &[Statement]) -> Vec<u8> {
    let list: Vec<_> = compile(TableFamily::Inet, statements)
        .iter()
        .map(encode)
        .collect();
    let mut buffer = vec![0; list.as_slice().buffer_len()];
    list.as_slice().emit(&mut buffer);
    buffer
}

#[track_caller]
fn encodes(statements: &[Statement], golden: &str) {
    let golden: Vec<u8> = golden
        .split_whitespace()
        .flat_map(|word| {
            (0..word.len() / 2).map(|n| u8::from_str_radix(&word[2 * n..2 * n + 2], 16).unwrap())
        })
        .collect();
    assert_eq!(bytes(statements), golden);
    let decoded: Vec<Expr> = Attributes(&golden)
        .all()
        .map(|(_, element)| decode(Attributes(element)))
        .collect();
    assert_eq!(decoded, compile(TableFamily::Inet, statements));
}

#[test]
fn a_missing_route_back_is_sent_as_nft_sends_it() {
    // nft add rule inet plumb pre fib saddr . iif oif missing notrack (nft 1.0.6, by strace)
    encodes(
        &[Statement::NoRouteBack, Statement::Notrack],
        "28000180 08000100 66696200 1c000280 08000300 00000029 08000200 00000001 08000100 00000001
         2c000180 08000100 636d7000 20000280 08000100 00000001 08000200 00000000 0c000380 08000100 00000000
         10000180 0c000100 6e6f7472 61636b00",
    );
}

#[test]
fn a_fixed_source_is_sent_as_nft_sends_it() {
    // nft add rule inet plumb postrouting ip saddr @a4 ip daddr != 10.77.5.0/20 snat to 192.0.2.1
    // (nft 1.0.6, by strace; without the NFTA_LOOKUP_SET_ID that refers to a set of the same transaction)
    encodes(
        &[
            Statement::Source(Is::Equal, Place::Set(Family::V4, "a4".into())),
            Statement::Destination(Is::Not, Place::Net("10.77.5.0/20".parse().unwrap())),
            Statement::Snat(
                NatTo::Address("192.0.2.1".parse().unwrap()),
                NatFlags::default(),
            ),
        ],
        "24000180 09000100 6d657461 00000000 14000280 08000200 0000000f 08000100 00000001
         2c000180 08000100 636d7000 20000280 08000100 00000001 08000200 00000000 0c000380 05000100 02000000
         34000180 0c000100 7061796c 6f616400 24000280 08000100 00000001 08000200 00000001 08000300 0000000c
         08000400 00000004
         24000180 0b000100 6c6f6f6b 75700000 14000280 08000200 00000001 07000100 61340000
         34000180 0c000100 7061796c 6f616400 24000280 08000100 00000001 08000200 00000001 08000300 00000010
         08000400 00000004
         44000180 0c000100 62697477 69736500 34000280 08000100 00000001 08000200 00000001 08000300 00000004
         0c000480 08000100 fffff000 0c000580 08000100 00000000
         2c000180 08000100 636d7000 20000280 08000100 00000001 08000200 00000001 0c000380 08000100 0a4d0000
         2c000180 0e000100 696d6d65 64696174 65000000 18000280 08000100 00000001 0c000280 08000100 c0000201
         28000180 08000100 6e617400 1c000280 08000100 00000000 08000200 00000002 08000300 00000001",
    );
}

#[test]
fn cut_answers_do_not_panic() {
    let whole = bytes(&[
        Statement::NoRouteBack,
        Statement::Established(Is::Not),
        Statement::Snat(
            NatTo::Address("192.0.2.1".parse().unwrap()),
            NatFlags::default(),
        ),
        Statement::XtEstablished,
        Statement::Drop,
    ]);
    for cut in 0..whole.len() {
        for (_, element) in Attributes(&whole[..cut]).all() {
            decode(Attributes(element));
        }
    }
    for place in 0..whole.len() {
        let mut damaged = whole.clone();
        damaged[place] ^= 0xff;
        for (_, element) in Attributes(&damaged).all() {
            decode(Attributes(element));
        }
    }
}
