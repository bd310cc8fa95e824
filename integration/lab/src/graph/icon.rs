//! The pictograms: paths in a square of 24 by 24 pixels.

use super::Kind;

/// The pictogram of a kind, drawn in lines; the Internet's cloud is a shape, not a pictogram.
pub(super) fn lines(kind: Kind) -> &'static str {
    match kind {
        Kind::Internet => "",
        // Two units of a rack, a lamp and slots on each.
        Kind::Host => "M3 4h18v7H3zM3 13h18v7H3zM6.5 7.5h1M6.5 16.5h1M11 7.5h7M11 16.5h7",
        // Arrows in from the sides, out to the top and bottom.
        Kind::Router => {
            "M12 2a10 10 0 1 0 0 20a10 10 0 1 0 0-20M5 12h5M8 10l2 2l-2 2M19 12h-5M16 10l-2 2l2 2\
             M12 9.5V5M10 7l2-2l2 2M12 14.5V19M10 17l2 2l2-2"
        }
        // A cube.
        Kind::Container => "M12 3l8 4.5v9L12 21l-8-4.5v-9zM4 7.5l8 4.5l8-4.5M12 12v9",
    }
}

/// A cloud that fills a rectangle, flat below between a quarter and three quarters of its width.
pub(super) fn cloud(x: i32, y: i32, width: i32, height: i32) -> String {
    // In hundredths of the width and height.
    let at = |across: i32, down: i32| {
        let (x, y) = (x + width * across / 100, y + height * down / 100);
        format!("{x} {y}")
    };
    let curve = |a: (i32, i32), b: (i32, i32), end: (i32, i32)| {
        format!(" C{} {} {}", at(a.0, a.1), at(b.0, b.1), at(end.0, end.1))
    };
    [
        format!("M{}", at(22, 100)),
        curve((8, 100), (0, 88), (0, 72)),
        curve((0, 56), (8, 45), (18, 43)),
        curve((18, 24), (30, 14), (41, 18)),
        curve((46, 4), (62, 0), (70, 12)),
        curve((76, 20), (78, 27), (77, 34)),
        curve((90, 32), (100, 48), (100, 68)),
        curve((100, 88), (90, 100), (78, 100)),
        " Z".to_owned(),
    ]
    .concat()
}
