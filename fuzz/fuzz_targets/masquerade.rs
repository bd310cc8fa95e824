#![no_main]

#[path = "../surfaces.rs"]
#[expect(dead_code, reason = "one target uses one surface")]
mod surfaces;

use masquerade::config::Config;
use masquerade::inside;
use masquerade::rules::{self, Inside};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let plan = surfaces::Idle::<Config>(|call, given| {
        let addresses = inside::addresses(&given, &call.ifname);
        let inside = Inside::Interface(call.ifname.clone());
        let _ = rules::plan(&call.network, &call.config, &inside, &addresses);
        Ok(())
    });
    surfaces::serve_all(&plan, data);
});
