#![no_main]

#[path = "../../plugins/bridge-attach/src/config.rs"]
#[expect(dead_code, reason = "what acts is left out")]
mod config;
#[path = "../../plugins/bridge-attach/src/plan.rs"]
#[expect(dead_code, reason = "what acts is left out")]
mod plan;
#[path = "../surfaces.rs"]
#[expect(dead_code, reason = "one target uses one surface")]
mod surfaces;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let plan = surfaces::Idle::<config::Config>(|call, given| {
        plan::Plan::new(&call.config, given).map(drop)
    });
    surfaces::serve_all(&plan, data);
});
