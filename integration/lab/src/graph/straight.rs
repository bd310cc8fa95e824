//! Where things stand within their layers, so that lines run straight.
//!
//! The order within a layer is given. Each layer in turn moves as near as it can to what it is joined to
//! without two of its members coming closer than they may; "as near as it can" is least squares, which for
//! things in a row is solved exactly by pooling neighbours that push against each other (isotonic
//! regression).

use std::collections::BTreeMap;

use super::crossing::Id;

/// What stands in a layer, with its reach to the left and right of its own x.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slot {
    pub(super) id: Id,
    pub(super) left: i32,
    pub(super) right: i32,
}

/// A line between two layers, with where it meets each end, counted from that end's x.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wire {
    pub(super) upper: Id,
    pub(super) upper_at: i32,
    pub(super) lower: Id,
    pub(super) lower_at: i32,
}

/// Which neighbours a layer looks at.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Look {
    Up,
    Down,
    Both,
}

/// The x of everything; neighbours in a layer keep `gap` between them.
pub(super) fn positions(layers: &[Vec<Slot>], wires: &[Wire], gap: i32) -> BTreeMap<Id, i32> {
    let mut x: BTreeMap<Id, i32> = BTreeMap::new();
    for layer in layers {
        place(&mut x, layer, wires, gap, Look::Up);
    }
    for look in [
        Look::Down,
        Look::Up,
        Look::Down,
        Look::Both,
        Look::Both,
        Look::Both,
    ] {
        if look == Look::Up {
            for layer in layers {
                place(&mut x, layer, wires, gap, look);
            }
        } else {
            for layer in layers.iter().rev() {
                place(&mut x, layer, wires, gap, look);
            }
        }
    }
    x
}

fn place(x: &mut BTreeMap<Id, i32>, layer: &[Slot], wires: &[Wire], gap: i32, look: Look) {
    let wanted: Vec<i32> = layer
        .iter()
        .map(|slot| {
            let targets = targets(x, slot.id, wires, look);
            match i32::try_from(targets.len()) {
                Ok(count) if count > 0 => targets.iter().sum::<i32>() / count,
                _ => x.get(&slot.id).copied().unwrap_or(0),
            }
        })
        .collect();
    for (slot, at) in layer.iter().zip(spread(layer, &wanted, gap)) {
        x.insert(slot.id, at);
    }
}

/// The positions at which each of a thing's lines would be straight.
fn targets(x: &BTreeMap<Id, i32>, id: Id, wires: &[Wire], look: Look) -> Vec<i32> {
    wires
        .iter()
        .filter_map(|wire| {
            if wire.lower == id && look != Look::Down {
                Some(x.get(&wire.upper)? + wire.upper_at - wire.lower_at)
            } else if wire.upper == id && look != Look::Up {
                Some(x.get(&wire.lower)? + wire.lower_at - wire.upper_at)
            } else {
                None
            }
        })
        .collect()
}

/// The positions nearest to the wanted ones that keep the order and the distances.
fn spread(layer: &[Slot], wanted: &[i32], gap: i32) -> Vec<i32> {
    // Counted from where each would stand if all stood as close as they may, the positions must not fall.
    let mut close: Vec<i32> = Vec::new();
    let mut edge: Option<i32> = None;
    for slot in layer {
        let at = edge.map_or(0, |edge| edge + gap + slot.left);
        close.push(at);
        edge = Some(at + slot.right);
    }
    let mut pools: Vec<(i32, i32)> = Vec::new();
    for (want, close) in wanted.iter().zip(&close) {
        let mut pool = (want - close, 1);
        while let Some(last) = pools.last().copied() {
            if i64::from(last.0) * i64::from(pool.1) <= i64::from(pool.0) * i64::from(last.1) {
                break;
            }
            pools.pop();
            pool = (pool.0 + last.0, pool.1 + last.1);
        }
        pools.push(pool);
    }
    let means = pools
        .iter()
        .flat_map(|(sum, count)| (0..*count).map(move |_| sum.div_euclid(*count)));
    means.zip(close).map(|(mean, close)| mean + close).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slot(id: Id) -> Slot {
        Slot {
            id,
            left: 10,
            right: 10,
        }
    }

    #[test]
    fn things_with_room_stand_where_they_want() {
        let layer = [slot(0), slot(1)];
        assert_eq!(spread(&layer, &[0, 100], 5), [0, 100]);
    }

    #[test]
    fn things_that_want_one_place_spread_around_it() {
        let layer = [slot(0), slot(1), slot(2)];
        assert_eq!(spread(&layer, &[50, 50, 50], 5), [25, 50, 75]);
    }

    #[test]
    fn the_order_is_kept_against_the_wishes() {
        let at = spread(&[slot(0), slot(1)], &[100, 0], 0);
        assert_eq!(at, [40, 60]);
    }

    #[test]
    fn a_chain_is_straight_whatever_its_ends_measure() {
        let last = Slot {
            id: 2,
            left: 10,
            right: 90,
        };
        let wire = |upper, lower| Wire {
            upper,
            upper_at: 0,
            lower,
            lower_at: 0,
        };
        let x = positions(
            &[vec![slot(0)], vec![slot(1)], vec![last]],
            &[wire(0, 1), wire(1, 2)],
            5,
        );
        assert_eq!(x.values().copied().collect::<Vec<i32>>(), [0, 0, 0]);
    }
}
