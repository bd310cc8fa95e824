//! Rectangles and colours.

/// A rectangle in pixels; y grows downwards.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Rect {
    pub(super) x: i32,
    pub(super) y: i32,
    pub(super) width: i32,
    pub(super) height: i32,
}

impl Rect {
    /// From the left, upper, right and lower edge.
    pub(super) fn between(left: i32, top: i32, right: i32, bottom: i32) -> Self {
        Self {
            x: left,
            y: top,
            width: right - left,
            height: bottom - top,
        }
    }

    /// The right edge.
    pub(super) fn right(self) -> i32 {
        self.x + self.width
    }

    /// The lower edge.
    pub(super) fn bottom(self) -> i32 {
        self.y + self.height
    }

    /// The vertical middle line.
    pub(super) fn center(self) -> i32 {
        self.x + self.width / 2
    }

    /// The same with `margin` more on every side.
    pub(super) fn grown(self, margin: i32) -> Self {
        Self::between(
            self.x - margin,
            self.y - margin,
            self.right() + margin,
            self.bottom() + margin,
        )
    }

    /// The smallest rectangle around both.
    pub(super) fn around(self, other: Self) -> Self {
        Self::between(
            self.x.min(other.x),
            self.y.min(other.y),
            self.right().max(other.right()),
            self.bottom().max(other.bottom()),
        )
    }

    /// Whether the two share more than an edge.
    pub(super) fn overlaps(self, other: Self) -> bool {
        self.x < other.right()
            && other.x < self.right()
            && self.y < other.bottom()
            && other.y < self.bottom()
    }
}

/// The colours of the networks, in turn. White text on each has a contrast of at least 4.5 to 1, and so has
/// each on white (WCAG 2.1, 1.4.3).
pub(super) const NETWORK_COLOURS: [&str; 8] = [
    "#1f5fa8", "#a8410a", "#1b7340", "#7a3f9d", "#0b6f7d", "#b0255a", "#6b5900", "#475569",
];

/// The backgrounds of the groups, in turn: light enough for dark text.
pub(super) const GROUP_TINTS: [&str; 6] = [
    "#fdeec3", "#d9ecff", "#dcf5e0", "#f1e1fb", "#ffe0e6", "#e2eef0",
];

/// The outlines of the groups, as dark as the tints are light.
pub(super) const GROUP_OUTLINES: [&str; 6] = [
    "#b98900", "#3f83c4", "#3c9455", "#9a62bd", "#c4566f", "#5f8790",
];

/// The colour whose turn it is.
pub(super) fn in_turn(colours: &[&'static str], place: usize) -> &'static str {
    let place = place.checked_rem(colours.len()).unwrap_or(0);
    colours.get(place).copied().unwrap_or("#000000")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Relative luminance and contrast as WCAG 2.1 defines them.
    fn luminance(colour: &str) -> f64 {
        let part = |range| f64::from(u8::from_str_radix(&colour[range], 16).unwrap()) / 255.0;
        let linear = |c: f64| match c {
            c if c <= 0.040_45 => c / 12.92,
            c => ((c + 0.055) / 1.055).powf(2.4),
        };
        0.2126 * linear(part(1..3)) + 0.7152 * linear(part(3..5)) + 0.0722 * linear(part(5..7))
    }

    fn contrast(a: &str, b: &str) -> f64 {
        let (a, b) = (luminance(a), luminance(b));
        (a.max(b) + 0.05) / (a.min(b) + 0.05)
    }

    #[test]
    fn every_text_can_be_read_on_its_ground() {
        for colour in NETWORK_COLOURS {
            assert!(contrast(colour, "#ffffff") >= 4.5, "{colour} on white");
            for tint in GROUP_TINTS {
                assert!(contrast(colour, tint) >= 3.0, "the line {colour} on {tint}");
            }
        }
        for tint in GROUP_TINTS {
            assert!(contrast("#334155", tint) >= 4.5, "{tint}");
        }
    }

    #[test]
    fn rectangles_that_share_an_edge_do_not_overlap() {
        let a = Rect::between(0, 0, 10, 10);
        assert!(!a.overlaps(Rect::between(10, 0, 20, 10)));
        assert!(a.overlaps(Rect::between(9, 9, 20, 20)));
        assert!(a.grown(1).overlaps(Rect::between(10, 10, 20, 20)));
    }
}
