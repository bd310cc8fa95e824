//! The heights of the buses between two rows of nodes.
//!
//! Buses that have no column in common share a track; others lie on tracks of their own. Which lies above
//! which is chosen so that few lines have to pass behind a bus they do not belong to.

/// A bus, before it has a height.
#[derive(Clone, Debug)]
pub(super) struct Span {
    /// The left end.
    pub(super) left: i32,
    /// The right end.
    pub(super) right: i32,
    /// Where lines come from above.
    pub(super) from_above: Vec<i32>,
    /// Where lines come from below.
    pub(super) from_below: Vec<i32>,
}

/// Between the ends of two buses on one track.
const GAP: i32 = 16;
/// A pass behind a bus is a blemish; two lines on one another would be a lie.
const LIE: usize = 1000;
/// Lines that are less apart look like one.
const NEAR: u32 = 6;

impl Span {
    fn meets(&self, other: &Self) -> bool {
        self.left < other.right + GAP && other.left < self.right + GAP
    }

    fn covers(&self, x: i32) -> bool {
        (self.left..=self.right).contains(&x)
    }

    /// What it costs to lie above `lower`.
    fn cost_above(&self, lower: &Self) -> usize {
        let down = self.from_below.iter().filter(|x| lower.covers(**x)).count();
        let up = lower.from_above.iter().filter(|x| self.covers(**x)).count();
        let on_another = self
            .from_below
            .iter()
            .filter(|x| {
                lower
                    .from_above
                    .iter()
                    .any(|other| x.abs_diff(*other) < NEAR)
            })
            .count();
        down + up + on_another * LIE
    }
}

/// The track of each span, counted from above.
pub(super) fn tracks(spans: &[Span]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..spans.len()).collect();
    // A bubble sort by a comparison that need not be transitive ends all the same: it makes a fixed number
    // of rounds.
    for _ in 0..spans.len() {
        for place in 1..order.len() {
            if swap_helps(spans, &order, place) {
                order.swap(place - 1, place);
            }
        }
    }
    let mut tracks: Vec<Option<usize>> = vec![None; spans.len()];
    for current in order {
        let Some(span) = spans.get(current) else {
            continue;
        };
        let lowest = spans
            .iter()
            .zip(&tracks)
            .filter(|(other, _)| span.meets(other))
            .filter_map(|(_, track)| *track)
            .max();
        if let Some(track) = tracks.get_mut(current) {
            *track = Some(lowest.map_or(0, |lowest| lowest + 1));
        }
    }
    tracks.into_iter().map(Option::unwrap_or_default).collect()
}

/// The lines from below, by span and x, that would lie on a line to a span on a lower track.
pub(super) fn tangled(spans: &[Span]) -> Vec<(usize, i32)> {
    let placed: Vec<(&Span, usize)> = spans.iter().zip(tracks(spans)).collect();
    let mut lines = Vec::new();
    for (place, (upper, track)) in placed.iter().enumerate() {
        let lower = placed.iter().filter(|(_, other)| other > track);
        let others: Vec<i32> = lower
            .flat_map(|(span, _)| span.from_above.clone())
            .collect();
        let on_another = |x: &&i32| others.iter().any(|other| x.abs_diff(*other) < NEAR);
        lines.extend(
            upper
                .from_below
                .iter()
                .filter(on_another)
                .map(|x| (place, *x)),
        );
    }
    lines
}

fn swap_helps(spans: &[Span], order: &[usize], place: usize) -> bool {
    let at = |place: usize| order.get(place).and_then(|id| spans.get(*id));
    match (at(place - 1), at(place)) {
        (Some(above), Some(below)) => below.cost_above(above) < above.cost_above(below),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(left: i32, right: i32, from_above: &[i32], from_below: &[i32]) -> Span {
        Span {
            left,
            right,
            from_above: from_above.to_vec(),
            from_below: from_below.to_vec(),
        }
    }

    #[test]
    fn buses_side_by_side_share_a_track() {
        let spans = [span(0, 100, &[50], &[]), span(200, 300, &[250], &[])];
        assert_eq!(tracks(&spans), [0, 0]);
    }

    #[test]
    fn buses_that_meet_have_tracks_of_their_own() {
        let spans = [
            span(0, 100, &[], &[]),
            span(90, 200, &[], &[]),
            span(220, 300, &[], &[]),
        ];
        assert_eq!(tracks(&spans), [0, 1, 0]);
    }

    #[test]
    fn the_bus_that_needs_no_passage_lies_above() {
        // The second's line from above would pass behind the first.
        let first = span(0, 300, &[20], &[280]);
        let second = span(100, 200, &[110], &[]);
        assert_eq!(tracks(&[first, second]), [1, 0]);
    }

    #[test]
    fn lines_never_lie_on_one_another() {
        let first = span(0, 100, &[10], &[50]);
        let second = span(0, 100, &[50], &[90]);
        assert_eq!(tracks(&[first, second]), [1, 0]);
    }

    #[test]
    fn lines_that_no_order_can_keep_apart_are_named() {
        let first = span(0, 100, &[10], &[50]);
        let second = span(0, 100, &[50], &[10]);
        assert_eq!(tangled(&[first.clone(), second]), [(0, 50)]);
        assert_eq!(tangled(&[first]), []);
    }
}
