#![no_main]

#[path = "../../plugins/static-ipam/src/assign.rs"]
mod assign;
#[path = "../../plugins/static-ipam/src/check.rs"]
mod check;
#[path = "../../plugins/static-ipam/src/config.rs"]
mod config;
#[path = "../../plugins/static-ipam/src/ipam.rs"]
mod ipam;
#[path = "../surfaces.rs"]
#[expect(dead_code, reason = "one target uses one surface")]
mod surfaces;

libfuzzer_sys::fuzz_target!(|data: &[u8]| surfaces::serve_all(&ipam::StaticIpam, data));
