#![no_main]

#[path = "../surfaces.rs"]
#[expect(dead_code, reason = "one target uses one surface")]
mod surfaces;

libfuzzer_sys::fuzz_target!(|data: &[u8]| surfaces::configuration(data));
